//! What the engine does, by question. Definitions are made of the blocks in `blocks::testing`.

mod batches;
mod closing;
mod conditions;
mod decisions;
mod errors;
mod inner;
mod inputs;
mod outputs;
mod parameters;
mod scale;
mod small_cases;
mod streams;

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Engine, RuntimeInput, RuntimeInputs};
use crate::blocks::Services;
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definition::testing::{collapse, cond, echo, split, step, workflow};
use crate::plan::Plan;
use crate::values::Timestamp;
use crate::values::deserialise::InputOptions;
use crate::values::serialise::OutputOptions;

fn engine(definition: &Json) -> Result<Engine, WorkflowError> {
    let plan = Arc::new(Plan::compile(definition)?);
    Engine::new(plan, Services::default(), InputOptions::default())
}

fn runtime_inputs(inputs: &Json) -> RuntimeInputs {
    let entries = inputs.as_object().unwrap().iter();
    entries
        .map(|(name, json)| (name.clone(), RuntimeInput::Json(json.clone())))
        .collect()
}

fn run_again(engine: &mut Engine, inputs: &Json) -> Result<Json, WorkflowError> {
    let options = OutputOptions::new(Timestamp::from_unix_micros(0));
    let objects = engine.run(&runtime_inputs(inputs), &options)?;
    Ok(objects.into_iter().map(Json::Object).collect())
}

/// Compiles and runs once.
fn run(definition: &Json, inputs: &Json) -> Result<Json, WorkflowError> {
    run_again(&mut engine(definition)?, inputs)
}

/// Asserts the outputs, and the order of their keys.
#[track_caller]
fn assert_outputs(definition: &Json, inputs: Json, wanted: Json) {
    let got = run(definition, &inputs).unwrap();
    assert_eq!(got.to_string(), wanted.to_string(), "inputs {inputs}");
}

/// Asserts the values of the single output `x`, one per object.
#[track_caller]
fn assert_x(definition: &Json, inputs: Json, wanted: Json) {
    let cells = wanted.as_array().unwrap().iter();
    let wanted: Json = cells.map(|cell| json!({"x": cell})).collect();
    assert_outputs(definition, inputs, wanted);
}

/// Asserts the class of an error and the end of its context.
#[track_caller]
fn assert_error(
    result: Result<Json, WorkflowError>,
    class: ErrorClass,
    context: &str,
) -> WorkflowError {
    let error = result.unwrap_err();
    assert_eq!(error.class, class, "{error}");
    assert!(error.context.ends_with(context), "{}", error.context);
    error
}
