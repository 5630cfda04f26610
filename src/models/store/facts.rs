//! What is known of models: for the freshness stamp, for the registry of a server, for people.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::loaded::{Loaded, Model};
use super::{ModelStore, Slot};
use crate::models::config::Size;
use crate::models::package::Package;
use crate::models::runtime::Provider;
use crate::models::weights;
use crate::models::{CachedModel, Download, ModelError, Source, aliases};
use crate::values::Timestamp;

/// A file's hash as long as its size and time stay the same.
#[derive(Clone, Debug)]
pub(super) struct FileHash {
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
    /// Where it comes from.
    pub source: Source,
    /// What the model does; empty if the package cannot be read.
    pub task: String,
    /// Architecture, e.g. `yolov8`; empty if the package cannot be read.
    pub architecture: String,
    /// SHA-256 of the weights in hexadecimal: of those in memory, else of those on disk.
    pub sha256: Option<String>,
    /// Size of the weights in bytes.
    pub size: Option<u64>,
    /// Size of the network's input, if the model is in memory.
    pub input_size: Option<Size>,
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

/// A row of a server's list of loaded models (`GET /model/registry`).
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryRow {
    /// The id, with short names replaced by what they mean.
    pub model_id: String,
    /// The short names by which it was asked for.
    pub request_aliases: Vec<String>,
    /// What the model does, e.g. `object-detection`.
    pub task_type: String,
    /// Images that a run takes; as in the reference only told of models in the older layout.
    pub batch_size: Option<usize>,
    /// Pixels down of the network's input.
    pub input_height: usize,
    /// Pixels across of the network's input.
    pub input_width: usize,
    /// The part of the id after the project.
    pub version: Option<String>,
    /// The platform's id of the package.
    pub package_id: Option<String>,
    /// Architecture, e.g. `yolov8`.
    pub architecture: String,
    /// SHA-256 of the weights in hexadecimal.
    pub sha256: String,
    /// Size of the weights in bytes, which is also what the memory limit counts.
    pub size: u64,
    /// Since when the model is in memory.
    pub loaded_since: Timestamp,
    /// Where it comes from.
    pub source: Source,
}

impl ModelStore {
    /// What is known of all models of the folder and of all that are in memory, sorted by id. The
    /// first call hashes the weights of models that are not in memory.
    pub fn list(&self) -> Vec<ModelInfo> {
        self.reread();
        let mut ids = self.registry().map(|r| r.ids()).unwrap_or_default();
        ids.extend(self.in_memory().into_iter().map(|(id, _)| id.to_string()));
        ids.sort();
        ids.dedup();
        ids.iter().filter_map(|id| self.info(id).ok()).collect()
    }

    /// What is known of one model of the folder or in memory. The platform is not asked.
    ///
    /// # Errors
    /// If there is none of this id.
    pub fn info(&self, id: &str) -> Result<ModelInfo, ModelError> {
        let slot = self.models.get(id).map(|slot| slot.value().clone());
        let loaded = slot.as_ref().and_then(|slot| slot.ready());
        match self.find(id) {
            Some((folder, _)) => Ok(self.info_of_folder(id, folder, loaded)),
            None => {
                let loaded = loaded.ok_or_else(|| self.unknown(id))?;
                Ok(self.info_of_remote(id, loaded))
            }
        }
    }

    fn info_of_folder(&self, id: &str, folder: PathBuf, loaded: Option<&Loaded>) -> ModelInfo {
        let package = Package::open(&folder);
        let on_disk = self.file_hash(&folder.join("weights.onnx"));
        let weights = loaded.map(Loaded::weights);
        let current = on_disk.as_ref().map(|file| &file.sha256);
        let text = |of: fn(&Package) -> String| package.as_ref().map_or(String::new(), of);
        ModelInfo {
            id: id.to_owned(),
            source: Source::Folder,
            task: text(|p| p.task.to_string()),
            architecture: text(|p| p.architecture.to_string()),
            sha256: match weights {
                Some(weights) => Some(weights.sha256.clone()),
                None => current.cloned(),
            },
            size: match weights {
                Some(weights) => Some(weights.size),
                None => on_disk.as_ref().map(|file| file.size),
            },
            input_size: loaded.map(Loaded::input_size),
            loaded_since: weights.map(|weights| weights.loaded_at),
            provider: weights.map(|weights| weights.provider),
            fallbacks: weights.map_or(Vec::new(), |w| w.fallbacks.clone()),
            changed_on_disk: weights.is_some_and(|weights| current != Some(&weights.sha256)),
            problem: package.err(),
            folder,
        }
    }

    fn info_of_remote(&self, id: &str, loaded: &Loaded) -> ModelInfo {
        let weights = loaded.weights();
        let current = self.file_hash(&loaded.folder.join("weights.onnx"));
        ModelInfo {
            id: id.to_owned(),
            folder: loaded.folder.clone(),
            source: loaded.source,
            task: loaded.task().to_string(),
            architecture: loaded.architecture.to_string(),
            sha256: Some(weights.sha256.clone()),
            size: Some(weights.size),
            input_size: Some(loaded.input_size()),
            loaded_since: Some(weights.loaded_at),
            provider: Some(weights.provider),
            fallbacks: weights.fallbacks.clone(),
            changed_on_disk: current.is_none_or(|c| c.sha256 != weights.sha256),
            problem: None,
        }
    }

    /// The models in memory, those loaded first in front.
    pub fn registry_rows(&self) -> Vec<RegistryRow> {
        let mut rows: Vec<RegistryRow> = Vec::new();
        for (id, slot) in self.in_memory() {
            let Some(row) = row(&id, &slot) else {
                continue;
            };
            match rows.iter_mut().find(|r| r.model_id == row.model_id) {
                Some(same) => same.request_aliases.extend(row.request_aliases),
                None => rows.push(row),
            }
        }
        for row in &mut rows {
            row.request_aliases.sort();
        }
        rows.sort_by(|a, b| {
            let times = a.loaded_since.unix_seconds();
            let times = times.total_cmp(&b.loaded_since.unix_seconds());
            times.then_with(|| a.model_id.cmp(&b.model_id))
        });
        rows
    }

    /// What the cache holds; empty for a store without one.
    pub fn cached(&self) -> Vec<CachedModel> {
        let remote = self.remote.as_ref();
        remote.map_or(Vec::new(), |remote| remote.cached_models())
    }

    /// Downloads that are under way.
    pub fn downloads(&self) -> Vec<Download> {
        let remote = self.remote.as_ref();
        remote.map_or(Vec::new(), |remote| remote.downloads())
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

fn row(id: &str, slot: &Arc<Slot>) -> Option<RegistryRow> {
    let loaded = slot.ready()?;
    let Model::Detector(detector) = &loaded.model;
    let weights = detector.weights();
    let size = detector.input_size();
    let meant = aliases::meant_by(id);
    let model_id = meant.unwrap_or(id).to_owned();
    Some(RegistryRow {
        request_aliases: meant.iter().map(|_| id.to_owned()).collect(),
        task_type: loaded.task().to_string(),
        batch_size: loaded.legacy.then(|| detector.max_batch()),
        input_height: size.height,
        input_width: size.width,
        version: model_id.split_once('/').map(|(_, v)| v.to_owned()),
        package_id: loaded.package_id.clone(),
        architecture: loaded.architecture.to_string(),
        sha256: weights.sha256.clone(),
        size: weights.size,
        loaded_since: weights.loaded_at,
        source: loaded.source,
        model_id,
    })
}
