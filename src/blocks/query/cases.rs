//! Cases of an expression: the first whose condition holds gives the result, else the default.

use std::sync::Arc;

use super::node::{Node, Read};
use super::operation::Chain;
use super::statements::{StatementGroup, check_tag};
use super::{Params, QueryError, ROOT};
use crate::blocks::Context;
use crate::values::Value;

/// Conditions with their results, and the result if none holds.
#[derive(Debug)]
pub struct Cases {
    cases: Vec<(StatementGroup, CaseResult)>,
    default: CaseResult,
}

#[derive(Debug)]
enum CaseResult {
    Static(Value),
    Named { name: Arc<str>, operations: Chain },
}

impl Cases {
    pub(super) fn read(node: &Node<'_>) -> Read<Self> {
        check_tag(node, "CasesDefinition")?;
        let default = node
            .need("default")
            .and_then(|result| CaseResult::read(&result));
        let list = node.need("cases")?;
        let cases: Vec<Read<_>> = list.items()?.iter().map(read_case).collect();
        Ok(Self {
            cases: cases.into_iter().collect::<Read<_>>()?,
            default: default?,
        })
    }

    /// The result for these named values. Fails if a condition up to the first that holds does, or the
    /// chain of the result.
    pub fn choose(&self, params: &Params<'_>, cx: &Context<'_>) -> Result<Value, QueryError> {
        for (condition, result) in &self.cases {
            if condition.holds(params, cx)? {
                return result.value(params, cx);
            }
        }
        self.default.value(params, cx)
    }

    /// Names that must be supplied, in order, repeats included.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        for (condition, result) in &self.cases {
            names.append(&mut condition.names());
            result.collect_names(&mut names);
        }
        self.default.collect_names(&mut names);
        names
    }
}

fn read_case(node: &Node<'_>) -> Read<(StatementGroup, CaseResult)> {
    check_tag(node, "CaseDefinition")?;
    let condition = node
        .need("condition")
        .and_then(|group| StatementGroup::read(&group, ROOT));
    let result = node
        .need("result")
        .and_then(|result| CaseResult::read(&result));
    Ok((condition?, result?))
}

impl CaseResult {
    fn read(node: &Node<'_>) -> Read<Self> {
        match node.tag()? {
            "StaticCaseResult" => node
                .need("value")
                .map(|value| Self::Static(Value::from_json(value.json))),
            "DynamicCaseResult" => {
                let name = node.need("parameter_name").and_then(|name| {
                    let name: Arc<str> = name.text()?.into();
                    Ok(name)
                });
                let operations = node.or("operations", Chain::default(), |field| {
                    match field.json.is_null() {
                        true => Ok(Chain::default()),
                        false => Chain::read(field, ROOT),
                    }
                });
                Ok(Self::Named {
                    name: name?,
                    operations: operations?,
                })
            }
            other => Err(node.need("type")?.broken(format!(
                "unknown result `{other}`; known: StaticCaseResult, DynamicCaseResult"
            ))),
        }
    }

    fn value(&self, params: &Params<'_>, cx: &Context<'_>) -> Result<Value, QueryError> {
        match self {
            Self::Static(value) => Ok(value.clone()),
            Self::Named { name, operations } => match params.get(name) {
                Some(value) => operations.apply(value.clone(), params, cx),
                None => Err(params.lacks(name, "the result of a case", ROOT)),
            },
        }
    }

    fn collect_names(&self, names: &mut Vec<Arc<str>>) {
        if let Self::Named { name, operations } = self {
            names.push(name.clone());
            operations.collect_names(names);
        }
    }
}
