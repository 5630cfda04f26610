//! Draws a circle around each detection.
//!
//! # Inputs and outputs
//! `image`, `predictions`, a palette, `thickness` (negative fills the circle) → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The circle goes through the corners of the box, so it may leave the image.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::imaging::{pixels, trunc, trunc_box};
use crate::values::kind;

use super::common::{self, fields};

/// `roboflow_core/circle_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/circle_visualization@v1",
        "CircleVisualization",
    ],
    name: "Circle Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Draws a circle around each detection.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        fields::COLOR_PALETTE,
        fields::PALETTE_SIZE,
        fields::CUSTOM_COLORS,
        fields::COLOR_AXIS,
        fields::integer("thickness", "2")
            .about("Thickness of the line; negative fills the circle."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(common::palette_problems),
    build: |_, _| Ok(Box::new(Circle)),
    ..BlockSpec::DEFAULT
};

struct Circle;

impl Block for Circle {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let thickness = pixels(inputs.int("thickness")?);
        common::each_row(inputs, |canvas, detections, row, color| {
            let [x1, y1, x2, y2] = trunc_box(&detections.xyxy[row]);
            let (cx, cy) = ((x1 + x2).div_euclid(2), (y1 + y2).div_euclid(2));
            let radius = trunc(f64::from(cx - x1).hypot(f64::from(cy - y1)));
            canvas.circle([cx, cy], radius, color, thickness)?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, draw_five};
    use super::*;

    #[test]
    fn circles_are_drawn_as_recorded() {
        assert_picture(&draw_five(&BLOCK, &[]), "visualizations/circle.png");
        let filled = draw_five(&BLOCK, &[("thickness", (-1i64).into())]);
        assert_picture(&filled, "visualizations/circle_filled.png");
    }
}
