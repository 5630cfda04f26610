//! Makes another value of a value by a chain of operations.
//!
//! # Inputs and outputs
//! `data` of any kind → `output`, what the chain `operations` makes of it. The chain has no named
//! operands.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The empty chain returns `data`. Errors are those of the query language.

use crate::blocks::query::{Chain, Params, step as query_step};
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::row;
use crate::values::kind;

/// `roboflow_core/property_definition@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/property_definition@v1",
        "PropertyDefinition",
        "PropertyExtraction",
    ],
    name: "Property Definition",
    family: Family::Formatter,
    stateless: true,
    about: "Makes another value of a value by a chain of operations.",
    fields: &[
        Field::required("data", &[Ty::Selector(&[kind::WILDCARD])]).about("The value."),
        Field::required("operations", &[Ty::Operations]).about("What is done to it."),
    ],
    outputs: &[output("output", &[kind::WILDCARD])],
    check: Some(check),
    build: |step, _| {
        Ok(Box::new(PropertyDefinition(query_step::chain(
            step,
            "operations",
        )?)))
    },
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    query_step::chain(step, "operations").map_or_else(
        |_| Vec::new(),
        |chain| query_step::undeclared(&chain.names(), "operations", &[]),
    )
}

struct PropertyDefinition(Chain);

impl Block for PropertyDefinition {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let data = inputs.value("data").clone();
        let result = self.0.apply(data, &Params::NONE, cx)?;
        Ok(Output::One(row![result]))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{Host, boxes, problems, step, values};
    use crate::values::{Value, python};
    use serde_json::{Value as Json, json};

    fn run(operations: Json, data: Value) -> Result<String, BlockError> {
        let host = Host::default();
        let step = step(
            &BLOCK,
            json!({"data": "$inputs.v", "operations": operations}),
        );
        let mut block = (BLOCK.build)(&step, &host.services).unwrap();
        let values = values(&BLOCK, &[("data", data)]);
        match block.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default()))? {
            Output::One(row) => Ok(python::repr(&row[0])),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_chain_makes_the_output() {
        let names = json!([{"type": "DetectionsPropertyExtract", "property_name": "class_name"},
                           {"type": "SequenceJoin", "separator": "+"}]);
        assert_eq!(run(names, boxes().into()), Ok("'person+car+face'".into()));
        assert_eq!(run(json!([]), Value::None), Ok("None".into()));
    }

    #[test]
    fn errors_carry_class_and_context() {
        let error = run(json!([{"type": "StringToUpperCase"}]), Value::Int(5)).unwrap_err();
        let BlockError::Classed { class, context, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(class.name(), "InvalidInputTypeError");
        assert_eq!(
            context,
            "step_execution | roboflow_query_language_evaluation | <root>[0]"
        );
    }

    #[test]
    fn named_operands_are_refused() {
        let operations = json!([{"type": "DetectionsRename", "class_map": "names"}]);
        let fields = json!({"data": "$inputs.v", "operations": operations});
        assert!(problems(&BLOCK, fields)[0].contains("`names`"));
    }
}
