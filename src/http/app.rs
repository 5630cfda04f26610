//! What the handlers share, and how a workflow runs on a request.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::body::BodyLimits;
use super::plans::Plans;
use super::process::{Process, RunningStream};
use super::rejection::Rejection;
use super::traffic::Traffic;
use crate::blocks::Services;
use crate::definitions::{ApiKey, Demand, Fetched, Provenance, StoreLibrary};
use crate::delivery::RemoteWorkflows;
use crate::engine::{Engine, RuntimeInput, RuntimeInputs};
use crate::fleet::Fleet;
use crate::plan::Plan;
use crate::profile::Profile;
use crate::values::deserialise::InputOptions;
use crate::values::serialise::OutputOptions;
use crate::webrtc::{self, Sessions};

/// How the server behaves.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Limits on bodies.
    pub body: BodyLimits,
    /// Requests that run at once; others wait.
    pub workers: NonZeroUsize,
    /// How long a request waits for its turn before it is told to come back.
    pub patience: Duration,
    /// Compiled definitions that are kept.
    pub plans: NonZeroUsize,
    /// What everyone but those who ask for health must show, if set.
    pub token: Option<String>,
    /// `ALLOW_API_KEY_FROM_HEADERS`, true.
    pub keys_from_headers: bool,
    /// `ENABLE_WORKFLOWS_PROFILING`, false.
    pub profiling: bool,
    /// `ALLOW_ORIGINS`, `*`: who may call from a browser.
    pub origins: Vec<String>,
    /// `INFERENCE_SERVER_ID`, else six random letters and digits.
    pub server_id: String,
    /// `WORKSPACES_WHITELISTED_FOR_LOCAL_DEPLOYMENT`: workspaces whose keys may call; all if empty.
    pub workspaces: Vec<String>,
    /// `LEGACY_ROUTE_ENABLED`, true.
    pub legacy_route: bool,
    /// `ENABLE_BUILDER`, false: whether the local editor's routes exist.
    pub builder: bool,
    /// `BUILDER_ORIGIN`: where the page of the editor loads it from.
    pub builder_origin: String,
    /// WebRTC sessions.
    pub webrtc: webrtc::Settings,
    /// Folder of what is saved by the local editor (`MODEL_CACHE_DIR`).
    pub cache_dir: PathBuf,
}

impl Default for ServerSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            body: BodyLimits {
                bytes: 64 << 20,
                time: Duration::from_secs(60),
            },
            // Images by URL keep a worker waiting, so there are more than cores.
            workers: cores.saturating_mul(NonZeroUsize::MIN.saturating_add(3)),
            patience: Duration::from_secs(30),
            plans: NonZeroUsize::MIN.saturating_add(255),
            token: None,
            keys_from_headers: true,
            profiling: false,
            origins: vec!["*".into()],
            server_id: uuid::Uuid::new_v4().simple().to_string()[..6].to_owned(),
            workspaces: Vec::new(),
            legacy_route: true,
            builder: false,
            builder_origin: "https://app.roboflow.com".into(),
            webrtc: webrtc::Settings::default(),
            cache_dir: PathBuf::from("/tmp/cache"),
        }
    }
}

/// What the handlers share.
pub struct App {
    /// The process.
    pub process: Arc<Process>,
    /// What blocks use.
    pub services: Services,
    /// What inputs may hold.
    pub input: InputOptions,
    /// How the server behaves.
    pub settings: ServerSettings,
    /// What was asked and answered.
    pub traffic: Traffic,
    /// Pipelines that clients and the file of streams start.
    pub fleet: Arc<Fleet>,
    /// Sessions over WebRTC.
    pub sessions: Arc<Sessions>,
    plans: Plans,
    turns: Arc<Semaphore>,
    /// Workspaces by the hash of a key, and until when that is believed.
    workspaces: DashMap<[u8; 32], (String, Duration)>,
}

/// How long the platform's word on a key is believed.
const KEY_IS_KNOWN_FOR: Duration = Duration::from_secs(3_600);

/// One run of a workflow.
pub struct Order {
    /// The definition.
    pub fetched: Arc<Fetched>,
    /// What the request calls it: `workspace/workflow`, with `@version` if it is pinned; none if it came
    /// with the request.
    pub id: Option<String>,
    /// Inputs as the client sends them.
    pub inputs: Map<String, Value>,
    /// Outputs that the client does not want.
    pub excluded: Vec<String>,
    /// Whether sinks do nothing.
    pub disable_sinks: bool,
    /// Where the time went, if that is wanted.
    pub profile: Option<Profile>,
    /// Whether the answer names the definition.
    pub name_definition: bool,
    /// The caller's key.
    pub api_key: Option<ApiKey>,
    /// Dispatches of inner workflows that led to this run.
    pub dispatch_depth: u32,
}

/// What came of a run.
pub struct Done {
    /// The body of the answer.
    pub body: Bytes,
    /// Which definitions made it.
    pub provenance: Provenance,
}

impl App {
    /// Shared state of a process.
    pub fn new(
        process: Arc<Process>,
        services: Services,
        input: InputOptions,
        fleet: Arc<Fleet>,
        settings: ServerSettings,
    ) -> Self {
        let (store, own) = (process.store.clone(), settings.webrtc.clone());
        let sessions = Sessions::new(services.clone(), store, own);
        Self {
            plans: Plans::new(settings.plans),
            turns: Arc::new(Semaphore::new(settings.workers.get())),
            traffic: Traffic::default(),
            fleet,
            sessions: Arc::new(sessions),
            workspaces: DashMap::new(),
            process,
            services,
            input,
            settings,
        }
    }

    /// The definition that a path names. The folder of definitions (`--pipelines`) is looked at for
    /// the workspace `local`.
    ///
    /// # Errors
    /// If it cannot be had.
    pub async fn definition(
        &self,
        workspace: &str,
        workflow: &str,
        version: Option<&str>,
        api_key: Option<ApiKey>,
        demand: Demand,
    ) -> Result<Arc<Fetched>, Rejection> {
        let store = &self.process.store;
        let key = store.key_of(workspace, workflow, version, api_key);
        Ok(store.get(&key, demand).await?)
    }

    /// The workspace that a key belongs to, if the platform knows it or knew it within the hour.
    pub async fn workspace_of(&self, key: &str) -> Option<String> {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let now = self.services.clock.monotonic();
        if let Some(known) = self.workspaces.get(&digest)
            && now < known.1
        {
            return Some(known.0.clone());
        }
        match self.process.store.workspace_of(ApiKey::new(key)).await {
            Ok(Some(workspace)) => {
                self.workspaces.retain(|_, known| now < known.1);
                let known = (workspace.clone(), now + KEY_IS_KNOWN_FOR);
                self.workspaces.insert(digest, known);
                Some(workspace)
            }
            Ok(None) => None,
            Err(error) => {
                tracing::warn!(%error, "a key cannot be checked");
                None
            }
        }
    }

    /// Whether the server has a key of its own for callers that bring none.
    pub fn has_own_key(&self) -> bool {
        self.process.store.settings().api_key.is_some()
    }

    /// The streams of the process: its own, those of the fleet that run, and those of sessions.
    pub fn streams(&self) -> Vec<RunningStream> {
        let of_fleet = self.fleet.streams().into_iter().filter_map(|stream| {
            Some(RunningStream {
                name: stream.id,
                definition: stream.definition,
                figures: stream.figures?,
                cache: stream.cache,
            })
        });
        let of_sessions = self.sessions.streams().into_iter().filter_map(|session| {
            Some(RunningStream {
                name: session.id,
                definition: session.definition,
                figures: session.figures?,
                cache: session.cache,
            })
        });
        let own = self.process.streams().into_iter();
        own.chain(of_fleet).chain(of_sessions).collect()
    }

    /// Whether all that has to be there for the first request is there.
    pub fn is_ready(&self) -> bool {
        self.services.models.preloading().is_done()
    }

    /// The plan of a definition, for the caller with this key, and what is in it. Waits for definitions that inner
    /// workflows name.
    ///
    /// # Errors
    /// If it does not compile.
    pub fn plan(
        &self,
        fetched: &Fetched,
        api_key: Option<&ApiKey>,
    ) -> Result<(Arc<Plan>, Provenance), Rejection> {
        let store = &self.process.store;
        let library = StoreLibrary::new(store, api_key.cloned());
        let plan = self.plans.get(fetched, &library.inner_workflows())?;
        let provenance = store.provenance(&fetched.stamp, None, &library.given());
        Ok((plan, provenance))
    }

    /// How many plans are kept.
    pub fn plan_count(&self) -> usize {
        self.plans.len()
    }

    /// Does something that takes time in a thread of its own, when it is its turn.
    ///
    /// # Errors
    /// If there is no turn in time, or the work fails.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
    ) -> Result<T, Rejection> {
        let turn = self.turns.clone().acquire_owned();
        let turn = match tokio::time::timeout(self.settings.patience, turn).await {
            Ok(Ok(turn)) => turn,
            _ => return Err(Rejection::Busy),
        };
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await?
    }

    /// Makes an engine for one request: its blocks start without memory of other requests.
    ///
    /// # Errors
    /// If the definition does not compile or a block refuses its parameters.
    pub fn engine(&self, order: &Order) -> Result<(Engine, Provenance), Rejection> {
        let (plan, provenance) = self.plan(&order.fetched, order.api_key.as_ref())?;
        let remote = &self.services.remote;
        let own_key = order.api_key.as_ref().map(|key| key.expose().into());
        let services = Services {
            cache: Arc::default(),
            remote: Arc::new(RemoteWorkflows {
                depth: order.dispatch_depth,
                api_key: own_key.or_else(|| remote.api_key.clone()),
                ..(**remote).clone()
            }),
            disable_sinks: order.disable_sinks || self.services.disable_sinks,
            profile: order.profile.clone(),
            api_key: order.api_key.clone(),
            ..self.services.clone()
        };
        let mut engine = Engine::new(plan, services, self.input.clone())?;
        engine.name_definition(provenance.on_requests(order.id.as_deref()));
        Ok((engine, provenance))
    }

    /// Runs a workflow and writes the answer.
    ///
    /// # Errors
    /// If the definition does not compile, an input does not fit, or a step fails.
    pub fn execute(&self, mut order: Order) -> Result<Done, Rejection> {
        let (mut engine, provenance) = self.engine(&order)?;
        let inputs: RuntimeInputs = std::mem::take(&mut order.inputs)
            .into_iter()
            .map(|(name, json)| (name, RuntimeInput::Json(json)))
            .collect();
        let run = engine.execute(&inputs)?;
        let plan = engine.plan().clone();
        let now = self.services.clock.now();
        let options = OutputOptions::new(now);
        let write = || -> Result<Vec<Map<String, Value>>, Rejection> {
            let objects = run.produced(&plan).into_iter();
            let object = |outputs: Vec<crate::engine::Produced<'_>>| {
                let wanted = outputs
                    .into_iter()
                    .filter(|output| !order.excluded.iter().any(|name| **name == **output.name));
                wanted
                    .map(|output| Ok((output.name.to_string(), output.to_json(&plan, &options)?)))
                    .collect()
            };
            objects.map(object).collect()
        };
        let outputs = match &order.profile {
            Some(profile) => profile.measure("workflow_outputs_serialisation", write),
            None => write(),
        }?;
        let mut answer = Map::new();
        answer.insert("outputs".into(), outputs.into());
        let trace = order.profile.as_ref().map(Profile::events);
        answer.insert("profiler_trace".into(), trace.unwrap_or_default().into());
        if order.name_definition {
            answer.insert("definition".into(), provenance.to_json(now));
        }
        let body = serde_json::to_vec(&answer)
            .map_err(|e| Rejection::Internal(format!("the answer cannot be written: {e}")))?;
        Ok(Done {
            body: body.into(),
            provenance,
        })
    }
}
