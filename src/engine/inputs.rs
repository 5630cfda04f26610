//! Run-time inputs: from JSON (or values) to batches and parameters (engine specification 1.2, 9.4).

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value as Json;

use super::run::{InputData, Run};
use crate::definition::document::{InputDef, InputType};
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::plan::Plan;
use crate::values::deserialise::{InputOptions, deserialise};
use crate::values::{Index, Value};

/// What a caller hands in for one input.
#[derive(Clone, Debug)]
pub enum RuntimeInput {
    /// JSON as a client sends it.
    Json(Json),
    /// A value of the engine's own; a [`Value::List`] is a batch.
    Value(Value),
}

/// Run-time inputs by name.
pub type RuntimeInputs = IndexMap<String, RuntimeInput>;

fn refuse(message: impl Into<String>) -> WorkflowError {
    WorkflowError::new(
        ErrorClass::RuntimeInput,
        "workflow_execution | runtime_input_validation",
        message,
    )
}

/// Checks and converts the inputs of one run.
pub(super) fn assemble(
    plan: &Plan,
    inputs: &RuntimeInputs,
    options: &InputOptions,
) -> Result<Run, WorkflowError> {
    let batch_size = plan
        .inputs()
        .iter()
        .filter(|def| !matches!(def.input_type, InputType::Parameter(_)))
        .filter_map(|def| inputs.get(&*def.name).and_then(list_length))
        .find(|n| *n > 1)
        .unwrap_or(1);
    let mut run = Run::new(plan, batch_size);
    for (at, def) in plan.inputs().iter().enumerate() {
        let given = inputs.get(&*def.name);
        if let InputType::Parameter(default) = &def.input_type {
            let value = match given {
                None => Value::from_json(default),
                Some(RuntimeInput::Json(json)) => Value::from_json(json),
                Some(RuntimeInput::Value(value)) => value.clone(),
            };
            run.inputs.push(InputData::Scalar(value));
            continue;
        }
        let depth = plan.input_lineages[at].map_or(1, |id| plan.lineages[id].len());
        let mut batch = BatchInput {
            def,
            options,
            leaves: Vec::new(),
            places: vec![Vec::new(); depth],
        };
        batch.read(given, batch_size, depth)?;
        let BatchInput { leaves, places, .. } = batch;
        if let Some(id) = plan.input_lineages[at] {
            let lineage = &plan.lineages[id];
            for (level, level_places) in places.into_iter().enumerate() {
                let upper = &lineage[..=level];
                if let Some(upper_id) = plan.lineages.iter().position(|l| l.as_slice() == upper) {
                    run.indices[upper_id] = Arc::new(level_places);
                }
            }
        }
        run.inputs.push(InputData::Batch(leaves));
    }
    // Without any batch input the top level still exists once, for steps that conditions lift.
    for (id, lineage) in plan.lineages.iter().enumerate() {
        if lineage.as_slice() == [crate::plan::WORKFLOW_INPUT] && run.indices[id].is_empty() {
            let top = (0..batch_size as u32)
                .map(|i| Index::from_slice(&[i]))
                .collect();
            run.indices[id] = Arc::new(top);
        }
    }
    Ok(run)
}

fn list_length(input: &RuntimeInput) -> Option<usize> {
    match input {
        RuntimeInput::Json(Json::Array(items)) => Some(items.len()),
        RuntimeInput::Value(Value::List(items)) => Some(items.len()),
        _ => None,
    }
}

/// A batch input while it is read.
struct BatchInput<'a> {
    def: &'a InputDef,
    options: &'a InputOptions,
    leaves: Vec<Value>,
    /// Places of the elements of each level.
    places: Vec<Vec<Index>>,
}

impl BatchInput<'_> {
    fn read(
        &mut self,
        given: Option<&RuntimeInput>,
        batch_size: usize,
        depth: usize,
    ) -> Result<(), WorkflowError> {
        let name = &self.def.name;
        let given = match given {
            None | Some(RuntimeInput::Json(Json::Null) | RuntimeInput::Value(Value::None)) => {
                return Err(refuse(format!(
                    "input `{name}` is missing; the workflow needs it"
                )));
            }
            Some(given) => given,
        };
        match list_length(given) {
            None if depth > 1 => Err(refuse(format!(
                "input `{name}` must be a list nested {depth} deep"
            ))),
            None => {
                let value = self.leaf(given, name)?;
                for i in 0..batch_size as u32 {
                    self.places[0].push(Index::from_slice(&[i]));
                    self.leaves.push(value.clone());
                }
                Ok(())
            }
            Some(n) if n != batch_size && n != 1 => Err(refuse(format!(
                "input `{name}` has {n} elements, but the batch has {batch_size}"
            ))),
            Some(n) => {
                for i in 0..batch_size {
                    let item = item_of(given, if n == 1 { 0 } else { i });
                    let identifier = format!("{name}.[{}]", if n == 1 { 0 } else { i });
                    self.element(&item, &identifier, Index::from_slice(&[i as u32]), depth)?;
                }
                Ok(())
            }
        }
    }

    fn element(
        &mut self,
        item: &RuntimeInput,
        identifier: &str,
        place: Index,
        depth: usize,
    ) -> Result<(), WorkflowError> {
        let level = place.len();
        self.places[level - 1].push(place.clone());
        if level == depth {
            let leaf = if is_null(item) {
                Value::None
            } else {
                self.leaf(item, identifier)?
            };
            self.leaves.push(leaf);
            return Ok(());
        }
        let Some(n) = list_length(item) else {
            return Err(refuse(format!(
                "`{identifier}` must be a list: input `{}` is nested {depth} deep",
                self.def.name
            )));
        };
        for i in 0..n {
            let mut deeper = place.clone();
            deeper.push(i as u32);
            self.element(
                &item_of(item, i),
                &format!("{identifier}.[{i}]"),
                deeper,
                depth,
            )?;
        }
        Ok(())
    }

    fn leaf(&self, item: &RuntimeInput, identifier: &str) -> Result<Value, WorkflowError> {
        match item {
            RuntimeInput::Value(value) => Ok(value.clone()),
            RuntimeInput::Json(json) => {
                deserialise(&self.def.kinds, json, identifier, self.options).map_err(|e| {
                    refuse(format!("input `{identifier}`: {e}"))
                        .with_inner(e.class_name(), e.to_string())
                })
            }
        }
    }
}

fn is_null(item: &RuntimeInput) -> bool {
    matches!(
        item,
        RuntimeInput::Json(Json::Null) | RuntimeInput::Value(Value::None)
    )
}

fn item_of(list: &RuntimeInput, i: usize) -> RuntimeInput {
    match list {
        RuntimeInput::Json(Json::Array(items)) => RuntimeInput::Json(items[i].clone()),
        RuntimeInput::Value(Value::List(items)) => RuntimeInput::Value(items[i].clone()),
        other => other.clone(),
    }
}
