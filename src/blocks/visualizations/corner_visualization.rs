//! Draws the corners of the boxes of detections.
//!
//! # Inputs and outputs
//! `image`, `predictions`, a palette, `thickness` and `corner_length` → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The strokes of a box smaller than they are run past each other.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::imaging::{pixels, trunc_box};
use crate::values::kind;

use super::common::{self, fields};

/// `roboflow_core/corner_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/corner_visualization@v1",
        "CornerVisualization",
    ],
    name: "Corner Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Draws the corners of the boxes of detections.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        fields::COLOR_PALETTE,
        fields::PALETTE_SIZE,
        fields::CUSTOM_COLORS,
        fields::COLOR_AXIS,
        fields::integer("thickness", "4").about("Thickness of the lines."),
        fields::integer("corner_length", "15").about("Length of the strokes, pixels."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(common::palette_problems),
    build: |_, _| Ok(Box::new(Corner)),
    ..BlockSpec::DEFAULT
};

struct Corner;

impl Block for Corner {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let thickness = pixels(inputs.int("thickness")?);
        let length = pixels(inputs.int("corner_length")?);
        common::each_row(inputs, |canvas, detections, row, color| {
            let [x1, y1, x2, y2] = trunc_box(&detections.xyxy[row]);
            for [x, y] in [[x1, y1], [x2, y1], [x1, y2], [x2, y2]] {
                let across = if x == x1 { x + length } else { x - length };
                let down = if y == y1 { y + length } else { y - length };
                canvas.line([x, y], [across, y], color, thickness)?;
                canvas.line([x, y], [x, down], color, thickness)?;
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
    fn corners_are_drawn_as_recorded() {
        assert_picture(&draw_five(&BLOCK, &[]), "visualizations/corner.png");
        let thin = [("thickness", 1i64.into()), ("corner_length", 30i64.into())];
        assert_picture(&draw_five(&BLOCK, &thin), "visualizations/corner_thin.png");
    }
}
