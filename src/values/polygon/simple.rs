//! Tells whether an outline is a polygon.

type Point = [i64; 2];

/// Whether a closed line is a polygon in the sense of geographic systems (OGC 06-103r4, 6.1.11): it
/// encloses something and touches itself nowhere.
pub(super) fn is_simple(points: &[Point]) -> bool {
    points.len() >= 3 && super::doubled_area(points) != 0 && edges_apart(points)
}

/// Whether no two edges of a closed line have a point in common but where one goes on from the other.
fn edges_apart(points: &[Point]) -> bool {
    let n = points.len();
    let edge = |i: usize| (points[i], points[(i + 1) % n]);
    for i in 0..n {
        let ((a, b), (_, c)) = (edge(i), edge((i + 1) % n));
        // The next edge must not lead back over this one.
        if turn(a, b, c) == 0 && dot(a, b, c) < 0 {
            return false;
        }
    }
    let neighbours = |i: usize, j: usize| (i + 1) % n == j || (j + 1) % n == i;
    // From left to right, so that each edge meets only those that begin before it ends.
    let left = |i: usize| points[i][0].min(points[(i + 1) % n][0]);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&i| left(i));
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

/// Twice the signed area of a triangle: on which side of the line from `a` to `b` does `c` lie.
fn turn(a: Point, b: Point, c: Point) -> i64 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

/// Whether the way from `b` to `c` goes on (positive) or back (negative) after that from `a` to `b`.
fn dot(a: Point, b: Point, c: Point) -> i64 {
    (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1])
}

/// Whether two edges have a point in common.
fn touch(a: Point, b: Point, c: Point, d: Point) -> bool {
    let boxes_meet = [0, 1].into_iter().all(|axis| {
        a[axis].min(b[axis]) <= c[axis].max(d[axis]) && c[axis].min(d[axis]) <= a[axis].max(b[axis])
    });
    let apart = |p: i64, q: i64| p.signum() * q.signum() > 0;
    boxes_meet && !apart(turn(a, b, c), turn(a, b, d)) && !apart(turn(c, d, a), turn(c, d, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_touches_itself_is_no_polygon() {
        assert!(is_simple(&[[0, 0], [10, 0], [10, 10], [0, 10]]));
        assert!(!is_simple(&[[0, 0], [10, 10]]));
        assert!(!is_simple(&[[0, 0], [10, 10], [10, 0], [0, 10]]));
        // Out and back.
        assert!(!is_simple(&[[0, 0], [10, 0], [4, 0], [4, 5]]));
        assert!(!is_simple(&[[0, 0], [10, 0], [20, 0]]));
        let eight = [[0, 0], [5, 5], [10, 0], [10, 10], [5, 5], [0, 10]];
        assert!(!is_simple(&eight));
    }
}
