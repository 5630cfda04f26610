//! Whether models can run: the library that runs them, and the packages that definitions need.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::published::Known;
use super::storage::size;
use super::{Finding, Subject};
use crate::models::runtime;
use crate::models::{ModelError, ModelStore, RuntimeSettings};

/// Models that are named where many are there; those that definitions need come first.
const SHOWN: usize = 5;

/// Whether ONNX Runtime is there, and what it can compute with.
pub fn runtime(subject: &Subject) -> Finding {
    const CHECK: &str = "ONNX Runtime";
    match runtime::describe(subject.runtime.as_deref()) {
        Ok(info) => {
            // The name of the file behind the link has the version in it.
            let file = info.library.canonicalize().unwrap_or(info.library);
            let evidence = format!(
                "{}; it computes with {}, millrace uses CPU",
                file.display(),
                info.providers.join(", ")
            );
            Finding::sound(CHECK, evidence)
        }
        Err(error) => Finding::wrong(CHECK, error.to_string(), "scripts/setup.sh"),
    }
}

/// Whether the packages of models are whole, and which of those that definitions need are missing.
pub fn packages(subject: &Subject, known: &[Known]) -> Vec<Finding> {
    const CHECK: &str = "models";
    let needed = needed(known);
    let Some(folder) = &subject.models else {
        if needed.is_empty() {
            return vec![Finding::skipped(CHECK, "no folder of models was named")];
        }
        let ids: Vec<&str> = needed.keys().map(String::as_str).collect();
        return vec![Finding::wrong(
            CHECK,
            format!(
                "definitions need {}, and no folder of models was named",
                ids.join(", ")
            ),
            "export MILLRACE_MODELS=DIR   (the folder of model packages)",
        )];
    };
    let shown = folder.display();
    let store = match ModelStore::open(folder, RuntimeSettings::default(), subject.clock.clone()) {
        Ok(store) => store,
        Err(error) => {
            return vec![Finding::wrong(
                CHECK,
                error.to_string(),
                format!("ls -l {shown}   (MILLRACE_MODELS must name the folder of model packages)"),
            )];
        }
    };
    let mut findings = Vec::new();
    let mut there = Vec::new();
    let mut models = store.list();
    models.sort_by_key(|model| !needed.contains_key(&model.id));
    for model in models {
        match &model.problem {
            Some(problem) => findings.push(broken(&model.id, problem)),
            None => there.push(format!(
                "{} ({}, {})",
                model.id,
                size(model.size.unwrap_or(0)),
                model
                    .sha256
                    .map_or(String::new(), |h| h.chars().take(12).collect())
            )),
        }
    }
    for (id, users) in &needed {
        // Of a package that is there the loop above has told what is wrong with it.
        if let Err(ModelError::Unknown { .. }) = store.info(id) {
            findings.push(Finding::wrong(
                CHECK,
                format!(
                    "{} needs model {id}, whose package is not in {shown}",
                    users.join(", ")
                ),
                format!(
                    "put the package of {id} into {shown} and its id into {shown}/registry.json"
                ),
            ));
        }
    }
    if findings.is_empty() {
        let all = there.len();
        if all > SHOWN {
            there.truncate(SHOWN);
            there.push("…".into());
        }
        let evidence = format!("{all} in {shown}: {}", there.join(", "));
        findings.push(Finding::sound(CHECK, evidence));
    }
    findings
}

fn broken(id: &str, problem: &ModelError) -> Finding {
    let mend = "put the whole package there again: weights.onnx, inference_config.json, model_config.json, class_names.txt";
    Finding::wrong("models", format!("model {id}: {problem}"), mend)
}

/// The models that definitions name, each with who names it. Models that parameters name are not
/// known before a run.
fn needed(known: &[Known]) -> BTreeMap<String, Vec<&str>> {
    let mut needed: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for Known {
        id: name,
        definition,
        ..
    } in known
    {
        let steps = definition.get("steps").and_then(Json::as_array);
        for step in steps.into_iter().flatten() {
            let id = step.get("model_id").and_then(Json::as_str);
            if let Some(id) = id.filter(|id| !id.starts_with('$')) {
                let users = needed.entry(id.to_owned()).or_default();
                if !users.contains(&name.as_str()) {
                    users.push(name);
                }
            }
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn models_that_parameters_name_are_not_known() {
        let steps = json!([
            {"name": "a", "model_id": "coco/3"},
            {"name": "b", "model_id": "$inputs.model"},
            {"name": "c", "model_id": "coco/3"},
            {"name": "d"},
        ]);
        let known = |id: &str, definition| Known {
            id: id.into(),
            definition,
            current: true,
        };
        let known = [
            known("one", json!({"steps": steps})),
            known("two", json!({"steps": steps})),
            known("none", json!({})),
        ];
        let needed = needed(&known);
        assert_eq!(needed.len(), 1);
        assert_eq!(needed["coco/3"], ["one", "two"]);
    }
}
