//! The models of a process: found by id in a folder of packages, loaded on first use, shared.
//!
//! Concurrent first requests for a model load it once; the later ones wait. Ids that name the same
//! package share its weights. A failure to load is remembered for two seconds, so that a stream
//! with a broken package does not try anew on each frame, and a mended package is found soon. A
//! package or registry entry added later is found without a restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};

use dashmap::DashMap;

use super::aliases;
use super::package::{Package, RecommendedParameters, Task};
use super::registry::Registry;
use super::runtime::{Provider, RuntimeSettings};
use super::weights::{self, Weights};
use super::{Detector, ModelError};
use crate::clock::{Clock, SystemClock};
use crate::values::Timestamp;

/// For so long a failure to load a model is taken to last.
const FAILURE_LASTS: Duration = Duration::from_secs(2);

/// The models of a process.
pub struct ModelStore {
    registry: Option<RwLock<Registry>>,
    folder: PathBuf,
    settings: RuntimeSettings,
    clock: Arc<dyn Clock>,
    models: DashMap<Arc<str>, Arc<Slot>>,
    weights: DashMap<PathBuf, Arc<Mutex<Weak<Weights>>>>,
    hashes: DashMap<PathBuf, FileHash>,
}

/// A model of some family.
#[derive(Clone, Debug)]
enum Model {
    Detector(Arc<Detector>),
}

/// The place of a model: empty until the first request has loaded it.
#[derive(Debug, Default)]
struct Slot {
    ready: OnceLock<Model>,
    /// Held while the model is being loaded.
    loading: Mutex<Option<Failure>>,
}

/// Why the last attempt to load a model failed, and when.
#[derive(Debug)]
struct Failure {
    error: ModelError,
    at: Duration,
}

/// A file's hash as long as its size and time stay the same.
#[derive(Clone, Debug)]
struct FileHash {
    size: u64,
    modified: Option<SystemTime>,
    sha256: String,
}

/// What is known of a model: the facts of the freshness stamp.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// The id.
    pub id: String,
    /// Folder of the package.
    pub folder: PathBuf,
    /// What the model does; empty if the package cannot be read.
    pub task: String,
    /// Architecture, e.g. `yolov8`; empty if the package cannot be read.
    pub architecture: String,
    /// SHA-256 of the weights in hexadecimal: of those in memory, else of those on disk.
    pub sha256: Option<String>,
    /// Size of the weights in bytes.
    pub size: Option<u64>,
    /// Since when the model is in memory; `None` if it is not.
    pub loaded_since: Option<Timestamp>,
    /// What computes the model, if it is in memory.
    pub provider: Option<Provider>,
    /// Why providers that the settings prefer do not compute it.
    pub fallbacks: Vec<String>,
    /// Whether the file on disk is another one than that in memory.
    pub changed_on_disk: bool,
    /// Why the package cannot be used, as far as its small files show.
    pub problem: Option<ModelError>,
}

impl Default for ModelStore {
    fn default() -> Self {
        Self {
            registry: None,
            folder: PathBuf::new(),
            settings: RuntimeSettings::default(),
            clock: Arc::new(SystemClock::default()),
            models: DashMap::new(),
            weights: DashMap::new(),
            hashes: DashMap::new(),
        }
    }
}

impl std::fmt::Debug for ModelStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelStore({})", self.folder.display())
    }
}

impl ModelStore {
    /// A store on a folder of packages. No model is loaded yet.
    pub fn open(
        folder: impl Into<PathBuf>,
        settings: RuntimeSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ModelError> {
        let folder = folder.into();
        Ok(Self {
            registry: Some(RwLock::new(Registry::read(&folder)?)),
            folder,
            settings,
            clock,
            ..Self::default()
        })
    }

    /// The folder of packages; `None` for a store without models.
    pub fn folder(&self) -> Option<&Path> {
        self.registry.is_some().then_some(&*self.folder)
    }

    /// The detection model of this id, loaded if it is not yet.
    pub fn detector(&self, id: &str) -> Result<Arc<Detector>, ModelError> {
        let Model::Detector(detector) = self.model(id, &Task::ObjectDetection)?;
        Ok(detector)
    }

    /// Loads a model of whatever family, so that a later request finds it warm.
    pub fn preload(&self, id: &str) -> Result<(), ModelError> {
        let task = self.task(id)?;
        self.model(id, &task).map(drop)
    }

    /// What the model of this id does. Its weights are not loaded for that.
    pub fn task(&self, id: &str) -> Result<Task, ModelError> {
        let (folder, _) = self.find(id)?;
        Ok(Package::open(&folder)?.task)
    }

    /// Gives up a model; `false` if it is not in memory. Its memory is free when the last run with
    /// it ends.
    pub fn unload(&self, id: &str) -> bool {
        self.models.remove(id).is_some()
    }

    /// Gives up all models.
    pub fn clear(&self) {
        self.models.clear();
    }

    /// What is known of all models of the folder, sorted by id. The first call hashes the weights
    /// of models that are not in memory.
    pub fn list(&self) -> Vec<ModelInfo> {
        let ids = match &self.registry {
            Some(_) => {
                self.reread();
                self.registry().map(|registry| registry.ids())
            }
            None => None,
        };
        let ids = ids.unwrap_or_default().into_iter();
        ids.filter_map(|id| self.info(&id).ok()).collect()
    }

    /// What is known of one model.
    pub fn info(&self, id: &str) -> Result<ModelInfo, ModelError> {
        let (folder, _) = self.find(id)?;
        let package = Package::open(&folder);
        let path = folder.join("weights.onnx");
        let on_disk = self.file_hash(&path);
        let loaded = self.loaded(id);
        let current = on_disk.as_ref().map(|file| &file.sha256);
        Ok(ModelInfo {
            id: id.to_owned(),
            task: package
                .as_ref()
                .map_or(String::new(), |p| p.task.to_string()),
            architecture: package
                .as_ref()
                .map_or(String::new(), |p| p.architecture.to_string()),
            sha256: match &loaded {
                Some(weights) => Some(weights.sha256.clone()),
                None => current.cloned(),
            },
            size: match &loaded {
                Some(weights) => Some(weights.size),
                None => on_disk.as_ref().map(|file| file.size),
            },
            loaded_since: loaded.as_ref().map(|weights| weights.loaded_at),
            provider: loaded.as_ref().map(|weights| weights.provider),
            fallbacks: loaded.as_ref().map_or(Vec::new(), |w| w.fallbacks.clone()),
            changed_on_disk: loaded.is_some_and(|weights| current != Some(&weights.sha256)),
            problem: package.err(),
            folder,
        })
    }

    /// The weights of a model that is in memory.
    fn loaded(&self, id: &str) -> Option<Arc<Weights>> {
        let slot = self.models.get(id)?;
        let Model::Detector(detector) = slot.ready.get()?;
        Some(detector.weights().clone())
    }

    fn model(&self, id: &str, wanted: &Task) -> Result<Model, ModelError> {
        if let Some(slot) = self.models.get(id)
            && let Some(model) = slot.ready.get()
        {
            return model.clone().of_task(wanted, id);
        }
        let (folder, recommended) = self.find(id)?;
        let package = Package::open(&folder)?;
        if package.task != *wanted {
            return Err(wrong_task(id, package.task, wanted));
        }
        let id: Arc<str> = id.into();
        let slot = self.models.entry(id.clone()).or_default().clone();
        let mut failure = lock(&slot.loading);
        if let Some(model) = slot.ready.get() {
            return model.clone().of_task(wanted, &id);
        }
        if let Some(Failure { error, at }) = &*failure
            && self.clock.monotonic() < *at + FAILURE_LASTS
        {
            return Err(error.clone());
        }
        let loaded = self.load(id, &package, recommended);
        *failure = loaded.as_ref().err().map(|error| Failure {
            error: error.clone(),
            at: self.clock.monotonic(),
        });
        let model = loaded?;
        Ok(slot.ready.get_or_init(|| model).clone())
    }

    fn load(
        &self,
        id: Arc<str>,
        package: &Package,
        recommended: Option<RecommendedParameters>,
    ) -> Result<Model, ModelError> {
        match &package.task {
            Task::ObjectDetection => {
                let weights = self.weights_of(package)?;
                let detector = Detector::new(id, package, recommended, weights)?;
                Ok(Model::Detector(Arc::new(detector)))
            }
            Task::Other(task) => Err(ModelError::Package {
                path: package.folder.join(Package::MARK),
                reason: format!("task_type `{task}` cannot be run yet"),
            }),
        }
    }

    /// The weights of a package, shared by all ids that name it.
    fn weights_of(&self, package: &Package) -> Result<Arc<Weights>, ModelError> {
        let path = package.weights();
        let slot = self.weights.entry(path.clone()).or_default().clone();
        let mut slot = lock(&slot);
        if let Some(weights) = slot.upgrade() {
            return Ok(weights);
        }
        let weights = Arc::new(Weights::load(&path, &self.settings, self.clock.now())?);
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
    fn find(&self, id: &str) -> Result<(PathBuf, Option<RecommendedParameters>), ModelError> {
        let look = || {
            let registry = self.registry()?;
            let meant = || aliases::meant_by(id).and_then(|id| registry.find(id));
            registry.find(id).or_else(meant)
        };
        let again = || {
            self.reread();
            look()
        };
        look().or_else(again).ok_or_else(|| ModelError::Unknown {
            id: id.to_owned(),
            place: match self.folder() {
                Some(folder) => format!(
                    "no package in {} has this id; correct the id or put its package there",
                    folder.display()
                ),
                None => "name the folder of model packages with --models or MILLRACE_MODELS".into(),
            },
        })
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

    fn file_hash(&self, path: &Path) -> Option<FileHash> {
        let metadata = std::fs::metadata(path).ok()?;
        let (size, modified) = (metadata.len(), metadata.modified().ok());
        if let Some(known) = self.hashes.get(path)
            && (known.size, known.modified) == (size, modified)
        {
            return Some(known.clone());
        }
        let hash = FileHash {
            size,
            modified,
            sha256: weights::hash(&std::fs::read(path).ok()?),
        };
        self.hashes.insert(path.to_owned(), hash.clone());
        Some(hash)
    }
}

impl Model {
    /// The model, if it does what is wanted.
    fn of_task(self, wanted: &Task, id: &str) -> Result<Self, ModelError> {
        match (&self, wanted) {
            (Self::Detector(_), Task::ObjectDetection) => Ok(self),
            (Self::Detector(_), _) => Err(wrong_task(id, Task::ObjectDetection, wanted)),
        }
    }
}

fn wrong_task(id: &str, task: Task, wanted: &Task) -> ModelError {
    ModelError::WrongTask {
        id: id.to_owned(),
        task,
        wanted: wanted.clone(),
    }
}

/// A slot is written whole, so a panic of another thread leaves nothing half done.
fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
