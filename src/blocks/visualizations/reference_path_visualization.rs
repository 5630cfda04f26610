//! Draws a path through given points.
//!
//! # Inputs and outputs
//! `image`, `reference_path` (points), `color`, `thickness` → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Fractions of coordinates are dropped. A path without points is an error.

use serde_json::Value as Json;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Inputs, Output, StepProblem, output,
};
use crate::definition::step::Step;
use crate::imaging::{Canvas, Color, pixels};
use crate::values::kind;

use super::common::{self, fields};

/// `roboflow_core/reference_path_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/reference_path_visualization@v1"],
    name: "Reference Path Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Draws a path through given points.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::points("reference_path").about("The points of the path."),
        fields::color("color", "\"#5bb573\""),
        fields::integer("thickness", "2").about("Thickness of the line, above 0."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    check: Some(check),
    literal_check: Some(|step| common::color_problem(step, "color").into_iter().collect()),
    build: |_, _| Ok(Box::new(ReferencePath)),
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    let thickness = step.literal("thickness").and_then(Json::as_i64);
    let wrong = thickness.is_some_and(|t| t <= 0);
    let problem = wrong.then(|| StepProblem {
        field: Some("thickness"),
        message: "thickness must be greater than zero".into(),
    });
    problem.into_iter().collect()
}

struct ReferencePath;

impl Block for ReferencePath {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let color = Color::parse(inputs.text("color")?)?;
        let thickness = inputs.int("thickness")?;
        if thickness <= 0 {
            return Err(BlockError::Input(format!(
                "field `thickness` must be greater than zero, got {thickness}"
            )));
        }
        let points = common::points(inputs.value("reference_path"))
            .filter(|points| !points.is_empty())
            .ok_or_else(|| {
                BlockError::failed("reference_path must be a list of at least one point [x, y]")
            })?;
        let path = common::pixels_of(&points);
        common::drawn(image, |image| {
            Canvas::new(image)?.polyline(&path, false, color, pixels(thickness))?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::common::testing::{assert_picture, image_of, run, scene};
    use super::*;
    use crate::values::Value;

    fn path(points: serde_json::Value, thickness: i64) -> Result<Output, BlockError> {
        let fields = [
            ("image", scene().into()),
            ("reference_path", Value::from_json(&points)),
            ("thickness", thickness.into()),
        ];
        run(&BLOCK, &fields)
    }

    #[test]
    fn the_path_is_drawn_as_recorded() {
        let points = json!([[10, 140], [50, 20], [100, 100], [195, 5]]);
        let got = image_of(path(points, 2));
        assert_picture(got.pixels(), "visualizations/reference_path.png");
    }

    #[test]
    fn no_points_and_no_thickness_are_errors() {
        assert!(path(json!([]), 2).is_err());
        assert!(path(json!([[1, 2], [3]]), 2).is_err());
        assert!(path(json!([[1, 2], [3, 4]]), 0).is_err());
    }
}
