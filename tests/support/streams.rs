//! Streams of one definition, as most tests want them.

use std::sync::Arc;

use millrace::blocks::Services;
use millrace::definitions::DefinitionStamp;
use millrace::engine::{Engine, RuntimeInputs};
use millrace::plan::Plan;
use millrace::sources::{Source, SourceSpec};
use millrace::streams::{Replacement, Stream, StreamSpec};
use millrace::values::deserialise::InputOptions;
use serde_json::Value as Json;

/// Starts a definition, which names its picture `image`, on a source.
pub fn start(
    services: &Services,
    definition: &Json,
    plan: Arc<Plan>,
    source: SourceSpec,
) -> Stream {
    let source = Source::open_with_clock(source, services.clock.clone()).expect("a source");
    let engine = Engine::new(plan, services.clone(), InputOptions::default()).expect("an engine");
    Stream::start(StreamSpec {
        source,
        definition: Replacement {
            engine,
            provenance: DefinitionStamp::inline(definition, services.clock.now()).into(),
            image_input: "image".into(),
        },
        parameters: RuntimeInputs::new(),
        clock: services.clock.clone(),
    })
    .expect("threads")
}
