//! What the cache holds, for those who look after it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::packages::{self, cache_error};
use super::resolution::{self, Resolution};
use super::{Remote, legacy, names};
use crate::models::package::{Package, read_json};
use crate::models::{ModelError, aliases};

/// A model in the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct CachedModel {
    /// The id.
    pub id: String,
    /// The platform's id of the package; none in the older layout.
    pub package_id: Option<String>,
    /// What the model does.
    pub task: String,
    /// Architecture, e.g. `yolov8`.
    pub architecture: String,
    /// Bytes of all its files; other models may share some of them.
    pub size: u64,
    /// The folder.
    pub folder: PathBuf,
    /// When the package was chosen, in seconds since 1970.
    pub chosen_at: Option<f64>,
}

impl Remote {
    /// All models in the cache that can be used, sorted by id.
    pub fn cached_models(&self) -> Vec<CachedModel> {
        let cache = &self.settings().cache_dir;
        let mut found: Vec<CachedModel> = in_packages(cache);
        found.extend(in_legacy_folders(cache));
        found.sort_by(|a, b| (&a.id, &a.package_id).cmp(&(&b.id, &b.package_id)));
        found
    }

    /// Removes a model from the cache: its packages with the blobs that no other package uses, and
    /// its folder of the older layout. Answers how many bytes that made free.
    ///
    /// # Errors
    /// If the id is none, or a file cannot be removed.
    pub fn remove_from_cache(&self, id: &str) -> Result<u64, ModelError> {
        let id = aliases::meant_by(id).unwrap_or(id);
        let segments = names::checked(id)?;
        let cache = &self.settings().cache_dir;
        let mut free = 0;
        let mut owners = BTreeSet::from([id.to_owned()]);
        let chosen = resolution::all(cache).into_iter();
        owners.extend(
            chosen
                .filter(|e| e.model_id == id)
                .map(|e| e.owner().to_owned()),
        );
        for owner in owners {
            for (package_id, folder) in packages::of_model(cache, &owner) {
                free += remove_package(cache, &folder)?;
                Resolution::forget(cache, &owner, &package_id);
            }
        }
        let removed = remove_legacy(cache, &segments);
        Ok(free + removed.map_err(|e| cache_error(cache, &e))?)
    }

    /// Removes a model's folder of the older layout, as giving up a model does in the reference.
    pub fn remove_legacy(&self, id: &str) {
        let id = aliases::meant_by(id).unwrap_or(id);
        let Ok(segments) = names::checked(id) else {
            return;
        };
        if let Err(error) = remove_legacy(&self.settings().cache_dir, &segments) {
            tracing::warn!(model = id, "its files stay: {error}");
        }
    }
}

fn in_packages(cache: &Path) -> Vec<CachedModel> {
    let chosen = resolution::all(cache);
    let folders = folders_in(&cache.join(names::PACKAGES)).into_iter();
    let packages = folders.flat_map(|folder| folders_in(&folder));
    packages
        .filter(|folder| packages::is_usable(folder, cache))
        .filter_map(|folder| {
            let package = Package::open(&folder).ok()?;
            let told: Json = read_json(&folder.join(Package::MARK)).ok()?;
            let id = told["model_id"].as_str()?.to_owned();
            let package_id = folder.file_name()?.to_str()?.to_owned();
            let of_it = |e: &&Resolution| e.owner() == id && e.model_package_id == package_id;
            let times = chosen.iter().filter(of_it).filter_map(Resolution::made_at);
            Some(CachedModel {
                chosen_at: times.reduce(f64::max),
                size: size_of(&folder),
                task: package.task.to_string(),
                architecture: package.architecture.to_string(),
                package_id: Some(package_id),
                id,
                folder,
            })
        })
        .collect()
}

fn in_legacy_folders(cache: &Path) -> Vec<CachedModel> {
    let mut found = Vec::new();
    for project in folders_in(cache) {
        let Some(name) = project.file_name().and_then(|n| n.to_str()) else {
            continue;
        };
        if names::checked(name).is_err() {
            continue;
        }
        let versions = folders_in(&project).into_iter().chain([project.clone()]);
        for folder in versions.filter(|folder| legacy::is_complete(folder)) {
            let below = folder.strip_prefix(cache).unwrap_or(&folder);
            let Ok(package) = Package::open_legacy(&folder) else {
                continue;
            };
            found.push(CachedModel {
                id: below.display().to_string(),
                package_id: None,
                task: package.task.to_string(),
                architecture: package.architecture.to_string(),
                size: size_of(&folder),
                folder,
                chosen_at: None,
            });
        }
    }
    found
}

/// Bytes of the files of a folder, links followed.
fn size_of(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = files.filter_map(|file| Some(fs::metadata(file.path()).ok()?.len()));
    sizes.sum()
}

/// Removes a package, and its blobs unless others use them.
fn remove_package(cache: &Path, folder: &Path) -> Result<u64, ModelError> {
    let blobs = blobs_of(folder);
    fs::remove_dir_all(folder).map_err(|e| cache_error(folder, &e))?;
    if let Some(parent) = folder.parent() {
        // Fails as long as the model has another package.
        let _ = fs::remove_dir(parent);
    }
    let others = folders_in(&cache.join(names::PACKAGES)).into_iter();
    let used: BTreeSet<String> = others
        .flat_map(|folder| folders_in(&folder))
        .flat_map(|folder| blobs_of(&folder))
        .collect();
    let mut free = 0;
    for blob in blobs.difference(&used) {
        let path = cache.join(names::BLOBS).join(blob);
        free += fs::metadata(&path).map_or(0, |m| m.len());
        fs::remove_file(&path).map_err(|e| cache_error(&path, &e))?;
        // The lock file may be in use, or not be there.
        let _ = fs::remove_file(super::download::beside(&path, ".", ".lock"));
    }
    Ok(free)
}

/// Names of the blobs that a package's files mean.
fn blobs_of(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    files
        .filter_map(|file| fs::read_link(file.path()).ok())
        .filter_map(|target| Some(target.file_name()?.to_str()?.to_owned()))
        .filter(|name| names::is_md5(name))
        .collect()
}

/// Removes a model's folder of the older layout, if it is one and lies in the cache.
fn remove_legacy(cache: &Path, segments: &[&str]) -> std::io::Result<u64> {
    let folder = legacy::folder(cache, segments);
    let marks = [names::MODEL_TYPE, crate::models::environment::FILE];
    if !marks.iter().any(|mark| folder.join(mark).is_file()) {
        return Ok(0);
    }
    if !fs::canonicalize(&folder)?.starts_with(fs::canonicalize(cache)?) {
        return Err(std::io::Error::other("it lies outside of the cache"));
    }
    let mut free = 0;
    // The folder of a short id may hold versions of a project of the same name: only files go.
    for file in fs::read_dir(&folder)?.flatten() {
        if !file.file_type()?.is_dir() {
            free += file.metadata()?.len();
            fs::remove_file(file.path())?;
        }
    }
    for folder in folder.ancestors().take(segments.len()) {
        // Fails as long as something else is in it.
        let _ = fs::remove_dir(folder);
    }
    Ok(free)
}

/// Folders in a folder; links are not followed.
fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let real = entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    let mut found: Vec<PathBuf> = real.map(|e| e.path()).collect();
    found.sort();
    found
}
