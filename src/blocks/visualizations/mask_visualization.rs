//! Shades the masks of detections.
//!
//! # Inputs and outputs
//! `image`, `predictions` with masks (dense, run-length or one per class), a palette, `opacity` →
//! `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Large masks are painted first, so small ones stay visible. Without masks the image stays as it
//! is. Masks must have the size of the image. Gray images become colour images.

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::imaging::blend::{Ground, overlay};
use crate::values::kind;

use super::common::{self, Palette, fields, masks};

/// `roboflow_core/mask_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/mask_visualization@v1", "MaskVisualization"],
    name: "Mask Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Shades the masks of detections.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        Field::required(
            "predictions",
            &[Ty::Selector(&[
                kind::INSTANCE_SEGMENTATION,
                kind::RLE_INSTANCE_SEGMENTATION,
                kind::SEMANTIC_SEGMENTATION,
            ])],
        )
        .about("Detections to draw."),
        fields::COLOR_PALETTE,
        fields::PALETTE_SIZE,
        fields::CUSTOM_COLORS,
        fields::COLOR_AXIS,
        fields::share("opacity", "0.5").about("Strength of the shade."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(common::palette_problems),
    build: |_, _| Ok(Box::new(MaskVisualization)),
    ..BlockSpec::DEFAULT
};

struct MaskVisualization;

impl Block for MaskVisualization {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let detections = inputs.detections("predictions")?;
        let opacity = inputs.float("opacity")?;
        let palette = Palette::of(inputs)?;
        let masks = masks::decoded(detections)?.unwrap_or_default();
        let Some(region) = masks::extent(masks.iter()) else {
            return common::unchanged(image);
        };
        let mut painted = Vec::with_capacity(masks.len());
        for row in masks::largest_first(&masks) {
            painted.push((&masks[row], palette.color(detections, row)?));
        }
        common::drawn(&common::in_color(image), |pixels| {
            masks::check_size(&masks, pixels)?;
            overlay(pixels, region, Ground::Image, opacity, |canvas| {
                painted
                    .iter()
                    .try_for_each(|(mask, color)| canvas.mask(mask, *color))
            })?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::common::testing::{
        assert_picture, draw, draw_masked, five, image_of, masked, run,
    };
    use super::*;
    use crate::values::{Image, Mask, Matrix, Value};

    #[test]
    fn masks_are_shaded_as_recorded() {
        assert_picture(&draw_masked(&BLOCK, &[]), "visualizations/mask.png");
        let faint = draw_masked(&BLOCK, &[("opacity", 0.15.into())]);
        assert_picture(&faint, "visualizations/mask_faint.png");
    }

    #[test]
    fn without_masks_nothing_is_drawn() {
        assert_picture(&draw(&BLOCK, five(), &[]), "visualizations/scene.png");
    }

    #[test]
    fn gray_images_are_shaded_in_colour() {
        let gray = Image::new(Matrix::filled(200, 150, &[9]), "image".into());
        let fields = [("image", gray.into()), ("predictions", masked().into())];
        assert_eq!(image_of(run(&BLOCK, &fields)).channels(), 3);
    }

    #[test]
    fn masks_of_another_size_are_an_error() {
        let mut detections = masked();
        detections.masks = Some(Arc::new(vec![
            Mask::from_window(20, 20, [0, 0, 1, 1], &[1]);
            4
        ]));
        let image = Image::new(Matrix::filled(200, 150, &[0, 0, 0]), "image".into());
        let fields: [(&str, Value); 2] =
            [("image", image.into()), ("predictions", detections.into())];
        assert!(run(&BLOCK, &fields).is_err());
    }
}
