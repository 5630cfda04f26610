//! Parsing of a definition: JSON to inputs, steps and outputs, with every problem found at once.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::canonical::DefinitionHash;
use super::error::{BlockProblem, ErrorClass, WorkflowError};
use super::fields::{self, FieldProblem};
use super::selector::{Selector, is_selector};
use super::step::{FieldValue, Step};
use crate::blocks::{BlockSpec, Field, registry};
use crate::values::kind;

/// Version of the execution engine that this program implements.
pub const ENGINE_VERSION: &str = "1.17.0";

const PARSING: &str = "workflow_compilation | workflow_definition_parsing";

/// What an input is.
#[derive(Clone, Debug, PartialEq)]
pub enum InputType {
    /// An image; a batch of depth 1.
    Image,
    /// Video metadata; a batch of depth 1.
    VideoMetadata,
    /// A batch of this depth.
    Batch(i64),
    /// A scalar with its default.
    Parameter(Json),
}

/// An input of a definition.
#[derive(Clone, Debug)]
pub struct InputDef {
    /// Name, unique among inputs.
    pub name: Arc<str>,
    /// What it is.
    pub input_type: InputType,
    /// Declared kinds.
    pub kinds: Vec<String>,
}

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
    /// Inputs in their order.
    pub inputs: Vec<InputDef>,
    /// Steps in their order.
    pub steps: Vec<Arc<Step>>,
    /// Outputs in their order.
    pub outputs: Vec<OutputDef>,
}

impl Document {
    /// Parses a definition.
    ///
    /// # Errors
    /// In this order: the engine version, entries that are no steps, custom blocks (not run by this
    /// version), then every structural problem in one `WorkflowSyntaxError`, then repeated names.
    pub fn parse(json: &Json) -> Result<Self, WorkflowError> {
        let Json::Object(top) = json else {
            return Err(syntax("the definition must be a JSON object", Vec::new()));
        };
        check_version(top.get("version"))?;
        check_step_entries(top.get("steps"))?;
        refuse_custom_blocks(top.get("dynamic_blocks_definitions"))?;
        let mut problems = Problems::default();
        if !top.contains_key("version") {
            problems.add("version", "missing", "field required");
        }
        let inputs = parse_all(top, "inputs", &mut problems, parse_input);
        let steps = parse_all(top, "steps", &mut problems, parse_step);
        let outputs = parse_all(top, "outputs", &mut problems, parse_output);
        problems.into_result()?;
        unique("input", inputs.iter().map(|i| &*i.name))?;
        unique("step", steps.iter().map(|s| &*s.name))?;
        unique("output", outputs.iter().map(|o| &*o.name))?;
        let steps = steps.into_iter().map(Arc::new).collect();
        Ok(Self {
            hash: DefinitionHash::of(json),
            inputs,
            steps,
            outputs,
        })
    }
}

fn syntax(message: impl Into<String>, blocks: Vec<BlockProblem>) -> WorkflowError {
    let message = message.into();
    let mut error = WorkflowError::new(ErrorClass::WorkflowSyntax, PARSING, message.clone());
    error.blocks = blocks;
    error.with_inner("ValidationError", message)
}

fn check_version(version: Option<&Json>) -> Result<(), WorkflowError> {
    let context = "workflow_compilation | engine_initialisation";
    let refuse = |message: String| {
        Err(WorkflowError::new(
            ErrorClass::WorkflowDefinition,
            context,
            message,
        ))
    };
    let text = match version {
        None | Some(Json::Null) => return Ok(()),
        Some(Json::String(text)) if text.is_empty() => return Ok(()),
        Some(Json::String(text)) => text,
        Some(_) => return refuse("`version` must be text, e.g. \"1.0\"".into()),
    };
    let release = text.trim().trim_start_matches(['v', 'V']);
    let numeric = release
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .map_or(release, |i| &release[..i]);
    let parts: Option<Vec<u64>> = numeric
        .trim_end_matches('.')
        .split('.')
        .map(|p| p.parse().ok())
        .collect();
    let Some(parts) = parts else {
        return refuse("`version` is not a version number; write e.g. \"1.0\"".into());
    };
    let wanted = [0, 1, 2].map(|i| parts.get(i).copied().unwrap_or(0));
    let own = [1, 17, 0];
    if wanted[0] == own[0] && wanted <= own {
        return Ok(());
    }
    let message = format!(
        "no execution engine satisfies >={text},<{}.0.0; available: {ENGINE_VERSION}",
        wanted[0].saturating_add(1)
    );
    Err(WorkflowError::new(
        ErrorClass::NotSupportedExecutionEngine,
        context,
        message,
    ))
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

/// Problems of a definition as they are found.
#[derive(Default)]
struct Problems {
    lines: Vec<String>,
    blocks: Vec<BlockProblem>,
}

impl Problems {
    fn add(&mut self, place: &str, category: &str, message: &str) {
        self.lines.push(format!("{place}: {message} [{category}]"));
    }

    fn into_result(self) -> Result<(), WorkflowError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let n = self.lines.len();
        let count = if n == 1 {
            "1 problem".to_owned()
        } else {
            format!("{n} problems")
        };
        Err(syntax(
            format!("{count} in the definition:\n{}", self.lines.join("\n")),
            self.blocks,
        ))
    }
}

fn parse_all<T>(
    top: &Map<String, Json>,
    section: &str,
    problems: &mut Problems,
    parse: impl Fn(&str, &Map<String, Json>, &mut Problems) -> Option<T>,
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

fn required_text<'a>(
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

fn parse_input(
    place: &str,
    entry: &Map<String, Json>,
    problems: &mut Problems,
) -> Option<InputDef> {
    let tag = match entry.get("type") {
        Some(Json::String(tag)) => tag.as_str(),
        Some(_) | None => {
            problems.add(
                &format!("{place}.type"),
                "union_tag_not_found",
                "field required",
            );
            return None;
        }
    };
    let name = required_text(place, entry, "name", problems);
    let default_kind = match tag {
        "WorkflowImage" | "InferenceImage" => kind::IMAGE,
        "WorkflowVideoMetadata" => kind::VIDEO_METADATA,
        "WorkflowBatchInput" | "WorkflowParameter" | "InferenceParameter" => kind::WILDCARD,
        _ => {
            problems.add(
                &format!("{place}.type"),
                "union_tag_invalid",
                "unknown input type; known: WorkflowImage, InferenceImage, WorkflowVideoMetadata, WorkflowBatchInput, WorkflowParameter, InferenceParameter",
            );
            return None;
        }
    };
    let kinds = parse_kinds(place, entry.get("kind"), default_kind, problems);
    let depth = match entry.get("dimensionality") {
        None => None,
        Some(Json::Number(n)) if n.as_i64().is_some() => n.as_i64(),
        Some(_) => {
            problems.add(
                &format!("{place}.dimensionality"),
                "int_type",
                "must be a whole number",
            );
            None
        }
    };
    let mut fixed = |wanted: i64| {
        if depth.is_some_and(|d| d != wanted) {
            let message = format!("must be {wanted}");
            problems.add(
                &format!("{place}.{tag}.dimensionality"),
                "literal_error",
                &message,
            );
        }
    };
    let input_type = match tag {
        "WorkflowImage" | "InferenceImage" => {
            fixed(1);
            InputType::Image
        }
        "WorkflowVideoMetadata" => {
            fixed(1);
            InputType::VideoMetadata
        }
        "WorkflowBatchInput" => InputType::Batch(depth.unwrap_or(1)),
        _ => {
            fixed(0);
            InputType::Parameter(entry.get("default_value").cloned().unwrap_or_default())
        }
    };
    Some(InputDef {
        name: name?.into(),
        input_type,
        kinds: kinds?,
    })
}

fn parse_kinds(
    place: &str,
    kinds: Option<&Json>,
    default: &str,
    problems: &mut Problems,
) -> Option<Vec<String>> {
    let items = match kinds {
        None => return Some(vec![default.to_owned()]),
        Some(Json::Array(items)) => items,
        Some(_) => {
            problems.add(
                &format!("{place}.kind"),
                "list_type",
                "must be a list of kind names",
            );
            return None;
        }
    };
    let names: Option<Vec<String>> = items
        .iter()
        .map(|item| match item {
            Json::String(name) => Some(name.clone()),
            Json::Object(o) => o.get("name").and_then(Json::as_str).map(str::to_owned),
            _ => None,
        })
        .collect();
    if names.is_none() {
        problems.add(
            &format!("{place}.kind"),
            "value_error",
            "must be kind names or objects with a `name`",
        );
    }
    names
}

fn parse_output(
    place: &str,
    entry: &Map<String, Json>,
    problems: &mut Problems,
) -> Option<OutputDef> {
    match entry.get("type") {
        Some(Json::String(tag)) if tag == "JsonField" => {}
        Some(_) => problems.add(
            &format!("{place}.type"),
            "literal_error",
            "must be \"JsonField\"",
        ),
        None => problems.add(&format!("{place}.type"), "missing", "field required"),
    }
    let name = required_text(place, entry, "name", problems);
    let selector = required_text(place, entry, "selector", problems).and_then(|text| {
        if text.starts_with("$inputs.") || text.starts_with("$steps.") {
            return Some(Selector::parse(text).unwrap_or_else(|| Selector::Malformed(text.into())));
        }
        let message = "must be $inputs.<name>, $steps.<step>.<output> or $steps.<step>.*";
        problems.add(
            &format!("{place}.selector"),
            "string_pattern_mismatch",
            message,
        );
        None
    });
    let coordinates = match entry.get("coordinates_system") {
        None => Some(Coordinates::Parent),
        Some(Json::String(s)) if s == "own" => Some(Coordinates::Own),
        Some(Json::String(s)) if s == "parent" => Some(Coordinates::Parent),
        Some(_) => {
            let message = "must be \"own\" or \"parent\"";
            problems.add(&format!("{place}.coordinates_system"), "enum", message);
            None
        }
    };
    Some(OutputDef {
        name: name?.into(),
        selector: selector?,
        coordinates: coordinates?,
    })
}

fn parse_step(place: &str, entry: &Map<String, Json>, problems: &mut Problems) -> Option<Step> {
    let name = entry.get("name").and_then(Json::as_str);
    let tag = entry.get("type").and_then(Json::as_str);
    let report = |problems: &mut Problems,
                  field: Option<&str>,
                  below: &str,
                  category: &str,
                  message: &str| {
        let at = match (tag, field) {
            (Some(tag), Some(field)) => format!("{place}.{tag}.{field}{below}"),
            (Some(tag), None) => format!("{place}.{tag}"),
            (None, _) => place.to_owned(),
        };
        problems.add(&at, category, message);
        let known = problems
            .blocks
            .iter()
            .any(|b| b.block_id.as_deref() == name && b.property_name.as_deref() == field);
        if !known {
            problems.blocks.push(BlockProblem {
                block_id: name.map(str::to_owned),
                block_type: tag.map(str::to_owned),
                property_name: field.map(str::to_owned),
                property_details: Some(message.to_owned()),
                ..BlockProblem::default()
            });
        }
    };
    let Some(type_tag) = tag else {
        report(
            problems,
            None,
            "",
            "union_tag_not_found",
            "the step has no `type`",
        );
        return None;
    };
    let Some(spec) = registry::find(type_tag) else {
        let listed = problems.lines.iter().any(|l| l.contains("known types:"));
        let message = unknown_type(type_tag, listed);
        report(problems, None, "", "union_tag_invalid", &message);
        return None;
    };
    match entry.get("name") {
        Some(Json::String(_)) => {}
        Some(_) => report(problems, Some("name"), "", "string_type", "must be text"),
        None => report(problems, Some("name"), "", "missing", "field required"),
    }
    let mut values = Vec::with_capacity(spec.fields.len());
    for field in spec.fields {
        match parse_field(field, entry) {
            Ok(value) => values.push(value),
            Err(found) => {
                for p in found {
                    report(problems, Some(field.name), &p.path, p.category, &p.message);
                }
            }
        }
    }
    if values.len() != spec.fields.len() {
        return None;
    }
    let step = Step {
        name: name?.into(),
        type_tag: type_tag.to_owned(),
        spec,
        values,
    };
    let checks = [spec.check, spec.literal_check].into_iter().flatten();
    for p in checks.flat_map(|check| check(&step)) {
        report(problems, p.field, "", "value_error", &p.message);
    }
    Some(step)
}

/// What to say of a block type that does not exist: what comes close, and once per definition the
/// types that there are.
fn unknown_type(type_tag: &str, listed: bool) -> String {
    let mut message = "unknown block type".to_owned();
    let stem = |tag: &str| -> String {
        let name = tag.rsplit('/').next().unwrap_or(tag);
        let name = name.split('@').next().unwrap_or(name);
        name.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect()
    };
    let wanted = stem(type_tag);
    let close = registry::all()
        .map(BlockSpec::type_id)
        .find(|known| stem(known) == wanted);
    if let Some(close) = close {
        message.push_str(&format!("; did you mean {close}?"));
    }
    if !listed {
        let known: Vec<&str> = registry::all().map(BlockSpec::type_id).collect();
        message.push_str(&format!("; known types: {}", known.join(", ")));
    }
    message
}

fn parse_field(field: &Field, entry: &Map<String, Json>) -> Result<FieldValue, Vec<FieldProblem>> {
    let given = entry
        .get(field.name)
        .or_else(|| field.alias.and_then(|alias| entry.get(alias)));
    let Some(given) = given else {
        let Some(default) = field.default else {
            return Err(vec![FieldProblem {
                path: String::new(),
                category: "missing",
                message: "field required".into(),
            }]);
        };
        // Defaults are constants of the block; a test holds that each of them parses.
        return Ok(FieldValue::literal(
            serde_json::from_str(default).unwrap_or_default(),
        ));
    };
    let coerced = fields::check(field, given)?;
    Ok(read_references(field, coerced))
}

/// Tells references from literals (engine specification 2.2): only the value itself and the first
/// level of a list or object are looked at.
fn read_references(field: &Field, json: Json) -> FieldValue {
    let places = fields::reference_places(field.types);
    let refers = |item: &Json| item.as_str().is_some_and(is_selector);
    match json {
        Json::Array(items) if places.items && items.iter().any(refers) => {
            FieldValue::List(items.into_iter().map(read_member).collect())
        }
        Json::Object(entries) if places.values && entries.values().any(refers) => FieldValue::Map(
            entries
                .into_iter()
                .map(|(key, item)| (Arc::from(key), read_member(item)))
                .collect(),
        ),
        json if (places.whole || places.items || places.values) && refers(&json) => {
            read_member(json)
        }
        json => FieldValue::literal(json),
    }
}

fn read_member(json: Json) -> FieldValue {
    match &json {
        Json::String(text) if is_selector(text) => FieldValue::Selector(
            Selector::parse(text).unwrap_or_else(|| Selector::Malformed(text.as_str().into())),
        ),
        _ => FieldValue::literal(json),
    }
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
