//! Points that look alike in two pictures, and the perspective map behind them.
//!
//! OpenCV's module with `findHomography` is not linked; what it does is written out here: random samples
//! of four pairs, the map that most pairs agree with, and the best fit to those.

use opencv::core::{DMatch, KeyPoint, Mat, MatTraitConst, NORM_L2, Ptr, Vector, no_array};
use opencv::features2d::{BFMatcher, SIFT};
use opencv::prelude::{DescriptorMatcherTraitConst, Feature2DTrait, KeyPointTraitConst};

use crate::imaging::{self, Homography};
use crate::values::Matrix;

/// Most that the nearest look-alike may differ, as a share of the second nearest.
const RATIO: f32 = 0.75;
const MAX_SAMPLES: usize = 2000;
/// Pixels by which points may miss each other if no other limit is given.
const DEFAULT_TOLERANCE: f64 = 3.0;
const CONFIDENCE: f64 = 0.995;
/// Steps of the last refinement.
const STEPS: usize = 10;

/// A point in the picture to be warped and the same point in the other.
pub(super) type Pair = ([f64; 2], [f64; 2]);

/// What is remarkable in a picture.
pub(super) struct Found {
    places: Vector<KeyPoint>,
    looks: Mat,
}

impl Found {
    pub(super) fn on(pixels: &Matrix) -> opencv::Result<Self> {
        let mut sift: Ptr<SIFT> = SIFT::create_def()?;
        let (mut places, mut looks) = (Vector::new(), Mat::default());
        let source = imaging::view(pixels)?;
        sift.detect_and_compute_def(&source, &no_array(), &mut places, &mut looks)?;
        Ok(Self { places, looks })
    }

    /// How far to the right the points lie on average.
    pub(super) fn mean_x(&self) -> Option<f64> {
        let sum: f64 = self.places.iter().map(|p| f64::from(p.pt().x)).sum();
        (!self.places.is_empty()).then(|| sum / self.places.len() as f64)
    }

    /// Points of this picture with the one point of another that they clearly resemble most.
    pub(super) fn look_alikes(&self, other: &Self) -> opencv::Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        if self.looks.rows() == 0 || other.looks.rows() == 0 {
            return Ok(pairs);
        }
        let mut nearest: Vector<Vector<DMatch>> = Vector::new();
        let matcher = BFMatcher::create(NORM_L2, false)?;
        matcher.knn_train_match_def(&self.looks, &other.looks, &mut nearest, 2)?;
        for two in nearest.iter().filter(|two| two.len() == 2) {
            let (best, second) = (two.get(0)?, two.get(1)?);
            if best.distance < RATIO * second.distance {
                let place = |places: &Vector<KeyPoint>, i: i32| {
                    let point = places.get(i as usize)?.pt();
                    Ok::<_, opencv::Error>([f64::from(point.x), f64::from(point.y)])
                };
                let here = place(&self.places, best.query_idx)?;
                pairs.push((here, place(&other.places, best.train_idx)?));
            }
        }
        Ok(pairs)
    }
}

/// The map that most pairs agree with to within `tolerance` pixels; 0 stands for
/// [`DEFAULT_TOLERANCE`].
pub(super) fn aligned(pairs: &[Pair], tolerance: f64) -> Option<Homography> {
    if pairs.len() < 4 {
        return None;
    }
    let tolerance = if tolerance == 0.0 {
        DEFAULT_TOLERANCE
    } else {
        tolerance
    };
    let limit = tolerance * tolerance;
    let agreeing = |map: &Homography| -> Vec<Pair> {
        let agrees = |pair: &&Pair| distance(map, pair) <= limit;
        pairs.iter().filter(agrees).copied().collect()
    };
    let mut random = Random(u64::MAX);
    let (mut best, mut samples, mut sample) = (Vec::new(), MAX_SAMPLES, 0);
    while sample < samples {
        sample += 1;
        let four = random.four_of(pairs.len()).map(|i| pairs[i]);
        let Some(map) = sensible(&four).then(|| through(&four)).flatten() else {
            continue;
        };
        let found = agreeing(&map);
        if found.len() > best.len().max(3) {
            samples = samples_needed(1.0 - found.len() as f64 / pairs.len() as f64, samples);
            best = found;
        }
    }
    fitted(&best).map(|map| refined(map, &best))
}

fn distance(map: &Homography, (from, to): &Pair) -> f64 {
    let [x, y] = map.point(*from);
    let off = (x - to[0]).powi(2) + (y - to[1]).powi(2);
    if off.is_nan() { f64::INFINITY } else { off }
}

fn through(four: &[Pair; 4]) -> Option<Homography> {
    Homography::between(&four.map(|p| p.0), &four.map(|p| p.1)).ok()
}

/// Whether no three of four points stand in a line, and all three of them turn the same way in both
/// pictures.
fn sensible(four: &[Pair; 4]) -> bool {
    let turn = |pick: fn(&Pair) -> [f64; 2], [a, b, c]: [usize; 3]| {
        let [a, b, c] = [a, b, c].map(|i| pick(&four[i]));
        (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    };
    let threes = [[0, 1, 2], [1, 2, 3], [0, 2, 3], [0, 1, 3]];
    let turns = threes.map(|three| (turn(|p| p.0, three), turn(|p| p.1, three)));
    let same = turns.iter().filter(|(a, b)| a * b > 0.0).count();
    turns.iter().all(|(a, b)| a.abs() > 1e-6 && b.abs() > 1e-6) && (same == 0 || same == 4)
}

/// The map with the least algebraic error, computed on points of mean 0 and mean distance 1.
fn fitted(pairs: &[Pair]) -> Option<Homography> {
    if pairs.len() < 4 {
        return None;
    }
    let n = pairs.len() as f64;
    let norm = |pick: fn(&Pair) -> [f64; 2]| {
        let mean = [0, 1].map(|axis| pairs.iter().map(|p| pick(p)[axis]).sum::<f64>() / n);
        let spread = [0, 1].map(|axis| {
            let off = pairs.iter().map(|p| (pick(p)[axis] - mean[axis]).abs());
            off.sum::<f64>() / n
        });
        (mean, spread)
    };
    let ((m, s), (mt, st)) = (norm(|p| p.0), norm(|p| p.1));
    if s.iter().chain(&st).any(|spread| *spread < f64::EPSILON) {
        return None;
    }
    let mut sums = Sums::default();
    for (p, q) in pairs {
        let [x, y] = [0, 1].map(|i| (p[i] - m[i]) / s[i]);
        let [u, v] = [0, 1].map(|i| (q[i] - mt[i]) / st[i]);
        sums.add([x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y], u);
        sums.add([0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y], v);
    }
    let h = sums.solved(0.0)?;
    let local = [h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7], 1.0];
    let to_local = [
        1.0 / s[0],
        0.0,
        -m[0] / s[0],
        0.0,
        1.0 / s[1],
        -m[1] / s[1],
        0.0,
        0.0,
        1.0,
    ];
    let from_local = [st[0], 0.0, mt[0], 0.0, st[1], mt[1], 0.0, 0.0, 1.0];
    let map = product(&from_local, &product(&local, &to_local));
    (map[8] != 0.0).then(|| Homography(map.map(|x| x / map[8])))
}

fn product(a: &[f64; 9], b: &[f64; 9]) -> [f64; 9] {
    let mut out = [0.0; 9];
    for (i, cell) in out.iter_mut().enumerate() {
        *cell = (0..3).map(|k| a[i / 3 * 3 + k] * b[k * 3 + i % 3]).sum();
    }
    out
}

/// The map after a few steps towards the least sum of squared distances.
fn refined(mut map: Homography, pairs: &[Pair]) -> Homography {
    let error = |map: &Homography| pairs.iter().map(|pair| distance(map, pair)).sum::<f64>();
    let (mut damping, mut least) = (1e-3, error(&map));
    for _ in 0..STEPS {
        let mut sums = Sums::default();
        for (from, to) in pairs {
            let [x, y] = *from;
            let [u, v] = map.point(*from);
            let m = &map.0;
            let w = 1.0 / (m[6] * x + m[7] * y + m[8]);
            let (x, y) = (x * w, y * w);
            sums.add([x, y, w, 0.0, 0.0, 0.0, -u * x, -u * y], to[0] - u);
            sums.add([0.0, 0.0, 0.0, x, y, w, -v * x, -v * y], to[1] - v);
        }
        let Some(step) = sums.solved(damping) else {
            break;
        };
        let mut next = map;
        next.0.iter_mut().zip(step).for_each(|(m, d)| *m += d);
        let now = error(&next);
        if now < least {
            (map, least, damping) = (next, now, damping / 10.0);
        } else {
            damping *= 10.0;
        }
    }
    map
}

/// The sums of a linear least-squares problem in eight unknowns.
#[derive(Default)]
struct Sums {
    square: [[f64; 8]; 8],
    right: [f64; 8],
}

impl Sums {
    fn add(&mut self, row: [f64; 8], value: f64) {
        for (i, a) in row.iter().enumerate() {
            for (sum, b) in self.square[i].iter_mut().zip(row) {
                *sum += a * b;
            }
            self.right[i] += a * value;
        }
    }

    /// The unknowns, the diagonal raised by a share.
    fn solved(mut self, damping: f64) -> Option<[f64; 8]> {
        for i in 0..8 {
            self.square[i][i] *= 1.0 + damping;
        }
        for i in 0..8 {
            let size = |row: &usize| self.square[*row][i].abs();
            let pivot = (i..8).max_by(|a, b| size(a).total_cmp(&size(b)))?;
            self.square.swap(i, pivot);
            self.right.swap(i, pivot);
            if self.square[i][i].abs() < 1e-300 {
                return None;
            }
            for row in i + 1..8 {
                let factor = self.square[row][i] / self.square[i][i];
                for column in i..8 {
                    self.square[row][column] -= factor * self.square[i][column];
                }
                self.right[row] -= factor * self.right[i];
            }
        }
        for i in (0..8).rev() {
            let known: f64 = (i + 1..8).map(|j| self.square[i][j] * self.right[j]).sum();
            self.right[i] = (self.right[i] - known) / self.square[i][i];
        }
        self.right
            .iter()
            .all(|x| x.is_finite())
            .then_some(self.right)
    }
}

/// Samples after which one of right pairs only was drawn with [`CONFIDENCE`].
fn samples_needed(wrong: f64, most: usize) -> usize {
    let missed = 1.0 - (1.0 - wrong.clamp(0.0, 1.0)).powi(4);
    if missed < f64::MIN_POSITIVE {
        return 0;
    }
    let (goal, missed) = ((1.0 - CONFIDENCE).ln(), missed.ln());
    match missed >= 0.0 || -goal >= most as f64 * -missed {
        true => most,
        false => (goal / missed).round() as usize,
    }
}

/// OpenCV's generator of random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = (self.0 & 0xffff_ffff) * 4_164_903_690 + (self.0 >> 32);
        (self.0 as u32) as usize % limit
    }

    fn four_of(&mut self, count: usize) -> [usize; 4] {
        let mut four = [0; 4];
        for i in 0..4 {
            loop {
                four[i] = self.below(count);
                if !four[..i].contains(&four[i]) {
                    break;
                }
            }
        }
        four
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_pairs_do_not_matter() {
        let truth = Homography([0.95, -0.06, 12.0, 0.04, 1.02, -5.0, 1e-4, -2e-4, 1.0]);
        let pair = |i: usize| {
            let p = [(i * 37 % 200) as f64, (i * 61 % 150) as f64];
            let q = if i.is_multiple_of(3) {
                [(i * 13 % 200) as f64, 9.0]
            } else {
                truth.point(p)
            };
            (p, q)
        };
        let pairs: Vec<Pair> = (0..60).map(pair).collect();
        let found = aligned(&pairs, 3.0).unwrap();
        for (got, want) in found.0.iter().zip(truth.0) {
            assert!((got - want).abs() < 1e-6, "{found:?}");
        }
        assert!(aligned(&pairs[..3], 3.0).is_none());
        let line: Vec<Pair> = (0..9)
            .map(|i| ([i as f64, i as f64], [i as f64, 0.0]))
            .collect();
        assert!(aligned(&line, 3.0).is_none());
    }
}
