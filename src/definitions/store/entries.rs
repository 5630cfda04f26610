//! The entries of the store: found or made for a key, forgotten when nobody uses them, and kept fresh in
//! rounds.

use std::sync::Arc;
use std::time::Duration;

use super::super::error::DefinitionError;
use super::super::file::{self, WatchedFile};
use super::super::key::DefinitionKey;
use super::super::stamp::Source;
use super::super::{fingerprint, schedule};
use super::{Begun, Demand, Entry, LONGEST_ROUND, MAX_ENTRIES, Shared};

impl Shared {
    /// Answers a request from memory or from a file if that is possible.
    pub(super) fn begin(
        &self,
        key: &DefinitionKey,
        demand: Demand,
    ) -> Result<Begun, DefinitionError> {
        let key = self.with_own_key(key);
        let entry = self.entry(&key)?;
        let now = self.clock.monotonic();
        entry.touch(now);
        let DefinitionKey::Platform(key) = key else {
            let looked = entry.look(self);
            if looked.is_err() {
                self.forget_empty(&entry);
            }
            return looked.map(Begun::Answered);
        };
        let ready = match demand {
            Demand::Cached => entry.state().ready(now),
            Demand::Fresh => None,
        };
        Ok(match ready {
            Some(ready) => Begun::Answered(ready),
            None => Begun::Absent(entry, key),
        })
    }

    /// The entry of a key; a new one knows nothing yet.
    pub(super) fn entry(&self, key: &DefinitionKey) -> Result<Arc<Entry>, DefinitionError> {
        let name = key.memory_key(self.settings.single_tenant);
        if let Some(entry) = self.entries.get(name.as_str()) {
            return Ok(entry.clone());
        }
        let file = self.file_of(key)?;
        let name: Arc<str> = name.into();
        let now = self.clock.monotonic();
        let entry = self
            .entries
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Entry::new(name, key.clone(), file, now)))
            .clone();
        self.make_room();
        Ok(entry)
    }

    /// The key with the server's own API key, if it has none.
    pub(super) fn with_own_key(&self, key: &DefinitionKey) -> DefinitionKey {
        match (key, &self.settings.api_key) {
            (DefinitionKey::Platform(key), Some(own)) => {
                DefinitionKey::Platform(key.clone().or_key(own))
            }
            _ => key.clone(),
        }
    }

    /// The file that holds a definition, if one does.
    fn file_of(&self, key: &DefinitionKey) -> Result<Option<WatchedFile>, DefinitionError> {
        let (path, source) = match key {
            DefinitionKey::Platform(platform) => {
                let bad = |id: &str| matches!(id, "" | "." | "..");
                if bad(platform.workspace()) || bad(platform.workflow()) {
                    return Err(DefinitionError::Name {
                        id: key.to_string(),
                    });
                }
                return Ok(None);
            }
            DefinitionKey::Local(id) => {
                if !file::is_local_id(id) {
                    return Err(folder_error(
                        id,
                        "a local id has letters, digits, `_` and `-` only",
                    ));
                }
                let path = self.settings.cache_dir.join(fingerprint::local_path(id));
                (path, Source::File)
            }
            DefinitionKey::Folder(name) => {
                let Some(folder) = &self.settings.folder else {
                    return Err(folder_error(name, "no folder of definitions was named"));
                };
                let path = file::in_folder(folder, name).map_err(|e| folder_error(name, &e))?;
                (path, Source::Folder)
            }
            DefinitionKey::File(path) => (path.clone(), Source::File),
        };
        Ok(Some(WatchedFile::new(path, source)))
    }

    /// All entries.
    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.entries.iter().map(|entry| entry.clone()).collect()
    }

    /// Forgets the entry that was not used for longest, if there are too many.
    fn make_room(&self) {
        if self.entries.len() <= MAX_ENTRIES {
            return;
        }
        let oldest = self
            .entries()
            .into_iter()
            .filter(|entry| !entry.is_subscribed())
            .min_by_key(|entry| entry.used());
        if let Some(entry) = oldest {
            self.entries.remove(entry.name());
        }
    }

    /// Forgets an entry that has nothing to tell. Others may be about to use it: then it stays.
    pub(super) fn forget_empty(&self, entry: &Arc<Entry>) {
        // One count is the map's, one the caller's.
        self.entries.remove_if(entry.name(), |_, known| {
            Arc::strong_count(known) <= 2 && known.is_empty()
        });
    }

    /// One round of the refresher: starts what is due, looks at files, forgets what nobody uses.
    /// Says when the next one is due.
    pub(in crate::definitions) fn round(self: &Arc<Self>) -> Duration {
        let now = self.clock.monotonic();
        let warm = schedule::kept_warm(self.settings.ttl);
        let mut wait = LONGEST_ROUND;
        for entry in self.entries() {
            if !entry.is_subscribed() && now.saturating_sub(entry.used()) > warm {
                self.entries.remove(entry.name());
                continue;
            }
            if entry.is_file() {
                // What it finds is in the entry, and told to subscribers.
                let _ = entry.look(self);
                wait = wait.min(self.settings.poll);
            } else if entry.is_empty() {
                self.forget_empty(&entry);
            } else if let Some(due) = self.refresh_if_due(&entry, now) {
                wait = wait.min(due.saturating_sub(now));
            }
        }
        wait
    }
}

fn folder_error(name: &str, reason: &str) -> DefinitionError {
    DefinitionError::Folder {
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}
