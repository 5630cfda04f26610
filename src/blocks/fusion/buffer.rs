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
//! A length of 0 or less gives an empty list; one of more than a million is refused. A value with which
//! images, masks and bytes in the list would take more than [`MOST_BYTES`] fails the step, and the list
//! stays as it was.

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
/// Most memory of the images, masks and bytes in the list of one stream: some 690 frames of 1080 lines.
const MOST_BYTES: usize = 4 << 30;

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
    /// Values with the memory of what is large in them, the newest first.
    last: PerStream<VecDeque<(Value, usize)>>,
}

impl Block for Buffer {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let length = inputs.int("length")?.clamp(0, MAX_LENGTH) as usize;
        let pad = inputs.flag("pad")?;
        let data = inputs.value("data");
        let last = self.last.get(cx.stream, VecDeque::new);
        let staying = last.iter().take(length.saturating_sub(1));
        let bytes = bytes_of(data) + staying.map(|(_, bytes)| bytes).sum::<usize>();
        if bytes > MOST_BYTES && length > 0 {
            return Err(BlockError::failed(format!(
                "the images, masks and bytes remembered would take {bytes} bytes, more than \
                 {MOST_BYTES}; make `length` smaller, or the images before they are remembered"
            )));
        }
        last.push_front((data.clone(), bytes_of(data)));
        last.truncate(length);
        if pad {
            last.resize(length, (Value::None, 0));
        }
        let values: Vec<Value> = last.iter().map(|(value, _)| value.clone()).collect();
        Ok(Output::One(row![values]))
    }
}

/// Memory of the images, masks and bytes in a value; what it holds twice counts twice.
fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Image(image) => image.width() * image.height() * image.channels(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Detections(set) => {
            let masks = set.masks.iter().flat_map(|masks| masks.iter());
            masks.map(|mask| mask.window_bits().len()).sum()
        }
        Value::Dict(entries) => entries.values().map(bytes_of).sum(),
        other => other
            .as_slice()
            .unwrap_or_default()
            .iter()
            .map(bytes_of)
            .sum(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{Host, problems, values};
    use crate::values::{Image, Matrix, python};
    use serde_json::json;

    struct Trial {
        host: Host,
        block: Buffer,
    }

    impl Trial {
        fn feed(&mut self, stream: &str, data: i64, length: i64, pad: bool) -> String {
            python::repr(
                &self
                    .try_feed(stream, Value::Int(data), length, pad)
                    .unwrap(),
            )
        }

        fn try_feed(
            &mut self,
            stream: &str,
            data: Value,
            length: i64,
            pad: bool,
        ) -> Result<Value, BlockError> {
            let given = [
                ("data", data),
                ("length", Value::Int(length)),
                ("pad", Value::Bool(pad)),
            ];
            let values = values(&BLOCK, &given);
            let stream: Arc<str> = stream.into();
            let inputs = Inputs::new(&BLOCK, &values);
            match self.block.run(&inputs, &self.host.cx(&stream))? {
                Output::One(row) => Ok(row[0].clone()),
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
    fn images_that_would_fill_the_memory_are_refused() {
        // 2²⁶ bytes, of which the limit holds 64.
        let image = Value::from(Image::new(Matrix::filled(8192, 8192, &[0]), "i".into()));
        let some = |n: usize| Value::list(vec![image.clone(); n]);
        let mut trial = trial();
        let mut feed = |stream, n, length| trial.try_feed(stream, some(n), length, true);
        assert!(feed("a", 40, 2).is_ok() && feed("a", 24, 2).is_ok());
        let error = feed("a", 41, 2).unwrap_err().to_string();
        assert!(error.contains("make `length` smaller"), "{error}");
        let kept = feed("a", 40, 3).unwrap_err();
        assert_eq!(kept.to_string().split(' ').nth(8), Some("6979321856"));
        // What falls out makes room, and another stream has its own.
        assert!(feed("a", 64, 1).is_ok() && feed("b", 64, 9).is_ok());
        assert!(feed("b", 65, 0).is_ok() && feed("c", 65, 1).is_err());
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
