//! The four-cornered polygons that a definition or another step hands in.

use crate::blocks::BlockError;
use crate::geometry::{self, polygon};
use crate::values::Value;

/// Four corners in pixels.
pub(super) type Quad = [[f64; 2]; 4];

/// The polygon of each of `count` images: one for all, or one each.
pub(super) fn for_images(value: &Value, count: usize) -> Result<Vec<Quad>, BlockError> {
    let items = match value {
        Value::List(_) | Value::Tuple(_) | Value::Batch(_) => value.as_slice().unwrap_or_default(),
        other => {
            return Err(BlockError::failed(format!(
                "`perspective_polygons` must be a list, got {}",
                other.type_name()
            )));
        }
    };
    if items.is_empty() {
        return Err(BlockError::failed(
            "`perspective_polygons` must not be empty",
        ));
    }
    let quads = match quad(value) {
        Some(one) => vec![one],
        None => {
            let given = items.iter().filter(|item| !item.is_none());
            given.map(largest).collect::<Result<Vec<_>, _>>()?
        }
    };
    match quads.as_slice() {
        [one] => Ok(vec![*one; count]),
        all if all.len() == count => Ok(quads),
        all => Err(BlockError::failed(format!(
            "{} perspective polygons for {count} images",
            all.len()
        ))),
    }
}

/// A list (or array) of exactly four points.
fn quad(value: &Value) -> Option<Quad> {
    let points = match value {
        Value::Batch(_) => return None,
        other => geometry::points(other).ok()?,
    };
    points.try_into().ok()
}

/// The polygon in an element, or the largest of several with four corners, those rounded.
fn largest(element: &Value) -> Result<Quad, BlockError> {
    if let Some(one) = quad(element) {
        return Ok(one);
    }
    let items = element.as_slice().ok_or_else(|| {
        let got = element.type_name();
        BlockError::failed(format!(
            "a perspective polygon must be a list of four points, got {got}"
        ))
    })?;
    let quads = items
        .iter()
        .filter_map(quad)
        .map(|q| q.map(|p| p.map(f64::round_ties_even)));
    let mut best: Option<(f64, Quad)> = None;
    for quad in quads {
        let area = polygon::area(&quad);
        if best.is_none_or(|(most, _)| area > most) {
            best = Some((area, quad));
        }
    }
    best.map(|(_, quad)| quad)
        .ok_or_else(|| BlockError::failed("a perspective polygon must have four corners"))
}

/// The corners from the lower left one on, clockwise in the picture: lower left, upper left, upper
/// right, lower right.
pub(super) fn ordered(mut quad: Quad) -> Quad {
    let [x1, y1, x2, y2] = geometry::bounds(quad).unwrap_or_default();
    let (x, y) = (f64::midpoint(x1, x2), f64::midpoint(y1, y2));
    let angle = |p: &[f64; 2]| (x - p[0]).atan2(y - p[1]);
    quad.sort_by(|a, b| angle(b).total_cmp(&angle(a)));
    let bounds = [[x1, y2], [x1, y1], [x2, y1], [x2, y2]];
    let distance = |quad: &Quad| -> f64 {
        let each = quad
            .iter()
            .zip(&bounds)
            .map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]));
        each.sum()
    };
    let mut best = quad;
    for shift in 1..4 {
        let mut turned = quad;
        turned.rotate_left(shift);
        let (now, least) = (distance(&turned), distance(&best));
        if now < least || (now == least && turned[0][0] < best[0][0]) {
            best = turned;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn read(json: Json, count: usize) -> Result<Vec<Quad>, BlockError> {
        for_images(&Value::from_json(&json), count)
    }

    const ONE: Quad = [[60.0, 50.0], [150.0, 60.0], [190.0, 140.0], [10.0, 130.0]];

    #[test]
    fn polygons_come_in_several_forms() {
        let one = json!([[60, 50], [150, 60], [190, 140], [10, 130]]);
        let tiny = json!([[5, 5], [30, 5], [30, 30], [5, 30]]);
        assert_eq!(read(one.clone(), 2).unwrap(), [ONE, ONE]);
        assert_eq!(read(json!([one]), 1).unwrap(), [ONE]);
        assert_eq!(read(json!([[tiny, one]]), 1).unwrap(), [ONE]);
        assert_eq!(read(json!([null, tiny, one]), 2).unwrap()[1], ONE);
        for wrong in [
            json!([]),
            json!(5),
            json!([[[[10, 10], [50, 10], [30, 40]]]]),
            json!([7]),
            json!([tiny, one, tiny]),
        ] {
            assert!(read(wrong.clone(), 2).is_err(), "{wrong}");
        }
    }

    #[test]
    fn corners_begin_at_the_lower_left() {
        let want = [[10.0, 130.0], [60.0, 50.0], [150.0, 60.0], [190.0, 140.0]];
        for shift in 0..4 {
            let mut turned = ONE;
            turned.rotate_left(shift);
            assert_eq!(ordered(turned), want);
            turned.reverse();
            assert_eq!(ordered(turned), want);
        }
    }
}
