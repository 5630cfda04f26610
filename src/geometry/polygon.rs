//! Areas of simple polygons and of what two of them share.

use smallvec::SmallVec;

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
    /// Corners `[x_min, y_min, x_max, y_max]` of the box around it.
    bounds: [f64; 4],
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
    /// Place of the end that lies farther to the right.
    right: f64,
    /// Way to the right for each step downwards.
    slope: f64,
    /// 1 if the polygon goes down here, -1 if up.
    sign: f64,
}

impl Region {
    /// The area within a closed line that touches itself nowhere.
    pub fn of(points: &[[f64; 2]]) -> Self {
        let (mut falling, mut rising) = (Vec::with_capacity(points.len()), Vec::new());
        if let Some(&last) = points.last() {
            let mut before = last;
            for &point in points {
                match Edge::of(before, point) {
                    Some(edge) if edge.sign > 0.0 => falling.push(edge),
                    Some(edge) => rising.push(edge),
                    None => {}
                }
                before = point;
            }
        }
        // Most outlines go down once and up once, from their highest point.
        rising.reverse();
        let mut edges = merged(&falling, &rising);
        if !edges.is_sorted_by(|a, b| a.top <= b.top) {
            edges.sort_by(|a, b| a.top.total_cmp(&b.top));
        }
        const NOTHING: [f64; 4] = [f64::INFINITY, f64::INFINITY, -f64::INFINITY, -f64::INFINITY];
        let bounds = points.iter().fold(NOTHING, |[x1, y1, x2, y2], &[x, y]| {
            [x1.min(x), y1.min(y), x2.max(x), y2.max(y)]
        });
        Self {
            edges,
            bounds,
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

    /// What the boxes around two areas share: never less than [`Self::shared_area`], and soon known.
    pub fn most_shared(&self, other: &Self) -> f64 {
        shared_by_boxes(&self.bounds, &other.bounds)
    }

    /// The size of what two areas share.
    ///
    /// The sum over all pairs of an edge of each, with the signs of their directions, of what lies to the
    /// left of both: all that is not within both cancels out.
    pub fn shared_area(&self, other: &Self) -> f64 {
        if let (Some(a), Some(b)) = (self.rectangle, other.rectangle) {
            return shared_by_boxes(&a, &b);
        }
        let mut total = 0.0;
        let (mut own, mut others) = (Sweep::over(self, other), Sweep::over(other, self));
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

fn shared_by_boxes(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let side = |low: usize| (a[low + 2].min(b[low + 2]) - a[low].max(b[low])).max(0.0);
    side(0) * side(1)
}

/// Edges of one polygon while a level line sweeps down over it and another.
///
/// Those above the other polygon count for nothing, and neither do those wholly to the left of it: what
/// lies to the left of such an edge and of one that goes down is there once more for one that goes up.
struct Sweep<'a> {
    edges: &'a [Edge],
    next: usize,
    /// Places of the edges that reach down to the line, and perhaps some that have ended.
    active: SmallVec<[usize; 16]>,
    /// Upper left corner of the box around the other polygon.
    corner: [f64; 2],
}

impl<'a> Sweep<'a> {
    fn over(region: &'a Region, other: &Region) -> Self {
        let [left, top, ..] = other.bounds;
        let mut sweep = Self {
            edges: &region.edges,
            next: 0,
            active: SmallVec::new(),
            corner: [left, top],
        };
        sweep.skip();
        sweep
    }

    /// Goes on to an edge that counts.
    fn skip(&mut self) {
        let [left, top] = self.corner;
        let idle = |edge: &Edge| edge.bottom <= top || edge.right < left;
        while self.edges.get(self.next).is_some_and(idle) {
            self.next += 1;
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
        self.skip();
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
            right: p[0].max(q[0]),
            slope: (lower[0] - upper[0]) / (lower[1] - upper[1]),
            sign,
        })
    }

    fn at(&self, height: f64) -> f64 {
        self.x + (height - self.top) * self.slope
    }
}

/// The edges of two lists, always the higher of both next ones.
fn merged(mut a: &[Edge], mut b: &[Edge]) -> Vec<Edge> {
    let mut edges = Vec::with_capacity(a.len() + b.len());
    while let (Some((first, rest)), Some((other, others))) = (a.split_first(), b.split_first()) {
        if first.top <= other.top {
            edges.push(*first);
            a = rest;
        } else {
            edges.push(*other);
            b = others;
        }
    }
    edges.extend_from_slice(a);
    edges.extend_from_slice(b);
    edges
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
            prop_assert_eq!(Region::of(&corners(a)).most_shared(&Region::of_box(b)), as_boxes);
            prop_assert_eq!(shared(&corners(a), &corners(b)), as_boxes);
        }

        #[test]
        fn edges_that_are_left_out_count_for_nothing(
            radii in prop::array::uniform24(1u8..40),
            at in prop::array::uniform4(0u8..60),
        ) {
            let star = |radii: &[u8], x: u8, y: u8| {
                let corner = |(i, &radius): (usize, &u8)| {
                    let (sin, cos) = (i as f64 * std::f64::consts::TAU / 12.0).sin_cos();
                    [f64::from(x) + f64::from(radius) * cos, f64::from(y) + f64::from(radius) * sin]
                };
                Region::of(&radii.iter().enumerate().map(corner).collect::<Vec<_>>())
            };
            let (a, b) = (star(&radii[..12], at[0], at[1]), star(&radii[12..], at[2], at[3]));
            let mut all = 0.0;
            for own in &a.edges {
                for other in b.edges.iter().filter(|e| e.top < own.bottom && own.top < e.bottom) {
                    all += own.sign * other.sign * left_of_both(own, other);
                }
            }
            prop_assert!((a.shared_area(&b) - all.abs()).abs() < 1e-6, "{all}");
        }
    }
}
