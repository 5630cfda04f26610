//! Changes of colour and contrast that a package may ask for before resizing.
//!
//! The reference takes them from scikit-image; the first two are its numbers, adaptive equalisation
//! follows the same method without being equal to the byte.

use opencv::core::Size;
use opencv::imgproc;
use opencv::prelude::CLAHETrait;

use super::config::ContrastMethod;
use crate::imaging;
use crate::values::Matrix;

/// The picture in gray, repeated in all three channels.
pub(super) fn without_color(picture: &Matrix) -> opencv::Result<Matrix> {
    let gray = imaging::to_gray(picture)?;
    Ok(Matrix {
        data: gray.data.iter().flat_map(|&g| [g; 3]).collect(),
        channels: 3,
        ..gray
    })
}

/// Changes the contrast of a colour picture.
pub(super) fn apply(method: ContrastMethod, picture: &mut Matrix) {
    let table = match method {
        ContrastMethod::ContrastStretching => stretching(&histogram(&picture.data)),
        ContrastMethod::HistogramEqualization => equalization(&histogram(&picture.data)),
        ContrastMethod::AdaptiveEqualization => {
            adaptive(picture);
            return;
        }
    };
    for byte in &mut picture.data {
        *byte = table[usize::from(*byte)];
    }
}

/// Number of bytes of each value.
fn histogram(bytes: &[u8]) -> [u64; 256] {
    let mut counts = [0; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1;
    }
    counts
}

/// The value below which a share of all values lies, interpolated between neighbours.
fn percentile(counts: &[u64; 256], share: f64) -> f64 {
    let total: u64 = counts.iter().sum();
    let rank = share * total.saturating_sub(1) as f64;
    let at = |rank: u64| {
        let mut seen = 0;
        let found = counts.iter().position(|&count| {
            seen += count;
            seen > rank
        });
        found.unwrap_or(255) as f64
    };
    let low = at(rank.floor() as u64);
    low + (at(rank.ceil() as u64) - low) * rank.fract()
}

/// Spreads the range from the 2nd to the 98th percentile over all values.
fn stretching(counts: &[u64; 256]) -> [u8; 256] {
    let (low, high) = (percentile(counts, 0.02), percentile(counts, 0.98));
    std::array::from_fn(|value| {
        if low == high {
            return value as u8;
        }
        let inside = (value as f64).clamp(low, high);
        ((inside - low) / (high - low) * 255.0) as u8
    })
}

/// Makes all values about equally frequent: 256 classes between the least and the greatest value,
/// the share of values up to each class, interpolated between the middles of the classes.
fn equalization(counts: &[u64; 256]) -> [u8; 256] {
    let present = |&value: &usize| counts[value] > 0;
    let least = (0..256).find(present).unwrap_or(0) as f64;
    let greatest = (0..256).rfind(present).unwrap_or(255) as f64;
    let (first, last) = if least == greatest {
        (least / 255.0 - 0.5, greatest / 255.0 + 0.5)
    } else {
        (least / 255.0, greatest / 255.0)
    };
    let class = |value: usize| (value as f64 / 255.0 - first) / (last - first) * 256.0;
    let mut shares = [0.0; 256];
    for (value, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        shares[(class(value) as usize).min(255)] += count as f64;
    }
    let mut sum = 0.0;
    for share in &mut shares {
        sum += *share;
        *share = sum;
    }
    std::array::from_fn(|value| {
        let place = (class(value) - 0.5).clamp(0.0, 255.0);
        let low = place as usize;
        let high = (low + 1).min(255);
        let share = shares[low] + (shares[high] - shares[low]) * (place - low as f64);
        (share / sum.max(1.0) * 255.0) as u8
    })
}

/// Equalises the brightness (the largest channel) in 8 × 8 tiles, spreads it over all values and
/// scales the colours along.
fn adaptive(picture: &mut Matrix) {
    let brightness = |pixel: &[u8]| pixel.iter().copied().max().unwrap_or(0);
    let before: Vec<u8> = picture.data.chunks_exact(3).map(brightness).collect();
    let gray = Matrix {
        width: picture.width,
        height: picture.height,
        channels: 1,
        data: before,
    };
    let (before, after) = match equalized_in_tiles(&gray) {
        Ok(after) => (gray.data, after.data),
        Err(error) => {
            tracing::warn!("contrast stays as it is: {}", error.message);
            return;
        }
    };
    let (least, greatest) = after
        .iter()
        .fold((255u8, 0u8), |(low, high), &v| (low.min(v), high.max(v)));
    let range = f64::from(greatest.saturating_sub(least).max(1));
    for ((pixel, &old), &new) in picture.data.chunks_exact_mut(3).zip(&before).zip(&after) {
        let new = f64::from(new - least) / range * 255.0;
        for channel in pixel {
            *channel = match old {
                0 => new as u8,
                _ => (f64::from(*channel) * new / f64::from(old)) as u8,
            };
        }
    }
}

fn equalized_in_tiles(gray: &Matrix) -> opencv::Result<Matrix> {
    // 3 % of a tile's pixels, in OpenCV's unit: the average height of the histogram.
    let mut method = imgproc::create_clahe(0.03 * 256.0, Size::new(8, 8))?;
    let source = imaging::view(gray)?;
    imaging::produce(gray.width, gray.height, 1, |out| method.apply(&source, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Matrix {
        let data = (0..48u32).map(|i| (40 + i * i / 16) as u8).collect();
        Matrix::new(4, 4, 3, data).unwrap()
    }

    fn changed(method: ContrastMethod) -> Vec<u8> {
        let mut picture = ramp();
        apply(method, &mut picture);
        picture.data
    }

    #[test]
    fn stretching_and_equalization_give_scikit_images_numbers() {
        assert_eq!(
            changed(ContrastMethod::ContrastStretching),
            [
                0, 0, 0, 0, 1, 1, 3, 5, 7, 9, 11, 13, 17, 19, 23, 26, 30, 34, 38, 42, 48, 52, 57,
                63, 69, 75, 80, 86, 94, 100, 107, 115, 123, 131, 138, 146, 156, 163, 173, 183, 192,
                202, 211, 221, 233, 242, 254, 255
            ]
        );
        let close =
            |got: &[u8], want: &[u8]| got.iter().zip(want).all(|(g, w)| g.abs_diff(*w) <= 1);
        let equalized = changed(ContrastMethod::HistogramEqualization);
        let want = [
            21, 21, 21, 21, 31, 31, 37, 42, 47, 51, 56, 63, 69, 74, 78, 85, 90, 95, 98, 106, 110,
            114, 122, 125, 132, 137, 143, 148, 154, 159, 164, 168, 175, 178, 185, 191, 195, 201,
            207, 211, 217, 223, 226, 232, 238, 244, 249, 255,
        ];
        assert!(close(&equalized, &want), "{equalized:?}");
    }

    #[test]
    fn a_picture_of_one_colour_stays_in_range() {
        for method in [
            ContrastMethod::AdaptiveEqualization,
            ContrastMethod::ContrastStretching,
            ContrastMethod::HistogramEqualization,
        ] {
            let mut picture = Matrix::filled(9, 7, &[10, 200, 30]);
            apply(method, &mut picture);
            assert_eq!(picture.data.len(), 9 * 7 * 3);
        }
    }

    #[test]
    fn adaptive_equalization_spreads_the_brightness() {
        let data = (0..64 * 64)
            .flat_map(|i| [100 + (i % 64 / 4) as u8; 3])
            .collect();
        let mut picture = Matrix::new(64, 64, 3, data).unwrap();
        apply(ContrastMethod::AdaptiveEqualization, &mut picture);
        assert_eq!(picture.data.iter().max(), Some(&255));
        assert_eq!(picture.data.iter().min(), Some(&0));
    }

    #[test]
    fn gray_has_opencvs_weights() {
        let picture = Matrix::filled(1, 1, &[255, 0, 0]);
        assert_eq!(without_color(&picture).unwrap().data, [29, 29, 29]);
    }
}
