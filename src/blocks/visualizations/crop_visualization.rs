//! Pastes an enlarged copy of each detection beside it.
//!
//! # Inputs and outputs
//! `image`, `predictions`, a palette for the frame, `position`, `scale_factor`, `border_thickness`
//! → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Copies show the image as it came in, not copies pasted before. They are cut at the image's
//! edges. Detections outside the image are passed over. Gray images become colour images.

use opencv::imgproc::INTER_LINEAR;

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::geometry::Anchor;
use crate::imaging::blend::paste;
use crate::imaging::{self, Canvas, Pixel, pixels, trunc_box};
use crate::values::{Matrix, kind};

use super::common::{self, Palette, fields};

/// `roboflow_core/crop_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/crop_visualization@v1", "CropVisualization"],
    name: "Crop Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Pastes an enlarged copy of each detection beside it.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        fields::COLOR_PALETTE,
        fields::PALETTE_SIZE,
        fields::CUSTOM_COLORS,
        fields::COLOR_AXIS,
        fields::position("position", "\"TOP_CENTER\""),
        fields::number("scale_factor", "2.0").about("How much to enlarge."),
        fields::integer("border_thickness", "2").about("Thickness of the frame."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(common::palette_problems),
    build: |_, _| Ok(Box::new(Crop)),
    ..BlockSpec::DEFAULT
};

struct Crop;

impl Block for Crop {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let detections = inputs.detections("predictions")?;
        let palette = Palette::of(inputs)?;
        let position = Anchor::parse(inputs.text("position")?)?;
        let factor = inputs.float("scale_factor")?;
        let border = pixels(inputs.int("border_thickness")?);
        if detections.is_empty() {
            return common::unchanged(image);
        }
        if factor <= 0.0 {
            return Err(BlockError::failed(format!(
                "scale_factor must be positive, got {factor}"
            )));
        }
        let image = common::in_color(image);
        let before = image.pixels().clone();
        common::drawn(&image, |pixels| {
            for (row, xyxy) in detections.xyxy.iter().enumerate() {
                let region = imaging::clipped(trunc_box(xyxy), before.width, before.height);
                let Some([x, y, w, h]) = region else {
                    continue;
                };
                let scaled = |side: usize| ((side as f64 * factor) as usize).max(1);
                let crop = before.cut(x, y, w, h);
                let crop = imaging::resized(&crop, scaled(w), scaled(h), INTER_LINEAR)?;
                let anchor = common::pixel_at(position, detections, row)?;
                let size = [crop.width as i32, crop.height as i32];
                let (from, to) = placed(anchor, position, size);
                paste_at(pixels, &crop, from);
                let color = palette.color(detections, row)?;
                Canvas::new(pixels)?.rectangle(from, to, color, border)?;
            }
            Ok(())
        })
    }
}

/// The corners of a copy of a size at a place on a detection: sides push it outward.
fn placed([x, y]: Pixel, position: Anchor, [width, height]: Pixel) -> (Pixel, Pixel) {
    let (side, level) = match position {
        Anchor::Box(x, y) => (x, y),
        Anchor::CenterOfMass => (0, 0),
    };
    let along = |at: i32, size: i32, place: i8| match place {
        -1 => (at - size, at),
        0 => (at - size / 2, at + size / 2),
        _ => (at, at + size),
    };
    let ((x1, x2), (y1, y2)) = (along(x, width, side), along(y, height, level));
    ([x1, y1], [x2, y2])
}

/// Pastes what of `part` lies inside the image if its top left corner is at `at`.
fn paste_at(pixels: &mut Matrix, part: &Matrix, [x, y]: Pixel) {
    let corners = [x, y, x + part.width as i32, y + part.height as i32];
    if let Some(region) = imaging::clipped(corners, pixels.width, pixels.height) {
        let (dx, dy) = (region[0] as i32 - x, region[1] as i32 - y);
        let inside = part.cut(dx as usize, dy as usize, region[2], region[3]);
        paste(pixels, region, &inside);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::common::testing::{assert_picture, draw, image_of, run, scene};
    use super::*;
    use crate::values::Detections;

    fn two() -> Detections {
        Detections {
            xyxy: Arc::new(vec![
                [45.0 - 20.15, 69.6 - 25.25, 45.0 + 20.15, 69.6 + 25.25],
                [135.0, 45.0, 165.0, 75.0],
            ]),
            class_id: Some(Arc::new(vec![0, 1])),
            ..Detections::default()
        }
    }

    #[test]
    fn copies_are_pasted_as_recorded() {
        assert_picture(&draw(&BLOCK, two(), &[]), "visualizations/crop.png");
        let big = [
            ("scale_factor", 1.5.into()),
            ("border_thickness", 5i64.into()),
            ("position", "CENTER".into()),
        ];
        assert_picture(&draw(&BLOCK, two(), &big), "visualizations/crop_big.png");
    }

    #[test]
    fn sides_push_outward() {
        let at = |name: &str| placed([50, 60], Anchor::parse(name).unwrap(), [20, 10]);
        assert_eq!(at("TOP_LEFT"), ([30, 50], [50, 60]));
        assert_eq!(at("BOTTOM_RIGHT"), ([50, 60], [70, 70]));
        assert_eq!(at("CENTER_OF_MASS"), ([40, 55], [60, 65]));
    }

    #[test]
    fn a_factor_of_zero_is_an_error_and_boxes_outside_are_passed_over() {
        let fields = [
            ("image", scene().into()),
            ("predictions", two().into()),
            ("scale_factor", 0.0.into()),
        ];
        assert!(run(&BLOCK, &fields).is_err());
        let outside = Detections {
            xyxy: Arc::new(vec![[-30.0, -30.0, -5.0, -5.0]]),
            class_id: Some(Arc::new(vec![0])),
            ..Detections::default()
        };
        let fields = [("image", scene().into()), ("predictions", outside.into())];
        let drawn = image_of(run(&BLOCK, &fields));
        assert_picture(drawn.pixels(), "visualizations/scene.png");
    }
}
