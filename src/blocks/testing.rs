//! Blocks for tests of the planner and the engine: small enough to predict, and between them every
//! declaration that a block can make. They can be named in definitions but are on no list.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};

use super::{
    Block, BlockError, BlockSpec, Bounds, Context, Decision, Field, Inputs, Output, Role, Row, Ty,
    output,
};
use crate::row;
use crate::values::{Batch, Value, kind, python};

type Run = fn(&Inputs<'_>, &Context<'_>) -> Result<Output, BlockError>;

/// A block that is a function.
struct Function(Run);

impl Block for Function {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        (self.0)(inputs, cx)
    }
}

thread_local! {
    /// What `Sink` and `Bare` have seen in this thread, by step.
    static CALLS: RefCell<Vec<(String, Value)>> = const { RefCell::new(Vec::new()) };
    /// Steps whose `Closing` was closed in this thread.
    static CLOSED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What sinks have seen since the last call, by step.
pub fn take_calls() -> Vec<(String, Value)> {
    CALLS.take()
}

/// Steps that were closed since the last call.
pub fn take_closed() -> Vec<String> {
    CLOSED.take()
}

/// Gates that are shut, in all threads.
static SHUT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static OPENED: Condvar = Condvar::new();

/// Shuts or opens a gate at which `Gate` waits.
pub fn shut(gate: &str, shut: bool) {
    let mut gates = SHUT.lock().unwrap();
    match shut {
        true => gates.insert(gate.to_owned()),
        false => gates.remove(gate),
    };
    OPENED.notify_all();
}

const ANYTHING: &[Ty] = &[Ty::Selector(&[kind::WILDCARD]), Ty::Any];
const DATA: &[Ty] = &[Ty::Selector(&[kind::WILDCARD])];
const STEPS: &[Ty] = &[Ty::List(&[Ty::Step])];
const O: &[super::OutputSpec] = &[output("o", &[kind::WILDCARD])];

macro_rules! function {
    ($name:ident, $run:expr, $($rest:tt)*) => {
        pub(super) static $name: BlockSpec = BlockSpec {
            build: |_, _| Ok(Box::new(Function($run))),
            $($rest)*
            ..BlockSpec::DEFAULT
        };
    };
}

mod misbehaving;

function! {
    ECHO, |inputs, _| Ok(Output::One(row![inputs.value("v").clone()])),
    types: &["Echo", "EchoAlias"],
    fields: &[Field::required("v", ANYTHING).alias("value")],
    outputs: O,
}

function! {
    PAIR, |inputs, _| Ok(Output::One(row![vec![inputs.value("a").clone(), inputs.value("b").clone()]])),
    types: &["Pair"],
    fields: &[Field::required("a", ANYTHING), Field::optional("b", ANYTHING, "null")],
    outputs: O,
}

function! {
    GATHER, |inputs, _| Ok(Output::One(row![inputs.value("all").clone()])),
    types: &["Gather"],
    fields: &[Field::required("all", &[Ty::List(ANYTHING), Ty::Map(ANYTHING)])],
    outputs: O,
}

function! {
    MODEL, |inputs, _| Ok(Output::One(row![inputs.value("v").clone()])),
    types: &["Model"],
    fields: &[Field::required("v", ANYTHING)],
    outputs: O,
    role: Role::Model,
}

function! {
    STREAM, |_, cx| Ok(Output::One(row![cx.stream.clone()])),
    types: &["Stream"],
    fields: &[Field::required("v", ANYTHING)],
    outputs: O,
}

function! {
    PICTURE, |inputs, _| Ok(Output::One(row![inputs.value("image").is_none()])),
    types: &["Picture"],
    fields: &[Field::required("image", &[Ty::InputImage])],
    outputs: &[output("o", &[kind::BOOLEAN]), output("image", &[kind::IMAGE])],
}

fn rows_of(value: &Value) -> Vec<Row> {
    let items = value.as_slice().unwrap_or_default();
    items.iter().map(|item| row![item.clone()]).collect()
}

function! {
    SPLIT, |inputs, _| Ok(Output::Many(rows_of(inputs.value("v")))),
    types: &["Split"],
    fields: &[Field::required("v", ANYTHING)],
    outputs: O,
    output_offset: 1,
}

function! {
    BATCH_SPLIT, |inputs, _| {
        let batch = inputs.batch("v")?;
        Ok(Output::Nested(batch.items.iter().map(rows_of).collect()))
    },
    types: &["BatchSplit"],
    fields: &[Field::required("v", ANYTHING)],
    outputs: O,
    batch: &["v"],
    output_offset: 1,
}

/// A batch as a list: to see what a block was handed.
fn listed(value: &Value) -> Value {
    match value {
        Value::Batch(batch) => Value::list(batch.items.iter().map(listed).collect()),
        Value::List(items) => Value::list(items.iter().map(listed).collect()),
        other => other.clone(),
    }
}

function! {
    MIX, |inputs, _| {
        Ok(Output::One(row![vec![inputs.value("ref").clone(), listed(inputs.value("items"))]]))
    },
    types: &["Mix"],
    fields: &[Field::required("ref", ANYTHING), Field::required("items", ANYTHING)],
    outputs: O,
    batch: &[],
    offsets: &[("items", 1)],
    reference: Some("ref"),
}

function! {
    EMPTY_MIX, |inputs, _| {
        Ok(Output::One(row![vec![inputs.value("ref").clone(), listed(inputs.value("items"))]]))
    },
    types: &["EmptyMix"],
    fields: &[Field::required("ref", ANYTHING), Field::required("items", ANYTHING)],
    outputs: O,
    offsets: &[("items", 1)],
    reference: Some("ref"),
    accepts_empty: true,
}

function! {
    CAST_MIX, |inputs, _| Ok(Output::One(row![listed(inputs.value("items"))])),
    types: &["CastMix"],
    fields: &[Field::required("ref", ANYTHING), Field::required("items", ANYTHING)],
    outputs: O,
    cast: &["items"],
    offsets: &[("items", 1)],
    reference: Some("ref"),
}

fn place(batch: &Batch, i: usize) -> Value {
    let place = batch.indices[i].iter();
    Value::list(place.map(|&n| Value::Int(n.into())).collect())
}

function! {
    BATCH_DESC, |inputs, _| {
        let batch = inputs.batch("v")?;
        let length = batch.items.len();
        let describe = |i: usize| row![vec![place(batch, i), batch.items[i].clone(), Value::from(length)]];
        Ok(Output::Many((0..length).map(describe).collect()))
    },
    types: &["BatchDesc"],
    fields: &[Field::required("v", ANYTHING), Field::optional("w", ANYTHING, "null")],
    outputs: &[output("o", &[kind::WILDCARD])],
    batch: &["v"],
}

function! {
    BATCH_MIX, |inputs, _| {
        let (refs, groups) = (inputs.batch("ref")?, inputs.batch("items")?);
        let pairs = refs.items.iter().zip(&groups.items);
        Ok(Output::Many(pairs.map(|(r, g)| row![vec![r.clone(), listed(g)]]).collect()))
    },
    types: &["BatchMix"],
    fields: &[Field::required("ref", DATA), Field::required("items", DATA)],
    outputs: O,
    batch: &["ref", "items"],
    offsets: &[("items", 1)],
    reference: Some("ref"),
}

function! {
    BATCH_LIST, |inputs, _| {
        let members = inputs.list("all")?;
        let length = members.iter().find_map(|m| m.as_slice()).map_or(1, <[Value]>::len);
        let seen = |i: usize| -> Vec<Value> {
            let member = |m: &Value| match m {
                Value::Batch(batch) => batch.items[i].clone(),
                scalar => Value::list(vec![scalar.clone()]),
            };
            members.iter().map(member).collect()
        };
        Ok(Output::Many((0..length).map(|i| row![seen(i)]).collect()))
    },
    types: &["BatchList"],
    fields: &[Field::required("all", &[Ty::List(ANYTHING)])],
    outputs: O,
    batch: &["all"],
}

/// Answers what the `mixed` field holds: text for a batch, the value for a scalar.
fn mixed(inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
    match (inputs.value("v"), inputs.value("m")) {
        (Value::Batch(v), Value::Batch(m)) => {
            let pairs = v.items.iter().zip(&m.items);
            let rows = pairs.map(|(v, m)| row![vec![v.clone(), Value::from("batch"), m.clone()]]);
            Ok(Output::Many(rows.collect()))
        }
        (Value::Batch(v), m) => {
            let rows = v.items.iter().map(|v| row![vec![v.clone(), m.clone()]]);
            Ok(Output::Many(rows.collect()))
        }
        (Value::None, Value::Batch(m)) => Ok(Output::Many(
            m.items.iter().map(|m| row![m.clone()]).collect(),
        )),
        (_, m) => Ok(Output::One(row![m.clone()])),
    }
}

function! {
    MIXED, mixed,
    types: &["Mixed"],
    fields: &[Field::required("m", ANYTHING), Field::optional("v", ANYTHING, "null")],
    outputs: O,
    batch: &["v"],
    mixed: &["m"],
}

function! {
    FIRST_NON_EMPTY, |inputs, _| {
        let found = inputs.list("data")?.iter().find(|v| !v.is_none());
        Ok(Output::One(row![found.unwrap_or(inputs.value("default")).clone()]))
    },
    types: &["FirstNonEmpty"],
    fields: &[
        Field::required("data", &[Ty::List(DATA)]),
        Field::optional("default", ANYTHING, "null"),
    ],
    outputs: O,
    accepts_empty: true,
}

function! {
    SINK, |inputs, cx| {
        CALLS.with_borrow_mut(|calls| calls.push((cx.step.to_owned(), inputs.value("v").clone())));
        Ok(Output::One(Row::new()))
    },
    types: &["Sink"],
    fields: &[Field::required("v", ANYTHING)],
    role: Role::Sink,
}

function! {
    BARE, |_, cx| {
        CALLS.with_borrow_mut(|calls| calls.push((cx.step.to_owned(), Value::None)));
        Ok(Output::One(row!["ran"]))
    },
    types: &["Bare"],
    outputs: O,
}

function! {
    COND, |inputs, _| {
        let (value, limit) = (inputs.value("value"), inputs.value("limit").as_f64());
        let number = value.as_f64();
        let holds = match inputs.text("is")? {
            "<" => number < limit,
            ">" => number > limit,
            _ => python::truthy(value),
        };
        Ok(Output::Next(if holds { Decision::All } else { Decision::None }))
    },
    types: &["Cond"],
    fields: &[
        Field::required("value", ANYTHING),
        Field::optional("is", &[Ty::OneOf(&["<", ">", "not empty"])], "\">\""),
        Field::optional("limit", ANYTHING, "0"),
        Field::required("next_steps", STEPS),
    ],
    role: Role::FlowControl,
}

function! {
    SWITCH, |inputs, _| {
        let key = Arc::<str>::from(python::to_str(inputs.value("value")));
        let cases = inputs.value("cases").as_dict();
        Ok(Output::Next(match cases.is_some_and(|cases| cases.contains_key(&key)) {
            true => Decision::Key { field: "cases", key },
            false => Decision::Field("default"),
        }))
    },
    types: &["Switch"],
    fields: &[
        Field::required("value", ANYTHING),
        Field::optional("cases", &[Ty::Map(&[Ty::Step])], "{}"),
        Field::optional("default", STEPS, "[]"),
    ],
    role: Role::FlowControl,
}

function! {
    TYPED, |inputs, _| {
        let fields = ["int", "float", "flag"].map(|name| inputs.value(name).clone());
        Ok(Output::One(row![fields.to_vec(), inputs.value("int").clone()]))
    },
    types: &["Typed"],
    fields: &[
        Field::optional("int", &[Ty::Selector(&[kind::INTEGER]), Ty::IntIn(0, 100)], "1"),
        Field::optional(
            "float",
            &[Ty::Selector(&[kind::FLOAT, kind::FLOAT_ZERO_TO_ONE]), Ty::Float],
            "0.5",
        )
        .bounds(Bounds::within(0.0, 1.0)),
        Field::optional("flag", &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])], "false"),
        Field::optional("choice", &[Ty::OneOf(&["a", "b"]), Ty::Selector(&[kind::STRING])], "\"a\""),
        Field::optional("text", &[Ty::Str, Ty::Selector(&[kind::STRING])], "\"\""),
    ],
    outputs: &[output("o", &[kind::WILDCARD]), output("n", &[kind::INTEGER])],
    check: Some(|step| {
        let clash = step.number("int") == Some(13.0) && step.text("choice") == Some("b");
        let problem = super::StepProblem {
            field: None,
            message: "13 and b do not go together".into(),
        };
        clash.then_some(problem).into_iter().collect()
    }),
}

function! {
    GATE, |inputs, _| {
        let gate = inputs.text("v")?;
        let gates = SHUT.lock().unwrap();
        drop(OPENED.wait_while(gates, |gates| gates.contains(gate)).unwrap());
        Ok(Output::One(row![gate]))
    },
    types: &["Gate"],
    fields: &[Field::required("v", ANYTHING)],
    outputs: O,
}

/// The blocks for tests.
pub static BLOCKS: &[&BlockSpec] = &[
    &ECHO,
    &PAIR,
    &GATHER,
    &MODEL,
    &STREAM,
    &PICTURE,
    &SPLIT,
    &BATCH_SPLIT,
    &MIX,
    &EMPTY_MIX,
    &CAST_MIX,
    &BATCH_DESC,
    &BATCH_MIX,
    &BATCH_LIST,
    &MIXED,
    &FIRST_NON_EMPTY,
    &SINK,
    &BARE,
    &COND,
    &SWITCH,
    &TYPED,
    &misbehaving::FAIL,
    &misbehaving::REFUSE,
    &GATE,
    &misbehaving::SLOW,
    &misbehaving::SLOW_MODEL,
    &misbehaving::RECALL,
    &misbehaving::PANIC,
    &misbehaving::WRONG,
    &misbehaving::WRONG_BATCH,
    &misbehaving::CLOSING,
];
