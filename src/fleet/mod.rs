//! The pipelines of this process: created, looked at, paused, consumed and ended by clients, or kept
//! as a file says (server specification 4.6).
//!
//! A pipeline is a definition on one source or several, with a buffer of results. It goes through
//! [`Phase`]s: it waits for its definition, loads its models, runs, and ends with its sources.
//! - **It can be stopped in every phase**, within two seconds: what cannot be interrupted is left to
//!   itself, and what it brings is dropped.
//! - **A call that is refused leaves nothing behind.** A source that cannot be reached is tried for
//!   as long as the pipeline lives, and its status says so.
//! - **Results outlive the stream**: those of a pipeline that ended stay for a while
//!   ([`Settings::linger`], [`Settings::drained`]), then it is gone.
//! - **Nobody else notices** when a pipeline fails, hangs or has a block that panics.
//!
//! Definitions under a key are followed: new content reaches the running pipeline. For that a
//! [`crate::definitions::Refresher`] must run on the store.

mod consume;
pub mod declaration;
mod declared;
mod error;
mod health;
mod memory;
mod pipeline;
mod reference;
mod report;
pub mod request;
mod results;
mod runner;
mod settings;
mod spec;
#[cfg(test)]
mod tests;
mod updates;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use indexmap::IndexMap;
use serde_json::{Value as Json, json};
use uuid::Uuid;

pub use consume::Consumed;
pub use declared::{Declared, DeclaredError};
pub use error::FleetError;
pub use health::{Condition, StreamHealth};
pub use pipeline::Phase;
pub use results::{ResultsFigures, ResultsPolicy};
pub use settings::{SettingError, Settings};
pub use spec::{Buffering, Consumption, Filling, PipelineSpec, Wanted};

use crate::blocks::{CacheStore, Services};
use crate::clock::Clock;
use crate::definitions::{DefinitionKey, DefinitionStore};
use crate::engine::Engine;
use crate::sources::SourceSpec;
use crate::streams::Figures;
use crate::values::deserialise::InputOptions;
use memory::Release;
use pipeline::Pipeline;
use runner::Built;

/// How long a terminated pipeline may take to be gone.
const GOING: Duration = Duration::from_millis(1900);
/// How often pipelines are looked at that ended, or that nobody consumes.
const SWEEP: Duration = Duration::from_millis(250);

/// What all pipelines share.
struct Host {
    services: Services,
    store: Arc<DefinitionStore>,
    settings: Settings,
}

type Pipelines = IndexMap<Arc<str>, Arc<Pipeline>>;

/// The pipelines of this process. Dropping it stops them all.
pub struct Fleet {
    host: Arc<Host>,
    pipelines: Arc<Mutex<Pipelines>>,
    /// Pipelines that ended so far.
    ended: Arc<AtomicU64>,
    _sweeper: Sender<Infallible>,
}

/// A running stream of the fleet, as far as metrics need to know.
#[derive(Clone)]
pub struct FleetStream {
    /// The pipeline.
    pub id: String,
    /// Id of its definition.
    pub definition: String,
    /// Its figures, once it runs.
    pub figures: Option<Arc<Figures>>,
    /// What its cache blocks hold.
    pub cache: Arc<CacheStore>,
    /// How it is.
    pub health: StreamHealth,
    /// Its results that wait.
    pub results: ResultsFigures,
}

fn lock(pipelines: &Mutex<Pipelines>) -> MutexGuard<'_, Pipelines> {
    pipelines.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Fleet {
    /// A fleet without pipelines.
    ///
    /// # Errors
    /// If the machine refuses a thread.
    pub fn start(
        services: Services,
        store: Arc<DefinitionStore>,
        settings: Settings,
    ) -> std::io::Result<Self> {
        let pipelines: Arc<Mutex<Pipelines>> = Arc::default();
        let (sweeper, stopped) = bounded::<Infallible>(0);
        let swept = Arc::downgrade(&pipelines);
        let ended: Arc<AtomicU64> = Arc::default();
        let (gone, clock) = (ended.clone(), services.clock.clone());
        thread::Builder::new().name("fleet".into()).spawn(move || {
            let mut release = Release::default();
            while stopped.recv_timeout(SWEEP) == Err(RecvTimeoutError::Timeout) {
                let Some(pipelines) = swept.upgrade() else {
                    return;
                };
                sweep(&pipelines, &gone);
                release.look(gone.load(Ordering::Relaxed), &*clock);
            }
        })?;
        let host = Host {
            services,
            store,
            settings,
        };
        Ok(Self {
            host: Arc::new(host),
            pipelines,
            ended,
            _sweeper: sweeper,
        })
    }

    fn pipelines(&self) -> MutexGuard<'_, Pipelines> {
        lock(&self.pipelines)
    }

    fn find(&self, id: &str) -> Result<Arc<Pipeline>, FleetError> {
        let found = self.pipelines().get(id).cloned();
        found.ok_or_else(|| FleetError::Unknown { id: id.to_owned() })
    }

    /// How it behaves.
    pub fn settings(&self) -> &Settings {
        &self.host.settings
    }

    /// Creates a pipeline for a client, once its definition is found and compiles; answers its id.
    /// Models are loaded and sources opened after that. Waits for the platform.
    ///
    /// # Errors
    /// If there are too many pipelines, or the definition cannot be had or does not compile; then
    /// nothing is left behind.
    pub fn initialise(&self, mut spec: PipelineSpec) -> Result<String, FleetError> {
        self.check_room(&self.pipelines())?;
        self.look_in_folder(&mut spec.definition);
        let id = self.free_id(&spec)?;
        let pipeline = Pipeline::new(id.clone(), spec, self.host.clone());
        let wanted = &pipeline.spec.definition;
        let fetched = wanted.fetch(&self.host.store, pipeline.clock())?;
        let services = pipeline.services.clone();
        let key = services.api_key.clone();
        let compiled = wanted.compile(&fetched, &self.host.store, key);
        let plan = Arc::new(compiled.plan?);
        let engine = Engine::new(plan.clone(), services, InputOptions::default())?;
        let built = Built {
            fetched,
            plan,
            provenance: compiled.provenance,
            engine,
        };
        self.insert(pipeline, Some(built))
    }

    /// Creates a pipeline that goes on whatever happens: its definition is waited for, and what
    /// fails is tried again.
    ///
    /// # Errors
    /// If its name is taken or the machine refuses a thread.
    pub fn keep(&self, mut spec: PipelineSpec) -> Result<String, FleetError> {
        spec.persistent = true;
        self.look_in_folder(&mut spec.definition);
        let id = self.free_id(&spec)?;
        self.insert(Pipeline::new(id, spec, self.host.clone()), None)
    }

    /// Definitions of the workspace `local` may be in the watched folder.
    fn look_in_folder(&self, wanted: &mut Wanted) {
        if let Wanted::Key(DefinitionKey::Local(id)) = wanted
            && let Ok(names) = self.host.store.folder_names()
            && names.iter().any(|name| **name == **id)
        {
            *wanted = Wanted::Key(DefinitionKey::folder(id));
        }
    }

    fn free_id(&self, spec: &PipelineSpec) -> Result<Arc<str>, FleetError> {
        match &spec.name {
            None => Ok(Uuid::new_v4().to_string().into()),
            Some(name) if self.pipelines().contains_key(name.as_str()) => {
                Err(FleetError::Taken { id: name.clone() })
            }
            Some(name) => Ok(name.as_str().into()),
        }
    }

    fn check_room(&self, pipelines: &Pipelines) -> Result<(), FleetError> {
        let limit = self.host.settings.max_pipelines;
        let counts = |p: &&Arc<Pipeline>| !p.spec.persistent && !p.state().phase.is_over();
        match pipelines.values().filter(counts).count() < limit {
            true => Ok(()),
            false => Err(FleetError::Full { limit }),
        }
    }

    fn insert(&self, pipeline: Pipeline, built: Option<Built>) -> Result<String, FleetError> {
        let pipeline = Arc::new(pipeline);
        let id = pipeline.id.clone();
        let mut pipelines = self.pipelines();
        if !pipeline.spec.persistent {
            self.check_room(&pipelines)?;
        }
        if pipelines.contains_key(&id) {
            return Err(FleetError::Taken { id: id.to_string() });
        }
        runner::start(&pipeline, built).map_err(|e| FleetError::Machine(e.to_string()))?;
        pipelines.insert(id.clone(), pipeline);
        tracing::info!(pipeline = %id, "started");
        Ok(id.to_string())
    }

    /// Ids of the pipelines, oldest first.
    pub fn list(&self) -> Vec<String> {
        self.pipelines().keys().map(ToString::to_string).collect()
    }

    /// What a pipeline is doing.
    ///
    /// # Errors
    /// If there is none of this id.
    pub fn phase(&self, id: &str) -> Result<Phase, FleetError> {
        Ok(self.find(id)?.state().phase)
    }

    /// The status of a pipeline, in the reference's shape with the own part under `millrace`.
    ///
    /// # Errors
    /// If there is none of this id.
    pub fn status(&self, id: &str) -> Result<Json, FleetError> {
        Ok(report::status(&*self.find(id)?))
    }

    /// Pauses a pipeline.
    ///
    /// # Errors
    /// If there is none of this id, or it does not run.
    pub fn pause(&self, id: &str) -> Result<(), FleetError> {
        self.find(id)?.pause(true)
    }

    /// Lets a paused pipeline go on.
    ///
    /// # Errors
    /// If there is none of this id, or it does not pause.
    pub fn resume(&self, id: &str) -> Result<(), FleetError> {
        self.find(id)?.pause(false)
    }

    /// Ends a pipeline and drops its results. Returns when its threads are gone, after two seconds at
    /// the latest.
    ///
    /// # Errors
    /// If there is none of this id.
    pub fn terminate(&self, id: &str) -> Result<(), FleetError> {
        let removed = self.pipelines().shift_remove(id);
        let pipeline = removed.ok_or_else(|| FleetError::Gone { id: id.to_owned() })?;
        pipeline.tell_stop();
        if !pipeline.wait_end(GOING) {
            tracing::warn!(pipeline = %id, "what is left of it ends by itself");
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
        tracing::info!(pipeline = %id, "terminated");
        Ok(())
    }

    /// Takes the oldest result of a pipeline, without the outputs of these names; `None` if none
    /// waits. Pictures are encoded here.
    ///
    /// # Errors
    /// If there is no pipeline of this id.
    pub fn consume(&self, id: &str, excluded: &[String]) -> Result<Option<Consumed>, FleetError> {
        let pipeline = self.find(id)?;
        let kept = pipeline.results.pop();
        if kept.is_some() {
            pipeline.state().last_consumed = Some(pipeline.now());
        }
        Ok(kept.map(|kept| consume::consumed(&kept, excluded, pipeline.clock())))
    }

    /// Adds a source to a pipeline; answers its number, which none of its sources ever had.
    ///
    /// # Errors
    /// If there is no pipeline of this id, it is over, or the source cannot be opened.
    pub fn add_source(&self, id: &str, source: SourceSpec) -> Result<usize, FleetError> {
        self.find(id)?.add_source(source)
    }

    /// Takes a source away from a pipeline; the others go on.
    ///
    /// # Errors
    /// If there is no such pipeline or source, or it is the last.
    pub fn remove_source(&self, id: &str, number: usize) -> Result<(), FleetError> {
        self.find(id)?.remove_source(number)
    }

    /// Gives a pipeline these sources: takes away those that are not among them, adds those that it
    /// has not. The others are not touched.
    ///
    /// # Errors
    /// If there is no pipeline of this id, it is over, or a source cannot be opened; then those that
    /// were there stay.
    pub fn set_sources(&self, id: &str, sources: &[SourceSpec]) -> Result<(), FleetError> {
        self.find(id)?.set_sources(sources)
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.host.services.clock.clone()
    }

    /// How every stream is.
    pub fn health(&self) -> Vec<StreamHealth> {
        self.snapshot().iter().map(health_of).collect()
    }

    /// How every stream is, as JSON: `status` is `healthy` or `degraded`.
    pub fn health_json(&self) -> Json {
        let health = self.health();
        let ill = health.iter().any(|stream| stream.condition.is_ill());
        json!({
            "status": if ill { "degraded" } else { "healthy" },
            "streams": health.iter().map(StreamHealth::to_json).collect::<Json>(),
        })
    }

    /// Every stream, for metrics.
    pub fn streams(&self) -> Vec<FleetStream> {
        let stream = |pipeline: &Arc<Pipeline>| FleetStream {
            id: pipeline.id.to_string(),
            definition: pipeline.spec.definition.name(),
            figures: pipeline.state().figures.clone(),
            cache: pipeline.services.cache.clone(),
            health: health_of(pipeline),
            results: pipeline.results.figures(),
        };
        self.snapshot().iter().map(stream).collect()
    }

    fn snapshot(&self) -> Vec<Arc<Pipeline>> {
        self.pipelines().values().cloned().collect()
    }

    /// Ends all pipelines, side by side.
    pub fn shut_down(&self) {
        let all: Vec<Arc<Pipeline>> = self.pipelines().drain(..).map(|(_, p)| p).collect();
        all.iter().for_each(|pipeline| pipeline.tell_stop());
        let clock = &self.host.services.clock;
        let until = clock.monotonic() + GOING;
        for pipeline in all {
            if !pipeline.wait_end(until.saturating_sub(clock.monotonic())) {
                tracing::warn!(pipeline = %pipeline.id, "what is left of it ends by itself");
            }
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn health_of(pipeline: &Arc<Pipeline>) -> StreamHealth {
    StreamHealth {
        id: pipeline.id.to_string(),
        condition: health::of(pipeline),
        restarts: pipeline.state().restarts.len(),
    }
}

/// Removes pipelines that ended and whose results were taken or are too old, and ends those that
/// nobody consumes.
fn sweep(pipelines: &Mutex<Pipelines>, ended: &AtomicU64) {
    let all: Vec<Arc<Pipeline>> = lock(pipelines).values().cloned().collect();
    for pipeline in all.iter().filter(|pipeline| is_due(pipeline)) {
        tracing::info!(pipeline = %pipeline.id, "removed");
        pipeline.tell_stop();
        ended.fetch_add(1, Ordering::Relaxed);
        let mut pipelines = lock(pipelines);
        let same = |known: &Arc<Pipeline>| Arc::ptr_eq(known, pipeline);
        if pipelines.get(&pipeline.id).is_some_and(same) {
            pipelines.shift_remove(&pipeline.id);
        }
    }
}

fn is_due(pipeline: &Pipeline) -> bool {
    let now = pipeline.now();
    let since = |at: Duration| now.saturating_sub(at);
    let settings = pipeline.settings();
    let state = pipeline.state();
    let unconsumed = since(state.last_consumed.unwrap_or(pipeline.started));
    if let Some(timeout) = pipeline.spec.consumption_timeout
        && unconsumed > timeout
    {
        return true;
    }
    if !state.phase.is_over() || pipeline.spec.persistent {
        return false;
    }
    let drained = state.last_consumed.is_some() && pipeline.results.figures().waiting == 0;
    since(state.since) >= settings.linger
        || (drained && unconsumed.min(since(state.since)) >= settings.drained)
}
