//! Inner workflows: steps that stand for the steps of another definition (engine specification 11).
//!
//! [`expand`] makes of a definition with inner workflows one without, before anything of it is
//! parsed: [`references`] puts fetched definitions in the place of references, [`composition`]
//! checks how they nest, [`inlining`] replaces each step by the steps of its definition, innermost
//! first. A step `c` of an inner workflow `p` becomes `p__c`, so what blocks remember belongs to
//! them as if they had been written in the outer definition.
//!
//! What JSON cannot say goes beside it: a [`Group`] is what `$steps.p` means in a condition, a
//! constant (an input of its own type, [`super::document::InputType::Constant`]) is the default of an input that nobody binds,
//! where a field takes references only.
//!
//! Steps with `execution_mode: remote_dispatch` are ordinary steps and their definitions opaque.

mod composition;
mod inlining;
mod library;
mod mention;
mod references;
mod substitution;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::{Map, Value as Json};

pub use library::{Library, LibraryError, Reference};
pub use references::Resolved;

use super::error::{ErrorClass, WorkflowError};
use super::inputs::InputDef;

/// Type of the steps that stand for definitions.
pub const BLOCK_TYPE: &str = "roboflow_core/inner_workflow@v1";

const COMPOSITION: &str = "workflow_compilation | inner_workflow | composition";

/// How far definitions may nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels below the outermost definition.
    pub depth: usize,
    /// Inner workflows in the whole tree.
    pub count: usize,
}

impl Default for Limits {
    /// Four levels, 32 inner workflows.
    fn default() -> Self {
        Self {
            depth: 4,
            count: 32,
        }
    }
}

/// What a host lends to the compilation of definitions with inner workflows.
#[derive(Clone, Copy, Default)]
pub struct InnerWorkflows<'a> {
    /// Where definitions that are only named come from.
    pub library: Option<&'a dyn Library>,
    /// How far they may nest.
    pub limits: Limits,
}

/// The steps that stand in the place of an inner workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name of the inner workflow's step.
    pub name: String,
    /// Names of the steps, those of definitions further inside included; the first one stands first
    /// in its definition.
    pub steps: Vec<String>,
    /// Names of the inner workflow's outputs.
    pub outputs: Vec<String>,
}

/// A definition without inner workflows.
pub(super) struct Expanded<'a> {
    /// The definition; as it was if it had none.
    pub definition: Cow<'a, Map<String, Json>>,
    /// What stands for each inner workflow.
    pub groups: Vec<Group>,
    /// Defaults that references lead to.
    pub constants: Vec<InputDef>,
    /// Definitions that were only named.
    pub references: Vec<Resolved>,
}

/// Replaces every embedded inner workflow of a definition.
///
/// # Errors
/// In this order: references that lead nowhere, definitions that nest too deep or not at all, then
/// per inner workflow, innermost first, its own problems of syntax and those of its bindings.
pub(super) fn expand<'a>(
    definition: &'a Map<String, Json>,
    host: &InnerWorkflows<'_>,
) -> Result<Expanded<'a>, WorkflowError> {
    if steps(definition).all(|step| embedded(step).is_none()) {
        return Ok(Expanded {
            definition: Cow::Borrowed(definition),
            groups: Vec::new(),
            constants: Vec::new(),
            references: Vec::new(),
        });
    }
    let mut whole = definition.clone();
    let references = references::resolve(&mut whole, host)?;
    composition::hoist_custom_blocks(&mut whole);
    composition::check(&whole, host.limits)?;
    let inlined = inlining::inline_all(whole)?;
    Ok(Expanded {
        definition: Cow::Owned(inlined.definition),
        groups: inlined.groups,
        constants: inlined.constants,
        references,
    })
}

/// The entries of `steps`; none if that is no list.
fn steps(definition: &Map<String, Json>) -> impl Iterator<Item = &Json> {
    let steps = definition.get("steps").and_then(Json::as_array);
    steps.into_iter().flatten()
}

/// The entries of `steps` to change.
fn steps_mut(definition: &mut Map<String, Json>) -> impl Iterator<Item = &mut Json> {
    let steps = definition.get_mut("steps").and_then(Json::as_array_mut);
    steps.into_iter().flatten()
}

/// The fields of a step that stands for a definition and is to be replaced by its steps.
fn embedded(step: &Json) -> Option<&Map<String, Json>> {
    let fields = step.as_object()?;
    is_embedded(fields).then_some(fields)
}

fn is_embedded(fields: &Map<String, Json>) -> bool {
    let of_type = fields.get("type").and_then(Json::as_str) == Some(BLOCK_TYPE);
    let mode = fields.get("execution_mode");
    of_type && mode.is_none_or(|mode| mode == "embedded")
}

/// What a step that stands for a definition says of it.
pub enum Child<'a> {
    /// The definition itself.
    Written(&'a Map<String, Json>),
    /// The name of one.
    Named(Reference),
    /// Both.
    Both,
    /// Neither.
    Neither,
}

impl<'a> Child<'a> {
    /// Reads the fields of a step. An empty definition is none, and so are blank ids.
    pub fn of(get: impl Fn(&str) -> Option<&'a Json>) -> Self {
        let text = |key| get(key).and_then(Json::as_str).map(str::trim);
        let id = |key| text(key).filter(|text| !text.is_empty());
        let written = get("workflow_definition").and_then(Json::as_object);
        let named = id("workflow_workspace_id").zip(id("workflow_id"));
        match (written.filter(|written| !written.is_empty()), named) {
            (Some(_), Some(_)) => Self::Both,
            (Some(definition), None) => Self::Written(definition),
            (None, Some((workspace, workflow))) => Self::Named(Reference {
                workspace: workspace.to_owned(),
                workflow: workflow.to_owned(),
                version: id("workflow_version_id").map(str::to_owned),
            }),
            (None, None) => Self::Neither,
        }
    }
}

/// What is wrong with a step that gives a definition and names one.
pub const GIVES_BOTH: &str = "give either `workflow_definition` or the reference \
     (`workflow_workspace_id` and `workflow_id`), not both";

/// What is wrong with a step that does neither.
pub const GIVES_NEITHER: &str = "an inner workflow needs a `workflow_definition` that is not empty, \
     or both `workflow_workspace_id` and `workflow_id`";

/// An entry of `steps` that cannot be an inner workflow.
fn invalid_entry(at: &str, why: &str) -> WorkflowError {
    let message = format!("{at}: {why}");
    WorkflowError::new(
        ErrorClass::InnerWorkflowInvalidStepEntry,
        COMPOSITION,
        message,
    )
}

/// Where an inner workflow stands, for messages: the names of the steps that lead to it.
fn place(outer: &str, step: &Map<String, Json>) -> String {
    let name = step.get("name").and_then(Json::as_str).unwrap_or("?");
    if outer.is_empty() {
        format!("inner workflow `{name}`")
    } else {
        format!("{outer} > `{name}`")
    }
}

fn too_deep(at: &str, limit: usize) -> WorkflowError {
    let message = format!(
        "{at}: inner workflows are nested more than {limit} levels deep, which is the limit"
    );
    WorkflowError::new(ErrorClass::InnerWorkflowNestingDepth, COMPOSITION, message)
}

fn too_many(limit: usize) -> WorkflowError {
    let message =
        format!("the definition has more than {limit} inner workflows, which is the limit");
    WorkflowError::new(ErrorClass::InnerWorkflowTotalCount, COMPOSITION, message)
}
