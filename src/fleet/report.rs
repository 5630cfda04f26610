//! The status of a pipeline (server specification 4.4), and what the reference does not tell, under
//! `millrace`.
//!
//! `frame_decoding_latency` is the time from the decoder to the first step, not the age of a file.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::health;
use super::pipeline::{Camera, Pipeline, State};
use super::spec::Buffering;
use crate::streams::{Quantiles, Snapshot, SourceFigures};

/// What `total_frames` is where it is not known; clients take anything below 1 for that.
const UNKNOWN_LENGTH: i64 = -1;

/// The status of a pipeline.
pub(super) fn status(pipeline: &Pipeline) -> Json {
    pipeline.look_at_sources();
    let figures = pipeline.state().figures.clone();
    let snapshot = figures
        .map(|figures| figures.snapshot())
        .unwrap_or_default();
    let condition = health::of(pipeline).to_json();
    let state = pipeline.state();
    let cameras = &state.cameras;
    let buffering = pipeline.spec.buffering;
    json!({
        "video_source_status_updates": pipeline.updates.to_json(),
        "latency_reports": cameras.iter().map(latencies).collect::<Json>(),
        "inference_throughput": snapshot.processed_fps,
        "sources_metadata": cameras
            .iter()
            .map(|camera| metadata(camera, buffering))
            .collect::<Json>(),
        "completion_statistics": {
            "sampled_at_monotonic": pipeline.now().as_secs_f64(),
            "sources": cameras.iter().map(completion).collect::<Json>(),
        },
        "millrace": own(pipeline, &state, &snapshot, condition),
    })
}

fn mean(
    latencies: &VecDeque<(Duration, Duration)>,
    of: fn(&(Duration, Duration)) -> Duration,
) -> Json {
    let count = latencies.len() as u32;
    match count {
        0 => Json::Null,
        _ => (latencies.iter().map(of).sum::<Duration>() / count)
            .as_secs_f64()
            .into(),
    }
}

fn latencies(camera: &Camera) -> Json {
    let times = &camera.latencies;
    json!({
        "source_id": camera.number,
        "frame_decoding_latency": mean(times, |(waited, _)| *waited),
        "inference_latency": mean(times, |(waited, whole)| whole.saturating_sub(*waited)),
        "e2e_latency": mean(times, |(_, whole)| *whole),
    })
}

fn metadata(camera: &Camera, buffering: Buffering) -> Json {
    let source = camera.source.as_ref();
    let live = source.is_some_and(|source| source.is_live());
    let stats = source.map(|source| source.stats());
    let properties = stats.and_then(|stats| {
        let info = stats.info?;
        Some(json!({
            "width": info.format.width,
            "height": info.format.height,
            "total_frames": info.total_frames.unwrap_or(UNKNOWN_LENGTH),
            "is_file": info.recorded,
            "fps": info.format.fps.or(stats.measured_fps),
            "is_reconnectable": live.then_some(true),
            "timestamp_created": info.created.map(|time| time.isoformat()),
        }))
    });
    json!({
        "source_properties": properties,
        "source_reference": camera.reference(),
        "buffer_size": buffering.size,
        "state": camera.shown.name(),
        "buffer_filling_strategy": buffering.filling.map(|f| f.name()),
        "buffer_consumption_strategy": buffering.consumption.map(|c| c.name()),
        "source_id": camera.number,
    })
}

fn completion(camera: &Camera) -> Json {
    json!({
        "source_id": camera.number,
        "completed_frames": camera.completed,
        "last_completed_at_monotonic": camera.last_completed.map(|at| at.as_secs_f64()),
        "last_frame_id": camera.last_frame,
    })
}

/// What the reference does not tell of a pipeline, under its id.
pub(super) fn row(pipeline: &Pipeline) -> Json {
    pipeline.look_at_sources();
    let figures = pipeline.state().figures.clone();
    let snapshot = figures.map(|figures| figures.snapshot());
    let condition = health::of(pipeline).to_json();
    let state = pipeline.state();
    let mut row = json!({"id": &*pipeline.id});
    let own = own(pipeline, &state, &snapshot.unwrap_or_default(), condition);
    if let (Json::Object(row), Json::Object(own)) = (&mut row, own) {
        row.extend(own);
    }
    row
}

fn own(pipeline: &Pipeline, state: &State, snapshot: &Snapshot, condition: Json) -> Json {
    let results = pipeline.results.figures();
    let now = pipeline.clock().now();
    json!({
        "state": if state.paused { "paused" } else { state.phase.name() },
        "problem": state.problem,
        "health": condition,
        "restarts": state.restarts.len(),
        "definition_id": pipeline.spec.definition.name(),
        "definition": state.provenance.as_ref().map(|it| it.to_json(now)),
        "errors": snapshot.errors,
        "last_error": state.last_error,
        "results": {
            "waiting": results.waiting,
            "taken": results.taken,
            "dropped_full": results.dropped_full,
            "dropped_bytes": results.dropped_bytes,
            "policy": pipeline.results.policy().name(),
        },
        "outputs": pipeline.outputs.to_json(),
        "figures": figures(snapshot),
        "sources": state.cameras.iter().filter_map(source).collect::<Json>(),
    })
}

fn source(camera: &Camera) -> Option<Json> {
    let stats = camera.source.as_ref()?.stats();
    let figures = SourceFigures::of(camera.number, &stats);
    Some(json!({
        "source_id": camera.number,
        "video_identifier": camera.spec.video_identifier.as_deref(),
        "state": camera.shown.name(),
        "camera_fps": figures.measured_fps,
        "frames": figures.frames,
        "dropped": figures.dropped,
        "losses": figures.losses,
        "reconnects": figures.reconnects,
        "failed_attempts": figures.failed_attempts,
        "silent_seconds": figures.silent_for.map(|t| t.as_secs_f64()),
        "last_error": stats.last_error.map(|e| e.to_string()),
    }))
}

/// The figures of a stream.
pub(crate) fn figures(snapshot: &Snapshot) -> Json {
    let stages = snapshot.stage_figures.iter();
    json!({
        "results": snapshot.results,
        "in_flight": snapshot.in_flight,
        "camera_fps": snapshot.camera_fps,
        "processed_fps": snapshot.processed_fps,
        "dropped": snapshot.dropped,
        "swaps": snapshot.swaps,
        "losses": snapshot.losses,
        "reconnects": snapshot.reconnects,
        "starved_seconds": snapshot.starved.as_secs_f64(),
        "queue_age_ms": snapshot.queue_age.as_secs_f64() * 1e3,
        "decode_ms": quantiles(snapshot.decode),
        "wait_ms": quantiles(snapshot.wait),
        "inference_ms": quantiles(snapshot.inference),
        "steps_ms": quantiles(snapshot.steps),
        "latency_ms": quantiles(snapshot.latency),
        "stages": stages
            .map(|s| json!({"name": s.name, "kind": s.kind.name(), "ms": quantiles(s.times)}))
            .collect::<Json>(),
    })
}

fn quantiles(times: Quantiles) -> Json {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    json!({"p50": ms(times.p50), "p95": ms(times.p95), "p99": ms(times.p99)})
}
