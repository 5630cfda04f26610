//! Coarsens detections, e.g. faces, out of recognition.
//!
//! # Inputs and outputs
//! `image`, `predictions`, `pixel_size` (at run time `null` for half of the box's shorter side) →
//! `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Masks are not looked at. A box smaller than one coarse pixel gets its mean colour. Detections
//! outside the image are passed over. Gray images stay gray.

use opencv::core::{Size, mean_def};
use opencv::imgproc::{self, INTER_LINEAR, INTER_NEAREST};

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::imaging::blend::paste;
use crate::imaging::{self, Region, pixels, trunc_box};
use crate::values::{Matrix, kind};

use super::common::{self, fields};

/// `roboflow_core/pixelate_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/pixelate_visualization@v1",
        "PixelateVisualization",
    ],
    name: "Pixelate Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Coarsens detections out of recognition.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        fields::integer("pixel_size", "20").about("Side of a coarse pixel."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    build: |_, _| Ok(Box::new(Pixelate)),
    ..BlockSpec::DEFAULT
};

struct Pixelate;

impl Block for Pixelate {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let detections = inputs.detections("predictions")?;
        let size = inputs.optional("pixel_size", |i, f| i.int(f).map(pixels))?;
        if size.is_some_and(|s| s < 1) {
            return Err(BlockError::failed("pixel_size must be at least 1"));
        }
        if detections.is_empty() {
            return common::unchanged(image);
        }
        common::drawn(image, |pixels| {
            for xyxy in detections.xyxy.iter() {
                let region = imaging::clipped(trunc_box(xyxy), pixels.width, pixels.height);
                if let Some(region) = region {
                    let coarse = coarse(pixels, region, size)?;
                    paste(pixels, region, &coarse);
                }
            }
            Ok(())
        })
    }
}

/// A region of the image in coarse pixels of a size.
fn coarse(pixels: &Matrix, region: Region, size: Option<i32>) -> opencv::Result<Matrix> {
    let [x, y, width, height] = region;
    let part = pixels.cut(x, y, width, height);
    let source = imaging::view(&part)?;
    let shorter = width.min(height) as i32;
    let size = size.unwrap_or_else(|| (shorter / 2).max(1));
    if shorter < size {
        let mean = mean_def(&source)?;
        let pixel: Vec<u8> = (0..part.channels).map(|c| mean[c] as u8).collect();
        return Ok(Matrix::filled(width, height, &pixel));
    }
    let factor = 1.0 / f64::from(size);
    let scaled = |side: usize| (side as f64 * factor).round_ties_even() as usize;
    let small = imaging::produce(scaled(width), scaled(height), part.channels, |out| {
        let from_factors = Size::new(0, 0);
        imgproc::resize(&source, out, from_factors, factor, factor, INTER_LINEAR)
    })?;
    imaging::resized(&small, width, height, INTER_NEAREST)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::common::testing::{assert_picture, image_of, picture, run};
    use super::*;
    use crate::values::{Detections, Image, Value};

    fn pixelate(size: impl Into<Value>) -> Result<Output, BlockError> {
        let photo = Image::new(picture("visualizations/photo.png"), "image".into());
        let boxes = Detections {
            xyxy: Arc::new(vec![
                [40.35, 20.2, 80.85, 70.2],
                [-10.0, -10.0, 20.0, 20.0],
                [108.0, 78.0, 128.0, 98.0],
            ]),
            ..Detections::default()
        };
        let fields = [
            ("image", photo.into()),
            ("predictions", boxes.into()),
            ("pixel_size", size.into()),
        ];
        run(&BLOCK, &fields)
    }

    #[test]
    fn boxes_are_coarsened_as_recorded() {
        for (size, name) in [
            (20i64, "pixelate"),
            (5, "pixelate_fine"),
            (64, "pixelate_coarse"),
        ] {
            let got = image_of(pixelate(size));
            assert_picture(got.pixels(), &format!("visualizations/{name}.png"));
        }
    }

    #[test]
    fn a_size_below_one_is_an_error_and_none_is_a_choice() {
        assert!(pixelate(0i64).is_err());
        assert!(pixelate(Value::None).is_ok());
    }
}
