//! Properties of boxes: of all boxes of a set as a list, or of the one box a filter looks at.
//!
//! Points come rounded to whole numbers (ties to even) from a set, and unrounded from one box, as
//! in the reference. The track id of one box is its real one.

use super::node::{Node, Read};
use crate::values::detections::column;
use crate::values::{Detection, Detections, Value, python, sequence};

/// A property of a box.
#[derive(Clone, Copy, Debug)]
pub(super) enum Property {
    Confidence,
    ClassName,
    ClassId,
    /// A corner coordinate by its place in `[x_min, y_min, x_max, y_max]`.
    Edge(&'static str, usize),
    Size,
    Center,
    /// A corner by the places of its x and y.
    Corner(&'static str, usize, usize),
    TrackerId,
    /// A column that some block has written.
    Column(&'static str),
}

/// Why a set does not have a property.
#[derive(Clone, Copy, Debug)]
pub(super) struct Absent(pub(super) &'static str);

const TRACKER_ID: &str = "tracker_id";

impl Property {
    pub(super) fn read(node: &Node<'_>) -> Read<Self> {
        node.need("property_name")?.one_of(PROPERTIES)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Confidence => "confidence",
            Self::ClassName => column::CLASS_NAME,
            Self::ClassId => "class_id",
            Self::Size => "size",
            Self::Center => "center",
            Self::TrackerId => TRACKER_ID,
            Self::Edge(name, _) | Self::Corner(name, ..) | Self::Column(name) => name,
        }
    }

    /// The property of each box. A column of the same name goes before what the boxes themselves
    /// tell; a set without boxes has every property.
    pub(super) fn of_set(self, set: &Detections) -> Result<Value, Absent> {
        if set.is_empty() {
            return Ok(Value::list(vec![]));
        }
        if let (Self::TrackerId, Some(ids)) = (self, &set.tracker_id) {
            return Ok(Value::list(ids.iter().copied().map(Value::Int).collect()));
        }
        if let Some(values) = set.column(self.name()) {
            return Ok(Value::list(
                values.iter().map(sequence::with_lists).collect(),
            ));
        }
        let absent = Absent(self.name());
        let boxes =
            |of: &dyn Fn(&[f64; 4]) -> Value| Ok(Value::list(set.xyxy.iter().map(of).collect()));
        let point = |x: f64, y: f64| {
            let whole = |v: f64| Value::Int(python::round_half_even(v) as i64);
            Value::list(vec![whole(x), whole(y)])
        };
        match self {
            Self::Confidence => {
                let values = set.confidence.as_deref().ok_or(absent)?;
                Ok(Value::list(
                    values.iter().copied().map(Value::Float).collect(),
                ))
            }
            Self::ClassId => {
                let ids = set.class_id.as_deref().ok_or(absent)?;
                Ok(Value::list(ids.iter().copied().map(Value::Int).collect()))
            }
            Self::ClassName => Ok(Value::list(vec![])),
            Self::Edge(_, i) => boxes(&|b| Value::Float(b[i])),
            Self::Size => boxes(&|b| Value::Float(size(b))),
            Self::Center => {
                boxes(&|&[x1, y1, x2, y2]| point(x1 + (x2 - x1) / 2.0, y1 + (y2 - y1) / 2.0))
            }
            Self::Corner(_, x, y) => boxes(&|b| point(b[x], b[y])),
            Self::TrackerId | Self::Column(_) => Err(absent),
        }
    }

    /// The property of one box; `None` for a column that is not there.
    pub(super) fn of_one(self, detection: &Detection) -> Result<Value, Absent> {
        let Detection { set, row } = detection;
        let row = *row;
        let corners = &set.xyxy[row];
        let point = |x: f64, y: f64| Value::tuple(vec![Value::Float(x), Value::Float(y)]);
        let absent = Absent(self.name());
        Ok(match self {
            Self::Confidence => Value::Float(set.confidence.as_ref().ok_or(absent)?[row]),
            Self::ClassId => Value::Int(set.class_id.as_ref().ok_or(absent)?[row]),
            Self::ClassName => set.cell(column::CLASS_NAME, row).ok_or(absent)?.clone(),
            Self::Edge(_, i) => Value::Float(corners[i]),
            Self::Size => Value::Float(size(corners)),
            Self::Center => {
                let [x1, y1, x2, y2] = *corners;
                point(x1 + (x2 - x1) / 2.0, y1 + (y2 - y1) / 2.0)
            }
            Self::Corner(_, x, y) => point(corners[x], corners[y]),
            Self::TrackerId => match &set.tracker_id {
                Some(ids) => Value::Int(ids[row]),
                None => set.cell(TRACKER_ID, row).cloned().unwrap_or_default(),
            },
            Self::Column(name) => set.cell(name, row).cloned().unwrap_or_default(),
        })
    }
}

fn size(&[x1, y1, x2, y2]: &[f64; 4]) -> f64 {
    (x2 - x1) * (y2 - y1)
}

const PROPERTIES: &[(&str, Property)] = &[
    ("confidence", Property::Confidence),
    ("class_name", Property::ClassName),
    ("x_min", Property::Edge("x_min", 0)),
    ("x_max", Property::Edge("x_max", 2)),
    ("y_min", Property::Edge("y_min", 1)),
    ("y_max", Property::Edge("y_max", 3)),
    ("size", Property::Size),
    ("class_id", Property::ClassId),
    ("center", Property::Center),
    ("top_left", Property::Corner("top_left", 0, 1)),
    ("top_right", Property::Corner("top_right", 2, 1)),
    ("bottom_left", Property::Corner("bottom_left", 0, 3)),
    ("bottom_right", Property::Corner("bottom_right", 2, 3)),
    ("in_out", Property::Column("in_out")),
    ("path_deviation", Property::Column("path_deviation")),
    ("polygon", Property::Column(column::POLYGON)),
    ("time_in_zone", Property::Column(column::TIME_IN_ZONE)),
    ("tracker_id", Property::TrackerId),
    ("velocity", Property::Column("velocity")),
    ("speed", Property::Column("speed")),
    ("smoothed_velocity", Property::Column("smoothed_velocity")),
    ("smoothed_speed", Property::Column("smoothed_speed")),
    (
        "image_dimensions",
        Property::Column(column::IMAGE_DIMENSIONS),
    ),
    ("prediction_type", Property::Column(column::PREDICTION_TYPE)),
    ("keypoints_xy", Property::Column(column::KEYPOINTS_XY)),
    ("rect", Property::Column("rect")),
    ("width", Property::Column("width")),
    ("height", Property::Column("height")),
    ("angle", Property::Column("angle")),
    ("area_px", Property::Column("area_px")),
    ("area_converted", Property::Column("area_converted")),
];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::blocks::query::trial::{apply, boxes, shown};
    use crate::values::{Array, Detections, Value};
    use serde_json::json;

    fn of_set(property: &str, set: &Detections) -> String {
        let chain = json!([{"type": "DetectionsPropertyExtract", "property_name": property}]);
        shown(apply(chain, set.clone().into()))
    }

    fn of_each(property: &str, set: &Detections) -> String {
        let one = json!([{"type": "ExtractDetectionProperty", "property_name": property}]);
        let chain = json!([{"type": "SequenceApply", "operations": one}]);
        shown(apply(chain, set.clone().into()))
    }

    #[test]
    fn properties_of_a_set_come_with_rounded_points() {
        for (property, result) in [
            ("center", "[[20, 20], [50, 40], [22, 21]]"),
            ("top_left", "[[10, 15], [40, 25], [20, 19]]"),
            ("bottom_right", "[[30, 25], [61, 55], [24, 23]]"),
            ("size", "[200.0, 640.5, 16.0]"),
            ("x_max", "[30.0, 61.0, 24.0]"),
            ("confidence", "[0.9, 0.5, 0.9]"),
            ("class_id", "[1, 2, 3]"),
            ("class_name", "['person', 'car', 'face']"),
            ("image_dimensions", "[[80, 100], [80, 100], [80, 100]]"),
            ("tracker_id", "!OperationError"),
            ("time_in_zone", "!OperationError"),
        ] {
            assert_eq!(of_set(property, &boxes()), result, "{property}");
            assert_eq!(of_set(property, &Detections::default()), "[]", "{property}");
        }
    }

    #[test]
    fn columns_go_first_and_arrays_become_lists() {
        let mut set = boxes().take(&[0]);
        let velocity = Array::floats(vec![2], vec![1.0, -2.0]);
        set.set_column("velocity", vec![Value::Array(Arc::new(velocity))]);
        set.set_column("size", vec![Value::Int(5)]);
        set.tracker_id = Some(Arc::new(vec![7]));
        assert_eq!(of_set("velocity", &set), "[[1.0, -2.0]]");
        assert_eq!(of_set("size", &set), "[5]");
        assert_eq!(of_set("tracker_id", &set), "[7]");
        assert_eq!(of_each("size", &set), "[200.0]");
        assert_eq!(of_each("tracker_id", &set), "[7]");
    }

    #[test]
    fn properties_of_one_box_are_exact() {
        for (property, result) in [
            ("center", "[(20.0, 20.0), (50.5, 40.0), (22.0, 21.0)]"),
            ("top_right", "[(30.0, 15.0), (61.0, 24.75), (24.0, 19.0)]"),
            ("y_min", "[15.0, 24.75, 19.0]"),
            ("class_name", "['person', 'car', 'face']"),
            ("tracker_id", "[None, None, None]"),
            ("time_in_zone", "[None, None, None]"),
        ] {
            assert_eq!(of_each(property, &boxes()), result, "{property}");
        }
        let chain = json!([{"type": "ExtractDetectionProperty", "property_name": "size"}]);
        assert_eq!(
            shown(apply(chain, boxes().into())),
            "!InvalidInputTypeError"
        );
    }
}
