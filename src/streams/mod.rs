//! Streams: a source, an engine cut into stages with a thread each, and results in order.
//!
//! ```text
//! source ──► entry ──► stage 1 ──► stage 2 ──► … ──► results
//!            frames     bounded channels, one frame waiting at each
//! ```
//!
//! A stream owns its engine and with it all state; models are shared through the services. The
//! number of frames in flight is bounded by the channels; what happens to frames that find no room
//! is decided in one place, the queue of the source (files wait, cameras keep the newest). A frame
//! on which a step fails travels on as an error, in its place. A stream ends when its source ends
//! or is stopped; what is in flight comes out.
//!
//! [`Stream::swap`] moves a running stream to another definition at a frame boundary: frames in
//! flight finish on the old one, steps that both definitions have (same name, block and fields) keep
//! their block instance and with it all state, and no frame is lost, repeated or reordered.

mod canary;
mod figures;
mod follow;
mod handoff;
mod pipeline;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

pub use canary::{CanaryPlan, CanaryReport, CanaryUntil};
pub use figures::{Figures, Snapshot};
pub use follow::{FollowSpec, Followed, Follower, warm};
pub use report::{Report, Reporter};

use crate::allocator;
use crate::clock::Clock;
use crate::definition::error::WorkflowError;
use crate::definitions::DefinitionStamp;
use crate::engine::{Engine, Run, RuntimeInputs};
use crate::plan::Plan;
use crate::sources::{Frame, Source, SourceError};

/// A definition as a stream runs it.
#[derive(Debug)]
pub struct Generation {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Which definition it is.
    pub stamp: DefinitionStamp,
    /// Name of the input that gets the frames.
    pub image_input: String,
}

/// One frame at the end of its way.
#[derive(Debug)]
pub struct FrameResult {
    /// The frame.
    pub frame: Frame,
    /// The definition that ran on it.
    pub generation: Arc<Generation>,
    /// What the workflow made of it.
    pub run: Result<Run, WorkflowError>,
    /// Time from the decoder to the end of the last stage.
    pub latency: std::time::Duration,
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
    pub stamp: DefinitionStamp,
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

/// What a stream is told to do at its next frame.
enum Command {
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
    stop: Arc<AtomicBool>,
    commands: Sender<Command>,
    entry: JoinHandle<End>,
    collector: JoinHandle<()>,
}

impl Stream {
    /// Starts the threads of a stream.
    ///
    /// # Errors
    /// If the machine refuses a thread.
    pub fn start(spec: StreamSpec) -> std::io::Result<Self> {
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
        Control {
            stop: self.stop.clone(),
            commands: self.commands.clone(),
        }
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
}

/// Controls a stream.
#[derive(Clone)]
pub struct Control {
    stop: Arc<AtomicBool>,
    commands: Sender<Command>,
}

impl Control {
    /// Stops the stream; frames in flight still come out.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
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
