//! Areas of simple polygons and of what two of them share.

use smallvec::SmallVec;

/// Whether a closed line is a polygon in the sense of geographic systems: it encloses something and
/// touches itself nowhere.
pub fn is_simple(points: &[[i64; 2]]) -> bool {
    if points.len() < 3 {
        return false;
    }
    steps_apart(points).unwrap_or_else(|| {
        let exact: Vec<[f64; 2]> = points.iter().map(|p| p.map(|c| c as f64)).collect();
        area(&exact) != 0.0 && edges_apart(&exact)
    })
}

/// Whether no two edges of a closed line have a point in common but where one goes on from the other.
fn edges_apart(points: &[[f64; 2]]) -> bool {
    let n = points.len();
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

/// Cells that are looked at for a line along pixels at most.
const MOST_CELLS: i64 = 1 << 20;
/// A line has come to the pixel.
const SEEN: u8 = 1;
/// A line goes slantwise, falling or rising, between the pixel and the next three.
const FALLING: u8 = 2;
const RISING: u8 = 4;

/// Whether a closed line of three points or more that goes from pixel to pixel, straight or slantwise, comes
/// to none twice and crosses itself between none: the answer of [`is_simple`] for outlines of masks, at a
/// step a pixel. `None` for other lines.
fn steps_apart(points: &[[i64; 2]]) -> Option<bool> {
    let range = |axis: usize| {
        let least = points.iter().map(|p| p[axis]).min().unwrap_or(0);
        let most = points.iter().map(|p| p[axis]).max().unwrap_or(0);
        (least, most.saturating_sub(least).saturating_add(1))
    };
    let ((left, width), (top, height)) = (range(0), range(1));
    let cells = width.saturating_mul(height);
    if cells > MOST_CELLS {
        return None;
    }
    let mut cells = vec![0u8; cells as usize];
    let mut apart = true;
    let next = points.iter().cycle().skip(1);
    for (p, q) in points.iter().zip(next) {
        let (dx, dy) = (q[0] - p[0], q[1] - p[1]);
        if dx != 0 && dy != 0 && dx.abs() != dy.abs() {
            return None;
        }
        let (right, down) = (dx.signum(), dy.signum());
        let stride = (down * width + right) as isize;
        let slant = match right * down {
            0 => None,
            1 => Some(FALLING),
            _ => Some(RISING),
        };
        // The upper left of the four pixels that a slanted step goes between.
        let corner = (down.min(0) * width + right.min(0)) as isize;
        apart &= (dx, dy) != (0, 0);
        let mut at = ((p[1] - top) * width + p[0] - left) as usize;
        for _ in 0..dx.abs().max(dy.abs()) {
            apart &= cells[at] & SEEN == 0;
            cells[at] |= SEEN;
            if let Some(slant) = slant {
                let cell = &mut cells[at.wrapping_add_signed(corner)];
                *cell |= slant;
                apart &= *cell & (FALLING | RISING) != FALLING | RISING;
            }
            at = at.wrapping_add_signed(stride);
        }
    }
    Some(apart)
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

/// The area within a simple polygon, made ready to be compared with others.
#[derive(Clone, Debug)]
pub struct Region {
    /// Edges that are not level, by their tops.
    edges: Vec<Edge>,
    area: f64,
    /// Corners `[x_min, y_min, x_max, y_max]` of a rectangle along the axes.
    rectangle: Option<[f64; 4]>,
}

/// An edge from its upper to its lower end.
#[derive(Clone, Copy, Debug)]
struct Edge {
    top: f64,
    bottom: f64,
    /// Place of the upper end.
    x: f64,
    /// Way to the right for each step downwards.
    slope: f64,
    /// 1 if the polygon goes down here, -1 if up.
    sign: f64,
}

impl Region {
    /// The area within a closed line that touches itself nowhere (see [`is_simple`]).
    pub fn of(points: &[[f64; 2]]) -> Self {
        let mut edges = Vec::with_capacity(points.len());
        if let Some(&last) = points.last() {
            let mut before = last;
            for &point in points {
                edges.extend(Edge::of(before, point));
                before = point;
            }
        }
        // An outline goes down and up: the stable sort merges such runs.
        edges.sort_by(|a, b| a.top.total_cmp(&b.top));
        Self {
            edges,
            area: area(points),
            rectangle: None,
        }
    }

    /// The area within a box `[x_min, y_min, x_max, y_max]`.
    pub fn of_box([x1, y1, x2, y2]: [f64; 4]) -> Self {
        Self {
            rectangle: Some([x1, y1, x2, y2]),
            area: ((x2 - x1) * (y2 - y1)).abs(),
            ..Self::of(&[[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
        }
    }

    /// The size of the area.
    pub fn area(&self) -> f64 {
        self.area
    }

    /// The size of what two areas share.
    ///
    /// The sum over all pairs of an edge of each, with the signs of their directions, of what lies to the
    /// left of both: all that is not within both cancels out.
    pub fn shared_area(&self, other: &Self) -> f64 {
        if let (Some(a), Some(b)) = (self.rectangle, other.rectangle) {
            let side = |low: usize| (a[low + 2].min(b[low + 2]) - a[low].max(b[low])).max(0.0);
            return side(0) * side(1);
        }
        let mut total = 0.0;
        let (mut own, mut others) = (Sweep::over(&self.edges), Sweep::over(&other.edges));
        loop {
            let own_is_next = match (own.next_top(), others.next_top()) {
                (Some(a), Some(b)) => a <= b,
                // What has ended shares nothing with what comes.
                (Some(_), None) if others.reaches_on() => true,
                (None, Some(_)) if own.reaches_on() => false,
                _ => break,
            };
            total += match own_is_next {
                true => own.advance(&mut others),
                false => others.advance(&mut own),
            };
        }
        // Its sign tells whether both polygons turn the same way.
        total.abs()
    }
}

/// Edges of one polygon while a level line sweeps down over it.
struct Sweep<'a> {
    edges: &'a [Edge],
    next: usize,
    /// Places of the edges that reach down to the line, and perhaps some that have ended.
    active: SmallVec<[usize; 16]>,
}

impl<'a> Sweep<'a> {
    fn over(edges: &'a [Edge]) -> Self {
        Self {
            edges,
            next: 0,
            active: SmallVec::new(),
        }
    }

    fn next_top(&self) -> Option<f64> {
        self.edges.get(self.next).map(|edge| edge.top)
    }

    fn reaches_on(&self) -> bool {
        !self.active.is_empty()
    }

    /// Goes on to the next edge; what lies to the left of it and of each edge of the other polygon.
    fn advance(&mut self, other: &mut Self) -> f64 {
        let edge = &self.edges[self.next];
        self.active.push(self.next);
        self.next += 1;
        let mut total = 0.0;
        let mut i = 0;
        while let Some(&place) = other.active.get(i) {
            let opposite = &other.edges[place];
            if opposite.bottom <= edge.top {
                other.active.swap_remove(i);
                continue;
            }
            total += edge.sign * opposite.sign * left_of_both(edge, opposite);
            i += 1;
        }
        total
    }
}

impl Edge {
    fn of(p: [f64; 2], q: [f64; 2]) -> Option<Self> {
        let (upper, lower, sign) = if p[1] < q[1] {
            (p, q, 1.0)
        } else {
            (q, p, -1.0)
        };
        (upper[1] < lower[1]).then(|| Self {
            top: upper[1],
            bottom: lower[1],
            x: upper[0],
            slope: (lower[0] - upper[0]) / (lower[1] - upper[1]),
            sign,
        })
    }

    fn at(&self, height: f64) -> f64 {
        self.x + (height - self.top) * self.slope
    }
}

/// The area between the upright axis and the left one of two edges, over the heights that they share.
fn left_of_both(a: &Edge, b: &Edge) -> f64 {
    let (top, bottom) = (a.top.max(b.top), a.bottom.min(b.bottom));
    let (start, end) = (b.at(top), b.at(bottom));
    let (ahead, after) = (a.at(top) - start, a.at(bottom) - end);
    // How far `a` lies to the left of `b`, on the mean.
    let less = if ahead <= 0.0 && after <= 0.0 {
        (ahead + after) / 2.0
    } else if ahead >= 0.0 && after >= 0.0 {
        0.0
    } else {
        let left = ahead.min(after);
        left * left / (-2.0 * (ahead - after).abs())
    };
    ((start + end) / 2.0 + less) * (bottom - top)
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
    use proptest::prelude::*;

    const SQUARE: [[f64; 2]; 4] = [[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]];

    fn shared(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
        let (a, b) = (Region::of(a), Region::of(b));
        assert_eq!(a.shared_area(&b), b.shared_area(&a));
        a.shared_area(&b)
    }

    #[test]
    fn shared_areas_of_squares_diamonds_and_notches() {
        assert_eq!(area(&SQUARE), 100.0);
        assert_eq!(shared(&SQUARE, &SQUARE), 100.0);
        let moved = SQUARE.map(|[x, y]| [x + 6.0, y + 7.0]);
        assert_eq!(shared(&SQUARE, &moved), 12.0);
        let turned_the_other_way: Vec<_> = moved.into_iter().rev().collect();
        assert_eq!(shared(&SQUARE, &turned_the_other_way), 12.0);
        let diamond = [[5.0, -5.0], [15.0, 5.0], [5.0, 15.0], [-5.0, 5.0]];
        assert_eq!(shared(&SQUARE, &diamond), 100.0);
        let smaller = [[5.0, 0.0], [10.0, 5.0], [5.0, 10.0], [0.0, 5.0]];
        assert_eq!(shared(&SQUARE, &smaller), 50.0);
        let notch = [
            [0.0, 0.0],
            [5.0, 5.0],
            [10.0, 0.0],
            [10.0, 10.0],
            [0.0, 10.0],
        ];
        assert_eq!(shared(&SQUARE, &notch), 75.0);
        let beside = SQUARE.map(|[x, y]| [x + 10.0, y]);
        assert_eq!(shared(&SQUARE, &beside), 0.0);
        let far = SQUARE.map(|[x, y]| [x, y + 30.0]);
        assert_eq!(shared(&SQUARE, &far), 0.0);
    }

    #[test]
    fn edges_that_cross_share_what_lies_within_both() {
        let lying = [[0.0, 4.0], [10.0, 5.0], [10.0, 6.0], [0.0, 7.0]];
        let standing = [[4.0, 0.0], [7.0, 0.0], [6.0, 10.0], [5.0, 10.0]];
        let got = shared(&lying, &standing);
        // By numeric integration.
        let mut want = 0.0;
        let steps = 100_000;
        for i in 0..steps {
            let y = 4.0 + 3.0 * (f64::from(i) + 0.5) / f64::from(steps);
            let (left, right) = (4.0 + y / 10.0, 7.0 - y / 10.0);

            let to = if y < 5.0 {
                (y - 4.0) * 10.0
            } else if y > 6.0 {
                (7.0 - y) * 10.0
            } else {
                10.0
            };
            want += (right.min(to) - left).max(0.0) * 3.0 / f64::from(steps);
        }
        assert!((got - want).abs() < 1e-6, "{got} is not {want}");
    }

    proptest! {
        #[test]
        fn boxes_share_what_their_corners_say(sides in prop::array::uniform8(0u8..20)) {
            let [a, b] = [&sides[..4], &sides[4..]].map(|s| {
                let [x, y, w, h] = [0, 1, 2, 3].map(|i| f64::from(s[i]));
                [x, y, x + w + 1.0, y + h + 1.0]
            });
            let corners = |b: [f64; 4]| [[b[0], b[1]], [b[2], b[1]], [b[2], b[3]], [b[0], b[3]]];
            let as_boxes = Region::of_box(a).shared_area(&Region::of_box(b));
            prop_assert_eq!(shared(&corners(a), &corners(b)), as_boxes);
        }

        #[test]
        fn a_line_along_pixels_is_judged_as_any_other(
            steps in prop::collection::vec((0usize..8, 1i64..4), 2..9),
        ) {
            const WAYS: [[i64; 2]; 8] =
                [[1, 0], [1, 1], [0, 1], [-1, 1], [-1, 0], [-1, -1], [0, -1], [1, -1]];
            let mut points = vec![[0, 0]];
            let mut at = [0, 0];
            for (way, length) in steps {
                at = [at[0] + WAYS[way][0] * length, at[1] + WAYS[way][1] * length];
                points.push(at);
            }
            // Home again, first slantwise.
            let slant = at[0].abs().min(at[1].abs());
            let corner = [at[0] - at[0].signum() * slant, at[1] - at[1].signum() * slant];
            if slant > 0 && corner != [0, 0] {
                points.push(corner);
            }
            if points.last() == Some(&[0, 0]) {
                points.pop();
            }
            if points.len() >= 3 {
                let exact: Vec<_> = points.iter().map(|p| p.map(|c| c as f64)).collect();
                let want = area(&exact) != 0.0 && edges_apart(&exact);
                prop_assert_eq!(steps_apart(&points), Some(want), "{:?}", points);
            }
        }
    }

    #[test]
    fn a_line_that_touches_itself_is_no_polygon() {
        assert!(is_simple(&SQUARE.map(|p| p.map(|c| c as i64))));
        assert!(!is_simple(&[[0, 0], [10, 10], [10, 0], [0, 10]]));
        // Out and back.
        assert!(!is_simple(&[[0, 0], [10, 0], [4, 0], [4, 5]]));
        assert!(!is_simple(&[[0, 0], [10, 0], [20, 0]]));
        let eight = [[0, 0], [5, 5], [10, 0], [10, 10], [5, 5], [0, 10]];
        assert!(!is_simple(&eight));
    }
}
