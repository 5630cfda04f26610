//! Parsing of the entries of `steps` (engine specification 1.4, 2.2 and 4.2).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value as Json};

use super::coerce;
use super::error::BlockProblem;
use super::fields::{self, FieldProblem};
use super::problems::Problems;
use super::selector::{Selector, is_selector};
use super::step::{FieldValue, Step};
use crate::blocks::{BlockSpec, Field, registry};
use crate::values::Value;

/// Reads steps one after the other; knows what has been said of earlier ones.
#[derive(Default)]
pub(super) struct StepParser {
    /// Whether a problem lists the known types already; once is enough for a document.
    types_listed: bool,
}

/// An entry of `steps` while it is read.
struct Entry<'a> {
    place: &'a str,
    name: Option<&'a str>,
    tag: Option<&'a str>,
    fields: &'a Map<String, Json>,
}

impl Entry<'_> {
    fn report(&self, problems: &mut Problems, field: Option<&str>, problem: &FieldProblem) {
        let at = match (self.tag, field) {
            (Some(tag), Some(field)) => format!("{}.{tag}.{field}{}", self.place, problem.path),
            (Some(tag), None) => format!("{}.{tag}", self.place),
            (None, _) => self.place.to_owned(),
        };
        problems.add(&at, problem.category, &problem.message);
        problems.blame(BlockProblem {
            block_id: self.name.map(str::to_owned),
            block_type: self.tag.map(str::to_owned),
            property_name: field.map(str::to_owned),
            property_details: Some(problem.message.clone()),
            ..BlockProblem::default()
        });
    }
}

impl StepParser {
    pub(super) fn parse(
        &mut self,
        place: &str,
        fields: &Map<String, Json>,
        problems: &mut Problems,
    ) -> Option<Step> {
        let entry = Entry {
            place,
            name: fields.get("name").and_then(Json::as_str),
            tag: fields.get("type").and_then(Json::as_str),
            fields,
        };
        let Some(type_tag) = entry.tag else {
            let problem = FieldProblem::new("union_tag_not_found", "the step has no `type`");
            entry.report(problems, None, &problem);
            return None;
        };
        let Some(spec) = registry::find(type_tag) else {
            let problem = FieldProblem::new("union_tag_invalid", self.unknown_type(type_tag));
            entry.report(problems, None, &problem);
            return None;
        };
        match fields.get("name") {
            Some(Json::String(_)) => {}
            Some(_) => {
                let problem = FieldProblem::new("string_type", "must be text");
                entry.report(problems, Some("name"), &problem);
            }
            None => entry.report(problems, Some("name"), &FieldProblem::missing()),
        }
        let values = parse_fields(&entry, spec.fields, problems)?;
        let step = Step {
            name: entry.name?.into(),
            type_tag: type_tag.to_owned(),
            spec,
            values,
        };
        let checks = [spec.check, spec.literal_check].into_iter().flatten();
        for p in checks.flat_map(|check| check(&step)) {
            let problem = FieldProblem::new("value_error", p.message);
            entry.report(problems, p.field, &problem);
        }
        Some(step)
    }

    /// What to say of a block type that does not exist: what comes close, and once per definition
    /// the types that there are.
    fn unknown_type(&mut self, type_tag: &str) -> String {
        let mut message = "unknown block type".to_owned();
        if let Some(close) = BY_STEM.get(&stem(type_tag)) {
            message.push_str(&format!("; did you mean {close}?"));
        }
        if !std::mem::replace(&mut self.types_listed, true) {
            let known: Vec<&str> = registry::all().map(BlockSpec::type_id).collect();
            message.push_str(&format!("; known types: {}", known.join(", ")));
        }
        message
    }
}

/// Type identifiers by what is left of them without prefix, version and punctuation.
static BY_STEM: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    // Of several versions the first stays, as it stands first in the list.
    let known = registry::all().map(BlockSpec::type_id);
    let mut stems = HashMap::new();
    for type_id in known {
        stems.entry(stem(type_id)).or_insert(type_id);
    }
    stems
});

fn stem(type_tag: &str) -> String {
    let name = type_tag.rsplit('/').next().unwrap_or(type_tag);
    let name = name.split('@').next().unwrap_or(name);
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// One value per field, or none if a field is wrong.
fn parse_fields(
    entry: &Entry<'_>,
    fields: &[Field],
    problems: &mut Problems,
) -> Option<Vec<FieldValue>> {
    let mut values = Vec::with_capacity(fields.len());
    for field in fields {
        match parse_field(field, entry.fields) {
            Ok(value) => values.push(value),
            Err(found) => {
                for problem in found {
                    entry.report(problems, Some(field.name), &problem);
                }
            }
        }
    }
    (values.len() == fields.len()).then_some(values)
}

fn parse_field(field: &Field, entry: &Map<String, Json>) -> Result<FieldValue, Vec<FieldProblem>> {
    let given = entry
        .get(field.name)
        .or_else(|| field.alias.and_then(|alias| entry.get(alias)));
    let Some(given) = given else {
        let Some(default) = field.default else {
            return Err(vec![FieldProblem::missing()]);
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
        json if places.any() && refers(&json) => read_member(json),
        Json::String(text) if !fields::takes_text(field.types) => match coerce::non_finite(&text) {
            Some(x) => FieldValue::Literal(Json::String(text), Value::Float(x)),
            None => FieldValue::literal(Json::String(text)),
        },
        json => FieldValue::literal(json),
    }
}

fn read_member(json: Json) -> FieldValue {
    match &json {
        Json::String(text) if is_selector(text) => FieldValue::Selector(Selector::read(text)),
        _ => FieldValue::literal(json),
    }
}
