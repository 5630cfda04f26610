//! Mixing of an overlay into an image, by OpenCV's `addWeighted` (rounded, saturated).
//!
//! Only the region that the overlay can touch is allocated and computed: everywhere else the
//! result is the image itself.

use opencv::core::{Mat, MatTraitConst, Rect, add_weighted, lut};

use super::{Canvas, Color, Region, produce, view, view_mask, view_mut};
use crate::values::{Mask, Matrix};

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

/// Fades pixels towards a colour: `pixel * (1 - opacity) + colour * opacity`. Gray ones take the blue of
/// the colour.
pub struct Tint {
    /// What each value of each channel becomes: 256 pixels.
    table: Matrix,
}

impl Tint {
    /// For images of so many channels.
    pub fn new(color: Color, opacity: f64, channels: usize) -> opencv::Result<Self> {
        let channels = channels.min(3);
        let ramp = (0..=u8::MAX).flat_map(|v| std::iter::repeat_n(v, channels));
        let values = Matrix {
            width: 256,
            height: 1,
            channels,
            data: ramp.collect(),
        };
        let flat = Matrix::filled(256, 1, &color.bgr()[..channels]);
        let (from, to) = (view(&values)?, view(&flat)?);
        let table = produce(256, 1, channels, |out| {
            add_weighted(&from, 1.0 - opacity, &to, opacity, 0.0, out, -1)
        })?;
        Ok(Self { table })
    }

    /// The image, faded all over.
    pub fn applied(&self, pixels: &Matrix) -> opencv::Result<Matrix> {
        let (source, table) = (view(pixels)?, view(&self.table)?);
        produce(pixels.width, pixels.height, pixels.channels, |out| {
            lut(&source, &table, out)
        })
    }

    /// Fades the pixels that a mask of the image's size does not cover.
    pub fn apply_outside(&self, pixels: &mut Matrix, mask: &Mask) -> opencv::Result<()> {
        let channels = pixels.channels;
        if channels != self.table.channels {
            return Err(super::unsupported(channels));
        }
        let [x, y, width, height] = mask.window().map(|side| side * channels);
        let mut bits = mask.window_bits().chunks_exact((width / channels).max(1));
        let rows = y / channels..(y + height) / channels;
        let lines = pixels
            .data
            .chunks_exact_mut((pixels.width * channels).max(1));
        for (row, line) in lines.enumerate() {
            let Some(bits) = rows.contains(&row).then(|| bits.next()).flatten() else {
                self.fade(line);
                continue;
            };
            let (left, rest) = line.split_at_mut(x);
            let (inside, right) = rest.split_at_mut(width);
            self.fade(left);
            self.fade(right);
            // From one run of clear pixels to the next.
            let mut at = 0;
            while let Some(first) = first_clear(&bits[at..]) {
                let first = at + first;
                let length = bits[first..].iter().position(|&bit| bit != 0);
                at = length.map_or(bits.len(), |length| first + length);
                self.fade(&mut inside[first * channels..at * channels]);
            }
        }
        Ok(())
    }

    fn fade(&self, bytes: &mut [u8]) {
        match self.table.channels {
            3 => self.fade_pixels::<3>(bytes),
            _ => self.fade_pixels::<1>(bytes),
        }
    }

    fn fade_pixels<const CHANNELS: usize>(&self, bytes: &mut [u8]) {
        let (table, _) = self.table.data.as_chunks::<CHANNELS>();
        let (pixels, _) = bytes.as_chunks_mut::<CHANNELS>();
        for pixel in pixels {
            for (channel, value) in pixel.iter_mut().enumerate() {
                *value = table[usize::from(*value)][channel];
            }
        }
    }
}

/// Place of the first clear pixel; eight set ones are passed over at once.
fn first_clear(bits: &[u8]) -> Option<usize> {
    let (eights, _) = bits.as_chunks::<8>();
    let passed = 8 * eights.iter().take_while(|eight| **eight == [1; 8]).count();
    let rest = bits[passed..].iter().position(|&bit| bit == 0);
    rest.map(|place| passed + place)
}

/// The image faded towards a colour, see [`Tint`].
pub fn tinted(pixels: &Matrix, color: Color, opacity: f64) -> opencv::Result<Matrix> {
    Tint::new(color, opacity, pixels.channels)?.applied(pixels)
}

/// Copies the pixels of `from` at the set pixels of a mask; both images and the mask have one size.
pub fn copy_masked(pixels: &mut Matrix, from: &Matrix, mask: &Mask) -> opencv::Result<()> {
    let region = mask.window();
    if region[2] == 0 || region[3] == 0 {
        return Ok(());
    }
    let (source, chosen) = (view(from)?, view_mask(mask)?);
    let source = Mat::roi(&source, rect(region))?;
    let mut whole = view_mut(pixels)?;
    let mut target = Mat::roi_mut(&mut whole, rect(region))?;
    source.copy_to_masked(&mut target, &chosen)
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
    fn a_tint_is_the_mixture_with_one_colour() {
        let image = Matrix::filled(3, 2, &[60, 60, 60]);
        let tinted = tinted(&image, Color::hex(0x00_ff00), 0.7).unwrap();
        assert_eq!(tinted, Matrix::filled(3, 2, &[18, 196, 18]));
        let mut part = image.clone();
        let mask = Mask::from_window(3, 2, [1, 0, 1, 2], &[1, 1]);
        copy_masked(&mut part, &tinted, &mask).unwrap();
        assert_eq!(part.data[..9], [60, 60, 60, 18, 196, 18, 60, 60, 60]);
        let mut rest = image.clone();
        let tint = Tint::new(Color::hex(0x00_ff00), 0.7, 3).unwrap();
        tint.apply_outside(&mut rest, &mask).unwrap();
        assert_eq!(rest.data[..9], [18, 196, 18, 60, 60, 60, 18, 196, 18]);
        tint.apply_outside(&mut rest, &Mask::empty(3, 2)).unwrap();
        assert_eq!(rest.data[3..6], [18, 196, 18]);
        let mut gray = Matrix::filled(3, 2, &[60]);
        assert!(tint.apply_outside(&mut gray, &mask).is_err());
    }

    #[test]
    fn paste_is_the_inverse_of_cut() {
        let mut image = Matrix::filled(5, 4, &[0]);
        paste(&mut image, [2, 1, 2, 2], &Matrix::filled(2, 2, &[7]));
        assert_eq!(image.cut(2, 1, 2, 2), Matrix::filled(2, 2, &[7]));
        assert_eq!(image.data.iter().filter(|&&b| b == 7).count(), 4);
    }
}
