//! Draws a dot on each detection.
//!
//! # Inputs and outputs
//! `image`, `predictions`, a palette, `position`, `radius`, `outline_thickness` → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! `CENTER_OF_MASS` needs dense masks. A negative outline paints the dot black.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::geometry::Anchor;
use crate::imaging::canvas::FILLED;
use crate::imaging::{Color, pixels};
use crate::values::kind;

use super::common::{self, fields};

/// `roboflow_core/dot_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/dot_visualization@v1", "DotVisualization"],
    name: "Dot Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Draws a dot on each detection.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        fields::COLOR_PALETTE,
        fields::PALETTE_SIZE,
        fields::CUSTOM_COLORS,
        fields::COLOR_AXIS,
        fields::position("position", "\"CENTER\""),
        fields::integer("radius", "4").about("Radius of the dot, pixels."),
        fields::integer("outline_thickness", "0").about("Thickness of a black outline."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(common::palette_problems),
    build: |_, _| Ok(Box::new(Dot)),
    ..BlockSpec::DEFAULT
};

struct Dot;

impl Block for Dot {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let position = Anchor::parse(inputs.text("position")?)?;
        let radius = pixels(inputs.int("radius")?);
        let outline = pixels(inputs.int("outline_thickness")?);
        common::each_row(inputs, |canvas, detections, row, color| {
            let center = common::pixel_at(position, detections, row)?;
            canvas.circle(center, radius, color, FILLED)?;
            if outline != 0 {
                canvas.circle(center, radius, Color::BLACK, outline)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, draw_five, five, run, scene};
    use super::*;

    #[test]
    fn dots_are_drawn_as_recorded() {
        assert_picture(&draw_five(&BLOCK, &[]), "visualizations/dot.png");
        let outlined = [("radius", 8i64.into()), ("outline_thickness", 2i64.into())];
        assert_picture(
            &draw_five(&BLOCK, &outlined),
            "visualizations/dot_outlined.png",
        );
    }

    #[test]
    fn the_centre_of_mass_needs_masks() {
        let fields = [
            ("image", scene().into()),
            ("predictions", five().into()),
            ("position", "CENTER_OF_MASS".into()),
        ];
        assert!(run(&BLOCK, &fields).is_err());
    }
}
