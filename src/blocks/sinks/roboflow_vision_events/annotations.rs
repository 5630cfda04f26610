//! Predictions as annotations of an event's image.

use serde_json::{Map, Value as Json, json};

use crate::values::detections::column;
use crate::values::polygon::{largest_outline, points_of};
use crate::values::{Detections, Dict, Value, python};

/// Points that make an outline.
const LEAST_POINTS: usize = 3;

/// The annotations by kind; kinds without any are left out.
pub(super) fn of(predictions: &Value) -> Map<String, Json> {
    let mut lists: Map<String, Json> = Map::new();
    let mut add = |(name, one): (&str, Json)| {
        let list = lists.entry(name).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(one);
        }
    };
    match predictions {
        Value::Detections(set) => (0..set.len()).for_each(|row| add(detection(set, row))),
        Value::Dict(entries) => {
            for (class, confidence) in classes(entries) {
                let one = json!({"class": class, "confidence": confidence});
                add(("classifications", one));
            }
        }
        _ => {}
    }
    lists
}

/// One box, and the kind that it is of.
fn detection(set: &Detections, row: usize) -> (&'static str, Json) {
    let [x1, y1, x2, y2] = set.xyxy.get(row).copied().unwrap_or_default();
    let confidence = set.confidence.as_ref().and_then(|all| all.get(row));
    let mut one = json!({
        "class": set.class_name(row).map(ToString::to_string).unwrap_or_default(),
        "x": (x1 + x2) / 2.0,
        "y": (y1 + y2) / 2.0,
        "width": x2 - x1,
        "height": y2 - y1,
        "confidence": confidence.copied().unwrap_or(0.0).clamp(0.0, 1.0),
    });
    if let Some(points) = key_points(set, row) {
        one["keypoints"] = points;
        return ("keypoints", one);
    }
    match outline(set, row) {
        Some(points) => {
            one["points"] = json!(points);
            ("instanceSegmentations", one)
        }
        None => ("objectDetections", one),
    }
}

/// The key points of a box, without those that only fill the list up.
fn key_points(set: &Detections, row: usize) -> Option<Json> {
    let places = set.cell(column::KEYPOINTS_XY, row)?;
    let places = points_of(places).filter(|places| !places.is_empty())?;
    let ids = set.cell(column::KEYPOINTS_CLASS_ID, row);
    let ids: Vec<i64> = match ids {
        Some(Value::Array(array)) => array.data.iter().map(|id| *id as i64).collect(),
        Some(other) => {
            let items = other.as_slice().unwrap_or_default();
            items.iter().map(|id| id.as_i64().unwrap_or(-1)).collect()
        }
        None => Vec::new(),
    };
    let names = set.cell(column::KEYPOINTS_CLASS_NAME, row);
    let names = names.and_then(Value::as_slice).unwrap_or_default();
    let is_padding = |i: usize| {
        let nameless = names
            .get(i)
            .and_then(Value::as_str)
            .is_some_and(str::is_empty);
        nameless || ids.get(i).is_some_and(|id| *id < 0)
    };
    let points = places.iter().enumerate().filter(|(i, _)| !is_padding(*i));
    let points = points.map(|(i, [x, y])| {
        let id = ids.get(i).copied().unwrap_or(i as i64);
        json!({"id": id, "x": x, "y": y})
    });
    Some(points.collect())
}

/// The outline that is stored, or that of the mask.
fn outline(set: &Detections, row: usize) -> Option<Vec<[f64; 2]>> {
    let stored = set.cell(column::POLYGON, row).and_then(points_of);
    let points = stored.or_else(|| {
        let mask = set.masks.as_ref()?.get(row)?;
        let points = largest_outline(mask)?;
        Some(points.iter().map(|[x, y]| [*x as f64, *y as f64]).collect())
    })?;
    (points.len() >= LEAST_POINTS).then_some(points)
}

/// The classes of a classification: those predicted of many, all of one, or the first alone.
fn classes(entries: &Dict) -> Vec<(String, f64)> {
    let confidence = |value: Option<&Value>| {
        let number = value.and_then(Value::as_f64).unwrap_or(0.0);
        number.clamp(0.0, 1.0)
    };
    let predictions = entries.get("predictions");
    if let Some(names) = entries.get("predicted_classes").and_then(Value::as_slice) {
        let all = predictions.and_then(Value::as_dict);
        let one = |name: &Value| {
            let name = python::to_str(name);
            let found = all.and_then(|all| all.get(&*name)).and_then(Value::as_dict);
            let sure = confidence(found.and_then(|one| one.get("confidence")));
            (name, sure)
        };
        return names.iter().map(one).collect();
    }
    let listed = predictions.and_then(Value::as_slice).unwrap_or_default();
    let listed: Vec<(String, f64)> = listed
        .iter()
        .filter_map(Value::as_dict)
        .filter_map(|one| {
            let class = python::to_str(one.get("class")?);
            Some((class, confidence(one.get("confidence"))))
        })
        .collect();
    match entries.get("top") {
        Some(top) if listed.is_empty() => {
            vec![(python::to_str(top), confidence(entries.get("confidence")))]
        }
        _ => listed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_one_label_of_many_and_of_the_top() {
        let of = |json: Json| classes(Value::from_json(&json).as_dict().unwrap());
        let single = json!({"top": "a", "predictions": [
            {"class": "a", "confidence": 0.9}, {"class": "b", "confidence": 0.1},
        ]});
        assert_eq!(of(single), [("a".into(), 0.9), ("b".into(), 0.1)]);
        let many = json!({"predicted_classes": ["b"], "predictions": {
            "a": {"confidence": 0.1}, "b": {"confidence": 0.8},
        }});
        assert_eq!(of(many), [("b".into(), 0.8)]);
        let top = json!({"top": "a", "confidence": 1.5, "predictions": []});
        assert_eq!(of(top), [("a".into(), 1.0)]);
    }

    #[test]
    fn an_outline_makes_a_segmentation_and_its_lack_a_box() {
        let mut set = Detections::empty();
        set.xyxy = vec![[0.0, 0.0, 4.0, 2.0]; 2].into();
        set.confidence = Some(vec![0.5; 2].into());
        set.class_id = Some(vec![0; 2].into());
        let outline = |points: Json| Value::from_json(&points);
        set.set_column(
            column::POLYGON,
            vec![
                outline(json!([[0, 0], [4, 0], [4, 2]])),
                outline(json!([[0, 0], [4, 0]])),
            ],
        );
        assert_eq!(detection(&set, 0).0, "instanceSegmentations");
        let (kind, one) = detection(&set, 1);
        assert_eq!(kind, "objectDetections");
        assert_eq!((&one["x"], &one["width"]), (&json!(2.0), &json!(4.0)));
    }
}
