//! Figures of a stream: frames, errors, drops by cause, rates, times.
//!
//! Times of a frame, from the decoder on: `wait` until the first stage takes it, then each stage,
//! then the result; `latency` is the whole. They are kept from the start of the stream with two
//! digits. The rate of results is that of the last [`WINDOW`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::FrameResult;
use crate::clock::{Clock, SystemClock};
use crate::definition::DefinitionHash;
use crate::engine::Stage;
use crate::sources::{DropCause, SourceState, SourceStats};

/// Time over which the rate of results is taken.
const WINDOW: Duration = Duration::from_secs(10);
/// Results that are remembered for it; a faster stream has a shorter window.
const REMEMBERED: usize = 512;
/// Cause of frames that went by while the stream paused.
const PAUSED: &str = "paused";

/// What the time in a stage is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageKind {
    /// A model.
    Inference,
    /// Other steps.
    Steps,
}

impl StageKind {
    pub(super) fn of(stage: &Stage) -> Self {
        match stage.is_model() {
            true => Self::Inference,
            false => Self::Steps,
        }
    }

    /// Name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Steps => "steps",
        }
    }
}

/// Median and tail of some times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// Half of them are shorter.
    pub p50: Duration,
    /// 95 % of them are shorter.
    pub p95: Duration,
    /// 99 % of them are shorter.
    pub p99: Duration,
}

impl Quantiles {
    fn of(times: &Histogram<u32>) -> Self {
        let at = |q| Duration::from_micros(times.value_at_quantile(q));
        match times.is_empty() {
            true => Self::default(),
            false => Self {
                p50: at(0.5),
                p95: at(0.95),
                p99: at(0.99),
            },
        }
    }
}

/// Counts and times of a stream, written by its threads, read by anyone.
pub struct Figures {
    results: AtomicU64,
    errors: AtomicU64,
    swaps: AtomicU64,
    fed: AtomicU64,
    passed: AtomicU64,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

struct Inner {
    latency: Histogram<u32>,
    wait: Histogram<u32>,
    stages: Vec<(String, StageKind, Histogram<u32>)>,
    sources: Vec<(usize, SourceStats)>,
    definition: Option<DefinitionHash>,
    /// When the last results came.
    recent: VecDeque<Duration>,
}

/// A source of the stream at one moment.
#[derive(Clone, Debug)]
pub struct SourceFigures {
    /// Its number in the stream.
    pub number: usize,
    /// What it is doing.
    pub state: SourceState,
    /// Frames that it gave, with those dropped.
    pub frames: i64,
    /// Frames per second as they arrive.
    pub measured_fps: Option<f64>,
    /// Frames per second as it declares them.
    pub declared_fps: Option<f64>,
    /// Dropped frames by cause.
    pub dropped: BTreeMap<&'static str, u64>,
    /// How often it came back.
    pub reconnects: u64,
    /// Attempts in vain since the last frame.
    pub failed_attempts: u32,
    /// Time since its last frame.
    pub silent_for: Option<Duration>,
}

/// A stage at one moment.
#[derive(Clone, Debug)]
pub struct StageFigures {
    /// Names of its steps.
    pub name: String,
    /// What its time is spent on.
    pub kind: StageKind,
    /// Time in it.
    pub times: Quantiles,
}

/// The figures at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Rounds with a result; of one source, frames.
    pub results: u64,
    /// Of them, those on which a step failed.
    pub errors: u64,
    /// Rounds that are in the stages or wait for the first.
    pub in_flight: u64,
    /// Frames that the sources gave, with those dropped.
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
    /// How often sources came back.
    pub reconnects: u64,
    /// Frames per second as the sources give them, all together.
    pub camera_fps: Option<f64>,
    /// Results per second of late.
    pub processed_fps: f64,
    /// Time from decoder to result.
    pub latency: Quantiles,
    /// Median time from decoder to result.
    pub latency_p50: Duration,
    /// 99th percentile of it.
    pub latency_p99: Duration,
    /// Age of the frames when the first stage takes them.
    pub wait: Quantiles,
    /// Median time in each stage.
    pub stages: Vec<(String, Duration)>,
    /// Time in each stage.
    pub stage_figures: Vec<StageFigures>,
    /// The sources.
    pub sources: Vec<SourceFigures>,
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
        Self::new(Arc::new(SystemClock::default()))
    }
}

impl std::fmt::Debug for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Figures({} results)", self.results())
    }
}

impl Figures {
    /// Figures of a stream that begins.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let inner = Inner {
            latency: histogram(),
            wait: histogram(),
            stages: Vec::new(),
            sources: Vec::new(),
            definition: None,
            recent: VecDeque::new(),
        };
        Self {
            results: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            swaps: AtomicU64::new(0),
            fed: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            clock,
            inner: Mutex::new(inner),
        }
    }

    /// The stages of a definition; times of stages that it keeps go on.
    pub(super) fn stages(&self, stages: Vec<(String, StageKind)>) {
        let mut inner = self.inner();
        let mut old = std::mem::take(&mut inner.stages);
        inner.stages = stages
            .into_iter()
            .map(
                |(name, kind)| match old.iter().position(|(known, ..)| *known == name) {
                    Some(at) => old.swap_remove(at),
                    None => (name, kind, histogram()),
                },
            )
            .collect();
    }

    pub(super) fn swapped(&self) {
        self.swaps.fetch_add(1, Ordering::Relaxed);
    }

    /// A round is on its way to the first stage.
    pub(super) fn fed(&self) {
        self.fed.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames went by while the stream paused.
    pub(super) fn passed(&self, frames: u64) {
        self.passed.fetch_add(frames, Ordering::Relaxed);
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stage(&self, stage: &str, time: Duration) {
        if let Some((.., times)) = self
            .inner()
            .stages
            .iter_mut()
            .find(|(name, ..)| name == stage)
        {
            times.saturating_record(micros(time));
        }
    }

    pub(super) fn result(&self, result: &FrameResult) {
        self.errors
            .fetch_add(u64::from(result.run.is_err()), Ordering::Relaxed);
        let now = self.clock.monotonic();
        let mut inner = self.inner();
        inner.latency.saturating_record(micros(result.latency));
        inner.wait.saturating_record(micros(result.waited));
        inner.definition = Some(result.generation.provenance.hash());
        if inner.recent.len() == REMEMBERED {
            inner.recent.pop_front();
        }
        inner.recent.push_back(now);
        drop(inner);
        self.results.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sources(&self, stats: Vec<(usize, SourceStats)>) {
        self.inner().sources = stats;
    }

    /// Rounds with a result so far.
    pub fn results(&self) -> u64 {
        self.results.load(Ordering::Relaxed)
    }

    /// Rounds that have no result yet.
    pub fn in_flight(&self) -> u64 {
        let results = self.results();
        self.fed.load(Ordering::Relaxed).saturating_sub(results)
    }

    /// All figures now.
    pub fn snapshot(&self) -> Snapshot {
        let now = self.clock.monotonic();
        let inner = self.inner();
        let latency = Quantiles::of(&inner.latency);
        let stage_figures: Vec<StageFigures> = inner
            .stages
            .iter()
            .map(|(name, kind, times)| StageFigures {
                name: name.clone(),
                kind: *kind,
                times: Quantiles::of(times),
            })
            .collect();
        let mut snapshot = Snapshot {
            results: self.results(),
            errors: self.errors.load(Ordering::Relaxed),
            in_flight: self.in_flight(),
            swaps: self.swaps.load(Ordering::Relaxed),
            definition: inner.definition,
            latency,
            latency_p50: latency.p50,
            latency_p99: latency.p99,
            wait: Quantiles::of(&inner.wait),
            processed_fps: rate(&inner.recent, now),
            stages: stage_figures
                .iter()
                .map(|s| (s.name.clone(), s.times.p50))
                .collect(),
            stage_figures,
            ..Snapshot::default()
        };
        for (number, source) in &inner.sources {
            snapshot.add(*number, source);
        }
        let passed = self.passed.load(Ordering::Relaxed);
        if passed > 0 {
            snapshot.dropped.insert(PAUSED, passed);
        }
        snapshot
    }
}

impl Snapshot {
    fn add(&mut self, number: usize, source: &SourceStats) {
        let figures = SourceFigures::of(number, source);
        self.frames += source.frames;
        self.reconnects += source.reconnects;
        self.damaged += source.damaged;
        for (cause, count) in &figures.dropped {
            *self.dropped.entry(cause).or_default() += count;
        }
        if let Some(fps) = figures.measured_fps {
            *self.camera_fps.get_or_insert(0.0) += fps;
        }
        if let Some(info) = &source.info {
            self.recorded = info.recorded;
            self.total_frames = match (self.total_frames, info.total_frames) {
                (Some(sum), Some(more)) => Some(sum + more),
                (known, more) => known.or(more),
            };
        }
        self.sources.push(figures);
    }
}

impl SourceFigures {
    /// What the counters of a source say.
    pub fn of(number: usize, source: &SourceStats) -> Self {
        let dropped = DropCause::ALL.iter();
        Self {
            number,
            state: source.state,
            frames: source.frames,
            measured_fps: source.measured_fps,
            declared_fps: source.info.as_ref().and_then(|info| info.format.fps),
            dropped: dropped
                .map(|c| (c.name(), source.drops.count(*c)))
                .collect(),
            reconnects: source.reconnects,
            failed_attempts: source.failed_attempts,
            silent_for: source.silent_for,
        }
    }
}

/// Results per second over the window, from the times of the last ones.
fn rate(recent: &VecDeque<Duration>, now: Duration) -> f64 {
    let from = now.saturating_sub(WINDOW);
    let within = recent.iter().filter(|at| **at >= from).count();
    let Some(oldest) = recent.iter().find(|at| **at >= from) else {
        return 0.0;
    };
    let span = match within == recent.len() {
        // Nothing older is known: the stream is young, or faster than is remembered.
        true => now.saturating_sub(*oldest),
        false => WINDOW,
    };
    // A single result tells no rate yet; a second is the least that is taken for its window.
    within as f64 / span.max(Duration::from_secs(1)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_window_and_falls_when_nothing_comes() {
        let at = Duration::from_millis;
        let recent: VecDeque<Duration> = (0..100).map(|i| at(1_000 + i * 100)).collect();
        assert!((rate(&recent, at(11_000)) - 10.0).abs() < 0.2);
        assert!((rate(&recent, at(16_000)) - 5.0).abs() < 0.2);
        assert_eq!(rate(&recent, at(40_000)), 0.0);
        assert_eq!(rate(&VecDeque::new(), at(1)), 0.0);
    }
}
