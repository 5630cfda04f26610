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
//! or [`Stream::stop`] is called; what is in flight comes out.

mod figures;
mod pipeline;
mod report;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;

pub use figures::{Figures, Snapshot};
pub use report::{DefinitionStamp, Report, Reporter};

use crate::clock::Clock;
use crate::definition::error::WorkflowError;
use crate::engine::{Engine, Run, RuntimeInputs};
use crate::plan::Plan;
use crate::sources::{Frame, Source, SourceError};

/// One frame at the end of its way.
#[derive(Debug)]
pub struct FrameResult {
    /// The frame.
    pub frame: Frame,
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

/// What to run on a source.
pub struct StreamSpec {
    /// The source, open.
    pub source: Source,
    /// The engine; its state becomes the stream's.
    pub engine: Engine,
    /// Parameters of the workflow.
    pub parameters: RuntimeInputs,
    /// Name of the input that gets the frames.
    pub image_input: String,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// A running stream.
pub struct Stream {
    plan: Arc<Plan>,
    results: Receiver<FrameResult>,
    figures: Arc<Figures>,
    stop: Arc<AtomicBool>,
    entry: JoinHandle<End>,
    stages: Vec<JoinHandle<()>>,
}

impl Stream {
    /// Starts the threads of a stream.
    ///
    /// # Errors
    /// If the machine refuses a thread.
    pub fn start(spec: StreamSpec) -> std::io::Result<Self> {
        pipeline::start(spec)
    }

    /// The plan that runs.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Results in the order of the frames; ends with the stream.
    pub fn results(&self) -> &Receiver<FrameResult> {
        &self.results
    }

    /// Counts and times so far.
    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    /// What makes the stream stop, for other threads.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Waits for the threads. All results must have been taken.
    pub fn join(self) -> End {
        drop(self.results);
        for stage in self.stages {
            // A stage cannot panic: blocks run behind a catch.
            let _ = stage.join();
        }
        self.entry.join().unwrap_or(End::Stopped)
    }
}

/// Makes a stream stop; frames in flight still come out.
#[derive(Clone, Debug)]
pub struct Stopper(Arc<AtomicBool>);

impl Stopper {
    /// Stops the stream.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
