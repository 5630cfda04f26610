//! Resizing with a triangle filter that widens when the picture shrinks: to the byte what Pillow's
//! `Image.resize(size, BILINEAR)` gives, which the RF-DETR family was trained and is served with.
//!
//! Two passes, across and then down, with rounding to bytes between them; weights are fixed-point
//! numbers of 22 bits, as in Pillow. A pass that does not change the size is left out.

const BITS: u32 = 22;

/// The weights with which source samples make up each target sample along one axis.
struct Weights {
    /// Per target sample: first source sample, number of samples.
    spans: Vec<(usize, usize)>,
    /// Per target sample `width` weights.
    values: Vec<i32>,
    width: usize,
}

impl Weights {
    fn new(source: usize, target: usize) -> Self {
        let scale = source as f64 / target as f64;
        let support = scale.max(1.0);
        let width = support.ceil() as usize * 2 + 1;
        let mut spans = Vec::with_capacity(target);
        let mut values = vec![0; target * width];
        for i in 0..target {
            let center = (i as f64 + 0.5) * scale;
            let first = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(source);
            let raw: Vec<f64> = (first..end)
                .map(|x| {
                    let distance = ((x as f64 - center + 0.5) / support).abs();
                    (1.0 - distance).max(0.0)
                })
                .collect();
            let sum: f64 = raw.iter().sum();
            for (weight, raw) in values[i * width..].iter_mut().zip(&raw) {
                let share = if sum == 0.0 { *raw } else { raw / sum };
                *weight = (0.5 + share * f64::from(1 << BITS)) as i32;
            }
            spans.push((first, end - first));
        }
        Self {
            spans,
            values,
            width,
        }
    }

    fn of(&self, i: usize) -> (usize, &[i32]) {
        let (first, n) = self.spans[i];
        (first, &self.values[i * self.width..][..n])
    }
}

/// Rounds a sum of weighted bytes to a byte.
fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// Resizes a picture of three interleaved channels: `source` holds `from.1` rows (`stride` bytes
/// apart) of `from.0` pixels; the answer `to.1` rows of `to.0` pixels without gaps.
pub fn resize(source: &[u8], stride: usize, from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    let across = if from.0 == to.0 {
        let rows = (0..from.1).flat_map(|y| &source[y * stride..][..from.0 * 3]);
        rows.copied().collect()
    } else {
        shrink_across(source, stride, from, to.0)
    };
    if from.1 == to.1 {
        across
    } else {
        shrink_down(&across, to.0 * 3, from.1, to.1)
    }
}

fn shrink_across(source: &[u8], stride: usize, from: (usize, usize), width: usize) -> Vec<u8> {
    let weights = Weights::new(from.0, width);
    let mut out = vec![0; from.1 * width * 3];
    for (y, row) in out.chunks_exact_mut(width * 3).enumerate() {
        let pixels = &source[y * stride..][..from.0 * 3];
        for (x, target) in row.chunks_exact_mut(3).enumerate() {
            let (first, weights) = weights.of(x);
            let mut sums = [1 << (BITS - 1); 3];
            for (pixel, &weight) in pixels[first * 3..].chunks_exact(3).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            for (target, sum) in target.iter_mut().zip(sums) {
                *target = byte(sum);
            }
        }
    }
    out
}

fn shrink_down(source: &[u8], row: usize, rows: usize, height: usize) -> Vec<u8> {
    let weights = Weights::new(rows, height);
    let mut out = vec![0; height * row];
    let mut sums = vec![0; row];
    for (y, target) in out.chunks_exact_mut(row).enumerate() {
        let (first, weights) = weights.of(y);
        sums.fill(1 << (BITS - 1));
        for (pixels, &weight) in source[first * row..].chunks_exact(row).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(pixels) {
                *sum += i32::from(value) * weight;
            }
        }
        for (target, &sum) in target.iter_mut().zip(&sums) {
            *target = byte(sum);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture((width, height): (usize, usize)) -> Vec<u8> {
        let byte = |i: usize| (i * 89 + i / 7 + i * i / 1000) as u8;
        (0..width * height * 3).map(byte).collect()
    }

    /// FNV-1a, 64 bits.
    fn digest(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    #[test]
    fn a_small_picture_has_pillows_bytes() {
        let small = resize(&picture((5, 2)), 15, (5, 2), (2, 1));
        assert_eq!(small, [40, 129, 183, 63, 152, 119]);
    }

    /// Digests of what Pillow 12.3 gives (13.0 takes the cheaper pass first).
    #[test]
    fn shrinking_growing_and_keeping_a_side_give_pillows_bytes() {
        for (from, to, want) in [
            ((640, 480), (416, 416), 0xeef4892d8cda7776),
            ((37, 53), (64, 20), 0x17e6b7bbff99392a),
            ((20, 20), (20, 7), 0x007feed3bb1399bd),
            ((100, 3), (11, 3), 0x4a29a35b0beb015f),
            ((5, 5), (13, 17), 0x0af38b09c170b082),
        ] {
            let got = resize(&picture(from), from.0 * 3, from, to);
            assert_eq!(digest(&got), want, "{from:?} to {to:?}");
        }
    }
}
