//! Takes the first of several values that is there: the way to join branches of a flow.
//!
//! # Inputs and outputs
//! `data`, a list of values of any kind → `output`, the first that is not empty, else `default`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Only `None` is empty: 0, false, empty texts and sets without boxes count as values.

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::{Value, kind};

/// `roboflow_core/first_non_empty_or_default@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/first_non_empty_or_default@v1",
        "FirstNonEmptyOrDefault",
    ],
    name: "First Non Empty Or Default",
    family: Family::Formatter,
    stateless: true,
    about: "Takes the first value that is not empty, else a default.",
    fields: &[
        Field::required(
            "data",
            &[Ty::ListIn(
                &[Ty::Selector(&[kind::WILDCARD])],
                1,
                usize::MAX,
            )],
        )
        .about("The values in order of preference."),
        Field::optional("default", &[Ty::Any], "null").about("What to take if all are empty."),
    ],
    outputs: &[output("output", &[kind::WILDCARD])],
    accepts_empty: true,
    build: |_, _| Ok(Box::new(FirstNonEmptyOrDefault)),
    ..BlockSpec::DEFAULT
};

struct FirstNonEmptyOrDefault;

impl Block for FirstNonEmptyOrDefault {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let first = inputs.list("data")?.iter().find(|value| !value.is_none());
        let value: &Value = first.unwrap_or_else(|| inputs.value("default"));
        Ok(Output::One(row![value.clone()]))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{Host, values};
    use crate::values::python;
    use serde_json::{Value as Json, json};

    fn first(data: Json) -> String {
        let given = [
            ("data", Value::from_json(&data)),
            ("default", Value::Int(-1)),
        ];
        let values = values(&BLOCK, &given);
        let inputs = Inputs::new(&BLOCK, &values);
        let host = Host::default();
        match FirstNonEmptyOrDefault.run(&inputs, &host.cx(&Arc::default())) {
            Ok(Output::One(row)) => python::repr(&row[0]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_none_is_empty() {
        assert_eq!(first(json!([null, 0, 5])), "0");
        assert_eq!(first(json!([null, ""])), "''");
        assert_eq!(first(json!([false, 1])), "False");
        assert_eq!(first(json!([null, null])), "-1");
    }
}
