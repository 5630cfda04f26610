//! Run-time inputs: from JSON (or values) to batches and parameters (engine specification 1.2, 9.4).

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value as Json;
use smallvec::smallvec;

use super::run::{InputData, Run};
use crate::definition::document::{InputDef, InputType};
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::plan::{LineageId, Plan};
use crate::values::deserialise::{InputOptions, deserialise};
use crate::values::{Index, Value, kind};

/// What a caller hands in for one input.
#[derive(Clone, Debug)]
pub enum RuntimeInput {
    /// JSON as a client sends it.
    Json(Json),
    /// A value of the engine's own; a [`Value::List`] is a batch.
    Value(Value),
}

impl RuntimeInput {
    /// The same input with its images read, for callers who hand it in again and again. Inputs
    /// other than images stay as they are.
    ///
    /// # Errors
    /// If an image cannot be had.
    pub fn with_images_read(
        self,
        def: &InputDef,
        options: &InputOptions,
    ) -> Result<Self, WorkflowError> {
        match self {
            Self::Json(json) if def.input_type == InputType::Image => {
                let options = options.with_images_of([&json]);
                images_in(&json, def, &def.name, &options).map(Self::Value)
            }
            other => Ok(other),
        }
    }
}

fn images_in(
    json: &Json,
    def: &InputDef,
    identifier: &str,
    options: &InputOptions,
) -> Result<Value, WorkflowError> {
    match json {
        Json::Null => Ok(Value::None),
        Json::Array(items) => {
            let items = items
                .iter()
                .enumerate()
                .map(|(i, item)| images_in(item, def, &format!("{identifier}.[{i}]"), options));
            Ok(Value::list(items.collect::<Result<_, _>>()?))
        }
        json => leaf_of(json, def, identifier, options),
    }
}

/// One element of a batch input out of JSON.
fn leaf_of(
    json: &Json,
    def: &InputDef,
    identifier: &str,
    options: &InputOptions,
) -> Result<Value, WorkflowError> {
    deserialise(&def.kinds, json, identifier, options).map_err(|e| {
        let message = format!(
            "Failed to assemble `{identifier}`. Could not successfully use any deserializer for \
             declared kinds. Details: {}",
            e.by_kind(identifier)
        );
        refuse(message).with_inner(e.class_name(), e.to_string())
    })
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

/// Reads the inputs of run after run; keeps what does not change between them.
#[derive(Clone)]
pub(super) struct InputReader {
    plan: Arc<Plan>,
    options: InputOptions,
    /// Defaults of the parameters, by position of the input.
    defaults: Arc<[Value]>,
    /// Places of the top level for the batch size of the last run.
    top: Arc<Vec<Index>>,
}

impl InputReader {
    pub(super) fn new(plan: Arc<Plan>, options: InputOptions) -> Self {
        let defaults = plan.inputs().iter().map(|def| match &def.input_type {
            InputType::Parameter(value) | InputType::Constant(value) => Value::from_json(value),
            _ => Value::None,
        });
        Self {
            defaults: defaults.collect(),
            plan,
            options,
            top: Arc::default(),
        }
    }

    /// Checks and converts the inputs of one run.
    pub(super) fn read(&mut self, inputs: &RuntimeInputs) -> Result<Run, WorkflowError> {
        let plan = &*self.plan;
        let batch_size = batch_size(plan, inputs);
        if self.top.len() != batch_size {
            let places = (0..batch_size as u32).map(|i| smallvec![i]);
            self.top = Arc::new(places.collect());
        }
        let mut run = Run::new(plan, batch_size);
        let options = self.options.with_images_of(images_of(plan, inputs));
        let options = options.for_one_run();
        for (at, def) in plan.inputs().iter().enumerate() {
            let given = inputs.get(&*def.name).filter(|_| def.is_declared());
            if def.is_scalar() {
                let value = match given {
                    None => self.defaults[at].clone(),
                    Some(RuntimeInput::Json(json)) => Value::from_json(json),
                    Some(RuntimeInput::Value(value)) => value.clone(),
                };
                run.inputs.push(InputData::Scalar(value));
                continue;
            }
            let levels = &plan.input_levels[at];
            let mut batch = BatchInput {
                def,
                options: &options,
                depth: levels.len(),
                leaves: Vec::new(),
                places: vec![Vec::new(); levels.len() - 1],
            };
            batch.read(given, batch_size)?;
            self.put(&mut run, levels, batch);
        }
        Ok(run)
    }

    fn put(&self, run: &mut Run, levels: &[LineageId], batch: BatchInput<'_>) {
        let [top, deeper @ ..] = levels else { return };
        run.indices[*top] = self.top.clone();
        for (&id, places) in deeper.iter().zip(batch.places) {
            run.indices[id] = Arc::new(places);
        }
        run.inputs.push(InputData::Batch(batch.leaves));
    }
}

/// What came as JSON for inputs that may be images.
fn images_of<'a>(plan: &'a Plan, inputs: &'a RuntimeInputs) -> impl Iterator<Item = &'a Json> {
    let images = plan
        .inputs()
        .iter()
        .filter(|def| def.kinds.iter().any(|k| k == kind::IMAGE));
    images.filter_map(|def| match inputs.get(&*def.name) {
        Some(RuntimeInput::Json(json)) => Some(json),
        _ => None,
    })
}

/// Length of the first batch input that is a list of several elements, else 1.
fn batch_size(plan: &Plan, inputs: &RuntimeInputs) -> usize {
    plan.inputs()
        .iter()
        .filter(|def| !def.is_scalar())
        .filter_map(|def| inputs.get(&*def.name).map(Item::of)?.len())
        .find(|n| *n > 1)
        .unwrap_or(1)
}

/// A value that came in, or a part of it.
#[derive(Clone, Copy)]
enum Item<'a> {
    Json(&'a Json),
    Value(&'a Value),
}

impl<'a> Item<'a> {
    fn of(input: &'a RuntimeInput) -> Self {
        match input {
            RuntimeInput::Json(json) => Self::Json(json),
            RuntimeInput::Value(value) => Self::Value(value),
        }
    }

    /// Length of a list; none for anything else.
    fn len(self) -> Option<usize> {
        match self {
            Self::Json(Json::Array(items)) => Some(items.len()),
            Self::Value(Value::List(items)) => Some(items.len()),
            _ => None,
        }
    }

    /// Item of a list.
    fn at(self, i: usize) -> Self {
        match self {
            Self::Json(Json::Array(items)) => Self::Json(&items[i]),
            Self::Value(Value::List(items)) => Self::Value(&items[i]),
            other => other,
        }
    }

    fn is_null(self) -> bool {
        matches!(self, Self::Json(Json::Null) | Self::Value(Value::None))
    }
}

/// A batch input while it is read.
struct BatchInput<'a> {
    def: &'a InputDef,
    options: &'a InputOptions,
    depth: usize,
    leaves: Vec<Value>,
    /// Places of the elements of each level below the top.
    places: Vec<Vec<Index>>,
}

impl BatchInput<'_> {
    fn read(
        &mut self,
        given: Option<&RuntimeInput>,
        batch_size: usize,
    ) -> Result<(), WorkflowError> {
        let (name, depth) = (&self.def.name, self.depth);
        let given = given.map(Item::of).filter(|item| !item.is_null());
        let Some(given) = given else {
            let kinds: Vec<String> = self.def.kinds.iter().map(|k| format!("'{k}'")).collect();
            let message = format!(
                "Detected runtime parameter `{name}` defined as `{}` (of kind `[{}]`), but value is \
                 not provided.",
                self.def.type_name(),
                kinds.join(", ")
            );
            return Err(refuse(message));
        };
        match given.len() {
            None if depth > 1 => {
                // A value that is none of the kinds is told first.
                self.leaf(given, name)?;
                let message = format!("input `{name}` must be a list nested {depth} deep");
                Err(WorkflowError::new(
                    ErrorClass::Assumption,
                    "workflow_execution | step_input_assembling",
                    message,
                ))
            }
            None => {
                let value = self.leaf(given, name)?;
                self.leaves = vec![value; batch_size];
                Ok(())
            }
            Some(1) => {
                self.element(given.at(0), &format!("{name}.[0]"), smallvec![0])?;
                self.repeat(batch_size);
                Ok(())
            }
            Some(n) if n != batch_size => Err(refuse(format!(
                "Expected all batch-oriented workflow inputs be the same length, or of length 1 - \
                 but parameter: {name} provided with batch size {n}, where expected batch size \
                 based on remaining parameters is: {batch_size}."
            ))),
            Some(n) => {
                for i in 0..n {
                    let identifier = format!("{name}.[{i}]");
                    self.element(given.at(i), &identifier, smallvec![i as u32])?;
                }
                Ok(())
            }
        }
    }

    /// Makes of one element as many as the batch has.
    fn repeat(&mut self, batch_size: usize) {
        let leaves = self.leaves.len();
        for _ in 1..batch_size {
            self.leaves.extend_from_within(..leaves);
        }
        for places in &mut self.places {
            let first = places.clone();
            for i in 1..batch_size as u32 {
                places.extend(first.iter().map(|place| {
                    let mut place = place.clone();
                    place[0] = i;
                    place
                }));
            }
        }
    }

    fn element(
        &mut self,
        item: Item<'_>,
        identifier: &str,
        place: Index,
    ) -> Result<(), WorkflowError> {
        let level = place.len();
        if level == self.depth {
            let leaf = if item.is_null() {
                Value::None
            } else {
                self.leaf(item, identifier)?
            };
            self.leaves.push(leaf);
            return Ok(());
        }
        let Some(n) = item.len() else {
            return Err(refuse(format!(
                "`{identifier}` must be a list: input `{}` is nested {} deep",
                self.def.name, self.depth
            )));
        };
        for i in 0..n {
            let mut deeper = place.clone();
            deeper.push(i as u32);
            self.places[level - 1].push(deeper.clone());
            self.element(item.at(i), &format!("{identifier}.[{i}]"), deeper)?;
        }
        Ok(())
    }

    fn leaf(&self, item: Item<'_>, identifier: &str) -> Result<Value, WorkflowError> {
        match item {
            Item::Value(value) => Ok(value.clone()),
            Item::Json(json) => leaf_of(json, self.def, identifier, self.options),
        }
    }
}
