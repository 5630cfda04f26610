//! Takes the results of one stream to its outputs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use crate::clock::Clock;
use crate::delivery::window::{Window, WindowError};
use crate::outputs::Outputs;
use crate::streams::{End, FrameResult, Reporter, Snapshot, Stream};
use crate::values::serialise::OutputOptions;

/// How long files may take to end after the last frame.
const LAST_FRAMES: Duration = Duration::from_secs(60);

/// Takes the results of one stream.
pub(super) struct ResultLoop {
    pub stream: Stream,
    pub outputs: Arc<Outputs>,
    pub window: Option<Window>,
    /// The output that the window shows.
    pub wanted: Option<String>,
    pub clock: Arc<dyn Clock>,
}

/// What became of a stream.
pub(super) struct Finished {
    pub end: Option<End>,
    /// Files, in the order of their flags.
    pub files: Vec<PathBuf>,
    /// The first error of a frame.
    pub first_error: Option<String>,
    pub snapshot: Snapshot,
    pub problem: Option<String>,
    /// Numbers, texts and truth values of the last result, as `name value`.
    pub last: Vec<String>,
}

impl ResultLoop {
    /// Works until the stream ends. Results that cannot be kept end it: a run is for its results.
    pub(super) fn run(mut self) -> Finished {
        let figures = self.stream.figures().clone();
        let control = self.stream.control();
        let mut problem = None;
        let mut first_error = None;
        let mut last = None;
        let results = self.stream.results().clone();
        for result in results {
            if let Err(error) = &result.run {
                first_error.get_or_insert_with(|| error.to_string());
            }
            self.outputs.take(&result);
            let shown = self.show(&result);
            if problem.is_none() {
                let closed = shown.err().map(|e| e.to_string());
                problem = closed.or_else(|| self.outputs.problem());
                if problem.is_some() {
                    control.stop();
                }
            }
            last = Some(result);
        }
        let end = self.stream.join();
        self.outputs.end(LAST_FRAMES);
        let reporter = Reporter::new(OutputOptions::new(self.clock.now()), false);
        let report = last.map(|result| reporter.report(&result, self.clock.now(), None).json);
        Finished {
            end: Some(end),
            files: self.outputs.files(),
            first_error,
            snapshot: figures.snapshot(),
            problem: problem.or_else(|| self.outputs.problem()),
            last: report.map_or(Vec::new(), |report| scalars(&report["outputs"])),
        }
    }

    fn show(&mut self, result: &FrameResult) -> Result<(), WindowError> {
        let Some(window) = &mut self.window else {
            return Ok(());
        };
        match result.shown().first() {
            Some(shown) => window.show(shown.choose(self.wanted.as_deref())),
            None => Ok(()),
        }
    }
}

/// What of the outputs fits into a line of the summary.
fn scalars(outputs: &Json) -> Vec<String> {
    let entries = outputs.as_object().into_iter().flatten();
    entries
        .filter(|(_, value)| {
            value.is_number() || value.is_boolean() || value.as_str().is_some_and(|s| s.len() < 60)
        })
        .map(|(name, value)| format!("{name} {value}"))
        .collect()
}
