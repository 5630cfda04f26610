//! From an outline to so many corners.

use opencv::core::{Point, Vector};
use opencv::imgproc;

use super::simplification::Simplification;
use crate::blocks::BlockError;

/// Halvings after which the search for the right tolerance gives up.
const TRIALS: usize = 1000;

/// The hull of an outline, simplified until it has `wanted` corners or the search gives up.
pub(super) fn simplified(outline: &[[i64; 2]], wanted: usize) -> Result<Vec<[i32; 2]>, BlockError> {
    let line: Vector<Point> = outline
        .iter()
        .map(|p| Point::new(p[0] as i32, p[1] as i32))
        .collect();
    let mut hull: Vector<Point> = Vector::new();
    imgproc::convex_hull(&line, &mut hull, true, true)?;
    let points: Vec<[i32; 2]> = hull.iter().map(|p| [p.x, p.y]).collect();
    let mut line = Simplification::of(&points);
    let (mut low, mut high) = (1e-7, imgproc::arc_length(&hull, true)?);
    let mut tolerance = low + high / 2.0;
    let mut corners = line.within(tolerance);
    for _ in 0..TRIALS {
        let before = tolerance;
        match corners.len() {
            n if n == wanted => break,
            n if n > wanted => low = tolerance,
            _ => high = tolerance,
        }
        tolerance = low + (high - low) / 2.0;
        if tolerance == before {
            break;
        }
        corners = line.within(tolerance);
    }
    Ok(corners)
}

/// The corners in which lines meet that are fitted to the outline between the corners.
pub(super) fn fitted(
    corners: &[[i32; 2]],
    outline: &[[i64; 2]],
    share: f64,
) -> Result<Vec<[i32; 2]>, BlockError> {
    let n = corners.len();
    let lines: Vec<Option<Line>> = (0..n)
        .map(|i| {
            Line::through(&between(
                outline,
                corners[(i + n - 1) % n],
                corners[i],
                share,
            ))
        })
        .collect();
    (0..n)
        .map(|i| {
            let corner = match (&lines[i], &lines[(i + 1) % n]) {
                (Some(a), Some(b)) => a.meets(b),
                _ => None,
            };
            corner.ok_or_else(|| {
                BlockError::failed(
                    "two sides of a zone are parallel when fitted; do without least squares",
                )
            })
        })
        .collect()
}

/// The points of an outline from the one nearest to `start` to the one nearest to `end`.
fn between(outline: &[[i64; 2]], start: [i32; 2], end: [i32; 2], share: f64) -> Vec<[f64; 2]> {
    let nearest = |to: [i32; 2]| {
        let distance =
            |p: &[i64; 2]| (p[0] - i64::from(to[0])).pow(2) + (p[1] - i64::from(to[1])).pow(2);
        let best = outline.iter().enumerate().min_by_key(|(_, p)| distance(p));
        best.map_or(0, |(i, _)| i)
    };
    let (from, to) = (nearest(start), nearest(end));
    let n = outline.len();
    let count = (to + n - from) % n + 1;
    let points = (0..count).map(|i| outline[(from + i) % n].map(|c| c as f64));
    let points: Vec<[f64; 2]> = points.collect();
    let kept = (count as f64 * share).round_ties_even() as usize;
    if share < 1.0 && kept > 2 {
        let cut = (count - kept) / 2;
        return points[cut..count - cut].to_vec();
    }
    points
}

/// `y = slope · x + base`
struct Line {
    slope: f64,
    base: f64,
}

impl Line {
    /// The line nearest to the points; for points one above the other, which no such line meets,
    /// the one of the least numbers, as the reference's solver has it.
    fn through(points: &[[f64; 2]]) -> Option<Self> {
        if points.len() < 2 {
            return None;
        }
        let n = points.len() as f64;
        let mean = |axis: usize| points.iter().map(|p| p[axis]).sum::<f64>() / n;
        let (x, y) = (mean(0), mean(1));
        let width: f64 = points.iter().map(|p| (p[0] - x).powi(2)).sum();
        if width == 0.0 {
            let scale = y / (x * x + 1.0);
            return Some(Self {
                slope: scale * x,
                base: scale,
            });
        }
        let both: f64 = points.iter().map(|p| (p[0] - x) * (p[1] - y)).sum();
        let slope = both / width;
        Some(Self {
            slope,
            base: y - slope * x,
        })
    }

    fn meets(&self, other: &Self) -> Option<[i32; 2]> {
        let steeper = self.slope - other.slope;
        if steeper.abs() <= 1e-8 + 1e-5 * other.slope.abs() {
            return None;
        }
        let x = (other.base - self.base) / steeper;
        let y = self.slope * x + self.base;
        Some([x, y].map(|c| c.round_ties_even() as i32))
    }
}
