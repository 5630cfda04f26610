//! Reader of box sets (engine specification 9.4).
//!
//! `{"image": {"width", "height"}, "predictions": […]}`. An outline of fewer than three points drops
//! its box; masks are kept only if every box has one, track ids likewise; further columns come from
//! the keys of the first box and must then be in all. A set without boxes remembers the image size.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::images::{Place, place};
use super::key_points;
use super::masks::{has_too_short_outline, masks};
use super::scalars::{lax_integer, lax_number, number};
use super::structures::entries;
use super::{InputOptions, Mismatch, field, inside, read_field, read_optional, want};
use crate::values::detections::{column, new_id};
use crate::values::python::{to_str, truthy};
use crate::values::{Detections, Value};

pub(super) type Row<'a> = &'a Map<String, Json>;

/// Keys that become columns of the same name if the first box has them.
const OPTIONAL_COLUMNS: &[&str] = &[
    "path_deviation",
    column::TIME_IN_ZONE,
    column::POLYGON,
    "angle",
    "rect",
    "height",
    "width",
    column::DATA,
    "speed",
    "smoothed_speed",
    "smoothed_velocity",
    "velocity",
    "area_px",
    "area_converted",
    "nearest_target_distance",
];

/// Reads a box set; `keeps_rle` says whether run-length masks stay as a column.
pub(super) fn detections(
    json: &Json,
    identifier: &str,
    keeps_rle: bool,
    options: &InputOptions,
) -> Result<Value, Mismatch> {
    let object = entries(json)?;
    let given = match field(object, "predictions")? {
        Json::Array(given) => given.as_slice(),
        none if is_nothing(none) => &[],
        other => return Err(inside("field `predictions`")(want("a list", other))),
    };
    let image = read_field(object, "image", entries)?;
    let mut rows: Vec<Row<'_>> = Vec::with_capacity(given.len());
    for (i, prediction) in given.iter().enumerate() {
        let row = entries(prediction).map_err(inside(format!("prediction {i}")))?;
        if !has_too_short_outline(row) {
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return empty(image).map(Value::detections);
    }
    let width = read_field(image, "width", pixels)?;
    let height = read_field(image, "height", pixels)?;
    let mut set = boxes(&rows)?;
    set.masks = masks(&rows, width, height, options)?.map(Arc::new);
    set.tracker_id = track_ids(&rows)?.map(Arc::new);
    let size = Value::list(vec![Value::Int(height), Value::Int(width)]);
    set.fill_column(column::IMAGE_DIMENSIONS, size);
    identities(&mut set, &rows, identifier)?;
    for name in OPTIONAL_COLUMNS {
        if rows[0].contains_key(*name) {
            let cells = each(&rows, |row| field(row, name).map(Value::from_json))?;
            set.set_column(name, cells);
        }
    }
    key_points::columns(&mut set, &rows)?;
    if keeps_rle && rows.iter().all(|row| row.contains_key(column::RLE_MASK)) {
        let cells = each(&rows, |row| {
            field(row, column::RLE_MASK).map(Value::from_json)
        })?;
        set.set_column(column::RLE_MASK, cells);
    }
    Ok(Value::detections(set))
}

/// Reads each row, telling in errors which one it was.
pub(super) fn each<T>(
    rows: &[Row<'_>],
    reader: impl Fn(Row<'_>) -> Result<T, Mismatch>,
) -> Result<Vec<T>, Mismatch> {
    rows.iter()
        .enumerate()
        .map(|(i, row)| reader(row).map_err(inside(format!("prediction {i}"))))
        .collect()
}

/// A number of pixels, cut to a whole one; also as text.
fn pixels(json: &Json) -> Result<i64, Mismatch> {
    match json {
        Json::String(_) => lax_integer(json),
        other => number(other).map(|n| n as i64),
    }
}

/// Whether a value counts as none where a list or an object is due.
fn is_nothing(json: &Json) -> bool {
    !truthy(&Value::from_json(json))
}

fn empty(image: &Map<String, Json>) -> Result<Detections, Mismatch> {
    for name in ["height", "width"] {
        field(image, name)?;
    }
    let width = read_optional(image, "width", pixels)?;
    let height = read_optional(image, "height", pixels)?;
    let mut set = Detections::default();
    if let (Some(width), Some(height)) = (width, height) {
        let size = Value::list(vec![height.into(), width.into()]);
        set.metadata.insert(column::IMAGE_DIMENSIONS.into(), size);
    }
    Ok(set)
}

fn boxes(rows: &[Row<'_>]) -> Result<Detections, Mismatch> {
    let corners = each(rows, |row| {
        let [x, y, w, h] = [
            read_field(row, "x", number)?,
            read_field(row, "y", number)?,
            read_field(row, "width", number)?,
            read_field(row, "height", number)?,
        ];
        let (left, top) = (x - w / 2.0, y - h / 2.0);
        Ok([left, top, left + w, top + h])
    })?;
    let confidence = each(rows, |row| read_field(row, "confidence", certainty))?;
    let class_id = each(rows, |row| read_field(row, "class_id", pixels))?;
    let names = each(rows, |row| read_field(row, "class", name))?;
    let mut set = Detections {
        xyxy: Arc::new(corners),
        confidence: Some(Arc::new(confidence)),
        class_id: Some(Arc::new(class_id)),
        ..Detections::default()
    };
    set.set_column(column::CLASS_NAME, names);
    Ok(set)
}

/// A confidence, also as text; none of its own is NaN.
fn certainty(json: &Json) -> Result<f64, Mismatch> {
    match json {
        Json::Null => Ok(f64::NAN),
        other => lax_number(other),
    }
}

/// A name, which some senders give as a number and some not at all.
fn name(json: &Json) -> Result<Value, Mismatch> {
    match json {
        Json::String(name) => Ok(Value::str(name.as_str())),
        Json::Number(_) | Json::Bool(_) | Json::Null => {
            Ok(Value::str(to_str(&Value::from_json(json))))
        }
        other => Err(want("text", other)),
    }
}

/// Track ids, if every box has one.
fn track_ids(rows: &[Row<'_>]) -> Result<Option<Vec<i64>>, Mismatch> {
    if rows
        .iter()
        .any(|row| row.get("tracker_id").is_none_or(Json::is_null))
    {
        return Ok(None);
    }
    each(rows, |row| read_field(row, "tracker_id", pixels)).map(Some)
}

/// Ids of boxes and of the images that they lie in.
fn identities(set: &mut Detections, rows: &[Row<'_>], identifier: &str) -> Result<(), Mismatch> {
    let ids = each(rows, |row| match row.contains_key(column::DETECTION_ID) {
        true => read_field(row, column::DETECTION_ID, name),
        false => Ok(Value::Str(new_id())),
    })?;
    set.set_column(column::DETECTION_ID, ids);
    for of in [column::PARENT_ID, column::ROOT_PARENT_ID] {
        let ids = each(rows, |row| match row.contains_key(of) {
            true => read_field(row, of, name),
            false => Ok(Value::str(identifier)),
        })?;
        set.set_column(of, ids);
    }
    for (origin, coordinates, dimensions) in [
        (
            "parent_origin",
            column::PARENT_COORDINATES,
            column::PARENT_DIMENSIONS,
        ),
        (
            "root_parent_origin",
            column::ROOT_PARENT_COORDINATES,
            column::ROOT_PARENT_DIMENSIONS,
        ),
    ] {
        let places = each(rows, |row| match row.get(origin) {
            Some(given) if !is_nothing(given) => read_optional(row, origin, place),
            _ => Ok(None),
        })?;
        let Some(places) = places.into_iter().collect::<Option<Vec<Place>>>() else {
            continue;
        };
        let pair = |a: i64, b: i64| Value::list(vec![Value::Int(a), Value::Int(b)]);
        set.set_column(coordinates, places.iter().map(|p| pair(p.x, p.y)).collect());
        set.set_column(
            dimensions,
            places.iter().map(|p| pair(p.height, p.width)).collect(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(more: Json) -> Json {
        let mut entry = json!({"x": 30, "y": 35.5, "width": 40, "height": 50, "confidence": 0.9,
                               "class": "person", "class_id": 3});
        entry
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        entry
    }

    fn read(predictions: &[Json]) -> Result<Detections, Mismatch> {
        let json = json!({"image": {"width": 80, "height": 60}, "predictions": predictions});
        match detections(&json, "v", true, &InputOptions::default())? {
            Value::Detections(d) => Ok(Arc::unwrap_or_clone(d)),
            other => panic!("{other:?}"),
        }
    }

    fn square(x: i64) -> Json {
        json!([{"x": x, "y": 2}, {"x": x + 3, "y": 2}, {"x": x + 3, "y": 5}, {"x": x, "y": 5}])
    }

    #[test]
    fn a_box_gets_corners_and_the_columns_that_identify_it() {
        let d = read(&[entry(json!({}))]).unwrap();
        assert_eq!(d.xyxy[0], [10.0, 10.5, 50.0, 60.5]);
        assert_eq!(d.class_id.as_deref(), Some(&vec![3]));
        assert_eq!(d.detection_id(0).map(|id| id.len()), Some(36));
        assert_eq!(to_str(d.cell(column::PARENT_ID, 0).unwrap()), "v");
        assert_eq!(to_str(d.cell(column::ROOT_PARENT_ID, 0).unwrap()), "v");
        assert_eq!(
            to_str(d.cell(column::IMAGE_DIMENSIONS, 0).unwrap()),
            "[60, 80]"
        );
        assert_eq!(to_str(d.cell("width", 0).unwrap()), "40");
        assert!(d.masks.is_none() && d.tracker_id.is_none() && d.column("speed").is_none());
    }

    #[test]
    fn what_is_missing_or_no_number_fails_and_is_named() {
        let error = read(&[entry(json!({})), entry(json!({"x": "a"}))]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "prediction 1: field `x`: want a number, got text"
        );
        assert!(read(&[entry(json!({"speed": 1})), entry(json!({}))]).is_err());
        assert!(read(&[json!(3)]).is_err());
        let whole = InputOptions::default();
        for bad in [
            json!("text"),
            json!({}),
            json!({"predictions": []}),
            json!({"image": {"width": 5, "height": 5}}),
            json!({"image": {"width": null, "height": 5}, "predictions": [entry(json!({}))]}),
        ] {
            assert!(detections(&bad, "v", false, &whole).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_reference_takes_for_numbers_names_and_nothing() {
        let size = json!({"width": "80", "height": 60.5});
        let loose = json!({"confidence": "0.5", "class_id": "3", "class": null, "detection_id": 7,
                           "parent_id": null, "tracker_id": 1.5, "parent_origin": {}});
        let json = json!({"image": size, "predictions": [entry(loose)]});
        let set = detections(&json, "v", false, &InputOptions::default()).unwrap();
        let d = set.as_detections().unwrap();
        assert_eq!(d.confidence.as_deref(), Some(&vec![0.5]));
        assert_eq!(d.class_id.as_deref(), Some(&vec![3]));
        assert_eq!(d.tracker_id.as_deref(), Some(&vec![1]));
        let text = |name: &str| to_str(d.cell(name, 0).unwrap());
        assert_eq!(text(column::CLASS_NAME), "None");
        assert_eq!(text(column::DETECTION_ID), "7");
        assert_eq!(text(column::PARENT_ID), "None");
        assert_eq!(text(column::IMAGE_DIMENSIONS), "[60, 80]");
        assert!(d.column(column::PARENT_COORDINATES).is_none());
        let json = json!({"image": {"width": 80, "height": 60}, "predictions": null});
        assert!(detections(&json, "v", false, &InputOptions::default()).is_ok());
        let json = json!({"image": {}, "predictions": []});
        assert!(detections(&json, "v", false, &InputOptions::default()).is_err());
    }

    #[test]
    fn outlines_and_key_points_are_whole_or_refused() {
        for bad in [
            json!({"points": null}),
            json!({"points": [[1, 2], [3, 4], [5, 9]]}),
            json!({"points": [{"x": 1}, {"x": 1}, {"x": 1}]}),
            json!({"keypoints": null}),
            json!({"keypoints": [{"x": 1, "y": 2, "confidence": 1, "class_name": "k", "class_id": 0}]}),
        ] {
            assert!(read(&[entry(bad.clone())]).is_err(), "{bad}");
        }
    }

    #[test]
    fn masks_and_track_ids_need_every_box() {
        let d = read(&[
            entry(json!({"points": square(1), "tracker_id": 4})),
            entry(json!({"rle": {"size": [60, 80], "counts": [0, 1, 4799]}, "tracker_id": 5})),
        ])
        .unwrap();
        let masks = d.masks.unwrap();
        assert_eq!((masks[0].window(), masks[0].area()), ([1, 2, 4, 4], 16));
        assert_eq!((masks[1].window(), masks[1].area()), ([0, 0, 1, 1], 1));
        assert_eq!(d.tracker_id.as_deref(), Some(&vec![4, 5]));
        let d = read(&[
            entry(json!({"points": square(1), "tracker_id": 4})),
            entry(json!({})),
        ])
        .unwrap();
        assert!(d.masks.is_none() && d.tracker_id.is_none());
    }

    #[test]
    fn a_short_outline_drops_its_box_and_a_foreign_mask_is_resized() {
        let short = entry(json!({"points": [{"x": 1, "y": 1}]}));
        assert_eq!(read(&[short.clone(), entry(json!({}))]).unwrap().len(), 1);
        assert_eq!(read(&[short]).unwrap().len(), 0);
        let rle = json!({"size": [2, 2], "counts": [0, 1, 3]});
        let d = read(&[entry(json!({"rle_mask": rle}))]).unwrap();
        assert_eq!(d.masks.as_ref().unwrap()[0].window(), [0, 0, 40, 30]);
        assert_eq!(
            to_str(d.cell(column::RLE_MASK, 0).unwrap()),
            "{'size': [2, 2], 'counts': [0, 1, 3]}"
        );
    }

    #[test]
    fn huge_masks_are_refused() {
        let rle = json!({"size": [4_000_000, 4_000_000], "counts": [0]});
        let error = read(&[entry(json!({"rle": rle}))]).unwrap_err();
        assert!(error.to_string().contains("limit"), "{error}");
    }

    #[test]
    fn masks_that_are_too_large_together_are_refused() {
        let whole = entry(json!({"rle": {"size": [60, 80], "counts": [0, 4800]}}));
        let set = |count: usize| json!({"image": {"width": 80, "height": 60}, "predictions": vec![whole.clone(); count]});
        let options = InputOptions {
            max_pixels: 4800,
            ..InputOptions::default()
        };
        let run = options.for_one_run();
        assert!(detections(&set(3), "v", true, &run).is_ok());
        let error = detections(&set(3), "v", true, &run).unwrap_err();
        assert!(error.to_string().contains("send fewer"), "{error}");
        assert!(detections(&set(5), "v", true, &run.for_one_run()).is_ok());
    }

    #[test]
    fn origins_become_columns_if_every_box_has_them() {
        let origin = json!({"offset_x": 5, "offset_y": 6, "width": 300, "height": 200});
        let with = entry(json!({"parent_origin": origin, "parent_id": "p"}));
        let d = read(std::slice::from_ref(&with)).unwrap();
        assert_eq!(
            to_str(d.cell(column::PARENT_COORDINATES, 0).unwrap()),
            "[5, 6]"
        );
        assert_eq!(
            to_str(d.cell(column::PARENT_DIMENSIONS, 0).unwrap()),
            "[200, 300]"
        );
        let d = read(&[with, entry(json!({}))]).unwrap();
        assert!(d.column(column::PARENT_COORDINATES).is_none());
        assert!(read(&[entry(json!({"parent_origin": {"offset_x": 5}}))]).is_err());
    }

    #[test]
    fn no_boxes_leave_the_size_in_the_metadata() {
        let d = read(&[]).unwrap();
        assert_eq!(to_str(&d.metadata[column::IMAGE_DIMENSIONS]), "[60, 80]");
        let unknown = json!({"image": {"width": null, "height": null}, "predictions": []});
        let Ok(Value::Detections(d)) = detections(&unknown, "v", false, &InputOptions::default())
        else {
            panic!()
        };
        assert!(d.is_empty() && d.metadata.is_empty());
    }
}
