//! What the drawing blocks share: fields, colours, anchor points, masks, labels, and the rule that
//! every block draws on a copy.
//!
//! `copy_image` is accepted and changes nothing: no step ever sees another's drawing. Where nothing
//! is drawn no pixel is copied either; the output shares those of the input.

pub mod colormaps;
pub mod fields;
pub mod labels;
pub mod masks;
pub mod palette;
#[cfg(test)]
pub mod testing;

use serde_json::Value as Json;

use crate::blocks::{BlockError, BlockSpec, Family, Inputs, Output, StepProblem, output};
use crate::definition::step::Step;
use crate::geometry::Anchor;
use crate::imaging::color::ColorError;
use crate::imaging::{self, Canvas, Color, Pixel};
use crate::row;
use crate::values::{Detections, Image, Matrix, Value, kind};

pub use palette::Palette;

impl From<ColorError> for BlockError {
    fn from(error: ColorError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What the specs of blocks that draw in the colours of a palette share.
pub const COLORED: BlockSpec = BlockSpec {
    stateless: true,
    family: Family::Visualization,
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(palette_problems),
    ..BlockSpec::DEFAULT
};

/// The output of a block that drew nothing.
pub fn unchanged(image: &Image) -> Result<Output, BlockError> {
    Ok(Output::One(row![image.as_result()]))
}

/// The output of a block that changes a copy of the image's pixels with `draw`.
pub fn drawn(
    image: &Image,
    draw: impl FnOnce(&mut Matrix) -> Result<(), BlockError>,
) -> Result<Output, BlockError> {
    let mut pixels = imaging::owned(image);
    draw(&mut pixels)?;
    Ok(Output::One(row![image.with_pixels(pixels)]))
}

/// The output of a block that draws something for each of its `predictions`, in the colour that the
/// palette fields give the row.
pub fn each_row(
    inputs: &Inputs<'_>,
    mut draw: impl FnMut(&mut Canvas<'_>, &Detections, usize, Color) -> Result<(), BlockError>,
) -> Result<Output, BlockError> {
    let image = inputs.image("image")?;
    let detections = inputs.detections("predictions")?;
    let palette = Palette::of(inputs)?;
    if detections.is_empty() {
        return unchanged(image);
    }
    drawn(image, |pixels| {
        let mut canvas = Canvas::new(pixels)?;
        for row in 0..detections.len() {
            let color = palette.color(detections, row)?;
            draw(&mut canvas, detections, row, color)?;
        }
        Ok(())
    })
}

/// An image in colour, for blocks that cannot work on gray: gray pixels are repeated in all three
/// channels.
pub fn in_color(image: &Image) -> Image {
    if image.channels() == 3 {
        image.clone()
    } else {
        image.with_pixels(image.to_owned_bgr())
    }
}

/// What is wrong with the literal colour of a field, if anything.
pub fn color_problem(step: &Step, field: &'static str) -> Option<StepProblem> {
    let error = Color::parse(step.text(field)?).err()?;
    Some(StepProblem {
        field: Some(field),
        message: error.to_string(),
    })
}

/// What is wrong with the literal entries of `custom_colors`, if they are used at all.
pub fn palette_problems(step: &Step) -> Vec<StepProblem> {
    if step.text("color_palette") != Some("CUSTOM") {
        return Vec::new();
    }
    let colors = step
        .literal("custom_colors")
        .and_then(Json::as_array)
        .map_or(&[][..], Vec::as_slice);
    colors
        .iter()
        .filter_map(|color| Color::parse(color.as_str()?).err())
        .map(|error| StepProblem {
            field: Some("custom_colors"),
            message: error.to_string(),
        })
        .collect()
}

/// Points `[x, y]` of a value: a list of pairs (further numbers of a point are ignored), or an
/// array of two columns or more. `None` if the value is something else.
pub fn points(value: &Value) -> Option<Vec<[f64; 2]>> {
    if let Value::Array(array) = value {
        let columns = *array.shape.last().filter(|_| array.shape.len() == 2)?;
        return (columns >= 2).then(|| {
            array
                .data
                .chunks_exact(columns)
                .map(|p| [p[0], p[1]])
                .collect()
        });
    }
    let point = |p: &Value| match p {
        Value::Array(array) => Some([*array.data.first()?, *array.data.get(1)?]),
        _ => {
            let pair = p.as_slice()?;
            Some([pair.first()?.as_f64()?, pair.get(1)?.as_f64()?])
        }
    };
    value.as_slice()?.iter().map(point).collect()
}

/// The place on the box of a row in whole pixels, fractions dropped.
pub fn pixel_at(anchor: Anchor, detections: &Detections, row: usize) -> Result<Pixel, BlockError> {
    Ok(anchor.of(detections, row)?.map(imaging::trunc))
}

/// Points with their fractions dropped.
pub fn pixels_of(points: &[[f64; 2]]) -> Vec<Pixel> {
    points.iter().map(|p| p.map(imaging::trunc)).collect()
}

/// The smallest region of an image that holds all points and `margin` pixels around them; `None`
/// if it lies outside.
pub fn region_around(
    points: &[Pixel],
    margin: i32,
    [width, height]: [usize; 2],
) -> Option<imaging::Region> {
    let span = |axis: usize| {
        let values = points.iter().map(|p| p[axis]);
        Some((values.clone().min()?, values.max()?))
    };
    let ((x1, x2), (y1, y2)) = (span(0)?, span(1)?);
    let corners = [
        x1.saturating_sub(margin),
        y1.saturating_sub(margin),
        x2.saturating_add(margin).saturating_add(1),
        y2.saturating_add(margin).saturating_add(1),
    ];
    imaging::clipped(corners, width, height)
}
