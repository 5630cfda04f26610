//! What a collector of OpenTelemetry traces is told, and what a stream does when there is none.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/receiver.rs"]
#[allow(dead_code)]
mod receiver;
#[path = "support/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::blocks::Services;
use millrace::definitions::DefinitionStamp;
use millrace::engine::{Engine, RuntimeInputs};
use millrace::plan::Plan;
use millrace::sources::{Source, SourceSpec};
use millrace::streams::{Replacement, Stream, StreamSpec};
use millrace::telemetry::{Settings, Tracer};
use millrace::values::deserialise::InputOptions;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use receiver::Receiver;
use serde_json::{Value as Json, json};

const SOON: Duration = Duration::from_secs(20);

/// Two light steps.
fn definition() -> Json {
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [
            {"type": "roboflow_core/convert_grayscale@v1", "name": "gray", "image": "$inputs.image"},
            {"type": "roboflow_core/image_blur@v1", "name": "blur", "image": "$steps.gray.image",
             "blur_type": "gaussian", "kernel_size": 5},
        ],
        "outputs": [{"type": "JsonField", "name": "result", "selector": "$steps.blur.image"}],
    })
}

fn tracer(address: &str, extra: &[(&str, &str)]) -> Arc<Tracer> {
    let look = |name: &str| {
        let own = [
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
            ("OTEL_SERVICE_NAME", "gate house"),
        ];
        let mut all = own.iter().chain(extra);
        all.rfind(|(known, _)| *known == name)
            .map(|(_, v)| (*v).to_owned())
    };
    let settings = Settings::from_env(look, Some(address)).unwrap();
    Tracer::start(settings, Services::default().clock)
        .unwrap()
        .unwrap()
}

/// Plays some frames; answers the hash of the definition and how many results came.
fn play(uri: &str, definition: &Json, tracer: Option<Arc<Tracer>>) -> (String, usize) {
    let services = Services {
        tracer,
        ..Services::default()
    };
    let mut spec = SourceSpec::new(uri.parse().unwrap());
    spec.video_identifier = Some("gate".into());
    let stamp = DefinitionStamp::inline(definition, services.clock.now());
    let hash = stamp.hash.to_string();
    let plan = Arc::new(Plan::compile(definition).unwrap());
    let stream = Stream::start(StreamSpec {
        source: Source::open_with_clock(spec, services.clock.clone()).unwrap(),
        definition: Replacement {
            engine: Engine::new(plan, services.clone(), InputOptions::default()).unwrap(),
            provenance: stamp.into(),
            image_input: "image".into(),
        },
        parameters: RuntimeInputs::new(),
        clock: services.clock.clone(),
    })
    .unwrap();
    let results = stream.results().iter().count();
    stream.join();
    (hash, results)
}

/// What the collector got, waited for until there are so many spans.
fn spans(collector: &Receiver, count: usize) -> (Vec<Span>, Vec<KeyValue>) {
    let began = Instant::now();
    loop {
        let mut spans = Vec::new();
        let mut resource = Vec::new();
        for received in collector.received() {
            assert_eq!(
                (received.method.as_str(), received.uri.as_str()),
                ("POST", "/v1/traces")
            );
            assert_eq!(received.header("content-type"), "application/x-protobuf");
            let request = ExportTraceServiceRequest::decode(&received.body[..]).unwrap();
            for part in request.resource_spans {
                resource = part.resource.unwrap().attributes;
                spans.extend(part.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        if spans.len() >= count {
            return (spans, resource);
        }
        assert!(began.elapsed() < SOON, "{} of {count} spans", spans.len());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn attribute(of: &[KeyValue], key: &str) -> Option<Json> {
    let found = of.iter().find(|pair| pair.key == key)?;
    match found.value.clone() {
        Some(AnyValue {
            value: Some(Value::StringValue(text)),
        }) => Some(json!(text)),
        Some(AnyValue {
            value: Some(Value::IntValue(n)),
        }) => Some(json!(n)),
        Some(AnyValue {
            value: Some(Value::DoubleValue(x)),
        }) => Some(json!(x)),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn each_frame_is_a_trace_of_its_way() {
    let collector = Receiver::ok();
    let tracer = tracer(&collector.url(""), &[]);
    let clip = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/video/shapes_a_640x360_25fps.mp4"
    );
    let (hash, results) = play(clip, &definition(), Some(tracer.clone()));
    assert_eq!(results, 300);
    // frame, decode, wait, stage, two steps, outputs
    let (spans, resource) = spans(&collector, 300 * 7);
    assert_eq!(
        attribute(&resource, "service.name"),
        Some(json!("gate house"))
    );
    let mut traces: BTreeMap<Vec<u8>, Vec<&Span>> = BTreeMap::new();
    for span in &spans {
        traces.entry(span.trace_id.clone()).or_default().push(span);
    }
    assert_eq!(traces.len(), 300);
    let mut numbers = Vec::new();
    for trace in traces.values() {
        let named = |name: &str| -> &Span {
            let found: Vec<_> = trace.iter().filter(|span| span.name == name).collect();
            assert_eq!(found.len(), 1, "{name} in {trace:?}");
            found[0]
        };
        let root = named("frame");
        assert!(root.parent_span_id.is_empty() && root.kind == SpanKind::Consumer as i32);
        numbers.push(
            attribute(&root.attributes, "millrace.frame.number")
                .unwrap()
                .as_i64()
                .unwrap(),
        );
        for (key, value) in [
            ("millrace.stream", json!("gate")),
            ("millrace.source", json!("gate")),
            ("millrace.definition.hash", json!(hash)),
            ("millrace.round.frames", json!(1)),
        ] {
            assert_eq!(attribute(&root.attributes, key), Some(value), "{key}");
        }
        let stage = named("stage gray+blur");
        assert_eq!(
            attribute(&stage.attributes, "millrace.stage.kind"),
            Some(json!("steps"))
        );
        for (name, parent) in [
            ("decode", root),
            ("wait", root),
            ("stage gray+blur", root),
            ("outputs", root),
            ("step gray", stage),
            ("step blur", stage),
        ] {
            let span = named(name);
            assert_eq!(span.parent_span_id, parent.span_id, "{name}");
            assert!(
                parent.start_time_unix_nano <= span.start_time_unix_nano,
                "{name}"
            );
            assert!(
                span.start_time_unix_nano <= span.end_time_unix_nano,
                "{name}"
            );
            assert!(
                span.end_time_unix_nano <= parent.end_time_unix_nano,
                "{name}"
            );
        }
        let block = attribute(&named("step blur").attributes, "millrace.block");
        assert_eq!(block, Some(json!("roboflow_core/image_blur@v1")));
    }
    numbers.sort();
    assert_eq!(numbers, (1..=300).collect::<Vec<i64>>());
    let figures = tracer.figures();
    assert_eq!((figures.dropped_traces, figures.failed_spans), (0, 0));
}

#[test]
fn an_error_of_a_step_is_told_where_it_happened() {
    let collector = Receiver::ok();
    let tracer = tracer(&collector.url(""), &[]);
    let mut definition = definition();
    definition["steps"][1] = json!({
        "type": "roboflow_core/roboflow_object_detection_model@v2", "name": "model",
        "images": "$steps.gray.image", "model_id": "nobody/1",
    });
    definition["outputs"][0]["selector"] = json!("$steps.model.predictions");
    let (_, results) = play(
        "videotestsrc://?size=64x48&fps=50&frames=4",
        &definition,
        Some(tracer),
    );
    assert_eq!(results, 4);
    // No decoder: frame, wait, two stages with a step each, outputs.
    let (spans, _) = spans(&collector, 4 * 7);
    let failed = |name: &str| {
        let of = spans.iter().filter(|span| span.name == name);
        of.filter(|span| span.status.as_ref().is_some_and(|s| s.code == 2))
            .count()
    };
    assert_eq!((failed("stage gray"), failed("step gray")), (0, 0));
    assert_eq!((failed("stage model"), failed("step model")), (4, 4));
    assert_eq!(failed("frame"), 4);
    let root = spans.iter().find(|span| span.name == "frame").unwrap();
    let message = &root.status.as_ref().unwrap().message;
    assert!(message.contains("step `model`"), "{message}");
    let stage = spans
        .iter()
        .find(|span| span.name == "stage model")
        .unwrap();
    let kind = attribute(&stage.attributes, "millrace.stage.kind");
    assert_eq!(kind, Some(json!("inference")));
}

#[test]
fn a_collector_that_is_down_harms_no_stream() {
    let frames = "videotestsrc://?size=64x48&fps=1000&frames=3000";
    let down = tracer(
        "http://127.0.0.1:9",
        &[("OTEL_EXPORTER_OTLP_TIMEOUT", "300")],
    );
    let (_, results) = play(frames, &definition(), Some(down.clone()));
    assert_eq!(results, 3000);
    let began = Instant::now();
    while down.figures().failed_spans == 0 {
        assert!(began.elapsed() < SOON, "{:?}", down.figures());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(down.figures().sent_spans, 0);
}

#[test]
fn a_server_tells_of_requests_as_part_of_their_callers_traces() {
    let collector = Receiver::ok();
    let server = server::Server::start(
        &["--otlp", &collector.url(""), "--stage-workers", "2"],
        &[
            ("OTEL_BSP_SCHEDULE_DELAY", "20"),
            ("OTEL_TRACES_SAMPLER", "parentbased_always_off"),
        ],
    );
    let client = reqwest::Client::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let get = |parent: Option<&str>| {
        let mut request = client.get(server.url("/info"));
        if let Some(parent) = parent {
            request = request.header("traceparent", parent);
        }
        runtime.block_on(async { request.send().await.unwrap().text().await.unwrap() })
    };
    get(None);
    get(Some(
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ));
    let (spans, resource) = spans(&collector, 1);
    assert_eq!(
        attribute(&resource, "service.name"),
        Some(json!("millrace"))
    );
    assert_eq!(spans.len(), 1, "the other was not sampled: {spans:?}");
    let span = &spans[0];
    assert_eq!(
        hex::encode(&span.trace_id),
        "4bf92f3577b34da6a3ce929d0e0e4736"
    );
    assert_eq!(hex::encode(&span.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(
        (span.name.as_str(), span.kind),
        ("request", SpanKind::Server as i32)
    );
    for (key, value) in [
        ("http.request.method", json!("GET")),
        ("http.route", json!("/info")),
        ("http.response.status_code", json!(200)),
    ] {
        assert_eq!(attribute(&span.attributes, key), Some(value), "{key}");
    }
    let metrics = || {
        runtime.block_on(async {
            let got = client.get(server.url("/metrics")).send().await.unwrap();
            got.text().await.unwrap()
        })
    };
    // The collector has the span a moment before the server has its answer.
    let sent = "millrace_trace_spans_total{outcome=\"sent\"} 1";
    let patience = Instant::now() + Duration::from_secs(10);
    while !metrics().contains(sent) {
        assert!(Instant::now() < patience, "{}", metrics());
        std::thread::sleep(Duration::from_millis(20));
    }
}
