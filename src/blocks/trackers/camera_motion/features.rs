//! Motion by feature points: found in both pictures outside the boxes, matched by what they look like.

use opencv::core::{
    DMatch, KeyPoint, KeyPointTraitConst, Mat, MatTraitConst, NORM_HAMMING, NORM_L2, Ptr, Vector,
};
use opencv::features2d::{
    BFMatcher, DescriptorMatcherTraitConst, FastFeatureDetector, FastFeatureDetector_DetectorType,
    Feature2DTrait, ORB, SIFT,
};

use super::Affine;
use super::estimate::{self, Pair};
use crate::imaging;
use crate::values::Matrix;

/// Share by which the best match must be nearer than the second.
const RATIO: f32 = 0.9;
/// Share of the picture's sides that a point can at most have moved.
const FARTHEST: f32 = 0.25;
/// Pairs that a motion is told from at least.
const ENOUGH: usize = 5;

/// Finds points and remembers those of the last picture.
pub(super) struct Finder {
    kind: Kind,
    last: Option<Points>,
}

enum Kind {
    Orb(Ptr<FastFeatureDetector>, Ptr<ORB>),
    Sift(Ptr<SIFT>),
}

struct Points {
    places: Vector<KeyPoint>,
    looks: Mat,
}

impl Finder {
    /// Corners by FAST, described by ORB.
    pub(super) fn orb() -> opencv::Result<Self> {
        let kind = FastFeatureDetector_DetectorType::TYPE_9_16;
        let detector = FastFeatureDetector::create(20, true, kind)?;
        Ok(Self {
            kind: Kind::Orb(detector, ORB::create_def()?),
            last: None,
        })
    }

    /// Blobs found and described by SIFT.
    pub(super) fn sift() -> opencv::Result<Self> {
        Ok(Self {
            kind: Kind::Sift(SIFT::create(0, 3, 0.02, 20.0, 1.6)?),
            last: None,
        })
    }

    /// The motion from the last picture to this one, which becomes the last.
    pub(super) fn step(
        &mut self,
        gray: &Matrix,
        boxes: impl Iterator<Item = [f64; 4]>,
    ) -> opencv::Result<Option<Affine>> {
        let points = self.find(gray, &still(gray, boxes))?;
        let Some(last) = self.last.replace(points) else {
            return Ok(None);
        };
        let Some(now) = &self.last else {
            return Ok(None);
        };
        let norm = match self.kind {
            Kind::Orb(..) => NORM_HAMMING,
            Kind::Sift(_) => NORM_L2,
        };
        let pairs = consistent(matched(&last, now, norm, gray)?);
        Ok(if pairs.len() >= ENOUGH {
            estimate::motion(&pairs)
        } else {
            None
        })
    }

    fn find(&mut self, gray: &Matrix, mask: &Matrix) -> opencv::Result<Points> {
        let (source, mask) = (imaging::view(gray)?, imaging::view(mask)?);
        let (mut places, mut looks) = (Vector::new(), Mat::default());
        match &mut self.kind {
            Kind::Orb(detector, describer) => {
                detector.detect(&source, &mut places, &mask)?;
                describer.compute(&source, &mut places, &mut looks)?;
            }
            Kind::Sift(sift) => {
                sift.detect(&source, &mut places, &mask)?;
                sift.compute(&source, &mut places, &mut looks)?;
            }
        }
        Ok(Points { places, looks })
    }
}

/// The part of the picture in which points are sought: not near its edges, not inside the boxes.
fn still(gray: &Matrix, boxes: impl Iterator<Item = [f64; 4]>) -> Matrix {
    let mut mask = Matrix::filled(gray.width, gray.height, &[0]);
    let mut fill = |x: (usize, usize), y: (usize, usize), value: u8| {
        for row in y.0..y.1.max(y.0) {
            let row = &mut mask.data[row * gray.width..(row + 1) * gray.width];
            row[x.0..x.1.max(x.0)].fill(value);
        }
    };
    let inner = |size: usize| ((0.02 * size as f64) as usize, (0.98 * size as f64) as usize);
    fill(inner(gray.width), inner(gray.height), 255);
    let cut = |c: f64, size: usize| (c as i64).clamp(0, size as i64) as usize;
    for [x1, y1, x2, y2] in boxes {
        let x = (cut(x1, gray.width), cut(x2, gray.width));
        let y = (cut(y1, gray.height), cut(y2, gray.height));
        fill(x, y, 0);
    }
    mask
}

/// Pairs of points that look alike, clearly more than any other, and are not far apart.
fn matched(last: &Points, now: &Points, norm: i32, gray: &Matrix) -> opencv::Result<Vec<Pair>> {
    if last.looks.rows() == 0 || now.looks.rows() == 0 {
        return Ok(Vec::new());
    }
    let mut nearest: Vector<Vector<DMatch>> = Vector::new();
    let matcher = BFMatcher::create(norm, false)?;
    matcher.knn_train_match_def(&last.looks, &now.looks, &mut nearest, 2)?;
    let limit = [gray.width, gray.height].map(|side| FARTHEST * side as f32);
    let mut pairs = Vec::new();
    for two in &nearest {
        if two.len() < 2 {
            continue;
        }
        let (best, second) = (two.get(0)?, two.get(1)?);
        if best.distance >= RATIO * second.distance {
            continue;
        }
        let from = last.places.get(best.query_idx as usize)?.pt();
        let to = now.places.get(best.train_idx as usize)?.pt();
        if (from.x - to.x).abs() < limit[0] && (from.y - to.y).abs() < limit[1] {
            let wide = |x: f32, y: f32| [f64::from(x), f64::from(y)];
            pairs.push((wide(from.x, from.y), wide(to.x, to.y)));
        }
    }
    Ok(pairs)
}

/// The pairs that have moved about as the average has.
fn consistent(pairs: Vec<Pair>) -> Vec<Pair> {
    if pairs.len() < ENOUGH {
        return pairs;
    }
    let n = pairs.len() as f64;
    let way = |pair: &Pair, axis: usize| pair.0[axis] - pair.1[axis];
    let bounds = [0, 1].map(|axis| {
        let mean = pairs.iter().map(|p| way(p, axis)).sum::<f64>() / n;
        let squares = pairs.iter().map(|p| (way(p, axis) - mean).powi(2));
        (mean, 2.5 * ((squares.sum::<f64>() / n).sqrt() + 1e-6))
    });
    let near = |pair: &Pair| {
        [0, 1]
            .into_iter()
            .all(|axis| (way(pair, axis) - bounds[axis].0).abs() < bounds[axis].1)
    };
    pairs.into_iter().filter(near).collect()
}
