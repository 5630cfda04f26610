//! Results as clients consume them (server specification 4.6).
//!
//! `outputs` and `frames_metadata` have an element for each source, `null` where it had no frame in
//! the round. Besides those of the reference there are `definition`, the stamp of the definition that
//! made the result; `timing`, for each source when its frame was taken, came out of the decoder and
//! had its result; and `error`, if a step failed or an output has no JSON form.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::results::{Facts, Kept};
use crate::clock::Clock;
use crate::definition::error::WorkflowError;
use crate::values::serialise::OutputOptions;

/// A result as JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumed {
    /// The outputs for each source.
    pub outputs: Vec<Json>,
    /// Number and time of the frame of each source.
    pub frames_metadata: Vec<Json>,
    /// The stamp of the definition.
    pub definition: Json,
    /// Times of the frame of each source.
    pub timing: Vec<Json>,
    /// What failed.
    pub error: Option<Json>,
}

/// Writes a result without the outputs of these names.
pub(super) fn consumed(kept: &Kept, excluded: &[String], clock: &dyn Clock) -> Consumed {
    let options = OutputOptions::new(clock.now());
    let (objects, error) = match objects(kept, excluded, &options) {
        Ok(objects) => (objects, None),
        Err(error) => (Vec::new(), Some(error.to_json())),
    };
    let mut objects = objects.into_iter();
    let mut result = Consumed {
        outputs: Vec::new(),
        frames_metadata: Vec::new(),
        definition: kept.generation.provenance.to_json(clock.now()),
        timing: Vec::new(),
        error,
    };
    for number in kept.sources.iter() {
        let facts = kept.frames.iter().find(|facts| facts.source == *number);
        let Some(facts) = facts else {
            result.outputs.push(Json::Null);
            result.frames_metadata.push(Json::Null);
            result.timing.push(Json::Null);
            continue;
        };
        let object = objects.next().map_or(Json::Null, Json::Object);
        result.outputs.push(object);
        result.frames_metadata.push(json!({
            "frame_timestamp": facts.video.frame_timestamp.isoformat(),
            "frame_id": facts.video.frame_number,
            "source_id": facts.source,
        }));
        result.timing.push(timing(kept, facts));
    }
    result
}

fn objects(
    kept: &Kept,
    excluded: &[String],
    options: &OutputOptions,
) -> Result<Vec<Map<String, Json>>, WorkflowError> {
    let plan = &kept.generation.plan;
    let run = kept.run.as_ref().map_err(Clone::clone)?;
    let objects = run.produced(plan).into_iter().map(|object| {
        let wanted = object
            .into_iter()
            .filter(|p| !excluded.iter().any(|name| **name == **p.name));
        wanted
            .map(|p| Ok((p.name.to_string(), p.to_json(plan, options)?)))
            .collect()
    });
    objects.collect()
}

fn timing(kept: &Kept, facts: &Facts) -> Json {
    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    json!({
        "captured": facts.video.frame_timestamp.isoformat(),
        "arrived": facts.arrived_at.isoformat(),
        "finished": facts.arrived_at.after(kept.latency).isoformat(),
        "waited_ms": milliseconds(kept.waited),
        "latency_ms": milliseconds(kept.latency),
    })
}
