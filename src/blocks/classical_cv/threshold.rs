//! Compares each value of an image with a threshold.
//!
//! # Inputs and outputs
//! `image`, `threshold_type`, `thresh_value`, `max_value` → `image` of the same size and number of
//! channels.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The adaptive types and `otsu` find the threshold themselves (`thresh_value` is ignored) and take
//! gray images only. The others treat each channel for itself.

use opencv::imgproc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::imaging;
use crate::row;
use crate::values::{Matrix, kind};

/// Side of the neighbourhood of the adaptive types, and what is taken off its mean.
const ADAPTIVE: (i32, f64) = (11, 2.0);

/// `roboflow_core/threshold@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/threshold@v1"],
    name: "Image Threshold",
    family: Family::ClassicalComputerVision,
    stateless: true,
    about: "Compares each value of an image with a threshold.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])])
            .alias("images")
            .about("Image to compare."),
        Field::optional(
            "threshold_type",
            &[
                Ty::Selector(&[kind::STRING]),
                Ty::OneOf(&[
                    "binary",
                    "binary_inv",
                    "trunc",
                    "tozero",
                    "tozero_inv",
                    "adaptive_mean",
                    "adaptive_gaussian",
                    "otsu",
                ]),
            ],
            "\"binary\"",
        )
        .about("What becomes of values above and below."),
        Field::required("thresh_value", &[Ty::Selector(&[kind::INTEGER]), Ty::Int])
            .about("The threshold."),
        Field::optional(
            "max_value",
            &[Ty::Selector(&[kind::INTEGER]), Ty::Int],
            "255",
        )
        .about("What values above become."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    build: |_, _| Ok(Box::new(Threshold)),
    ..BlockSpec::DEFAULT
};

struct Threshold;

impl Block for Threshold {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let pixels = compared(
            image.pixels(),
            inputs.text("threshold_type")?,
            inputs.float("thresh_value")?,
            inputs.float("max_value")?,
        )?;
        Ok(Output::One(row![image.with_pixels(pixels)]))
    }
}

fn compared(
    pixels: &Matrix,
    threshold_type: &str,
    threshold: f64,
    max: f64,
) -> Result<Matrix, BlockError> {
    let fixed = |kind: i32, threshold: f64| {
        let source = imaging::view(pixels)?;
        imaging::produce(pixels.width, pixels.height, pixels.channels, |out| {
            imgproc::threshold(&source, out, threshold, max, kind).map(|_| ())
        })
    };
    let adaptive = |method: i32| {
        let source = imaging::view(pixels)?;
        let (side, less) = ADAPTIVE;
        let kind = imgproc::THRESH_BINARY;
        imaging::produce(pixels.width, pixels.height, pixels.channels, |out| {
            imgproc::adaptive_threshold(&source, out, max, method, kind, side, less)
        })
    };
    Ok(match threshold_type {
        "binary" => fixed(imgproc::THRESH_BINARY, threshold),
        "binary_inv" => fixed(imgproc::THRESH_BINARY_INV, threshold),
        "trunc" => fixed(imgproc::THRESH_TRUNC, threshold),
        "tozero" => fixed(imgproc::THRESH_TOZERO, threshold),
        "tozero_inv" => fixed(imgproc::THRESH_TOZERO_INV, threshold),
        "adaptive_mean" => adaptive(imgproc::ADAPTIVE_THRESH_MEAN_C),
        "adaptive_gaussian" => adaptive(imgproc::ADAPTIVE_THRESH_GAUSSIAN_C),
        "otsu" => fixed(imgproc::THRESH_BINARY | imgproc::THRESH_OTSU, 0.0),
        other => {
            return Err(BlockError::failed(format!(
                "unknown threshold_type `{other}`"
            )));
        }
    }?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::visualizations::common::testing::{image_of, run};
    use crate::values::{Image, Value};

    fn threshold(pixels: Matrix, threshold_type: &str) -> Result<Output, BlockError> {
        let fields: [(&str, Value); 4] = [
            ("image", Image::new(pixels, "image".into()).into()),
            ("threshold_type", threshold_type.into()),
            ("thresh_value", 100i64.into()),
            ("max_value", 200i64.into()),
        ];
        run(&BLOCK, &fields)
    }

    #[test]
    fn fixed_types_work_on_each_channel() {
        for (threshold_type, want) in [
            ("binary", [0, 0, 200]),
            ("binary_inv", [200, 200, 0]),
            ("trunc", [50, 100, 100]),
            ("tozero", [0, 0, 150]),
            ("tozero_inv", [50, 100, 0]),
        ] {
            let got = image_of(threshold(
                Matrix::filled(2, 2, &[50, 100, 150]),
                threshold_type,
            ));
            assert_eq!(
                **got.pixels(),
                Matrix::filled(2, 2, &want),
                "{threshold_type}"
            );
        }
    }

    #[test]
    fn types_that_find_the_threshold_take_gray_only() {
        let mut gray = Matrix::filled(8, 1, &[10]);
        gray.data[4..].fill(90);
        let split = image_of(threshold(gray.clone(), "otsu"));
        assert_eq!(split.pixels().data, [0, 0, 0, 0, 200, 200, 200, 200]);
        for threshold_type in ["otsu", "adaptive_mean", "adaptive_gaussian"] {
            assert!(threshold(gray.clone(), threshold_type).is_ok());
            assert!(threshold(Matrix::filled(8, 8, &[1, 2, 3]), threshold_type).is_err());
        }
        assert!(threshold(gray, "local").is_err());
    }
}
