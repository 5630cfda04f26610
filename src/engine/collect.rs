//! Outputs: from the results of steps to one object per element of the batch (engine specification,
//! section 8).

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::run::{InputData, Run, StepResult};
use crate::definition::document::Coordinates;
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::plan::{OutputSource, Plan, PlannedOutput, WORKFLOW_INPUT};
use crate::values::coordinates::to_root_deep;
use crate::values::serialise::{OutputOptions, serialise};
use crate::values::{Dict, Value};

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

impl Run {
    /// The outputs, one list per object, in the order in which clients see them: scalars, then
    /// batches of the inputs, then lists of elements that the workflow itself made.
    pub fn produced<'a>(&self, plan: &'a Plan) -> Vec<Vec<Produced<'a>>> {
        let of = |test: &dyn Fn(Option<u32>) -> bool| -> Vec<&'a PlannedOutput> {
            plan.outputs
                .iter()
                .filter(|o| test(o.lineage.map(|id| plan.lineages[id][0])))
                .collect()
        };
        let scalars = of(&|top| top.is_none());
        let dictated = of(&|top| top == Some(WORKFLOW_INPUT));
        let generated = of(&|top| top.is_some_and(|t| t != WORKFLOW_INPUT));
        let objects = if dictated.is_empty() {
            1
        } else {
            self.batch_size
        };
        (0..objects)
            .map(|i| {
                let mut object = Vec::with_capacity(plan.outputs.len());
                for output in &scalars {
                    let value = self.leaf(plan, output, 0);
                    object.push(Produced {
                        name: &output.name,
                        value,
                        depth: 0,
                        output,
                    });
                }
                for output in &dictated {
                    object.push(self.batch_output(plan, output, &[i as u32]));
                }
                for output in &generated {
                    object.push(self.batch_output(plan, output, &[]));
                }
                object
            })
            .collect()
    }

    fn batch_output<'a>(
        &self,
        plan: &'a Plan,
        output: &'a PlannedOutput,
        prefix: &[u32],
    ) -> Produced<'a> {
        let id = output.lineage.unwrap_or_default();
        let depth = plan.lineages[id].len() - prefix.len();
        let leaves: Vec<(&[u32], usize)> = self.indices[id]
            .iter()
            .enumerate()
            .filter(|(_, place)| place.starts_with(prefix))
            .map(|(position, place)| (&place[prefix.len()..], position))
            .collect();
        let parent = output.coordinates == Coordinates::Parent;
        let value = nest(&leaves, depth, &|position| {
            let leaf = self.leaf(plan, output, position);
            if parent { to_root_deep(&leaf) } else { leaf }
        });
        Produced {
            name: &output.name,
            value,
            depth,
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
fn nest(leaves: &[(&[u32], usize)], depth: usize, leaf: &dyn Fn(usize) -> Value) -> Value {
    if depth == 0 {
        return leaves
            .first()
            .map_or(Value::None, |(_, position)| leaf(*position));
    }
    if leaves.is_empty() {
        return if depth == 1 {
            Value::list(Vec::new())
        } else {
            Value::list(vec![nest(&[], depth - 1, leaf)])
        };
    }
    let length = leaves
        .iter()
        .map(|(place, _)| place[0] as usize + 1)
        .max()
        .unwrap_or(0);
    let items = (0..length)
        .map(|i| {
            let below: Vec<(&[u32], usize)> = leaves
                .iter()
                .filter(|(place, _)| place[0] as usize == i)
                .map(|(place, position)| (&place[1..], *position))
                .collect();
            if below.is_empty() && depth > 1 {
                return nest(&[], depth - 1, leaf);
            }
            nest(&below, depth - 1, leaf)
        })
        .collect();
    Value::list(items)
}
