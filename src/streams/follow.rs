//! Brings new versions of a definition to the streams that run it.
//!
//! A [`Follower`] waits for changed content of one definition. What it gets it compiles, loads and
//! warms the models of, and makes an engine for each stream, all beside the streams; only then every
//! stream swaps, each at its next frame. Content that does not compile, that has no image input or
//! whose models cannot be loaded changes nothing: the streams go on, and the refusal stands in the
//! state of the definition ([`DefinitionStore::freshness`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, select};

use super::{CanaryPlan, CanaryUntil, Control, Replacement};
use crate::blocks::{Role, Services};
use crate::definitions::{
    DefinitionKey, DefinitionStore, Fetched, Refusal, StoreLibrary, Subscription,
};
use crate::engine::{Engine, RuntimeInput, RuntimeInputs};
use crate::plan::{Plan, PlanDifference};
use crate::values::deserialise::InputOptions;
use crate::values::{Image, Matrix, Value};

/// How often a follower that waits for a canary looks whether it should stop.
const TURN: Duration = Duration::from_millis(500);

/// A stream that follows a definition.
#[derive(Clone)]
pub struct Followed {
    /// Name of the stream.
    pub name: String,
    /// What moves it.
    pub control: Control,
    /// Services of its engines; the cache in them goes with the stream from engine to engine.
    pub services: Services,
}

/// What a follower needs to know of its definition.
pub struct FollowSpec {
    /// Where definitions come from.
    pub store: Arc<DefinitionStore>,
    /// The definition.
    pub key: DefinitionKey,
    /// What the streams run now.
    pub running: Arc<Fetched>,
    /// Parameters of the workflow: they may name models.
    pub parameters: RuntimeInputs,
    /// The input that gets the frames, while a new version still has it.
    pub image_input: String,
    /// How a new version is tried before the streams move; `None` moves at once.
    pub canary: Option<CanaryPlan>,
}

/// Follows one definition until it is dropped.
pub struct Follower {
    streams: Arc<Mutex<Vec<Followed>>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Follower {
    /// Starts to follow.
    ///
    /// # Errors
    /// If the definition cannot be followed or the machine refuses a thread.
    pub fn start(spec: FollowSpec) -> Result<Self, String> {
        let subscription = spec
            .store
            .subscribe(&spec.key, Some(spec.running.stamp.hash))
            .map_err(|e| e.to_string())?;
        let streams: Arc<Mutex<Vec<Followed>>> = Arc::default();
        let (stop, stopped) = bounded(0);
        let worker = Worker {
            spec,
            subscription,
            streams: streams.clone(),
            stopped,
        };
        let thread = thread::Builder::new()
            .name("follow".into())
            .spawn(move || worker.run())
            .map_err(|e| format!("the machine refuses a thread: {e}"))?;
        Ok(Self {
            streams,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Stops following without waiting for what is under way: a new version that is being compiled
    /// or whose models are being loaded is dropped when that is done.
    pub fn detach(mut self) {
        drop(self.stop.take());
        drop(self.thread.take());
    }

    /// Adds a stream that runs the definition.
    pub fn add(&self, stream: Followed) {
        lock(&self.streams).push(stream);
    }

    /// Names of the streams.
    pub fn streams(&self) -> Vec<String> {
        lock(&self.streams).iter().map(|s| s.name.clone()).collect()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It compiles what it is given behind typed errors and does not panic.
            let _ = thread.join();
        }
    }
}

fn lock(streams: &Mutex<Vec<Followed>>) -> MutexGuard<'_, Vec<Followed>> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream and what it moves to.
type Prepared = (Followed, Replacement);

struct Worker {
    spec: FollowSpec,
    subscription: Subscription,
    streams: Arc<Mutex<Vec<Followed>>>,
    stopped: Receiver<()>,
}

impl Worker {
    fn run(mut self) {
        let changes = self.subscription.changes().clone();
        let stopped = self.stopped.clone();
        loop {
            select! {
                recv(changes) -> fetched => match fetched {
                    Ok(fetched) => self.take(&fetched),
                    Err(_) => return,
                },
                // Nothing is ever sent: the other side is gone.
                recv(stopped) -> _ => return,
            }
            if self.is_stopped() {
                return;
            }
        }
    }

    fn take(&mut self, fetched: &Arc<Fetched>) {
        let hash = fetched.stamp.hash;
        let tried = self.try_out(fetched);
        let refusal = match tried.and_then(|()| self.prepare(fetched)) {
            Ok((replacements, change)) => {
                tracing::info!(definition = %self.spec.key, %hash, %change, "the streams move to a new definition");
                for (stream, replacement) in replacements {
                    if stream.control.swap(replacement).is_err() {
                        lock(&self.streams).retain(|other| other.name != stream.name);
                    }
                }
                self.spec.running = fetched.clone();
                None
            }
            Err(reason) => {
                tracing::warn!(definition = %self.spec.key, %hash, %reason, "a new definition was refused; the streams go on with the old one");
                Some(Refusal {
                    hash,
                    reason,
                    at: fetched.stamp.fetched_at,
                })
            }
        };
        self.spec.store.note_refusal(&self.spec.key, refusal);
    }

    /// Runs a new version beside the old one on the first stream, if that is wanted.
    fn try_out(&self, fetched: &Fetched) -> Result<(), String> {
        let (Some(plan), Some(stream)) = (self.spec.canary, lock(&self.streams).first().cloned())
        else {
            return Ok(());
        };
        let services = Services {
            disable_sinks: true,
            cache: Arc::default(),
            ..stream.services.clone()
        };
        let compiled = Arc::new(self.compile(fetched)?);
        warm(&compiled, &self.spec.parameters, &services)?;
        let image_input = self.image_input(&compiled)?;
        let engine =
            Engine::new(compiled, services, InputOptions::default()).map_err(|e| e.to_string())?;
        let replacement = Replacement {
            engine,
            stamp: fetched.stamp.clone(),
            image_input,
        };
        let reports = stream
            .control
            .canary(replacement, plan.frames)
            .map_err(|e| e.to_string())?;
        let report = loop {
            match reports.recv_timeout(TURN) {
                Ok(report) => break report,
                Err(RecvTimeoutError::Timeout) if !self.is_stopped() => {}
                Err(_) => return Err("the canary broke off".into()),
            }
        };
        let hash = fetched.stamp.hash;
        tracing::warn!(definition = %self.spec.key, %hash, stream = stream.name, "canary: {report}");
        match plan.until {
            CanaryUntil::Always => Ok(()),
            CanaryUntil::Equal if report.all_equal() => Ok(()),
            CanaryUntil::Equal => Err(format!("its canary was not equal: {report}")),
            CanaryUntil::Never => Err(format!("it was only tried: {report}")),
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected)
    }

    /// The input that gets the frames: the one of before while the plan has it, else its first.
    fn image_input(&self, plan: &Plan) -> Result<String, String> {
        let images: Vec<String> = plan.image_inputs().map(|i| i.name.to_string()).collect();
        let kept = images
            .iter()
            .find(|name| **name == self.spec.image_input)
            .or(images.first());
        kept.cloned()
            .ok_or_else(|| "it has no image input to feed frames to".into())
    }

    fn compile(&self, fetched: &Fetched) -> Result<Plan, String> {
        let library = StoreLibrary::inside(&self.spec.store, &self.spec.key);
        Plan::compile_with(&fetched.definition, &library.inner_workflows())
            .map_err(|e| e.to_string())
    }

    /// An engine per stream, warm; and what changes, in words.
    fn prepare(&mut self, fetched: &Fetched) -> Result<(Vec<Prepared>, String), String> {
        let plan = Arc::new(self.compile(fetched)?);
        let image_input = self.image_input(&plan)?;
        let streams = lock(&self.streams).clone();
        if let Some(stream) = streams.first() {
            warm(&plan, &self.spec.parameters, &stream.services)?;
        }
        let replacements = streams
            .into_iter()
            .map(|stream| {
                let engine = Engine::new(
                    plan.clone(),
                    stream.services.clone(),
                    InputOptions::default(),
                );
                let replacement = Replacement {
                    engine: engine.map_err(|e| e.to_string())?,
                    stamp: fetched.stamp.clone(),
                    image_input: image_input.clone(),
                };
                Ok((stream, replacement))
            })
            .collect::<Result<Vec<_>, String>>()?;
        // What ran before may name inner workflows that cannot be had any more.
        let change = match self.compile(&self.spec.running) {
            Ok(old) => in_words(&PlanDifference::between(&old, &plan)),
            Err(_) => "what ran before cannot be compared".into(),
        };
        Ok((replacements, change))
    }
}

fn in_words(difference: &PlanDifference) -> String {
    format!(
        "{} steps kept, added or changed: {}, gone or changed: {}",
        difference.kept.len(),
        list(&difference.added),
        list(&difference.dropped)
    )
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".into()
    } else {
        names.join(" ")
    }
}

/// Loads the models of a plan and runs each once, so that the first frame finds them ready.
///
/// # Errors
/// The model and why it cannot be used.
pub fn warm(plan: &Plan, parameters: &RuntimeInputs, services: &Services) -> Result<(), String> {
    for planned in plan
        .steps
        .iter()
        .filter(|p| p.step.spec.role == Role::Model)
    {
        let Some(id) = model_id(plan, &planned.step, parameters) else {
            continue;
        };
        let failed = |e: &dyn std::fmt::Display| format!("step `{}`: {e}", planned.step.name);
        let key = services.api_key.as_ref();
        let models = &services.models;
        models.preload_for(&id, key).map_err(|e| failed(&e))?;
        if let Ok(detector) = models.detector_for(&id, key) {
            let size = detector.input_size();
            let black = Image::new(
                Matrix::filled(size.width, size.height, &[0, 0, 0]),
                "warm-up".into(),
            );
            detector
                .detect(&[black], &Default::default())
                .map_err(|e| failed(&e))?;
        }
    }
    Ok(())
}

/// The model of a step: written out, given as a parameter, or a parameter's default.
fn model_id(
    plan: &Plan,
    step: &crate::definition::step::Step,
    parameters: &RuntimeInputs,
) -> Option<String> {
    use crate::definition::document::InputType;
    use crate::definition::selector::Selector;
    use crate::definition::step::FieldValue;
    step.spec.field_index("model_id")?;
    match step.field("model_id") {
        FieldValue::Literal(json, _) => json.as_str().map(str::to_owned),
        FieldValue::Selector(Selector::Input(name)) => match parameters.get(&**name) {
            Some(RuntimeInput::Json(json)) => json.as_str().map(str::to_owned),
            Some(RuntimeInput::Value(Value::Str(id))) => Some(id.to_string()),
            Some(RuntimeInput::Value(_)) => None,
            None => plan
                .inputs()
                .iter()
                .find(|i| i.name == *name)
                .and_then(|i| match &i.input_type {
                    InputType::Parameter(value) | InputType::Constant(value) => {
                        value.as_str().map(str::to_owned)
                    }
                    _ => None,
                }),
        },
        _ => None,
    }
}
