//! Changes sets of boxes by a chain of operations.
//!
//! # Inputs and outputs
//! `predictions` → `predictions`, what the chain `operations` makes of them, with
//! `operations_parameters` as named operands. Parameters are either the same for all elements or
//! one per element.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The chain must return boxes; one that cannot is refused when the definition is compiled. The
//! name `_` is that of the box that a filter looks at and cannot be a parameter.

use crate::blocks::query::{CURRENT, Chain, Params, step as query_step};
use crate::blocks::{
    Block, BlockError, BlockSpec, BuildError, Context, Family, Field, Inputs, Output, OutputSpec,
    Services, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::row;
use crate::values::{Dict, Value, kind};

/// `roboflow_core/detections_transformation@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/detections_transformation@v1",
        "DetectionsTransformation",
    ],
    name: "Detections Transformation",
    family: Family::Transformation,
    stateless: true,
    about: "Changes boxes by a chain of operations.",
    fields: FIELDS,
    outputs: OUTPUTS,
    batch: BATCH,
    mixed: MIXED,
    check: Some(check),
    build,
    ..BlockSpec::DEFAULT
};

pub(super) const FIELDS: &[Field] = &[
    Field::required("predictions", &[Ty::Selector(kind::DETECTIONS)]).about("The boxes."),
    Field::required("operations", &[Ty::Operations]).about("What is done to them."),
    Field::optional(
        "operations_parameters",
        &[Ty::Map(&[Ty::Selector(&[kind::WILDCARD])])],
        "{}",
    )
    .about("Values that the operations refer to by name."),
];
pub(super) const OUTPUTS: &[OutputSpec] = &[output("predictions", kind::DETECTIONS)];
pub(super) const BATCH: &[&str] = &["predictions"];
pub(super) const MIXED: &[&str] = &["operations_parameters"];

pub(super) fn check(step: &Step) -> Vec<StepProblem> {
    let declared = query_step::declared(step, "operations_parameters");
    let mut problems = Vec::new();
    if declared.contains(&CURRENT) {
        problems.push(StepProblem {
            field: Some("operations_parameters"),
            message: format!("the name `{CURRENT}` is reserved for the box that a filter looks at"),
        });
    }
    if let Ok(chain) = query_step::chain(step, "operations") {
        problems.extend(query_step::undeclared(
            &chain.names(),
            "operations",
            &declared,
        ));
        if !chain.keeps_detections() {
            problems.push(StepProblem {
                field: Some("operations"),
                message:
                    "the chain must return boxes, but one of its operations returns something \
                          else; use property_definition for that"
                        .into(),
            });
        }
    }
    problems
}

pub(super) fn build(step: &Step, _: &Services) -> Result<Box<dyn Block>, BuildError> {
    let chain = query_step::chain(step, "operations")?;
    Ok(Box::new(DetectionsTransformation(chain)))
}

struct DetectionsTransformation(Chain);

impl Block for DetectionsTransformation {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let batch = inputs.batch("predictions")?;
        let given = inputs.value("operations_parameters");
        let shared = given
            .as_dict()
            .is_none_or(|named| !named.values().any(|v| matches!(v, Value::Batch(_))));
        let rows = batch.items.iter().enumerate().map(|(i, boxes)| {
            let result = if shared {
                self.0.apply(boxes.clone(), &Params::of(given), cx)?
            } else {
                let own = own_parameters(given, i, batch.items.len())?;
                self.0.apply(boxes.clone(), &Params::new(&own), cx)?
            };
            match result {
                Value::Detections(_) => Ok(row![result]),
                other => Err(BlockError::failed(format!(
                    "the chain of operations turns boxes into a {}, which is not allowed",
                    other.type_name()
                ))),
            }
        });
        rows.collect::<Result<_, _>>().map(Output::Many)
    }
}

/// The parameters of element `i` of `n`; a batch of one serves every element.
fn own_parameters(given: &Value, i: usize, n: usize) -> Result<Dict, BlockError> {
    let Some(named) = given.as_dict() else {
        return Ok(Dict::new());
    };
    named
        .iter()
        .map(|(name, value)| match value {
            Value::Batch(batch) => match batch.items.as_slice() {
                [one] => Ok((name.clone(), one.clone())),
                items if items.len() == n => Ok((name.clone(), items[i].clone())),
                items => Err(BlockError::failed(format!(
                    "parameter `{name}` has {} elements for {n} sets of boxes",
                    items.len()
                ))),
            },
            other => Ok((name.clone(), other.clone())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{Host, boxes, ids, problems, step, values};
    use crate::values::{Batch, Index};
    use serde_json::{Value as Json, json};

    fn batch(items: Vec<Value>) -> Value {
        let indices = (0..items.len() as u32).map(|i| Index::from_slice(&[i]));
        Value::Batch(Arc::new(Batch {
            indices: indices.collect(),
            items,
        }))
    }

    fn at_least() -> Json {
        json!({
            "predictions": "$inputs.d", "operations_parameters": {"least": "$inputs.least"},
            "operations": [{"type": "DetectionsFilter", "filter_operation": {
                "type": "StatementGroup", "statements": [{
                    "type": "BinaryStatement", "comparator": {"type": "(Number) >="},
                    "left_operand": {"type": "DynamicOperand", "operations": [
                        {"type": "ExtractDetectionProperty", "property_name": "confidence"}]},
                    "right_operand": {"type": "DynamicOperand", "operand_name": "least"}}]}}]})
    }

    fn run(least: Value) -> Result<Vec<String>, BlockError> {
        let host = Host::default();
        let mut block = (BLOCK.build)(&step(&BLOCK, at_least()), &host.services).unwrap();
        let params = Value::dict([("least".into(), least)].into_iter().collect());
        let predictions = batch(vec![boxes().into(), boxes().into()]);
        let given = [
            ("predictions", predictions),
            ("operations_parameters", params),
        ];
        let values = values(&BLOCK, &given);
        match block.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default()))? {
            Output::Many(rows) => Ok(rows.iter().map(|row| ids(&row[0])).collect()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parameters_are_shared_or_one_per_element() {
        assert_eq!(run(Value::Float(0.6)).unwrap(), ["d0 d2", "d0 d2"]);
        let each = batch(vec![Value::Float(0.6), Value::Float(0.0)]);
        assert_eq!(run(each).unwrap(), ["d0 d2", "d0 d1 d2"]);
        let one = batch(vec![Value::Float(0.95)]);
        assert_eq!(run(one).unwrap(), ["", ""]);
        let three = batch(vec![Value::Float(0.0); 3]);
        assert!(
            run(three)
                .unwrap_err()
                .to_string()
                .contains("3 elements for 2")
        );
    }

    #[test]
    fn mistakes_of_the_definition_are_found_before_a_frame_runs() {
        assert!(problems(&BLOCK, at_least()).is_empty());
        let of = |operations: Json, parameters: Json| {
            json!({"predictions": "$inputs.d", "operations": operations,
                   "operations_parameters": parameters})
        };
        let length = json!([{"type": "SequenceLength"}]);
        assert!(problems(&BLOCK, of(length, json!({})))[0].contains("must return boxes"));
        let reserved = of(json!([]), json!({"_": "$inputs.p"}));
        assert!(problems(&BLOCK, reserved)[0].contains("reserved"));
        let named = json!([{"type": "DetectionsRename", "class_map": "names"}]);
        assert!(problems(&BLOCK, of(named, json!({})))[0].contains("`names`"));
    }
}
