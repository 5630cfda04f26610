//! Parsing of the entries of `inputs` (engine specification 1.2).

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::coerce;
use super::document::required_text;
use super::problems::Problems;
use crate::values::kind;

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
    /// A scalar that callers neither see nor set: the default of an inner workflow's input that
    /// nothing is bound to.
    Constant(Json),
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

impl InputDef {
    /// The name of its type in a definition.
    pub fn type_name(&self) -> &'static str {
        match self.input_type {
            InputType::Image => "WorkflowImage",
            InputType::VideoMetadata => "WorkflowVideoMetadata",
            InputType::Batch(_) => "WorkflowBatchInput",
            InputType::Parameter(_) | InputType::Constant(_) => "WorkflowParameter",
        }
    }

    /// Whether it has one value, and no batch.
    pub fn is_scalar(&self) -> bool {
        matches!(
            self.input_type,
            InputType::Parameter(_) | InputType::Constant(_)
        )
    }

    /// Whether the definition declares it, for callers to give.
    pub fn is_declared(&self) -> bool {
        !matches!(self.input_type, InputType::Constant(_))
    }
}

pub(super) fn parse_input(
    place: &str,
    entry: &Map<String, Json>,
    problems: &mut Problems,
) -> Option<InputDef> {
    let Some(tag) = entry.get("type").and_then(Json::as_str) else {
        let at = format!("{place}.type");
        problems.add(&at, "union_tag_not_found", "field required");
        return None;
    };
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
    let place = format!("{place}.{tag}");
    let name = required_text(&place, entry, "name", problems);
    let kinds = parse_kinds(&place, entry.get("kind"), default_kind, problems);
    let depth = entry.get("dimensionality");
    let input_type = match tag {
        "WorkflowImage" | "InferenceImage" => {
            fixed_depth(&place, depth, 1, problems);
            InputType::Image
        }
        "WorkflowVideoMetadata" => {
            fixed_depth(&place, depth, 1, problems);
            InputType::VideoMetadata
        }
        "WorkflowBatchInput" => InputType::Batch(free_depth(&place, depth, problems)),
        _ => {
            fixed_depth(&place, depth, 0, problems);
            InputType::Parameter(entry.get("default_value").cloned().unwrap_or_default())
        }
    };
    Some(InputDef {
        name: name?.into(),
        input_type,
        kinds: kinds?,
    })
}

fn fixed_depth(place: &str, depth: Option<&Json>, wanted: i64, problems: &mut Problems) {
    if depth.is_some_and(|d| d.as_i64() != Some(wanted)) {
        let at = format!("{place}.dimensionality");
        problems.add(&at, "literal_error", &format!("must be {wanted}"));
    }
}

fn free_depth(place: &str, depth: Option<&Json>, problems: &mut Problems) -> i64 {
    let Some(depth) = depth else { return 1 };
    coerce::int(depth).unwrap_or_else(|_| {
        let at = format!("{place}.dimensionality");
        problems.add(&at, "int_type", "must be a whole number");
        1
    })
}

fn parse_kinds(
    place: &str,
    kinds: Option<&Json>,
    default: &str,
    problems: &mut Problems,
) -> Option<Vec<String>> {
    let at = format!("{place}.kind");
    let items = match kinds {
        None => return Some(vec![default.to_owned()]),
        Some(Json::Array(items)) => items,
        Some(_) => {
            problems.add(&at, "list_type", "must be a list of kind names");
            return None;
        }
    };
    let name = |item: &Json| match item {
        Json::String(name) => Some(name.clone()),
        Json::Object(o) => o.get("name").and_then(Json::as_str).map(str::to_owned),
        _ => None,
    };
    let names: Option<Vec<String>> = items.iter().map(name).collect();
    if names.is_none() {
        let message = "must be kind names or objects with a `name`";
        problems.add(&at, "value_error", message);
    }
    names
}
