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
use crate::values::sequence::Key;
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
            (Some(class), Some(confidence)) => one(class, answer::confidence(confidence)?, classes),
            _ => {
                let entries = found.get("predicted_classes")?.as_slice()?;
                let entry = |entry: &Value| {
                    let entry = entry.as_dict()?;
                    let confidence = answer::confidence(entry.get("confidence")?)?;
                    Some((entry.get("class")?.clone(), confidence))
                };
                several(entries.iter().map(entry).collect::<Option<_>>()?, classes)
            }
        },
        _ => None,
    }
}

/// Ids of the classes, each class once; of several places the last is the id. `None` if one is a list
/// or an object.
fn ids(classes: &[Value]) -> Option<IndexMap<Key, (Value, i64)>> {
    let mut ids = IndexMap::new();
    for (id, class) in (0..).zip(classes) {
        let known = ids.entry(Key::of(class)?);
        known.or_insert_with(|| (class.clone(), id)).1 = id;
    }
    Some(ids)
}

/// One class: all classes in order with their confidences, an unknown one first. `None` if it is a list
/// or an object.
fn one(top: &Value, confidence: f64, classes: &[Value]) -> Option<Dict> {
    let prediction = |class: &Value, id: i64, confidence: f64| {
        Value::dict(Dict::from_iter([
            ("class".into(), class.clone()),
            ("class_id".into(), Value::Int(id)),
            ("confidence".into(), Value::Float(confidence)),
        ]))
    };
    let (own, ids) = (Key::of(top)?, ids(classes)?);
    let mut predictions = Vec::with_capacity(ids.len() + 1);
    if !ids.contains_key(&own) {
        predictions.push(prediction(top, -1, confidence));
    }
    for (key, (class, id)) in &ids {
        let its = if *key == own { confidence } else { 0.0 };
        predictions.push(prediction(class, *id, its));
    }
    Some(Dict::from_iter([
        ("predictions".into(), Value::list(predictions)),
        ("top".into(), top.clone()),
        ("confidence".into(), Value::Float(confidence)),
    ]))
}

/// Several classes, each with its greatest confidence; unknown ones behind the others. `None` if one is
/// a list or an object.
fn several(found: Vec<(Value, f64)>, classes: &[Value]) -> Option<Dict> {
    let mut ids = ids(classes)?;
    let mut best: IndexMap<Key, (Value, f64)> = IndexMap::new();
    for (class, confidence) in found {
        let key = Key::of(&class)?;
        ids.entry(key.clone())
            .or_insert_with(|| (class.clone(), -1));
        let (_, most) = best.entry(key).or_insert((class, confidence));
        *most = most.max(confidence);
    }
    let prediction = |(confidence, id)| {
        Value::dict(Dict::from_iter([
            ("confidence".into(), Value::Float(confidence)),
            ("class_id".into(), Value::Int(id)),
        ]))
    };
    let predictions = ids.into_iter().map(|(key, (name, id))| {
        let confidence = best.get(&key).map_or(0.0, |(_, most)| *most);
        (python::to_str(&name).into(), prediction((confidence, id)))
    });
    let predictions = predictions.collect();
    let names = best.into_values().map(|(name, _)| name).collect();
    Some(Dict::from_iter([
        ("predictions".into(), Value::dict(predictions)),
        ("predicted_classes".into(), Value::list(names)),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> String {
        found_among(&["cat", "dog"], text)
    }

    fn found_among(classes: &[&str], text: &str) -> String {
        let classes: Vec<Value> = classes.iter().map(|class| (*class).into()).collect();
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
    fn equal_classes_are_one() {
        // Answers of the reference.
        assert_eq!(
            found_among(
                &["cat", "dog", "cat"],
                r#"{"class_name": "cat", "confidence": 0.4}"#
            ),
            "{'predictions': [{'class': 'cat', 'class_id': 2, 'confidence': 0.4}, \
             {'class': 'dog', 'class_id': 1, 'confidence': 0.0}], 'top': 'cat', 'confidence': 0.4}"
        );
        let said = r#"{"predicted_classes": [{"class": 1, "confidence": 0.5},
            {"class": 1.0, "confidence": 0.6}]}"#;
        assert_eq!(
            found_among(&["cat", "cat"], said),
            "{'predictions': {'cat': {'confidence': 0.0, 'class_id': 1}, \
             '1': {'confidence': 0.6, 'class_id': -1}}, 'predicted_classes': [1]}"
        );
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
