//! Boxes predicted on a crop, told in the coordinates of the root image (engine specification 10.5).
//!
//! Boxes, key points, polygons, oriented boxes and dense masks move; rotated rectangles and
//! run-length masks stay as they are (Q21). If the image was scaled on its way from the root, all is
//! divided by the factor and rounded first.

use std::sync::Arc;

use super::detections::column;
use super::mask::compress_counts;
use super::polygon::points_of;
use super::{Array, Dict, Mask, Value};
use super::{Batch, Detections};

/// The value with all boxes in it, at any depth of lists and objects, in root coordinates.
pub fn to_root_deep(value: &Value) -> Value {
    converted(value).unwrap_or_else(|| value.clone())
}

/// The value in root coordinates; `None` if nothing in it changes.
fn converted(value: &Value) -> Option<Value> {
    match value {
        Value::Detections(set) => is_elsewhere(set).then(|| Value::detections(to_root(set))),
        Value::List(items) => converted_items(items).map(Value::list),
        Value::Tuple(items) => converted_items(items).map(Value::tuple),
        Value::Batch(batch) => converted_items(&batch.items).map(|items| {
            Value::Batch(Arc::new(Batch {
                indices: batch.indices.clone(),
                items,
            }))
        }),
        Value::Dict(entries) => {
            let values: Vec<Option<Value>> = entries.values().map(converted).collect();
            values.iter().any(Option::is_some).then(|| {
                let entries = entries.iter().zip(values);
                let entries =
                    entries.map(|((k, old), new)| (k.clone(), new.unwrap_or_else(|| old.clone())));
                Value::dict(entries.collect::<Dict>())
            })
        }
        _ => None,
    }
}

fn converted_items(items: &[Value]) -> Option<Vec<Value>> {
    let new: Vec<Option<Value>> = items.iter().map(converted).collect();
    new.iter().any(Option::is_some).then(|| {
        items
            .iter()
            .zip(new)
            .map(|(old, new)| new.unwrap_or_else(|| old.clone()))
            .collect()
    })
}

/// Whether the boxes lie in another image than the root.
fn is_elsewhere(set: &Detections) -> bool {
    if set.is_empty() {
        return set.metadata.contains_key(column::ROOT_PARENT_DIMENSIONS);
    }
    let any = |name: &str, differs: &dyn Fn(usize, &Value) -> bool| {
        set.column(name).is_some_and(|cells| {
            cells
                .iter()
                .enumerate()
                .any(|(row, cell)| differs(row, cell))
        })
    };
    any(column::ROOT_PARENT_COORDINATES, &|_, cell| {
        pair(cell) != Some([0.0, 0.0])
    }) || any(column::ROOT_PARENT_DIMENSIONS, &|row, cell| {
        set.cell(column::IMAGE_DIMENSIONS, row)
            .is_some_and(|size| pair(size) != pair(cell))
    }) || any(column::SCALING_TO_ROOT, &|_, cell| {
        cell.as_f64() != Some(1.0)
    })
}

/// The first two numbers of a list or an array.
fn pair(cell: &Value) -> Option<[f64; 2]> {
    match cell {
        Value::Array(array) => Some([*array.data.first()?, *array.data.get(1)?]),
        other => match other.as_slice()? {
            [a, b, ..] => Some([a.as_f64()?, b.as_f64()?]),
            _ => None,
        },
    }
}

/// The boxes in root coordinates. Without the columns that tell where the root lies, or if it lies
/// nowhere else, they are unchanged.
pub fn to_root(set: &Detections) -> Detections {
    let mut set = set.clone();
    if !is_elsewhere(&set) {
        return set;
    }
    if set.is_empty() {
        settle_empty(&mut set);
        return set;
    }
    let first = |name: &str| set.cell(name, 0).and_then(pair);
    let (Some([dx, dy]), Some([height, width]), true) = (
        first(column::ROOT_PARENT_COORDINATES),
        first(column::ROOT_PARENT_DIMENSIONS),
        set.column(column::ROOT_PARENT_ID).is_some(),
    ) else {
        return set;
    };
    let scale = set.cell(column::SCALING_TO_ROOT, 0).and_then(Value::as_f64);
    if let Some(scale) = scale.filter(|s| s.is_normal()) {
        unscale(&mut set, 1.0 / scale);
    }
    shift(&mut set, dx, dy);
    if let Some(masks) = &set.masks {
        let (dx, dy, width, height) = (dx as i64, dy as i64, width as usize, height as usize);
        let moved = masks.iter().map(|m| m.moved(dx, dy, width, height));
        set.masks = Some(Arc::new(moved.collect()));
    }
    settle(&mut set);
    set
}

fn zero_offset() -> Value {
    Value::list(vec![Value::Int(0), Value::Int(0)])
}

/// Makes the root the parent of an empty set, as far as its metadata tell.
fn settle_empty(set: &mut Detections) {
    let facts = &mut set.metadata;
    let dimensions = facts
        .get(column::ROOT_PARENT_DIMENSIONS)
        .cloned()
        .unwrap_or_default();
    let id = facts.get(column::ROOT_PARENT_ID).cloned();
    for (name, value) in [
        (column::IMAGE_DIMENSIONS, Some(dimensions.clone())),
        (column::PARENT_DIMENSIONS, Some(dimensions)),
        (column::PARENT_COORDINATES, Some(zero_offset())),
        (column::ROOT_PARENT_COORDINATES, Some(zero_offset())),
        (column::SCALING_TO_PARENT, Some(Value::Float(1.0))),
        (column::SCALING_TO_ROOT, Some(Value::Float(1.0))),
        (column::PARENT_ID, id),
    ] {
        if let Some(value) = value {
            facts.insert(name.into(), value);
        }
    }
}

/// Makes the root the parent of every box.
fn settle(set: &mut Detections) {
    let copy = |set: &mut Detections, from: &str, to: &[&str]| {
        if let Some(cells) = set.data.get(from).cloned() {
            for name in to {
                set.data.insert((*name).into(), cells.clone());
            }
        }
    };
    copy(set, column::ROOT_PARENT_ID, &[column::PARENT_ID]);
    copy(
        set,
        column::ROOT_PARENT_DIMENSIONS,
        &[column::IMAGE_DIMENSIONS, column::PARENT_DIMENSIONS],
    );
    for name in [column::PARENT_COORDINATES, column::ROOT_PARENT_COORDINATES] {
        set.fill_column(name, zero_offset());
    }
    for name in [column::SCALING_TO_PARENT, column::SCALING_TO_ROOT] {
        set.fill_column(name, Value::Float(1.0));
    }
}

/// Multiplies all geometry by a factor and rounds it. The reference rounds even if the factor is 1.
fn unscale(set: &mut Detections, factor: f64) {
    let round = |x: f64| (x * factor).round_ties_even();
    set.xyxy = Arc::new(set.xyxy.iter().map(|b| b.map(round)).collect());
    for name in [column::KEYPOINTS_XY, column::POLYGON] {
        change_points(set, name, &|p| p.map(round));
    }
    if factor == 1.0 {
        return;
    }
    let Some(masks) = &set.masks else {
        return;
    };
    let side = |n: usize| round(n as f64) as usize;
    let resized: Vec<Mask> = masks
        .iter()
        .map(|m| m.resized(side(m.width()), side(m.height())))
        .collect();
    if set.column(column::RLE_MASK).is_some() {
        set.set_column(column::RLE_MASK, resized.iter().map(run_lengths).collect());
    }
    set.masks = Some(Arc::new(resized));
}

/// The run-length object of a mask.
fn run_lengths(mask: &Mask) -> Value {
    let size = vec![mask.height().into(), mask.width().into()];
    Value::dict(Dict::from_iter([
        (Arc::from("size"), Value::list(size)),
        (
            Arc::from("counts"),
            Value::str(compress_counts(&mask.rle_counts())),
        ),
    ]))
}

/// Moves everything but the masks.
fn shift(set: &mut Detections, dx: f64, dy: f64) {
    let moved = |[x1, y1, x2, y2]: &[f64; 4]| [x1 + dx, y1 + dy, x2 + dx, y2 + dy];
    set.xyxy = Arc::new(set.xyxy.iter().map(moved).collect());
    for name in [column::KEYPOINTS_XY, column::POLYGON, column::ORIENTED_BOX] {
        change_points(set, name, &|[x, y]| [x + dx, y + dy]);
    }
}

/// Changes the points in each cell of a column; what holds no points stays as it is.
fn change_points(set: &mut Detections, name: &str, change: &dyn Fn([f64; 2]) -> [f64; 2]) {
    let Some(cells) = set.column(name) else {
        return;
    };
    let cells = cells
        .iter()
        .map(|cell| match (points_of(cell), cell) {
            (None, _) => cell.clone(),
            (Some(points), Value::Array(array)) => Value::Array(Arc::new(Array::floats(
                array.shape.clone(),
                points.into_iter().flat_map(change).collect(),
            ))),
            (Some(points), _) => Value::list(
                points
                    .into_iter()
                    .map(|p| Value::list(change(p).map(Value::Float).to_vec()))
                    .collect(),
            ),
        })
        .collect();
    set.set_column(name, cells);
}

#[cfg(test)]
mod tests {
    use super::super::{Image, Matrix, python::to_str};
    use super::*;

    /// One box on a crop of 20 x 20 at (10, 12) of a root of 100 x 80.
    fn on_crop(corners: [f64; 4], scale: f64) -> Detections {
        let root = Image::new(Matrix::filled(100, 80, &[0; 3]), "image".into());
        let crop = root.cropped(Matrix::filled(20, 20, &[0; 3]), "d0".into(), 10, 12, false);
        let mut set = Detections {
            xyxy: Arc::new(vec![corners]),
            ..Detections::default()
        };
        set.attach_image(&crop);
        set.fill_column(column::SCALING_TO_ROOT, Value::Float(scale));
        set
    }

    fn cell(set: &Detections, name: &str) -> String {
        to_str(set.cell(name, 0).unwrap())
    }

    #[test]
    fn a_box_is_unscaled_and_moved() {
        let set = to_root(&on_crop([1.0, 2.0, 5.0, 6.0], 0.5));
        assert_eq!(set.xyxy[0], [12.0, 16.0, 20.0, 24.0]);
        assert_eq!(cell(&set, column::PARENT_ID), "image");
        assert_eq!(cell(&set, column::IMAGE_DIMENSIONS), "[80, 100]");
        assert_eq!(cell(&set, column::ROOT_PARENT_COORDINATES), "[0, 0]");
        assert_eq!(cell(&set, column::SCALING_TO_ROOT), "1.0");
        assert!(!is_elsewhere(&set));
    }

    #[test]
    fn points_and_masks_move_but_rectangles_and_run_lengths_do_not() {
        let mut set = on_crop([1.0, 2.0, 5.0, 6.0], 1.0);
        let corner = Value::list(vec![Value::list(vec![1i64.into(), 2.4.into()])]);
        for name in [
            column::POLYGON,
            column::KEYPOINTS_XY,
            column::ORIENTED_BOX,
            "rect",
        ] {
            set.set_column(name, vec![corner.clone()]);
        }
        let mask = Mask::from_window(20, 20, [1, 2, 4, 4], &[1; 16]);
        set.set_column(column::RLE_MASK, vec![run_lengths(&mask)]);
        set.masks = Some(Arc::new(vec![mask]));
        let moved = to_root(&set);
        assert_eq!(cell(&moved, column::POLYGON), "[[11.0, 14.0]]");
        assert_eq!(cell(&moved, column::KEYPOINTS_XY), "[[11.0, 14.0]]");
        assert_eq!(cell(&moved, column::ORIENTED_BOX), "[[11.0, 14.4]]");
        assert_eq!(cell(&moved, "rect"), "[[1, 2.4]]");
        assert_eq!(cell(&moved, column::RLE_MASK), cell(&set, column::RLE_MASK));
        let mask = &moved.masks.as_ref().unwrap()[0];
        assert_eq!((mask.width(), mask.window()), (100, [11, 14, 4, 4]));
    }

    #[test]
    fn scaled_masks_are_resized_and_their_run_lengths_made_anew() {
        let mut set = on_crop([1.0, 2.0, 5.0, 6.0], 0.5);
        let mask = Mask::from_window(20, 20, [1, 2, 4, 4], &[1; 16]);
        set.set_column(column::RLE_MASK, vec![run_lengths(&mask)]);
        set.masks = Some(Arc::new(vec![mask.clone()]));
        let moved = to_root(&set);
        assert_eq!(moved.masks.as_ref().unwrap()[0].window(), [12, 16, 8, 8]);
        let resized = Mask::from_window(40, 40, [2, 4, 8, 8], &[1; 64]);
        assert_eq!(
            cell(&moved, column::RLE_MASK),
            to_str(&run_lengths(&resized))
        );
    }

    #[test]
    fn an_empty_set_settles_by_its_metadata() {
        let crop = on_crop([0.0; 4], 1.0);
        let mut set = Detections::default();
        assert!(to_root(&set).metadata.is_empty());
        for (name, cells) in &crop.data {
            set.metadata.insert(name.clone(), cells[0].clone());
        }
        let set = to_root(&set);
        let fact = |name: &str| to_str(&set.metadata[name]);
        assert_eq!(fact(column::IMAGE_DIMENSIONS), "[80, 100]");
        assert_eq!(fact(column::PARENT_ID), "image");
    }

    #[test]
    fn what_does_not_know_its_root_and_what_is_there_stay() {
        let mut unknown = on_crop([1.0, 2.0, 5.0, 6.0], 1.0);
        unknown.data.shift_remove(column::ROOT_PARENT_ID);
        assert_eq!(to_root(&unknown).xyxy[0], [1.0, 2.0, 5.0, 6.0]);
        let there = Value::detections(to_root(&on_crop([1.0, 2.0, 5.0, 6.2], 1.0)));
        let list = Value::list(vec![there]);
        let (Value::List(a), Value::List(b)) = (&list, &to_root_deep(&list)) else {
            panic!()
        };
        assert!(Arc::ptr_eq(a, b));
    }

    #[test]
    fn boxes_are_found_at_any_depth() {
        let inner = Value::detections(on_crop([1.0, 2.0, 5.0, 6.0], 1.0));
        let entries = [(Arc::from("a"), Value::tuple(vec![inner, Value::Int(1)]))];
        let deep = to_root_deep(&Value::list(vec![Value::dict(
            entries.into_iter().collect(),
        )]));
        let items = deep.as_slice().unwrap()[0].as_dict().unwrap()["a"]
            .as_slice()
            .unwrap();
        assert_eq!(
            items[0].as_detections().unwrap().xyxy[0],
            [11.0, 14.0, 15.0, 18.0]
        );
    }
}
