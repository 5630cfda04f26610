//! Blocks that are slow, fail, panic, answer in the wrong form, or note what is done with them.

use super::{ANYTHING, CLOSED, Function, O};
use crate::blocks::{
    Block, BlockError, BlockSpec, BuildError, Context, Decision, Field, Inputs, Output, Role, Ty,
};
use crate::row;
use crate::values::{Value, python};

function! {
    FAIL, |inputs, _| match inputs.value("v") {
        Value::None => Ok(Output::One(row![Value::None])),
        v => Err(BlockError::failed(format!("no good: {}", python::to_str(v)))),
    },
    types: &["Fail"],
    fields: &[Field::required("v", ANYTHING)],
    outputs: O,
}

function! {
    REFUSE, |inputs, _| Err(match inputs.text("how")? {
        "input" => BlockError::Input("value 7 is too large".into()),
        "client" => BlockError::Client { status: 404, message: "no such model".into() },
        _ => BlockError::Classed {
            class: crate::definition::error::ErrorClass::InvalidInputType,
            context: "step_execution | roboflow_query_language_evaluation".into(),
            message: "not a number".into(),
        },
    }),
    types: &["Refuse"],
    fields: &[Field::required("how", ANYTHING)],
    outputs: O,
}

/// The number of the frame that an image is.
fn frame_number(inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<i64, BlockError> {
    Ok(inputs.video("image", cx)?.frame_number)
}

/// Takes its time, on some frames half as long again as on others; fails on every `fails`-th.
fn slow(inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
    let number = frame_number(inputs, cx)?;
    let time = inputs.int("ms")? as u64;
    let more = time * (number as u64 % 3) / 4;
    std::thread::sleep(std::time::Duration::from_millis(time + more));
    match inputs.int("fails")? {
        every if every > 0 && number % every == 0 => Err(BlockError::failed("its turn to fail")),
        _ => Ok(Output::One(row![number])),
    }
}

const SLOW_FIELDS: &[Field] = &[
    Field::required("image", &[Ty::InputImage]),
    Field::required("ms", &[Ty::Int]),
    Field::optional("fails", &[Ty::Int], "0"),
    Field::optional("v", ANYTHING, "null"),
];

function! {
    SLOW, slow,
    types: &["Slow"],
    fields: SLOW_FIELDS,
    outputs: O,
    stateless: true,
}

function! {
    SLOW_MODEL, slow,
    types: &["SlowModel"],
    fields: SLOW_FIELDS,
    outputs: O,
    role: Role::Model,
    stateless: true,
}

/// Remembers how many frames it saw and the number of the last; frames that come out of their order
/// are an error.
#[derive(Default)]
struct Recall {
    seen: i64,
    last: i64,
}

impl Block for Recall {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let number = frame_number(inputs, cx)?;
        if number <= self.last {
            return Err(BlockError::failed("out of order"));
        }
        (self.seen, self.last) = (self.seen + 1, number);
        Ok(Output::One(row![self.seen]))
    }
}

pub(super) static RECALL: BlockSpec = BlockSpec {
    types: &["Recall"],
    fields: &[
        Field::required("image", &[Ty::InputImage]),
        Field::optional("v", ANYTHING, "null"),
    ],
    outputs: O,
    build: |_, _| Ok(Box::new(Recall::default())),
    ..BlockSpec::DEFAULT
};

#[allow(clippy::panic)]
fn panic_always(_: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
    panic!("as the test wants it")
}

function! {
    PANIC, panic_always,
    types: &["Panic"],
    fields: &[Field::required("v", ANYTHING)],
    outputs: O,
}

function! {
    WRONG, |inputs, _| Ok(match inputs.text("how")? {
        "form" => Output::Many(vec![row![1_i64]]),
        "outputs" => Output::One(row![1_i64, 2_i64]),
        _ => Output::Next(Decision::All),
    }),
    types: &["Wrong"],
    fields: &[Field::required("how", ANYTHING)],
    outputs: O,
}

function! {
    WRONG_BATCH, |_, _| Ok(Output::Many(vec![row![1_i64]])),
    types: &["WrongBatch"],
    fields: &[Field::required("v", ANYTHING)],
    outputs: O,
    batch: &["v"],
}

/// Notes that it was closed; cannot be made for a step named `refused`.
struct Closing(String);

impl Block for Closing {
    fn run(&mut self, _: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        Ok(Output::One(row![1_i64]))
    }

    fn close(&mut self) {
        CLOSED.with_borrow_mut(|closed| closed.push(self.0.clone()));
    }
}

pub(super) static CLOSING: BlockSpec = BlockSpec {
    types: &["Closing"],
    outputs: O,
    build: |step, _| match &*step.name {
        "refused" => Err(BuildError::new("it cannot be made")),
        name => Ok(Box::new(Closing(name.to_owned()))),
    },
    ..BlockSpec::DEFAULT
};
