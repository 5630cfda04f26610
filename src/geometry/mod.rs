//! Plane geometry in image coordinates (x to the right, y downwards): anchor points of boxes, sides
//! of a line, membership of a zone, overlap of boxes. The one home of these rules; blocks that
//! count, time, track or measure take them from here.

pub mod anchor;
pub mod line;
pub mod overlap;
pub mod polygon;
pub mod zone;

pub use anchor::Anchor;
pub use line::{Line, Side};
pub use overlap::{BoxIndex, bounds, hull, iou};
pub use zone::Zone;

use crate::values::Value;

/// Why a shape or a point cannot be had.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GeometryError {
    /// No anchor has this name.
    #[error("`{0}` is not an anchor; use one of {names}", names = anchor::NAMES.join(", "))]
    UnknownAnchor(String),
    /// The centre of mass of a box without a mask.
    #[error("anchor CENTER_OF_MASS needs masks, and the detections have none")]
    NoMasks,
    /// A line that is not two different points.
    #[error("a line must be a list of exactly 2 different points")]
    BadLine,
    /// A polygon with too few points.
    #[error("a zone must be a list of more than 2 points, got {0}")]
    TooFewPoints(usize),
    /// A point that is not two numbers.
    #[error("each point must be a list of exactly 2 numbers")]
    BadPoint,
    /// A path without points.
    #[error("a path must have at least one point")]
    EmptyPath,
    /// A zone that ends left of or above the image.
    #[error("the zone lies outside the image: its coordinates are negative")]
    NegativeZone,
    /// Zones that take too long to draw.
    #[error("the zones are too large together; keep their points near the image")]
    LargeZones,
    /// A list that is neither points nor polygons.
    #[error("a zone must be a list of points or a list of such lists, all nested alike")]
    UnevenNesting,
}

/// Points in a list (or tuple) of coordinate pairs, or in an array of two columns.
pub fn points(value: &Value) -> Result<Vec<[f64; 2]>, GeometryError> {
    if let Value::Array(array) = value {
        return match array.shape[..] {
            [_, 2] => Ok(array.data.chunks_exact(2).map(|p| [p[0], p[1]]).collect()),
            _ => Err(GeometryError::BadPoint),
        };
    }
    let items = value.as_slice().ok_or(GeometryError::BadPoint)?;
    items.iter().map(point).collect()
}

/// The point in a pair of numbers (booleans count as numbers).
pub fn point(value: &Value) -> Result<[f64; 2], GeometryError> {
    let pair = match value {
        Value::Array(array) if array.shape == [2] => Some((array.data[0], array.data[1])),
        _ => match value.as_slice() {
            Some([x, y]) => x.as_f64().zip(y.as_f64()),
            _ => None,
        },
    };
    pair.map(|(x, y)| [x, y]).ok_or(GeometryError::BadPoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Array;

    #[test]
    fn points_come_from_lists_and_arrays() {
        let list = Value::from_json(&serde_json::json!([[1, 2.5], [3, 4]]));
        let array = Value::Array(Array::floats(vec![2, 2], vec![1.0, 2.5, 3.0, 4.0]).into());
        assert_eq!(points(&list), Ok(vec![[1.0, 2.5], [3.0, 4.0]]));
        assert_eq!(points(&array), points(&list));
        let triple = Value::from_json(&serde_json::json!([[1, 2, 3]]));
        assert_eq!(points(&triple), Err(GeometryError::BadPoint));
    }
}
