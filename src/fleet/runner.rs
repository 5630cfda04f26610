//! The thread of a pipeline: finds its definition, loads its models, runs its stream, takes the
//! results, and is its watchdog.
//!
//! Whatever may take long and cannot be interrupted (asking the platform, loading a model) happens
//! in a thread of its own; a pipeline that is stopped meanwhile leaves it to itself, and what it
//! brings is dropped. A stream with frames and without results is started anew, a bounded number of
//! times; the thread that is stuck in a block ends when the block returns. Recorded files are not
//! started anew: their frames would count twice.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded, select};
use serde_json::json;

use super::pipeline::{Phase, Pipeline, shown};
use super::updates::Severity;
use crate::definitions::{Fetched, Provenance};
use crate::engine::Engine;
use crate::plan::Plan;
use crate::sources::SourceError;
use crate::streams::{
    End, FollowSpec, Followed, Follower, Inlet, Intake, Observer, Replacement, RoundsSpec, Stream,
    warm,
};
use crate::values::deserialise::InputOptions;

/// How often a running stream is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long the threads of a stream may take to end before they are left to themselves.
const ENDING: Duration = Duration::from_millis(1700);
/// Class of errors in words of the reference.
const CONNECTION: &str = "SourceConnectionError";

/// A definition that compiled, with its engine.
pub(super) struct Built {
    pub fetched: Arc<Fetched>,
    pub plan: Arc<Plan>,
    pub provenance: Provenance,
    pub engine: Engine,
}

/// What a stream starts with.
struct Runs {
    fetched: Arc<Fetched>,
    plan: Arc<Plan>,
    provenance: Provenance,
    image_input: String,
}

/// Why something did not go on, and what kind of error it is on the wire.
struct Problem {
    kind: &'static str,
    message: String,
}

/// How a stream came to its end.
enum After {
    Stopped,
    Ended(Option<String>),
    Failed(Problem),
    Hung { for_seconds: u64, recorded: bool },
}

/// Starts the thread of a pipeline.
///
/// # Errors
/// If the machine refuses it.
pub(super) fn start(pipeline: &Arc<Pipeline>, built: Option<Built>) -> std::io::Result<()> {
    let (alive, gone) = bounded(0);
    let runner = Runner {
        pipeline: pipeline.clone(),
        _alive: alive,
    };
    thread::Builder::new()
        .name(format!("pipeline:{}", pipeline.id))
        .spawn(move || runner.run(built))?;
    pipeline.watch_end(gone);
    Ok(())
}

struct Runner {
    pipeline: Arc<Pipeline>,
    _alive: Sender<Infallible>,
}

impl Runner {
    fn run(self, built: Option<Built>) {
        let id = self.pipeline.id.clone();
        self.pipeline
            .note(Severity::Info, "INFERENCE_THREAD_STARTED", json!({}));
        if catch_unwind(AssertUnwindSafe(|| self.live(built))).is_err() {
            tracing::error!(pipeline = %id, "the thread of the pipeline panicked");
            let problem = Problem {
                kind: "InternalError",
                message: "the thread of the pipeline panicked".into(),
            };
            self.fail(problem);
        }
        self.pipeline.look_at_sources();
        self.pipeline
            .note(Severity::Info, "INFERENCE_THREAD_FINISHED", json!({}));
        let mut state = self.pipeline.state();
        state.control = None;
        for camera in &mut state.cameras {
            if let Some(source) = &camera.source {
                // Its thread is gone; what is known of it stays.
                source.close();
            }
        }
    }

    fn live(&self, mut built: Option<Built>) {
        let (shortest, longest) = self.pipeline.settings().retry;
        let mut rest = shortest;
        loop {
            let began = self.pipeline.now();
            let after = match self.load(built.take()) {
                None => return,
                Some(Err(problem)) => After::Failed(problem),
                Some(Ok((fetched, ready))) => self.play(&fetched, ready),
            };
            match after {
                After::Stopped => return,
                After::Ended(warning) => return self.pipeline.enter(Phase::Ended, warning),
                After::Hung {
                    for_seconds,
                    recorded,
                } => {
                    if !self.may_restart(for_seconds, recorded) {
                        return;
                    }
                }
                After::Failed(problem) if !self.pipeline.spec.persistent => {
                    return self.fail(problem);
                }
                After::Failed(problem) => {
                    if self.pipeline.now().saturating_sub(began) > longest {
                        rest = shortest;
                    }
                    tracing::warn!(pipeline = %self.pipeline.id, "{}; trying again in {rest:?}", problem.message);
                    self.tell(&problem);
                    self.pipeline.enter(Phase::Waiting, Some(problem.message));
                    if self.stopped_within(rest) {
                        return;
                    }
                    rest = (rest * 2).min(longest);
                }
            }
        }
    }

    fn stopped_within(&self, time: Duration) -> bool {
        let told = self.pipeline.stop.told().recv_timeout(time);
        told == Err(RecvTimeoutError::Disconnected)
    }

    fn tell(&self, problem: &Problem) {
        self.pipeline
            .note_error(problem.kind, &problem.message, "inference_thread");
    }

    fn fail(&self, problem: Problem) {
        tracing::error!(pipeline = %self.pipeline.id, "{}", problem.message);
        self.tell(&problem);
        self.pipeline.enter(Phase::Failed, Some(problem.message));
    }

    /// Whether a hung stream is started anew; says so either way.
    fn may_restart(&self, for_seconds: u64, recorded: bool) -> bool {
        let pipeline = &self.pipeline;
        let now = pipeline.now();
        let settings = pipeline.settings();
        let mut state = pipeline.state();
        state.restarts.push(now);
        let from = now.saturating_sub(settings.restart_window);
        let recent = state.restarts.iter().filter(|at| **at >= from).count();
        drop(state);
        let hung = format!("hung: frames and no result for {for_seconds} s");
        let given_up = match recorded {
            true => Some("a recorded file is not started anew".to_owned()),
            false if recent > settings.restarts => Some(format!(
                "it was started anew {} times within {:?}",
                settings.restarts, settings.restart_window
            )),
            false => None,
        };
        let message = match &given_up {
            Some(why) => format!("{hung}; given up: {why}"),
            None => format!("{hung}; started anew ({recent} of {})", settings.restarts),
        };
        let kind = "StreamHung";
        match given_up {
            Some(_) => {
                pipeline.state().restarts.pop();
                self.fail(Problem { kind, message });
                false
            }
            None => {
                tracing::warn!(pipeline = %pipeline.id, "{message}");
                let payload = json!({"error_type": kind, "error_message": message});
                pipeline.note(Severity::Warning, "PIPELINE_RESTARTED", payload);
                true
            }
        }
    }

    /// Finds the definition and loads its models; `None` if the pipeline was stopped meanwhile.
    fn load(&self, built: Option<Built>) -> Option<Result<(Arc<Fetched>, Replacement), Problem>> {
        let phase = match &built {
            Some(_) => Phase::Loading,
            None => Phase::Waiting,
        };
        let before = self.pipeline.state().problem.clone();
        self.pipeline.enter(phase, before);
        let (out, made) = bounded(1);
        let pipeline = self.pipeline.clone();
        let work = move || {
            let made = catch_unwind(AssertUnwindSafe(|| prepare(&pipeline, built)));
            let made = made.unwrap_or_else(|_| {
                Err(Problem {
                    kind: "InternalError",
                    message: "the preparation of the definition panicked".into(),
                })
            });
            // Nobody waits any more if the pipeline was stopped: then it is dropped here.
            let _ = out.send(made);
        };
        let name = format!("load:{}", self.pipeline.id);
        if let Err(error) = thread::Builder::new().name(name).spawn(work) {
            return Some(Err(refused_thread(&error)));
        }
        select! {
            recv(made) -> made => match made {
                Ok(made) if !self.pipeline.stop.is_told() => Some(made),
                _ => None,
            },
            recv(self.pipeline.stop.told()) -> _ => None,
        }
    }

    /// Runs a stream to its end.
    fn play(&self, fetched: &Arc<Fetched>, definition: Replacement) -> After {
        let pipeline = &self.pipeline;
        let inlets = match self.open_sources() {
            Ok(inlets) => inlets,
            Err(problem) => return After::Failed(problem),
        };
        let runs = Runs {
            fetched: fetched.clone(),
            plan: definition.engine.plan().clone(),
            provenance: definition.provenance.clone(),
            image_input: definition.image_input.clone(),
        };
        let pace = pipeline.pace(&pipeline.state().cameras);
        let observer: Arc<dyn Observer> = pipeline.clone();
        let started = Stream::start_rounds(RoundsSpec {
            name: Some(pipeline.id.clone()),
            intake: Intake::new(inlets, pace),
            definition,
            parameters: pipeline.spec.parameters.clone(),
            clock: pipeline.host.services.clock.clone(),
            observer: Some(observer),
        });
        let stream = match started {
            Ok(stream) => stream,
            Err(error) => return After::Failed(refused_thread(&error)),
        };
        pipeline.enter(Phase::Running, None);
        let mut state = pipeline.state();
        stream.control().pause(state.paused);
        state.control = Some(stream.control());
        state.figures = Some(stream.figures().clone());
        drop(state);
        if let Err(error) = pipeline.connect_added() {
            tracing::warn!(pipeline = %pipeline.id, %error, "an added source cannot be opened");
        }
        let follower = self.follow(runs, &stream);
        let after = self.watch(stream);
        if let Some(follower) = follower {
            follower.detach();
        }
        pipeline.state().control = None;
        after
    }

    fn open_sources(&self) -> Result<Vec<Inlet>, Problem> {
        let mut state = self.pipeline.state();
        let alone = state.cameras.len() == 1;
        let mut inlets = Vec::new();
        for camera in &mut state.cameras {
            let failed = |error: &SourceError| {
                let name = shown(&camera.spec.uri);
                Problem {
                    kind: CONNECTION,
                    message: format!(
                        "{error}: Cannot connect to video source under reference: {name}"
                    ),
                }
            };
            match self.pipeline.open(&camera.spec, alone) {
                Ok(source) => {
                    camera.source = Some(source.clone());
                    inlets.push(Inlet {
                        number: camera.number,
                        source,
                    });
                }
                Err(error) => {
                    let problem = failed(&error);
                    let (number, from) = (camera.number, camera.shown);
                    camera.shown = super::updates::WireState::Error;
                    drop(state);
                    let (starts, fails) = (
                        super::updates::WireState::Initialising,
                        super::updates::WireState::Error,
                    );
                    let clock = self.pipeline.clock();
                    self.pipeline.updates.moved(clock, number, from, starts);
                    self.pipeline.updates.moved(clock, number, starts, fails);
                    return Err(problem);
                }
            }
        }
        Ok(inlets)
    }

    fn follow(&self, runs: Runs, stream: &Stream) -> Option<Follower> {
        let key = self.pipeline.spec.definition.key();
        if key.is_none() && runs.provenance.inner().is_empty() {
            return None;
        }
        let follower = Follower::start(FollowSpec {
            store: self.pipeline.host.store.clone(),
            key: key.cloned(),
            api_key: self.pipeline.services.api_key.clone(),
            running: runs.fetched,
            provenance: runs.provenance,
            plan: runs.plan,
            parameters: self.pipeline.spec.parameters.clone(),
            image_input: runs.image_input,
            canary: None,
        });
        match follower {
            Ok(follower) => {
                follower.add(Followed {
                    name: self.pipeline.id.to_string(),
                    control: stream.control(),
                    services: self.pipeline.services.clone(),
                });
                Some(follower)
            }
            Err(error) => {
                tracing::error!(pipeline = %self.pipeline.id, "the definition is not followed: {error}");
                None
            }
        }
    }

    /// Takes results until the stream ends, hangs or is stopped.
    fn watch(&self, stream: Stream) -> After {
        let pipeline = &self.pipeline;
        let mut looked = pipeline.now();
        let after = loop {
            select! {
                recv(stream.results()) -> result => match result {
                    Ok(result) => {
                        pipeline.took(&result);
                        pipeline.results.push(result);
                        // Waiting for a client is no hanging.
                        pipeline.state().alive_at = pipeline.now();
                    }
                    Err(_) => break None,
                },
                recv(pipeline.stop.told()) -> _ => break Some(After::Stopped),
                default(LOOK) => {}
            }
            let now = pipeline.now();
            if now.saturating_sub(looked) < LOOK {
                continue;
            }
            looked = now;
            if stream.figures().in_flight() == 0 {
                pipeline.state().alive_at = now;
            }
            pipeline.look_at_sources();
            let stalled = now.saturating_sub(pipeline.state().alive_at);
            if stalled >= pipeline.settings().restart {
                break Some(After::Hung {
                    for_seconds: stalled.as_secs(),
                    recorded: stream.figures().snapshot().recorded,
                });
            }
        };
        let end = stream.end(ENDING);
        if end.is_err() {
            tracing::error!(pipeline = %pipeline.id, "a thread of the stream is stuck in a block and is left to itself; it ends when the block returns");
        }
        match (after, end) {
            (Some(after), _) => after,
            (None, Ok(End::Source(warning))) => After::Ended(warning),
            (None, Ok(End::Failed(error))) => After::Failed(Problem {
                kind: CONNECTION,
                message: error.to_string(),
            }),
            (None, Ok(End::Stopped) | Err(_)) => After::Ended(None),
        }
    }
}

fn refused_thread(error: &std::io::Error) -> Problem {
    Problem {
        kind: "InternalError",
        message: format!("the machine refuses a thread: {error}"),
    }
}

/// Finds and compiles the definition, if that was not done yet, and loads its models.
fn prepare(
    pipeline: &Pipeline,
    built: Option<Built>,
) -> Result<(Arc<Fetched>, Replacement), Problem> {
    let built = match built {
        Some(built) => built,
        None => build(pipeline)?,
    };
    let before = pipeline.state().problem.clone();
    pipeline.enter(Phase::Loading, before);
    let spec = &pipeline.spec;
    warm(&built.plan, &spec.parameters, &pipeline.services).map_err(|message| Problem {
        kind: "ModelError",
        message,
    })?;
    let image_input = match &spec.image_input {
        Some(name) => name.clone(),
        None => {
            let first = built.plan.image_inputs().next();
            first.map(|input| input.name.to_string()).ok_or(Problem {
                kind: "WorkflowDefinitionError",
                message: "the definition has no image input to feed frames to".into(),
            })?
        }
    };
    pipeline.state().provenance = Some(built.provenance.clone());
    let replacement = Replacement {
        engine: built.engine,
        provenance: built.provenance,
        image_input,
    };
    Ok((built.fetched, replacement))
}

fn build(pipeline: &Pipeline) -> Result<Built, Problem> {
    let fetched = pipeline
        .spec
        .definition
        .fetch(&pipeline.host.store, pipeline.clock())
        .map_err(|error| Problem {
            kind: "DefinitionError",
            message: error.to_string(),
        })?;
    let failed = |error: crate::definition::error::WorkflowError| Problem {
        kind: error.class.name(),
        message: error.to_string(),
    };
    let services = pipeline.services.clone();
    let (wanted, key) = (&pipeline.spec.definition, services.api_key.clone());
    let compiled = wanted.compile(&fetched, &pipeline.host.store, key);
    let plan = Arc::new(compiled.plan.map_err(failed)?);
    let engine = Engine::new(plan.clone(), services, InputOptions::default()).map_err(failed)?;
    Ok(Built {
        fetched,
        plan,
        provenance: compiled.provenance,
        engine,
    })
}
