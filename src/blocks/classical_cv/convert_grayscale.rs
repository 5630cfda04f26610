//! Turns a colour image into a gray one.
//!
//! # Inputs and outputs
//! `image` → `image` with one channel.
//!
//! # State
//! None.
//!
//! # Edge cases
//! A gray image is an error, as in the reference.

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::imaging;
use crate::row;
use crate::values::kind;

/// `roboflow_core/convert_grayscale@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/convert_grayscale@v1"],
    name: "Image Convert Grayscale",
    family: Family::ClassicalComputerVision,
    stateless: true,
    about: "Turns a colour image into a gray one.",
    fields: &[Field::required("image", &[Ty::Selector(&[kind::IMAGE])])
        .alias("images")
        .about("Image to convert.")],
    outputs: &[output("image", &[kind::IMAGE])],
    build: |_, _| Ok(Box::new(ConvertGrayscale)),
    ..BlockSpec::DEFAULT
};

struct ConvertGrayscale;

impl Block for ConvertGrayscale {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        if image.channels() == 1 {
            return Err(BlockError::failed(
                "the image is gray already: take out this step or feed it a colour image",
            ));
        }
        let gray = imaging::to_gray(image.pixels())?;
        Ok(Output::One(row![image.with_pixels(gray)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::visualizations::common::testing::{image_of, run};
    use crate::values::{Image, Matrix};

    #[test]
    fn the_weights_are_opencvs() {
        let image = Image::new(Matrix::filled(3, 2, &[10, 200, 60]), "image".into());
        let gray = image_of(run(&BLOCK, &[("image", image.into())]));
        let want = (3735 * 10 + 19235 * 200 + 9798 * 60 + 16384) >> 15;
        assert_eq!(**gray.pixels(), Matrix::filled(3, 2, &[want as u8]));
    }

    #[test]
    fn gray_is_refused() {
        let image = Image::new(Matrix::filled(3, 2, &[10]), "image".into());
        assert!(run(&BLOCK, &[("image", image.into())]).is_err());
    }
}
