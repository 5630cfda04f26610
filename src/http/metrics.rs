//! The figures of a process in Prometheus' text form (exposition format 0.0.4).
//!
//! Labels are bounded: one `stream` per stream, one `cause` per cause of a drop or a loss, one `stage`
//! per stage, one `model` per model in memory, and the definition that a stream runs now as
//! `definition` of `millrace_stream_definition_info`. Times are summaries over the whole life of a
//! stream; batches of models are histograms, whose mean is the fill.

use std::fmt::Write;
use std::sync::Arc;

use super::RunningStream;
use crate::delivery::outbox::OutboxFigures;
use crate::models::{BatchFigures, SIZES, WAITS};
use crate::streams::{Quantiles, Snapshot};
use crate::telemetry::TraceFigures;

/// A figure of a stream.
struct Figure {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&Snapshot) -> f64,
}

const FIGURES: &[Figure] = &[
    Figure {
        name: "results_total",
        kind: "counter",
        help: "Frames with a result.",
        value: |s| s.results as f64,
    },
    Figure {
        name: "errors_total",
        kind: "counter",
        help: "Frames on which a step failed.",
        value: |s| s.errors as f64,
    },
    Figure {
        name: "frames_total",
        kind: "counter",
        help: "Frames that the source decoded.",
        value: |s| s.frames as f64,
    },
    Figure {
        name: "damaged_total",
        kind: "counter",
        help: "Frames that the decoder patched up.",
        value: |s| s.damaged as f64,
    },
    Figure {
        name: "reconnects_total",
        kind: "counter",
        help: "Times the source came back.",
        value: |s| s.reconnects as f64,
    },
    Figure {
        name: "swaps_total",
        kind: "counter",
        help: "Definitions that the stream moved to.",
        value: |s| s.swaps as f64,
    },
    Figure {
        name: "camera_frames_per_second",
        kind: "gauge",
        help: "Frames that the sources give per second, all together.",
        value: |s| s.camera_fps.unwrap_or_default(),
    },
    Figure {
        name: "processed_frames_per_second",
        kind: "gauge",
        help: "Results per second over the last 10 seconds.",
        value: |s| s.processed_fps,
    },
    Figure {
        name: "in_flight_rounds",
        kind: "gauge",
        help: "Rounds of frames in the stages.",
        value: |s| s.in_flight as f64,
    },
    Figure {
        name: "queue_age_seconds",
        kind: "gauge",
        help: "Age of the last frame when the first stage took it.",
        value: |s| s.queue_age.as_secs_f64(),
    },
    Figure {
        name: "starved_seconds_total",
        kind: "counter",
        help: "Time in which a live source gave nothing for more than a second.",
        value: |s| s.starved.as_secs_f64(),
    },
];

/// Times of a stream.
struct Times {
    name: &'static str,
    help: &'static str,
    of: fn(&Snapshot) -> Quantiles,
}

const TIMES: &[Times] = &[
    Times {
        name: "decode_seconds",
        help: "Time of a frame in the decoder.",
        of: |s| s.decode,
    },
    Times {
        name: "wait_seconds",
        help: "Time of a frame from the decoder to the first stage.",
        of: |s| s.wait,
    },
    Times {
        name: "inference_seconds",
        help: "Time of a frame in model stages.",
        of: |s| s.inference,
    },
    Times {
        name: "steps_seconds",
        help: "Time of a frame in other stages.",
        of: |s| s.steps,
    },
    Times {
        name: "latency_seconds",
        help: "Time of a frame from the decoder to its result.",
        of: |s| s.latency,
    },
];

/// The figures of all streams.
pub(super) fn text(streams: &[RunningStream]) -> String {
    let snapshots: Vec<(String, Snapshot)> = streams
        .iter()
        .map(|s| (label(&s.name), s.figures.snapshot()))
        .collect();
    let mut out = String::new();
    for figure in FIGURES {
        head(&mut out, figure.name, figure.kind, figure.help);
        for (stream, snapshot) in &snapshots {
            line(
                &mut out,
                figure.name,
                &format!("stream=\"{stream}\""),
                (figure.value)(snapshot),
            );
        }
    }
    causes(
        &mut out,
        &snapshots,
        "dropped_total",
        "Frames that were not run, by cause.",
        |s| &s.dropped,
    );
    causes(
        &mut out,
        &snapshots,
        "losses_total",
        "Times a source was lost, by cause.",
        |s| &s.losses,
    );
    times(&mut out, &snapshots);
    head(
        &mut out,
        "definition_info",
        "gauge",
        "The definition that the stream runs.",
    );
    for ((stream, snapshot), running) in snapshots.iter().zip(streams) {
        let hash = snapshot
            .definition
            .map_or(String::new(), |hash| hash.to_string());
        let labels = format!(
            "stream=\"{stream}\",definition=\"{hash}\",id=\"{}\"",
            label(&running.definition)
        );
        line(&mut out, "definition_info", &labels, 1.0);
    }
    head(
        &mut out,
        "cache_entries",
        "gauge",
        "Values that cache blocks hold.",
    );
    for ((stream, _), running) in snapshots.iter().zip(streams) {
        line(
            &mut out,
            "cache_entries",
            &format!("stream=\"{stream}\""),
            running.cache.figures().entries as f64,
        );
    }
    head(&mut out, "cache_bytes", "gauge", "Bytes that they take.");
    for ((stream, _), running) in snapshots.iter().zip(streams) {
        line(
            &mut out,
            "cache_bytes",
            &format!("stream=\"{stream}\""),
            running.cache.figures().bytes as f64,
        );
    }
    out
}

/// The figures of WebRTC sessions: how many there are, how many were started, bytes of uploads.
pub(super) fn sessions(out: &mut String, (now, started, bytes): (usize, u64, u64)) {
    let rows = [
        ("sessions", "gauge", now as f64),
        ("sessions_total", "counter", started as f64),
        ("upload_bytes", "gauge", bytes as f64),
    ];
    for (name, kind, value) in rows {
        let _ = writeln!(
            out,
            "# TYPE millrace_webrtc_{name} {kind}\nmillrace_webrtc_{name} {value}"
        );
    }
}

type Snapshots = [(String, Snapshot)];

/// Counts by cause.
fn causes(
    out: &mut String,
    snapshots: &Snapshots,
    name: &str,
    help: &str,
    of: fn(&Snapshot) -> &std::collections::BTreeMap<&'static str, u64>,
) {
    head(out, name, "counter", help);
    for (stream, snapshot) in snapshots {
        for (cause, n) in of(snapshot) {
            let labels = format!("stream=\"{stream}\",cause=\"{cause}\"");
            line(out, name, &labels, *n as f64);
        }
    }
}

/// Times of frames, and of each stage.
fn times(out: &mut String, snapshots: &Snapshots) {
    for times in TIMES {
        head(out, times.name, "summary", times.help);
        for (stream, snapshot) in snapshots {
            let labels = format!("stream=\"{stream}\"");
            summary(out, times.name, &labels, (times.of)(snapshot));
        }
    }
    head(
        out,
        "stage_seconds",
        "summary",
        "Time of a frame in each stage.",
    );
    for (stream, snapshot) in snapshots {
        for stage in &snapshot.stage_figures {
            let (name, kind) = (label(&stage.name), stage.kind.name());
            let labels = format!("stream=\"{stream}\",stage=\"{name}\",kind=\"{kind}\"");
            summary(out, "stage_seconds", &labels, stage.times);
        }
    }
    let help = "Of it, time that a frame waited for its turn at the model.";
    head(out, "model_wait_seconds", "summary", help);
    for (stream, snapshot) in snapshots {
        for stage in snapshot.stage_figures.iter().filter(|s| s.turn.count > 0) {
            let labels = format!("stream=\"{stream}\",stage=\"{}\"", label(&stage.name));
            summary(out, "model_wait_seconds", &labels, stage.turn);
        }
    }
}

fn summary(out: &mut String, name: &str, labels: &str, times: Quantiles) {
    for (quantile, time) in [("0.5", times.p50), ("0.95", times.p95), ("0.99", times.p99)] {
        let labels = format!("{labels},quantile=\"{quantile}\"");
        line(out, name, &labels, time.as_secs_f64());
    }
    line(out, &format!("{name}_sum"), labels, times.sum.as_secs_f64());
    line(out, &format!("{name}_count"), labels, times.count as f64);
}

/// How the models in memory are used.
pub(super) fn models(out: &mut String, models: &[(Arc<str>, BatchFigures)]) {
    let models: Vec<(String, &BatchFigures)> = models
        .iter()
        .map(|(id, figures)| (format!("model=\"{}\"", label(id)), figures))
        .collect();
    histogram(
        out,
        "batch_size",
        "Images of a run of the model.",
        &models,
        |f| {
            let bounds = SIZES.iter().map(ToString::to_string).collect();
            (bounds, &f.sizes, f.images as f64)
        },
    );
    let help = "Time that images waited for their turn at the model.";
    histogram(out, "queue_seconds", help, &models, |f| {
        let bounds = WAITS.iter().map(ToString::to_string).collect();
        (bounds, &f.waits, f.waited.as_secs_f64())
    });
    type Row = (&'static str, &'static str, fn(&BatchFigures) -> f64);
    let rows: [Row; 5] = [
        (
            "run_seconds_total",
            "Time that runs of the model took.",
            |f| f.running.as_secs_f64(),
        ),
        (
            "fill_seconds_total",
            "Time that runs were put off for fuller batches.",
            |f| f.waiting.as_secs_f64(),
        ),
        (
            "shared_runs_total",
            "Runs for several streams or requests.",
            |f| f.shared as f64,
        ),
        ("failed_runs_total", "Runs that failed.", |f| {
            f.failures as f64
        }),
        (
            "late_images_total",
            "Images that were too old when their turn came, and not run.",
            |f| f.late as f64,
        ),
    ];
    for (name, help, of) in rows {
        let _ = writeln!(
            out,
            "# HELP millrace_model_{name} {help}\n# TYPE millrace_model_{name} counter"
        );
        for (labels, figures) in &models {
            let _ = writeln!(out, "millrace_model_{name}{{{labels}}} {}", of(figures));
        }
    }
}

/// Upper bounds, counts of the classes, sum.
type Classes<'a> = (Vec<String>, &'a [u64], f64);

fn histogram(
    out: &mut String,
    name: &str,
    help: &str,
    models: &[(String, &BatchFigures)],
    of: impl Fn(&BatchFigures) -> Classes<'_>,
) {
    let name = format!("millrace_model_{name}");
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
    for (labels, figures) in models {
        let (mut bounds, counts, sum) = of(figures);
        bounds.push("+Inf".into());
        let mut total = 0;
        for (bound, count) in bounds.iter().zip(counts) {
            total += count;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {total}");
        }
        let _ = writeln!(
            out,
            "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {total}"
        );
    }
}

/// What became of traces.
pub(super) fn traces(out: &mut String, figures: &TraceFigures) {
    let _ = writeln!(
        out,
        "# HELP millrace_trace_spans_total Spans by what became of them.\n\
         # TYPE millrace_trace_spans_total counter\n\
         millrace_trace_spans_total{{outcome=\"sent\"}} {}\n\
         millrace_trace_spans_total{{outcome=\"failed\"}} {}\n\
         # HELP millrace_traces_dropped_total Traces that found no room in the queue.\n\
         # TYPE millrace_traces_dropped_total counter\n\
         millrace_traces_dropped_total {}",
        figures.sent_spans, figures.failed_spans, figures.dropped_traces
    );
}

/// The figures of the outbox.
pub(super) fn outbox(out: &mut String, figures: &OutboxFigures) {
    let rows = [
        ("queued", "gauge", figures.queued as f64),
        ("queued_bytes", "gauge", figures.queued_bytes as f64),
        (
            "oldest_age_seconds",
            "gauge",
            figures.oldest_age.as_secs_f64(),
        ),
        ("dead", "gauge", figures.dead as f64),
        ("delivered_total", "counter", figures.delivered_total as f64),
        ("retried_total", "counter", figures.retried_total as f64),
        ("dead_total", "counter", figures.dead_total as f64),
        ("dropped_total", "counter", figures.dropped_total as f64),
        (
            "write_failures_total",
            "counter",
            figures.write_failures_total as f64,
        ),
    ];
    for (name, kind, value) in rows {
        let _ = writeln!(
            out,
            "# TYPE millrace_outbox_{name} {kind}\nmillrace_outbox_{name} {value}"
        );
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(
        out,
        "# HELP millrace_stream_{name} {help}\n# TYPE millrace_stream_{name} {kind}"
    );
}

fn line(out: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(out, "millrace_stream_{name}{{{labels}}} {value}");
}

/// A text as the value of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_line_names_its_stream_and_names_are_escaped() {
        let stream = RunningStream {
            name: "gate \"a\"".into(),
            definition: "ws/flow".into(),
            figures: Arc::default(),
            cache: Arc::default(),
        };
        let text = text(&[stream]);
        assert!(
            text.contains("millrace_stream_results_total{stream=\"gate \\\"a\\\"\"} 0\n"),
            "{text}"
        );
        assert!(
            text.lines()
                .all(|l| l.starts_with('#') || l.contains("stream=\"gate")),
            "{text}"
        );
        assert_eq!(
            text.matches("# TYPE").count(),
            FIGURES.len() + TIMES.len() + 7
        );
        // Percentiles are labels of summaries, and have no series of their own.
        let latency = |l: &&str| l.starts_with("# TYPE millrace_stream_latency");
        assert_eq!(
            text.lines().filter(latency).collect::<Vec<_>>(),
            ["# TYPE millrace_stream_latency_seconds summary"]
        );
        assert!(
            text.contains(
                "millrace_stream_latency_seconds{stream=\"gate \\\"a\\\"\",quantile=\"0.99\"} 0\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn histograms_of_models_are_cumulative_and_end_with_all() {
        let mut figures = BatchFigures::default();
        figures.sizes[0] = 3;
        figures.sizes[2] = 2;
        figures.images = 11;
        let mut text = String::new();
        models(&mut text, &[("a/1".into(), figures)]);
        for line in [
            "millrace_model_batch_size_bucket{model=\"a/1\",le=\"1\"} 3",
            "millrace_model_batch_size_bucket{model=\"a/1\",le=\"2\"} 3",
            "millrace_model_batch_size_bucket{model=\"a/1\",le=\"4\"} 5",
            "millrace_model_batch_size_bucket{model=\"a/1\",le=\"+Inf\"} 5",
            "millrace_model_batch_size_sum{model=\"a/1\"} 11",
            "millrace_model_batch_size_count{model=\"a/1\"} 5",
            "millrace_model_queue_seconds_bucket{model=\"a/1\",le=\"0.025\"} 0",
            "# TYPE millrace_model_late_images_total counter",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
