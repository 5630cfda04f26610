//! Chooses a value by conditions over named values.
//!
//! # Inputs and outputs
//! `data`, each changed by its chain in `data_operations` if it has one, are the named operands of
//! the conditions in `switch`. `output` is the result of the first case whose condition holds, else
//! the default: a fixed value, or one of the named values, changed by a chain of its own.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Names that `data` lacks are refused when the definition is compiled.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::blocks::query::{Cases, Chain, Params, parse_cases, problems_text, step as query_step};
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::row;
use crate::values::{Dict, kind};

/// `roboflow_core/expression@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/expression@v1", "Expression"],
    name: "Expression",
    family: Family::Formatter,
    stateless: true,
    about: "Chooses a value by conditions over named values.",
    fields: &[
        Field::required("data", &[Ty::Map(&[Ty::Selector(&[kind::WILDCARD])])])
            .about("The named values."),
        Field::optional("data_operations", &[Ty::Map(&[Ty::Operations])], "{}")
            .about("Chains that change named values first."),
        Field::required(
            "switch",
            &[Ty::Custom(
                check_switch,
                r##"{"$ref": "#/$defs/CasesDefinition"}"##,
            )],
        )
        .about("Cases with their results, and the default."),
    ],
    outputs: &[output("output", &[kind::WILDCARD])],
    check: Some(check),
    build: |step, _| {
        Ok(Box::new(Expression {
            prepare: query_step::chains(step, "data_operations")?,
            cases: query_step::read(step, "switch", parse_cases)?,
        }))
    },
    ..BlockSpec::DEFAULT
};

fn check_switch(json: &Json) -> Result<Json, String> {
    match parse_cases(json) {
        Ok(_) => Ok(json.clone()),
        Err(problems) => Err(problems_text(&problems)),
    }
}

fn check(step: &Step) -> Vec<StepProblem> {
    let declared = query_step::declared(step, "data");
    let mut problems = query_step::chain_problems(step, "data_operations", &declared);
    if let Ok(cases) = query_step::read(step, "switch", parse_cases) {
        problems.extend(query_step::undeclared(&cases.names(), "switch", &declared));
    }
    problems
}

struct Expression {
    prepare: Vec<(Arc<str>, Chain)>,
    cases: Cases,
}

impl Block for Expression {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let none = Dict::new();
        let given = inputs.value("data").as_dict().unwrap_or(&none);
        let data = query_step::prepared(given, &self.prepare, cx)?;
        let result = self.cases.choose(&Params::new(&data), cx)?;
        Ok(Output::One(row![result]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{Host, problems, step, values};
    use crate::values::{Value, python};
    use serde_json::json;

    fn below(limit: i64, result: Json) -> Json {
        json!({"type": "CaseDefinition", "result": result, "condition": {
            "type": "StatementGroup", "statements": [{
                "type": "BinaryStatement", "comparator": {"type": "(Number) <"},
                "left_operand": {"type": "DynamicOperand", "operand_name": "n"},
                "right_operand": {"type": "StaticOperand", "value": limit}}]}})
    }

    fn fields() -> Json {
        let halved = json!([{"type": "Divide", "other": 4}]);
        json!({
            "data": {"n": "$inputs.n", "labels": "$inputs.labels"},
            "data_operations": {"n": [{"type": "Multiply", "other": 2}]},
            "switch": {
                "type": "CasesDefinition",
                "cases": [
                    below(0, json!({"type": "StaticCaseResult", "value": {"negative": true}})),
                    below(10, json!({"type": "DynamicCaseResult", "parameter_name": "labels"})),
                    below(20, json!({"type": "DynamicCaseResult", "parameter_name": "n",
                                     "operations": halved})),
                    below(50, json!({"type": "StaticCaseResult", "value": null})),
                ],
                "default": {"type": "DynamicCaseResult", "parameter_name": "n"},
            },
        })
    }

    #[test]
    fn the_first_case_that_holds_gives_the_result() {
        let host = Host::default();
        let mut block = (BLOCK.build)(&step(&BLOCK, fields()), &host.services).unwrap();
        for (n, result) in [
            (-1, "{'negative': True}"),
            (3, "{'low': 'LOW'}"),
            (7, "3.5"),
            (22, "None"),
            (30, "60"),
        ] {
            let data = Value::from_json(&json!({"n": n, "labels": {"low": "LOW"}}));
            let values = values(&BLOCK, &[("data", data)]);
            match block.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default())) {
                Ok(Output::One(row)) => assert_eq!(python::repr(&row[0]), result, "{n}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn undeclared_names_are_refused() {
        assert!(problems(&BLOCK, fields()).is_empty());
        let mut wrong = fields();
        wrong["data"] = json!({"labels": "$inputs.labels"});
        let problems = problems(&BLOCK, wrong);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().all(|problem| problem.contains("`n`")));
    }

    #[test]
    fn what_is_no_switch_is_refused() {
        let why = check_switch(&json!({"type": "CasesDefinition", "cases": [{}]})).unwrap_err();
        assert_eq!(
            why,
            "`default`: field required; `cases[0].type`: field required"
        );
        assert!(check_switch(&fields()["switch"]).is_ok());
    }
}
