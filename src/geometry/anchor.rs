//! Anchor points: the point of a box that stands for the object.
//!
//! Corners, side middles and centre of the box; of a turned box (column `xyxyxyxy`) the same places
//! along its own sides; or the mean of the mask's pixels.

use super::GeometryError;
use crate::values::Detections;
use crate::values::detections::column;

/// Names in definitions.
pub const NAMES: &[&str] = &[
    "CENTER",
    "CENTER_LEFT",
    "CENTER_RIGHT",
    "TOP_CENTER",
    "TOP_LEFT",
    "TOP_RIGHT",
    "BOTTOM_LEFT",
    "BOTTOM_CENTER",
    "BOTTOM_RIGHT",
    "CENTER_OF_MASS",
];

/// The names of those that need no mask.
pub const ON_BOX: &[&str] = NAMES.split_at(NAMES.len() - 1).0;

/// Which point of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// A place along both sides of the box: -1 (left, top), 0 (middle) or 1 (right, bottom).
    Box(i8, i8),
    /// Mean position of the mask's pixels.
    CenterOfMass,
}

impl Anchor {
    /// Centre of the box.
    pub const CENTER: Self = Self::Box(0, 0);

    /// The four corners: top left, top right, bottom left, bottom right.
    pub const CORNERS: [Self; 4] = [
        Self::Box(-1, -1),
        Self::Box(1, -1),
        Self::Box(-1, 1),
        Self::Box(1, 1),
    ];

    /// The anchor of this name.
    pub fn parse(name: &str) -> Result<Self, GeometryError> {
        Ok(match name {
            "CENTER" => Self::Box(0, 0),
            "CENTER_LEFT" => Self::Box(-1, 0),
            "CENTER_RIGHT" => Self::Box(1, 0),
            "TOP_CENTER" => Self::Box(0, -1),
            "TOP_LEFT" => Self::Box(-1, -1),
            "TOP_RIGHT" => Self::Box(1, -1),
            "BOTTOM_LEFT" => Self::Box(-1, 1),
            "BOTTOM_CENTER" => Self::Box(0, 1),
            "BOTTOM_RIGHT" => Self::Box(1, 1),
            "CENTER_OF_MASS" => Self::CenterOfMass,
            _ => return Err(GeometryError::UnknownAnchor(name.to_owned())),
        })
    }

    /// The point `[x, y]` of a row.
    pub fn of(self, detections: &Detections, row: usize) -> Result<[f64; 2], GeometryError> {
        match self {
            Self::Box(across, down) => {
                let corners = detections
                    .cell(column::ORIENTED_BOX, row)
                    .and_then(|cell| super::points(cell).ok());
                Ok(match corners.as_deref() {
                    Some(&[a, b, c, d]) => on_turned_box([a, b, c, d], across, down),
                    _ => on_box(detections.xyxy[row], across, down),
                })
            }
            // Pixel centres lie at half coordinates; the reference truncates their mean.
            Self::CenterOfMass => match &detections.masks {
                Some(masks) => Ok(masks[row]
                    .centroid()
                    .map_or([0.0; 2], |[x, y]| [(x + 0.5).trunc(), (y + 0.5).trunc()])),
                None => Err(GeometryError::NoMasks),
            },
        }
    }
}

fn on_box([x1, y1, x2, y2]: [f64; 4], across: i8, down: i8) -> [f64; 2] {
    let along = |low: f64, high: f64, place: i8| match place {
        -1 => low,
        0 => (low + high) / 2.0,
        _ => high,
    };
    [along(x1, x2, across), along(y1, y2, down)]
}

/// The same place along the sides of a turned box: the side that points more to the right counts as
/// its width.
fn on_turned_box(corners: [[f64; 2]; 4], across: i8, down: i8) -> [f64; 2] {
    let [p0, p1, p2, _] = corners;
    let half = |from: [f64; 2], to: [f64; 2]| [(to[0] - from[0]) / 2.0, (to[1] - from[1]) / 2.0];
    let (a, b) = (half(p0, p1), half(p1, p2));
    let (mut width, mut height) = if a[0].abs() >= b[0].abs() {
        (a, b)
    } else {
        (b, a)
    };
    if width[0] < 0.0 {
        width = [-width[0], -width[1]];
    }
    if height[1] < 0.0 {
        height = [-height[0], -height[1]];
    }
    let (sx, sy) = (f64::from(across), f64::from(down));
    [0, 1].map(|axis| {
        let centre = corners.iter().map(|p| p[axis]).sum::<f64>() / 4.0;
        centre + sx * width[axis] + sy * height[axis]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Mask, Value};
    use std::sync::Arc;

    fn one_box() -> Detections {
        Detections {
            xyxy: Arc::new(vec![[10.0, 20.0, 30.0, 60.0]]),
            ..Detections::default()
        }
    }

    #[test]
    fn every_name_is_a_place_on_the_box() {
        let d = one_box();
        let at = |name: &str| Anchor::parse(name).and_then(|a| a.of(&d, 0));
        assert_eq!(at("CENTER"), Ok([20.0, 40.0]));
        assert_eq!(at("BOTTOM_CENTER"), Ok([20.0, 60.0]));
        assert_eq!(at("TOP_RIGHT"), Ok([30.0, 20.0]));
        assert_eq!(at("CENTER_LEFT"), Ok([10.0, 40.0]));
        assert_eq!(at("CENTER_OF_MASS"), Err(GeometryError::NoMasks));
        assert!(matches!(at("FOO"), Err(GeometryError::UnknownAnchor(n)) if n == "FOO"));
        assert!(NAMES.iter().all(|name| Anchor::parse(name).is_ok()));
    }

    #[test]
    fn the_centre_of_mass_is_truncated() {
        let mut d = one_box();
        let mut pixels = vec![0; 100];
        for x in 2..5 {
            pixels[3 * 10 + x] = 1;
        }
        d.masks = Some(Arc::new(vec![Mask::from_dense(10, 10, &pixels)]));
        assert_eq!(Anchor::CenterOfMass.of(&d, 0), Ok([3.0, 3.0]));
        d.masks = Some(Arc::new(vec![Mask::empty(10, 10)]));
        assert_eq!(Anchor::CenterOfMass.of(&d, 0), Ok([0.0, 0.0]));
    }

    #[test]
    fn anchors_follow_a_turned_box() {
        let mut d = one_box();
        let diamond = serde_json::json!([[20, 20], [40, 40], [20, 60], [0, 40]]);
        d.set_column(column::ORIENTED_BOX, vec![Value::from_json(&diamond)]);
        assert_eq!(Anchor::CENTER.of(&d, 0), Ok([20.0, 40.0]));
        assert_eq!(Anchor::Box(1, 0).of(&d, 0), Ok([30.0, 50.0]));
        assert_eq!(Anchor::Box(0, -1).of(&d, 0), Ok([30.0, 30.0]));
    }
}
