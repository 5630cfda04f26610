//! Keeps the fleet as a file of streams says, and follows the file.
//!
//! A changed file changes just what it changes: streams that are gone are stopped, new ones started,
//! changed ones started anew, or, if only their sources or outputs changed, given and taken those. A
//! stream that is the same is not touched. A file that cannot be read changes nothing, and says so.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::{Value as Json, json};

use super::Fleet;
use super::declaration::{self, Streams};
use super::error::FleetError;
use super::spec::PipelineSpec;
use crate::definitions::{Look, Watched};

/// Why a file of streams cannot be used at the start.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("streams in {}: {reason}", path.display())]
pub struct DeclaredError {
    /// The file.
    pub path: PathBuf,
    /// Every problem, one per line.
    pub reason: String,
}

/// What became of the file.
#[derive(Clone, Debug, Default)]
struct Report {
    streams: Vec<String>,
    problem: Option<String>,
    /// Times that a change was taken over.
    changes: u64,
}

/// A file of streams that is followed. Dropped, it is followed no more, and its streams go on.
pub struct Declared {
    path: PathBuf,
    report: Arc<Mutex<Report>>,
    stop: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Declared {
    /// Starts the streams of a file and follows it.
    ///
    /// # Errors
    /// If it cannot be read, or the machine refuses a thread.
    pub fn start(fleet: Arc<Fleet>, path: impl Into<PathBuf>) -> Result<Self, DeclaredError> {
        let path = path.into();
        let refused = |reason: String| DeclaredError {
            path: path.clone(),
            reason,
        };
        let text = std::fs::read(&path).map_err(|e| refused(e.to_string()))?;
        let streams = declaration::parse(&text, folder(&path)).map_err(refused)?;
        let report: Arc<Mutex<Report>> = Arc::default();
        let (stop, stopped) = bounded(0);
        let mut follower = Follower {
            file: Watched::new(path.clone()),
            fleet,
            running: Streams::new(),
            report: report.clone(),
        };
        follower.apply(streams);
        let thread = thread::Builder::new()
            .name("streams-file".into())
            .spawn(move || follower.run(&stopped))
            .map_err(|e| refused(format!("the machine refuses a thread: {e}")))?;
        Ok(Self {
            path,
            report,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The file, its streams, what is wrong with its newest content, and how often it changed them.
    pub fn to_json(&self) -> Json {
        let report = lock(&self.report);
        json!({
            "path": self.path.display().to_string(),
            "streams": report.streams,
            "problem": report.problem,
            "changes": report.changes,
        })
    }
}

impl Drop for Declared {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only starts and stops pipelines, behind typed errors, and does not panic.
            let _ = thread.join();
        }
    }
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

struct Follower {
    file: Watched,
    fleet: Arc<Fleet>,
    running: Streams,
    report: Arc<Mutex<Report>>,
}

impl Follower {
    fn run(mut self, stopped: &Receiver<Infallible>) {
        let poll = self.fleet.settings().poll;
        while stopped.recv_timeout(poll) == Err(RecvTimeoutError::Timeout) {
            let path = self.file.path().to_owned();
            let clock = self.fleet.clock();
            let parse = |text: &[u8]| declaration::parse(text, folder(&path));
            match self.file.look(&*clock, parse) {
                Look::Same => {}
                Look::Read(streams) => self.apply(streams),
                Look::Failed(reason) => self.refuse(reason),
            }
        }
    }

    fn refuse(&self, reason: String) {
        let mut report = lock(&self.report);
        if report.problem.as_ref() != Some(&reason) {
            let path = self.file.path().display();
            tracing::error!(%path, "the streams go on as they are: {reason}");
        }
        report.problem = Some(reason);
    }

    /// Makes the fleet as the file says.
    fn apply(&mut self, wanted: Streams) {
        let gone: Vec<String> = self
            .running
            .keys()
            .filter(|name| !wanted.contains_key(*name))
            .cloned()
            .collect();
        let mut changes = gone.len();
        let mut problems = Vec::new();
        for name in gone {
            tracing::info!(stream = name, "gone from the file");
            self.stop(&name);
            self.running.remove(&name);
        }
        for (name, spec) in wanted {
            let outcome = match self.running.get(&name) {
                Some(running) if same(running, &spec) => continue,
                Some(running) if same_stream(running, &spec) => self.adjust(&name, running, &spec),
                Some(_) => {
                    tracing::info!(stream = name, "changed in the file");
                    self.stop(&name);
                    self.fleet.keep(spec.clone()).map(drop)
                }
                None => {
                    tracing::info!(stream = name, "new in the file");
                    self.fleet.keep(spec.clone()).map(drop)
                }
            };
            changes += 1;
            match outcome {
                Ok(()) => {
                    self.running.insert(name, spec);
                }
                Err(error) => {
                    // What did not work counts as not there, so the next change tries it anew.
                    self.running.remove(&name);
                    problems.push(format!("streams.{name}: {error}"));
                }
            }
        }
        let mut report = lock(&self.report);
        report.streams = self.running.keys().cloned().collect();
        report.changes += u64::from(changes > 0);
        report.problem = (!problems.is_empty()).then(|| problems.join("\n"));
        if let Some(problem) = &report.problem {
            tracing::error!(path = %self.file.path().display(), "{problem}");
        }
    }

    /// Gives a stream that stays the same its other sources and outputs.
    fn adjust(
        &self,
        name: &str,
        running: &PipelineSpec,
        spec: &PipelineSpec,
    ) -> Result<(), FleetError> {
        if running.outputs != spec.outputs {
            tracing::info!(stream = name, "other outputs in the file");
            self.fleet.set_outputs(name, &spec.outputs)?;
        }
        if running.sources != spec.sources {
            tracing::info!(stream = name, "other sources in the file");
            self.fleet.set_sources(name, &spec.sources)?;
        }
        Ok(())
    }

    fn stop(&self, name: &str) {
        // A client may have ended it before.
        let _ = self.fleet.terminate(name);
    }
}

fn same(left: &PipelineSpec, right: &PipelineSpec) -> bool {
    left.sources == right.sources && left.outputs == right.outputs && same_stream(left, right)
}

/// Whether all is the same but the sources and the outputs, which a running stream can change.
fn same_stream(left: &PipelineSpec, right: &PipelineSpec) -> bool {
    // Inputs of a file are JSON, whose text says all of them.
    let parameters = |spec: &PipelineSpec| format!("{:?}", spec.parameters);
    left.definition == right.definition
        && parameters(left) == parameters(right)
        && left.buffering == right.buffering
        && left.max_fps == right.max_fps
        && left.round_wait == right.round_wait
        && left.image_input == right.image_input
        && left.disable_sinks == right.disable_sinks
        && left.results == right.results
        && left.results_policy == right.results_policy
}
