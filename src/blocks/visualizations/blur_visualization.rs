//! Blurs detections, e.g. faces, out of recognition.
//!
//! # Inputs and outputs
//! `image`, `predictions`, `kernel_size` (at run time `null` for a third of the region's shorter
//! side), `padding` around the region → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! With masks (dense or run-length) only their pixels are blurred. A region's edge counts as the
//! edge of the image for the blur. Detections outside the image are passed over. Gray images stay
//! gray.

use opencv::core::Size;
use opencv::imgproc;

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::imaging::blend::{copy_masked, paste};
use crate::imaging::{self, Canvas, Color, Region, pixels};
use crate::values::{Mask, Matrix, kind};

use super::common::{self, fields, masks};

/// `roboflow_core/blur_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/blur_visualization@v1", "BlurVisualization"],
    name: "Blur Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Blurs detections out of recognition.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        fields::integer("kernel_size", "15").about("Strength of the blur, pixels."),
        fields::integer("padding", "0").about("What to blur around a detection, pixels."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    build: |_, _| Ok(Box::new(Blur)),
    ..BlockSpec::DEFAULT
};

struct Blur;

impl Block for Blur {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let detections = inputs.detections("predictions")?;
        let kernel = inputs.optional("kernel_size", |i, f| Ok(imaging::kernel(i.int(f)?)?))?;
        if kernel.is_some_and(|k| k < 1) {
            return Err(BlockError::failed("kernel_size must be at least 1"));
        }
        let padding = pixels(inputs.int("padding")?);
        if padding < 0 {
            return Err(BlockError::failed(format!(
                "padding must be at least 0, got {padding}"
            )));
        }
        let masks = masks::decoded(detections)?;
        if detections.is_empty() {
            return common::unchanged(image);
        }
        common::drawn(image, |pixels| {
            if let Some(masks) = &masks {
                masks::check_size(masks, pixels)?;
            }
            for (row, xyxy) in detections.xyxy.iter().enumerate() {
                let mask = masks.as_ref().map(|m| &m[row]);
                match mask {
                    Some(mask) => blur_mask(pixels, xyxy, mask, kernel, padding)?,
                    None => {
                        if let Some(region) = padded(xyxy, padding, pixels) {
                            let blurred = blurred(pixels, region, kernel)?;
                            paste(pixels, region, &blurred);
                        }
                    }
                }
            }
            Ok(())
        })
    }
}

/// A box with some pixels around it, cut at the image's edges; `None` if nothing is left.
fn padded([x1, y1, x2, y2]: &[f64; 4], padding: i32, image: &Matrix) -> Option<Region> {
    let padding = f64::from(padding);
    let corners = [x1 - padding, y1 - padding, x2 + padding, y2 + padding];
    imaging::clipped(corners.map(imaging::trunc), image.width, image.height)
}

/// A region of the image, blurred as if it were an image of its own.
fn blurred(pixels: &Matrix, region: Region, kernel: Option<i32>) -> opencv::Result<Matrix> {
    let [x, y, width, height] = region;
    let kernel = kernel.unwrap_or_else(|| (width.min(height) as i32 / 3).max(1));
    let part = pixels.cut(x, y, width, height);
    let source = imaging::view(&part)?;
    imaging::produce(width, height, part.channels, |out| {
        imgproc::blur_def(&source, out, Size::new(kernel, kernel))
    })
}

/// Blurs the pixels of a mask, within the region that holds it and its box.
fn blur_mask(
    pixels: &mut Matrix,
    xyxy: &[f64; 4],
    mask: &Mask,
    kernel: Option<i32>,
    padding: i32,
) -> opencv::Result<()> {
    let [mx, my, mw, mh] = mask.window();
    if mw == 0 || mh == 0 {
        return Ok(());
    }
    let (mut x1, mut y1, mut x2, mut y2) = (mx, my, mx + mw, my + mh);
    if let Some([x, y, w, h]) = padded(xyxy, 0, pixels) {
        (x1, y1) = (x1.min(x), y1.min(y));
        (x2, y2) = (x2.max(x + w), y2.max(y + h));
    }
    let grow = padding as usize;
    let (x1, y1) = (x1.saturating_sub(grow), y1.saturating_sub(grow));
    let (x2, y2) = (
        (x2 + grow).min(pixels.width),
        (y2 + grow).min(pixels.height),
    );
    let region = [x1, y1, x2 - x1, y2 - y1];
    let part = mask.cut(x1 as i64, y1 as i64, region[2], region[3]);
    let part = if padding > 0 {
        dilated(&part, padding)?
    } else {
        part
    };
    let mut result = pixels.cut(x1, y1, region[2], region[3]);
    let blurred = blurred(pixels, region, kernel)?;
    copy_masked(&mut result, &blurred, &part)?;
    paste(pixels, region, &result);
    Ok(())
}

/// Most pixels by which a mask grows: the time that takes grows with their square.
const MOST_GROWTH: i32 = 200;

/// A mask grown by a round brush of radius `padding`.
fn dilated(mask: &Mask, padding: i32) -> opencv::Result<Mask> {
    if padding > MOST_GROWTH {
        let message = format!("a mask grows by at most {MOST_GROWTH} pixels, not {padding}");
        return Err(opencv::Error::new(opencv::core::StsOutOfRange, message));
    }
    let (width, height) = (mask.width(), mask.height());
    let mut dense = Matrix::filled(width, height, &[0]);
    Canvas::new(&mut dense)?.mask(mask, Color::WHITE)?;
    let side = 2 * padding + 1;
    let brush =
        imgproc::get_structuring_element_def(imgproc::MORPH_ELLIPSE, Size::new(side, side))?;
    let source = imaging::view(&dense)?;
    let grown = imaging::produce(width, height, 1, |out| {
        imgproc::dilate_def(&source, out, &brush)
    })?;
    Ok(Mask::from_dense(width, height, &grown.data))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::common::testing::{assert_picture, draw_masked, image_of, picture, run};
    use super::*;
    use crate::values::{Detections, Image, Value};

    fn boxes() -> Detections {
        Detections {
            xyxy: Arc::new(vec![
                [40.35, 20.2, 80.85, 70.2],
                [-10.0, -10.0, 20.0, 20.0],
                [108.0, 78.0, 128.0, 98.0],
                [300.0, 300.0, 310.0, 310.0],
            ]),
            ..Detections::default()
        }
    }

    fn blur(more: &[(&'static str, Value)]) -> Result<Output, BlockError> {
        let photo = Image::new(picture("visualizations/photo.png"), "image".into());
        let mut fields = vec![("image", photo.into()), ("predictions", boxes().into())];
        fields.extend(more.iter().cloned());
        run(&BLOCK, &fields)
    }

    #[test]
    fn boxes_are_blurred_as_recorded() {
        let got = image_of(blur(&[]));
        assert_picture(got.pixels(), "visualizations/blur_boxes.png");
        let padded = [("padding", 6i64.into()), ("kernel_size", 8i64.into())];
        assert_picture(
            image_of(blur(&padded)).pixels(),
            "visualizations/blur_padded.png",
        );
    }

    #[test]
    fn masks_are_blurred_as_recorded() {
        assert_picture(&draw_masked(&BLOCK, &[]), "visualizations/blur_masks.png");
        let padded = draw_masked(&BLOCK, &[("padding", 5i64.into())]);
        assert_picture(&padded, "visualizations/blur_masks_padded.png");
    }

    #[test]
    fn sizes_below_their_least_are_errors_and_none_is_a_choice() {
        assert!(blur(&[("kernel_size", 0i64.into())]).is_err());
        assert!(blur(&[("padding", (-1i64).into())]).is_err());
        assert!(blur(&[("kernel_size", Value::None)]).is_ok());
    }
}
