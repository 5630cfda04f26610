//! Sends the flow to one of several steps by a value.
//!
//! # Inputs and outputs
//! The Python text of `value` is looked up in `cases`; the step under that key runs, or all of
//! `default_next_steps` if there is none. No outputs.
//!
//! # State
//! None.
//!
//! # Edge cases
//! `true` reads `True`, `null` reads `None`, `1.0` reads `1.0` and not `1`. With
//! `case_insensitive` both sides are lower-cased. A step may be targeted once only.
//!
//! # Parity
//! `switch_case_*`, `engine_error_switch_*`, specification 3.4.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::blocks::query::step as query_step;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Decision, Family, Field, Inputs, Output, Role,
    StepProblem, Ty,
};
use crate::definition::step::Step;
use crate::values::{Value, kind, python};

/// `roboflow_core/switch_case@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/switch_case@v1", "SwitchCase"],
    name: "Switch Case",
    family: Family::FlowControl,
    stateless: true,
    about: "Runs the step that belongs to a value, or the default steps.",
    fields: &[
        Field::required(
            "value",
            &[
                Ty::Selector(&[kind::WILDCARD]),
                Ty::Str,
                Ty::Int,
                Ty::Float,
                Ty::Bool,
            ],
        )
        .about("The value to look up."),
        Field::optional("cases", &[Ty::Map(&[Ty::Step])], "{}")
            .about("Steps by the text of the value.")
            .always_visible(),
        Field::optional("case_insensitive", &[Ty::Bool], "false")
            .about("Whether upper and lower case are the same."),
        Field::optional("default_next_steps", &[Ty::List(&[Ty::Step])], "[]")
            .about("Steps that run if no case fits.")
            .silent_default(),
    ],
    role: Role::FlowControl,
    engine: ">=1.11.0,<2.0.0",
    check: Some(check),
    build: |step, _| {
        let case_insensitive = step.flag("case_insensitive").unwrap_or_default();
        let cases = query_step::declared(step, "cases")
            .into_iter()
            .map(|key| (fold(key, case_insensitive), key.into()))
            .collect();
        Ok(Box::new(SwitchCase {
            case_insensitive,
            cases,
        }))
    },
    ..BlockSpec::DEFAULT
};

fn fold(text: &str, case_insensitive: bool) -> String {
    match case_insensitive {
        true => text.to_lowercase(),
        false => text.to_owned(),
    }
}

fn check(step: &Step) -> Vec<StepProblem> {
    let mut problems = Vec::new();
    let mut targets: IndexMap<String, usize> = IndexMap::new();
    for field in ["cases", "default_next_steps"] {
        for (_, selector) in step.field(field).selectors() {
            *targets.entry(selector.to_string()).or_default() += 1;
        }
    }
    targets.retain(|_, times| *times > 1);
    let twice: Vec<String> = targets.into_keys().collect();
    if !twice.is_empty() {
        problems.push(StepProblem {
            field: None,
            message: format!(
                "each step may be targeted at most once across `cases` and `default_next_steps`; \
                 targeted more than once: [{}]",
                twice.join(", ")
            ),
        });
    }
    if step.flag("case_insensitive") == Some(true) {
        let keys = query_step::declared(step, "cases");
        let mut folded: Vec<String> = keys.iter().map(|key| key.to_lowercase()).collect();
        folded.sort_unstable();
        if let Some(pair) = folded.windows(2).find(|pair| pair[0] == pair[1]) {
            problems.push(StepProblem {
                field: Some("cases"),
                message: format!(
                    "several keys read `{}` when case_insensitive is enabled",
                    pair[0]
                ),
            });
        }
    }
    problems
}

struct SwitchCase {
    case_insensitive: bool,
    /// Keys as written, by the text to look up.
    cases: HashMap<String, Arc<str>>,
}

impl Block for SwitchCase {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let found = match inputs.value("value") {
            Value::Str(text) if !self.case_insensitive => self.cases.get(&**text),
            value => self
                .cases
                .get(&fold(&python::to_str(value), self.case_insensitive)),
        };
        Ok(Output::Next(match found {
            Some(key) => Decision::Key {
                field: "cases",
                key: key.clone(),
            },
            None => Decision::Field("default_next_steps"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{Host, problems, step, values};
    use serde_json::{Value as Json, json};

    fn route(case_insensitive: bool, value: Json) -> String {
        let host = Host::default();
        let fields = json!({
            "value": "$inputs.v", "case_insensitive": case_insensitive,
            "cases": {"red": "$steps.r", "True": "$steps.t", "1.0": "$steps.f"},
            "default_next_steps": ["$steps.d"]});
        let mut block = (BLOCK.build)(&step(&BLOCK, fields), &host.services).unwrap();
        let values = values(&BLOCK, &[("value", Value::from_json(&value))]);
        let output = block.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default()));
        match output.unwrap() {
            Output::Next(Decision::Key {
                field: "cases",
                key,
            }) => key.to_string(),
            Output::Next(Decision::Field(field)) => field.to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_are_looked_up_by_their_python_text() {
        for (value, target) in [
            (json!("red"), "red"),
            (json!("RED"), "default_next_steps"),
            (json!(true), "True"),
            (json!(1.0), "1.0"),
            (json!(1), "default_next_steps"),
            (json!([1]), "default_next_steps"),
        ] {
            assert_eq!(route(false, value.clone()), target, "{value}");
        }
        assert_eq!(route(true, json!("RED")), "red");
        assert_eq!(route(true, json!("true")), "True");
    }

    #[test]
    fn targets_and_keys_must_be_distinct() {
        let twice = json!({
            "value": 1, "cases": {"a": "$steps.x"}, "default_next_steps": ["$steps.x"]});
        assert!(problems(&BLOCK, twice)[0].ends_with("[$steps.x]"));
        let colliding = json!({
            "value": 1, "case_insensitive": true,
            "cases": {"Red": "$steps.x", "RED": "$steps.y"}});
        assert!(problems(&BLOCK, colliding)[0].contains("`red`"));
        let fine = json!({"value": 1, "cases": {"Red": "$steps.x", "RED": "$steps.y"}});
        assert!(problems(&BLOCK, fine).is_empty());
    }
}
