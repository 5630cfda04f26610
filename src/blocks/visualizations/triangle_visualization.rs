//! Draws a triangle that points down at each detection.
//!
//! # Inputs and outputs
//! `image`, `predictions`, a palette, `position`, `base`, `height`, `outline_thickness` → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! `CENTER_OF_MASS` needs dense masks.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::geometry::Anchor;
use crate::imaging::{Color, pixels};
use crate::values::kind;

use super::common::{self, fields};

/// `roboflow_core/triangle_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/triangle_visualization@v1",
        "TriangleVisualization",
    ],
    name: "Triangle Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Draws a triangle that points down at each detection.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        fields::COLOR_PALETTE,
        fields::PALETTE_SIZE,
        fields::CUSTOM_COLORS,
        fields::COLOR_AXIS,
        fields::position("position", "\"TOP_CENTER\""),
        fields::integer("base", "10").about("Width of the triangle, pixels."),
        fields::integer("height", "10").about("Height of the triangle, pixels."),
        fields::integer("outline_thickness", "0").about("Thickness of a black outline."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(common::palette_problems),
    build: |_, _| Ok(Box::new(Triangle)),
    ..BlockSpec::DEFAULT
};

struct Triangle;

impl Block for Triangle {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let position = Anchor::parse(inputs.text("position")?)?;
        let half = pixels(inputs.int("base")?).div_euclid(2);
        let height = pixels(inputs.int("height")?);
        let outline = pixels(inputs.int("outline_thickness")?);
        common::each_row(inputs, |canvas, detections, row, color| {
            let [x, y] = common::pixel_at(position, detections, row)?;
            let corners = [[x - half, y - height], [x + half, y - height], [x, y]];
            canvas.fill_polygons(&[corners], color)?;
            if outline != 0 {
                canvas.polyline(&corners, true, Color::BLACK, outline)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, draw_five};
    use super::*;

    #[test]
    fn triangles_are_drawn_as_recorded() {
        assert_picture(&draw_five(&BLOCK, &[]), "visualizations/triangle.png");
        let odd = [
            ("base", 7i64.into()),
            ("height", 5i64.into()),
            ("outline_thickness", 1i64.into()),
        ];
        assert_picture(&draw_five(&BLOCK, &odd), "visualizations/triangle_odd.png");
    }
}
