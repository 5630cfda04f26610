//! Makes a classification of what a language model said.
//!
//! # Inputs and outputs
//! `vlm_output`, text with JSON about `image`, and `classes` → `predictions`: one class with its
//! confidence (`class_name`, `confidence`), or several (`predicted_classes`, or a list of them);
//! `inference_id`, new each time; `error_status`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Classes that are not among `classes` have the id -1. What cannot be understood sets
//! `error_status` and leaves `predictions` empty; it never fails the step.

use std::sync::Arc;

use indexmap::IndexMap;

use super::answer;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, OutputSpec, Ty, output,
};
use crate::row;
use crate::values::detections::new_id;
use crate::values::{Dict, Image, Kind, Value, kind, python};

/// `roboflow_core/vlm_as_classifier@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/vlm_as_classifier@v1"],
    outputs: &outputs(&[kind::STRING]),
    ..V2
};

/// `roboflow_core/vlm_as_classifier@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/vlm_as_classifier@v2"],
    name: "VLM As Classifier",
    family: Family::Formatter,
    stateless: true,
    about: "Makes a classification of what a language model said.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])]).about("What was classified."),
        Field::required(
            "vlm_output",
            &[Ty::Selector(&[kind::LANGUAGE_MODEL_OUTPUT])],
        )
        .about("What the model said."),
        Field::required(
            "classes",
            &[Ty::Selector(&[kind::LIST_OF_VALUES]), Ty::List(&[Ty::Str])],
        )
        .about("The classes in the order of their ids."),
    ],
    outputs: &outputs(&[kind::INFERENCE_ID]),
    build: |_, _| Ok(Box::new(VlmAsClassifier)),
    ..BlockSpec::DEFAULT
};

const fn outputs(inference_id: &'static [Kind]) -> [OutputSpec; 3] {
    [
        output("error_status", &[kind::BOOLEAN]),
        output("predictions", &[kind::CLASSIFICATION]),
        output("inference_id", inference_id),
    ]
}

struct VlmAsClassifier;

impl Block for VlmAsClassifier {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let classes = inputs.list("classes")?;
        let id = new_id();
        let said = inputs.value("vlm_output").as_str();
        let found = said
            .and_then(answer::read)
            .and_then(|answer| classified(&answer, classes));
        let failed = found.is_none();
        let predictions = found.map(|result| with_image(result, image, &id));
        Ok(Output::One(row![failed, predictions.map(Value::dict), id]))
    }
}

/// Adds where the result comes from, around what was found.
fn with_image(found: Dict, image: &Image, id: &Arc<str>) -> Dict {
    let size = Dict::from_iter([
        ("width".into(), image.width().into()),
        ("height".into(), image.height().into()),
    ]);
    let mut result = Dict::from_iter([("image".into(), Value::dict(size))]);
    result.extend(found);
    result.insert("inference_id".into(), id.clone().into());
    result.insert("parent_id".into(), image.parent().id.clone().into());
    result
}

fn classified(answer: &Value, classes: &[Value]) -> Option<Dict> {
    let keys = ["class", "class_name", "label"];
    match answer {
        Value::List(entries) if !entries.is_empty() => {
            let entry = |entry: &Value| {
                let entry = entry.as_dict()?;
                let class = keys
                    .iter()
                    .find_map(|k| entry.get(*k).filter(|v| !v.is_none()))?;
                let sure = Value::Float(1.0);
                let confidence = entry.get("confidence").unwrap_or(&sure);
                Some((
                    python::to_str(class).into(),
                    answer::confidence(confidence)?,
                ))
            };
            several(entries.iter().map(entry).collect::<Option<_>>()?, classes)
        }
        Value::Dict(found) => match (found.get("class_name"), found.get("confidence")) {
            (Some(class), Some(confidence)) => {
                Some(one(name(class)?, answer::confidence(confidence)?, classes))
            }
            _ => {
                let entries = found.get("predicted_classes")?.as_slice()?;
                let entry = |entry: &Value| {
                    let entry = entry.as_dict()?;
                    let confidence = answer::confidence(entry.get("confidence")?)?;
                    Some((name(entry.get("class")?)?.clone(), confidence))
                };
                several(entries.iter().map(entry).collect::<Option<_>>()?, classes)
            }
        },
        _ => None,
    }
}

/// A class as an answer names it: text, or a number or `null` as it stands, but no list or object.
fn name(class: &Value) -> Option<&Value> {
    (!matches!(class, Value::List(_) | Value::Dict(_))).then_some(class)
}

/// One class: all classes in order with their confidences, an unknown one first.
fn one(top: &Value, confidence: f64, classes: &[Value]) -> Dict {
    let prediction = |class: &Value, id: i64, confidence: f64| {
        Value::dict(Dict::from_iter([
            ("class".into(), class.clone()),
            ("class_id".into(), Value::Int(id)),
            ("confidence".into(), Value::Float(confidence)),
        ]))
    };
    let known = classes.iter().any(|class| python::equal(class, top));
    let mut predictions = Vec::with_capacity(classes.len() + 1);
    if !known {
        predictions.push(prediction(top, -1, confidence));
    }
    for (id, class) in (0..).zip(classes) {
        let its = if python::equal(class, top) {
            confidence
        } else {
            0.0
        };
        predictions.push(prediction(class, id, its));
    }
    Dict::from_iter([
        ("predictions".into(), Value::list(predictions)),
        ("top".into(), top.clone()),
        ("confidence".into(), Value::Float(confidence)),
    ])
}

/// Several classes, each with its greatest confidence; unknown ones behind the others.
fn several(found: Vec<(Value, f64)>, classes: &[Value]) -> Option<Dict> {
    let mut names: Vec<Value> = Vec::new();
    let mut scores: IndexMap<Arc<str>, (f64, i64)> = (0..)
        .zip(classes)
        .map(|(id, class)| (python::to_str(class).into(), (0.0, id)))
        .collect();
    for (class, confidence) in found {
        let (best, _) = scores
            .entry(python::to_str(&class).into())
            .or_insert((0.0, -1));
        *best = best.max(confidence);
        if !names.iter().any(|name| python::equal(name, &class)) {
            names.push(class);
        }
    }
    let prediction = |(confidence, id)| {
        Value::dict(Dict::from_iter([
            ("confidence".into(), Value::Float(confidence)),
            ("class_id".into(), Value::Int(id)),
        ]))
    };
    let predictions = scores
        .into_iter()
        .map(|(name, score)| (name, prediction(score)));
    Some(Dict::from_iter([
        ("predictions".into(), Value::dict(predictions.collect())),
        ("predicted_classes".into(), Value::list(names)),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> String {
        let classes = ["cat".into(), "dog".into()];
        let found = answer::read(text).and_then(|answer| classified(&answer, &classes));
        found.map_or("-".into(), |found| python::repr(&Value::dict(found)))
    }

    #[test]
    fn one_class() {
        // Recorded case vlm_as_classifier_v2_texts.
        assert_eq!(
            found(r#"{"class_name": "yak", "confidence": "0.5"}"#),
            "{'predictions': [{'class': 'yak', 'class_id': -1, 'confidence': 0.5}, \
             {'class': 'cat', 'class_id': 0, 'confidence': 0.0}, \
             {'class': 'dog', 'class_id': 1, 'confidence': 0.0}], 'top': 'yak', 'confidence': 0.5}"
        );
        assert!(
            found(r#"{"class_name": "dog", "confidence": 1.7}"#).ends_with("'confidence': 1.0}")
        );
    }

    #[test]
    fn several_classes() {
        let said = r#"{"predicted_classes": [{"class": "cat", "confidence": 0.4},
            {"class": "yak", "confidence": 0.9}, {"class": "cat", "confidence": 0.6}]}"#;
        assert_eq!(
            found(said),
            "{'predictions': {'cat': {'confidence': 0.6, 'class_id': 0}, \
             'dog': {'confidence': 0.0, 'class_id': 1}, 'yak': {'confidence': 0.9, 'class_id': -1}}, \
             'predicted_classes': ['cat', 'yak']}"
        );
        assert!(
            found(r#"[{"class": "dog", "confidence": 0.3}, {"label": "cat"}]"#)
                .ends_with("'predicted_classes': ['dog', 'cat']}")
        );
        assert!(found(r#"[{"class": 7}]"#).ends_with("'predicted_classes': ['7']}"));
    }

    #[test]
    fn what_cannot_be_understood() {
        for text in [
            "[]",
            "nothing",
            r#"{"class_name": "cat"}"#,
            r#"{"class_name": "cat", "confidence": "high"}"#,
            r#"{"predicted_classes": [{"class": "cat"}]}"#,
            r#"{"class_name": ["cat"], "confidence": 1}"#,
            r#"{"predicted_classes": [{"class": {"a": 1}, "confidence": 1}]}"#,
            "5",
        ] {
            assert_eq!(found(text), "-", "{text}");
        }
    }
}
