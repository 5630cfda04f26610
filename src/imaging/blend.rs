//! Mixing of an overlay into an image, by OpenCV's `addWeighted` (rounded, saturated).
//!
//! Only the region that the overlay can touch is allocated and computed: everywhere else the
//! result is the image itself.

use opencv::core::{Mat, Rect, add_weighted};

use super::{Canvas, Region, view, view_mut};
use crate::values::Matrix;

fn rect([x, y, width, height]: Region) -> Rect {
    Rect::new(x as i32, y as i32, width as i32, height as i32)
}

/// What an overlay consists of before anything is drawn on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Black; the result is `overlay * opacity + image`, brighter only where something is drawn.
    Black,
    /// The image; the result is `overlay * opacity + image * (1 - opacity)`.
    Image,
}

/// Draws on an overlay of a region and mixes it into the pixels of an image.
pub fn overlay(
    pixels: &mut Matrix,
    region: Region,
    ground: Ground,
    opacity: f64,
    draw: impl FnOnce(&mut Canvas<'_>) -> opencv::Result<()>,
) -> opencv::Result<()> {
    let [x, y, width, height] = region;
    let (mut over, rest) = match ground {
        Ground::Black => (
            Matrix {
                width,
                height,
                channels: pixels.channels,
                data: vec![0; width * height * pixels.channels],
            },
            1.0,
        ),
        Ground::Image => (pixels.cut(x, y, width, height), 1.0 - opacity),
    };
    draw(&mut Canvas::at(&mut over, [x as i32, y as i32])?)?;
    mix(pixels, region, &over, opacity, rest)
}

/// Replaces a region of an image by `over * opacity + image * rest`; `over` has the region's size.
pub fn mix(
    pixels: &mut Matrix,
    region: Region,
    over: &Matrix,
    opacity: f64,
    rest: f64,
) -> opencv::Result<()> {
    let before = pixels.cut(region[0], region[1], region[2], region[3]);
    let mut whole = view_mut(pixels)?;
    let mut target = Mat::roi_mut(&mut whole, rect(region))?;
    add_weighted(
        &view(over)?,
        opacity,
        &view(&before)?,
        rest,
        0.0,
        &mut target,
        -1,
    )
}

/// Copies `part` into an image with its top left corner at the region's; sizes must agree.
pub fn paste(pixels: &mut Matrix, [x, y, width, height]: Region, part: &Matrix) {
    debug_assert!(part.width == width && part.height == height);
    let (channels, stride) = (pixels.channels, pixels.width * pixels.channels);
    let length = width * channels;
    for (row, source) in part.data.chunks_exact(length.max(1)).enumerate() {
        let start = (y + row) * stride + x * channels;
        pixels.data[start..start + length].copy_from_slice(source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imaging::Color;

    #[test]
    fn black_ground_adds_and_image_ground_fades() {
        let mut added = Matrix::filled(6, 6, &[100, 100, 100]);
        let mut faded = added.clone();
        for (pixels, ground) in [(&mut added, Ground::Black), (&mut faded, Ground::Image)] {
            overlay(pixels, [1, 1, 4, 4], ground, 0.5, |canvas| {
                canvas.rectangle([2, 2], [3, 3], Color::hex(0xff), -1)
            })
            .unwrap();
        }
        let at = |m: &Matrix, x: usize, y: usize| m.data[(y * 6 + x) * 3];
        assert_eq!([at(&added, 1, 1), at(&added, 2, 2)], [100, 228]);
        assert_eq!([at(&faded, 1, 1), at(&faded, 2, 2)], [100, 178]);
    }

    #[test]
    fn paste_is_the_inverse_of_cut() {
        let mut image = Matrix::filled(5, 4, &[0]);
        paste(&mut image, [2, 1, 2, 2], &Matrix::filled(2, 2, &[7]));
        assert_eq!(image.cut(2, 1, 2, 2), Matrix::filled(2, 2, &[7]));
        assert_eq!(image.data.iter().filter(|&&b| b == 7).count(), 4);
    }
}
