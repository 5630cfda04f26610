//! Trials of chains, statements and steps for tests: inputs as JSON, results as Python texts.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Params, QueryError, parse_chain, parse_statement};
use crate::blocks::{BlockSpec, Context, Services};
use crate::clock::ManualClock;
use crate::definition::selector::{Selector, is_selector};
use crate::definition::step::{FieldValue, Step};
use crate::values::detections::column;
use crate::values::{Detections, Value, python};

/// A host whose clock the test moves.
pub(crate) struct Host {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) services: Services,
}

impl Default for Host {
    fn default() -> Self {
        let clock = Arc::new(ManualClock::default());
        let services = Services {
            clock: clock.clone(),
            ..Services::default()
        };
        Self { clock, services }
    }
}

impl Host {
    pub(crate) fn cx<'a>(&'a self, stream: &'a Arc<str>) -> Context<'a> {
        Context {
            step: "step",
            stream,
            services: &self.services,
            claim: None,
        }
    }

    pub(crate) fn advance(&self, seconds: f64) {
        self.clock.advance(Duration::from_secs_f64(seconds));
    }
}

/// Result of a chain without parameters.
pub(crate) fn apply(operations: Json, value: Value) -> Result<Value, QueryError> {
    apply_with(operations, value, &Value::None)
}

/// Result of a chain with the entries of an object as parameters.
pub(crate) fn apply_with(
    operations: Json,
    value: Value,
    params: &Value,
) -> Result<Value, QueryError> {
    let host = Host::default();
    let chain = parse_chain(&operations).unwrap();
    chain.apply(value, &Params::of(params), &host.cx(&Arc::default()))
}

/// Python text of the result, or the class of the error behind a `!`.
pub(crate) fn text(operations: Json, input: Json) -> String {
    shown(apply(operations, Value::from_json(&input)))
}

/// Python text of a result, or the class of the error behind a `!`.
pub(crate) fn shown(result: Result<Value, QueryError>) -> String {
    match result {
        Ok(value) => python::repr(&value),
        Err(error) => class(&error),
    }
}

fn class(error: &QueryError) -> String {
    format!(
        "!{}",
        error.class.map_or("StepExecutionError", |c| c.name())
    )
}

/// Whether a group holds, or the class of the error behind a `!`.
pub(crate) fn holds(group: Json, params: Json) -> String {
    let host = Host::default();
    let params = Value::from_json(&params);
    let group = parse_statement(&group).unwrap();
    match group.holds(&Params::of(&params), &host.cx(&Arc::default())) {
        Ok(result) => result.to_string(),
        Err(error) => class(&error),
    }
}

/// The boxes of section 11 of the query language specification.
pub(crate) fn boxes() -> Detections {
    let mut set = Detections {
        xyxy: Arc::new(vec![
            [10.0, 15.0, 30.0, 25.0],
            [40.0, 24.75, 61.0, 55.25],
            [20.0, 19.0, 24.0, 23.0],
        ]),
        confidence: Some(Arc::new(vec![0.9, 0.5, 0.9])),
        class_id: Some(Arc::new(vec![1, 2, 3])),
        ..Detections::default()
    };
    let texts = |names: [&str; 3]| names.map(Value::from).to_vec();
    set.set_column(column::CLASS_NAME, texts(["person", "car", "face"]));
    set.set_column(column::DETECTION_ID, texts(["d0", "d1", "d2"]));
    set.fill_column(
        column::IMAGE_DIMENSIONS,
        Value::from_json(&json!([80, 100])),
    );
    set
}

/// Detection ids of a set, joined.
pub(crate) fn ids(value: &Value) -> String {
    let set = value.as_detections().unwrap();
    let ids: Vec<&str> = (0..set.len())
        .map(|r| &**set.detection_id(r).unwrap())
        .collect();
    ids.join(" ")
}

/// A step of a block from JSON, with the block's defaults.
pub(crate) fn step(spec: &'static BlockSpec, fields: Json) -> Step {
    let values = spec
        .fields
        .iter()
        .map(|field| match fields.get(field.name) {
            Some(json) => field_value(json),
            None => {
                let default = field.default.unwrap_or("null");
                field_value(&serde_json::from_str(default).unwrap())
            }
        });
    Step {
        name: "step".into(),
        type_tag: spec.type_id().into(),
        spec,
        values: values.collect(),
    }
}

fn field_value(json: &Json) -> FieldValue {
    let has_selector = |json: &Json| json.as_str().is_some_and(is_selector);
    match json {
        Json::String(text) if is_selector(text) => {
            FieldValue::Selector(Selector::parse(text).unwrap())
        }
        Json::Array(items) if items.iter().any(has_selector) => {
            FieldValue::List(items.iter().map(field_value).collect())
        }
        Json::Object(map) if map.values().any(has_selector) => FieldValue::Map(
            map.iter()
                .map(|(key, item)| (key.as_str().into(), field_value(item)))
                .collect(),
        ),
        other => FieldValue::literal(other.clone()),
    }
}

/// Run-time values of a step's fields: these, and the block's defaults.
pub(crate) fn values(spec: &BlockSpec, given: &[(&str, Value)]) -> Vec<Value> {
    let value = |name: &str| {
        given
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.clone())
    };
    spec.fields
        .iter()
        .map(|field| {
            value(field.name).unwrap_or_else(|| {
                let default = serde_json::from_str(field.default.unwrap_or("null")).unwrap();
                Value::from_json(&default)
            })
        })
        .collect()
}

/// Messages of a step's compile-time check.
pub(crate) fn problems(spec: &'static BlockSpec, fields: Json) -> Vec<String> {
    let step = step(spec, fields);
    let problems = spec.check.map_or_else(Vec::new, |check| check(&step));
    problems
        .into_iter()
        .map(|problem| problem.message)
        .collect()
}
