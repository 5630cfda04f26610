//! The query language of workflows: chains of operations that change a value, and statements that
//! decide something.
//!
//! Both are parsed once, when a definition is compiled ([`parse_chain`], [`parse_statement`]), and
//! evaluated per element against named values ([`Params`]). Evaluation is Python's: what counts as
//! true, equal or ordered, how numbers read as text. All statements of a group are evaluated even
//! when the result is known, so that an error in a later one always shows. Nothing is cached.
//!
//! Patterns are Python's, translated and compiled at parse time; one that cannot be compiled is a
//! problem of the definition.

mod cases;
mod classification;
mod comparison;
mod detections;
mod error;
mod images;
mod node;
mod numbers;
mod operation;
mod pattern;
mod properties;
mod rename;
mod sequences;
mod statements;
pub mod step;
mod strings;
#[cfg(test)]
pub(crate) mod trial;
mod zone;

use serde_json::Value as Json;

pub use cases::Cases;
pub use error::QueryError;
pub use node::ParseProblem;
pub use operation::Chain;
pub use statements::StatementGroup;

use super::Context;
use crate::definition::error::ErrorClass;
use crate::values::{Dict, Value};

/// Name to which a filter binds the box that it looks at.
pub const CURRENT: &str = "_";

/// Place of the outermost chain or statement in errors.
const ROOT: &str = "<root>";

/// Reads a chain of operations; all problems if it is not one.
pub fn parse_chain(json: &Json) -> Result<Chain, Vec<ParseProblem>> {
    node::read_whole(json, |root| Chain::read(root, ROOT))
}

/// Reads a group of statements; all problems if it is not one.
pub fn parse_statement(json: &Json) -> Result<StatementGroup, Vec<ParseProblem>> {
    node::read_whole(json, |root| StatementGroup::read(root, ROOT))
}

/// Reads the cases of an expression; all problems if they are none.
pub fn parse_cases(json: &Json) -> Result<Cases, Vec<ParseProblem>> {
    node::read_whole(json, Cases::read)
}

/// Problems in one line, for a message.
pub fn problems_text(problems: &[ParseProblem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// The named values of an evaluation.
#[derive(Clone, Copy, Default)]
pub struct Params<'a> {
    named: Option<&'a Dict>,
    current: Option<&'a Value>,
}

impl<'a> Params<'a> {
    /// No names at all.
    pub const NONE: Self = Self {
        named: None,
        current: None,
    };

    /// These names.
    pub fn new(named: &'a Dict) -> Self {
        Self {
            named: Some(named),
            current: None,
        }
    }

    /// The names of a field that holds an object; none for anything else.
    pub fn of(field: &'a Value) -> Self {
        Self {
            named: field.as_dict(),
            current: None,
        }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        match self.current {
            Some(value) if name == CURRENT => Some(value),
            _ => self.named?.get(name),
        }
    }

    fn with_current(self, current: &'a Value) -> Self {
        Self {
            current: Some(current),
            ..self
        }
    }

    /// The error of a user, placed at `path`, whose name is not supplied.
    fn lacks(&self, name: &str, user: &str, path: &str) -> QueryError {
        let mut names: Vec<&str> = match self.named {
            Some(named) => named.keys().map(|name| &**name).collect(),
            None => Vec::new(),
        };
        if self.current.is_some() {
            names.push(CURRENT);
        }
        let message = format!(
            "{user} needs the parameter `{name}`, which is not declared; declared: [{}]",
            names.join(", ")
        );
        QueryError::at(ErrorClass::UndeclaredSymbol, path, message)
    }
}

/// What an operation sees beside its value: the names, the run, and where and what it is itself.
#[derive(Clone, Copy)]
struct Scope<'a> {
    params: Params<'a>,
    cx: &'a Context<'a>,
    name: &'static str,
    path: &'a str,
}

impl Scope<'_> {
    /// The value has the wrong type for the operation.
    fn takes(&self, wanted: &str, got: &Value) -> QueryError {
        self.input(format!("takes {wanted}, got {}", got.type_name()))
    }

    /// Like [`Self::takes`], for operations that do not tell their place.
    fn takes_unplaced(&self, wanted: &str, got: &Value) -> QueryError {
        QueryError {
            path: None,
            ..self.takes(wanted, got)
        }
    }

    /// The operation cannot be applied to the value.
    fn input(&self, why: impl AsRef<str>) -> QueryError {
        self.error(ErrorClass::InvalidInputType, why.as_ref())
    }

    /// The operation failed for another reason.
    fn failed(&self, why: impl AsRef<str>) -> QueryError {
        self.error(ErrorClass::Operation, why.as_ref())
    }

    /// A name was not supplied.
    fn undeclared(&self, name: &str) -> QueryError {
        let user = format!("operation {} at {}", self.name, self.path);
        self.params.lacks(name, &user, self.path)
    }

    /// The operation failed in a way that is an ordinary failure of the step.
    fn broke(&self, why: impl AsRef<str>) -> QueryError {
        QueryError {
            class: None,
            ..self.failed(why)
        }
    }

    fn error(&self, class: ErrorClass, why: &str) -> QueryError {
        let message = format!("operation {} at {}: {why}", self.name, self.path);
        QueryError::at(class, self.path, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use trial::{apply, text};

    #[test]
    fn the_empty_chain_changes_nothing_and_others_run_in_order() {
        assert_eq!(text(json!([]), json!([1, "a"])), "[1, 'a']");
        let chain = json!([
            {"type": "StringSubSequence", "start": 0, "end": 3},
            {"type": "StringToUpperCase"},
            {"type": "LookupTable", "lookup_table": {"HEL": 1, "": 2}},
        ]);
        assert_eq!(text(chain.clone(), json!("hello")), "1");
        assert_eq!(text(chain, json!("")), "2");
    }

    #[test]
    fn errors_tell_their_place() {
        let chain = json!([
            {"type": "SequenceApply", "operations": [{"type": "StringToUpperCase"}]},
            {"type": "SequenceLength"},
        ]);
        let error = apply(chain, Value::list(vec![Value::Int(5)])).unwrap_err();
        assert_eq!(
            error.context(),
            "step_execution | roboflow_query_language_evaluation | <root>[0]"
        );
        let chain = json!([{"type": "DetectionsFilter", "filter_operation": {
            "type": "StatementGroup", "statements": [{
                "type": "UnaryStatement", "operator": {"type": "Exists"},
                "operand": {"type": "DynamicOperand", "operand_name": "nowhere"}}]}}]);
        let error = apply(chain, trial::boxes().into()).unwrap_err();
        assert_eq!(error.class, Some(ErrorClass::UndeclaredSymbol));
        assert_eq!(error.path.as_deref(), Some("<root>[0].statements[0]"));
        let shift = json!([{"type": "DetectionsShift", "shift_x": 1, "shift_y": 1}]);
        assert_eq!(
            apply(shift, Value::Int(1)).unwrap_err().context(),
            "step_execution | roboflow_query_language_evaluation"
        );
    }

    #[test]
    fn all_problems_are_found_with_their_paths() {
        let problems = parse_chain(&json!([
            {"type": "Nothing"},
            {"type": "StringSubSequence", "start": "x", "end": 1.5},
            {"type": "DetectionsFilter", "filter_operation": {
                "type": "StatementGroup", "operator": "xor", "statements": [{
                    "type": "BinaryStatement", "comparator": {"type": "~"},
                    "left_operand": {"type": "DynamicOperand"}}]}},
            {"type": "StringMatches", "regex": "("},
            {"type": "ConvertImageToJPEG", "compression_level": 0},
            5,
        ]))
        .unwrap_err();
        let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "[0].type",
                "[1].start",
                "[1].end",
                "[2].filter_operation.operator",
                "[2].filter_operation.statements[0].comparator.type",
                "[2].filter_operation.statements[0].right_operand",
                "[3].regex",
                "[4].compression_level",
                "[5]",
            ]
        );
        assert_eq!(
            problems[0].to_string(),
            "`[0].type`: unknown operation `Nothing`"
        );
        let empty = json!({"type": "StatementGroup", "statements": []});
        assert_eq!(parse_statement(&empty).unwrap_err()[0].path, "statements");
    }

    #[test]
    fn hostile_nesting_is_a_problem_and_no_crash() {
        let mut group = json!({"type": "StatementGroup", "statements": [5]});
        let mut chain = json!([]);
        for _ in 0..300 {
            group = json!({"type": "StatementGroup", "statements": [group]});
            chain = json!([{"type": "SequenceApply", "operations": chain}]);
        }
        let problems = parse_statement(&group).unwrap_err();
        assert!(problems[0].message.contains("nested deeper"));
        assert!(parse_chain(&chain).is_err());
    }

    #[test]
    fn names_and_results_of_a_chain_are_known_before_it_runs() {
        let chain = parse_chain(&json!([
            {"type": "DetectionsRename", "class_map": "map"},
            {"type": "DetectionsFilter", "filter_operation": {
                "type": "StatementGroup", "statements": [{
                    "type": "BinaryStatement", "comparator": {"type": "=="},
                    "left_operand": {"type": "DynamicOperand"},
                    "right_operand": {"type": "DynamicOperand", "operand_name": "limit"}}]}},
        ]))
        .unwrap();
        let names: Vec<_> = chain.names().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["map", "limit"]);
        assert!(chain.keeps_detections());
        let length = parse_chain(&json!([{"type": "SequenceLength"}])).unwrap();
        assert!(!length.keeps_detections());
    }

    #[test]
    fn every_operation_is_implemented() {
        for name in operation::NAMES {
            let problems = parse_chain(&json!([{"type": name}]))
                .err()
                .unwrap_or_default();
            for problem in problems {
                assert_eq!(problem.message, "field required", "{name}");
            }
        }
        assert_eq!(operation::NAMES.len(), 36);
    }
}
