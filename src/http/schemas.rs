//! Schemas of what the routes of pipelines, streams and sessions take and give, as JSON Schema has
//! them (OpenAPI 3.1). Unknown fields are ignored where bodies are read, so no schema forbids them.

use serde_json::{Map, Value, json};

use crate::fleet::{Consumption, Filling, ResultsPolicy};
use crate::outputs::RECEIVERS;

/// An object with these properties, of which the first `required` have to be there.
fn object(required: usize, properties: &[(&str, Value)]) -> Value {
    let names: Vec<&str> = properties.iter().map(|(name, _)| *name).collect();
    let properties = properties.iter().cloned();
    let properties: Map<String, Value> = properties
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": names.into_iter().take(required).collect::<Vec<_>>(),
    })
}

fn text() -> Value {
    json!({"type": "string"})
}

fn number() -> Value {
    json!({"type": "number"})
}

fn whole(default: Option<u64>) -> Value {
    match default {
        Some(default) => json!({"type": "integer", "minimum": 0, "default": default}),
        None => json!({"type": "integer", "minimum": 0}),
    }
}

fn flag(default: bool) -> Value {
    json!({"type": "boolean", "default": default})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn or_null(kind: &str) -> Value {
    json!({"type": [kind, "null"]})
}

/// An address, or the number of a camera of the server.
fn source() -> Value {
    json!({"type": ["string", "integer"]})
}

/// Which definition runs, and on which input.
fn workflow() -> Value {
    object(
        0,
        &[
            ("type", json!({"const": "WorkflowConfiguration"})),
            ("workflow_specification", json!({"type": "object"})),
            ("workspace_name", text()),
            ("workflow_id", text()),
            ("workflow_version_id", text()),
            (
                "image_input_name",
                json!({"type": "string", "default": "image"}),
            ),
            ("workflows_parameters", json!({"type": "object"})),
            ("disable_sinks", flag(false)),
        ],
    )
}

/// The body that starts a pipeline.
pub(super) fn pipeline() -> Value {
    let names = |names: &[&str]| json!({"enum": names});
    let video = object(
        1,
        &[
            (
                "video_reference",
                json!({"anyOf": [source(), list(source())]}),
            ),
            ("type", json!({"const": "VideoConfiguration"})),
            ("max_fps", number()),
            (
                "source_buffer_filling_strategy",
                names(&Filling::ALL.map(Filling::name)),
            ),
            (
                "source_buffer_consumption_strategy",
                names(&Consumption::ALL.map(Consumption::name)),
            ),
            ("video_source_properties", json!({"type": "object"})),
            ("batch_collection_timeout", number()),
        ],
    );
    let policies = [ResultsPolicy::DropOldest, ResultsPolicy::Wait];
    let sink = object(
        0,
        &[
            ("type", json!({"const": "MemorySinkConfiguration"})),
            ("results_buffer_size", whole(Some(64))),
            (
                "results_buffer_policy",
                names(&policies.map(ResultsPolicy::name)),
            ),
        ],
    );
    object(
        2,
        &[
            ("video_configuration", video),
            ("processing_configuration", workflow()),
            ("sink_configuration", sink),
            ("consumption_timeout", number()),
            ("decoding_buffer_size", whole(Some(64))),
            ("api_key", text()),
            (
                "millrace",
                object(0, &[("name", text()), ("outputs", outputs())]),
            ),
        ],
    )
}

/// The outputs of a stream, each a text or an object.
fn outputs() -> Value {
    let either = json!({"type": ["string", "object"]});
    let shown = json!({"type": ["boolean", "object"]});
    let receivers = RECEIVERS.map(|(kind, _)| kind);
    let mut known: Vec<(&str, Value)> = receivers
        .iter()
        .map(|kind| {
            (
                *kind,
                json!({"anyOf": [either.clone(), list(either.clone())]}),
            )
        })
        .collect();
    known.extend([("jsonl", either.clone()), ("video", either)]);
    known.extend([("preview", shown.clone()), ("rtsp", shown)]);
    object(0, &known)
}

/// The body that adds a source.
pub(super) fn added_source() -> Value {
    object(1, &[("video_reference", source())])
}

/// The body of a request for a result.
pub(super) fn exclusion() -> Value {
    object(0, &[("excluded_fields", list(text()))])
}

/// The answer of a pipeline's route: these properties besides those that all have.
fn done_with(own: &[(&str, Value)]) -> Value {
    let context = object(
        2,
        &[("request_id", text()), ("pipeline_id", or_null("string"))],
    );
    let mut all = vec![
        ("status", json!({"const": "success"})),
        ("context", context),
    ];
    all.extend_from_slice(own);
    object(all.len(), &all)
}

/// The answer of a route that does something to a pipeline.
pub(super) fn done() -> Value {
    done_with(&[])
}

/// The ids of all pipelines.
pub(super) fn pipelines() -> Value {
    done_with(&[("pipelines", list(text()))])
}

/// The number of a source that was added.
pub(super) fn source_number() -> Value {
    done_with(&[("source_id", whole(None))])
}

/// The status of a pipeline.
pub(super) fn status() -> Value {
    let of_source = |own: &[(&str, Value)]| {
        let mut all = vec![("source_id", whole(None))];
        all.extend_from_slice(own);
        list(object(1, &all))
    };
    let latencies = of_source(&[
        ("frame_decoding_latency", or_null("number")),
        ("inference_latency", or_null("number")),
        ("e2e_latency", or_null("number")),
    ]);
    let sources = of_source(&[
        ("source_properties", or_null("object")),
        ("source_reference", text()),
        ("buffer_size", whole(None)),
        ("state", text()),
    ]);
    let completion = object(
        2,
        &[
            ("sampled_at_monotonic", number()),
            ("sources", list(json!({"type": "object"}))),
        ],
    );
    let report = object(
        6,
        &[
            (
                "video_source_status_updates",
                list(json!({"type": "object"})),
            ),
            ("latency_reports", latencies),
            ("inference_throughput", number()),
            ("sources_metadata", sources),
            ("completion_statistics", completion),
            ("millrace", object(0, &row())),
        ],
    );
    done_with(&[("report", report)])
}

/// The next result of a pipeline: an element for each source, `null` where it had no frame.
pub(super) fn consumed() -> Value {
    let frame = object(
        3,
        &[
            ("frame_timestamp", text()),
            ("frame_id", whole(None)),
            ("source_id", whole(None)),
        ],
    );
    let maybe = |schema: Value| list(json!({"anyOf": [schema, {"type": "null"}]}));
    let mut schema = done_with(&[
        ("outputs", list(or_null("object"))),
        ("frames_metadata", maybe(frame)),
    ]);
    let own = &mut schema["properties"];
    own["definition"] = json!({"type": "object"});
    own["timing"] = list(or_null("object"));
    own["error"] = json!({"type": "object"});
    schema
}

/// What is told of a stream; of one of `millrace run`, a part of it.
fn row() -> Vec<(&'static str, Value)> {
    vec![
        ("state", text()),
        ("problem", or_null("string")),
        ("health", object(1, &[("condition", text())])),
        ("restarts", whole(None)),
        ("definition_id", text()),
        ("definition", or_null("object")),
        ("errors", whole(None)),
        ("last_error", or_null("string")),
        ("results", json!({"type": "object"})),
        ("outputs", json!({"type": "object"})),
        ("figures", json!({"type": "object"})),
        ("sources", list(json!({"type": "object"}))),
    ]
}

/// A stream.
pub(super) fn stream() -> Value {
    let mut all = vec![("id", text())];
    all.extend(row());
    object(2, &all)
}

/// All streams.
pub(super) fn streams() -> Value {
    object(1, &[("streams", list(stream()))])
}

/// The body that starts a session; the older form names two fields otherwise, and one more.
pub(super) fn session(older: bool) -> Value {
    let offer = object(2, &[("type", json!({"const": "offer"})), ("sdp", text())]);
    let server = object(
        1,
        &[
            ("urls", json!({"anyOf": [text(), list(text())]})),
            ("username", or_null("string")),
            ("credential", or_null("string")),
        ],
    );
    let mut all = match older {
        false => vec![("workflow_configuration", workflow())],
        true => vec![
            ("processing_configuration", workflow()),
            ("video_configuration", json!({"type": "object"})),
        ],
    };
    all.push(("webrtc_offer", offer));
    let required = all.len();
    all.extend([
        ("api_key", text()),
        ("session_id", text()),
        (
            "webrtc_config",
            object(1, &[("iceServers", list(server.clone()))]),
        ),
        ("webrtc_turn_config", server),
        ("webrtc_realtime_processing", json!({"type": "boolean"})),
        ("stream_output", list(text())),
        ("data_output", list(text())),
        ("rtsp_url", or_null("string")),
        ("mjpeg_url", or_null("string")),
        ("video_file_upload", flag(false)),
        ("manual_mode", flag(false)),
    ]);
    match older {
        false => all.extend([
            ("declared_fps", or_null("number")),
            ("processing_timeout", or_null("integer")),
        ]),
        true => all.push(("webcam_fps", or_null("number"))),
    }
    object(required, &all)
}

/// The answer to an offer.
pub(super) fn session_answer() -> Value {
    let mut schema = done_with(&[("sdp", text()), ("type", json!({"const": "answer"}))]);
    schema["properties"]["context"]["properties"]["request_id"] = or_null("string");
    schema
}

/// The body that names a session.
pub(super) fn session_id() -> Value {
    object(1, &[("session_id", text()), ("api_key", text())])
}

/// The answer about a session.
pub(super) fn session_status() -> Value {
    object(1, &[("status", json!({"const": "ok"}))])
}
