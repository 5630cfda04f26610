//! Where definitions are kept and found.
//!
//! [`DefinitionStore::get`] answers from memory while an entry is within its time-to-live; that path
//! takes no network, no disk and no other thread. Otherwise one flight to the platform is under way
//! per entry, however many ask ([`flight`]); what it brings back changes what is
//! known ([`state`]).
//! Definitions in files are looked at with every request.
//!
//! The store has one thread of its own, so it can be asked from inside and outside of any runtime.
//! Nobody who has, or could have, a copy waits longer than [`Settings::patience`].

mod compiling;
mod entries;
mod entry;
mod flight;
mod state;

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;

use super::answer::Answer;
use super::disk::{DiskCache, DiskCopy};
use super::error::{DefinitionError, PlatformError};
use super::file;
use super::freshness::{Freshness, Refusal};
use super::key::{ApiKey, DefinitionKey, LOCAL_WORKSPACE, PlatformKey};
use super::platform::{Greeting, Platform, Reply};
use super::settings::Settings;
use super::stamp::Fetched;
use super::subscription::Subscription;
use crate::clock::Clock;
use crate::definition::canonical::DefinitionHash;
pub use compiling::Compiled;
pub(super) use entry::Entry;

/// Most entries in memory; the one that was not used for longest goes first. Entries that somebody
/// subscribed to stay.
const MAX_ENTRIES: usize = 1024;
/// Longest time between two rounds of the refresher.
const LONGEST_ROUND: Duration = Duration::from_secs(1);

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Demand {
    /// A definition within its time-to-live.
    #[default]
    Cached,
    /// What its source gives now (`use_cache` is false). A copy that stands in says so: its stamp
    /// is stale and has the error.
    Fresh,
}

impl Demand {
    /// The demand of a request with this `use_cache`.
    pub fn of(use_cache: bool) -> Self {
        if use_cache { Self::Cached } else { Self::Fresh }
    }
}

/// Finds definitions and keeps them fresh. See the module for the contract.
pub struct DefinitionStore {
    pub(super) shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

/// What flights and the refresher share with the store.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    platform: Platform,
    disk: Option<DiskCache>,
    entries: DashMap<Arc<str>, Arc<Entry>>,
    pub(super) handle: Handle,
    /// Wakes the refresher.
    pub(super) wake: Notify,
}

impl DefinitionStore {
    /// A store with these settings.
    ///
    /// # Errors
    /// If its thread cannot be started.
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, DefinitionError> {
        let settings = settings.checked();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("definitions")
            .enable_all()
            .build()
            .map_err(|error| DefinitionError::Internal(error.to_string()))?;
        let disk = settings.disk.then(|| {
            DiskCache::new(
                &settings.cache_dir,
                settings.single_tenant,
                settings.offline,
            )
        });
        let shared = Arc::new(Shared {
            platform: Platform::new(settings.platform.clone()),
            disk,
            entries: DashMap::new(),
            handle: runtime.handle().clone(),
            wake: Notify::new(),
            settings,
            clock,
        });
        Ok(Self {
            shared,
            runtime: Some(runtime),
        })
    }

    /// How it behaves.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The definition under a key. With [`Demand::Cached`], an entry whose source fails is answered
    /// from what there is; its stamp tells.
    ///
    /// # Errors
    /// If neither its source nor a copy gives the definition, and with [`Demand::Fresh`] also if
    /// the platform refuses it.
    pub async fn get(
        &self,
        key: &DefinitionKey,
        demand: Demand,
    ) -> Result<Arc<Fetched>, DefinitionError> {
        let (entry, key) = match self.shared.begin(key, demand)? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Absent(entry, key) => (entry, key),
        };
        let fetch = self.shared.clone().fetch(entry, key, demand);
        let fetched = self.shared.handle.spawn(fetch).await;
        fetched.unwrap_or_else(|_| Err(cut_off()))
    }

    /// The same for threads outside of any runtime: waits.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn get_blocking(
        &self,
        key: &DefinitionKey,
        demand: Demand,
    ) -> Result<Arc<Fetched>, DefinitionError> {
        let (entry, key) = match self.shared.begin(key, demand)? {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Absent(entry, key) => (entry, key),
        };
        let (answer, wait) = std::sync::mpsc::sync_channel(1);
        let fetch = self.shared.clone().fetch(entry, key, demand);
        self.shared.handle.spawn(async move {
            // The receiver is gone only if its thread is.
            let _ = answer.send(fetch.await);
        });
        wait.recv().unwrap_or_else(|_| Err(cut_off()))
    }

    /// Asks the source of a definition now, whatever its time-to-live says.
    ///
    /// # Errors
    /// See [`Self::get`].
    pub fn refresh_now(&self, key: &DefinitionKey) -> Result<Arc<Fetched>, DefinitionError> {
        self.get_blocking(key, Demand::Fresh)
    }

    /// Subscribes to a definition: its entry is kept fresh, and every content whose hash is another
    /// than that of the content given before (at first: `running`) is sent. Nothing is fetched here;
    /// a definition that is not in memory is fetched by the refresher's next round.
    ///
    /// # Errors
    /// If the key can have no definition.
    pub fn subscribe(
        &self,
        key: &DefinitionKey,
        running: Option<DefinitionHash>,
    ) -> Result<Subscription, DefinitionError> {
        let entry = self.shared.entry(&self.shared.with_own_key(key))?;
        let subscription = Subscription::new(entry, running, self.shared.clock.monotonic());
        self.shared.wake.notify_one();
        Ok(subscription)
    }

    /// The state of every entry, sorted by id.
    pub fn freshness(&self) -> Vec<Freshness> {
        let mut rows: Vec<Freshness> = self
            .shared
            .entries()
            .iter()
            .map(|entry| entry.freshness(&self.shared))
            .collect();
        rows.sort_by(|a, b| (&a.id, &a.tenant).cmp(&(&b.id, &b.tenant)));
        rows
    }

    /// The keys in memory that are shown under this id.
    pub fn keys(&self, id: &str) -> Vec<DefinitionKey> {
        self.shared
            .entries()
            .iter()
            .map(|entry| entry.key())
            .filter(|key| key.to_string() == id)
            .collect()
    }

    /// Notes that a stream refused a definition (it does not compile, a model is missing), or with
    /// `None` that it took the newest one.
    pub fn note_refusal(&self, key: &DefinitionKey, refusal: Option<Refusal>) {
        if let Ok(entry) = self.shared.entry(&self.shared.with_own_key(key)) {
            entry.note_refusal(refusal);
        }
    }

    /// The names of the definitions in the watched folder, sorted.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn folder_names(&self) -> std::io::Result<Vec<String>> {
        match &self.shared.settings.folder {
            Some(folder) => file::names(folder),
            None => Ok(Vec::new()),
        }
    }

    /// The key of a definition by the names that requests and inner workflows have for it. In the
    /// workspace `local` the watched folder is looked at first.
    pub fn key_of(
        &self,
        workspace: &str,
        workflow: &str,
        version: Option<&str>,
        api_key: Option<ApiKey>,
    ) -> DefinitionKey {
        let in_folder = workspace == LOCAL_WORKSPACE
            && self
                .folder_names()
                .is_ok_and(|names| names.iter().any(|name| name == workflow));
        match in_folder {
            true => DefinitionKey::folder(workflow),
            false => DefinitionKey::workflow(workspace, workflow, version, api_key),
        }
    }

    /// What the platform publishes under a key now. Nothing of it is kept.
    ///
    /// # Errors
    /// If the platform does not give it.
    pub fn published(&self, key: &PlatformKey) -> Result<Answer, PlatformError> {
        let key = match self.shared.settings.api_key.as_ref() {
            Some(own) => key.clone().or_key(own),
            None => key.clone(),
        };
        let shared = self.shared.clone();
        self.wait(async move {
            match shared.platform.fetch(&key, None, &*shared.clock).await? {
                Reply::New { answer, .. } => Ok(answer),
                Reply::Same => Err(PlatformError::Garbage {
                    reason: "it compares with what was not sent".into(),
                }),
            }
        })
    }

    /// Whether the platform is there, what time it has, and whom the server's own API key belongs
    /// to.
    ///
    /// # Errors
    /// If it does not answer at all.
    pub fn greet(&self) -> Result<Greeting, PlatformError> {
        let shared = self.shared.clone();
        self.wait(async move {
            shared
                .platform
                .greet(shared.settings.api_key.as_ref())
                .await
        })
    }

    /// The workspace that a key belongs to; none for a key that the platform does not know.
    ///
    /// # Errors
    /// If the platform does not answer, or must not be asked.
    pub async fn workspace_of(&self, key: super::ApiKey) -> Result<Option<String>, PlatformError> {
        if self.shared.settings.offline {
            return Err(PlatformError::Offline);
        }
        let shared = self.shared.clone();
        let asked = self
            .shared
            .handle
            .spawn(async move { shared.platform.greet(Some(&key)).await });
        let greeting = asked.await.map_err(|_| PlatformError::Unreachable {
            reason: "the store was closed".into(),
        })??;
        Ok(greeting.workspace.filter(|_| greeting.status == 200))
    }

    /// Lets the store's thread do something and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, PlatformError>> + Send + 'static,
    ) -> Result<T, PlatformError> {
        if self.shared.settings.offline {
            return Err(PlatformError::Offline);
        }
        let (answer, wait) = std::sync::mpsc::sync_channel(1);
        self.shared.handle.spawn(async move {
            // The receiver is gone only if its thread is.
            let _ = answer.send(work.await);
        });
        wait.recv().unwrap_or_else(|_| {
            let reason = "the store was closed".into();
            Err(PlatformError::Unreachable { reason })
        })
    }

    /// The disk copy of a definition, with the API key that a request without one would get.
    ///
    /// # Errors
    /// If it is there but damaged.
    pub fn disk_copy(
        &self,
        key: &DefinitionKey,
    ) -> Result<Option<DiskCopy>, super::disk::DamagedCopy> {
        match (&self.shared.disk, self.shared.with_own_key(key)) {
            (Some(disk), DefinitionKey::Platform(key)) => disk.read(&key),
            _ => Ok(None),
        }
    }
}

impl Drop for DefinitionStore {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for DefinitionStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DefinitionStore({} entries)", self.shared.entries.len())
    }
}

fn cut_off() -> DefinitionError {
    DefinitionError::Internal("the store was closed".into())
}

/// How a request begins.
enum Begun {
    /// Memory or a file answered it.
    Answered(Arc<Fetched>),
    /// The platform has to be asked.
    Absent(Arc<Entry>, PlatformKey),
}
