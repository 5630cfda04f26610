//! Whether a definition compiles here, and whether the models that it names are there.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;

use super::finding::listed;
use super::{Check, Circumstances, Finding, weights};
use crate::blocks::{Field, Ty};
use crate::clock::{Clock, SystemClock};
use crate::definition::step::FieldValue;
use crate::definitions::{LazyLibrary, unwrap_file};
use crate::plan::Plan;
use crate::values::kind::ROBOFLOW_MODEL_ID;

pub(super) fn check(at: &Circumstances, _: &dyn Clock) -> Vec<Finding> {
    let Some(path) = &at.definition else {
        let why = "no definition is named; `--definition FILE` checks one";
        return vec![Finding::not_applicable(Check::Compiles, why)];
    };
    let found = match read(path) {
        Err(reason) => vec![Finding::fault(
            Check::Compiles,
            reason,
            "name a file with a workflow definition in JSON",
        )],
        Ok(definition) => compile(at, path, &definition),
    };
    let subject = path.display().to_string();
    found
        .into_iter()
        .map(|f| match f.subject {
            Some(_) => f,
            None => f.about(&*subject),
        })
        .collect()
}

fn read(path: &Path) -> Result<Json, String> {
    let body = std::fs::read(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let answer = unwrap_file(&body).map_err(|reason| format!("{}: {reason}", path.display()))?;
    Ok(answer.definition)
}

fn compile(at: &Circumstances, path: &Path, definition: &Json) -> Vec<Finding> {
    let clock = || Arc::new(SystemClock::default());
    let settings = at.settings.as_ref().ok();
    let library = settings.map(|settings| LazyLibrary::new(settings.clone(), clock()));
    let host = library.as_ref().map(LazyLibrary::inner_workflows);
    let plan = match Plan::compile_with(definition, &host.unwrap_or_default()) {
        Ok(plan) => plan,
        Err(error) => {
            let remedy = format!(
                "`millrace validate {}` lists all that is wrong",
                path.display()
            );
            return vec![Finding::fault(Check::Compiles, error.to_string(), remedy)];
        }
    };
    let (ids, given_later) = models_of(&plan, definition);
    let mut evidence = format!(
        "{} compiles: {} steps in {} stages",
        plan.document.hash,
        plan.steps.len(),
        plan.stages.len()
    );
    if !ids.is_empty() {
        evidence += &format!("; models {}", listed(&ids, 6));
    }
    if !given_later.is_empty() {
        evidence += &format!(
            "; models of {} are named by parameters",
            listed(&given_later, 4)
        );
    }
    let mut found = vec![Finding::ok(Check::Compiles, evidence)];
    found.extend(missing(at, &ids));
    found
}

/// The ids of the models that a plan names, and the steps whose model a request has to name.
fn models_of(plan: &Plan, definition: &Json) -> (Vec<String>, Vec<String>) {
    let (mut ids, mut later) = (Vec::new(), Vec::new());
    for planned in &plan.steps {
        let step = &planned.step;
        let fields = step.spec.fields.iter().zip(&step.values);
        for (_, value) in fields.filter(|(field, _)| names_model(field)) {
            let id = match value {
                FieldValue::Literal(Json::String(id), _) => Some(id.clone()),
                FieldValue::Literal(..) => continue,
                value => value
                    .selectors()
                    .first()
                    .and_then(|(_, selector)| default_of(&selector.to_string(), definition)),
            };
            match id {
                Some(id) if !ids.contains(&id) => ids.push(id),
                Some(_) => {}
                None => later.push(step.name.to_string()),
            }
        }
    }
    (ids, later)
}

fn names_model(field: &Field) -> bool {
    field.types.iter().any(|ty| match ty {
        Ty::Selector(kinds) | Ty::InputParameter(kinds) | Ty::StepOutput(kinds) => {
            kinds.contains(&ROBOFLOW_MODEL_ID)
        }
        _ => false,
    })
}

/// The default of the input that a reference means.
fn default_of(selector: &str, definition: &Json) -> Option<String> {
    let name = selector.strip_prefix("$inputs.")?;
    let inputs = definition["inputs"].as_array()?;
    let input = inputs.iter().find(|input| input["name"] == name)?;
    input["default_value"].as_str().map(str::to_owned)
}

/// Models that are not in the folder of packages. millrace runs what is there and downloads none.
fn missing(at: &Circumstances, ids: &[String]) -> Vec<Finding> {
    if ids.is_empty() {
        return Vec::new();
    }
    let store = match weights::store(at) {
        Some(Ok(store)) => store,
        // The check of the models tells it.
        Some(Err(_)) => return Vec::new(),
        None => {
            let evidence = format!(
                "the definition names {}, and no folder of packages is named",
                listed(ids, 6)
            );
            let remedy = "name the folder with --models or MILLRACE_MODELS";
            return vec![Finding::fault(Check::Model, evidence, remedy)];
        }
    };
    let there: Vec<String> = store.list().into_iter().map(|model| model.id).collect();
    ids.iter()
        .filter_map(|id| Some((id, store.task(id).err()?)))
        .filter(|(_, error)| error.status() == 404)
        .map(|(id, error)| {
            let remedy = format!(
                "put its package there, or name one of {}",
                listed(&there, 6)
            );
            Finding::fault(Check::Model, error.to_string(), remedy).about(&**id)
        })
        .collect()
}
