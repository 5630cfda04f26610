//! The operation on results of classifiers, multi-class and multi-label.

use std::cmp::Ordering;

use super::node::{Node, Read};
use super::{QueryError, Scope};
use crate::values::{Dict, Value, python};

/// `ClassificationPropertyExtract` with its property.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClassificationOperation {
    TopClass,
    TopConfidence,
    SingleTopConfidence,
    AllClasses,
    AllConfidences,
}

impl ClassificationOperation {
    pub(super) fn read(name: &str, node: &Node<'_>) -> Option<Read<Self>> {
        (name == "ClassificationPropertyExtract").then(|| {
            node.need("property_name")?.one_of(&[
                ("top_class", Self::TopClass),
                ("top_class_confidence", Self::TopConfidence),
                ("top_class_confidence_single", Self::SingleTopConfidence),
                ("all_classes", Self::AllClasses),
                ("all_confidences", Self::AllConfidences),
            ])
        })
    }

    pub(super) fn apply(&self, value: Value, scope: &Scope<'_>) -> Result<Value, QueryError> {
        let Value::Dict(result) = &value else {
            return Err(scope.takes_unplaced("the result of a classifier", &value));
        };
        match self {
            Self::TopClass => match result.get("top") {
                Some(top) => Ok(top.clone()),
                None => Ok(match result.get("predicted_classes") {
                    Some(classes) => classes.clone(),
                    None => Value::list(vec![]),
                }),
            },
            Self::TopConfidence => match result.get("confidence") {
                Some(confidence) => Ok(confidence.clone()),
                None => Ok(Value::list(predicted_confidences(result, scope)?)),
            },
            Self::SingleTopConfidence => match result.get("confidence") {
                Some(confidence) => Ok(confidence.clone()),
                None => Ok(greatest(predicted_confidences(result, scope)?)),
            },
            Self::AllClasses => all(result, "class", scope),
            Self::AllConfidences => all(result, "confidence", scope),
        }
    }
}

fn greatest(confidences: Vec<Value>) -> Value {
    confidences
        .into_iter()
        .reduce(|best, new| match python::compare(&new, &best) {
            Some(Some(Ordering::Greater)) => new,
            _ => best,
        })
        .unwrap_or(Value::Float(0.0))
}

fn part<'a>(dict: &'a Dict, name: &str, scope: &Scope<'_>) -> Result<&'a Value, QueryError> {
    dict.get(name)
        .ok_or_else(|| scope.broke(format!("the classification lacks `{name}`")))
}

fn entry<'a>(value: &'a Value, scope: &Scope<'_>) -> Result<&'a Dict, QueryError> {
    value
        .as_dict()
        .ok_or_else(|| scope.broke("a prediction of the classification is not an object"))
}

fn predicted_confidences(result: &Dict, scope: &Scope<'_>) -> Result<Vec<Value>, QueryError> {
    let Some(predicted) = result.get("predicted_classes").and_then(Value::as_slice) else {
        return Ok(Vec::new());
    };
    let predictions = entry(part(result, "predictions", scope)?, scope)?;
    predicted
        .iter()
        .map(|class| {
            let name = class.as_str().unwrap_or_default();
            let prediction = entry(part(predictions, name, scope)?, scope)?;
            part(prediction, "confidence", scope).cloned()
        })
        .collect()
}

/// `class` or `confidence` of all predictions: in list order, or by class id for multi-label.
fn all(result: &Dict, name: &str, scope: &Scope<'_>) -> Result<Value, QueryError> {
    let predictions = part(result, "predictions", scope)?;
    if let Some(list) = predictions.as_slice() {
        let values = list
            .iter()
            .map(|item| part(entry(item, scope)?, name, scope).cloned());
        return values.collect::<Result<_, _>>().map(Value::list);
    }
    let mut rows = Vec::new();
    for (class, item) in entry(predictions, scope)? {
        let item = entry(item, scope)?;
        let id = part(item, "class_id", scope)?.as_f64().unwrap_or(f64::NAN);
        let value = match name {
            "class" => Value::Str(class.clone()),
            _ => part(item, name, scope)?.clone(),
        };
        rows.push((id, value));
    }
    rows.sort_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    Ok(Value::list(rows.into_iter().map(|(_, v)| v).collect()))
}

#[cfg(test)]
mod tests {
    use crate::blocks::query::trial::text;
    use serde_json::json;

    #[test]
    fn both_shapes_of_results_are_read() {
        let multi_class = json!({"top": "b", "confidence": 0.75, "predictions": [
            {"class": "b", "class_id": 1, "confidence": 0.75},
            {"class": "a", "class_id": 0, "confidence": 0.25}]});
        let multi_label = json!({"predicted_classes": ["z", "y"], "predictions": {
            "z": {"confidence": 0.8, "class_id": 2}, "x": {"confidence": 0.1, "class_id": 0},
            "y": {"confidence": 0.6, "class_id": 1}}});
        let nothing = json!({"predicted_classes": [], "predictions": {
            "x": {"confidence": 0.1, "class_id": 0}}});
        for (property, class, label, none) in [
            ("top_class", "'b'", "['z', 'y']", "[]"),
            ("top_class_confidence", "0.75", "[0.8, 0.6]", "[]"),
            ("top_class_confidence_single", "0.75", "0.8", "0.0"),
            ("all_classes", "['b', 'a']", "['x', 'y', 'z']", "['x']"),
            (
                "all_confidences",
                "[0.75, 0.25]",
                "[0.1, 0.6, 0.8]",
                "[0.1]",
            ),
        ] {
            let chain =
                json!([{"type": "ClassificationPropertyExtract", "property_name": property}]);
            assert_eq!(text(chain.clone(), multi_class.clone()), class);
            assert_eq!(text(chain.clone(), multi_label.clone()), label);
            assert_eq!(text(chain.clone(), nothing.clone()), none);
            assert_eq!(text(chain, json!([1])), "!InvalidInputTypeError");
        }
    }
}
