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
    pub fn spans(&self, [x, y]: [f64; 2]) -> bool {
        let [dx, dy] = self.direction();
        let length = dx.hypot(dy);
        let (px, py) = (-dy / length, dx / length);
        let before = px * (y - self.start[1]) - py * (x - self.start[0]);
        let after = -(px * (y - self.end[1]) - py * (x - self.end[0]));
        (before > 0.0) == (after > 0.0)
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
