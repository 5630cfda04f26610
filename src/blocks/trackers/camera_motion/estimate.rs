//! The motion behind pairs of points, some of which are wrong (RANSAC; Fischler and Bolles, 1981): random
//! samples of two pairs, the one that most pairs agree with, then the best fit to those.
//!
//! Sampling follows OpenCV's `estimateAffinePartial2D`, random numbers included, so that the same pairs
//! are held for wrong.

use super::Affine;

/// Greatest distance, squared, at which a pair agrees.
const TOLERANCE: f32 = 9.0;
const MAX_SAMPLES: usize = 2000;
const CONFIDENCE: f64 = 0.99;

/// A point before and after.
pub(super) type Pair = ([f64; 2], [f64; 2]);

/// The motion that most pairs agree with; none if there is none.
pub(super) fn motion(pairs: &[Pair]) -> Option<Affine> {
    if pairs.len() < 2 {
        return None;
    }
    let mut random = Random(u64::MAX);
    let mut samples = MAX_SAMPLES;
    let (mut best, mut most) = (None, 1);
    let mut sample = 0;
    while sample < samples {
        sample += 1;
        let (a, b) = if pairs.len() > 2 {
            random.two_of(pairs.len())
        } else {
            (0, 1)
        };
        let guess = through(&pairs[a], &pairs[b]);
        let agreeing = pairs.iter().filter(|pair| agrees(&guess, pair)).count();
        if agreeing > most {
            (best, most) = (Some(guess), agreeing);
            samples = samples_needed(1.0 - agreeing as f64 / pairs.len() as f64, samples);
        }
        if pairs.len() == 2 {
            break;
        }
    }
    let best = best?;
    let agreeing: Vec<&Pair> = pairs.iter().filter(|pair| agrees(&best, pair)).collect();
    Some(fit(&agreeing).unwrap_or(best))
}

/// The motion that takes two points exactly where they went.
fn through((a, a2): &Pair, (b, b2): &Pair) -> Affine {
    let (x, y) = (a[0] - b[0], a[1] - b[1]);
    let (u, v) = (a2[0] - b2[0], a2[1] - b2[1]);
    let scale = 1.0 / (x * x + y * y);
    let (c, s) = ((u * x + v * y) * scale, (v * x - u * y) * scale);
    Affine([
        [c, -s, a2[0] - (c * a[0] - s * a[1])],
        [s, c, a2[1] - (s * a[0] + c * a[1])],
    ])
}

fn agrees(motion: &Affine, (from, to): &Pair) -> bool {
    let [x, y] = motion.point(*from);
    let (dx, dy) = ((x - to[0]) as f32, (y - to[1]) as f32);
    dx * dx + dy * dy <= TOLERANCE
}

/// The motion with the least sum of squared distances.
fn fit(pairs: &[&Pair]) -> Option<Affine> {
    let n = pairs.len() as f64;
    let mean = |pick: fn(&Pair) -> [f64; 2]| {
        [0, 1].map(|axis| pairs.iter().map(|pair| pick(pair)[axis]).sum::<f64>() / n)
    };
    let (from, to) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (mut c, mut s, mut spread) = (0.0, 0.0, 0.0);
    for (p, q) in pairs {
        let (x, y) = (p[0] - from[0], p[1] - from[1]);
        let (u, v) = (q[0] - to[0], q[1] - to[1]);
        c += u * x + v * y;
        s += v * x - u * y;
        spread += x * x + y * y;
    }
    if spread <= 0.0 {
        return None;
    }
    let (c, s) = (c / spread, s / spread);
    Some(Affine([
        [c, -s, to[0] - (c * from[0] - s * from[1])],
        [s, c, to[1] - (s * from[0] + c * from[1])],
    ]))
}

/// Samples after which one without a wrong pair was drawn with [`CONFIDENCE`].
fn samples_needed(wrong: f64, most: usize) -> usize {
    let missed = 1.0 - (1.0 - wrong.clamp(0.0, 1.0)).powi(2);
    if missed < f64::MIN_POSITIVE {
        return 0;
    }
    let (goal, missed) = ((1.0 - CONFIDENCE).ln(), missed.ln());
    if missed >= 0.0 || -goal >= most as f64 * -missed {
        most
    } else {
        (goal / missed).round() as usize
    }
}

/// OpenCV's generator of random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = (self.0 & 0xffff_ffff) * 4_164_903_690 + (self.0 >> 32);
        (self.0 as u32) as usize % limit
    }

    fn two_of(&mut self, count: usize) -> (usize, usize) {
        let first = self.below(count);
        loop {
            let second = self.below(count);
            if second != first {
                return (first, second);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_pairs_do_not_matter() {
        let true_motion = Affine([[0.99, -0.05, 4.0], [0.05, 0.99, -7.0]]);
        let mut pairs: Vec<Pair> = Vec::new();
        for i in 0..40 {
            let p = [f64::from(i * 37 % 100), f64::from(i * 61 % 80)];
            let q = if i % 4 == 0 {
                [3.0, 90.0]
            } else {
                true_motion.point(p)
            };
            pairs.push((p, q));
        }
        let found = motion(&pairs).unwrap();
        for (got, want) in found.0.iter().flatten().zip(true_motion.0.iter().flatten()) {
            assert!((got - want).abs() < 1e-9);
        }
        assert_eq!(motion(&pairs[..1]), None);
    }
}
