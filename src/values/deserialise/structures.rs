//! Readers of lists and objects: points, polygons, colours, arrays, classifications.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::scalars::{lax_integer, number};
use super::{Mismatch, field, inside, read_field, read_optional, want};
use crate::values::detections::new_id;
use crate::values::python::truthy;
use crate::values::{Array, Dict, Value};

fn items(json: &Json) -> Result<&[Json], Mismatch> {
    match json {
        Json::Array(items) => Ok(items),
        other => Err(want("a list", other)),
    }
}

pub(super) fn entries(json: &Json) -> Result<&Map<String, Json>, Mismatch> {
    json.as_object().ok_or_else(|| want("an object", json))
}

pub(super) fn list(json: &Json) -> Result<Value, Mismatch> {
    items(json).map(|_| Value::from_json(json))
}

pub(super) fn object(json: &Json) -> Result<Value, Mismatch> {
    entries(json).map(|_| Value::from_json(json))
}

/// The first two of a list of numbers, as a tuple.
pub(super) fn point(json: &Json) -> Result<Value, Mismatch> {
    match items(json)? {
        [x, y, ..] => {
            number(x)?;
            number(y)?;
            Ok(Value::tuple(vec![Value::from_json(x), Value::from_json(y)]))
        }
        short => Err(too_few(short.len(), 2)),
    }
}

fn too_few(got: usize, wanted: usize) -> Mismatch {
    Mismatch::Refused(format!("want at least {wanted} elements, got {got}"))
}

/// At least three points of exactly two numbers.
pub(super) fn zone(json: &Json) -> Result<Value, Mismatch> {
    let points = items(json)?;
    if points.len() < 3 {
        return Err(too_few(points.len(), 3));
    }
    for (i, point) in points.iter().enumerate() {
        let pair = match point {
            Json::Array(pair) if pair.len() == 2 => pair,
            other => return Err(inside(format!("point {i}"))(want("two numbers", other))),
        };
        for x in pair {
            number(x).map_err(inside(format!("point {i}")))?;
        }
    }
    Ok(Value::from_json(json))
}

/// Text, or the first three elements of a list.
pub(super) fn color(json: &Json) -> Result<Value, Mismatch> {
    match json {
        Json::String(name) => Ok(Value::str(name.as_str())),
        Json::Array(all) => match all.get(..3) {
            Some(three) => Ok(Value::tuple(three.iter().map(Value::from_json).collect())),
            None => Err(too_few(all.len(), 3)),
        },
        other => Err(want("text or a list of three numbers", other)),
    }
}

/// Prompt points: objects `{x, y[, positive]}` or lists of the same.
pub(super) fn labeled_points(json: &Json) -> Result<Value, Mismatch> {
    let points: Result<Vec<Value>, Mismatch> = items(json)?
        .iter()
        .enumerate()
        .map(|(i, point)| labeled_point(point).map_err(inside(format!("point {i}"))))
        .collect();
    points.map(Value::list)
}

fn labeled_point(json: &Json) -> Result<Value, Mismatch> {
    let (x, y, positive) = match json {
        Json::Object(map) => (field(map, "x")?, field(map, "y")?, map.get("positive")),
        Json::Array(list) => match list.as_slice() {
            [x, y] => (x, y, None),
            [x, y, positive] => (x, y, Some(positive)),
            _ => return Err(want("[x, y] or [x, y, positive]", json)),
        },
        other => return Err(want("an object or a list", other)),
    };
    number(x)?;
    number(y)?;
    let positive = positive.is_none_or(|given| truthy(&Value::from_json(given)));
    Ok(Value::dict(Dict::from_iter([
        (Arc::from("x"), Value::from_json(x)),
        (Arc::from("y"), Value::from_json(y)),
        (Arc::from("positive"), Value::Bool(positive)),
    ])))
}

/// Nested lists of numbers, all of one shape.
pub(super) fn array(json: &Json) -> Result<Value, Mismatch> {
    items(json)?;
    let mut array = Array {
        shape: Vec::new(),
        data: Vec::new(),
        integer: true,
    };
    let mut first = Some(json);
    while let Some(Json::Array(items)) = first {
        array.shape.push(items.len());
        first = items.first();
    }
    fill_array(json, 0, &mut array)?;
    // An empty array holds floats.
    array.integer &= !array.data.is_empty();
    Ok(Value::Array(Arc::new(array)))
}

fn fill_array(json: &Json, axis: usize, array: &mut Array) -> Result<(), Mismatch> {
    match (json, array.shape.get(axis)) {
        (Json::Array(items), Some(&length)) if items.len() == length => items
            .iter()
            .try_for_each(|item| fill_array(item, axis + 1, array)),
        (Json::Array(_), _) | (_, Some(_)) => Err(Mismatch::Refused(
            "the lists have different lengths or depths".to_owned(),
        )),
        (leaf, None) => {
            array.integer &= !leaf.is_f64();
            array.data.push(number(leaf)?);
            Ok(())
        }
    }
}

/// A classifier's result; what identifies it is added where it is missing.
pub(super) fn classification(json: &Json, identifier: &str) -> Result<Value, Mismatch> {
    let given = entries(json)?;
    field(given, "image")?;
    field(given, "predictions")?;
    if !given.contains_key("predicted_classes") {
        field(given, "top")?;
        field(given, "confidence")?;
    }
    let mut result: Dict = given
        .iter()
        .map(|(k, v)| (Arc::from(k.as_str()), Value::from_json(v)))
        .collect();
    for (key, value) in [
        ("prediction_type", Value::str("classification")),
        ("inference_id", Value::Str(new_id())),
        ("parent_id", Value::str(identifier)),
        ("root_parent_id", Value::str(identifier)),
    ] {
        result.entry(Arc::from(key)).or_insert(value);
    }
    Ok(Value::dict(result))
}

/// Classified ranges of frames, in the form in which they are written again.
pub(super) fn actions(json: &Json) -> Result<Value, Mismatch> {
    let actions: Result<Vec<Value>, Mismatch> = items(json)?
        .iter()
        .enumerate()
        .map(|(i, a)| action(a).map_err(inside(format!("element {i}"))))
        .collect();
    actions.map(Value::list)
}

fn action(json: &Json) -> Result<Value, Mismatch> {
    let given = entries(json)?;
    let class = match given.get("class").or_else(|| given.get("class_name")) {
        Some(Json::String(name)) => name,
        Some(other) => return Err(inside("field `class`")(want("text", other))),
        None => return Err(Mismatch::Missing("class")),
    };
    let mut action = json!({
        "start_frame_idx": read_field(given, "start_frame_idx", lax_integer)?,
        "end_frame_idx": read_field(given, "end_frame_idx", lax_integer)?,
        "class": class,
        "class_id": read_field(given, "class_id", lax_integer)?,
    });
    if let Some(confidence) = read_optional(given, "confidence", number)? {
        if !(0.0..=1.0).contains(&confidence) {
            return Err(Mismatch::Refused(format!(
                "confidence {confidence} is not between 0 and 1"
            )));
        }
        action["confidence"] = json!(confidence);
    }
    Ok(Value::from_json(&action))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::python::to_str;

    fn shown(result: Result<Value, Mismatch>) -> String {
        result.map_or_else(|_| "refused".to_owned(), |v| to_str(&v))
    }

    #[test]
    fn points_and_colours_keep_their_first_numbers() {
        assert_eq!(shown(point(&json!([1, 2.5, 3]))), "(1, 2.5)");
        assert_eq!(shown(point(&json!([1]))), "refused");
        assert_eq!(shown(point(&json!(["a", "b"]))), "refused");
        assert_eq!(shown(color(&json!([1, 2, 3, 4]))), "(1, 2, 3)");
        assert_eq!(shown(color(&json!("#ff0000"))), "#ff0000");
        assert_eq!(shown(color(&json!([1, 2]))), "refused");
    }

    #[test]
    fn a_zone_has_three_points_of_two_numbers() {
        assert_eq!(
            shown(zone(&json!([[1, 2], [3, 4], [5, 6.5]]))),
            "[[1, 2], [3, 4], [5, 6.5]]"
        );
        for bad in [
            json!([[1, 2], [3, 4]]),
            json!([[1, 2], [3, 4], [5, "x"]]),
            json!([[1, 2], [3, 4], [5, 6, 7]]),
            json!([[[1, 2], [3, 4], [5, 6]]]),
        ] {
            assert_eq!(shown(zone(&bad)), "refused");
        }
    }

    #[test]
    fn prompt_points_are_positive_unless_told_otherwise() {
        assert_eq!(
            shown(labeled_points(
                &json!([[1, 2], {"x": 3, "y": 4, "positive": false}, [5, 6, 0]])
            )),
            "[{'x': 1, 'y': 2, 'positive': True}, {'x': 3, 'y': 4, 'positive': False}, \
             {'x': 5, 'y': 6, 'positive': False}]"
        );
    }

    #[test]
    fn arrays_have_one_shape() {
        let Ok(Value::Array(a)) = array(&json!([[1, 2, 3], [4, 5, 6]])) else {
            unreachable!()
        };
        assert_eq!((a.shape.as_slice(), a.integer), (&[2, 3][..], true));
        let Ok(Value::Array(a)) = array(&json!([1, 2.5])) else {
            unreachable!()
        };
        assert!(!a.integer && a.data == [1.0, 2.5]);
        assert_eq!(shown(array(&json!([[1], [2, 3]]))), "refused");
        assert_eq!(shown(array(&json!([[1], 2]))), "refused");
    }

    #[test]
    fn a_classification_is_completed_at_its_end() {
        let given = json!({"image": {}, "predictions": [], "top": "a", "confidence": 0.5});
        let Ok(Value::Dict(d)) = classification(&given, "v.[0]") else {
            unreachable!()
        };
        let keys: Vec<&str> = d.keys().map(|k| &**k).collect();
        assert_eq!(
            keys[4..],
            [
                "prediction_type",
                "inference_id",
                "parent_id",
                "root_parent_id"
            ]
        );
        assert_eq!(d["root_parent_id"].as_str(), Some("v.[0]"));
        assert!(classification(&json!({"image": {}, "predictions": []}), "v").is_err());
    }

    #[test]
    fn actions_are_written_with_class_and_without_null_confidence() {
        let given = json!([{"start_frame_idx": 1, "end_frame_idx": 5, "class_name": "run",
                            "class_id": 2, "confidence": null}]);
        assert_eq!(
            shown(actions(&given)),
            "[{'start_frame_idx': 1, 'end_frame_idx': 5, 'class': 'run', 'class_id': 2}]"
        );
    }
}
