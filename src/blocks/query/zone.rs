//! Whether a point lies strictly inside a polygon, as the reference's geometry library decides it.
//!
//! A point on the border is outside. Of a polygon that crosses itself, the parts that a ray leaves
//! through an odd number of edges are inside. The side of an edge on which a point lies is decided
//! without rounding errors.

use std::cmp::Ordering;

use crate::values::{Value, sequence};

/// Whether `point` is inside `polygon`, a list of at least three points; or why they are none.
pub(super) fn strictly_inside(point: &Value, polygon: &Value) -> Result<bool, String> {
    let at = pair(point).ok_or("the left side must be a point [x, y]")?;
    // A zone of nothing holds nothing.
    if sequence::len(polygon) == Some(0) {
        return Ok(false);
    }
    let vertices = polygon
        .as_slice()
        .ok_or("the right side must be a list of points")?;
    if vertices.len() < 3 {
        return Err("a zone needs at least three points".to_owned());
    }
    let vertex = |value: &Value| pair(value).ok_or("a point of the zone is not a pair of numbers");
    let mut inside = false;
    let mut from = vertex(&vertices[vertices.len() - 1])?;
    for value in vertices {
        let to = vertex(value)?;
        match crossing(at, from, to) {
            Crossing::Border => return Ok(false),
            Crossing::Once => inside = !inside,
            Crossing::Never => {}
        }
        from = to;
    }
    Ok(inside)
}

fn pair(value: &Value) -> Option<[f64; 2]> {
    match value {
        Value::Array(array) => Some([*array.data.first()?, *array.data.get(1)?]),
        other => match other.as_slice()? {
            [x, y, ..] => Some([x.as_f64()?, y.as_f64()?]),
            _ => None,
        },
    }
}

enum Crossing {
    Border,
    Once,
    Never,
}

/// How a ray from `at` to the right meets an edge.
fn crossing([x, y]: [f64; 2], from: [f64; 2], to: [f64; 2]) -> Crossing {
    let ([x1, y1], [x2, y2]) = (from, to);
    if x1 < x && x2 < x {
        return Crossing::Never;
    }
    if to == [x, y] {
        return Crossing::Border;
    }
    if y1 == y && y2 == y {
        let on_edge = x1.min(x2) <= x && x <= x1.max(x2);
        return if on_edge {
            Crossing::Border
        } else {
            Crossing::Never
        };
    }
    if (y1 > y) == (y2 > y) {
        return Crossing::Never;
    }
    let side = side(from, to, [x, y]);
    let side = if y2 < y1 { side.reverse() } else { side };
    match side {
        Ordering::Equal => Crossing::Border,
        Ordering::Greater => Crossing::Once,
        Ordering::Less => Crossing::Never,
    }
}

/// Sign of the turn from `a` over `b` to `c`: greater for counter-clockwise.
fn side(a: [f64; 2], b: [f64; 2], c: [f64; 2]) -> Ordering {
    let left = (a[0] - c[0]) * (b[1] - c[1]);
    let right = (a[1] - c[1]) * (b[0] - c[0]);
    let turn = left - right;
    if turn.abs() > 1e-15 * (left.abs() + right.abs()) {
        return turn.total_cmp(&0.0);
    }
    let products = [
        product(difference(a[0], c[0]), difference(b[1], c[1])),
        product(difference(a[1], c[1]), difference(b[0], c[0])),
    ];
    let high = products[0].0 - products[1].0;
    let low = products[0].1 - products[1].1;
    (high + low).partial_cmp(&0.0).unwrap_or(Ordering::Equal)
}

/// `a - b` as a sum of two floats.
fn difference(a: f64, b: f64) -> (f64, f64) {
    let high = a - b;
    let back = high - a;
    (high, (a - (high - back)) - (b + back))
}

/// The product of two such sums, to about twice the precision of a float.
fn product(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    let high = a.0 * b.0;
    (high, a.0.mul_add(b.0, -high) + a.0 * b.1 + a.1 * b.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn inside(point: serde_json::Value, polygon: serde_json::Value) -> Result<bool, String> {
        strictly_inside(&Value::from_json(&point), &Value::from_json(&polygon))
    }

    #[test]
    fn a_zone_of_nothing_holds_nothing() {
        assert_eq!(inside(json!([1, 1]), json!([])), Ok(false));
        assert!(inside(json!([1, 1]), json!([[0, 0], [2, 2]])).is_err());
    }

    #[test]
    fn borders_are_outside() {
        let notched = json!([[10, 10], [60, 10], [60, 60], [35, 30], [10, 60]]);
        for (point, expected) in [
            (json!([20, 20]), true),
            (json!([10, 20]), false),
            (json!([10, 10]), false),
            (json!([35, 50]), false),
            (json!([35, 29]), true),
            (json!([70, 20]), false),
            (json!([35, 30]), false),
            (json!([60, 60]), false),
            (json!([20, 48.0]), false),
        ] {
            assert_eq!(
                inside(point.clone(), notched.clone()),
                Ok(expected),
                "{point}"
            );
        }
    }

    #[test]
    fn a_polygon_that_crosses_itself_counts_edges() {
        let bow_tie = json!([[0, 0], [10, 10], [10, 0], [0, 10]]);
        assert_eq!(inside(json!([2, 5]), bow_tie.clone()), Ok(true));
        assert_eq!(inside(json!([5, 2]), bow_tie.clone()), Ok(false));
        assert_eq!(inside(json!([5, 5]), bow_tie), Ok(false));
        let twice_round = json!([
            [0, 0],
            [9, 0],
            [9, 9],
            [0, 9],
            [0, 0],
            [9, 0],
            [9, 9],
            [0, 9]
        ]);
        assert_eq!(inside(json!([5, 5]), twice_round), Ok(false));
    }

    #[test]
    fn what_is_no_zone_is_an_error() {
        assert!(inside(json!([1, 1]), json!([[0, 0], [1, 1]])).is_err());
        assert!(inside(json!(1), json!([[0, 0], [1, 1], [2, 0]])).is_err());
        assert!(inside(json!([1, 1]), json!([[0, 0], "x", [2, 0]])).is_err());
    }
}
