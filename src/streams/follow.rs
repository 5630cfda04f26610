//! Brings new versions of a definition to the streams that run it.
//!
//! A [`Follower`] waits for changed content of one definition and of those that it names as inner
//! workflows. What it gets it compiles, loads and warms the models of, and makes an engine for each
//! stream, all beside the streams; only then every stream swaps, each at its next frame. Content that
//! does not compile, that has no image input or whose models cannot be loaded changes nothing: the
//! streams go on, and the refusal stands in the state of the definition
//! ([`DefinitionStore::freshness`]). It is tried again when an inner workflow changes that it needs. A
//! stream that comes later than a change moves as soon as it is there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Select, Sender, bounded};

use super::{CanaryPlan, CanaryUntil, Control, Replacement, warm};
use crate::blocks::Services;
use crate::definitions::{
    ApiKey, Compiled, DefinitionKey, DefinitionStore, Fetched, Origin, Provenance, Refusal,
    Subscription,
};
use crate::engine::{Engine, RuntimeInputs};
use crate::plan::{Plan, PlanDifference};
use crate::values::deserialise::InputOptions;

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
    /// The definition; `None` for one that came with a request, of which only the inner workflows
    /// can change.
    pub key: Option<DefinitionKey>,
    /// The API key for what a definition without a key names.
    pub api_key: Option<ApiKey>,
    /// What the streams run now.
    pub running: Arc<Fetched>,
    /// Where that, and what it names, came from.
    pub provenance: Provenance,
    /// What it was compiled to.
    pub plan: Arc<Plan>,
    /// Parameters of the workflow: they may name models.
    pub parameters: RuntimeInputs,
    /// The input that gets the frames, while a new version still has it.
    pub image_input: String,
    /// How a new version is tried before the streams move; `None` moves at once.
    pub canary: Option<CanaryPlan>,
}

/// Follows one definition until it is dropped.
pub struct Follower {
    streams: Arc<Mutex<Vec<Member>>>,
    stop: Option<Sender<()>>,
    /// Tells that a stream was added.
    added: Sender<()>,
    thread: Option<JoinHandle<()>>,
}

/// A stream and how many moves it has made.
struct Member {
    stream: Followed,
    moves: u64,
}

impl Follower {
    /// Starts to follow.
    ///
    /// # Errors
    /// If the definition cannot be followed or the machine refuses a thread.
    pub fn start(spec: FollowSpec) -> Result<Self, String> {
        let own = spec.key.as_ref().map(|key| {
            let subscribed = spec.store.subscribe(key, Some(spec.running.stamp.hash));
            subscribed.map_err(|e| e.to_string())
        });
        let streams: Arc<Mutex<Vec<Member>>> = Arc::default();
        let (stop, stopped) = bounded(0);
        let (added, were_added) = bounded(1);
        let mut worker = Worker {
            own: own.transpose()?,
            inner: Vec::new(),
            newest: spec.running.clone(),
            streams: streams.clone(),
            moves: 0,
            stopped,
            added: were_added,
            spec,
        };
        worker.subscribe_inner(&worker.spec.provenance.clone(), &[]);
        let thread = thread::Builder::new()
            .name("follow".into())
            .spawn(move || worker.run())
            .map_err(|e| format!("the machine refuses a thread: {e}"))?;
        Ok(Self {
            streams,
            stop: Some(stop),
            added,
            thread: Some(thread),
        })
    }

    /// Stops following without waiting for what is under way: a new version that is being compiled
    /// or whose models are being loaded is dropped when that is done.
    pub fn detach(mut self) {
        drop(self.stop.take());
        drop(self.thread.take());
    }

    /// Adds a stream that runs the definition as it was when the follower was started. If the others
    /// have moved since, this one moves too.
    pub fn add(&self, stream: Followed) {
        lock(&self.streams).push(Member { stream, moves: 0 });
        // One word is enough for all that were added.
        let _ = self.added.try_send(());
    }

    /// Names of the streams.
    pub fn streams(&self) -> Vec<String> {
        let streams = lock(&self.streams);
        streams.iter().map(|m| m.stream.name.clone()).collect()
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

fn lock(streams: &Mutex<Vec<Member>>) -> MutexGuard<'_, Vec<Member>> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What changed.
enum Changed {
    Own(Arc<Fetched>),
    Inner,
    Streams,
}

/// A stream and what it moves to.
type Prepared = (Followed, Replacement);

struct Worker {
    spec: FollowSpec,
    own: Option<Subscription>,
    /// Of what the running definition names, and of what the newest one does.
    inner: Vec<(DefinitionKey, Subscription)>,
    /// The newest content, taken or refused.
    newest: Arc<Fetched>,
    streams: Arc<Mutex<Vec<Member>>>,
    /// How often the streams have moved.
    moves: u64,
    stopped: Receiver<()>,
    added: Receiver<()>,
}

impl Worker {
    fn run(mut self) {
        while let Some(changed) = self.wait() {
            match changed {
                Changed::Streams => self.catch_up(),
                Changed::Inner => self.take(&self.newest.clone()),
                Changed::Own(fetched) => {
                    self.newest = fetched;
                    self.take(&self.newest.clone());
                }
            }
            if self.is_stopped() {
                return;
            }
        }
    }

    /// Waits for a change; `None` once it should stop.
    fn wait(&self) -> Option<Changed> {
        let mut select = Select::new();
        // Nothing is ever sent: the other side is gone.
        let stop = select.recv(&self.stopped);
        let added = select.recv(&self.added);
        let inner = self.inner.iter().map(|(_, subscription)| subscription);
        let subscriptions: Vec<_> = self.own.iter().chain(inner).collect();
        for subscription in &subscriptions {
            select.recv(subscription.changes());
        }
        let ready = select.select();
        let at = ready.index();
        if at == stop {
            // An operation that was chosen has to be completed.
            let _ = ready.recv(&self.stopped);
            return None;
        }
        if at == added {
            return ready.recv(&self.added).ok().map(|()| Changed::Streams);
        }
        let first = added + 1;
        let fetched = ready.recv(subscriptions[at - first].changes()).ok()?;
        Some(match self.own.is_some() && at == first {
            true => Changed::Own(fetched),
            false => Changed::Inner,
        })
    }

    /// Subscribes to what the running definition names, and to what one that was tried names or
    /// lacks. Content that changed since it was compiled is told at once. Subscriptions that there
    /// are stay: of a content that was refused they do not tell again.
    fn subscribe_inner(&mut self, tried: &Provenance, missing: &[DefinitionKey]) {
        let named = tried.inner().iter().chain(self.spec.provenance.inner());
        let named = named.filter_map(|origin| Some((origin.key()?.clone(), Some(origin.hash()))));
        let mut before = std::mem::take(&mut self.inner);
        for (key, hash) in named.chain(missing.iter().map(|key| (key.clone(), None))) {
            if self.inner.iter().any(|(other, _)| *other == key) {
                continue;
            }
            let subscription = match before.iter().position(|(other, _)| *other == key) {
                Some(at) => before.swap_remove(at).1,
                None => match self.spec.store.subscribe(&key, hash) {
                    Ok(subscription) => subscription,
                    // A key that can have no definition has no changes either.
                    Err(_) => continue,
                },
            };
            self.inner.push((key, subscription));
        }
    }

    fn take(&mut self, fetched: &Arc<Fetched>) {
        let hash = fetched.stamp.hash;
        let name = self.name();
        let Compiled {
            plan,
            provenance,
            missing,
        } = self.compile(fetched);
        self.subscribe_inner(&provenance, &missing);
        if plan.is_ok() && provenance.is_same(&self.spec.provenance) {
            return self.note_refusal(None);
        }
        let plan = plan.map(Arc::new).map_err(|e| e.to_string());
        let ready = plan.and_then(|plan| {
            self.try_out(&plan, &provenance)?;
            let streams = self.streams_where(|_| true);
            Ok((self.prepare(streams, &plan, &provenance)?, plan))
        });
        match ready {
            Ok((replacements, plan)) => {
                let change = in_words(&PlanDifference::between(&self.spec.plan, &plan));
                tracing::info!(definition = %name, %hash, %change, "the streams move to a new definition");
                self.moves += 1;
                self.move_over(replacements);
                self.spec.running = fetched.clone();
                self.spec.plan = plan;
                self.spec.provenance = provenance;
                self.subscribe_inner(&self.spec.provenance.clone(), &[]);
                self.note_refusal(None);
            }
            Err(reason) => {
                tracing::warn!(definition = %name, %hash, %reason, "a new definition was refused; the streams go on with the old one");
                self.note_refusal(Some((&provenance, reason)));
            }
        }
    }

    fn streams_where(&self, fits: impl Fn(&Member) -> bool) -> Vec<Followed> {
        let streams = lock(&self.streams);
        let fitting = streams.iter().filter(|member| fits(member));
        fitting.map(|member| member.stream.clone()).collect()
    }

    /// Moves streams; those that have ended are forgotten.
    fn move_over(&self, replacements: Vec<Prepared>) {
        for (stream, replacement) in replacements {
            let moved = stream.control.swap(replacement).is_ok();
            let mut streams = lock(&self.streams);
            match streams.iter_mut().find(|m| m.stream.name == stream.name) {
                Some(member) if moved => member.moves = self.moves,
                _ => streams.retain(|member| member.stream.name != stream.name),
            }
        }
    }

    /// Moves the streams that were added after the others had moved.
    fn catch_up(&self) {
        let late = self.streams_where(|member| member.moves < self.moves);
        if late.is_empty() {
            return;
        }
        match self.prepare(late, &self.spec.plan, &self.spec.provenance) {
            Ok(replacements) => self.move_over(replacements),
            Err(reason) => {
                tracing::error!(definition = %self.name(), %reason, "a stream that was added goes on with the definition that it was started with");
            }
        }
    }

    fn name(&self) -> String {
        match &self.spec.key {
            Some(key) => key.to_string(),
            None => "inline".into(),
        }
    }

    /// Notes in the state of each definition that changed that this content of it was refused, or
    /// that the newest was taken.
    fn note_refusal(&self, refused: Option<(&Provenance, String)>) {
        let store = &self.spec.store;
        let Some((tried, reason)) = refused else {
            let inner = self.spec.provenance.inner().iter().filter_map(Origin::key);
            for key in self.spec.key.iter().chain(inner) {
                store.note_refusal(key, None);
            }
            return;
        };
        let running = |key: &DefinitionKey| {
            let mut inner = self.spec.provenance.inner().iter();
            inner.find(|origin| origin.key() == Some(key))
        };
        let changed = tried.inner().iter().filter_map(|origin| {
            let key = origin.key()?;
            let same = running(key).is_some_and(|was| was.hash() == origin.hash());
            (!same).then(|| (key, origin.stamp()))
        });
        let own = self.spec.key.iter().map(|key| (key, tried.stamp()));
        for (key, stamp) in own.chain(changed) {
            let refusal = Refusal {
                hash: stamp.hash,
                reason: reason.clone(),
                at: stamp.fetched_at,
            };
            store.note_refusal(key, Some(refusal));
        }
    }

    /// Runs a new version beside the old one on the first stream, if that is wanted.
    fn try_out(&self, compiled: &Arc<Plan>, provenance: &Provenance) -> Result<(), String> {
        let first = lock(&self.streams).first().map(|m| m.stream.clone());
        let (Some(plan), Some(stream)) = (self.spec.canary, first) else {
            return Ok(());
        };
        let services = Services {
            disable_sinks: true,
            cache: Arc::default(),
            ..stream.services.clone()
        };
        warm(compiled, &self.spec.parameters, &services)?;
        let image_input = self.image_input(compiled)?;
        let engine = Engine::new(compiled.clone(), services, InputOptions::default());
        let replacement = Replacement {
            engine: engine.map_err(|e| e.to_string())?,
            provenance: provenance.clone(),
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
        let (name, hash) = (self.name(), provenance.hash());
        tracing::warn!(definition = %name, %hash, stream = stream.name, "canary: {report}");
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

    fn compile(&self, fetched: &Fetched) -> Compiled {
        let FollowSpec { key, api_key, .. } = &self.spec;
        let store = &self.spec.store;
        store.compile(fetched, key.as_ref(), api_key.clone())
    }

    /// An engine per stream, warm.
    fn prepare(
        &self,
        streams: Vec<Followed>,
        plan: &Arc<Plan>,
        provenance: &Provenance,
    ) -> Result<Vec<Prepared>, String> {
        let image_input = self.image_input(plan)?;
        if let Some(stream) = streams.first() {
            warm(plan, &self.spec.parameters, &stream.services)?;
        }
        let prepared = streams.into_iter().map(|stream| {
            let services = stream.services.clone();
            let engine = Engine::new(plan.clone(), services, InputOptions::default());
            let replacement = Replacement {
                engine: engine.map_err(|e| e.to_string())?,
                provenance: provenance.clone(),
                image_input: image_input.clone(),
            };
            Ok((stream, replacement))
        });
        prepared.collect()
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
