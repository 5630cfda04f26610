//! Makes a polygon larger until it holds the anchors of detections: the side that an anchor lies
//! beyond moves outwards to it, parallel to itself.

use opencv::core::{Point2f, Vector};
use opencv::imgproc;

use super::polygons::Quad;
use crate::blocks::BlockError;
use crate::geometry::{Anchor, GeometryError};
use crate::values::Detections;

/// Places of the corners in a polygon.
const LOWER_LEFT: usize = 0;
const UPPER_LEFT: usize = 1;
const UPPER_RIGHT: usize = 2;
const LOWER_RIGHT: usize = 3;

/// A side: where it begins and ends, the corners beyond both ends, the corner by whose way growth is
/// measured, and the anchors that are tested with `ALL`.
struct Side {
    from: usize,
    to: usize,
    before: usize,
    behind: usize,
    measured: usize,
    across: bool,
    anchors: [Anchor; 2],
}

const SIDES: [Side; 4] = [
    Side {
        from: LOWER_LEFT,
        to: UPPER_LEFT,
        before: LOWER_RIGHT,
        behind: UPPER_RIGHT,
        measured: LOWER_LEFT,
        across: true,
        anchors: [Anchor::Box(-1, 1), Anchor::Box(-1, -1)],
    },
    Side {
        from: UPPER_RIGHT,
        to: LOWER_RIGHT,
        before: UPPER_LEFT,
        behind: LOWER_LEFT,
        measured: LOWER_RIGHT,
        across: true,
        anchors: [Anchor::Box(1, 1), Anchor::Box(1, -1)],
    },
    Side {
        from: LOWER_RIGHT,
        to: LOWER_LEFT,
        before: UPPER_RIGHT,
        behind: UPPER_LEFT,
        measured: LOWER_LEFT,
        across: false,
        anchors: [Anchor::Box(1, 1), Anchor::Box(-1, 1)],
    },
    Side {
        from: UPPER_LEFT,
        to: UPPER_RIGHT,
        before: LOWER_LEFT,
        behind: LOWER_RIGHT,
        measured: UPPER_LEFT,
        across: false,
        anchors: [Anchor::Box(1, -1), Anchor::Box(-1, -1)],
    },
];

/// A polygon that has grown, and by how many pixels across and down.
pub(super) struct Grown {
    pub(super) quad: Quad,
    pub(super) across: f64,
    pub(super) down: f64,
}

/// Grows a polygon around the anchors of all rows; `ALL` means the corners of their boxes.
pub(super) fn around(quad: Quad, set: &Detections, anchor: &str) -> Result<Grown, BlockError> {
    let fixed = match anchor {
        "ALL" => None,
        name => Some(Anchor::parse(name)?),
    };
    let mut grown = Grown {
        quad,
        across: 0.0,
        down: 0.0,
    };
    for row in 0..set.len() {
        for side in &SIDES {
            let anchors = fixed.map_or(side.anchors.to_vec(), |anchor| vec![anchor]);
            let points = anchors.into_iter().map(|anchor| anchor.of(set, row));
            for point in points.collect::<Result<Vec<_>, GeometryError>>()? {
                if !holds(&grown.quad, point)? {
                    grown.reach(side, point)?;
                }
            }
        }
    }
    Ok(grown)
}

/// Whether a point lies inside a polygon or on its outline.
fn holds(quad: &Quad, [x, y]: [f64; 2]) -> opencv::Result<bool> {
    let single = |[x, y]: [f64; 2]| Point2f::new(x as f32, y as f32);
    let outline = Vector::<Point2f>::from_iter(quad.map(single));
    let place = imgproc::point_polygon_test(&outline, single([x, y]), false)?;
    Ok(place >= 0.0)
}

impl Grown {
    /// Moves a side to a point, if that lies beyond it.
    fn reach(&mut self, side: &Side, point: [f64; 2]) -> Result<(), BlockError> {
        let (a, b) = (self.quad[side.from], self.quad[side.to]);
        let turn = (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]);
        if turn > 0.0 {
            return Ok(());
        }
        let before = self.quad[side.measured];
        let parallel = (point, [point[0] + b[0] - a[0], point[1] + b[1] - a[1]]);
        let from = crossing(parallel, (self.quad[side.before], a))?;
        let to = crossing(parallel, (b, self.quad[side.behind]))?;
        (self.quad[side.from], self.quad[side.to]) = (from, to);
        let after = self.quad[side.measured];
        let moved = (after[0] - before[0]).hypot(after[1] - before[1]);
        match side.across {
            true => self.across += moved,
            false => self.down += moved,
        }
        Ok(())
    }
}

type Line = ([f64; 2], [f64; 2]);

/// Where two lines cross, in whole pixels.
fn crossing((a, b): Line, (c, d): Line) -> Result<[f64; 2], BlockError> {
    let (u, v) = ([b[0] - a[0], b[1] - a[1]], [d[0] - c[0], d[1] - c[1]]);
    let slope = u[0] * v[1] - u[1] * v[0];
    if slope == 0.0 {
        return Err(BlockError::failed(
            "the perspective polygon has parallel sides that should meet",
        ));
    }
    let along = ((c[0] - a[0]) * v[1] - (c[1] - a[1]) * v[0]) / slope;
    Ok([a[0] + along * u[0], a[1] + along * u[1]].map(f64::round_ties_even))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::boxes;

    const SQUARE: Quad = [[10.0, 50.0], [10.0, 10.0], [50.0, 10.0], [50.0, 50.0]];

    #[test]
    fn sides_move_out_to_the_boxes() {
        let set = boxes(&[
            ([0.0, 20.0, 60.0, 40.0], 0.9),
            ([20.0, 20.0, 30.0, 55.0], 0.9),
        ]);
        let grown = around(SQUARE, &set, "ALL").unwrap();
        assert_eq!(
            grown.quad,
            [[0.0, 55.0], [0.0, 10.0], [60.0, 10.0], [60.0, 55.0]]
        );
        assert_eq!((grown.across, grown.down), (20.0, 5.0));
        let centred = around(SQUARE, &set, "CENTER").unwrap();
        assert_eq!(centred.quad, SQUARE);
        assert!(around(SQUARE, &set, "NOWHERE").is_err());
    }
}
