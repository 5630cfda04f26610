//! Fades everything but the detections to a colour.
//!
//! # Inputs and outputs
//! `image`, `predictions`, `color`, `opacity` → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Dense masks count before boxes; run-length masks are not decoded, their boxes count. Negative
//! corners count from the far edge, as in a Python slice. No detections fade the whole image. Gray
//! images become colour images.

use std::sync::Arc;

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::imaging::Color;
use crate::imaging::blend::{copy_masked, tinted};
use crate::row;
use crate::values::kind;

use super::common::{self, fields, masks};

/// `roboflow_core/background_color_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/background_color_visualization@v1",
        "BackgroundColorVisualization",
    ],
    name: "Background Color Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Fades everything but the detections to a colour.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        fields::color("color", "\"BLACK\""),
        fields::share("opacity", "0.5").about("Strength of the colour."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(|step| common::color_problem(step, "color").into_iter().collect()),
    build: |_, _| Ok(Box::new(BackgroundColor)),
    ..BlockSpec::DEFAULT
};

struct BackgroundColor;

impl Block for BackgroundColor {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let detections = inputs.detections("predictions")?;
        let color = Color::parse(inputs.text("color")?)?;
        let opacity = inputs.float("opacity")?;
        let before = image.bgr();
        let shown = match &detections.masks {
            Some(masks) => masks.clone(),
            None => Arc::new(masks::of_boxes(detections, before.width, before.height)),
        };
        masks::check_size(&shown, &before)?;
        let mut pixels = tinted(&before, color, opacity)?;
        for mask in shown.iter() {
            copy_masked(&mut pixels, &before, mask)?;
        }
        Ok(Output::One(row![image.with_pixels(pixels)]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, draw, draw_five, draw_masked, five};
    use super::*;
    use crate::values::Detections;

    #[test]
    fn the_background_fades_as_recorded() {
        let four = five().take(&[0, 1, 2, 3]);
        let drawn = draw(&BLOCK, four, &[]);
        assert_picture(&drawn, "visualizations/background_color.png");
    }

    #[test]
    fn masks_and_boxes_keep_their_pixels() {
        let white = [("color", "WHITE".into()), ("opacity", 1.0.into())];
        let is_white = |pixels: &crate::values::Matrix, x: usize, y: usize| {
            pixels.data[(y * pixels.width + x) * 3..][..3] == [255; 3]
        };
        let masked = draw_masked(&BLOCK, &white);
        assert!(is_white(&masked, 22, 26) && !is_white(&masked, 45, 60));
        let boxed = draw_five(&BLOCK, &white);
        assert!(is_white(&boxed, 5, 5) && !is_white(&boxed, 22, 31));
    }

    #[test]
    fn without_detections_the_whole_image_fades() {
        let fields = [("color", "rgb(1, 2, 3)".into()), ("opacity", 1.0.into())];
        let drawn = draw(&BLOCK, Detections::default(), &fields);
        assert!(drawn.data.chunks(3).all(|p| p == [3, 2, 1]));
    }
}
