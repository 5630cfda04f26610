//! Models that are not in the folder of packages: in the cache below `MODEL_CACHE_DIR`, or on the
//! platform, by both of its protocols and in the reference's layout.
//!
//! | the platform | cache has the model, chosen lately | chosen long ago | cache has nothing |
//! | --- | --- | --- | --- |
//! | answers | not asked | its answer | its answer |
//! | 429, 5xx, no answer, garbage | not asked | cache | error |
//! | refuses (401, 402, 403, 404, 423) | not asked | error | error |
//! | must not be asked (offline mode) | cache | cache | error |
//!
//! The work is done on threads of its own, so that it can be asked for from inside and outside of
//! any runtime.

mod cached;
mod download;
mod legacy;
mod metadata;
mod names;
mod packages;
mod platform;
mod resolution;

use std::fs::{self, File};
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};

use tokio::runtime::Runtime;

pub use cached::CachedModel;
pub use download::Download;

use self::download::Downloads;
use self::legacy::ModelType;

use self::metadata::{Offer, Page};
use self::platform::Platform;
use self::resolution::{Resolution, Search};
use super::aliases;
use super::error::{Question, Trouble};
use super::package::{Package, Task};
use super::{ModelError, Settings};
use crate::clock::Clock;
use crate::definitions::ApiKey;

/// Files that every package of a detection model has.
const NEEDED: &[&str] = &["weights.onnx", "class_names.txt", "inference_config.json"];

/// Threads that ask, download and check.
const THREADS: usize = 2;

/// What fetching needs beside the id.
#[derive(Clone, Copy)]
struct Means<'a> {
    platform: &'a Platform,
    downloads: &'a Downloads,
    settings: &'a Settings,
}

/// Where a model comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The folder of packages.
    Folder,
    /// The cache, without asking the platform.
    Cache,
    /// The platform.
    Platform,
}

impl Source {
    /// Name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Folder => "folder",
            Self::Cache => "cache",
            Self::Platform => "platform",
        }
    }
}

/// A package that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub package: Package,
    /// The platform's id of the package; none in the older layout.
    pub package_id: Option<String>,
    pub source: Source,
}

/// Finds models in the cache and on the platform.
pub(super) struct Remote {
    shared: Arc<Shared>,
    runtime: OnceLock<Result<Runtime, String>>,
}

struct Shared {
    settings: Settings,
    clock: Arc<dyn Clock>,
    platform: Platform,
    downloads: Downloads,
}

impl Drop for Remote {
    fn drop(&mut self) {
        // A runtime that is dropped inside of another one would panic.
        if let Some(Ok(runtime)) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Remote {
    /// Nothing is read or asked yet.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                clock,
                platform: Platform::new(),
                downloads: Downloads::default(),
            }),
            runtime: OnceLock::new(),
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub fn downloads(&self) -> Vec<Download> {
        self.shared.downloads.list()
    }

    /// Whether the id can be one at all.
    pub fn check(&self, id: &str) -> Result<(), ModelError> {
        names::checked(aliases::meant_by(id).unwrap_or(id)).map(drop)
    }

    /// What a model does. Its packages are not looked for on the platform.
    pub fn task(&self, id: &str, key: Option<&ApiKey>) -> Result<Task, ModelError> {
        let id = aliases::meant_by(id).unwrap_or(id);
        let segments = names::checked(id)?;
        if let Some(task) = self.shared.known_task(id, &segments, key) {
            return Ok(task);
        }
        if !self.settings().packages {
            let found = self.legacy(id, key)?;
            return Ok(found.package.task);
        }
        let (shared, id, key) = (self.shared.clone(), id.to_owned(), key.cloned());
        self.wait(async move { shared.stat(&id, key.as_ref()).await })
    }

    /// Makes something of a model's package: of that in the cache, else of the platform's ones, the
    /// best first, until one suits.
    pub fn open<T>(
        &self,
        id: &str,
        key: Option<&ApiKey>,
        mut with: impl FnMut(&Package) -> Result<T, ModelError>,
    ) -> Result<(T, Found), ModelError> {
        let id = aliases::meant_by(id).unwrap_or(id);
        names::checked(id)?;
        if !self.settings().packages {
            let found = self.legacy(id, key)?;
            return Ok((with(&found.package)?, found));
        }
        if let Some(found) = self.shared.cached(id, key, false) {
            match with(&found.package) {
                Ok(made) => return Ok((made, found)),
                Err(error) if self.settings().offline => return Err(error),
                Err(error) => {
                    tracing::warn!(model = id, "the cached package is passed over: {error}")
                }
            }
        }
        match self.packages(id, key) {
            Ok(page) => self.first_that_suits(id, key, &page, with),
            Err(ModelError::Platform { trouble, .. }) if trouble.falls_back() => {
                let Some(found) = self.shared.cached(id, key, true) else {
                    return Err(platform_error(id, Question::Packages, trouble));
                };
                tracing::warn!(model = id, "taken from the cache: {trouble}");
                Ok((with(&found.package)?, found))
            }
            Err(error) => Err(error),
        }
    }

    fn packages(&self, id: &str, key: Option<&ApiKey>) -> Result<Page, ModelError> {
        if self.settings().offline {
            return Err(platform_error(id, Question::Packages, Trouble::Offline));
        }
        let (shared, id, key) = (self.shared.clone(), id.to_owned(), key.cloned());
        self.wait(async move {
            let asked = shared
                .platform
                .packages(&shared.settings, &id, key.as_ref());
            let failed = |trouble| platform_error(&id, Question::Packages, trouble);
            let page = asked.await.map_err(failed)?;
            // The platform's id becomes part of a path too.
            names::checked(&page.model_id)?;
            Ok(page)
        })
    }

    fn first_that_suits<T>(
        &self,
        id: &str,
        key: Option<&ApiKey>,
        page: &Page,
        mut with: impl FnMut(&Package) -> Result<T, ModelError>,
    ) -> Result<(T, Found), ModelError> {
        runnable(id, page.task_type.as_deref().unwrap_or_default())?;
        let (offers, mut reasons) =
            metadata::choose(&page.model_packages, self.settings().untrusted);
        let mut only = None;
        for offer in &offers {
            let attempt = self.fetch(id, page, offer).and_then(|package| {
                let made = with(&package)?;
                self.shared.remember(id, key, page, offer, &package)?;
                Ok((made, package))
            });
            match attempt {
                Ok((made, package)) => {
                    let found = Found {
                        package,
                        package_id: Some(offer.package_id.clone()),
                        source: Source::Platform,
                    };
                    return Ok((made, found));
                }
                Err(error) => {
                    tracing::warn!(model = id, package = offer.package_id, "{error}");
                    reasons.push(format!("{}: {error}", offer.package_id));
                    only = (offers.len() == 1).then_some(error);
                }
            }
        }
        // Of one package its own error tells more, and has a status of its own.
        Err(only.unwrap_or_else(|| ModelError::NoPackage {
            id: id.to_owned(),
            reasons: match reasons.is_empty() {
                true => "the platform has none for it".into(),
                false => reasons.join("; "),
            },
        }))
    }

    fn fetch(&self, id: &str, page: &Page, offer: &Offer) -> Result<Package, ModelError> {
        let (shared, id) = (self.shared.clone(), id.to_owned());
        let (page, offer) = (page.clone(), offer.clone());
        let folder =
            self.wait(async move { packages::fetch(shared.means(), &id, &page, &offer).await })?;
        Package::open(&folder)
    }

    /// A model in the older layout, fetched by the older protocol if it is not there.
    fn legacy(&self, id: &str, key: Option<&ApiKey>) -> Result<Found, ModelError> {
        let segments = names::checked(id)?;
        let folder = legacy::folder(&self.settings().cache_dir, &segments);
        let (folder, source) = if legacy::is_complete(&folder) {
            (folder, Source::Cache)
        } else if self.settings().offline {
            return Err(platform_error(id, Question::Weights, Trouble::Offline));
        } else {
            let (shared, id, key) = (self.shared.clone(), id.to_owned(), key.cloned());
            let fetched = self.wait(async move {
                let segments = names::checked(&id)?;
                legacy::fetch(shared.means(), &id, &segments, key.as_ref()).await
            });
            (fetched?, Source::Platform)
        };
        Ok(Found {
            package: Package::open_legacy(&folder)?,
            package_id: None,
            source,
        })
    }

    /// Does the work on the own threads and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ModelError>> + Send + 'static,
    ) -> Result<T, ModelError> {
        let failed = |reason: String| ModelError::Cache {
            path: self.settings().cache_dir.clone(),
            reason,
        };
        let runtime = self.runtime.get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(THREADS)
                .thread_name("weights")
                .enable_all()
                .build()
                .map_err(|error| error.to_string())
        });
        let runtime = runtime.as_ref().map_err(|e| failed(e.clone()))?;
        let (sender, receiver) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            // Nobody waits any more if this fails.
            let _ = sender.send(work.await);
        });
        receiver
            .recv()
            .unwrap_or_else(|_| Err(failed("the work on it was broken off".into())))
    }
}

impl Shared {
    fn means(&self) -> Means<'_> {
        Means {
            platform: &self.platform,
            downloads: &self.downloads,
            settings: &self.settings,
        }
    }

    /// What the cache says that a model does.
    fn known_task(&self, id: &str, segments: &[&str], key: Option<&ApiKey>) -> Option<Task> {
        if let Some(known) = ModelType::read(&self.settings.cache_dir, segments) {
            return Some(Task::named(&known.project_task_type));
        }
        let found = self
            .cached(id, key, false)
            .filter(|_| self.settings.packages)?;
        Some(found.package.task)
    }

    async fn stat(&self, id: &str, key: Option<&ApiKey>) -> Result<Task, ModelError> {
        let failed = |trouble| platform_error(id, Question::Metadata, trouble);
        if self.settings.offline {
            return Err(failed(Trouble::Offline));
        }
        let told = self.platform.stat(&self.settings, id, key).await;
        let told = told.map_err(failed)?;
        let task = told.task_type.ok_or_else(|| {
            let reason = "it names no task".into();
            failed(Trouble::Garbage { reason })
        })?;
        let known = ModelType {
            project_task_type: task.clone(),
            model_type: told.model_architecture,
            model_id: Some(id.to_owned()),
            model_variant: told.model_variant,
        };
        known.write(&self.settings.cache_dir, &names::checked(id)?)?;
        Ok(Task::named(&task))
    }

    /// The package of a model in the cache: as it was chosen with this key lately, or with
    /// `whatever` (and in offline mode) as it was ever chosen.
    fn cached(&self, id: &str, key: Option<&ApiKey>, whatever: bool) -> Option<Found> {
        let whatever = whatever || self.settings.offline;
        let cache = &self.settings.cache_dir;
        let search = |any_key| Search {
            id,
            key,
            any_key,
            untrusted: self.settings.untrusted,
            lasts: (!whatever).then_some(self.settings.resolution_lasts),
            now: self.clock.now(),
        };
        let mut entries = Resolution::find(cache, search(false));
        if self.settings.offline {
            entries.extend(Resolution::find(cache, search(true)));
        }
        let chosen = entries.into_iter().map(|entry| {
            let folder = cache.join(names::package(entry.owner(), &entry.model_package_id));
            (entry.model_package_id, folder)
        });
        let usable = |(package_id, folder): (String, PathBuf)| {
            packages::is_usable(&folder, cache).then_some((package_id, folder))
        };
        let mut found = chosen.filter_map(usable).next();
        if found.is_none() && self.settings.offline {
            found = packages::of_model(cache, id).pop();
        }
        let (package_id, folder) = found?;
        Some(Found {
            package: Package::open(&folder).ok()?,
            package_id: Some(package_id),
            source: Source::Cache,
        })
    }

    /// Writes down which package was chosen.
    fn remember(
        &self,
        id: &str,
        key: Option<&ApiKey>,
        page: &Page,
        offer: &Offer,
        package: &Package,
    ) -> Result<(), ModelError> {
        let now = self.clock.now();
        let mut entry = Resolution::new(id, &page.model_id, &offer.package_id, key, now);
        let blobs = self.settings.cache_dir.join(names::BLOBS);
        let files = offer
            .files
            .iter()
            .flat_map(|file| [blobs.join(&file.md5), package.folder.join(&file.handle)]);
        let mark = package.folder.join(Package::MARK);
        entry.resolved_files = files
            .chain([mark])
            .map(|path| std::path::absolute(&path).unwrap_or(path))
            .map(|path| path.display().to_string())
            .collect();
        entry.model_architecture = Some(page.model_architecture.clone());
        entry.task_type = page.task_type.clone();
        entry.model_features = offer.features.clone();
        entry.recommended_parameters = package.recommended.clone();
        entry.trusted_source = Some(offer.trusted);
        entry.write(&self.settings.cache_dir)
    }
}

/// Refuses what no code here can run, before anything of it is downloaded.
fn runnable(id: &str, task: &str) -> Result<(), ModelError> {
    match Task::named(task) {
        Task::ObjectDetection => Ok(()),
        task => Err(ModelError::UnsupportedTask {
            id: id.to_owned(),
            task,
        }),
    }
}

fn platform_error(id: &str, question: Question, trouble: Trouble) -> ModelError {
    ModelError::Platform {
        id: id.to_owned(),
        question,
        trouble,
    }
}

/// Writes a small file so that readers see all of it or nothing.
fn write_whole(path: &Path, content: &[u8]) -> Result<(), ModelError> {
    let fresh = download::beside(
        path,
        ".",
        &format!(".{}.tmp", uuid::Uuid::new_v4().simple()),
    );
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let mut file = File::options().write(true).create_new(true).open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|error| {
        // What is left of the attempt is in nobody's way.
        let _ = fs::remove_file(&fresh);
        packages::cache_error(path, &error)
    })?;
    download::sync_folder(path);
    Ok(())
}
