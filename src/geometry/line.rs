//! A directed line between two points, and on which side of it a point lies.

use super::GeometryError;
use crate::values::Value;

/// A line from one point to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    start: [f64; 2],
    end: [f64; 2],
}

/// Side of a directed line. Seen along a line that runs to the right in the image, left is above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Left of the line.
    Left,
    /// Right of the line, or on it.
    Right,
}

impl Line {
    /// The line between two points, if they differ.
    pub fn new(start: [f64; 2], end: [f64; 2]) -> Result<Self, GeometryError> {
        if start == end {
            return Err(GeometryError::BadLine);
        }
        Ok(Self { start, end })
    }

    /// The line in a list of two points, each a list (not a tuple) of two numbers.
    pub fn from_value(value: &Value) -> Result<Self, GeometryError> {
        let Value::List(ends) = value else {
            return Err(GeometryError::BadLine);
        };
        match &ends[..] {
            [start @ Value::List(_), end @ Value::List(_)] => {
                Self::new(super::point(start)?, super::point(end)?)
            }
            [_, _] => Err(GeometryError::BadPoint),
            _ => Err(GeometryError::BadLine),
        }
    }

    /// Whether a point lies between the two normals through the ends.
    ///
    /// The normals are taken as from an end to a point beside it, which rounds as `supervision` does: it
    /// decides for points that lie exactly on a normal.
    pub fn spans(&self, [x, y]: [f64; 2]) -> bool {
        let [dx, dy] = self.direction();
        let length = (dx * dx + dy * dy).sqrt();
        let (px, py) = (-(dy / length), dx / length);
        let beyond = |end: [f64; 2], px: f64, py: f64| {
            let (nx, ny) = (end[0] + px - end[0], end[1] + py - end[1]);
            nx * (y - end[1]) - ny * (x - end[0]) > 0.0
        };
        beyond(self.start, px, py) == beyond(self.end, -px, -py)
    }

    /// On which side a point lies; a point on the line counts as right.
    pub fn side(&self, [x, y]: [f64; 2]) -> Side {
        let [dx, dy] = self.direction();
        if dx * (y - self.start[1]) - dy * (x - self.start[0]) < 0.0 {
            Side::Left
        } else {
            Side::Right
        }
    }

    fn direction(&self) -> [f64; 2] {
        [self.end[0] - self.start[0], self.end[1] - self.start[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn above_a_line_to_the_right_is_left() {
        let line = Line::new([0.0, 10.0], [100.0, 10.0]).unwrap();
        assert_eq!(line.side([50.0, 9.9]), Side::Left);
        assert_eq!(line.side([50.0, 10.0]), Side::Right);
        assert!(line.spans([0.0, 500.0]) && line.spans([100.0, -5.0]));
        assert!(!line.spans([-0.1, 10.0]) && !line.spans([100.1, 10.0]));
    }

    type Judged = ([f64; 2], [f64; 2], [f64; 2], bool);

    /// Ends of a line, a point on a normal through one of them, and whether it lies between.
    const POINTS_ON_NORMALS: [Judged; 12] = [
        ([150.0, 370.0], [340.0, 80.0], [50.0, -110.0], true),
        ([400.0, 370.0], [40.0, 380.0], [410.0, 730.0], false),
        ([160.0, 350.0], [140.0, 120.0], [-90.0, 140.0], false),
        ([250.0, 400.0], [90.0, 140.0], [-10.0, 560.0], false),
        ([0.0, 40.0], [100.0, 370.0], [-330.0, 140.0], true),
        ([10.0, 170.0], [300.0, 380.0], [510.0, 90.0], true),
        ([250.0, 360.0], [280.0, 80.0], [420.0, 95.0], true),
        ([20.0, 80.0], [310.0, 130.0], [360.0, -160.0], true),
        ([400.0, 190.0], [260.0, 320.0], [130.0, 180.0], true),
        ([140.0, 210.0], [10.0, 170.0], [180.0, 80.0], false),
        ([340.0, 360.0], [360.0, 60.0], [640.0, 380.0], true),
        ([180.0, 70.0], [40.0, 300.0], [-75.0, 230.0], true),
    ];

    /// Answers of `supervision` 0.30.9 for points on the normals of slanted lines.
    #[test]
    fn points_on_a_normal_are_judged_by_how_it_rounds() {
        for (start, end, point, between) in POINTS_ON_NORMALS {
            let line = Line::new(start, end).unwrap();
            assert_eq!(line.spans(point), between, "{start:?} {end:?} {point:?}");
        }
    }

    #[test]
    fn a_line_is_two_different_points() {
        let read = |json| Line::from_value(&Value::from_json(&json));
        assert!(read(json!([[0, 1], [2, 3.5]])).is_ok());
        assert_eq!(read(json!([[0, 1]])), Err(GeometryError::BadLine));
        assert_eq!(read(json!([[0, 1], [0, 1]])), Err(GeometryError::BadLine));
        assert_eq!(
            read(json!([[0, 1], [0, "1"]])),
            Err(GeometryError::BadPoint)
        );
        assert_eq!(read(json!([[0, 1], 2])), Err(GeometryError::BadPoint));
    }
}
