//! Boxes: parallel columns with one row per detected object.
//!
//! The fixed columns (corners, confidence, class, track, mask) have types of their own; everything
//! else is a named column of values, present for all rows or absent. Columns sit behind `Arc`, so
//! adding one to a set of boxes copies none of the others.

use std::sync::Arc;

use indexmap::IndexMap;

use super::{Dict, Image, Mask, Value, python, sequence};

/// Names of the columns that several blocks share (engine specification 10.4).
pub mod column {
    /// Class name, text.
    pub const CLASS_NAME: &str = "class_name";
    /// Identifier of the box, a UUID text.
    pub const DETECTION_ID: &str = "detection_id";
    /// Identifier of the image predicted on.
    pub const PARENT_ID: &str = "parent_id";
    /// `[height, width]` of the image predicted on.
    pub const IMAGE_DIMENSIONS: &str = "image_dimensions";
    /// Identifier of the inference.
    pub const INFERENCE_ID: &str = "inference_id";
    /// What the prediction is, e.g. `object-detection`.
    pub const PREDICTION_TYPE: &str = "prediction_type";
    /// Identifier of the root image.
    pub const ROOT_PARENT_ID: &str = "root_parent_id";
    /// `[x, y]` of the image in the root image.
    pub const ROOT_PARENT_COORDINATES: &str = "root_parent_coordinates";
    /// `[height, width]` of the root image.
    pub const ROOT_PARENT_DIMENSIONS: &str = "root_parent_dimensions";
    /// `[x, y]` of the image in its parent.
    pub const PARENT_COORDINATES: &str = "parent_coordinates";
    /// `[height, width]` of the parent image.
    pub const PARENT_DIMENSIONS: &str = "parent_dimensions";
    /// Factor by which the image was resized relative to its parent.
    pub const SCALING_TO_PARENT: &str = "scaling_relative_to_parent";
    /// Factor by which the image was resized relative to the root.
    pub const SCALING_TO_ROOT: &str = "scaling_relative_to_root_parent";
    /// `K` points `[x, y]` per box, right-padded with zeros.
    pub const KEYPOINTS_XY: &str = "keypoints_xy";
    /// Confidence of each key point.
    pub const KEYPOINTS_CONFIDENCE: &str = "keypoints_confidence";
    /// Class id of each key point.
    pub const KEYPOINTS_CLASS_ID: &str = "keypoints_class_id";
    /// Class name of each key point; empty text marks padding.
    pub const KEYPOINTS_CLASS_NAME: &str = "keypoints_class_name";
    /// COCO run-length mask, an object `{size: [h, w], counts}`.
    pub const RLE_MASK: &str = "rle_mask";
    /// Four corner points of an oriented box.
    pub const ORIENTED_BOX: &str = "xyxyxyxy";
    /// Outline points.
    pub const POLYGON: &str = "polygon";
    /// Seconds in a zone.
    pub const TIME_IN_ZONE: &str = "time_in_zone";
    /// Distance of a track's path from a reference path.
    pub const PATH_DEVIATION: &str = "path_deviation";
    /// `[x, y]` per second.
    pub const VELOCITY: &str = "velocity";
    /// Length of the velocity.
    pub const SPEED: &str = "speed";
    /// `[x, y]` per second, smoothed over frames.
    pub const SMOOTHED_VELOCITY: &str = "smoothed_velocity";
    /// Length of the smoothed velocity.
    pub const SMOOTHED_SPEED: &str = "smoothed_speed";
    /// Whether the class of a track is settled.
    pub const CLASS_LOCKED: &str = "class_locked";
    /// Text of a decoded code.
    pub const DATA: &str = "data";
}

/// One named column, a value per row.
pub type Column = Arc<Vec<Value>>;

/// A set of boxes.
#[derive(Clone, Debug, Default)]
pub struct Detections {
    /// Corners `[x_min, y_min, x_max, y_max]` in pixels of the image predicted on; one per row.
    pub xyxy: Arc<Vec<[f64; 4]>>,
    /// Masks, all of the size of the image predicted on.
    pub masks: Option<Arc<Vec<Mask>>>,
    /// Confidences, 0 to 1.
    pub confidence: Option<Arc<Vec<f64>>>,
    /// Class ids.
    pub class_id: Option<Arc<Vec<i64>>>,
    /// Track ids.
    pub tracker_id: Option<Arc<Vec<i64>>>,
    /// Further columns by name, in order of their arrival.
    pub data: IndexMap<Arc<str>, Column>,
    /// Facts about the whole image; keeps sizes and parents of empty sets.
    pub metadata: Dict,
}

/// One row of a set of boxes.
#[derive(Clone, Debug)]
pub struct Detection {
    /// The set.
    pub set: Arc<Detections>,
    /// The row in it.
    pub row: usize,
}

impl Detections {
    /// No boxes, and nothing known of the image: what the merge of nothing gives.
    pub fn empty() -> Self {
        Self {
            confidence: Some(Arc::default()),
            class_id: Some(Arc::default()),
            tracker_id: Some(Arc::default()),
            ..Self::default()
        }
    }

    /// Number of boxes.
    pub fn len(&self) -> usize {
        self.xyxy.len()
    }

    /// Whether there are no boxes.
    pub fn is_empty(&self) -> bool {
        self.xyxy.is_empty()
    }

    /// The named column, if present.
    pub fn column(&self, name: &str) -> Option<&[Value]> {
        self.data.get(name).map(|c| c.as_slice())
    }

    /// Value of a named column in one row; `None` without the column.
    pub fn cell(&self, name: &str, row: usize) -> Option<&Value> {
        self.column(name).and_then(|c| c.get(row))
    }

    /// Adds or replaces a column. `values` must have one entry per row.
    pub fn set_column(&mut self, name: &str, values: Vec<Value>) {
        debug_assert_eq!(values.len(), self.len(), "column {name}");
        match self.data.get_mut(name) {
            Some(column) => *column = Arc::new(values),
            None => {
                self.data.insert(name.into(), Arc::new(values));
            }
        }
    }

    /// Adds or replaces a column with the same value in each row.
    pub fn fill_column(&mut self, name: &str, value: Value) {
        self.set_column(name, vec![value; self.len()]);
    }

    /// Class name of a row, if the column is there.
    pub fn class_name(&self, row: usize) -> Option<&Arc<str>> {
        match self.cell(column::CLASS_NAME, row) {
            Some(Value::Str(name)) => Some(name),
            _ => None,
        }
    }

    /// Identifier of a row's box, if the column is there.
    pub fn detection_id(&self, row: usize) -> Option<&Arc<str>> {
        match self.cell(column::DETECTION_ID, row) {
            Some(Value::Str(id)) => Some(id),
            _ => None,
        }
    }

    /// Centre `[x, y]` of a row's box in pixels.
    pub fn center(&self, row: usize) -> [f64; 2] {
        let [x1, y1, x2, y2] = self.xyxy[row];
        [(x1 + x2) / 2.0, (y1 + y2) / 2.0]
    }

    /// Area of a row's box in square pixels.
    pub fn area(&self, row: usize) -> f64 {
        let [x1, y1, x2, y2] = self.xyxy[row];
        (x2 - x1) * (y2 - y1)
    }

    /// The rows `rows`, in that order (repeats allowed), with all their columns.
    pub fn take(&self, rows: &[usize]) -> Self {
        fn pick<T: Clone>(column: &Arc<Vec<T>>, rows: &[usize]) -> Arc<Vec<T>> {
            Arc::new(rows.iter().map(|&r| column[r].clone()).collect())
        }
        Self {
            xyxy: pick(&self.xyxy, rows),
            masks: self.masks.as_ref().map(|c| pick(c, rows)),
            confidence: self.confidence.as_ref().map(|c| pick(c, rows)),
            class_id: self.class_id.as_ref().map(|c| pick(c, rows)),
            tracker_id: self.tracker_id.as_ref().map(|c| pick(c, rows)),
            data: self
                .data
                .iter()
                .map(|(name, c)| (name.clone(), pick(c, rows)))
                .collect(),
            metadata: self.metadata.clone(),
        }
    }

    /// The rows for which `keep` says so.
    pub fn filter(&self, mut keep: impl FnMut(usize) -> bool) -> Self {
        let rows: Vec<usize> = (0..self.len()).filter(|&r| keep(r)).collect();
        if rows.len() == self.len() {
            self.clone()
        } else {
            self.take(&rows)
        }
    }

    /// All rows of several sets, one set after the other. A fixed column is kept if every set that
    /// has rows has it; a named column likewise. Metadata come from the first set.
    pub fn merge(sets: &[&Self]) -> Self {
        let Some(first) = sets.first() else {
            return Self::default();
        };
        let filled: Vec<&Self> = sets.iter().copied().filter(|s| !s.is_empty()).collect();
        let Some(model) = filled.first() else {
            return (*first).clone();
        };
        if filled.len() == 1 {
            // Shares the columns instead of copying them.
            return Self {
                metadata: first.metadata.clone(),
                ..(*model).clone()
            };
        }
        fn join<T: Clone>(
            sets: &[&Detections],
            column: impl Fn(&Detections) -> Option<&Arc<Vec<T>>>,
        ) -> Option<Arc<Vec<T>>> {
            let columns: Option<Vec<_>> = sets.iter().map(|s| column(s)).collect();
            columns.map(|all| Arc::new(all.iter().flat_map(|c| c.iter().cloned()).collect()))
        }
        let mut data = IndexMap::new();
        for name in model.data.keys() {
            if let Some(column) = join(&filled, |s| s.data.get(name)) {
                data.insert(name.clone(), column);
            }
        }
        Self {
            xyxy: Arc::new(filled.iter().flat_map(|s| s.xyxy.iter().copied()).collect()),
            masks: join(&filled, |s| s.masks.as_ref()),
            confidence: join(&filled, |s| s.confidence.as_ref()),
            class_id: join(&filled, |s| s.class_id.as_ref()),
            tracker_id: join(&filled, |s| s.tracker_id.as_ref()),
            data,
            metadata: first.metadata.clone(),
        }
    }

    /// Key points of each row if all rows have as many; `None` if they have none, or not as many.
    fn points_per_row(&self) -> Option<usize> {
        let mut lengths = self
            .data
            .get(column::KEYPOINTS_XY)?
            .iter()
            .map(sequence::len);
        let first = lengths.next()??;
        lengths.all(|length| length == Some(first)).then_some(first)
    }

    /// All rows of several sets, one set after the other; sets without rows are left out. Fails
    /// where [`Self::merge`] would drop something: every set must have the same columns, the same facts
    /// about the image, and the same number of key points for each box. Of nothing comes [`Self::empty`].
    pub fn joined(sets: &[&Self]) -> Result<Self, String> {
        let filled: Vec<&Self> = sets.iter().copied().filter(|s| !s.is_empty()).collect();
        let Some((first, others)) = filled.split_first() else {
            return Ok(Self::empty());
        };
        let fixed = |set: &Self| {
            [
                ("mask", set.masks.is_some()),
                ("confidence", set.confidence.is_some()),
                ("class_id", set.class_id.is_some()),
                ("tracker_id", set.tracker_id.is_some()),
            ]
        };
        for (i, (name, here)) in fixed(first).into_iter().enumerate() {
            if others.iter().any(|other| fixed(other)[i].1 != here) {
                return Err(format!("some boxes have a `{name}` and others have none"));
            }
        }
        for other in others {
            let lacks = |a: &Self, b: &Self| {
                let name = a.data.keys().find(|name| !b.data.contains_key(*name));
                name.map(|name| format!("some boxes have a column `{name}` and others have none"))
            };
            let differs = |a: &Self, b: &Self| {
                let same = |(name, fact): &(&Arc<str>, &Value)| {
                    b.metadata
                        .get(*name)
                        .is_some_and(|f| python::equal(f, fact))
                };
                let other = a.metadata.iter().find(|entry| !same(entry));
                other.map(|(name, _)| format!("sets of boxes differ in their `{name}`"))
            };
            let points = |set: &Self| set.points_per_row();
            if points(first) != points(other) {
                return Err("sets of boxes differ in their number of key points".into());
            }
            let problem = lacks(first, other)
                .or_else(|| lacks(other, first))
                .or_else(|| differs(first, other))
                .or_else(|| differs(other, first));
            if let Some(problem) = problem {
                return Err(problem);
            }
        }
        Ok(Self::merge(&filled))
    }

    /// Writes into every row (and, for an empty set, into the metadata) where `image` lies in its
    /// parent and in the root: what every block does that predicts on an image.
    pub fn attach_image(&mut self, image: &Image) {
        let (parent, root) = (image.parent(), image.root());
        let pair = |a: i64, b: i64| Value::list(vec![Value::Int(a), Value::Int(b)]);
        let facts = [
            (
                column::IMAGE_DIMENSIONS,
                pair(image.height() as i64, image.width() as i64),
            ),
            (column::PARENT_ID, Value::Str(parent.id.clone())),
            (column::PARENT_COORDINATES, pair(parent.x, parent.y)),
            (column::PARENT_DIMENSIONS, pair(parent.height, parent.width)),
            (column::ROOT_PARENT_ID, Value::Str(root.id.clone())),
            (column::ROOT_PARENT_COORDINATES, pair(root.x, root.y)),
            (
                column::ROOT_PARENT_DIMENSIONS,
                pair(root.height, root.width),
            ),
            (column::SCALING_TO_PARENT, Value::Float(1.0)),
            (column::SCALING_TO_ROOT, Value::Float(1.0)),
        ];
        for (name, value) in facts {
            if self.is_empty() {
                self.metadata.insert(name.into(), value);
            } else {
                self.fill_column(name, value);
            }
        }
    }
}

/// A fresh identifier for a box or an inference: a random (version 4) UUID as text.
pub fn new_id() -> Arc<str> {
    uuid::Uuid::new_v4().to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Detections {
        let mut d = Detections {
            xyxy: Arc::new(vec![[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 5.0, 3.0]]),
            class_id: Some(Arc::new(vec![7, 8])),
            ..Detections::default()
        };
        d.set_column(column::CLASS_NAME, vec!["a".into(), "b".into()]);
        d
    }

    #[test]
    fn take_keeps_all_columns_of_the_rows() {
        let d = two().take(&[1]);
        assert_eq!(d.len(), 1);
        assert_eq!(d.class_id.as_deref(), Some(&vec![8]));
        assert_eq!(d.class_name(0).map(|n| &**n), Some("b"));
        assert_eq!(d.center(0), [3.0, 2.0]);
        assert_eq!(d.area(0), 8.0);
    }

    #[test]
    fn joined_sets_must_have_the_same_columns() {
        let mut tracked = two();
        tracked.tracker_id = Some(Arc::new(vec![1, 2]));
        let joined = Detections::joined(&[&two(), &Detections::default(), &two()]).unwrap();
        assert_eq!((joined.len(), joined.data.len()), (4, 1));
        let why = Detections::joined(&[&two(), &tracked]).unwrap_err();
        assert_eq!(why, "some boxes have a `tracker_id` and others have none");
        let posed = |points: usize| {
            let mut set = two();
            let point = Value::list(vec![Value::Float(1.0), Value::Float(2.0)]);
            set.fill_column(column::KEYPOINTS_XY, Value::list(vec![point; points]));
            set
        };
        assert_eq!(
            Detections::joined(&[&posed(5), &posed(5)]).unwrap().len(),
            4
        );
        let why = Detections::joined(&[&posed(5), &posed(17)]).unwrap_err();
        assert!(why.contains("key points"), "{why}");
        let mut more = two();
        more.fill_column("speed", Value::Int(1));
        assert!(
            Detections::joined(&[&two(), &more])
                .unwrap_err()
                .contains("`speed`")
        );
        assert!(
            Detections::joined(&[&tracked.take(&[])])
                .unwrap()
                .data
                .is_empty()
        );
    }

    #[test]
    fn merge_drops_columns_that_one_set_lacks() {
        let mut with_tracks = two();
        with_tracks.tracker_id = Some(Arc::new(vec![1, 2]));
        let merged = Detections::merge(&[&with_tracks, &Detections::default(), &two()]);
        assert_eq!(merged.len(), 4);
        assert!(merged.tracker_id.is_none());
        assert_eq!(merged.class_name(3).map(|n| &**n), Some("b"));
    }
}
