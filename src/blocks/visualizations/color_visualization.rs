//! Shades the boxes of detections.
//!
//! # Inputs and outputs
//! `image`, `predictions`, a palette, `opacity` → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Where boxes overlap the last one wins.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::imaging::blend::{Ground, overlay};
use crate::imaging::canvas::FILLED;
use crate::imaging::{Color, Pixel, trunc_box};
use crate::values::kind;

use super::common::{self, Palette, fields};

/// `roboflow_core/color_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/color_visualization@v1", "ColorVisualization"],
    name: "Color Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Shades the boxes of detections.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        fields::COLOR_PALETTE,
        fields::PALETTE_SIZE,
        fields::CUSTOM_COLORS,
        fields::COLOR_AXIS,
        fields::share("opacity", "0.5").about("Strength of the shade."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(common::palette_problems),
    build: |_, _| Ok(Box::new(ColorVisualization)),
    ..BlockSpec::DEFAULT
};

struct ColorVisualization;

impl Block for ColorVisualization {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let detections = inputs.detections("predictions")?;
        let palette = Palette::of(inputs)?;
        let opacity = inputs.float("opacity")?;
        if detections.is_empty() {
            return common::unchanged(image);
        }
        let mut boxes: Vec<(Pixel, Pixel, Color)> = Vec::with_capacity(detections.len());
        for (row, xyxy) in detections.xyxy.iter().enumerate() {
            let [x1, y1, x2, y2] = trunc_box(xyxy);
            boxes.push(([x1, y1], [x2, y2], palette.color(detections, row)?));
        }
        common::drawn(image, |pixels| {
            let corners: Vec<Pixel> = boxes.iter().flat_map(|b| [b.0, b.1]).collect();
            if let Some(region) = common::region_around(&corners, 0, pixels.size()) {
                overlay(pixels, region, Ground::Image, opacity, |canvas| {
                    boxes.iter().try_for_each(|&(from, to, color)| {
                        canvas.rectangle(from, to, color, FILLED)
                    })
                })?;
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
    fn boxes_are_shaded_as_recorded() {
        assert_picture(&draw_five(&BLOCK, &[]), "visualizations/color.png");
        let faint = draw_five(&BLOCK, &[("opacity", 0.2.into())]);
        assert_picture(&faint, "visualizations/color_faint.png");
        let none = draw_five(&BLOCK, &[("opacity", 0.0.into())]);
        assert_picture(&none, "visualizations/scene.png");
    }
}
