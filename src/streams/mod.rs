//! Streams: sources, an engine cut into stages with a thread each, and results in order.
//!
//! ```text
//! sources ─► entry ──► stage 1 ──► stage 2 ──► … ──► results
//!            frames     bounded channels, one frame waiting at each
//! ```
//!
//! A stage that holds its stream up gets further workers, if its blocks remember nothing (`crew`);
//! rounds leave each stage in their order. A live frame that waited too long is dropped before a stage
//! begins it, and before a model runs on it.
//!
//! A stream owns its engine and with it all state; models are shared through the services. The
//! number of frames in flight is bounded by the channels, and for cameras by what the stages can work
//! on at once (`flow`); what happens to frames that find no room is decided in one place, the queue of
//! the source (files wait, cameras keep the newest). A frame
//! on which a step fails travels on as an error, in its place. A stream ends when its source ends
//! or is stopped; what is in flight comes out. Frames of several sources go through in rounds, as
//! one batch ([`Intake`]).
//!
//! [`Stream::swap`] moves a running stream to another definition at a frame boundary: frames in
//! flight finish on the old one, steps that both definitions have (same name, block and fields) keep
//! their block instance and with it all state, and no frame is lost, repeated or reordered.

mod canary;
mod collector;
mod crew;
mod entry;
mod figures;
mod flow;
mod follow;
mod handoff;
mod intake;
mod item;
mod pipeline;
mod report;
mod snapshot;
#[cfg(test)]
mod tests;
mod turnstile;
mod warm;

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

pub use canary::{CanaryPlan, CanaryReport, CanaryUntil};
pub use crew::stage_workers;
pub use figures::{Figures, StageKind};
pub use follow::{FollowSpec, Followed, Follower};
pub use intake::{Inlet, Intake, LIVE_WAIT, Notice, Observer, Pace};
pub use report::{Report, Reporter, Shown};
pub use snapshot::{Quantiles, Snapshot, SourceFigures, StageFigures};
pub use warm::warm;

use crate::allocator;
use crate::clock::Clock;
use crate::definition::error::WorkflowError;
use crate::definitions::Provenance;
use crate::engine::{Engine, Run, RuntimeInputs};
use crate::plan::Plan;
use crate::sources::{Frame, Source, SourceError};

/// A definition as a stream runs it.
#[derive(Debug)]
pub struct Generation {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Which definition it is.
    pub provenance: Provenance,
    /// Name of the input that gets the frames.
    pub image_input: String,
    /// Name of the first element of that input.
    elements: OnceLock<Arc<str>>,
}

impl Generation {
    /// Name of an element of the image input: the parent of what is found in its frame.
    fn element(&self, at: usize) -> Arc<str> {
        let name = || format!("{}.[{at}]", self.image_input).into();
        match at {
            0 => self.elements.get_or_init(name).clone(),
            _ => name(),
        }
    }
}

/// One round at the end of its way: the frame of a stream with one source, else one of each source
/// that had one.
#[derive(Debug)]
pub struct FrameResult {
    /// The frame; the first of a round.
    pub frame: Frame,
    /// Number of its source in the stream.
    pub source: usize,
    /// The other frames of the round with the numbers of their sources. The elements of the run are
    /// in the order of `frame` and these.
    pub others: Vec<(usize, Frame)>,
    /// Numbers of all sources that the stream had then.
    pub sources: Arc<[usize]>,
    /// The definition that ran on it.
    pub generation: Arc<Generation>,
    /// What the workflow made of it.
    pub run: Result<Run, WorkflowError>,
    /// Time from the decoder to the end of the last stage.
    pub latency: Duration,
    /// Of it, the time until the first stage was free.
    pub waited: Duration,
}

/// How a stream ended.
#[derive(Debug)]
pub enum End {
    /// The source ended; a warning if it gave less than it promised.
    Source(Option<String>),
    /// Somebody stopped it.
    Stopped,
    /// The source failed for good.
    Failed(SourceError),
}

/// A definition, compiled and warm, to run on a stream.
pub struct Replacement {
    /// The engine. On a swap the blocks of steps that the running definition has too are replaced by
    /// the running ones.
    pub engine: Engine,
    /// Which definition it is.
    pub provenance: Provenance,
    /// Name of the input that gets the frames.
    pub image_input: String,
}

/// What to run on a source.
pub struct StreamSpec {
    /// The source, open.
    pub source: Source,
    /// The definition; the engine's state becomes the stream's.
    pub definition: Replacement,
    /// Parameters of the workflow.
    pub parameters: RuntimeInputs,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// What to run on several sources, or on sources that change.
pub struct RoundsSpec {
    /// Name in logs and of threads; without one, the identifier of the first source.
    pub name: Option<Arc<str>>,
    /// The sources, open.
    pub intake: Intake,
    /// The definition; the engine's state becomes the stream's.
    pub definition: Replacement,
    /// Parameters of the workflow.
    pub parameters: RuntimeInputs,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Is told what becomes of the sources.
    pub observer: Option<Arc<dyn Observer>>,
}

impl From<StreamSpec> for RoundsSpec {
    fn from(spec: StreamSpec) -> Self {
        Self {
            name: None,
            intake: spec.source.into(),
            definition: spec.definition,
            parameters: spec.parameters,
            clock: spec.clock,
            observer: None,
        }
    }
}

/// What a stream is told to do at its next frame.
enum Command {
    Add(Inlet, Pace),
    Pace(Pace),
    Swap(Replacement),
    Canary {
        replacement: Replacement,
        frames: u64,
        report: Sender<CanaryReport>,
    },
}

/// The stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has ended")]
pub struct StreamEnded;

/// A running stream.
pub struct Stream {
    results: Receiver<FrameResult>,
    figures: Arc<Figures>,
    control: Control,
    entry: JoinHandle<End>,
    collector: JoinHandle<()>,
    gone: Receiver<Infallible>,
}

/// A thread of a stream did not end in time: a block is stuck. It ends when the block returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thread of the stream is stuck in a block and is left to itself")]
pub struct StreamStuck;

impl Stream {
    /// Starts the threads of a stream.
    ///
    /// # Errors
    /// If the machine refuses a thread.
    pub fn start(spec: StreamSpec) -> std::io::Result<Self> {
        pipeline::start(spec.into())
    }

    /// Starts the threads of a stream with several sources.
    ///
    /// # Errors
    /// If the machine refuses a thread.
    pub fn start_rounds(spec: RoundsSpec) -> std::io::Result<Self> {
        pipeline::start(spec)
    }

    /// Results in the order of the frames; ends with the stream.
    pub fn results(&self) -> &Receiver<FrameResult> {
        &self.results
    }

    /// Counts and times so far.
    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// What controls the stream from other threads.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Waits for the threads. All results must have been taken.
    pub fn join(self) -> End {
        drop(self.results);
        // Neither thread can panic: blocks run behind a catch.
        let _ = self.collector.join();
        let end = self.entry.join().unwrap_or(End::Stopped);
        // Nobody may need the memory of its frames again.
        allocator::release();
        end
    }

    /// Stops the stream and drops the results that were not taken. Returns when its last thread has
    /// ended, or after `patience`; threads that are stuck in a block end with it.
    ///
    /// # Errors
    /// If a thread did not end in time.
    pub fn end(self, patience: Duration) -> Result<End, StreamStuck> {
        let Self {
            results,
            control,
            entry,
            gone,
            ..
        } = self;
        control.stop();
        drop(results);
        drop(control);
        match gone.recv_timeout(patience) {
            Ok(never) => match never {},
            Err(RecvTimeoutError::Timeout) => Err(StreamStuck),
            Err(RecvTimeoutError::Disconnected) => Ok(entry.join().unwrap_or(End::Stopped)),
        }
    }
}

/// Controls a stream.
#[derive(Clone)]
pub struct Control {
    stop: Arc<AtomicBool>,
    paused: Arc<AtomicBool>,
    commands: Sender<Command>,
}

impl Control {
    /// Stops the stream; frames in flight still come out.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Pauses the stream or lets it go on. While it pauses, recorded files are not read and the
    /// frames of live sources go by, counted as dropped.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Adds a source; its frames are in the rounds from the next on. To take a source away, close
    /// it.
    ///
    /// # Errors
    /// If the stream has ended.
    pub fn add(&self, inlet: Inlet, pace: Pace) -> Result<(), StreamEnded> {
        let sent = self.commands.send(Command::Add(inlet, pace));
        sent.map_err(|_| StreamEnded)
    }

    /// Sets the pace of the rounds anew.
    ///
    /// # Errors
    /// If the stream has ended.
    pub fn set_pace(&self, pace: Pace) -> Result<(), StreamEnded> {
        let sent = self.commands.send(Command::Pace(pace));
        sent.map_err(|_| StreamEnded)
    }

    /// Moves the stream to another definition at the next frame boundary.
    ///
    /// # Errors
    /// If the stream has ended.
    pub fn swap(&self, replacement: Replacement) -> Result<(), StreamEnded> {
        self.commands
            .send(Command::Swap(replacement))
            .map_err(|_| StreamEnded)
    }

    /// Runs a definition beside the running one on the next `frames` frames; the report comes when
    /// they are through or the stream ends. Give it an engine with sinks switched off. Another
    /// canary under way ends with what it has.
    ///
    /// # Errors
    /// If the stream has ended.
    pub fn canary(
        &self,
        replacement: Replacement,
        frames: u64,
    ) -> Result<Receiver<CanaryReport>, StreamEnded> {
        let (report, reports) = crossbeam_channel::bounded(1);
        let command = Command::Canary {
            replacement,
            frames,
            report,
        };
        self.commands.send(command).map_err(|_| StreamEnded)?;
        Ok(reports)
    }
}
