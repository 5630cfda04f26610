//! Chains and statements that stand in fields of a step: parsed for the block, checked against the
//! names that the step declares, and applied to values by name.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value as Json;

use super::{
    Chain, Params, ParseProblem, QueryError, StatementGroup, parse_chain, parse_statement,
    problems_text,
};
use crate::blocks::{BuildError, Context, StepProblem};
use crate::definition::step::{FieldValue, Step};
use crate::values::Dict;

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

/// Problems of a field that maps names of `declared` values to chains without operands.
pub fn chain_problems(step: &Step, field: &'static str, declared: &[&str]) -> Vec<StepProblem> {
    let Ok(chains) = chains(step, field) else {
        return Vec::new();
    };
    let changed: Vec<Arc<str>> = chains.iter().map(|(name, _)| name.clone()).collect();
    let mut problems = undeclared(&changed, field, declared);
    for (_, chain) in &chains {
        problems.extend(undeclared(&chain.names(), field, &[]));
    }
    problems
}

/// The named values, each after its chain if it has one; chains of other names do nothing. Fails if
/// a chain does.
pub fn prepared<'a>(
    given: &'a Dict,
    chains: &[(Arc<str>, Chain)],
    cx: &Context<'_>,
) -> Result<Cow<'a, Dict>, QueryError> {
    let mut data = Cow::Borrowed(given);
    for (name, chain) in chains {
        if given.contains_key(name)
            && let Some(value) = data.to_mut().get_mut(name)
        {
            *value = chain.apply(std::mem::take(value), &Params::NONE, cx)?;
        }
    }
    Ok(data)
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
