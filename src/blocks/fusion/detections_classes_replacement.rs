//! Gives boxes the classes that another model found in their crops.
//!
//! # Inputs and outputs
//! `object_detection_predictions` and, one level deeper, `classification_predictions`: results of a
//! classifier, matched by the crop's id, or texts, matched by place → `predictions`, the boxes with a
//! class found for them, with new ids. Boxes without one take `fallback_class_name`, or go.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The first prediction that is not empty says whether they are texts (or lists of texts: the first
//! counts) or results. A text has id 0 and confidence 1, the fallback confidence 0 and, unless
//! `fallback_class_id` is a good id, the largest id there is. No classes at all give no boxes.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::detections::{column, new_id};
use crate::values::{Detections, Dict, Value, kind, python};

/// `roboflow_core/detections_classes_replacement@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/detections_classes_replacement@v1",
        "DetectionsClassesReplacement",
    ],
    name: "Detections Classes Replacement",
    family: Family::Fusion,
    stateless: true,
    about: "Gives boxes the classes that another model found in their crops.",
    fields: &[
        Field::required(
            "object_detection_predictions",
            &[Ty::Selector(kind::DETECTIONS)],
        )
        .about("The boxes."),
        Field::required(
            "classification_predictions",
            &[Ty::Selector(&[
                kind::CLASSIFICATION,
                kind::LIST_OF_VALUES,
                kind::STRING,
            ])],
        )
        .about("What was found in the crop of each box."),
        Field::optional(
            "fallback_class_name",
            &[Ty::Str, Ty::Selector(&[kind::STRING]), Ty::Null],
            "null",
        )
        .about("Class of boxes for which nothing was found."),
        Field::optional(
            "fallback_class_id",
            &[Ty::Int, Ty::Selector(&[kind::INTEGER]), Ty::Null],
            "null",
        )
        .about("Its id."),
    ],
    outputs: &[output("predictions", kind::DETECTIONS)],
    offsets: &[
        ("object_detection_predictions", 0),
        ("classification_predictions", 1),
    ],
    reference: Some("object_detection_predictions"),
    accepts_empty: true,
    build: |_, _| Ok(Box::new(DetectionsClassesReplacement)),
    ..BlockSpec::DEFAULT
};

struct DetectionsClassesReplacement;

/// A class with its id and confidence.
#[derive(Clone)]
struct Class {
    name: Value,
    id: i64,
    confidence: f64,
}

impl Block for DetectionsClassesReplacement {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        if inputs.value("object_detection_predictions").is_none() {
            return Ok(Output::One(row![Value::None]));
        }
        let boxes = inputs.detections("object_detection_predictions")?;
        let found = inputs.value("classification_predictions");
        let found = found.as_slice().unwrap_or_default();
        let fallback = fallback(inputs);
        let replaced = match found.iter().find(|value| !value.is_none()) {
            None => Detections::empty(),
            Some(Value::Dict(_)) => by_id(boxes, found, fallback.as_ref())?,
            Some(_) => by_place(boxes, found, fallback.as_ref()),
        };
        Ok(Output::One(row![replaced]))
    }
}

fn fallback(inputs: &Inputs<'_>) -> Option<Class> {
    // An empty name is none, as in the reference.
    let name = inputs.value("fallback_class_name").clone();
    let id = inputs.value("fallback_class_id").as_i64();
    python::truthy(&name).then(|| Class {
        name,
        id: id.filter(|id| *id >= 0).unwrap_or(i64::MAX),
        confidence: 0.0,
    })
}

fn by_place(boxes: &Detections, found: &[Value], fallback: Option<&Class>) -> Detections {
    let text = |value: &Value| {
        matches!(value, Value::Str(_)).then(|| Class {
            name: value.clone(),
            id: 0,
            confidence: 1.0,
        })
    };
    let class = |row: usize| match found.get(row).unwrap_or(&Value::None) {
        Value::None => fallback.cloned(),
        Value::List(items) | Value::Tuple(items) => match items.first() {
            None => fallback.cloned(),
            Some(first) => text(first),
        },
        other => text(other),
    };
    let replaced = replaced(boxes, (0..boxes.len()).map(class).collect());
    match replaced.is_empty() {
        true => Detections::empty(),
        false => replaced,
    }
}

fn by_id(
    boxes: &Detections,
    found: &[Value],
    fallback: Option<&Class>,
) -> Result<Detections, BlockError> {
    let nothing = |result: &Value| {
        result.as_dict().is_none_or(|result| {
            result.get("top").is_some_and(|top| !python::truthy(top))
                || !result.contains_key("predictions")
        })
    };
    if found.iter().all(nothing) {
        return Ok(Detections::empty());
    }
    let mut classes: IndexMap<String, Option<Class>> = IndexMap::new();
    for result in found.iter().filter_map(Value::as_dict) {
        let parent = python::to_str(result.get(column::PARENT_ID).unwrap_or(&Value::None));
        classes.insert(parent, leading(result, fallback)?);
    }
    let class = |row: usize| {
        let id = boxes.cell(column::DETECTION_ID, row).map(python::to_str);
        id.and_then(|id| classes.get(&id).cloned().flatten())
    };
    Ok(replaced(boxes, (0..boxes.len()).map(class).collect()))
}

/// The class that a result puts first.
fn leading(result: &Dict, fallback: Option<&Class>) -> Result<Option<Class>, BlockError> {
    let entries = result.get("predictions").unwrap_or(&Value::None);
    match result.get("top") {
        Some(_) if !python::truthy(entries) => Ok(fallback.cloned()),
        Some(top) => entry_of(entries, top).map(Some),
        None => {
            let some = result.get("predicted_classes").is_some_and(python::truthy);
            Ok(entries.as_dict().filter(|_| some).and_then(surest))
        }
    }
}

fn entry_of(entries: &Value, top: &Value) -> Result<Class, BlockError> {
    let of_class = |entry: &&Dict| entry.get("class").is_some_and(|c| python::equal(c, top));
    let entries = entries.as_slice().unwrap_or_default();
    let mut matching = entries.iter().filter_map(Value::as_dict).filter(of_class);
    let class = match (matching.next(), matching.next()) {
        (Some(entry), None) => Class::of(top.clone(), entry),
        _ => None,
    };
    class.ok_or_else(|| {
        BlockError::failed(format!(
            "the result's top class `{}` must have exactly one entry with an id and a confidence",
            python::to_str(top)
        ))
    })
}

/// The class of greatest confidence, the first of several; `None` if all are 0.
fn surest(entries: &Dict) -> Option<Class> {
    let mut best: Option<Class> = None;
    for (name, entry) in entries {
        let class = entry
            .as_dict()
            .and_then(|e| Class::of(name.clone().into(), e));
        let least = best.as_ref().map_or(0.0, |best| best.confidence);
        best = class.filter(|class| class.confidence > least).or(best);
    }
    best
}

impl Class {
    fn of(name: Value, entry: &Dict) -> Option<Self> {
        Some(Self {
            name,
            id: entry.get("class_id")?.as_i64()?,
            confidence: entry.get("confidence")?.as_f64()?,
        })
    }
}

/// The rows that have a class, with that class and new ids.
fn replaced(boxes: &Detections, classes: Vec<Option<Class>>) -> Detections {
    let mut out = boxes.filter(|row| classes[row].is_some());
    let classes: Vec<Class> = classes.into_iter().flatten().collect();
    out.class_id = Some(Arc::new(classes.iter().map(|c| c.id).collect()));
    out.confidence = Some(Arc::new(classes.iter().map(|c| c.confidence).collect()));
    let ids = classes.iter().map(|_| Value::Str(new_id())).collect();
    let names = classes.into_iter().map(|c| c.name).collect();
    out.set_column(column::CLASS_NAME, names);
    out.set_column(column::DETECTION_ID, ids);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::Bench;
    use crate::blocks::query::trial::boxes;
    use serde_json::{Value as Json, json};

    /// Class, id and confidence of each box left, of the boxes d0, d1 and d2.
    fn run(found: Json, fallback: Option<&str>) -> Result<Vec<String>, BlockError> {
        let given = [
            ("object_detection_predictions", boxes().into()),
            ("classification_predictions", Value::from_json(&found)),
            ("fallback_class_name", fallback.into()),
        ];
        let row = Bench::new(&BLOCK, &[]).run(&given)?;
        let set = row[0].as_detections().unwrap();
        let (ids, confidence) = (
            set.class_id.clone().unwrap(),
            set.confidence.clone().unwrap(),
        );
        let text = |r: usize| {
            format!(
                "{} {} {}",
                set.class_name(r).unwrap(),
                ids[r],
                confidence[r]
            )
        };
        Ok((0..set.len()).map(text).collect())
    }

    #[test]
    fn texts_are_matched_by_place() {
        assert_eq!(
            run(json!(["one", null, ""]), None).unwrap(),
            ["one 0 1", " 0 1"]
        );
        assert_eq!(run(json!(["one"]), Some("")).unwrap(), ["one 0 1"]);
        let blank = format!("blank {} 0", i64::MAX);
        assert_eq!(
            run(json!(["one"]), Some("blank")).unwrap(),
            ["one 0 1", &blank, &blank]
        );
        assert_eq!(
            run(json!([["p", "q"], [], [7]]), Some("blank")).unwrap(),
            ["p 0 1", &blank]
        );
    }

    #[test]
    fn results_are_matched_by_the_crop() {
        let one = json!({"parent_id": "d2", "top": "cola", "predictions": [
            {"class": "cola", "class_id": 5, "confidence": 0.8}, {"class": "tea", "class_id": 6, "confidence": 0.1}]});
        let several = json!({"parent_id": "d0", "predicted_classes": ["a", "b"], "predictions": {
            "a": {"class_id": 1, "confidence": 0.2}, "b": {"class_id": 2, "confidence": 0.7}}});
        let nothing = json!({"parent_id": "d1", "top": "x", "predictions": []});
        let found = json!([one, null, several, nothing]);
        assert_eq!(run(found.clone(), None).unwrap(), ["b 2 0.7", "cola 5 0.8"]);
        assert_eq!(run(found, Some("blank")).unwrap().len(), 3);
    }

    #[test]
    fn nothing_found_leaves_nothing() {
        for found in [
            json!([]),
            json!(null),
            json!([{"top": "", "predictions": []}]),
        ] {
            assert!(run(found, Some("blank")).unwrap().is_empty());
        }
        let torn = json!([{"parent_id": "d0", "top": "x", "predictions": [{"class": "y"}]}]);
        assert!(run(torn, None).is_err());
    }
}
