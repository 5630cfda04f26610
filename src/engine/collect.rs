//! Outputs: from the results of steps to one object per element of the batch (engine specification,
//! section 8).

use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::run::{InputData, Run, StepResult};
use crate::definition::document::Coordinates;
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::plan::{OutputSource, Plan, PlannedOutput, WORKFLOW_INPUT};
use crate::values::coordinates::to_root_deep;
use crate::values::serialise::{OutputOptions, serialise};
use crate::values::{Dict, Index, Value};

/// One output of one object, not yet in JSON.
#[derive(Clone, Debug)]
pub struct Produced<'a> {
    /// Name of the output.
    pub name: &'a Arc<str>,
    /// The value; lists nested `depth` times around the values of the elements.
    pub value: Value,
    depth: usize,
    output: &'a PlannedOutput,
}

/// Where an output lies, which decides its place among the others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// One value for all objects.
    Scalar,
    /// A value per element of the batch.
    Dictated,
    /// Elements that the workflow itself made: the whole list, in every object.
    Generated,
}

impl Extent {
    fn of(plan: &Plan, output: &PlannedOutput) -> Self {
        match output.lineage.map(|id| plan.lineages[id][0]) {
            None => Self::Scalar,
            Some(WORKFLOW_INPUT) => Self::Dictated,
            Some(_) => Self::Generated,
        }
    }
}

impl Run {
    /// The outputs, one list per object, in the order in which clients see them: scalars, then
    /// batches of the inputs, then lists of elements that the workflow itself made.
    pub fn produced<'a>(&self, plan: &'a Plan) -> Vec<Vec<Produced<'a>>> {
        let of = |extent: Extent| {
            let outputs = plan.outputs.iter();
            outputs.filter(move |o| Extent::of(plan, o) == extent)
        };
        let scalars: Vec<Produced<'a>> = of(Extent::Scalar)
            .map(|output| Produced {
                name: &output.name,
                value: self.leaf(plan, output, 0),
                depth: 0,
                output,
            })
            .collect();
        let generated: Vec<Produced<'a>> = of(Extent::Generated)
            .map(|output| self.batch_output(plan, output, &[]))
            .collect();
        let objects = match of(Extent::Dictated).next() {
            None => 1,
            Some(_) => self.batch_size as u32,
        };
        (0..objects)
            .map(|i| {
                let mut object = Vec::with_capacity(plan.outputs.len());
                object.extend_from_slice(&scalars);
                object.extend(of(Extent::Dictated).map(|o| self.batch_output(plan, o, &[i])));
                object.extend_from_slice(&generated);
                object
            })
            .collect()
    }

    /// Gives up every value that no output shows, for a run whose outputs are asked for later.
    pub fn keep_outputs(&mut self, plan: &Plan) {
        for (i, input) in self.inputs.iter_mut().enumerate() {
            let shows = |o: &PlannedOutput| matches!(o.source, OutputSource::Input(at) if at == i);
            if !plan.outputs.iter().any(shows) {
                *input = InputData::Scalar(Value::None);
            }
        }
        for (s, result) in self.results.iter_mut().enumerate() {
            let shows = |o: &PlannedOutput| matches!(o.source, OutputSource::Step(at, _) | OutputSource::AllOf(at) if at == s);
            if !plan.outputs.iter().any(shows) {
                *result = StepResult::Pending;
            }
        }
        self.branches.clear();
        self.overrides = Arc::default();
    }

    fn batch_output<'a>(
        &self,
        plan: &'a Plan,
        output: &'a PlannedOutput,
        prefix: &[u32],
    ) -> Produced<'a> {
        let id = output.lineage.unwrap_or_default();
        let places = &self.indices[id];
        let first = places.partition_point(|place| place[..prefix.len()] < *prefix);
        let below = places[first..].partition_point(|place| place.starts_with(prefix));
        let parent = output.coordinates == Coordinates::Parent;
        let leaf = |position: usize| {
            let leaf = self.leaf(plan, output, position);
            if parent { to_root_deep(&leaf) } else { leaf }
        };
        let depth = plan.lineages[id].len();
        let nesting = Nesting {
            places,
            depth,
            leaf: &leaf,
        };
        Produced {
            name: &output.name,
            value: nesting.list(first..first + below, prefix.len()),
            depth: depth - prefix.len(),
            output,
        }
    }

    /// The value of an output for one element.
    fn leaf(&self, plan: &Plan, output: &PlannedOutput, position: usize) -> Value {
        let row = |step: usize| match &self.results[step] {
            StepResult::Scalar(row) => row.as_ref(),
            StepResult::Batch(rows) => rows.get(position).and_then(Option::as_ref),
            StepResult::Pending => None,
        };
        match output.source {
            OutputSource::Input(i) => match &self.inputs[i] {
                InputData::Scalar(value) => value.clone(),
                InputData::Batch(values) => values.get(position).cloned().unwrap_or_default(),
            },
            OutputSource::Step(s, o) => row(s).map(|row| row[o].clone()).unwrap_or_default(),
            OutputSource::AllOf(s) => {
                let row = row(s);
                let entries = plan.steps[s].outputs.iter().enumerate().map(|(o, out)| {
                    (
                        out.name.clone(),
                        row.map(|row| row[o].clone()).unwrap_or_default(),
                    )
                });
                Value::dict(entries.collect::<Dict>())
            }
        }
    }

    /// The outputs as JSON.
    ///
    /// # Errors
    /// `ExecutionEngineRuntimeError` if a value fits none of the kinds that its output declares.
    pub fn to_json(
        &self,
        plan: &Plan,
        options: &OutputOptions,
    ) -> Result<Vec<Map<String, Json>>, WorkflowError> {
        self.produced(plan)
            .into_iter()
            .map(|object| {
                object
                    .into_iter()
                    .map(|p| Ok((p.name.to_string(), p.to_json(plan, options)?)))
                    .collect()
            })
            .collect()
    }
}

impl Produced<'_> {
    /// The output as JSON.
    ///
    /// # Errors
    /// `ExecutionEngineRuntimeError` if the value fits none of the kinds that the output declares.
    pub fn to_json(&self, plan: &Plan, options: &OutputOptions) -> Result<Json, WorkflowError> {
        self.nested_json(plan, options, &self.value, self.depth)
    }

    fn nested_json(
        &self,
        plan: &Plan,
        options: &OutputOptions,
        value: &Value,
        depth: usize,
    ) -> Result<Json, WorkflowError> {
        if depth > 0
            && let Value::List(items) = value
        {
            let items: Result<Vec<Json>, _> = items
                .iter()
                .map(|item| self.nested_json(plan, options, item, depth - 1))
                .collect();
            return items.map(Json::Array);
        }
        match self.output.source {
            OutputSource::Input(i) => self.leaf_json(&plan.inputs()[i].kinds, value, options),
            OutputSource::Step(s, o) => {
                self.leaf_json(&plan.steps[s].outputs[o].kinds, value, options)
            }
            OutputSource::AllOf(s) => {
                let Value::Dict(entries) = value else {
                    return Ok(Json::Null);
                };
                let outputs = &plan.steps[s].outputs;
                let map: Result<Map<String, Json>, WorkflowError> = outputs
                    .iter()
                    .map(|o| {
                        let value = entries.get(&o.name).unwrap_or(&Value::None);
                        Ok((
                            o.name.to_string(),
                            self.leaf_json(&o.kinds, value, options)?,
                        ))
                    })
                    .collect();
                map.map(Json::Object)
            }
        }
    }

    fn leaf_json(
        &self,
        kinds: &[String],
        value: &Value,
        options: &OutputOptions,
    ) -> Result<Json, WorkflowError> {
        if value.is_none() {
            return Ok(Json::Null);
        }
        serialise(kinds, value, options).map_err(|e| {
            let message = format!(
                "output `{}`, a value of type {}: {e}",
                self.name,
                value.type_name()
            );
            WorkflowError::new(
                ErrorClass::ExecutionEngineRuntime,
                "workflow_execution | output_construction",
                message,
            )
        })
    }
}

/// Nested lists from the places of existing elements; each list is as long as its largest index.
struct Nesting<'a> {
    /// Places, sorted.
    places: &'a [Index],
    /// Length of a place.
    depth: usize,
    /// The value at a position.
    leaf: &'a dyn Fn(usize) -> Value,
}

impl Nesting<'_> {
    /// What lies below one place of `level` numbers: the elements of a range.
    fn list(&self, range: Range<usize>, level: usize) -> Value {
        if level == self.depth {
            return match range.is_empty() {
                true => Value::None,
                false => (self.leaf)(range.start),
            };
        }
        let Some(last) = range.clone().next_back() else {
            // An element without any children: one empty list per level that they would have had.
            let inner = (level + 1 < self.depth).then(|| self.list(range, level + 1));
            return Value::list(inner.into_iter().collect());
        };
        let length = self.places[last][level] as usize + 1;
        let mut items = Vec::with_capacity(length);
        let mut at = range.start;
        for i in 0..length {
            let own = &self.places[at..range.end];
            let end = at + own.partition_point(|place| place[level] as usize == i);
            items.push(self.list(at..end, level + 1));
            at = end;
        }
        Value::list(items)
    }
}
