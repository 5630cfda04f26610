//! Parsing of a definition: JSON to inputs, steps and outputs, with every problem found at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::canonical::DefinitionHash;
use super::error::{ErrorClass, WorkflowError};
use super::inner::{self, Group, InnerWorkflows, Resolved};
use super::inputs::parse_input;
pub use super::inputs::{InputDef, InputType};
use super::problems::{Problems, syntax_error};
use super::selector::Selector;
use super::step::Step;
use super::steps::StepParser;
use super::version;
pub use super::version::ENGINE_VERSION;

/// Nesting of lists and objects that a definition may have; JSON from text never has more.
pub(super) const MAX_NESTING: usize = 128;

/// In which frame detections of an output are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coordinates {
    /// The image predicted on.
    Own,
    /// The root image.
    Parent,
}

/// An output of a definition.
#[derive(Clone, Debug)]
pub struct OutputDef {
    /// Name, unique among outputs.
    pub name: Arc<str>,
    /// What it shows.
    pub selector: Selector,
    /// Frame of detections.
    pub coordinates: Coordinates,
}

/// A parsed definition.
#[derive(Clone, Debug)]
pub struct Document {
    /// Identity of the JSON that it was parsed from.
    pub hash: DefinitionHash,
    /// Inputs in their order, then the constants of inner workflows.
    pub inputs: Vec<InputDef>,
    /// Steps in their order; in the place of an inner workflow those of its definition.
    pub steps: Vec<Arc<Step>>,
    /// Outputs in their order.
    pub outputs: Vec<OutputDef>,
    /// The steps that stand for inner workflows.
    pub groups: Vec<StepGroup>,
    /// Definitions that inner workflows only name, with what they stood for.
    pub references: Vec<Resolved>,
}

/// The steps that stand for an inner workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepGroup {
    /// Name of the inner workflow.
    pub name: Arc<str>,
    /// Positions of its steps; the first stands first in its definition.
    pub steps: Vec<usize>,
    /// Names of its outputs.
    pub outputs: Vec<String>,
}

/// What every definition consists of, an inner one too.
pub(super) struct Body {
    pub inputs: Vec<InputDef>,
    pub steps: Vec<Step>,
    pub outputs: Vec<OutputDef>,
}

impl Document {
    /// Parses a definition whose inner workflows, if it has any, are written out.
    ///
    /// # Errors
    /// See [`Self::parse_with`].
    pub fn parse(json: &Json) -> Result<Self, WorkflowError> {
        Self::parse_with(json, &InnerWorkflows::default())
    }

    /// Parses a definition with what the host lends to inner workflows.
    ///
    /// # Errors
    /// In this order: the engine version, entries that are no steps, inner workflows, custom blocks
    /// (not run by this version), then every structural problem in one `WorkflowSyntaxError`, then
    /// repeated names.
    pub fn parse_with(json: &Json, host: &InnerWorkflows<'_>) -> Result<Self, WorkflowError> {
        let Json::Object(top) = json else {
            let message = "the definition must be a JSON object";
            return Err(syntax_error(message, Vec::new()));
        };
        if is_nested_deeper(top, MAX_NESTING) {
            let message = format!("the definition is nested more than {MAX_NESTING} levels deep");
            return Err(syntax_error(message, Vec::new()));
        }
        version::check(top.get("version"))?;
        check_step_entries(top.get("steps"))?;
        let expanded = inner::expand(top, host)?;
        refuse_custom_blocks(expanded.definition.get("dynamic_blocks_definitions"))?;
        let mut body = parse_body(&expanded.definition)?;
        body.inputs.extend(expanded.constants);
        Ok(Self {
            hash: DefinitionHash::of(json),
            inputs: body.inputs,
            groups: groups(expanded.groups, &body.steps)?,
            steps: body.steps.into_iter().map(Arc::new).collect(),
            outputs: body.outputs,
            references: expanded.references,
        })
    }
}

/// Reads inputs, steps and outputs.
///
/// # Errors
/// Every structural problem in one `WorkflowSyntaxError`, then repeated names.
pub(super) fn parse_body(top: &Map<String, Json>) -> Result<Body, WorkflowError> {
    let mut problems = Problems::default();
    match top.get("version") {
        Some(Json::String(_)) => {}
        Some(_) => problems.add("version", "string_type", "must be text"),
        None => problems.add("version", "missing", "field required"),
    }
    let inputs = parse_all(top, "inputs", &mut problems, parse_input);
    let mut parser = StepParser::default();
    let steps = parse_all(top, "steps", &mut problems, |place, entry, problems| {
        parser.parse(place, entry, problems)
    });
    let outputs = parse_all(top, "outputs", &mut problems, parse_output);
    problems.into_result()?;
    unique("input", inputs.iter().map(|i| &*i.name))?;
    unique("step", steps.iter().map(|s| &*s.name))?;
    unique("output", outputs.iter().map(|o| &*o.name))?;
    Ok(Body {
        inputs,
        steps,
        outputs,
    })
}

/// The groups by the positions of their steps. An inner workflow and a step of one name cannot be
/// told apart.
fn groups(groups: Vec<Group>, steps: &[Step]) -> Result<Vec<StepGroup>, WorkflowError> {
    let names = groups.iter().map(|group| group.name.as_str());
    unique("step", names.chain(steps.iter().map(|step| &*step.name)))?;
    let positions: HashMap<&str, usize> = steps
        .iter()
        .enumerate()
        .map(|(at, step)| (&*step.name, at))
        .collect();
    let placed = |group: Group| StepGroup {
        steps: group
            .steps
            .iter()
            .filter_map(|name| positions.get(name.as_str()).copied())
            .collect(),
        name: group.name.into(),
        outputs: group.outputs,
    };
    Ok(groups.into_iter().map(placed).collect())
}

/// Whether lists and objects are nested deeper than `limit`, the object itself counted.
pub(super) fn is_nested_deeper(top: &Map<String, Json>, limit: usize) -> bool {
    let mut open: Vec<(&Json, usize)> = top.values().map(|json| (json, 2)).collect();
    while let Some((json, depth)) = open.pop() {
        let below = depth + 1;
        match json {
            Json::Array(_) | Json::Object(_) if depth > limit => return true,
            Json::Array(items) => open.extend(items.iter().map(|item| (item, below))),
            Json::Object(entries) => open.extend(entries.values().map(|item| (item, below))),
            _ => {}
        }
    }
    false
}

fn check_step_entries(steps: Option<&Json>) -> Result<(), WorkflowError> {
    let Some(Json::Array(steps)) = steps else {
        return Ok(());
    };
    match steps.iter().position(|s| !s.is_object()) {
        None => Ok(()),
        Some(i) => Err(WorkflowError::new(
            ErrorClass::InnerWorkflowInvalidStepEntry,
            "workflow_compilation | inner_workflow | composition",
            format!("steps[{i}] must be an object"),
        )),
    }
}

fn refuse_custom_blocks(blocks: Option<&Json>) -> Result<(), WorkflowError> {
    match blocks {
        Some(Json::Array(blocks)) if !blocks.is_empty() => Err(WorkflowError::new(
            ErrorClass::WorkflowEnvironmentConfiguration,
            "workflow_compilation | dynamic_blocks_compilation",
            "the definition has custom Python blocks (`dynamic_blocks_definitions`), and running custom code is not allowed here",
        )),
        _ => Ok(()),
    }
}

fn parse_all<T>(
    top: &Map<String, Json>,
    section: &str,
    problems: &mut Problems,
    mut parse: impl FnMut(&str, &Map<String, Json>, &mut Problems) -> Option<T>,
) -> Vec<T> {
    let entries = match top.get(section) {
        Some(Json::Array(entries)) => entries,
        Some(_) => {
            problems.add(section, "list_type", "must be a list");
            return Vec::new();
        }
        None => {
            problems.add(section, "missing", "field required");
            return Vec::new();
        }
    };
    let mut parsed = Vec::with_capacity(entries.len());
    for (i, entry) in entries.iter().enumerate() {
        let place = format!("{section}.{i}");
        match entry {
            Json::Object(entry) => parsed.extend(parse(&place, entry, problems)),
            _ => problems.add(&place, "dict_type", "must be an object"),
        }
    }
    parsed
}

/// The text under a key that an entry must have.
pub(super) fn required_text<'a>(
    place: &str,
    entry: &'a Map<String, Json>,
    key: &str,
    problems: &mut Problems,
) -> Option<&'a str> {
    match entry.get(key) {
        Some(Json::String(text)) => Some(text),
        Some(_) => {
            problems.add(&format!("{place}.{key}"), "string_type", "must be text");
            None
        }
        None => {
            problems.add(&format!("{place}.{key}"), "missing", "field required");
            None
        }
    }
}

fn parse_output(
    place: &str,
    entry: &Map<String, Json>,
    problems: &mut Problems,
) -> Option<OutputDef> {
    let at = |key: &str| format!("{place}.{key}");
    match entry.get("type") {
        Some(Json::String(tag)) if tag == "JsonField" => {}
        Some(_) => problems.add(&at("type"), "literal_error", "must be \"JsonField\""),
        None => problems.add(&at("type"), "missing", "field required"),
    }
    let name = required_text(place, entry, "name", problems);
    let selector = required_text(place, entry, "selector", problems);
    let coordinates = match entry.get("coordinates_system").map(Json::as_str) {
        None | Some(Some("parent")) => Some(Coordinates::Parent),
        Some(Some("own")) => Some(Coordinates::Own),
        Some(_) => {
            let message = "must be \"own\" or \"parent\"";
            problems.add(&at("coordinates_system"), "enum", message);
            None
        }
    };
    Some(OutputDef {
        name: name?.into(),
        // A text that is no selector refers to nothing, which the graph reports.
        selector: Selector::read(selector?),
        coordinates: coordinates?,
    })
}

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), WorkflowError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(WorkflowError::new(
                ErrorClass::DuplicatedName,
                "workflow_compilation | specification_validation",
                format!("two {what}s are named `{name}`; names must be unique"),
            ));
        }
    }
    Ok(())
}
