//! Reader of key points: lists of different lengths to padded columns.

use serde_json::{Map, Value as Json};

use super::detections::each;
use super::scalars::{number, string};
use super::structures::entries;
use super::{Mismatch, inside, read_field, want};
use crate::values::detections::column;
use crate::values::{Detections, Value};

/// Cells that the padded columns of one set may have.
const MAX_CELLS: usize = 1_000_000;

struct KeyPoint {
    xy: [f64; 2],
    confidence: f64,
    class_id: i64,
    class_name: String,
}

/// Adds the columns of key points if the first box has some. Boxes without get none; all are
/// padded with zeros and empty names to the longest.
pub(super) fn columns(set: &mut Detections, rows: &[&Map<String, Json>]) -> Result<(), Mismatch> {
    if !rows[0].contains_key("keypoints") {
        return Ok(());
    }
    let points = each(rows, |row| match row.get("keypoints") {
        None => Ok(Vec::new()),
        Some(json) => key_points(json).map_err(inside("field `keypoints`")),
    })?;
    let longest = points.iter().map(Vec::len).max().unwrap_or(0);
    if longest * points.len() > MAX_CELLS {
        return Err(Mismatch::Refused(format!(
            "{} boxes of up to {longest} key points exceed the limit of {MAX_CELLS} in all",
            points.len()
        )));
    }
    let padded = |padding: Value, cell: &dyn Fn(&KeyPoint) -> Value| {
        let pad = |list: &Vec<KeyPoint>| {
            let mut cells: Vec<Value> = list.iter().map(cell).collect();
            cells.resize(longest, padding.clone());
            Value::list(cells)
        };
        points.iter().map(pad).collect()
    };
    let pair = |xy: [f64; 2]| Value::list(xy.map(Value::Float).to_vec());
    set.set_column(
        column::KEYPOINTS_XY,
        padded(pair([0.0; 2]), &|p| pair(p.xy)),
    );
    set.set_column(
        column::KEYPOINTS_CONFIDENCE,
        padded(Value::Float(0.0), &|p| Value::Float(p.confidence)),
    );
    set.set_column(
        column::KEYPOINTS_CLASS_ID,
        padded(Value::Int(0), &|p| Value::Int(p.class_id)),
    );
    set.set_column(
        column::KEYPOINTS_CLASS_NAME,
        padded(Value::str(""), &|p| Value::str(p.class_name.as_str())),
    );
    Ok(())
}

fn key_points(json: &Json) -> Result<Vec<KeyPoint>, Mismatch> {
    let Json::Array(points) = json else {
        return Err(want("a list", json));
    };
    points
        .iter()
        .enumerate()
        .map(|(i, point)| key_point(point).map_err(inside(format!("point {i}"))))
        .collect()
}

fn key_point(json: &Json) -> Result<KeyPoint, Mismatch> {
    let point = entries(json)?;
    Ok(KeyPoint {
        xy: [
            read_field(point, "x", number)?,
            read_field(point, "y", number)?,
        ],
        confidence: read_field(point, "confidence", number)?,
        class_id: read_field(point, "class_id", number)? as i64,
        class_name: read_field(point, "class", string)?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::values::python::to_str;

    fn read(rows: &[Json]) -> Result<Detections, Mismatch> {
        let rows: Vec<&Map<String, Json>> = rows.iter().filter_map(Json::as_object).collect();
        let mut set = Detections {
            xyxy: Arc::new(vec![[0.0; 4]; rows.len()]),
            ..Detections::default()
        };
        columns(&mut set, &rows).map(|()| set)
    }

    #[test]
    fn lists_are_padded_to_the_longest() {
        let point =
            |x: i64| json!({"x": x, "y": 2, "confidence": 0.5, "class": "nose", "class_id": 1});
        let set = read(&[
            json!({"keypoints": [point(1)]}),
            json!({"keypoints": [point(3), point(4)]}),
            json!({}),
        ])
        .unwrap();
        let shown = |name: &str, row: usize| to_str(set.cell(name, row).unwrap());
        assert_eq!(shown(column::KEYPOINTS_XY, 0), "[[1.0, 2.0], [0.0, 0.0]]");
        assert_eq!(shown(column::KEYPOINTS_CLASS_NAME, 0), "['nose', '']");
        assert_eq!(shown(column::KEYPOINTS_CONFIDENCE, 1), "[0.5, 0.5]");
        assert_eq!(shown(column::KEYPOINTS_CLASS_ID, 2), "[0, 0]");
    }

    #[test]
    fn only_the_first_box_decides_and_half_a_point_is_an_error() {
        assert!(
            read(&[json!({}), json!({"keypoints": []})])
                .unwrap()
                .data
                .is_empty()
        );
        let error = read(&[json!({"keypoints": [{"x": 1}]})]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "prediction 0: field `keypoints`: point 0: field `y` is missing"
        );
    }
}
