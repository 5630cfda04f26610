//! What was asked and answered: the counts and times behind `/metrics`.
//!
//! Labels are bounded: `handler` is the pattern of a route, never the path that a client sent, and
//! models are those that could be had.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;

use crate::models::usage::ModelUse;

/// Upper bounds of the buckets of times, in seconds.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];

/// Models that are counted by name; further ones are not.
const MOST_MODELS: usize = 1_000;

/// Counts of a process.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: DashMap<Kind, Times>,
    models: DashMap<String, Times>,
    /// Paths that asked for each model.
    paths: DashMap<String, Vec<String>>,
    under_way: AtomicU64,
    resting: AtomicBool,
}

/// Requests that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Kind {
    handler: String,
    method: String,
    status: u16,
}

#[derive(Debug, Default)]
struct Times {
    count: u64,
    failed: u64,
    seconds: f64,
    buckets: [u64; BUCKETS.len()],
}

impl Times {
    fn add(&mut self, took: Duration, failed: bool) {
        let seconds = took.as_secs_f64();
        self.count += 1;
        self.failed += u64::from(failed);
        self.seconds += seconds;
        for (bound, bucket) in BUCKETS.iter().zip(&mut self.buckets) {
            *bucket += u64::from(seconds <= *bound);
        }
    }
}

/// A request that is under way; counted as such until dropped.
pub struct UnderWay<'a>(&'a AtomicU64);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Traffic {
    /// A request begins.
    pub fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(&self.under_way)
    }

    /// Whether no request is under way and nobody waits yet to use that; who is told so has to call
    /// [`Self::rested`].
    pub fn may_rest(&self) -> bool {
        self.is_quiet() && !self.resting.swap(true, Ordering::Relaxed)
    }

    /// Ends what [`Self::may_rest`] began; answers whether it is still quiet.
    pub fn rested(&self) -> bool {
        self.resting.store(false, Ordering::Relaxed);
        self.is_quiet()
    }

    fn is_quiet(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0
    }

    /// A request was answered.
    pub fn answered(&self, handler: &str, method: &str, status: u16, took: Duration) {
        let kind = Kind {
            handler: handler.to_owned(),
            method: method.to_owned(),
            status: status / 100,
        };
        self.requests
            .entry(kind)
            .or_default()
            .add(took, status >= 400);
    }

    /// Models were used by a request that took this long.
    pub fn used(&self, uses: &[ModelUse], took: Duration, failed: bool) {
        for used in uses {
            if self.models.len() < MOST_MODELS || self.models.contains_key(&used.id) {
                let mut times = self.models.entry(used.id.clone()).or_default();
                times.add(took, failed);
            }
        }
    }

    /// A path asked for a model.
    pub fn note_path(&self, model: &str, path: &str) {
        const MOST_PATHS: usize = 32;
        if self.paths.len() >= MOST_MODELS && !self.paths.contains_key(model) {
            return;
        }
        let mut paths = self.paths.entry(model.to_owned()).or_default();
        if paths.len() < MOST_PATHS && !paths.iter().any(|known| known == path) {
            paths.push(path.to_owned());
        }
    }

    /// The paths that asked for a model, in the order of the first time.
    pub fn paths_of(&self, model: &str) -> Vec<String> {
        self.paths
            .get(model)
            .map_or(Vec::new(), |paths| paths.clone())
    }

    /// The figures in Prometheus' text form.
    pub fn write(&self, out: &mut String) {
        let _ = writeln!(
            out,
            "# HELP http_requests_under_way Requests that are not answered yet.\n\
             # TYPE http_requests_under_way gauge\n\
             http_requests_under_way {}",
            self.under_way.load(Ordering::Relaxed)
        );
        self.write_requests(out);
        self.write_models(out);
    }

    fn write_requests(&self, out: &mut String) {
        let mut kinds: Vec<Kind> = self.requests.iter().map(|e| e.key().clone()).collect();
        kinds.sort();
        out.push_str(
            "# HELP http_requests_total Requests answered.\n# TYPE http_requests_total counter\n",
        );
        for kind in &kinds {
            if let Some(times) = self.requests.get(kind) {
                let _ = writeln!(
                    out,
                    "http_requests_total{{{}}} {}",
                    kind.labels(),
                    times.count
                );
            }
        }
        out.push_str(
            "# HELP http_request_duration_seconds Time from a request to its answer.\n\
             # TYPE http_request_duration_seconds histogram\n",
        );
        for kind in &kinds {
            let Some(times) = self.requests.get(kind) else {
                continue;
            };
            let (name, labels) = ("http_request_duration_seconds", kind.labels());
            for (bound, n) in BUCKETS.iter().zip(times.buckets) {
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {n}");
            }
            let count = times.count;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}", times.seconds);
            let _ = writeln!(out, "{name}_count{{{labels}}} {count}");
        }
    }

    /// The families by model that the reference has, since the start of the process.
    fn write_models(&self, out: &mut String) {
        let mut models: Vec<String> = self.models.iter().map(|e| e.key().clone()).collect();
        models.sort();
        for id in models {
            let Some(times) = self.models.get(&id) else {
                continue;
            };
            let id = metric_name(&id);
            let average = times.seconds / times.count.max(1) as f64;
            for (name, kind, value) in [
                ("num_inferences", "gauge", times.count as f64),
                ("avg_inference_time", "gauge", average),
                ("num_errors", "gauge", times.failed as f64),
            ] {
                let _ = writeln!(out, "# TYPE {name}_{id} {kind}\n{name}_{id} {value}");
            }
        }
    }
}

impl Kind {
    fn labels(&self) -> String {
        format!(
            "handler=\"{}\",method=\"{}\",status=\"{}xx\"",
            self.handler, self.method, self.status
        )
    }
}

/// A text as part of the name of a metric.
fn metric_name(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_models_are_counted() {
        let traffic = Traffic::default();
        let _under_way = traffic.begin();
        let took = Duration::from_millis(20);
        traffic.answered("/workflows/run", "POST", 200, took);
        traffic.answered("/workflows/run", "POST", 201, took);
        traffic.answered("/workflows/run", "POST", 404, took);
        let used = ModelUse {
            id: "tiny/1".into(),
            loaded_in: None,
        };
        traffic.used(&[used], took, false);
        let mut text = String::new();
        traffic.write(&mut text);
        for want in [
            "http_requests_under_way 1\n",
            "http_requests_total{handler=\"/workflows/run\",method=\"POST\",status=\"2xx\"} 2\n",
            "status=\"4xx\"} 1\n",
            "status=\"2xx\",le=\"0.01\"} 0\n",
            "status=\"2xx\",le=\"0.025\"} 2\n",
            "num_inferences_tiny_1 1\n",
            "avg_inference_time_tiny_1 0.02\n",
        ] {
            assert!(text.contains(want), "{want} in\n{text}");
        }
    }
}
