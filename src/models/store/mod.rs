//! The models of a process: found by id in a folder of packages, else in the cache and on the
//! platform; loaded on first use, shared.
//!
//! Concurrent first requests for a model load it once; the later ones wait, and requests for other
//! models do not. Ids that name the same weights share their session. A failure to load is
//! remembered for two seconds, so that a stream with a broken package does not try anew on each
//! frame, and a mended package is found soon. A package or registry entry added later is found
//! without a restart. An API key comes with a call, else that of the process is used; what is in
//! memory is given to any key, as the reference does.

mod facts;
mod loaded;
mod memory;
mod preload;
mod slot;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use dashmap::DashMap;

use self::facts::FileHash;
use self::loaded::{Loaded, Model, wrong_task};
use self::preload::Preloads;
use self::slot::{Slot, Turn};
use super::package::{Package, RecommendedParameters, Task};
use super::registry::Registry;
use super::remote::Remote;
use super::runtime::RuntimeSettings;
use super::settings::{Limits, Settings};
use super::weights::Weights;
use super::{Detector, ModelError, Source, aliases, usage};
use crate::clock::{Clock, SystemClock};
use crate::definitions::ApiKey;

pub use facts::{ModelInfo, RegistryRow};
pub use preload::Preloading;

/// From so many places on, those of failed loads are looked through.
const MANY: usize = 256;

/// The models of a process.
pub struct ModelStore {
    registry: Option<RwLock<Registry>>,
    folder: PathBuf,
    remote: Option<Remote>,
    runtime: RuntimeSettings,
    limits: Limits,
    clock: Arc<dyn Clock>,
    models: DashMap<Arc<str>, Arc<Slot>>,
    weights: DashMap<PathBuf, Arc<Mutex<Weak<Weights>>>>,
    hashes: DashMap<PathBuf, FileHash>,
    /// Counts uses.
    turn: AtomicU64,
    evicting: Mutex<()>,
    preloads: Preloads,
}

impl Default for ModelStore {
    fn default() -> Self {
        Self {
            registry: None,
            folder: PathBuf::new(),
            remote: None,
            runtime: RuntimeSettings::default(),
            limits: Limits::default(),
            clock: Arc::new(SystemClock::default()),
            models: DashMap::new(),
            weights: DashMap::new(),
            hashes: DashMap::new(),
            turn: AtomicU64::new(0),
            evicting: Mutex::new(()),
            preloads: Preloads::default(),
        }
    }
}

impl std::fmt::Debug for ModelStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelStore({})", self.folder.display())
    }
}

impl ModelStore {
    /// A store on a folder of packages alone, without limits. No model is loaded yet.
    ///
    /// # Errors
    /// If the folder or its registry cannot be read.
    pub fn open(
        folder: impl Into<PathBuf>,
        runtime: RuntimeSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ModelError> {
        let folder = folder.into();
        Ok(Self {
            registry: Some(RwLock::new(Registry::read(&folder)?)),
            folder,
            runtime,
            clock,
            ..Self::default()
        })
    }

    /// A store on a folder of packages (if any), the cache and the platform. Nothing is asked yet.
    ///
    /// # Errors
    /// If the folder or its registry cannot be read.
    pub fn connect(
        folder: Option<&Path>,
        runtime: RuntimeSettings,
        settings: Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ModelError> {
        let local = match folder {
            Some(folder) => Self::open(folder, runtime, clock.clone())?,
            None => Self {
                runtime,
                clock: clock.clone(),
                ..Self::default()
            },
        };
        Ok(Self {
            limits: settings.limits.clone(),
            remote: Some(Remote::new(settings, clock)),
            ..local
        })
    }

    /// The folder of packages; `None` for a store without one.
    pub fn folder(&self) -> Option<&Path> {
        self.registry.is_some().then_some(&*self.folder)
    }

    /// The settings of cache and platform; `None` for a store without them.
    pub fn settings(&self) -> Option<&Settings> {
        self.remote.as_ref().map(Remote::settings)
    }

    /// The detection model of this id, loaded with the key of the process if it is not yet.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn detector(&self, id: &str) -> Result<Arc<Detector>, ModelError> {
        self.detector_for(id, None)
    }

    /// The same with the key of a request; `None` stands for that of the process.
    ///
    /// # Errors
    /// If it cannot be had; [`ModelError::Busy`] if another request has been loading it for longer
    /// than one waits.
    pub fn detector_for(
        &self,
        id: &str,
        key: Option<&ApiKey>,
    ) -> Result<Arc<Detector>, ModelError> {
        let Model::Detector(detector) = self.model(id, key, Some(&Task::ObjectDetection))?;
        Ok(detector)
    }

    /// Loads a model of whatever family, so that a later request finds it warm.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn preload(&self, id: &str) -> Result<(), ModelError> {
        self.preload_for(id, None)
    }

    /// The same with the key of a request.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn preload_for(&self, id: &str, key: Option<&ApiKey>) -> Result<(), ModelError> {
        self.model(id, key, None).map(drop)
    }

    /// What the model of this id does. Its weights are not loaded for that, but the platform may be
    /// asked.
    ///
    /// # Errors
    /// If nobody can tell.
    pub fn task(&self, id: &str) -> Result<Task, ModelError> {
        self.task_for(id, None)
    }

    /// The same with the key of a request.
    ///
    /// # Errors
    /// If nobody can tell.
    pub fn task_for(&self, id: &str, key: Option<&ApiKey>) -> Result<Task, ModelError> {
        let slot = self.models.get(id).map(|slot| slot.value().clone());
        if let Some(loaded) = slot.as_ref().and_then(|slot| slot.ready()) {
            return Ok(loaded.task());
        }
        match (self.find(id), &self.remote) {
            (Some((folder, _)), _) => Ok(Package::open(&folder)?.task),
            (None, Some(remote)) => remote.task(id, self.key(key)),
            (None, None) => Err(self.unknown(id)),
        }
    }

    /// Gives up a model; `false` if it is not in memory. Its memory is free when the last run with
    /// it ends.
    pub fn unload(&self, id: &str) -> bool {
        let meant = aliases::meant_by(id).unwrap_or(id);
        let same = |known: &str| known == id || aliases::meant_by(known).unwrap_or(known) == meant;
        let before = self.in_memory().len();
        self.models
            .retain(|known, slot| slot.ready().is_none() || !same(known));
        self.in_memory().len() < before
    }

    /// Gives up a model and removes its files of the older layout, as `POST /model/remove` of the
    /// reference does; those of the newer one stay. `false` if it was not in memory.
    pub fn remove(&self, id: &str) -> bool {
        let there = self.unload(id);
        if let (Some(remote), None) = (&self.remote, self.find(id)) {
            remote.remove_legacy(id);
        }
        there
    }

    /// Gives up all models and, unless `DISK_CACHE_CLEANUP` is off, removes their files of the
    /// older layout.
    pub fn clear(&self) {
        let loaded = self.in_memory();
        self.models.retain(|_, slot| slot.ready().is_none());
        let Some(remote) = self.remote.as_ref() else {
            return;
        };
        for (id, slot) in loaded {
            if remote.settings().disk_cleanup && slot.ready().is_some_and(|l| l.legacy) {
                remote.remove_legacy(&id);
            }
        }
    }

    /// Gives up a model and removes all of it from the cache. Answers how many bytes that made
    /// free.
    ///
    /// # Errors
    /// If the id is none, or a file cannot be removed.
    pub fn remove_from_cache(&self, id: &str) -> Result<u64, ModelError> {
        self.unload(id);
        let remote = self.remote.as_ref();
        remote.map_or(Ok(0), |remote| remote.remove_from_cache(id))
    }

    fn model(
        &self,
        id: &str,
        key: Option<&ApiKey>,
        wanted: Option<&Task>,
    ) -> Result<Model, ModelError> {
        let fits = |loaded: &Loaded| match wanted {
            Some(wanted) => loaded.model.of_task(wanted, id),
            None => Ok(loaded.model.clone()),
        };
        usage::note(id, None);
        let slot = self.models.get(id).map(|slot| slot.value().clone());
        if let Some(slot) = slot
            && let Some(loaded) = slot.ready()
        {
            self.touch(&slot);
            return fits(loaded);
        }
        let begun = self.clock.monotonic();
        let place = self.place(id, wanted)?;
        let key = self.key(key);
        let slot = self.slot(id);
        let patience = match wanted {
            Some(_) => self.settings().map(|settings| settings.load_patience),
            None => None,
        };
        let flight = match slot.begin(key, self.clock.monotonic(), patience)? {
            Turn::Ready(loaded) => return fits(loaded),
            Turn::TooLong => {
                return Err(ModelError::Busy {
                    id: id.to_owned(),
                    limit: patience.unwrap_or_default(),
                });
            }
            Turn::Load(flight) => flight,
        };
        match self.load(id, key, wanted, place) {
            Ok(loaded) => {
                let model = fits(flight.land(loaded));
                usage::note(id, Some(self.clock.monotonic().saturating_sub(begun)));
                self.touch(&slot);
                self.make_room(id);
                model
            }
            Err(error) => {
                flight.fail(&error, key, self.clock.monotonic());
                Err(error)
            }
        }
    }

    /// The place of a model; makes one if there is none.
    fn slot(&self, id: &str) -> Arc<Slot> {
        if self.models.len() >= MANY {
            let now = self.clock.monotonic();
            self.models.retain(|_, slot| !slot.is_spent(now));
        }
        self.models.entry(id.into()).or_default().clone()
    }

    fn touch(&self, slot: &Slot) {
        slot.touch(self.turn.fetch_add(1, Ordering::Relaxed) + 1);
    }

    /// The key to ask with.
    fn key<'a>(&'a self, of_request: Option<&'a ApiKey>) -> Option<&'a ApiKey> {
        of_request.or(self.settings()?.api_key.as_ref())
    }

    /// The package of the folder, if it has the id and the model does what is wanted.
    fn place(&self, id: &str, wanted: Option<&Task>) -> Result<Option<Local>, ModelError> {
        let Some((folder, recommended)) = self.find(id) else {
            return match &self.remote {
                Some(remote) => remote.check(id).map(|()| None),
                None => Err(self.unknown(id)),
            };
        };
        let package = Package::open(&folder)?;
        suits(id, &package.task, wanted)?;
        Ok(Some(Local {
            package,
            recommended,
        }))
    }

    fn load(
        &self,
        id: &str,
        key: Option<&ApiKey>,
        wanted: Option<&Task>,
        local: Option<Local>,
    ) -> Result<Loaded, ModelError> {
        if let Some(Local {
            package,
            recommended,
        }) = local
        {
            let model = self.make(id, &package, recommended)?;
            return Ok(Loaded::new(model, Source::Folder, &package, None));
        }
        let remote = self.remote.as_ref().ok_or_else(|| self.unknown(id))?;
        // The older protocol tells the task with the rest, and what it tells is looked at below.
        if remote.settings().packages {
            suits(id, &remote.task(id, key)?, wanted)?;
        }
        let (model, found) = remote.open(id, key, |package| {
            suits(id, &package.task, wanted)?;
            self.make(id, package, None)
        })?;
        Ok(Loaded::new(
            model,
            found.source,
            &found.package,
            found.package_id,
        ))
    }

    fn make(
        &self,
        id: &str,
        package: &Package,
        recommended: Option<RecommendedParameters>,
    ) -> Result<Model, ModelError> {
        let weights = self.weights_of(package)?;
        let detector = Detector::new(id.into(), package, recommended, weights)?;
        Ok(Model::Detector(Arc::new(detector)))
    }

    /// The weights of a package, shared by all that have the same file.
    fn weights_of(&self, package: &Package) -> Result<Arc<Weights>, ModelError> {
        let path = package.weights();
        // Packages of the cache are links to files that several of them may have.
        let path = std::fs::canonicalize(&path).unwrap_or(path);
        let slot = self.weights.entry(path.clone()).or_default().clone();
        let mut slot = lock(&slot);
        if let Some(weights) = slot.upgrade() {
            return Ok(weights);
        }
        let weights = Arc::new(Weights::load(&path, &self.runtime, self.clock.now())?);
        tracing::info!(
            weights = %path.display(),
            sha256 = weights.sha256,
            provider = weights.provider.name(),
            "loaded model"
        );
        *slot = Arc::downgrade(&weights);
        Ok(weights)
    }

    /// Folder and registry thresholds of an id or of what it is short for.
    fn find(&self, id: &str) -> Option<(PathBuf, Option<RecommendedParameters>)> {
        let look = || {
            let registry = self.registry()?;
            let meant = || aliases::meant_by(id).and_then(|id| registry.find(id));
            registry.find(id).or_else(meant)
        };
        look().or_else(|| {
            self.reread();
            look()
        })
    }

    fn unknown(&self, id: &str) -> ModelError {
        ModelError::Unknown {
            id: id.to_owned(),
            place: match self.folder() {
                Some(folder) => format!(
                    "no package in {} has this id; correct the id or put its package there",
                    folder.display()
                ),
                None => "name the folder of model packages with --models or MILLRACE_MODELS".into(),
            },
        }
    }

    fn registry(&self) -> Option<std::sync::RwLockReadGuard<'_, Registry>> {
        let registry = self.registry.as_ref()?;
        Some(registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the registry again; a broken one changes nothing.
    fn reread(&self) {
        let Some(registry) = &self.registry else {
            return;
        };
        match Registry::read(&self.folder) {
            Ok(read) => *registry.write().unwrap_or_else(PoisonError::into_inner) = read,
            Err(error) => tracing::warn!("the registry of models stays as it was: {error}"),
        }
    }
}

/// A package of the folder, and the thresholds that its registry has for the id.
struct Local {
    package: Package,
    recommended: Option<RecommendedParameters>,
}

/// Whether a model of this task can be run and does what is wanted.
fn suits(id: &str, task: &Task, wanted: Option<&Task>) -> Result<(), ModelError> {
    match (task, wanted) {
        (task, Some(wanted)) if task != wanted => Err(wrong_task(id, task.clone(), wanted)),
        (Task::ObjectDetection, _) => Ok(()),
        (task, _) => Err(ModelError::UnsupportedTask {
            id: id.to_owned(),
            task: task.clone(),
        }),
    }
}

/// A slot is written whole, so a panic of another thread leaves nothing half done.
fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
