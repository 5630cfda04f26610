//! Places on a box: corners, middles of sides, the centre, the centre of the mask.

use std::str::FromStr;

use crate::blocks::BlockError;
use crate::imaging::{Pixel, trunc};
use crate::values::detections::column;
use crate::values::{Detections, Mask};

use super::points;

/// A place on a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At a side, corner or the centre: −1 left or top, 0 middle, 1 right or bottom.
    Anchor {
        /// Across.
        x: i8,
        /// Down.
        y: i8,
    },
    /// Mean of the mask's pixels.
    CenterOfMass,
}

impl Position {
    /// Centre of the box.
    pub const CENTER: Self = Self::Anchor { x: 0, y: 0 };
}

impl FromStr for Position {
    type Err = BlockError;

    fn from_str(name: &str) -> Result<Self, BlockError> {
        let anchor = |x, y| Ok(Self::Anchor { x, y });
        match name {
            "CENTER" => anchor(0, 0),
            "CENTER_LEFT" => anchor(-1, 0),
            "CENTER_RIGHT" => anchor(1, 0),
            "TOP_CENTER" => anchor(0, -1),
            "TOP_LEFT" => anchor(-1, -1),
            "TOP_RIGHT" => anchor(1, -1),
            "BOTTOM_LEFT" => anchor(-1, 1),
            "BOTTOM_CENTER" => anchor(0, 1),
            "BOTTOM_RIGHT" => anchor(1, 1),
            "CENTER_OF_MASS" => Ok(Self::CenterOfMass),
            _ => Err(BlockError::failed(format!(
                "unknown position `{name}`: use CENTER, CENTER_LEFT, CENTER_RIGHT, TOP_CENTER, \
                 TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT, BOTTOM_CENTER, BOTTOM_RIGHT or CENTER_OF_MASS"
            ))),
        }
    }
}

impl Position {
    /// The place on the box of a row, `[x, y]`. Boxes with four corner points of their own are
    /// measured along their sides. Masks are those of the detections, not decoded ones.
    pub fn on(self, detections: &Detections, row: usize) -> Result<[f64; 2], BlockError> {
        self.with_masks(
            detections,
            detections.masks.as_ref().map(|m| m.as_slice()),
            row,
        )
    }

    /// The place in whole pixels, fractions dropped.
    pub fn pixel_on(self, detections: &Detections, row: usize) -> Result<Pixel, BlockError> {
        Ok(self.on(detections, row)?.map(trunc))
    }

    /// The place on the box of a row whose mask stands in `masks`.
    pub fn with_masks(
        self,
        detections: &Detections,
        masks: Option<&[Mask]>,
        row: usize,
    ) -> Result<[f64; 2], BlockError> {
        let (sx, sy) = match self {
            Self::Anchor { x, y } => (f64::from(x), f64::from(y)),
            Self::CenterOfMass => {
                let mask = masks.and_then(|m| m.get(row)).ok_or_else(|| {
                    BlockError::failed("the position CENTER_OF_MASS needs detections with masks")
                })?;
                let center = mask.centroid().map(|c| c.map(|v| (v + 0.5).trunc()));
                return Ok(center.unwrap_or([0.0, 0.0]));
            }
        };
        Ok(match corners(detections, row) {
            Some(corners) => on_oriented(&corners, sx, sy),
            None => self.on_box(&detections.xyxy[row]),
        })
    }

    /// The place on an upright box; the centre for the centre of mass.
    pub fn on_box(self, [x1, y1, x2, y2]: &[f64; 4]) -> [f64; 2] {
        let (x, y) = match self {
            Self::Anchor { x, y } => (x, y),
            Self::CenterOfMass => (0, 0),
        };
        let pick = |low: f64, high: f64, side: i8| match side {
            -1 => low,
            0 => (low + high) / 2.0,
            _ => high,
        };
        [pick(*x1, *x2, x), pick(*y1, *y2, y)]
    }
}

/// The four corner points of an oriented box, if the row has them.
pub fn corners(detections: &Detections, row: usize) -> Option<[[f64; 2]; 4]> {
    let cell = detections.cell(column::ORIENTED_BOX, row)?;
    points(cell)?.try_into().ok()
}

/// Centre plus `sx` half widths and `sy` half heights; the width is the side that runs more across.
fn on_oriented(p: &[[f64; 2]; 4], sx: f64, sy: f64) -> [f64; 2] {
    let center = [0, 1].map(|i| (p[0][i] + p[1][i] + p[2][i] + p[3][i]) / 4.0);
    let a = [0, 1].map(|i| (p[1][i] - p[0][i]) / 2.0);
    let b = [0, 1].map(|i| (p[2][i] - p[1][i]) / 2.0);
    let (mut width, mut height) = if a[0].abs() >= b[0].abs() {
        (a, b)
    } else {
        (b, a)
    };
    if width[0] < 0.0 {
        width = width.map(|v| -v);
    }
    if height[1] < 0.0 {
        height = height.map(|v| -v);
    }
    [0, 1].map(|i| center[i] + sx * width[i] + sy * height[i])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::values::Value;

    fn boxed() -> Detections {
        Detections {
            xyxy: Arc::new(vec![[10.0, 20.0, 30.0, 50.0]]),
            ..Detections::default()
        }
    }

    fn at(name: &str, d: &Detections) -> [f64; 2] {
        name.parse::<Position>().unwrap().on(d, 0).unwrap()
    }

    #[test]
    fn anchors_of_an_upright_box() {
        let d = boxed();
        assert_eq!(at("CENTER", &d), [20.0, 35.0]);
        assert_eq!(at("TOP_RIGHT", &d), [30.0, 20.0]);
        assert_eq!(at("BOTTOM_CENTER", &d), [20.0, 50.0]);
        assert!("MIDDLE".parse::<Position>().is_err());
    }

    #[test]
    fn the_centre_of_mass_needs_a_mask_and_drops_fractions() {
        let mut d = boxed();
        assert!(Position::CenterOfMass.on(&d, 0).is_err());
        d.masks = Some(Arc::new(vec![Mask::from_window(
            100,
            80,
            [4, 6, 2, 1],
            &[1, 1],
        )]));
        assert_eq!(at("CENTER_OF_MASS", &d), [5.0, 6.0]);
        d.masks = Some(Arc::new(vec![Mask::empty(100, 80)]));
        assert_eq!(at("CENTER_OF_MASS", &d), [0.0, 0.0]);
    }

    #[test]
    fn an_oriented_box_is_measured_along_its_sides() {
        let mut d = boxed();
        let corner = |x: f64, y: f64| Value::list(vec![x.into(), y.into()]);
        d.set_column(
            column::ORIENTED_BOX,
            vec![Value::list(vec![
                corner(20.0, 10.0),
                corner(40.0, 20.0),
                corner(30.0, 40.0),
                corner(10.0, 30.0),
            ])],
        );
        assert_eq!(at("CENTER", &d), [25.0, 25.0]);
        assert_eq!(at("TOP_LEFT", &d), [20.0, 10.0]);
        assert_eq!(at("BOTTOM_CENTER", &d), [20.0, 35.0]);
    }
}
