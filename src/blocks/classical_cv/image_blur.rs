//! Blurs an image.
//!
//! # Inputs and outputs
//! `image`, `blur_type` (`average`, `gaussian`, `median`, `bilateral`), `kernel_size` → `image` of
//! the same size and number of channels.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Gaussian and median take an odd size of at least 1: an even one grows by 1. An average needs at
//! least 1. For `bilateral` a size of 0 or less lets OpenCV choose.

use opencv::core::{BORDER_DEFAULT, Size};
use opencv::imgproc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::imaging;
use crate::row;
use crate::values::{Matrix, kind};

/// `roboflow_core/image_blur@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/image_blur@v1"],
    name: "Image Blur",
    family: Family::ClassicalComputerVision,
    stateless: true,
    about: "Blurs an image.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])])
            .alias("images")
            .about("Image to blur."),
        Field::optional(
            "blur_type",
            &[Ty::Selector(&[kind::STRING]), Ty::OneOf(TYPES)],
            "\"gaussian\"",
        )
        .about("How to blur."),
        Field::optional(
            "kernel_size",
            &[Ty::Selector(&[kind::INTEGER]), Ty::Int],
            "5",
        )
        .about("Size of the neighbourhood, pixels."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    build: |_, _| Ok(Box::new(ImageBlur)),
    ..BlockSpec::DEFAULT
};

struct ImageBlur;

impl Block for ImageBlur {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let kernel = imaging::kernel(inputs.int("kernel_size")?)?;
        let blurred = blurred(image.pixels(), inputs.text("blur_type")?, kernel)?;
        Ok(Output::One(row![image.with_pixels(blurred)]))
    }
}

const TYPES: &[&str] = &["average", "gaussian", "median", "bilateral"];

fn blurred(pixels: &Matrix, blur_type: &str, kernel: i32) -> Result<Matrix, BlockError> {
    if !TYPES.contains(&blur_type) {
        return Err(BlockError::failed(format!(
            "unknown blur_type `{blur_type}`: use average, gaussian, median or bilateral"
        )));
    }
    let source = imaging::view(pixels)?;
    let odd = kernel.max(1) | 1;
    let blurred =
        imaging::produce(
            pixels.width,
            pixels.height,
            pixels.channels,
            |out| match blur_type {
                "average" => imgproc::blur_def(&source, out, Size::new(kernel, kernel)),
                "gaussian" => imgproc::gaussian_blur_def(&source, out, Size::new(odd, odd), 0.0),
                "median" => imgproc::median_blur(&source, out, odd),
                _ => imgproc::bilateral_filter(&source, out, kernel, 75.0, 75.0, BORDER_DEFAULT),
            },
        )?;
    Ok(blurred)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::visualizations::common::testing::{assert_picture, image_of, picture, run};
    use crate::values::{Image, Value};

    fn blur(pixels: Matrix, blur_type: &str, kernel: i64) -> Result<Output, BlockError> {
        let fields: [(&str, Value); 3] = [
            ("image", Image::new(pixels, "image".into()).into()),
            ("blur_type", blur_type.into()),
            ("kernel_size", kernel.into()),
        ];
        run(&BLOCK, &fields)
    }

    #[test]
    fn every_type_blurs_as_recorded() {
        for (blur_type, kernel) in [("average", 4), ("gaussian", 8), ("median", 6)] {
            let got = image_of(blur(
                picture("visualizations/texture.png"),
                blur_type,
                kernel,
            ));
            assert_picture(
                got.pixels(),
                &format!("visualizations/blur_{blur_type}.png"),
            );
        }
    }

    #[test]
    fn gray_stays_gray() {
        for blur_type in ["average", "gaussian", "median", "bilateral"] {
            let got = image_of(blur(Matrix::filled(9, 7, &[40]), blur_type, 3));
            assert_eq!(**got.pixels(), Matrix::filled(9, 7, &[40]));
        }
    }

    #[test]
    fn a_size_of_one_changes_nothing_and_none_is_an_error() {
        let texture = picture("visualizations/texture.png");
        let same = image_of(blur(texture.clone(), "median", -3));
        assert_eq!(**same.pixels(), texture);
        assert!(blur(texture.clone(), "average", 0).is_err());
        assert!(blur(texture, "motion", 3).is_err());
    }
}
