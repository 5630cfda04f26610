//! Closed lines simplified by the method of Douglas and Peucker, for one tolerance after the other.
//!
//! The points and their order are those of OpenCV's `approxPolyDP`. Where a line is split next does not
//! depend on the tolerance, only whether it is: each split is looked for once.

/// A point in whole pixels.
type Point = [i32; 2];

/// A closed line and the splits known of it.
pub(super) struct Simplification<'a> {
    points: &'a [Point],
    /// Square of the distance of the two points far apart at which the line is halved first.
    extent: f64,
    splits: Vec<Split>,
}

/// A stretch of the line, from one point to before another.
struct Split {
    from: usize,
    to: usize,
    /// The point farthest from the chord.
    farthest: usize,
    /// Twice the area of the triangle that it makes with the chord.
    area: f64,
    /// Square of the chord's length.
    chord: f64,
    /// Places of both parts in the list of splits, once they are known.
    parts: Option<[usize; 2]>,
}

impl<'a> Simplification<'a> {
    /// Of a line of at least one point; no two points are in one place.
    pub(super) fn of(points: &'a [Point]) -> Self {
        let count = points.len();
        // To the farthest point and on from there, three times.
        let (mut start, mut far, mut extent) = (0, 0, 0.0);
        for _ in 0..3 {
            start = (start + far) % count;
            extent = 0.0;
            for offset in 1..count {
                let distance = square(points[start], points[(start + offset) % count]);
                if distance > extent {
                    (extent, far) = (distance, offset);
                }
            }
        }
        let end = (start + far) % count;
        let mut own = Self {
            points,
            extent,
            splits: Vec::new(),
        };
        own.add(start, end);
        own.add(end, start);
        own
    }

    /// The points that are left if the line may stray so many pixels.
    pub(super) fn within(&mut self, tolerance: f64) -> Vec<Point> {
        let least = tolerance * tolerance;
        if self.extent <= least {
            return vec![self.points[self.splits[0].from]];
        }
        let mut kept = Vec::new();
        let mut open = vec![1, 0];
        while let Some(place) = open.pop() {
            let split = &self.splits[place];
            if split.area * split.area <= least * split.chord {
                kept.push(self.points[split.from]);
                continue;
            }
            let [first, second] = self.parts(place);
            open.extend([second, first]);
        }
        straighten(&mut kept, least / 2.0);
        kept
    }

    fn parts(&mut self, place: usize) -> [usize; 2] {
        let Split {
            from,
            to,
            farthest,
            parts,
            ..
        } = self.splits[place];
        parts.unwrap_or_else(|| {
            let parts = [self.add(from, farthest), self.add(farthest, to)];
            self.splits[place].parts = Some(parts);
            parts
        })
    }

    fn add(&mut self, from: usize, to: usize) -> usize {
        let count = self.points.len();
        let (start, end) = (self.points[from], self.points[to]);
        let [dx, dy] = way(start, end);
        let (mut farthest, mut area) = (from, 0.0);
        let mut at = (from + 1) % count;
        while at != to {
            let [x, y] = way(start, self.points[at]);
            let own = (y * dx - x * dy).abs();
            if own > area {
                (farthest, area) = (at, own);
            }
            at = (at + 1) % count;
        }
        self.splits.push(Split {
            from,
            to,
            farthest,
            area,
            chord: square(start, end),
            parts: None,
        });
        self.splits.len() - 1
    }
}

/// Takes out points that lie almost on the line between their neighbours, if it is slanted. The square of
/// the distance may be `least`; more than two points stay. Works in place: a point written back is
/// what the last one is compared with.
fn straighten(points: &mut Vec<Point>, least: f64) {
    let count = points.len();
    let mut left = count;
    let (mut write, mut read) = (0, 1 % count.max(1));
    let (Some(&last), Some(&first)) = (points.last(), points.first()) else {
        return;
    };
    let (mut before, mut point) = (last, first);
    let mut seen = 0;
    while seen < count && left > 2 {
        let after = points[read];
        read = (read + 1) % count;
        let ([dx, dy], [x, y]) = (way(before, after), way(before, point));
        let [on_x, on_y] = way(point, after);
        let area = (x * dy - y * dx).abs();
        let flat = area * area <= least * (dx * dx + dy * dy) && dx != 0.0 && dy != 0.0;
        seen += 1;
        if flat && x * on_x + y * on_y >= 0.0 {
            left -= 1;
            before = after;
            point = points[read];
            read = (read + 1) % count;
            seen += 1;
        } else {
            before = point;
            point = after;
        }
        points[write] = before;
        write = (write + 1) % count;
    }
    points.truncate(left);
}

fn way(from: Point, to: Point) -> [f64; 2] {
    [0, 1].map(|axis| f64::from(to[axis]) - f64::from(from[axis]))
}

fn square(a: Point, b: Point) -> f64 {
    let [x, y] = way(a, b);
    x * x + y * y
}

#[cfg(test)]
mod tests {
    use super::*;
    use opencv::core::{Point as CvPoint, Vector};
    use opencv::imgproc;
    use proptest::prelude::*;

    fn by_opencv(points: &[Point], tolerance: f64) -> Vec<Point> {
        let line: Vector<CvPoint> = points.iter().map(|p| CvPoint::new(p[0], p[1])).collect();
        let mut kept: Vector<CvPoint> = Vector::new();
        imgproc::approx_poly_dp(&line, &mut kept, tolerance, true).unwrap();
        kept.iter().map(|p| [p.x, p.y]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn lines_are_simplified_as_by_opencv(
            points in prop::collection::hash_set(prop::array::uniform2(0i32..40), 1..40),
            tolerances in prop::collection::vec(0.0f64..30.0, 1..6),
        ) {
            let mut points: Vec<Point> = points.into_iter().collect();
            points.sort_unstable();
            let middle = [20.3, 19.7];
            let angle = |p: &Point| (f64::from(p[1]) - middle[1]).atan2(f64::from(p[0]) - middle[0]);
            points.sort_by(|a, b| angle(a).total_cmp(&angle(b)));
            let mut line = Simplification::of(&points);
            for tolerance in tolerances.into_iter().chain([0.0, 1e-7, 1000.0]) {
                prop_assert_eq!(line.within(tolerance), by_opencv(&points, tolerance), "{}", tolerance);
            }
        }
    }
}
