//! Areas of simple polygons and of what two of them share.

/// Whether a closed line is a polygon in the sense of geographic systems: it encloses something and
/// touches itself nowhere.
pub fn is_simple(points: &[[f64; 2]]) -> bool {
    let n = points.len();
    if n < 3 || area(points) == 0.0 {
        return false;
    }
    let edge = |i: usize| (points[i], points[(i + 1) % n]);
    for i in 0..n {
        let ((a, b), (_, c)) = (edge(i), edge((i + 1) % n));
        // The next edge must not lead back over this one.
        if turn(a, b, c) == 0.0 && dot(a, b, c) < 0.0 {
            return false;
        }
    }
    let neighbours = |i: usize, j: usize| (i + 1) % n == j || (j + 1) % n == i;
    // From left to right, so that each edge meets only those that begin before it ends.
    let left = |i: usize| points[i][0].min(points[(i + 1) % n][0]);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| left(i).total_cmp(&left(j)));
    for (place, &i) in order.iter().enumerate() {
        let (a, b) = edge(i);
        let end = a[0].max(b[0]);
        let near = order[place + 1..].iter().take_while(|&&j| left(j) <= end);
        for &j in near.filter(|&&j| !neighbours(i, j)) {
            let (c, d) = edge(j);
            if touch(a, b, c, d) {
                return false;
            }
        }
    }
    true
}

/// Area that a closed line encloses.
pub fn area(points: &[[f64; 2]]) -> f64 {
    let next = points.iter().cycle().skip(1);
    let doubled: f64 = points
        .iter()
        .zip(next)
        .map(|(a, b)| a[0] * b[1] - b[0] * a[1])
        .sum();
    doubled.abs() / 2.0
}

/// Area that two simple polygons share.
///
/// The plane is cut into strips at the heights of all corners and crossings; within a strip the edges
/// do not cross, so that its width at half height is exact.
pub fn shared_area(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
    let ((top_a, bottom_a), (top_b, bottom_b)) = (rise(a), rise(b));
    let (top, bottom) = (top_a.max(top_b), bottom_a.min(bottom_b));
    if top >= bottom {
        return 0.0;
    }
    let (edges_a, edges_b) = (Edges::of(a), Edges::of(b));
    let all = a.iter().chain(b).map(|p| p[1]);
    let mut heights: Vec<f64> = all.filter(|h| (top..=bottom).contains(h)).collect();
    for &(p, q) in edges_a.between(top, bottom) {
        let near = edges_b.between(p[1].min(q[1]), p[1].max(q[1])).iter();
        let near = near.filter(|(r, s)| boxes_meet(p, q, *r, *s));
        heights.extend(near.filter_map(|&(r, s)| crossing(p, q, r, s)));
    }
    heights.sort_by(f64::total_cmp);
    heights.dedup();
    let (mut spans_a, mut spans_b) = (Vec::new(), Vec::new());
    let mut total = 0.0;
    for strip in heights.windows(2) {
        let middle = (strip[0] + strip[1]) / 2.0;
        spans(edges_a.between(middle, middle), middle, &mut spans_a);
        spans(edges_b.between(middle, middle), middle, &mut spans_b);
        let mut width = 0.0;
        for own in spans_a.chunks_exact(2) {
            for other in spans_b.chunks_exact(2) {
                width += (own[1].min(other[1]) - own[0].max(other[0])).max(0.0);
            }
        }
        total += width * (strip[1] - strip[0]);
    }
    total
}

/// Least and greatest height of points.
fn rise(points: &[[f64; 2]]) -> (f64, f64) {
    let heights = points.iter().map(|p| p[1]);
    (
        heights.clone().fold(f64::INFINITY, f64::min),
        heights.fold(f64::NEG_INFINITY, f64::max),
    )
}

type Edge = ([f64; 2], [f64; 2]);

/// The edges of a polygon by their tops, so that those at some height lie together.
struct Edges {
    sorted: Vec<Edge>,
    /// Height of the tallest edge.
    tallest: f64,
}

impl Edges {
    fn of(points: &[[f64; 2]]) -> Self {
        let next = points.iter().cycle().skip(1);
        let mut sorted: Vec<Edge> = points.iter().copied().zip(next.copied()).collect();
        sorted.sort_by(|a, b| top(a).total_cmp(&top(b)));
        let rises = sorted.iter().map(|(p, q)| (p[1] - q[1]).abs());
        Self {
            tallest: rises.fold(0.0, f64::max),
            sorted,
        }
    }

    /// All edges that reach into a range of heights, and perhaps some others.
    fn between(&self, low: f64, high: f64) -> &[Edge] {
        let low = low - self.tallest;
        let from = self.sorted.partition_point(|edge| top(edge) < low);
        let to = self.sorted.partition_point(|edge| top(edge) <= high);
        &self.sorted[from..to.max(from)]
    }
}

fn top((p, q): &Edge) -> f64 {
    p[1].min(q[1])
}

/// Where a horizontal line crosses the edges, from left to right.
fn spans(edges: &[Edge], height: f64, out: &mut Vec<f64>) {
    out.clear();
    let crossed = edges
        .iter()
        .filter(|(p, q)| (p[1] > height) != (q[1] > height));
    out.extend(crossed.map(|(p, q)| {
        let share = (height - p[1]) / (q[1] - p[1]);
        p[0] + share * (q[0] - p[0])
    }));
    out.sort_by(f64::total_cmp);
}

/// Height at which two edges cross, if they do so at one point.
fn crossing(p: [f64; 2], q: [f64; 2], r: [f64; 2], s: [f64; 2]) -> Option<f64> {
    let (first, second) = (turn(r, s, p), turn(r, s, q));
    let apart = |x: f64, y: f64| (x > 0.0 && y < 0.0) || (x < 0.0 && y > 0.0);
    (apart(first, second) && apart(turn(p, q, r), turn(p, q, s)))
        .then(|| p[1] + first / (first - second) * (q[1] - p[1]))
}

/// Twice the signed area of a triangle: on which side of the line from `a` to `b` does `c` lie.
fn turn(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> f64 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

/// Whether the way from `b` to `c` goes on (positive) or back (negative) after that from `a` to `b`.
fn dot(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> f64 {
    (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1])
}

/// Whether the boxes around two edges have a point in common.
fn boxes_meet(a: [f64; 2], b: [f64; 2], c: [f64; 2], d: [f64; 2]) -> bool {
    let overlap = |axis: usize| {
        a[axis].min(b[axis]) <= c[axis].max(d[axis]) && c[axis].min(d[axis]) <= a[axis].max(b[axis])
    };
    overlap(0) && overlap(1)
}

/// Whether two edges have a point in common.
fn touch(a: [f64; 2], b: [f64; 2], c: [f64; 2], d: [f64; 2]) -> bool {
    boxes_meet(a, b, c, d)
        && turn(a, b, c) * turn(a, b, d) <= 0.0
        && turn(c, d, a) * turn(c, d, b) <= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQUARE: [[f64; 2]; 4] = [[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]];

    #[test]
    fn shared_areas_of_squares_diamonds_and_notches() {
        assert_eq!(area(&SQUARE), 100.0);
        let moved = SQUARE.map(|[x, y]| [x + 6.0, y + 7.0]);
        assert_eq!(shared_area(&SQUARE, &moved), 12.0);
        let diamond = [[5.0, -5.0], [15.0, 5.0], [5.0, 15.0], [-5.0, 5.0]];
        assert!((shared_area(&SQUARE, &diamond) - 100.0).abs() < 1e-9);
        let smaller = [[5.0, 0.0], [10.0, 5.0], [5.0, 10.0], [0.0, 5.0]];
        assert!((shared_area(&SQUARE, &smaller) - 50.0).abs() < 1e-9);
        let notch = [
            [0.0, 0.0],
            [5.0, 5.0],
            [10.0, 0.0],
            [10.0, 10.0],
            [0.0, 10.0],
        ];
        assert!((shared_area(&SQUARE, &notch) - 75.0).abs() < 1e-9);
        assert_eq!(
            shared_area(&SQUARE, &SQUARE.map(|[x, y]| [x + 10.0, y])),
            0.0
        );
    }

    #[test]
    fn a_line_that_touches_itself_is_no_polygon() {
        assert!(is_simple(&SQUARE));
        assert!(!is_simple(&[
            [0.0, 0.0],
            [10.0, 10.0],
            [10.0, 0.0],
            [0.0, 10.0]
        ]));
        // Out and back.
        assert!(!is_simple(&[
            [0.0, 0.0],
            [10.0, 0.0],
            [4.0, 0.0],
            [4.0, 5.0]
        ]));
        assert!(!is_simple(&[[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]]));
        let eight = [
            [0.0, 0.0],
            [5.0, 5.0],
            [10.0, 0.0],
            [10.0, 10.0],
            [5.0, 5.0],
            [0.0, 10.0],
        ];
        assert!(!is_simple(&eight));
    }
}
