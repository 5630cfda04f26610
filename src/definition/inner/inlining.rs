//! Puts the steps of definitions in the place of the steps that stand for them (engine
//! specification 11.4), innermost first and in the order of the steps.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json};

use super::mention::{Mention, replaced};
use super::substitution::{Bound, ChildScope, Constants};
use super::{BLOCK_TYPE, Group, invalid_entry, is_embedded, place};
use crate::definition::document::{Body, parse_body};
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definition::inputs::{InputDef, InputType};
use crate::values::{Value, python};

/// Bytes that texts and defaults put into steps may come to: far more than any definition has, and
/// little enough that texts that repeat each other cannot fill the memory.
const MOST_BYTES: usize = 64 << 20;

/// What is left when every inner workflow is replaced.
pub(super) struct Inlined {
    pub definition: Map<String, Json>,
    pub groups: Vec<Group>,
    pub constants: Vec<InputDef>,
}

/// Replaces the inner workflows of a definition whose tree is sound.
pub(super) fn inline_all(definition: Map<String, Json>) -> Result<Inlined, WorkflowError> {
    let mut inliner = Inliner {
        constants: Constants::of(&definition),
        bytes: MOST_BYTES,
    };
    let flat = inliner.flatten(definition, "")?;
    Ok(Inlined {
        definition: flat.definition,
        groups: flat.groups,
        constants: inliner.constants.made,
    })
}

struct Inliner {
    constants: Constants,
    /// Bytes that may still be put in.
    bytes: usize,
}

/// A definition without inner workflows.
struct Flat {
    definition: Map<String, Json>,
    groups: Vec<Group>,
}

/// A step that stands for a definition.
struct Inner {
    name: String,
    at: String,
    bindings: Map<String, Json>,
}

/// What comes in the place of such a step.
struct Replacement {
    steps: Vec<Json>,
    groups: Vec<Group>,
    /// What the names of its outputs stand for in the outer definition.
    outputs: Vec<(String, String)>,
}

impl Inliner {
    fn flatten(
        &mut self,
        mut definition: Map<String, Json>,
        outer: &str,
    ) -> Result<Flat, WorkflowError> {
        let mut groups = Vec::new();
        let Some(Json::Array(steps)) = definition.get_mut("steps") else {
            return Ok(Flat { definition, groups });
        };
        let mut steps = std::mem::take(steps);
        let mut i = 0;
        while i < steps.len() {
            let Some((inner, child)) = take_embedded(&mut steps[i], outer) else {
                i += 1;
                continue;
            };
            let child = self.flatten(child, &inner.at)?;
            steps.remove(i);
            let replacement = self.inline(&inner, child, &taken(&steps, &groups))?;
            let put_in = replacement.steps.len();
            steps.splice(i..i, replacement.steps);
            groups.extend(replacement.groups);
            let outputs = &replacement.outputs;
            for step in steps.iter_mut().filter_map(Json::as_object_mut) {
                for value in leaves_of_step(step) {
                    self.lead_to(value, &inner.name, outputs)?;
                }
            }
            if let Some(shown) = definition.get_mut("outputs") {
                self.lead_to(shown, &inner.name, outputs)?;
            }
            i += put_in;
        }
        definition.insert("steps".into(), Json::Array(steps));
        Ok(Flat { definition, groups })
    }

    /// The steps that come in the place of an inner workflow.
    fn inline(
        &mut self,
        inner: &Inner,
        child: Flat,
        taken: &HashSet<String>,
    ) -> Result<Replacement, WorkflowError> {
        let body = parse_body(&child.definition).map_err(|error| inside(error, &inner.at))?;
        let bound = bind(inner, &body)?;
        let Some(Json::Array(entries)) = child.definition.get("steps") else {
            return Err(without_steps(inner));
        };
        if entries.is_empty() {
            return Err(without_steps(inner));
        }
        let own = body.steps.iter().map(|step| &*step.name);
        let names = own.chain(child.groups.iter().map(|group| group.name.as_str()));
        let mut scope = ChildScope {
            inner: &inner.name,
            renamed: fresh_names(&inner.name, names, taken),
            bound,
            constants: &mut self.constants,
            bytes: &mut self.bytes,
        };
        let mut steps = entries.clone();
        for (entry, step) in steps.iter_mut().zip(&body.steps) {
            scope.rewrite_step(entry, step)?;
        }
        let outputs = body.outputs.iter().map(|output| {
            let selector = scope.rewrite_output(&output.selector.to_string())?;
            Ok((output.name.to_string(), selector))
        });
        let outputs = outputs.collect::<Result<Vec<_>, WorkflowError>>()?;
        let renamed = |name: &str| scope.renamed.get(name).cloned().unwrap_or_default();
        let mut groups = vec![Group {
            name: inner.name.clone(),
            steps: body.steps.iter().map(|step| renamed(&step.name)).collect(),
            outputs: outputs.iter().map(|(name, _)| name.clone()).collect(),
        }];
        groups.extend(child.groups.iter().map(|group| Group {
            name: renamed(&group.name),
            steps: group.steps.iter().map(|name| renamed(name)).collect(),
            outputs: group.outputs.clone(),
        }));
        Ok(Replacement {
            steps,
            groups,
            outputs,
        })
    }

    /// Puts what the outputs of an inner workflow stand for in the place of their selectors.
    fn lead_to(
        &mut self,
        json: &mut Json,
        name: &str,
        outputs: &[(String, String)],
    ) -> Result<(), WorkflowError> {
        match json {
            Json::String(text) => {
                let new = replaced(text, |mention| match mention {
                    Mention::Step(step, Some(output)) if step == name => {
                        let mut known = outputs.iter();
                        let (_, to) = known.find(|(own, _)| own == output)?;
                        Some(to.clone())
                    }
                    _ => None,
                });
                if let Some(new) = new {
                    spend(&mut self.bytes, new.len())?;
                    *text = new;
                }
            }
            Json::Array(items) => {
                for item in items {
                    self.lead_to(item, name, outputs)?;
                }
            }
            Json::Object(entries) => {
                for value in entries.values_mut() {
                    self.lead_to(value, name, outputs)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Takes the definition out of a step that stands for one.
fn take_embedded(step: &mut Json, outer: &str) -> Option<(Inner, Map<String, Json>)> {
    let fields = step.as_object_mut()?;
    if !is_embedded(fields) {
        return None;
    }
    let at = place(outer, fields);
    let name = fields.get("name")?.as_str()?.to_owned();
    let Some(Json::Object(child)) = fields.remove("workflow_definition") else {
        return None;
    };
    let bindings = match fields.remove("parameter_bindings") {
        Some(Json::Object(bindings)) => bindings,
        _ => Map::new(),
    };
    Some((Inner { name, at, bindings }, child))
}

/// The values of a step that may refer to what is around it. Definitions inside it refer to what
/// is inside them.
fn leaves_of_step(step: &mut Map<String, Json>) -> impl Iterator<Item = &mut Json> {
    let stands_for_one = step.get("type").and_then(Json::as_str) == Some(BLOCK_TYPE);
    step.iter_mut()
        .filter(move |(key, _)| match key.as_str() {
            "name" | "type" => false,
            "workflow_definition" => !stands_for_one,
            _ => true,
        })
        .map(|(_, value)| value)
}

fn taken(steps: &[Json], groups: &[Group]) -> HashSet<String> {
    let steps = steps.iter().filter_map(|step| step["name"].as_str());
    let groups = groups.iter().map(|group| group.name.as_str());
    steps.chain(groups).map(str::to_owned).collect()
}

/// New names for the steps of an inner workflow: `<inner>__<step>`, with a number if that is taken.
fn fresh_names<'a>(
    inner: &str,
    names: impl Iterator<Item = &'a str>,
    taken: &HashSet<String>,
) -> HashMap<String, String> {
    let mut used = HashSet::new();
    let mut fresh = HashMap::new();
    for name in names {
        let first = format!("{inner}__{name}");
        let further = (2..).map(|n| format!("{first}__{n}"));
        let mut candidates = std::iter::once(first.clone()).chain(further);
        let free = candidates.find(|new| !taken.contains(new) && !used.contains(new));
        if let Some(new) = free {
            used.insert(new.clone());
            fresh.insert(name.to_owned(), new);
        }
    }
    fresh
}

/// What stands for each input of an inner workflow.
fn bind(inner: &Inner, body: &Body) -> Result<Vec<(String, Bound)>, WorkflowError> {
    let listed = |names: &[&str]| names.join(", ");
    let refuse = |class, message: String| {
        let context = "workflow_compilation | inner_workflow | parameter_bindings";
        Err(WorkflowError::new(class, context, message))
    };
    let known = |name: &&String| body.inputs.iter().any(|input| *input.name == ***name);
    let unknown: Vec<&str> = inner
        .bindings
        .keys()
        .filter(|name| !known(name))
        .map(String::as_str)
        .collect();
    if !unknown.is_empty() {
        let inputs: Vec<&str> = body.inputs.iter().map(|input| &*input.name).collect();
        return refuse(
            ErrorClass::InnerWorkflowParameterBindingsUnknownInput,
            format!(
                "{}: `parameter_bindings` name inputs that its definition does not have: {}; it has: {}",
                inner.at,
                listed(&unknown),
                listed(&inputs)
            ),
        );
    }
    let mut missing = Vec::new();
    let mut bound = Vec::new();
    for input in &body.inputs {
        let stands_for_it = match (inner.bindings.get(&*input.name), &input.input_type) {
            // As the reference does: a number that is bound arrives as its text.
            (Some(value), _) => Bound::Text(python::to_str(&Value::from_json(value))),
            (None, InputType::Parameter(default)) if !default.is_null() => {
                Bound::default(default.clone(), input.kinds.clone())
            }
            (None, _) => {
                missing.push(&*input.name);
                continue;
            }
        };
        bound.push((input.name.to_string(), stands_for_it));
    }
    if missing.is_empty() {
        return Ok(bound);
    }
    refuse(
        ErrorClass::InnerWorkflowParameterBindingsMissingRequired,
        format!(
            "{}: `parameter_bindings` lack inputs that have no default: {}",
            inner.at,
            listed(&missing)
        ),
    )
}

/// The error of a definition, with the place of the step that stands for it.
fn inside(mut error: WorkflowError, at: &str) -> WorkflowError {
    error.message = format!("{at}: {}", error.message);
    error
}

fn without_steps(inner: &Inner) -> WorkflowError {
    invalid_entry(&inner.at, "its definition has no steps")
}

/// Takes bytes off what may still be put in.
pub(super) fn spend(left: &mut usize, bytes: usize) -> Result<(), WorkflowError> {
    match left.checked_sub(bytes) {
        Some(rest) => {
            *left = rest;
            Ok(())
        }
        None => Err(WorkflowError::new(
            ErrorClass::WorkflowDefinition,
            super::COMPOSITION,
            format!(
                "the inner workflows repeat texts and defaults to more than {} MiB; bind shorter ones",
                MOST_BYTES >> 20
            ),
        )),
    }
}
