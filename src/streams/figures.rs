//! Figures of a stream: frames, errors, drops by cause, latency.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::definition::DefinitionHash;
use crate::sources::{DropCause, SourceStats};

/// Counts and times of a stream, written by its threads, read by anyone.
#[derive(Debug)]
pub struct Figures {
    results: AtomicU64,
    errors: AtomicU64,
    swaps: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    latency: Histogram<u32>,
    stages: Vec<(String, Histogram<u32>)>,
    source: Option<SourceStats>,
    definition: Option<DefinitionHash>,
}

/// The figures at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Frames with a result.
    pub results: u64,
    /// Of them, frames on which a step failed.
    pub errors: u64,
    /// Frames that the source gave, with those dropped.
    pub frames: i64,
    /// Frames of a file of known length.
    pub total_frames: Option<i64>,
    /// Whether the frames come from a recorded file.
    pub recorded: bool,
    /// Frames that the decoder patched up.
    pub damaged: u64,
    /// Dropped frames by cause.
    pub dropped: BTreeMap<&'static str, u64>,
    /// The definition of the newest result.
    pub definition: Option<DefinitionHash>,
    /// Definitions that the stream moved to while it ran.
    pub swaps: u64,
    /// How often the source came back.
    pub reconnects: u64,
    /// Median time from decoder to result.
    pub latency_p50: Duration,
    /// 99th percentile of it.
    pub latency_p99: Duration,
    /// Median time in each stage.
    pub stages: Vec<(String, Duration)>,
}

/// Times are recorded in microseconds with two digits, up to a minute.
fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, 60_000_000, 2)
        .unwrap_or_else(|_| unreachable!("the bounds are valid"))
}

fn micros(time: Duration) -> u64 {
    time.as_micros().clamp(1, 60_000_000) as u64
}

impl Default for Figures {
    fn default() -> Self {
        let inner = Inner {
            latency: histogram(),
            stages: Vec::new(),
            source: None,
            definition: None,
        };
        Self {
            results: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            swaps: AtomicU64::new(0),
            inner: Mutex::new(inner),
        }
    }
}

impl Figures {
    /// The stages of a definition; times of stages that it keeps go on.
    pub(super) fn stages(&self, names: Vec<String>) {
        let mut inner = self.inner();
        let mut old = std::mem::take(&mut inner.stages);
        inner.stages = names
            .into_iter()
            .map(
                |name| match old.iter().position(|(known, _)| *known == name) {
                    Some(at) => old.swap_remove(at),
                    None => (name, histogram()),
                },
            )
            .collect();
    }

    pub(super) fn swapped(&self) {
        self.swaps.fetch_add(1, Ordering::Relaxed);
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stage(&self, stage: &str, time: Duration) {
        if let Some((_, times)) = self
            .inner()
            .stages
            .iter_mut()
            .find(|(name, _)| name == stage)
        {
            times.saturating_record(micros(time));
        }
    }

    pub(super) fn result(&self, failed: bool, latency: Duration, definition: DefinitionHash) {
        self.results.fetch_add(1, Ordering::Relaxed);
        self.errors.fetch_add(u64::from(failed), Ordering::Relaxed);
        let mut inner = self.inner();
        inner.latency.saturating_record(micros(latency));
        inner.definition = Some(definition);
    }

    pub(super) fn source(&self, stats: SourceStats) {
        self.inner().source = Some(stats);
    }

    /// Frames with a result so far.
    pub fn results(&self) -> u64 {
        self.results.load(Ordering::Relaxed)
    }

    /// All figures now.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.inner();
        let quantile =
            |times: &Histogram<u32>, q: f64| Duration::from_micros(times.value_at_quantile(q));
        let mut snapshot = Snapshot {
            results: self.results(),
            errors: self.errors.load(Ordering::Relaxed),
            swaps: self.swaps.load(Ordering::Relaxed),
            definition: inner.definition,
            latency_p50: quantile(&inner.latency, 0.5),
            latency_p99: quantile(&inner.latency, 0.99),
            stages: inner
                .stages
                .iter()
                .map(|(name, times)| (name.clone(), quantile(times, 0.5)))
                .collect(),
            ..Snapshot::default()
        };
        if let Some(source) = &inner.source {
            snapshot.frames = source.frames;
            snapshot.reconnects = source.reconnects;
            snapshot.damaged = source.damaged;
            snapshot.dropped = DropCause::ALL
                .iter()
                .map(|c| (c.name(), source.drops.count(*c)))
                .collect();
            if let Some(info) = &source.info {
                snapshot.total_frames = info.total_frames;
                snapshot.recorded = info.recorded;
            }
        }
        snapshot
    }
}
