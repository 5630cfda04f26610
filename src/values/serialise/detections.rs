//! Box sets to JSON (engine specification 9.3).
//!
//! `{"image": {"width", "height"}, "predictions": […]}` with the keys of a box in the reference's
//! order. A box whose mask has nothing set is left out.

use serde_json::{Map, Value as Json, json};

use super::{OutputOptions, Unfit, place_json, walk};
use crate::values::detections::column;
use crate::values::polygon::{largest_outline, points_of};
use crate::values::python::to_str;
use crate::values::{Detections, Value};

/// Columns written as they are, in order, before the parents.
const BEFORE_PARENTS: &[&str] = &["path_deviation", column::TIME_IN_ZONE];

/// Columns written after the key points, in order, and whether each is a number.
const AFTER_KEY_POINTS: &[(&str, bool)] = &[
    (column::DATA, false),
    ("velocity", false),
    ("speed", true),
    ("smoothed_velocity", false),
    ("smoothed_speed", true),
    ("area_px", true),
    ("area_converted", true),
    ("nearest_target_distance", true),
];

type Object = Map<String, Json>;

/// The JSON of a set; `as_rle` writes run-length masks instead of outlines.
pub(super) fn detections(
    set: &Detections,
    as_rle: bool,
    options: &OutputOptions,
) -> Result<Json, Unfit> {
    if as_rle && set.column(column::RLE_MASK).is_none() {
        return Err(Unfit::NoRunLengths);
    }
    let mut predictions = Vec::with_capacity(set.len());
    for row in 0..set.len() {
        if let Some(prediction) = prediction(set, row, as_rle, options)? {
            predictions.push(Json::Object(prediction));
        }
    }
    Ok(json!({"image": image_size(set), "predictions": predictions}))
}

/// Size of the image predicted on: the last box's, or that of a set without boxes.
pub(super) fn image_size(set: &Detections) -> Json {
    let last = set.column(column::IMAGE_DIMENSIONS).and_then(<[_]>::last);
    let size = last
        .or_else(|| set.metadata.get(column::IMAGE_DIMENSIONS))
        .map(numbers)
        .unwrap_or_default();
    let side = |i: usize| size.get(i).copied().flatten().map(|x| x as i64);
    json!({"width": side(1), "height": side(0)})
}

/// The numbers of a list or an array, `None` for what is none.
fn numbers(value: &Value) -> Vec<Option<f64>> {
    match value {
        Value::Array(array) => array.data.iter().copied().map(Some).collect(),
        other => other
            .as_slice()
            .unwrap_or_default()
            .iter()
            .map(Value::as_f64)
            .collect(),
    }
}

/// One box; `None` if it is left out.
fn prediction(
    set: &Detections,
    row: usize,
    as_rle: bool,
    options: &OutputOptions,
) -> Result<Option<Object>, Unfit> {
    let mut object = Object::new();
    let [x1, y1, x2, y2] = set.xyxy[row];
    let (width, height) = ((x2 - x1).abs(), (y2 - y1).abs());
    put(&mut object, "width", width);
    put(&mut object, "height", height);
    put(&mut object, "x", x1 + width / 2.0);
    put(&mut object, "y", y1 + height / 2.0);
    let confidence = set
        .confidence
        .as_ref()
        .ok_or(Unfit::Lacking("confidence"))?;
    put(&mut object, "confidence", confidence[row]);
    let class_id = set.class_id.as_ref().ok_or(Unfit::Lacking("class ids"))?;
    put(&mut object, "class_id", class_id[row]);
    if !as_rle && set.masks.is_some() {
        match outline(set, row) {
            Some(points) => put(&mut object, "points", points),
            None => return Ok(None),
        }
    }
    if let Some(tracks) = &set.tracker_id {
        put(&mut object, "tracker_id", tracks[row]);
    }
    let text = |name: &'static str| {
        let cell = set.cell(name, row).ok_or(Unfit::Lacking(name))?;
        Ok::<_, Unfit>(to_str(cell))
    };
    put(&mut object, "class", text(column::CLASS_NAME)?);
    put(&mut object, "detection_id", text(column::DETECTION_ID)?);
    for name in BEFORE_PARENTS {
        if let Some(cell) = set.cell(name, row) {
            put(&mut object, name, walk(cell, options)?);
        }
    }
    if let Some(cell) = set.cell(column::POLYGON, row) {
        put(&mut object, "polygon", rounded_points(cell, row)?);
    }
    put_rectangle(&mut object, set, row, options)?;
    put_parents(&mut object, set, row);
    put_key_points(&mut object, set, row)?;
    for (name, is_number) in AFTER_KEY_POINTS {
        if let Some(cell) = set.cell(name, row) {
            let json = match cell.as_f64() {
                Some(x) if *is_number => Json::from(x),
                _ => walk(cell, options)?,
            };
            put(&mut object, name, json);
        }
    }
    if as_rle && let Some(cell) = set.cell(column::RLE_MASK, row) {
        put(&mut object, column::RLE_MASK, run_lengths(cell, options)?);
    }
    Ok(Some(object))
}

fn put(object: &mut Object, key: &str, value: impl Into<Json>) {
    object.insert(key.to_owned(), value.into());
}

/// The outline of a box's mask: its own polygon if it has one, else the mask's largest outline.
fn outline(set: &Detections, row: usize) -> Option<Vec<Json>> {
    let own = set.cell(column::POLYGON, row).and_then(points_of);
    let points = match own.filter(|points| points.len() > 2) {
        Some(points) => points,
        None => largest_outline(&set.masks.as_ref()?[row])?
            .into_iter()
            .map(|p| p.map(|c| c as f64))
            .collect(),
    };
    let point = |[x, y]: [f64; 2]| json!({"x": x, "y": y});
    Some(points.into_iter().map(point).collect())
}

fn rounded_points(cell: &Value, row: usize) -> Result<Json, Unfit> {
    let points = points_of(cell).ok_or(Unfit::Cell {
        column: column::POLYGON,
        row,
        got: cell.type_name(),
    })?;
    let round = |p: [f64; 2]| Json::from_iter(p.map(|c| c.round_ties_even() as i64));
    Ok(points.into_iter().map(round).collect())
}

/// The rotated rectangle of a box, which replaces its width and height (Q18).
fn put_rectangle(
    object: &mut Object,
    set: &Detections,
    row: usize,
    options: &OutputOptions,
) -> Result<(), Unfit> {
    let (Some(angle), Some(rect), Some(width), Some(height)) = (
        set.cell("angle", row),
        set.cell("rect", row),
        set.cell("width", row),
        set.cell("height", row),
    ) else {
        return Ok(());
    };
    put(object, "angle", angle.as_f64());
    match points_of(rect) {
        Some(corners) => put(object, "rect", json!(corners)),
        None => put(object, "rect", walk(rect, options)?),
    }
    put(object, "width", width.as_f64());
    put(object, "height", height.as_f64());
    Ok(())
}

/// The image predicted on and, if that was cut from another, where both lie.
fn put_parents(object: &mut Object, set: &Detections, row: usize) {
    let Some(parent) = set.cell(column::PARENT_ID, row).map(to_str) else {
        return;
    };
    put(object, "parent_id", parent.as_str());
    let Some(root) = set.cell(column::ROOT_PARENT_ID, row).map(to_str) else {
        return;
    };
    if parent == root {
        return;
    }
    let place = |coordinates: &str, dimensions: &str| {
        let offset = numbers(set.cell(coordinates, row)?);
        let size = numbers(set.cell(dimensions, row)?);
        match (offset.as_slice(), size.as_slice()) {
            ([Some(x), Some(y), ..], [Some(height), Some(width), ..]) => Some(place_json(
                *x as i64,
                *y as i64,
                *width as i64,
                *height as i64,
            )),
            _ => None,
        }
    };
    if let Some(place) = place(column::PARENT_COORDINATES, column::PARENT_DIMENSIONS) {
        put(object, "parent_origin", place);
    }
    put(object, "root_parent_id", root);
    if let Some(place) = place(
        column::ROOT_PARENT_COORDINATES,
        column::ROOT_PARENT_DIMENSIONS,
    ) {
        put(object, "root_parent_origin", place);
    }
}

/// The key points of a box without the padding, which has no name.
fn put_key_points(object: &mut Object, set: &Detections, row: usize) -> Result<(), Unfit> {
    let (Some(xy), Some(confidence), Some(ids), Some(names)) = (
        set.cell(column::KEYPOINTS_XY, row),
        set.cell(column::KEYPOINTS_CONFIDENCE, row),
        set.cell(column::KEYPOINTS_CLASS_ID, row),
        set.cell(column::KEYPOINTS_CLASS_NAME, row),
    ) else {
        return Ok(());
    };
    let wrong = |column, cell: &Value| Unfit::Cell {
        column,
        row,
        got: cell.type_name(),
    };
    let places = points_of(xy).ok_or_else(|| wrong(column::KEYPOINTS_XY, xy))?;
    let names = names
        .as_slice()
        .ok_or_else(|| wrong(column::KEYPOINTS_CLASS_NAME, names))?;
    let (confidence, ids) = (numbers(confidence), numbers(ids));
    let points: Vec<Json> = places
        .iter()
        .zip(names)
        .enumerate()
        .filter(|(_, (_, name))| name.as_str() != Some(""))
        .map(|(i, ([x, y], name))| {
            let number = |list: &[Option<f64>]| list.get(i).copied().flatten();
            json!({
                "class_id": number(&ids).map(|id| id as i64),
                "class": to_str(name),
                "confidence": number(&confidence),
                "x": x,
                "y": y,
            })
        })
        .collect();
    put(object, "keypoints", points);
    Ok(())
}

/// A run-length mask; counts held as bytes are text in JSON.
fn run_lengths(cell: &Value, options: &OutputOptions) -> Result<Json, Unfit> {
    let mut json = walk(cell, options)?;
    if let Some(Value::Bytes(counts)) = cell.as_dict().and_then(|d| d.get("counts")) {
        json["counts"] = Json::from(String::from_utf8_lossy(counts));
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::values::{Array, Mask, Timestamp};

    fn two() -> Detections {
        let mut d = Detections {
            xyxy: Arc::new(vec![[10.0, 10.0, 50.0, 60.0], [0.0, 0.0, 4.0, 3.0]]),
            confidence: Some(Arc::new(vec![0.5, f64::from(0.849_55_f32)])),
            class_id: Some(Arc::new(vec![3, 4])),
            ..Detections::default()
        };
        d.set_column(column::CLASS_NAME, vec!["a".into(), "b".into()]);
        d.set_column(column::DETECTION_ID, vec!["i".into(), "j".into()]);
        d.fill_column(
            column::IMAGE_DIMENSIONS,
            Value::list(vec![60i64.into(), 80i64.into()]),
        );
        d
    }

    fn written(set: &Detections, as_rle: bool) -> Json {
        let now = Timestamp::from_unix_micros(0);
        detections(set, as_rle, &OutputOptions::new(now)).unwrap()
    }

    #[test]
    fn a_box_is_its_centre_and_size() {
        assert_eq!(
            written(&two(), false).to_string(),
            concat!(
                r#"{"image":{"width":80,"height":60},"predictions":["#,
                r#"{"width":40.0,"height":50.0,"x":30.0,"y":35.0,"confidence":0.5,"class_id":3,"class":"a","detection_id":"i"},"#,
                r#"{"width":4.0,"height":3.0,"x":2.0,"y":1.5,"confidence":0.8495500087738037,"class_id":4,"class":"b","detection_id":"j"}]}"#
            )
        );
    }

    #[test]
    fn columns_come_in_the_order_of_the_reference() {
        let mut d = two().take(&[0]);
        d.tracker_id = Some(Arc::new(vec![9]));
        d.set_column("speed", vec![Value::Int(2)]);
        d.set_column(
            "velocity",
            vec![Value::Array(Arc::new(Array::floats(
                vec![2],
                vec![1.0, 0.5],
            )))],
        );
        d.set_column(column::TIME_IN_ZONE, vec![Value::Float(1.5)]);
        d.set_column("height", vec![Value::Int(7)]);
        d.set_column("width", vec![Value::Int(8)]);
        d.set_column("angle", vec![Value::Float(45.0)]);
        let corner = |x: f64| Value::list(vec![x.into(), 1i64.into()]);
        d.set_column("rect", vec![Value::list(vec![corner(0.5)])]);
        d.set_column(
            column::POLYGON,
            vec![Value::list(vec![corner(0.5), corner(1.5)])],
        );
        d.set_column(column::PARENT_ID, vec!["p".into()]);
        d.set_column(column::ROOT_PARENT_ID, vec!["r".into()]);
        let pair = |a: i64, b: i64| vec![Value::list(vec![a.into(), b.into()])];
        d.set_column(column::ROOT_PARENT_COORDINATES, pair(5, 6));
        d.set_column(column::ROOT_PARENT_DIMENSIONS, pair(100, 200));
        d.set_column("colour", vec!["blue".into()]);
        let json = written(&d, false);
        let prediction = json["predictions"][0].to_string();
        assert_eq!(
            prediction,
            concat!(
                r#"{"width":8.0,"height":7.0,"x":30.0,"y":35.0,"confidence":0.5,"class_id":3,"tracker_id":9,"#,
                r#""class":"a","detection_id":"i","time_in_zone":1.5,"polygon":[[0,1],[2,1]],"angle":45.0,"rect":[[0.5,1.0]],"#,
                r#""parent_id":"p","root_parent_id":"r","root_parent_origin":{"offset_x":5,"offset_y":6,"width":200,"height":100},"#,
                r#""velocity":[1.0,0.5],"speed":2.0}"#
            )
        );
    }

    #[test]
    fn a_box_with_an_empty_mask_is_left_out() {
        let mut d = two();
        let mask = Mask::from_window(80, 60, [10, 15, 21, 11], &[1; 21 * 11]);
        d.masks = Some(Arc::new(vec![mask, Mask::empty(80, 60)]));
        let json = written(&d, false);
        assert_eq!(json["predictions"].as_array().unwrap().len(), 1);
        assert_eq!(
            json["predictions"][0]["points"].to_string(),
            r#"[{"x":10.0,"y":15.0},{"x":10.0,"y":25.0},{"x":30.0,"y":25.0},{"x":30.0,"y":15.0}]"#
        );
    }

    #[test]
    fn the_run_length_form_has_no_outline() {
        let mut d = two().take(&[1]);
        d.masks = Some(Arc::new(vec![Mask::empty(80, 60)]));
        let entries = [
            (
                Arc::from("size"),
                Value::list(vec![60i64.into(), 80i64.into()]),
            ),
            (
                Arc::from("counts"),
                Value::Bytes(b"PPYo1".as_slice().into()),
            ),
        ];
        d.set_column(
            column::RLE_MASK,
            vec![Value::dict(entries.into_iter().collect())],
        );
        let json = written(&d, true);
        assert_eq!(
            json["predictions"][0]["rle_mask"].to_string(),
            r#"{"size":[60,80],"counts":"PPYo1"}"#
        );
        assert!(json["predictions"][0].get("points").is_none());
    }

    #[test]
    fn key_points_come_without_padding() {
        let mut d = two().take(&[0]);
        let pair = |x: f64| Value::list(vec![x.into(), 2.0.into()]);
        let cell = |items: Vec<Value>| vec![Value::list(items)];
        d.set_column(column::KEYPOINTS_XY, cell(vec![pair(1.0), pair(0.0)]));
        d.set_column(
            column::KEYPOINTS_CONFIDENCE,
            cell(vec![0.5.into(), 0.0.into()]),
        );
        d.set_column(
            column::KEYPOINTS_CLASS_ID,
            cell(vec![1i64.into(), 0i64.into()]),
        );
        d.set_column(
            column::KEYPOINTS_CLASS_NAME,
            cell(vec!["nose".into(), "".into()]),
        );
        assert_eq!(
            written(&d, false)["predictions"][0]["keypoints"].to_string(),
            r#"[{"class_id":1,"class":"nose","confidence":0.5,"x":1.0,"y":2.0}]"#
        );
    }

    #[test]
    fn boxes_without_confidence_fail() {
        let mut d = two();
        d.confidence = None;
        let now = Timestamp::from_unix_micros(0);
        assert!(detections(&d, false, &OutputOptions::new(now)).is_err());
        assert!(detections(&d.take(&[]), false, &OutputOptions::new(now)).is_ok());
    }
}
