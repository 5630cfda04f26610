//! Lays images out in a grid.
//!
//! # Inputs and outputs
//! `images` (images and lists of images), `width` and `height` of the whole → `image`, in the place
//! of the first.
//!
//! # State
//! None.
//!
//! # Edge cases
//! There are as many rows as columns, each image scaled to its cell and centred in it. Empty
//! entries leave their cell black, but the first must be there. No images give a black image with
//! an identifier of its own. Gray images become colour images.

use opencv::imgproc::INTER_AREA;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::imaging;
use crate::imaging::blend::paste;
use crate::row;
use crate::values::detections::new_id;
use crate::values::{Image, Kind, Matrix, Value, kind};

use super::common::fields;

const KINDS: &[Kind] = &[kind::IMAGE, kind::LIST_OF_VALUES];

/// `roboflow_core/grid_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/grid_visualization@v1"],
    name: "Grid Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Lays images out in a grid.",
    fields: &[
        Field::required(
            "images",
            &[
                Ty::ListIn(&[Ty::Selector(KINDS)], 1, usize::MAX),
                Ty::Selector(KINDS),
            ],
        )
        .about("The images, row by row.")
        .shown(1),
        fields::integer("width", "2560").about("Width of the whole, pixels."),
        fields::integer("height", "1440").about("Height of the whole, pixels."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    build: |_, _| Ok(Box::new(Grid)),
    ..BlockSpec::DEFAULT
};

struct Grid;

impl Block for Grid {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let mut images = Vec::new();
        flatten(inputs.value("images"), &mut images)?;
        let side = |field: &str| {
            let n = inputs.int(field)?;
            let valid = usize::try_from(n)
                .ok()
                .filter(|n| (1..=MAX_SIDE).contains(n));
            valid.ok_or_else(|| {
                BlockError::failed(format!("{field} must be from 1 to {MAX_SIDE}, got {n}"))
            })
        };
        let mut canvas = Matrix::filled(side("width")?, side("height")?, &[0, 0, 0]);
        let Some(first) = images.first() else {
            let black = Image::new(canvas, new_id());
            return Ok(Output::One(row![black]));
        };
        let first = first.ok_or_else(|| BlockError::failed("the first image must not be empty"))?;
        let cells = (images.len() as f64).sqrt().ceil() as usize;
        let cell = [canvas.width / cells, canvas.height / cells];
        for (i, image) in images.iter().enumerate() {
            if let Some(image) = image {
                let corner = [i % cells * cell[0], i / cells * cell[1]];
                put(&mut canvas, image, corner, cell)?;
            }
        }
        Ok(Output::One(row![first.with_pixels(canvas)]))
    }
}

/// Longest side of the whole.
const MAX_SIDE: usize = 1 << 14;

fn flatten<'a>(value: &'a Value, images: &mut Vec<Option<&'a Image>>) -> Result<(), BlockError> {
    match value {
        Value::Image(image) => images.push(Some(image)),
        Value::None => images.push(None),
        other => {
            let items = other.as_slice().ok_or_else(|| {
                BlockError::failed(format!(
                    "field `images` must hold images, got {}",
                    other.type_name()
                ))
            })?;
            for item in items {
                flatten(item, images)?;
            }
        }
    }
    Ok(())
}

/// Puts an image into a cell, as large as it fits, in its middle.
fn put(
    canvas: &mut Matrix,
    image: &Image,
    corner: [usize; 2],
    cell: [usize; 2],
) -> opencv::Result<()> {
    let (w, h) = (image.width() as f64, image.height() as f64);
    let scale = (cell[0] as f64 / w).min(cell[1] as f64 / h);
    let size = [(w * scale) as usize, (h * scale) as usize];
    if size.contains(&0) {
        return Ok(());
    }
    let small = imaging::resized(&image.bgr(), size[0], size[1], INTER_AREA)?;
    let [x, y] = [0, 1].map(|axis| corner[axis] + (cell[axis] - size[axis]) / 2);
    paste(canvas, [x, y, size[0], size[1]], &small);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, image_of, picture, run};
    use super::*;

    fn grid(images: Value, width: i64, height: i64) -> Result<Output, BlockError> {
        let fields = [
            ("images", images),
            ("width", width.into()),
            ("height", height.into()),
        ];
        run(&BLOCK, &fields)
    }

    #[test]
    fn one_image_is_laid_out_as_recorded() {
        let texture = Image::new(picture("visualizations/texture.png"), "b".into());
        let got = image_of(grid(Value::list(vec![texture.into()]), 90, 120));
        assert_picture(got.pixels(), "visualizations/grid_one.png");
        assert_eq!(&*got.parent().id, "b");
    }

    #[test]
    fn lists_are_flattened_and_empty_cells_stay_black() {
        let flat = |v: u8| -> Value { Image::new(Matrix::filled(4, 4, &[v]), "a".into()).into() };
        let images = Value::list(vec![flat(9), Value::list(vec![Value::None, flat(7)])]);
        let got = image_of(grid(images, 8, 8));
        let at = |x: usize, y: usize| got.pixels().data[(y * 8 + x) * 3];
        assert_eq!([at(1, 1), at(5, 1), at(1, 5), at(5, 5)], [9, 0, 7, 0]);
    }

    #[test]
    fn no_images_are_black_and_an_empty_first_is_an_error() {
        let black = image_of(grid(Value::list(vec![]), 4, 3));
        assert_eq!(**black.pixels(), Matrix::filled(4, 3, &[0, 0, 0]));
        assert!(grid(Value::list(vec![Value::None]), 4, 3).is_err());
        assert!(grid(Value::list(vec![]), 0, 3).is_err());
    }
}
