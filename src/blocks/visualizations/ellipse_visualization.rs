//! Draws an arc at the foot of each detection.
//!
//! # Inputs and outputs
//! `image`, `predictions`, a palette, `thickness`, `start_angle`, `end_angle` (degrees, clockwise from the right) → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The ellipse is twice as wide as the box.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::imaging::{pixels, trunc, trunc_box};
use crate::values::kind;

use super::common::{self, fields};

/// `roboflow_core/ellipse_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/ellipse_visualization@v1",
        "EllipseVisualization",
    ],
    name: "Ellipse Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Draws an arc at the foot of each detection.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        fields::COLOR_PALETTE,
        fields::PALETTE_SIZE,
        fields::CUSTOM_COLORS,
        fields::COLOR_AXIS,
        fields::integer("thickness", "2").about("Thickness of the line."),
        fields::integer("start_angle", "-45").about("Where the arc begins, degrees."),
        fields::integer("end_angle", "235").about("Where the arc ends, degrees."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(common::palette_problems),
    build: |_, _| Ok(Box::new(Ellipse)),
    ..BlockSpec::DEFAULT
};

struct Ellipse;

impl Block for Ellipse {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let thickness = pixels(inputs.int("thickness")?);
        let angles = [inputs.float("start_angle")?, inputs.float("end_angle")?];
        common::each_row(inputs, |canvas, detections, row, color| {
            let [x1, _, x2, y2] = trunc_box(&detections.xyxy[row]);
            let width = x2 - x1;
            let center = [(x1 + x2) / 2, y2];
            let axes = [width, trunc(0.35 * f64::from(width))];
            canvas.arc(center, axes, angles, color, thickness, true)?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, draw_five};
    use super::*;

    #[test]
    fn arcs_are_drawn_as_recorded() {
        assert_picture(&draw_five(&BLOCK, &[]), "visualizations/ellipse.png");
        let arc = [
            ("start_angle", 10i64.into()),
            ("end_angle", 120i64.into()),
            ("thickness", 4i64.into()),
        ];
        assert_picture(&draw_five(&BLOCK, &arc), "visualizations/ellipse_arc.png");
    }
}
