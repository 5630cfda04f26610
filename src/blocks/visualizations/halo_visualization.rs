//! Surrounds the masks of detections with a glow.
//!
//! # Inputs and outputs
//! `image`, `predictions` with masks, a palette, `opacity`, `kernel_size` → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Version 1 always blurs over 40 pixels whatever `kernel_size` says, and takes boxes where there
//! are no masks; version 2 draws nothing then. Nothing visible leaves the image as it is, and
//! bright pixels saturate. Gray images become colour images.

use std::sync::Arc;

use opencv::core::Size;
use opencv::imgproc;

use crate::blocks::{Block, BlockError, BlockSpec, Context, Field, Inputs, Output};
use crate::imaging::{self, Canvas, Color, Region};
use crate::values::{Mask, Matrix};

use super::common::{self, Palette, fields, masks};

/// Kernel of version 1.
const FIXED_KERNEL: i32 = 40;

/// `roboflow_core/halo_visualization@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/halo_visualization@v1", "HaloVisualization"],
    build: |_, _| Ok(Box::new(Halo { first: true })),
    ..COMMON
};

/// `roboflow_core/halo_visualization@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/halo_visualization@v2"],
    build: |_, _| Ok(Box::new(Halo { first: false })),
    ..COMMON
};

const COMMON: BlockSpec = BlockSpec {
    name: "Halo Visualization",
    about: "Surrounds the masks of detections with a glow.",
    fields: FIELDS,
    ..common::COLORED
};

const FIELDS: &[Field] = fields::colored![
    fields::MASK_PREDICTIONS;
    fields::share("opacity", "0.8").about("Strength of the glow."),
    fields::integer("kernel_size", "40").about("Width of the glow, pixels (version 2)."),
];

struct Halo {
    /// Whether this is version 1.
    first: bool,
}

impl Block for Halo {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let detections = inputs.detections("predictions")?;
        let opacity = inputs.float("opacity")?;
        let palette = Palette::of(inputs)?;
        let kernel = if self.first {
            FIXED_KERNEL
        } else {
            imaging::kernel(inputs.int("kernel_size")?)?
        };
        let (masks, order) = match masks::decoded(detections)? {
            Some(masks) => {
                let order = masks::largest_first(&masks);
                (masks, order)
            }
            None if self.first => {
                let areas: Vec<f64> = (0..detections.len()).map(|r| detections.area(r)).collect();
                let boxes = masks::of_boxes(detections, image.width(), image.height());
                (Arc::new(boxes), masks::by_size(&areas))
            }
            None => return common::unchanged(image),
        };
        let Some(extent) = masks::extent(masks.iter()) else {
            return common::unchanged(image);
        };
        let mut painted = Vec::with_capacity(masks.len());
        for row in order {
            painted.push((&masks[row], palette.color(detections, row)?));
        }
        common::drawn(&common::in_color(image), |pixels| {
            masks::check_size(&masks, pixels)?;
            let region = grown(extent, kernel.max(0) as usize, pixels);
            let glow = glow(&painted, region, kernel)?;
            apply(pixels, region, &glow, opacity, self.first)?;
            Ok(())
        })
    }
}

/// A region and as many pixels around it as the blur reaches, and again as many of black.
fn grown([x, y, w, h]: Region, margin: usize, image: &Matrix) -> Region {
    let (x1, y1) = (x.saturating_sub(margin), y.saturating_sub(margin));
    let (x2, y2) = (
        (x + w + margin).min(image.width),
        (y + h + margin).min(image.height),
    );
    [x1, y1, x2 - x1, y2 - y1]
}

/// The colours around the masks of a region, black inside them.
fn glow(painted: &[(&Mask, Color)], region: Region, kernel: i32) -> opencv::Result<Matrix> {
    let [x, y, width, height] = region;
    let origin = [x as i32, y as i32];
    let mut sharp = Matrix::filled(width, height, &[0, 0, 0]);
    let mut canvas = Canvas::at(&mut sharp, origin)?;
    for (mask, color) in painted {
        canvas.mask(mask, *color)?;
    }
    drop(canvas);
    let source = imaging::view(&sharp)?;
    let mut glow = imaging::produce(width, height, 3, |out| {
        imgproc::blur_def(&source, out, Size::new(kernel, kernel))
    })?;
    let mut canvas = Canvas::at(&mut glow, origin)?;
    for (mask, _) in painted {
        canvas.mask(mask, Color::BLACK)?;
    }
    drop(canvas);
    Ok(glow)
}

/// Lays the glow over a region, stronger where it is brighter.
fn apply(
    pixels: &mut Matrix,
    [x, y, width, height]: Region,
    glow: &Matrix,
    opacity: f64,
    first: bool,
) -> opencv::Result<()> {
    let gray = imaging::to_gray(glow)?;
    let brightest = gray.data.iter().copied().max().unwrap_or(0);
    if brightest == 0 {
        return Ok(());
    }
    let alphas: Vec<f64> = (0..=brightest)
        .map(|g| opacity * f64::from(g) / f64::from(brightest))
        .collect();
    for row in 0..height {
        let start = ((y + row) * pixels.width + x) * 3;
        let line = &mut pixels.data[start..start + width * 3];
        let glows = glow.data[row * width * 3..].chunks_exact(3);
        let grays = &gray.data[row * width..];
        for ((pixel, glow), &gray) in line.chunks_exact_mut(3).zip(glows).zip(grays) {
            let alpha = alphas[usize::from(gray)];
            let strength = if first { opacity } else { alpha };
            for (value, &light) in pixel.iter_mut().zip(glow) {
                let mixed = f64::from(*value) * (1.0 - alpha) + f64::from(light) * strength;
                *value = mixed as u8;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, draw, draw_masked, five};
    use super::*;
    use crate::values::Detections;

    #[test]
    fn halos_are_drawn_as_recorded() {
        assert_picture(&draw_masked(&V1, &[]), "visualizations/halo_v1.png");
        assert_picture(&draw_masked(&V2, &[]), "visualizations/halo_v2.png");
        let narrow = draw_masked(&V2, &[("kernel_size", 9i64.into())]);
        assert_picture(&narrow, "visualizations/halo_narrow.png");
    }

    #[test]
    fn nothing_to_see_leaves_the_image_as_it_is() {
        for spec in [&V1, &V2] {
            let drawn = draw(spec, Detections::default(), &[]);
            assert_picture(&drawn, "visualizations/scene.png");
        }
        assert_picture(&draw(&V2, five(), &[]), "visualizations/scene.png");
    }
}
