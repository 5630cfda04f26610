//! Recorded answers of the reference engine, run on this one.
//!
//! Every file of `fixtures/conformance/cases` is a definition, the run-time inputs of several
//! executions on one engine and what the reference answered. The rules of comparison (tolerances,
//! random identifiers, pictures by PSNR, masks by overlap) are in `support/compare.rs`.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/compare.rs"]
mod compare;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace::blocks::{Services, registry};
use millrace::definition::error::WorkflowError;
use millrace::engine::{Engine, RuntimeInput, RuntimeInputs};
use millrace::models::{ModelStore, RuntimeSettings};
use millrace::plan::Plan;
use millrace::values::deserialise::InputOptions;
use serde_json::{Value as Json, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn open_models() -> Arc<ModelStore> {
    let clock = Services::default().clock;
    let store = ModelStore::open(fixtures().join("models"), RuntimeSettings::default(), clock);
    Arc::new(store.expect("the fixture models open"))
}

/// Runs one case; answers what differs.
fn run_case(case: &Json, folder: &Path, models: &Arc<ModelStore>) -> Vec<String> {
    let expected = case["expected"]
        .as_array()
        .expect("a case has expected answers");
    let frames = case["frames"].as_array().expect("a case has frames");
    let mut answers: Vec<Json> = Vec::new();
    match prepare(&case["definition"], models) {
        Err(error) => answers.push(json!({"error": error.to_json()})),
        Ok(mut engine) => {
            for frame in frames {
                let inputs = inputs(frame, folder);
                let options = compare::png_output();
                answers.push(match engine.run(&inputs, &options) {
                    Ok(outputs) => json!({"outputs": outputs}),
                    Err(error) => json!({"error": error.to_json()}),
                });
            }
        }
    }
    if answers.len() != expected.len() {
        return vec![format!(
            "want {} answers, got {}: {}",
            expected.len(),
            answers.len(),
            answers[0]
        )];
    }
    let mut comparison = compare::Comparison::new(&case["tolerance"], folder);
    for (i, (want, got)) in expected.iter().zip(&answers).enumerate() {
        let place = format!("frame {i} ");
        match want.get("error") {
            Some(error) => {
                let kind = got["error"]["error_type"].as_str();
                let any = case["any_error_class"].as_bool().unwrap_or(false);
                if kind.is_none() || !(any || kind == error["class"].as_str()) {
                    comparison.differ(&place, &format!("want error {}, got {got}", error["class"]));
                }
            }
            None => match got.get("outputs") {
                Some(outputs) => comparison.compare(want, outputs, &place),
                None => comparison.differ(&place, &format!("want outputs, got {got}")),
            },
        }
    }
    comparison.differences
}

fn prepare(definition: &Json, models: &Arc<ModelStore>) -> Result<Engine, WorkflowError> {
    let plan = Arc::new(Plan::compile(definition)?);
    let services = Services {
        models: models.clone(),
        ..Services::default()
    };
    Engine::new(plan, services, InputOptions::default())
}

fn inputs(frame: &Json, folder: &Path) -> RuntimeInputs {
    let entries = frame.as_object().expect("a frame is an object");
    entries
        .iter()
        .map(|(name, value)| (name.clone(), RuntimeInput::Json(inline(value, folder))))
        .collect()
}

/// Puts the pictures that a frame names into it.
fn inline(value: &Json, folder: &Path) -> Json {
    match value {
        Json::Object(entries) if entries.get("type") == Some(&json!("file")) => {
            let name = entries["value"].as_str().expect("a file has a name");
            let bytes = std::fs::read(folder.join("../assets").join(name))
                .or_else(|_| std::fs::read(folder.join(name)))
                .unwrap_or_else(|e| panic!("picture {name}: {e}"));
            let mut entries = entries.clone();
            entries.insert("type".into(), json!("base64"));
            entries.insert("value".into(), json!(STANDARD.encode(bytes)));
            Json::Object(entries)
        }
        Json::Object(entries) => entries
            .iter()
            .map(|(k, v)| (k.clone(), inline(v, folder)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Json::Array(items) => items.iter().map(|v| inline(v, folder)).collect(),
        other => other.clone(),
    }
}

/// Cases that show a defect of the reference which `decided.md` tells us not to copy, with the
/// output that differs.
const DECIDED: &[(&str, &str)] = &[
    ("uql_detection_properties_one_by_one", "tracker"),
    ("models_key_points_of_a_face", "strict_points"),
];

#[test]
fn recorded_cases_agree() {
    let folder = fixtures().join("conformance/cases");
    let models = open_models();
    let mut names: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("recorded cases are there")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    names.sort();
    assert!(
        names.len() > 100,
        "only {} recorded cases found",
        names.len()
    );
    let mut failures = Vec::new();
    let mut run = 0;
    for path in &names {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let case: Json =
            serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON");
        let steps = case["definition"]["steps"].as_array().into_iter().flatten();
        let mut types = steps.filter_map(|step| step["type"].as_str());
        let refused = case["expected"][0].get("error").is_some();
        let known = types
            .all(|t| registry::find(t).is_some() || (refused && !t.starts_with("roboflow_core/")));
        if !known || DECIDED.iter().any(|(decided, _)| *decided == name) {
            continue;
        }
        run += 1;
        let differences = run_case(&case, &folder, &models);
        if !differences.is_empty() {
            failures.push(format!(
                "{name}: {} (+{})",
                differences[0],
                differences.len() - 1
            ));
        }
    }
    println!("{run} recorded cases run, {} differ", failures.len());
    assert!(
        failures.is_empty(),
        "{} of {run} cases differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
