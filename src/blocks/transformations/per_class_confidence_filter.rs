//! Keeps the boxes that are sure enough for their class.
//!
//! # Inputs and outputs
//! `predictions`, `class_thresholds` by class name and `default_threshold` for the others →
//! `predictions`, the rows whose confidence is at least their threshold.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Boxes without confidences are all kept. Boxes without class names count as of class `None`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::definition::coerce::parse_float;
use crate::row;
use crate::values::detections::column;
use crate::values::{Detections, Dict, Value, kind, python};

/// `roboflow_core/per_class_confidence_filter@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/per_class_confidence_filter@v1"],
    name: "Per-Class Confidence Filter",
    family: Family::Transformation,
    stateless: true,
    about: "Keeps the boxes that are sure enough for their class.",
    fields: &[
        Field::required("predictions", &[Ty::Selector(kind::DETECTIONS)]).about("The boxes."),
        Field::required(
            "class_thresholds",
            &[Ty::Map(&[Ty::Float]), Ty::Selector(&[kind::DICTIONARY])],
        )
        .about("Least confidence by class name."),
        Field::optional(
            "default_threshold",
            &[Ty::Float, Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE])],
            "0.3",
        )
        .about("Least confidence of the other classes."),
    ],
    outputs: &[output("predictions", kind::DETECTIONS)],
    batch: &["predictions"],
    build: |_, _| Ok(Box::new(PerClassConfidenceFilter)),
    ..BlockSpec::DEFAULT
};

struct PerClassConfidenceFilter;

impl Block for PerClassConfidenceFilter {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let thresholds = inputs.value("class_thresholds");
        let thresholds = thresholds.as_dict().ok_or_else(|| {
            let got = thresholds.type_name();
            BlockError::failed(format!("`class_thresholds` must be an object, got {got}"))
        })?;
        let default = number(inputs.value("default_threshold"), "`default_threshold`")?;
        let sets = inputs.detection_sets("predictions")?;
        let rows = sets
            .into_iter()
            .map(|set| Ok(row![filtered(set, thresholds, default)?]));
        rows.collect::<Result<_, _>>().map(Output::Many)
    }
}

/// A threshold as a number or as the text of one.
fn number(value: &Value, name: &str) -> Result<f64, BlockError> {
    let number = match value {
        Value::Str(text) => parse_float(text),
        other => other.as_f64(),
    };
    number.ok_or_else(|| {
        let got = python::repr(value);
        BlockError::failed(format!("{name} must be a number, got {got}"))
    })
}

fn filtered(set: &Detections, thresholds: &Dict, default: f64) -> Result<Detections, BlockError> {
    let Some(confidence) = set.confidence.as_ref().filter(|all| !all.is_empty()) else {
        return Ok(set.clone());
    };
    let threshold = |(class, value): (&Arc<str>, &Value)| {
        let value = number(value, &format!("threshold of class `{class}`"))?;
        Ok((class.clone(), value))
    };
    let thresholds = thresholds.iter().map(threshold);
    let thresholds: HashMap<Arc<str>, f64> = thresholds.collect::<Result<_, BlockError>>()?;
    let mut keep = Vec::with_capacity(set.len());
    for (row, confidence) in confidence.iter().enumerate() {
        let name = set.cell(column::CLASS_NAME, row).unwrap_or(&Value::None);
        let threshold = thresholds.get(python::to_str(name).as_str());
        keep.push(confidence >= threshold.unwrap_or(&default));
    }
    Ok(set.filter(|row| keep[row]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{boxes, ids};
    use serde_json::json;

    fn kept(set: Detections, thresholds: serde_json::Value) -> Result<String, BlockError> {
        let thresholds = Value::from_json(&thresholds);
        let thresholds = thresholds.as_dict().unwrap();
        filtered(&set, thresholds, 0.6).map(|set| ids(&set.into()))
    }

    #[test]
    fn each_class_has_its_threshold() {
        // Confidences 0.9 (person), 0.5 (car), 0.9 (face).
        assert_eq!(kept(boxes(), json!({})).unwrap(), "d0 d2");
        assert_eq!(
            kept(boxes(), json!({"car": 0.5, "face": 0.95})).unwrap(),
            "d0 d1"
        );
        assert_eq!(
            kept(boxes(), json!({"car": " 5e-1", "face": true})).unwrap(),
            "d0 d1"
        );
        // Also those of classes that are not there must be numbers.
        assert!(kept(boxes(), json!({"cow": "low"})).is_err());
    }

    #[test]
    fn columns_may_be_missing() {
        let mut nameless = boxes();
        nameless.data.shift_remove(column::CLASS_NAME);
        assert_eq!(kept(nameless, json!({"None": 0.5})).unwrap(), "d0 d1 d2");
        let unsure = Detections {
            confidence: None,
            ..boxes()
        };
        assert_eq!(kept(unsure, json!({"person": 1})).unwrap(), "d0 d1 d2");
    }
}
