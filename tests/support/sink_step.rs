//! A sink of the registry at work: literal fields, and values put in their place.

use std::sync::Arc;

use millrace::blocks::sinks::settings::{SinkHost, SinkSettings};
use millrace::blocks::{Block, BlockError, BlockSpec, Context, Inputs, Output, Services, registry};
use millrace::clock::ManualClock;
use millrace::definition::step::{FieldValue, Step};
use millrace::definitions::ApiKey;
use millrace::delivery::{Dispatcher, Settings};
use millrace::values::Value;
use serde_json::Value as Json;

pub struct SinkStep {
    block: Box<dyn Block>,
    spec: &'static BlockSpec,
    values: Vec<Value>,
    pub services: Services,
    pub clock: Arc<ManualClock>,
}

/// Settings under which every service is the one at this address.
pub fn all_at(base: &str) -> SinkSettings {
    SinkSettings {
        platform: base.into(),
        proxy: base.into(),
        slack: base.into(),
        twilio: base.into(),
        s3: Some(base.into()),
        api_key: Some(ApiKey::new("k3y")),
        ..SinkSettings::default()
    }
}

impl SinkStep {
    pub fn new(type_id: &str, fields: Json, sinks: SinkSettings, delivery: Settings) -> Self {
        Self::delivering(type_id, fields, sinks, Dispatcher::new(delivery))
    }

    pub fn delivering(
        type_id: &str,
        fields: Json,
        sinks: SinkSettings,
        dispatcher: Dispatcher,
    ) -> Self {
        let clock = Arc::new(ManualClock::default());
        let services = Services {
            clock: clock.clone(),
            dispatcher: Arc::new(dispatcher),
            sinks: Arc::new(SinkHost::new(sinks)),
            ..Services::default()
        };
        let spec = registry::find(type_id).expect(type_id);
        let literals: Vec<Json> = spec
            .fields
            .iter()
            .map(|field| match fields.get(field.name) {
                Some(json) => json.clone(),
                None => serde_json::from_str(field.default.expect(field.name)).expect("JSON"),
            })
            .collect();
        let step = Step {
            name: "sink".into(),
            type_tag: spec.type_id().into(),
            spec,
            values: literals.iter().cloned().map(FieldValue::literal).collect(),
        };
        Self {
            block: (spec.build)(&step, &services).expect("a block"),
            spec,
            values: literals.iter().map(Value::from_json).collect(),
            services,
            clock,
        }
    }

    /// The same with another value in a field.
    pub fn put(mut self, field: &str, value: Value) -> Self {
        self.values[self.spec.field_index(field).expect(field)] = value;
        self
    }

    /// The outputs of one element.
    pub fn try_run(&mut self) -> Result<Output, BlockError> {
        let stream = Arc::from("camera");
        let cx = Context {
            step: "sink",
            stream: &stream,
            services: &self.services,
            claim: None,
        };
        self.block.run(&Inputs::new(self.spec, &self.values), &cx)
    }

    /// `error_status` and `message`: the first and the last output.
    pub fn run(&mut self) -> (bool, String) {
        let Ok(Output::One(row)) = self.try_run() else {
            panic!("one row expected");
        };
        let text = row.last().and_then(Value::as_str).expect("a message");
        (row[0].as_bool().expect("a flag"), text.to_owned())
    }
}
