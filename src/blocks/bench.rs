//! Runs one block without an engine: for the tests of blocks that remember frames.

use std::sync::Arc;

use super::{Block, BlockError, BlockSpec, Context, Inputs, Output, Row, Services};
use crate::clock::ManualClock;
use crate::definition::step::{FieldValue, Step};
use crate::values::{Detections, Image, Matrix, Timestamp, Value, VideoMetadata};

/// A block with literal values in its fields.
pub(crate) struct Bench {
    spec: &'static BlockSpec,
    block: Box<dyn Block>,
    values: Vec<Value>,
    services: Services,
    clock: Arc<ManualClock>,
    stream: Arc<str>,
}

impl Bench {
    /// The block with these fields; the others have their defaults.
    pub(crate) fn new(spec: &'static BlockSpec, fields: &[(&str, serde_json::Value)]) -> Self {
        let literal = |field: &super::Field| {
            let given = fields.iter().find(|(name, _)| *name == field.name);
            let default = field.default.map(|d| serde_json::from_str(d).unwrap());
            FieldValue::literal(
                given
                    .map(|(_, v)| v.clone())
                    .or(default)
                    .unwrap_or_default(),
            )
        };
        let step = Step {
            name: "step".into(),
            type_tag: spec.type_id().to_owned(),
            spec,
            values: spec.fields.iter().map(literal).collect(),
        };
        let clock = Arc::new(ManualClock::default());
        let services = Services {
            clock: clock.clone(),
            ..Services::default()
        };
        let values = step.values.iter().map(|v| match v {
            FieldValue::Literal(_, value) => value.clone(),
            _ => Value::None,
        });
        Self {
            values: values.collect(),
            block: (spec.build)(&step, &services).unwrap(),
            spec,
            services,
            clock,
            stream: "".into(),
        }
    }

    /// Moves the clock forward.
    pub(crate) fn wait(&self, seconds: u64) {
        self.clock.advance(std::time::Duration::from_secs(seconds));
    }

    /// Further runs belong to this stream.
    pub(crate) fn on_stream(&mut self, stream: &str) {
        self.stream = stream.into();
    }

    /// The same block using the cache of another bench.
    pub(crate) fn sharing_cache(mut self, other: &Self) -> Self {
        self.services.cache = other.services.cache.clone();
        self
    }

    /// Runs the block with these fields set; they stay set.
    pub(crate) fn run(&mut self, fields: &[(&str, Value)]) -> Result<Row, BlockError> {
        match self.output(fields)? {
            Output::One(row) => Ok(row),
            other => panic!("one row wanted, got {other:?}"),
        }
    }

    /// The same for a block that returns several rows.
    pub(crate) fn run_many(&mut self, fields: &[(&str, Value)]) -> Result<Vec<Row>, BlockError> {
        match self.output(fields)? {
            Output::Many(rows) => Ok(rows),
            other => panic!("rows wanted, got {other:?}"),
        }
    }

    /// The same for a block that returns several rows for each element of a batch.
    pub(crate) fn run_nested(
        &mut self,
        fields: &[(&str, Value)],
    ) -> Result<Vec<Vec<Row>>, BlockError> {
        match self.output(fields)? {
            Output::Nested(rows) => Ok(rows),
            other => panic!("nested rows wanted, got {other:?}"),
        }
    }

    fn output(&mut self, fields: &[(&str, Value)]) -> Result<Output, BlockError> {
        for (name, value) in fields {
            self.values[self.spec.field_index(name).unwrap()] = value.clone();
        }
        let cx = Context {
            step: "step",
            stream: &self.stream,
            services: &self.services,
            claim: None,
        };
        let inputs = Inputs::new(self.spec, &self.values);
        self.block.run(&inputs, &cx)
    }
}

/// A batch of values.
pub(crate) fn batch(items: Vec<Value>) -> Value {
    let indices = (0..items.len() as u32).map(|i| crate::values::Index::from_slice(&[i]));
    Value::Batch(Arc::new(crate::values::Batch {
        indices: indices.collect(),
        items,
    }))
}

/// Metadata of frame `number` of a file.
pub(crate) fn video(identifier: &str, number: i64, fps: Option<f64>) -> VideoMetadata {
    VideoMetadata {
        fps,
        frame_number: number,
        comes_from_video_file: Some(true),
        ..VideoMetadata::synthetic(identifier.into(), Timestamp::from_unix_micros(0))
    }
}

/// A small image that is frame `number` of a file.
pub(crate) fn frame(identifier: &str, number: i64, fps: Option<f64>) -> Value {
    let image = Image::new(Matrix::filled(4, 4, &[0, 0, 0]), "image".into());
    image
        .with_video(Some(Arc::new(video(identifier, number, fps))))
        .into()
}

/// Boxes with confidences, class 0.
pub(crate) fn boxes(rows: &[([f64; 4], f64)]) -> Detections {
    let mut d = Detections {
        xyxy: Arc::new(rows.iter().map(|r| r.0).collect()),
        confidence: Some(Arc::new(rows.iter().map(|r| r.1).collect())),
        class_id: Some(Arc::new(vec![0; rows.len()])),
        ..Detections::default()
    };
    d.fill_column("class_name", "thing".into());
    d
}

/// Boxes with track ids and confidence 0.9.
pub(crate) fn tracked(rows: &[([f64; 4], i64)]) -> Detections {
    let plain: Vec<_> = rows.iter().map(|r| (r.0, 0.9)).collect();
    Detections {
        tracker_id: Some(Arc::new(rows.iter().map(|r| r.1).collect())),
        ..boxes(&plain)
    }
}

/// The track ids of boxes.
pub(crate) fn ids(value: &Value) -> Vec<i64> {
    let detections = value.as_detections().unwrap();
    detections.tracker_id.as_deref().unwrap().clone()
}
