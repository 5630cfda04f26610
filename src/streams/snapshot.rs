//! The figures of a stream at one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::figures::StageKind;
use crate::definition::DefinitionHash;
use crate::sources::{DropCause, Loss, SourceState, SourceStats};

/// Median and tail of some times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// Half of them are shorter.
    pub p50: Duration,
    /// 95 % of them are shorter.
    pub p95: Duration,
    /// 99 % of them are shorter.
    pub p99: Duration,
    /// How many there are.
    pub count: u64,
    /// All of them together.
    pub sum: Duration,
}

impl Quantiles {
    pub(super) fn of(times: &Histogram<u32>) -> Self {
        let at = |q| Duration::from_micros(times.value_at_quantile(q));
        match times.is_empty() {
            true => Self::default(),
            false => Self {
                p50: at(0.5),
                p95: at(0.95),
                p99: at(0.99),
                count: times.len(),
                sum: Duration::try_from_secs_f64(times.mean() * times.len() as f64 / 1e6)
                    .unwrap_or_default(),
            },
        }
    }
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
    /// How often it was lost, by cause.
    pub losses: BTreeMap<&'static str, u64>,
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
    /// Of a model, the part of it that waited for its turn.
    pub turn: Quantiles,
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
    /// Age of the frames when the first stage takes them.
    pub wait: Quantiles,
    /// Time of a frame in the decoder.
    pub decode: Quantiles,
    /// Time of a round in model stages, all together.
    pub inference: Quantiles,
    /// Time of a round in the other stages, all together.
    pub steps: Quantiles,
    /// Age of the last round when the first stage took it.
    pub queue_age: Duration,
    /// Time in which a source gave nothing for more than a second, all together.
    pub starved: Duration,
    /// How often sources were lost, by cause.
    pub losses: BTreeMap<&'static str, u64>,
    /// Median time in each stage.
    pub stages: Vec<(String, Duration)>,
    /// Time in each stage.
    pub stage_figures: Vec<StageFigures>,
    /// The sources.
    pub sources: Vec<SourceFigures>,
}

impl Snapshot {
    pub(super) fn add(&mut self, number: usize, source: &SourceStats) {
        let figures = SourceFigures::of(number, source);
        self.frames += source.frames;
        self.reconnects += source.reconnects;
        for (cause, count) in &figures.losses {
            *self.losses.entry(cause).or_default() += count;
        }
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
            losses: Loss::ALL
                .into_iter()
                .map(|cause| (cause.name(), source.losses.count(cause)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            reconnects: source.reconnects,
            failed_attempts: source.failed_attempts,
            silent_for: source.silent_for,
        }
    }
}
