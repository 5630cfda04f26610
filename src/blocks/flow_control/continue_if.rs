//! Lets the flow go on where a condition holds.
//!
//! # Inputs and outputs
//! `evaluation_parameters` are the named operands of `condition_statement`. No outputs: the steps
//! under `next_steps` run where the condition holds.
//!
//! # State
//! Per stream, the time at which the condition held last, kept only with a `stop_delay`.
//!
//! # Edge cases
//! With a `stop_delay` the flow goes on for so many seconds after the condition ceased to hold.
//! A delay of 0 is none (decided Q16). Without `next_steps` nothing is gated (decided Q9).
//!
//! # Parity
//! `continue_if_*`, specification 3.1. State per stream is ours (decided V8).

use std::time::Duration;

use crate::blocks::query::{Params, StatementGroup, step as query_step};
use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Decision, Family, Field, Inputs, Output, Role,
    StepProblem, Ty,
};
use crate::definition::step::Step;
use crate::values::kind;

/// `roboflow_core/continue_if@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/continue_if@v1", "ContinueIf"],
    name: "Continue If",
    family: Family::FlowControl,
    about: "Runs the next steps only where a condition holds.",
    fields: &[
        Field::required("condition_statement", &[Ty::Statement]).about("The condition."),
        Field::optional(
            "evaluation_parameters",
            &[Ty::Map(&[Ty::Selector(&[kind::WILDCARD])])],
            "{}",
        )
        .about("Values that the condition refers to by name."),
        Field::required("next_steps", &[Ty::List(&[Ty::Step])])
            .about("Steps that run where the condition holds."),
        Field::optional(
            "stop_delay",
            &[Ty::Selector(&[kind::FLOAT]), Ty::Float],
            "0",
        )
        .bounds(Bounds::at_least(0.0))
        .about("Seconds for which the flow goes on after the condition ceased to hold.")
        .extra(r#"{"ge": null, "gt": 0}"#),
    ],
    role: Role::FlowControl,
    check: Some(check),
    build: |step, _| {
        Ok(Box::new(ContinueIf {
            condition: query_step::statement(step, "condition_statement")?,
            held: PerStream::default(),
        }))
    },
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    const FIELD: &str = "condition_statement";
    let declared = query_step::declared(step, "evaluation_parameters");
    query_step::statement(step, FIELD).map_or_else(
        |_| Vec::new(),
        |condition| query_step::undeclared(&condition.names(), FIELD, &declared),
    )
}

struct ContinueIf {
    condition: StatementGroup,
    /// When the condition held last, by the monotonic clock.
    held: PerStream<Option<Duration>>,
}

impl Block for ContinueIf {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let params = Params::of(inputs.value("evaluation_parameters"));
        let holds = self.condition.holds(&params, cx)?;
        let delay = inputs.float("stop_delay")?;
        let goes_on = if delay > 0.0 {
            let now = cx.services.clock.monotonic();
            let held = self.held.get(cx.stream, || None);
            if holds {
                *held = Some(now);
            }
            held.is_some_and(|last| now.saturating_sub(last).as_secs_f64() <= delay)
        } else {
            holds
        };
        Ok(Output::Next(match goes_on {
            true => Decision::All,
            false => Decision::None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{Host, problems, step, values};
    use crate::values::Value;
    use serde_json::{Value as Json, json};

    fn definition() -> Json {
        json!({
            "condition_statement": {"type": "StatementGroup", "statements": [{
                "type": "BinaryStatement", "comparator": {"type": "(Number) >"},
                "left_operand": {"type": "DynamicOperand", "operand_name": "v"},
                "right_operand": {"type": "StaticOperand", "value": 0}}]},
            "evaluation_parameters": {"v": "$inputs.v"},
            "next_steps": ["$steps.go"],
        })
    }

    struct Trial {
        host: Host,
        block: Box<dyn Block>,
        delay: f64,
    }

    impl Trial {
        fn new(delay: f64) -> Self {
            let host = Host::default();
            let block = (BLOCK.build)(&step(&BLOCK, definition()), &host.services).unwrap();
            Self { host, block, delay }
        }

        fn decide(&mut self, stream: &str, v: Json) -> Result<bool, BlockError> {
            let params = Value::from_json(&json!({"v": v}));
            let values = values(
                &BLOCK,
                &[
                    ("evaluation_parameters", params),
                    ("stop_delay", Value::Float(self.delay)),
                ],
            );
            let stream: Arc<str> = stream.into();
            let cx = self.host.cx(&stream);
            match self.block.run(&Inputs::new(&BLOCK, &values), &cx)? {
                Output::Next(decision) => Ok(decision == Decision::All),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn without_a_delay_the_condition_decides() {
        let mut trial = Trial::new(0.0);
        assert_eq!(trial.decide("a", json!(1)), Ok(true));
        assert_eq!(trial.decide("a", json!(-1)), Ok(false));
    }

    #[test]
    fn with_a_delay_the_flow_goes_on_for_a_while_in_its_own_stream() {
        let mut trial = Trial::new(10.0);
        assert_eq!(trial.decide("a", json!(-1)), Ok(false));
        assert_eq!(trial.decide("a", json!(1)), Ok(true));
        assert_eq!(trial.decide("b", json!(-1)), Ok(false));
        trial.host.advance(10.0);
        assert_eq!(trial.decide("a", json!(-2)), Ok(true));
        trial.host.advance(0.5);
        assert_eq!(trial.decide("a", json!(-2)), Ok(false));
    }

    #[test]
    fn a_negative_delay_and_a_failed_condition_are_errors_of_their_own() {
        let mut trial = Trial::new(-1.0);
        assert!(matches!(
            trial.decide("a", json!(1)),
            Err(BlockError::Input(_))
        ));
        assert!(matches!(
            Trial::new(0.0).decide("a", json!("x")),
            Err(BlockError::Classed { context, .. })
                if context.ends_with("| <root>.statements[0]")
        ));
    }

    #[test]
    fn undeclared_operands_are_refused_at_compile_time() {
        assert_eq!(problems(&BLOCK, definition()), Vec::<String>::new());
        let mut wrong = definition();
        wrong["evaluation_parameters"] = json!({"w": "$inputs.v"});
        assert_eq!(
            problems(&BLOCK, wrong),
            ["uses the parameter `v`, which is not declared; declared: [w]"]
        );
    }
}
