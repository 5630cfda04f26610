//! Zones: polygons drawn onto the pixel grid, boundary included, as the reference draws them.
//!
//! A point is inside if its nearest pixel (halves to even) is drawn. Parts of a polygon at negative
//! coordinates do not exist. A zone keeps the runs of drawn pixels of each row, a few bytes a row.

use super::GeometryError;
use crate::values::python::round_half_even;
use crate::values::{Value, polygon};

/// Canvas side beyond which a polygon is cut off: no image is that large.
const MAX_SIDE: f64 = 16_384.0;

/// Pixels that the canvases of several zones may have in all: drawing more takes many seconds.
const MAX_PIXELS: f64 = 32.0 * MAX_SIDE * MAX_SIDE;

/// A drawn polygon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zone {
    /// For each row from 0 on, where its runs end in `runs`.
    rows: Vec<usize>,
    /// First and last drawn pixel of each run.
    runs: Vec<[u16; 2]>,
}

impl Zone {
    /// The zone inside a polygon of at least three points.
    pub fn from_polygon(points: &[[f64; 2]]) -> Result<Self, GeometryError> {
        if points.len() < 3 {
            return Err(GeometryError::TooFewPoints(points.len()));
        }
        let [width, height] = canvas(points);
        if width < 0.0 || height < 0.0 {
            return Err(GeometryError::NegativeZone);
        }
        if width < 1.0 || height < 1.0 {
            return Ok(Self::default());
        }
        // OpenCV refuses nothing here: the canvas is not empty and the polygon has three points.
        Self::draw(points, width as usize, height as usize).map_err(|_| GeometryError::BadPoint)
    }

    fn draw(points: &[[f64; 2]], width: usize, height: usize) -> opencv::Result<Self> {
        let mut canvas = vec![0; width * height];
        let outline: Vec<[i32; 2]> = points.iter().map(|p| p.map(|c| c as i32)).collect();
        polygon::fill(&mut canvas, width, &outline)?;
        let mut zone = Self::default();
        for row in canvas.chunks_exact(width) {
            zone.push_row(row);
        }
        Ok(zone)
    }

    fn push_row(&mut self, row: &[u8]) {
        let mut x = 0;
        while let Some(skip) = row[x..].iter().position(|&pixel| pixel != 0) {
            let first = x + skip;
            let length = row[first..].iter().position(|&pixel| pixel == 0);
            x = length.map_or(row.len(), |n| first + n);
            self.runs.push([first as u16, (x - 1) as u16]);
        }
        self.rows.push(self.runs.len());
    }

    /// Whether the pixel nearest to a point is drawn.
    pub fn contains(&self, [x, y]: [f64; 2]) -> bool {
        let (x, y) = (round_half_even(x), round_half_even(y));
        if !(x >= 0.0 && y >= 0.0 && y < self.rows.len() as f64) {
            return false;
        }
        let row = y as usize;
        let start = if row == 0 { 0 } else { self.rows[row - 1] };
        self.runs[start..self.rows[row]]
            .iter()
            .any(|&[first, last]| x >= f64::from(first) && x <= f64::from(last))
    }

    /// The zone in a list of more than two points.
    pub fn from_value(value: &Value) -> Result<Self, GeometryError> {
        let Value::List(items) = value else {
            return Err(GeometryError::TooFewPoints(0));
        };
        if items.len() < 3 {
            return Err(GeometryError::TooFewPoints(items.len()));
        }
        Self::from_polygon(&super::points(value)?)
    }

    /// The zones in a list of points (one zone) or a list of such lists; none in an empty list.
    pub fn all_from_value(value: &Value) -> Result<Vec<Self>, GeometryError> {
        match nesting(value)? {
            0 | 1 if value.as_slice().is_some_and(<[Value]>::is_empty) => Ok(Vec::new()),
            2 => Ok(vec![Self::from_value(value)?]),
            3 => {
                let polygons = value.as_slice().unwrap_or_default();
                let mut pixels = 0.0;
                // What is no polygon is told when it is read.
                for points in polygons.iter().flat_map(super::points) {
                    let [width, height] = canvas(&points);
                    pixels += width.max(0.0) * height.max(0.0);
                }
                if pixels > MAX_PIXELS {
                    return Err(GeometryError::LargeZones);
                }
                polygons.iter().map(Self::from_value).collect()
            }
            _ => Err(GeometryError::UnevenNesting),
        }
    }
}

/// Width and height of the canvas that a polygon is drawn on.
fn canvas(points: &[[f64; 2]]) -> [f64; 2] {
    [0, 1].map(|axis| {
        let far = points.iter().map(|p| p[axis]).fold(f64::MIN, f64::max);
        (far + 2.0).trunc().min(MAX_SIDE)
    })
}

/// Depth of nested lists, which must be the same everywhere.
fn nesting(value: &Value) -> Result<usize, GeometryError> {
    if let Value::Array(array) = value {
        return Ok(array.shape.len());
    }
    let Some(items) = value.as_slice() else {
        return Ok(0);
    };
    let mut depth = None;
    for item in items {
        let inner = nesting(item)?;
        if *depth.get_or_insert(inner) != inner {
            return Err(GeometryError::UnevenNesting);
        }
    }
    Ok(1 + depth.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn square() -> Zone {
        let corners = [
            [100.0, 100.0],
            [200.0, 100.0],
            [200.0, 200.0],
            [100.0, 200.0],
        ];
        Zone::from_polygon(&corners).unwrap()
    }

    /// Limits seen in the reference (specification 1.2).
    #[test]
    fn boundary_pixels_are_inside() {
        let zone = square();
        for (x, inside) in [(99.49, false), (99.5, true), (200.5, true), (200.51, false)] {
            assert_eq!(zone.contains([x, 150.0]), inside, "{x}");
            assert_eq!(zone.contains([150.0, x]), inside, "{x}");
        }
        assert!(!zone.contains([f64::NAN, 150.0]) && !zone.contains([-1.0, -1.0]));
    }

    #[test]
    fn a_notch_is_outside() {
        let v = [
            [0.0, 0.0],
            [20.0, 20.0],
            [40.0, 0.0],
            [40.0, 40.0],
            [0.0, 40.0],
        ];
        let zone = Zone::from_polygon(&v).unwrap();
        assert!(!zone.contains([20.0, 5.0]));
        assert!(zone.contains([2.0, 5.0]) && zone.contains([38.0, 5.0]));
        assert!(zone.contains([20.0, 20.0]));
    }

    #[test]
    fn one_polygon_several_or_none() {
        let read = |json| Zone::all_from_value(&Value::from_json(&json)).map(|z| z.len());
        assert_eq!(read(json!([[0, 0], [9, 0], [9, 9]])), Ok(1));
        assert_eq!(
            read(json!([[[0, 0], [9, 0], [9, 9]], [[0, 0], [5, 0], [5, 5]]])),
            Ok(2)
        );
        assert_eq!(read(json!([])), Ok(0));
        assert_eq!(
            read(json!([[0, 0], [9, 0]])),
            Err(GeometryError::TooFewPoints(2))
        );
        assert_eq!(
            read(json!([[0, 0], [[9, 0]], [9, 9]])),
            Err(GeometryError::UnevenNesting)
        );
        assert_eq!(read(json!([[[[0, 0]]]])), Err(GeometryError::UnevenNesting));
        assert_eq!(
            read(json!([[-9, -9], [-5, -9], [-5, -5]])),
            Err(GeometryError::NegativeZone)
        );
    }

    #[test]
    fn many_far_zones_are_refused_before_they_are_drawn() {
        let zones = |count: usize, far: f64| {
            let zone = json!([[0, 0], [far, 0], [far, far]]);
            Zone::all_from_value(&Value::from_json(&json!(vec![zone; count])))
        };
        assert_eq!(zones(1000, 50.0).unwrap().len(), 1000);
        assert_eq!(zones(40, 1e9), Err(GeometryError::LargeZones));
    }

    #[test]
    fn a_zone_that_begins_far_outside_is_drawn_at_once() {
        let points = [[-1e9, -1e9], [30.0, -1e9], [30.0, 20.0], [-1e9, 20.0]];
        let zone = Zone::from_polygon(&points).unwrap();
        assert!(zone.contains([0.0, 0.0]) && zone.contains([30.0, 20.0]));
        assert!(!zone.contains([31.0, 20.0]) && !zone.contains([30.0, 21.0]));
    }
}
