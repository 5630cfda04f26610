//! A prediction as the annotation of an image that was scaled.

use serde_json::{Value as Json, json};

use crate::blocks::sinks::platform;
use crate::blocks::{BlockError, Context};
use crate::values::detections::column;
use crate::values::{Value, python};

/// Keys of a box that the annotation tool reads; parents and times are of no use there.
const HORIZONTAL: [&str; 2] = ["x", "width"];
const VERTICAL: [&str; 2] = ["y", "height"];

/// What is sent, and as which file.
pub(super) struct Annotation {
    pub(super) text: String,
    pub(super) extension: &'static str,
}

impl Annotation {
    /// The annotation, unless the prediction is empty.
    pub(super) fn new(
        prediction: &Value,
        scale: [f64; 2],
        size: [usize; 2],
        cx: &Context<'_>,
    ) -> Result<Option<Self>, BlockError> {
        let classes = |text: String| Self {
            text,
            extension: "txt",
        };
        Ok(match prediction {
            Value::Detections(set) if set.is_empty() => None,
            Value::Detections(_) => {
                let mut json = platform::json(prediction, cx)?;
                json["image"] = json!({"width": size[0], "height": size[1]});
                for one in json["predictions"].as_array_mut().into_iter().flatten() {
                    scaled(one, scale);
                }
                Some(Self {
                    text: json.to_string(),
                    extension: "json",
                })
            }
            Value::Dict(entries) => {
                if let Some(names) = entries.get("predicted_classes").and_then(Value::as_slice) {
                    let names: Vec<String> = names.iter().map(python::to_str).collect();
                    Some(classes(names.join(",")))
                } else {
                    entries.get("top").map(|top| classes(python::to_str(top)))
                }
            }
            _ => None,
        })
    }
}

/// Where the prediction was made: the first box's, or that of a classification.
pub(super) fn inference_id(prediction: &Value) -> Option<String> {
    let id = match prediction {
        Value::Detections(set) => set.cell(column::INFERENCE_ID, 0),
        Value::Dict(entries) => entries.get("inference_id"),
        _ => None,
    };
    id.and_then(Value::as_str).map(str::to_owned)
}

/// Scales one box, its outline and its key points to whole pixels.
fn scaled(one: &mut Json, [by_x, by_y]: [f64; 2]) {
    if by_x == 1.0 && by_y == 1.0 {
        return;
    }
    for ([center, length], by) in [(HORIZONTAL, by_x), (VERTICAL, by_y)] {
        if let (Some(at), Some(long)) = (one[center].as_f64(), one[length].as_f64()) {
            let low = python::round_half_even((at - long / 2.0) * by);
            let high = python::round_half_even((at + long / 2.0) * by);
            one[center] = json!((low + high) / 2.0);
            one[length] = json!(high - low);
        }
    }
    for list in ["points", "keypoints"] {
        let Some(points) = one.get_mut(list).and_then(Json::as_array_mut) else {
            continue;
        };
        for point in points {
            for (axis, by) in [("x", by_x), ("y", by_y)] {
                if let Some(at) = point[axis].as_f64() {
                    point[axis] = json!(python::round_half_even(at * by));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_scale_to_whole_pixels() {
        let mut one = json!({"x": 15.0, "y": 20.0, "width": 10.0, "height": 20.0,
            "points": [{"x": 10.0, "y": 9.0}], "class": "a"});
        scaled(&mut one, [0.5, 0.25]);
        assert_eq!(
            one,
            json!({"x": 7.5, "y": 5.0, "width": 5.0, "height": 6.0,
                "points": [{"x": 5.0, "y": 2.0}], "class": "a"})
        );
    }
}
