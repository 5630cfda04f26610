//! Figures of a stream: frames, errors, drops by cause, rates, times.
//!
//! Times of a frame: `decode` in the decoder, then, from there on, `wait` until the first stage takes
//! it, each stage, and the result; `latency` is the whole from the decoder on. They are kept from the start of the stream with two
//! digits. The rate of results is that of the last [`WINDOW`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::FrameResult;
use super::snapshot::{Quantiles, Snapshot, StageFigures};
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
/// A live source that gives nothing for longer starves its stream.
const SILENCE: Duration = Duration::from_secs(1);

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

/// Counts and times of a stream, written by its threads, read by anyone.
pub struct Figures {
    results: AtomicU64,
    errors: AtomicU64,
    swaps: AtomicU64,
    fed: AtomicU64,
    passed: AtomicU64,
    /// Frames that got too old in the stages, and rounds of them.
    stale: AtomicU64,
    stale_rounds: AtomicU64,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

struct Inner {
    latency: Histogram<u32>,
    wait: Histogram<u32>,
    queue_age: Duration,
    decode: Histogram<u32>,
    inference: Histogram<u32>,
    steps: Histogram<u32>,
    stages: Vec<StageTimes>,
    sources: Vec<(usize, SourceStats)>,
    /// When the sources were last looked at, and how long they starved the stream until then.
    looked: Option<Duration>,
    starved: Duration,
    definition: Option<DefinitionHash>,
    /// When the last results came.
    recent: VecDeque<Duration>,
}

struct StageTimes {
    name: String,
    kind: StageKind,
    times: Histogram<u32>,
    /// Times that a model waited for its turn; of other stages none is made.
    turn: Option<Histogram<u32>>,
}

/// Time that the stages of each kind spent on a round.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    pub inference: Duration,
    pub steps: Duration,
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
            queue_age: Duration::ZERO,
            decode: histogram(),
            inference: histogram(),
            steps: histogram(),
            stages: Vec::new(),
            sources: Vec::new(),
            looked: None,
            starved: Duration::ZERO,
            definition: None,
            recent: VecDeque::new(),
        };
        Self {
            results: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            swaps: AtomicU64::new(0),
            fed: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            stale_rounds: AtomicU64::new(0),
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
            .map(|(name, kind)| {
                let known = old.iter().position(|stage| stage.name == name);
                known.map_or_else(
                    || StageTimes {
                        turn: (kind == StageKind::Inference).then(histogram),
                        name,
                        kind,
                        times: histogram(),
                    },
                    |at| old.swap_remove(at),
                )
            })
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

    /// A stage took so long, and of that waited for its turn at a model.
    pub(super) fn stage(&self, stage: &str, time: Duration, waited: Duration) {
        let mut inner = self.inner();
        if let Some(stage) = inner.stages.iter_mut().find(|s| s.name == stage) {
            stage.times.saturating_record(micros(time));
            if let Some(turn) = &mut stage.turn {
                turn.saturating_record(micros(waited));
            }
        }
    }

    /// The frames of a round were dropped on their way through the stages.
    pub(super) fn dropped(&self, frames: usize) {
        self.stale.fetch_add(frames as u64, Ordering::Relaxed);
        self.stale_rounds.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn result(&self, result: &FrameResult, spent: Spent) {
        self.errors
            .fetch_add(u64::from(result.run.is_err()), Ordering::Relaxed);
        let now = self.clock.monotonic();
        let mut inner = self.inner();
        inner.latency.saturating_record(micros(result.latency));
        inner.wait.saturating_record(micros(result.waited));
        inner.queue_age = result.waited;
        inner.inference.saturating_record(micros(spent.inference));
        inner.steps.saturating_record(micros(spent.steps));
        let others = result.others.iter().map(|(_, frame)| frame);
        for frame in std::iter::once(&result.frame).chain(others) {
            if let Some(time) = frame.decoding {
                inner.decode.saturating_record(micros(time));
            }
        }
        inner.definition = Some(result.generation.provenance.hash());
        if inner.recent.len() == REMEMBERED {
            inner.recent.pop_front();
        }
        inner.recent.push_back(now);
        drop(inner);
        self.results.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sources(&self, stats: Vec<(usize, SourceStats)>) {
        let now = self.clock.monotonic();
        let mut inner = self.inner();
        let since = now.saturating_sub(inner.looked.replace(now).unwrap_or(now));
        let silences = stats.iter().map(|(_, source)| silence(source));
        let longest = silences.max().unwrap_or_default();
        inner.starved += longest.saturating_sub(SILENCE).min(since);
        inner.sources = stats;
    }

    /// Rounds with a result so far.
    pub fn results(&self) -> u64 {
        self.results.load(Ordering::Relaxed)
    }

    /// Rounds that have no result yet.
    pub fn in_flight(&self) -> u64 {
        let over = self.results() + self.stale_rounds.load(Ordering::Relaxed);
        self.fed.load(Ordering::Relaxed).saturating_sub(over)
    }

    /// All figures now.
    pub fn snapshot(&self) -> Snapshot {
        let now = self.clock.monotonic();
        let inner = self.inner();
        let stage_figures: Vec<StageFigures> = inner
            .stages
            .iter()
            .map(|stage| StageFigures {
                name: stage.name.clone(),
                kind: stage.kind,
                times: Quantiles::of(&stage.times),
                turn: stage.turn.as_ref().map(Quantiles::of).unwrap_or_default(),
            })
            .collect();
        let mut snapshot = Snapshot {
            results: self.results(),
            errors: self.errors.load(Ordering::Relaxed),
            in_flight: self.in_flight(),
            swaps: self.swaps.load(Ordering::Relaxed),
            definition: inner.definition,
            latency: Quantiles::of(&inner.latency),
            wait: Quantiles::of(&inner.wait),
            queue_age: inner.queue_age,
            decode: Quantiles::of(&inner.decode),
            inference: Quantiles::of(&inner.inference),
            steps: Quantiles::of(&inner.steps),
            starved: inner.starved,
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
        let stale = self.stale.load(Ordering::Relaxed);
        if stale > 0 {
            *snapshot.dropped.entry(DropCause::Stale.name()).or_default() += stale;
        }
        snapshot
    }
}

/// How long a live source gave nothing.
fn silence(source: &SourceStats) -> Duration {
    let live = source.info.as_ref().is_none_or(|info| !info.recorded);
    let over = matches!(
        source.state,
        SourceState::Ended | SourceState::Failed | SourceState::Closed
    );
    source
        .silent_for
        .filter(|_| live && !over)
        .unwrap_or_default()
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
