//! A sink at work in tests: literal fields, a clock set by hand.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::blocks::{Block, BlockError, BlockSpec, Context, Inputs, Output, Services};
use crate::clock::ManualClock;
use crate::definition::step::{FieldValue, Step};
use crate::values::Value;

pub(super) struct Bench {
    block: Box<dyn Block>,
    spec: &'static BlockSpec,
    values: Vec<Value>,
    services: Services,
    pub(super) clock: Arc<ManualClock>,
}

impl Bench {
    pub(super) fn new(spec: &'static BlockSpec, fields: Json, services: Services) -> Self {
        let clock = Arc::new(ManualClock::default());
        let services = Services {
            clock: clock.clone(),
            ..services
        };
        let literal = |field: &crate::blocks::Field| match fields.get(field.name) {
            Some(json) => json.clone(),
            None => serde_json::from_str(field.default.unwrap()).unwrap(),
        };
        let literals: Vec<Json> = spec.fields.iter().map(literal).collect();
        let step = Step {
            name: "sink".into(),
            type_tag: spec.type_id().into(),
            spec,
            values: literals.iter().cloned().map(FieldValue::literal).collect(),
        };
        Self {
            block: (spec.build)(&step, &services).unwrap(),
            spec,
            values: literals.iter().map(Value::from_json).collect(),
            services,
            clock,
        }
    }

    /// Gives a field another value.
    pub(super) fn set(&mut self, field: &str, value: Json) {
        self.put(field, Value::from_json(&value));
    }

    /// The same with a value that JSON has no form for.
    pub(super) fn put(&mut self, field: &str, value: Value) {
        self.values[self.spec.field_index(field).unwrap()] = value;
    }

    pub(super) fn run(&mut self, stream: &str) -> Result<Output, BlockError> {
        let stream = Arc::from(stream);
        let cx = Context {
            step: "sink",
            stream: &stream,
            services: &self.services,
            claim: None,
        };
        self.block.run(&Inputs::new(self.spec, &self.values), &cx)
    }

    /// `error_status` and `message`, the first and the last output.
    pub(super) fn plain(&mut self, stream: &str) -> (bool, String) {
        let Output::One(row) = self.run(stream).unwrap() else {
            panic!("one row expected");
        };
        let text = row.last().unwrap().as_str().unwrap().to_owned();
        (row[0].as_bool().unwrap(), text)
    }
}
