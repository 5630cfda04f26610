//! Statements: comparisons of operands, alone or in groups.
//!
//! Every statement of a group is evaluated, whatever the ones before it said.

use std::borrow::Cow;
use std::sync::Arc;

use super::comparison::{Comparator, Test};
use super::node::{Node, Read};
use super::operation::Chain;
use super::{CURRENT, Params, QueryError};
use crate::blocks::Context;
use crate::definition::error::ErrorClass;
use crate::values::Value;

/// Statements joined by `and` or `or`.
#[derive(Debug)]
pub struct StatementGroup {
    statements: Vec<Statement>,
    all: bool,
}

#[derive(Debug)]
enum Statement {
    Group(StatementGroup),
    Binary(Box<Binary>),
    Unary(Box<Unary>),
}

#[derive(Debug)]
struct Binary {
    left: Operand,
    comparator: Comparator,
    right: Operand,
    negate: bool,
    path: Box<str>,
}

#[derive(Debug)]
struct Unary {
    operand: Operand,
    test: Test,
    negate: bool,
    path: Box<str>,
}

#[derive(Debug)]
struct Operand {
    source: Source,
    operations: Chain,
}

#[derive(Debug)]
enum Source {
    Static(Value),
    Named(Arc<str>),
}

impl StatementGroup {
    /// Reads a group whose statements are placed at `<path>.statements[i]` in errors.
    pub(super) fn read(node: &Node<'_>, path: &str) -> Read<Self> {
        let node = node.nested()?;
        check_tag(&node, "StatementGroup")?;
        let all = node.or("operator", false, |field| {
            field.one_of(&[("and", true), ("or", false)])
        });
        let list = node.need("statements")?;
        let items = list.items()?;
        if items.is_empty() {
            return Err(list.broken("must have at least one statement"));
        }
        let statements: Vec<Read<Statement>> = items
            .iter()
            .enumerate()
            .map(|(i, item)| Statement::read(item, format!("{path}.statements[{i}]")))
            .collect();
        Ok(Self {
            statements: statements.into_iter().collect::<Read<_>>()?,
            all: all?,
        })
    }

    /// Whether the group is true for these named values; the error of the first statement that cannot be
    /// evaluated.
    pub fn holds(&self, params: &Params<'_>, cx: &Context<'_>) -> Result<bool, QueryError> {
        let mut result = self.all;
        for statement in &self.statements {
            let holds = match statement {
                Statement::Group(group) => group.holds(params, cx),
                Statement::Binary(statement) => statement.holds(params, cx),
                Statement::Unary(statement) => statement.holds(params, cx),
            }?;
            result = match self.all {
                true => result & holds,
                false => result | holds,
            };
        }
        Ok(result)
    }

    /// Names that must be supplied for the group, in order, repeats included.
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        self.collect_names(&mut names);
        names
    }

    fn collect_names(&self, names: &mut Vec<Arc<str>>) {
        for statement in &self.statements {
            match statement {
                Statement::Group(group) => group.collect_names(names),
                Statement::Binary(statement) => {
                    statement.left.collect_names(names);
                    statement.right.collect_names(names);
                }
                Statement::Unary(statement) => statement.operand.collect_names(names),
            }
        }
    }
}

/// Notes a problem unless the field `type` says what is wanted.
pub(super) fn check_tag(node: &Node<'_>, wanted: &str) -> Read<()> {
    let tag = node.tag()?;
    match tag == wanted {
        true => Ok(()),
        false => Err(node
            .need("type")?
            .broken(format!("must be `{wanted}`, got `{tag}`"))),
    }
}

impl Statement {
    fn read(node: &Node<'_>, path: String) -> Read<Self> {
        match node.tag()? {
            "StatementGroup" => StatementGroup::read(node, &path).map(Self::Group),
            "BinaryStatement" => {
                let left = Operand::read(node, "left_operand", &path);
                let comparator = node
                    .need("comparator")
                    .and_then(|field| Comparator::read(&field));
                let right = Operand::read(node, "right_operand", &path);
                let negate = node.or("negate", false, |field| field.flag());
                Ok(Self::Binary(Box::new(Binary {
                    left: left?,
                    comparator: comparator?,
                    right: right?,
                    negate: negate?,
                    path: path.into(),
                })))
            }
            "UnaryStatement" => {
                let operand = Operand::read(node, "operand", &path);
                let test = node.need("operator").and_then(|field| Test::read(&field));
                let negate = node.or("negate", false, |field| field.flag());
                Ok(Self::Unary(Box::new(Unary {
                    operand: operand?,
                    test: test?,
                    negate: negate?,
                    path: path.into(),
                })))
            }
            other => Err(node.need("type")?.broken(format!(
                "unknown statement `{other}`; known: BinaryStatement, UnaryStatement, StatementGroup"
            ))),
        }
    }
}

impl Operand {
    fn read(statement: &Node<'_>, field: &str, path: &str) -> Read<Self> {
        let node = statement.need(field)?;
        let source = match node.tag()? {
            "StaticOperand" => node
                .need("value")
                .map(|value| Source::Static(Value::from_json(value.json))),
            "DynamicOperand" => node.or("operand_name", Source::Named(CURRENT.into()), |name| {
                Ok(Source::Named(name.text()?.into()))
            }),
            other => Err(node.need("type")?.broken(format!(
                "unknown operand `{other}`; known: StaticOperand, DynamicOperand"
            ))),
        };
        let operations = node.or("operations", Chain::default(), |chain| {
            Chain::read(chain, &format!("{path}.operations"))
        });
        Ok(Self {
            source: source?,
            operations: operations?,
        })
    }

    fn value<'a>(
        &'a self,
        params: &Params<'a>,
        cx: &Context<'_>,
        path: &str,
    ) -> Result<Cow<'a, Value>, QueryError> {
        let value = match &self.source {
            Source::Static(value) => value,
            Source::Named(name) => params
                .get(name)
                .ok_or_else(|| params.lacks(name, &format!("the statement at {path}"), path))?,
        };
        match self.operations.is_empty() {
            true => Ok(Cow::Borrowed(value)),
            false => self
                .operations
                .apply(value.clone(), params, cx)
                .map(Cow::Owned)
                .map_err(|error| in_statement(error, path)),
        }
    }

    fn collect_names(&self, names: &mut Vec<Arc<str>>) {
        if let Source::Named(name) = &self.source {
            names.push(name.clone());
        }
        self.operations.collect_names(names);
    }
}

/// An error of an operand's chain as the statement reports it: errors with a class of their own
/// keep it, others are errors of the statement, and missing names are told with its place.
fn in_statement(error: QueryError, path: &str) -> QueryError {
    match error.class {
        None => failed(path, &error.message),
        Some(ErrorClass::UndeclaredSymbol) => QueryError {
            path: Some(path.to_owned()),
            ..error
        },
        Some(_) => error,
    }
}

fn failed(path: &str, why: &str) -> QueryError {
    let message = format!("statement at {path} cannot be evaluated: {why}");
    QueryError::at(ErrorClass::EvaluationEngine, path, message)
}

impl Binary {
    fn holds(&self, params: &Params<'_>, cx: &Context<'_>) -> Result<bool, QueryError> {
        let left = self.left.value(params, cx, &self.path)?;
        let right = self.right.value(params, cx, &self.path)?;
        match self.comparator.compare(&left, &right) {
            Ok(result) => Ok(result != self.negate),
            Err(why) => Err(failed(&self.path, &why)),
        }
    }
}

impl Unary {
    fn holds(&self, params: &Params<'_>, cx: &Context<'_>) -> Result<bool, QueryError> {
        let operand = self.operand.value(params, cx, &self.path)?;
        match self.test.holds(&operand) {
            Ok(result) => Ok(result != self.negate),
            Err(why) => Err(failed(&self.path, &why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::blocks::query::trial::holds;
    use serde_json::{Value as Json, json};

    fn named(name: &str) -> Json {
        json!({"type": "DynamicOperand", "operand_name": name})
    }

    fn binary(left: &str, comparator: &str, right: &str) -> Json {
        json!({"type": "BinaryStatement", "left_operand": named(left),
               "comparator": {"type": comparator}, "right_operand": named(right)})
    }

    fn group(operator: &str, statements: Json) -> Json {
        json!({"type": "StatementGroup", "operator": operator, "statements": statements})
    }

    #[test]
    fn groups_join_and_nest() {
        let (x, y) = (binary("x", "==", "t"), binary("y", "==", "t"));
        let nested = json!([x, group("and", json!([y, binary("x", "!=", "t")]))]);
        for (values, or, and, mixed) in [
            ((1, 1), "true", "true", "true"),
            ((1, 0), "true", "false", "true"),
            ((0, 1), "true", "false", "true"),
            ((0, 0), "false", "false", "false"),
        ] {
            let params = json!({"x": values.0, "y": values.1, "t": 1});
            assert_eq!(holds(group("or", json!([x, y])), params.clone()), or);
            assert_eq!(holds(group("and", json!([x, y])), params.clone()), and);
            assert_eq!(holds(group("or", nested.clone()), params), mixed);
        }
        let default = json!({"type": "StatementGroup", "statements": [x, y]});
        assert_eq!(holds(default, json!({"x": 0, "y": 1, "t": 1})), "true");
    }

    #[test]
    fn a_later_error_shows_even_when_the_result_is_known() {
        let statements = json!([binary("a", "==", "a"), binary("a", "(Number) >", "b")]);
        let params = json!({"a": 5, "b": "x"});
        assert_eq!(
            holds(group("or", statements), params),
            "!EvaluationEngineError"
        );
    }

    #[test]
    fn operands_pass_through_chains() {
        let statement = json!({
            "type": "BinaryStatement", "comparator": {"type": "(Number) >="}, "negate": false,
            "left_operand": {"type": "DynamicOperand", "operand_name": "p",
                             "operations": [{"type": "SequenceLength"}]},
            "right_operand": {"type": "StaticOperand", "value": "2",
                              "operations": [{"type": "ToNumber", "cast_to": "int"}]}});
        let all = group("or", json!([statement]));
        assert_eq!(holds(all.clone(), json!({"p": [1, 2]})), "true");
        assert_eq!(holds(all.clone(), json!({"p": [1]})), "false");
        assert_eq!(
            holds(all.clone(), json!({"p": 5})),
            "!InvalidInputTypeError"
        );
        assert_eq!(holds(all, json!({})), "!UndeclaredSymbolError");
        let overflow = json!({
            "type": "UnaryStatement", "operator": {"type": "Exists"},
            "operand": {"type": "StaticOperand", "value": "inf",
                        "operations": [{"type": "ToNumber", "cast_to": "int"}]}});
        let overflow = group("or", json!([overflow]));
        assert_eq!(holds(overflow, json!({})), "!EvaluationEngineError");
    }

    #[test]
    fn negation_turns_single_statements_round() {
        let mut statement = binary("a", "==", "b");
        statement["negate"] = json!(true);
        let params = json!({"a": 1, "b": true});
        assert_eq!(holds(group("or", json!([statement])), params), "false");
    }
}
