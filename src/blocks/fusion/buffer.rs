//! Remembers the last values of a stream.
//!
//! # Inputs and outputs
//! `data` of any kind → `output`, a list of the last `length` values, newest first; with `pad` it is
//! filled with `null` to that length.
//!
//! # State
//! Per stream, the list. What is gated out is not remembered.
//!
//! # Edge cases
//! A length of 0 or less gives an empty list; one of more than a million is refused.

use std::collections::VecDeque;

use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::row;
use crate::values::{Value, kind};

/// Longest list: what fills a machine's memory is a mistake.
const MAX_LENGTH: i64 = 1_000_000;

/// `roboflow_core/buffer@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/buffer@v1", "Buffer"],
    name: "Buffer",
    family: Family::Fusion,
    about: "Remembers the last values of a stream.",
    fields: &[
        Field::required(
            "data",
            &[Ty::Selector(&[
                kind::WILDCARD,
                kind::LIST_OF_VALUES,
                kind::IMAGE,
            ])],
        )
        .about("The value to remember."),
        Field::required("length", &[Ty::Int]).about("How many values."),
        Field::optional("pad", &[Ty::Bool], "false").about("Whether the list is always that long."),
    ],
    outputs: &[output("output", &[kind::LIST_OF_VALUES])],
    check: Some(check),
    build: |_, _| Ok(Box::<Buffer>::default()),
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    let length = step.literal("length").and_then(|v| v.as_i64());
    let problem = length.filter(|n| *n > MAX_LENGTH).map(|n| StepProblem {
        field: Some("length"),
        message: format!("must be at most {MAX_LENGTH}, got {n}"),
    });
    problem.into_iter().collect()
}

#[derive(Default)]
struct Buffer {
    last: PerStream<VecDeque<Value>>,
}

impl Block for Buffer {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let length = inputs.int("length")?.clamp(0, MAX_LENGTH) as usize;
        let last = self.last.get(cx.stream, VecDeque::new);
        last.push_front(inputs.value("data").clone());
        last.truncate(length);
        if inputs.flag("pad")? {
            last.resize(length, Value::None);
        }
        let values: Vec<Value> = last.iter().cloned().collect();
        Ok(Output::One(row![values]))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{Host, problems, values};
    use crate::values::python;
    use serde_json::json;

    struct Trial {
        host: Host,
        block: Buffer,
    }

    impl Trial {
        fn feed(&mut self, stream: &str, data: i64, length: i64, pad: bool) -> String {
            let given = [
                ("data", Value::Int(data)),
                ("length", Value::Int(length)),
                ("pad", Value::Bool(pad)),
            ];
            let values = values(&BLOCK, &given);
            let stream: Arc<str> = stream.into();
            let inputs = Inputs::new(&BLOCK, &values);
            match self.block.run(&inputs, &self.host.cx(&stream)) {
                Ok(Output::One(row)) => python::repr(&row[0]),
                other => panic!("{other:?}"),
            }
        }
    }

    fn trial() -> Trial {
        Trial {
            host: Host::default(),
            block: Buffer::default(),
        }
    }

    #[test]
    fn the_newest_come_first_per_stream() {
        let mut trial = trial();
        let lists: Vec<String> = (1..=4).map(|n| trial.feed("a", n, 3, false)).collect();
        assert_eq!(lists, ["[1]", "[2, 1]", "[3, 2, 1]", "[4, 3, 2]"]);
        assert_eq!(trial.feed("b", 9, 3, false), "[9]");
    }

    #[test]
    fn padding_is_pushed_out_by_values() {
        let mut trial = trial();
        assert_eq!(trial.feed("a", 1, 3, true), "[1, None, None]");
        assert_eq!(trial.feed("a", 2, 3, true), "[2, 1, None]");
    }

    #[test]
    fn lengths_that_make_no_sense() {
        assert_eq!(trial().feed("a", 1, 0, true), "[]");
        assert_eq!(trial().feed("a", 1, -2, false), "[]");
        let far = json!({"data": "$inputs.v", "length": 1_000_000_000});
        assert_eq!(
            problems(&BLOCK, far),
            ["must be at most 1000000, got 1000000000"]
        );
    }
}
