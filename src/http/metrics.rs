//! The figures of a process in Prometheus' text form (exposition format 0.0.4).
//!
//! Labels are bounded: one `stream` per stream, one `cause` per cause of a drop, and the definition
//! that a stream runs now as `definition` of `millrace_stream_definition_info`.

use std::fmt::Write;

use super::RunningStream;
use crate::delivery::outbox::OutboxFigures;
use crate::streams::Snapshot;

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
        name: "latency_p50_seconds",
        kind: "gauge",
        help: "Median time from decoder to result.",
        value: |s| s.latency_p50.as_secs_f64(),
    },
    Figure {
        name: "latency_p99_seconds",
        kind: "gauge",
        help: "99th percentile of that time.",
        value: |s| s.latency_p99.as_secs_f64(),
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
    head(
        &mut out,
        "dropped_total",
        "counter",
        "Frames that were not run, by cause.",
    );
    for (stream, snapshot) in &snapshots {
        for (cause, n) in &snapshot.dropped {
            line(
                &mut out,
                "dropped_total",
                &format!("stream=\"{stream}\",cause=\"{cause}\""),
                *n as f64,
            );
        }
    }
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
        assert_eq!(text.matches("# TYPE").count(), FIGURES.len() + 4);
    }
}
