//! Chains and statements that stand in fields of a step: parsed for the block, and checked against
//! the names that the step declares.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Chain, ParseProblem, StatementGroup, parse_chain, parse_statement, problems_text};
use crate::blocks::{BuildError, StepProblem};
use crate::definition::step::{FieldValue, Step};

/// The chain in a field.
pub fn chain(step: &Step, field: &str) -> Result<Chain, BuildError> {
    read(step, field, parse_chain)
}

/// The statement group in a field.
pub fn statement(step: &Step, field: &str) -> Result<StatementGroup, BuildError> {
    read(step, field, parse_statement)
}

/// The chains in a field that maps names to chains.
pub fn chains(step: &Step, field: &str) -> Result<Vec<(Arc<str>, Chain)>, BuildError> {
    let Some(Json::Object(map)) = step.literal(field) else {
        return Ok(Vec::new());
    };
    map.iter()
        .map(|(name, json)| match parse_chain(json) {
            Ok(chain) => Ok((name.as_str().into(), chain)),
            Err(problems) => Err(unusable(step, field, &problems)),
        })
        .collect()
}

/// What `parse` makes of the literal in a field.
pub fn read<T>(
    step: &Step,
    field: &str,
    parse: fn(&Json) -> Result<T, Vec<ParseProblem>>,
) -> Result<T, BuildError> {
    let literal = step.literal(field).unwrap_or(&Json::Null);
    parse(literal).map_err(|problems| unusable(step, field, &problems))
}

fn unusable(step: &Step, field: &str, problems: &[ParseProblem]) -> BuildError {
    BuildError::new(format!(
        "field `{field}` of step `{}` cannot be used: {}",
        step.name,
        problems_text(problems)
    ))
}

/// The names that a field declares: the keys of its object.
pub fn declared<'a>(step: &'a Step, field: &str) -> Vec<&'a str> {
    match step.field(field) {
        FieldValue::Map(entries) => entries.iter().map(|(name, _)| &**name).collect(),
        FieldValue::Literal(Json::Object(map), _) => map.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A problem for each of `names`, used in `field`, that is not among `declared`.
pub fn undeclared(names: &[Arc<str>], field: &'static str, declared: &[&str]) -> Vec<StepProblem> {
    let mut missing: Vec<&str> = Vec::new();
    for name in names {
        if !declared.contains(&&**name) && !missing.contains(&&**name) {
            missing.push(name);
        }
    }
    missing
        .into_iter()
        .map(|name| StepProblem {
            field: Some(field),
            message: format!(
                "uses the parameter `{name}`, which is not declared; declared: [{}]",
                declared.join(", ")
            ),
        })
        .collect()
}
