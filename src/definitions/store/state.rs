//! What is known of one definition, and how each answer of its source changes it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::flight::{End, Flight};
use crate::definition::canonical::DefinitionHash;
use crate::definitions::answer::Answer;
use crate::definitions::disk::DiskCopy;
use crate::definitions::error::{DefinitionError, PlatformError};
use crate::definitions::freshness::{Outcome, Refusal};
use crate::definitions::key::DefinitionKey;
use crate::definitions::schedule;
use crate::definitions::stamp::{self, DefinitionStamp, Fetched, Source, Trouble};
use crate::definitions::subscription::Teller;
use crate::values::Timestamp;

/// Time after the time-to-live that a refresh may take before a definition counts as stale.
const GRACE: Duration = Duration::from_secs(1);

/// What is known of a definition. It is changed under its lock, in whole steps.
#[derive(Debug)]
pub(super) struct State {
    /// The key, with the API key that last worked.
    pub(super) key: DefinitionKey,
    pub(super) etag: Option<String>,
    pub(super) flight: Option<Flight>,
    /// Flights so far; the newest has this number.
    pub(super) flights: u64,
    /// When the refresher asks the source again; files are looked at all the time.
    pub(super) next_refresh: Option<Duration>,
    pub(super) current: Option<Arc<Fetched>>,
    pub(super) expires: Duration,
    pub(super) failures: u32,
    pub(super) last_attempt: Option<Timestamp>,
    pub(super) last_outcome: Option<Outcome>,
    pub(super) trouble: Option<Trouble>,
    pub(super) disk_trouble: Option<Trouble>,
    pub(super) refused: Option<Refusal>,
    pub(super) tellers: Vec<Teller>,
    pub(super) enrolled: u64,
}

/// The times that an answer is filed under.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) now: Timestamp,
    monotonic: Duration,
    ttl: Duration,
    chance: f64,
}

impl Times {
    pub(super) fn of(shared: &Shared) -> Self {
        Self {
            now: shared.clock.now(),
            monotonic: shared.clock.monotonic(),
            ttl: shared.settings.ttl,
            chance: schedule::chance(),
        }
    }
}

impl State {
    /// A state that knows nothing yet; `next_refresh` is none for files.
    pub(super) fn new(key: DefinitionKey, next_refresh: Option<Duration>) -> Self {
        Self {
            key,
            next_refresh,
            etag: None,
            flight: None,
            flights: 0,
            current: None,
            expires: Duration::ZERO,
            failures: 0,
            last_attempt: None,
            last_outcome: None,
            trouble: None,
            disk_trouble: None,
            refused: None,
            tellers: Vec::new(),
            enrolled: 0,
        }
    }

    /// What is in memory, if it is within its time-to-live. Past it, what there is goes on without
    /// a wait while the platform fails: it is asked again beside the requests.
    pub(super) fn ready(&self, now: Duration) -> Option<Arc<Fetched>> {
        let failing = self.failures > 0
            && (self.flight.is_some() || self.next_refresh.is_some_and(|due| now < due));
        (now < self.expires || failing)
            .then(|| self.current.clone())
            .flatten()
    }

    /// A definition from its source; the known one keeps its place in memory.
    pub(super) fn fetched(&self, answer: Answer, source: Source, given_at: Timestamp) -> Fetched {
        let hash = DefinitionHash::of(&answer.definition);
        let pinned = match &self.key {
            DefinitionKey::Platform(key) => key.version().map(str::to_owned),
            _ => None,
        };
        let known = self.current.as_ref().filter(|c| c.stamp.hash == hash);
        Fetched {
            stamp: DefinitionStamp {
                hash,
                version: pinned.or_else(|| stamp::declared_version(&answer.definition)),
                source,
                fetched_at: given_at,
                stale_from: None,
                last_error: None,
            },
            definition: match known {
                Some(known) => known.definition.clone(),
                None => Arc::new(answer.definition),
            },
            platform_id: answer.platform_id,
        }
    }

    /// A disk copy: stale, because the platform did not say that it is still the published one.
    pub(super) fn of_copy(&self, copy: DiskCopy) -> Fetched {
        let mut fetched = self.fetched(copy.answer, Source::Disk, copy.written_at);
        fetched.stamp.stale_from = Some(copy.written_at);
        fetched.stamp.last_error = self.trouble.clone();
        fetched
    }

    /// The platform gave this now, or said that it is still the published one.
    pub(super) fn confirm(&mut self, id: &str, mut fetched: Fetched, times: Times) -> Arc<Fetched> {
        let Times { now, ttl, .. } = times;
        fetched.stamp.source = Source::Platform;
        fetched.stamp.fetched_at = now;
        fetched.stamp.stale_from = Some(stamp::later(now, ttl + GRACE));
        fetched.stamp.last_error = None;
        self.last_attempt = Some(now);
        self.expires = times.monotonic + ttl;
        self.next_refresh = Some(times.monotonic + schedule::ahead(ttl, times.chance));
        self.recover(id);
        self.replace(id, fetched)
    }

    fn recover(&mut self, id: &str) {
        self.failures = 0;
        if let Some(trouble) = self.trouble.take() {
            tracing::info!(id, before = %trouble.message, "definition can be had again");
        }
    }

    /// Puts a definition in the place of the current one, and tells whom it concerns.
    pub(super) fn replace(&mut self, id: &str, fetched: Fetched) -> Arc<Fetched> {
        let stamp = &fetched.stamp;
        let (hash, source) = (stamp.hash, stamp.source);
        let version = stamp.version.as_deref();
        let before = self.current.as_ref().map(|c| c.stamp.hash);
        let from_disk = source == Source::Disk;
        match before {
            Some(before) if before == hash => {
                tracing::debug!(id, %hash, %source, "definition confirmed");
            }
            Some(before) => {
                tracing::info!(id, %before, %hash, version, %source, "definition changed")
            }
            None if from_disk => {
                let age = "its age is in the stamp of results";
                tracing::warn!(id, %hash, version, %source, "definition taken from the disk copy; {age}");
            }
            None => tracing::info!(id, %hash, version, %source, "definition fetched"),
        }
        let changed = before != Some(hash);
        self.last_outcome = Some(match (changed, from_disk) {
            (_, true) => Outcome::FromDisk,
            (true, false) => Outcome::Changed,
            (false, false) => Outcome::Unchanged,
        });
        if changed {
            self.refused = None;
        }
        let fetched = Arc::new(fetched);
        self.current = Some(fetched.clone());
        for teller in &mut self.tellers {
            teller.tell(&fetched);
        }
        fetched
    }

    /// Notes what went wrong; the log has it once.
    pub(super) fn trouble(&mut self, id: &str, message: &str, now: Timestamp) {
        let known = self
            .trouble
            .as_ref()
            .is_some_and(|t| &*t.message == message);
        let hash = self.current.as_ref().map(|c| c.stamp.hash.to_string());
        let hash = hash.as_deref();
        match (known, hash) {
            (true, _) => tracing::debug!(id, "definition still not refreshed: {message}"),
            (false, Some(_)) => {
                tracing::warn!(
                    id,
                    hash,
                    "definition not refreshed, the known one goes on: {message}"
                );
            }
            (false, None) => tracing::warn!(id, "definition not fetched: {message}"),
        }
        self.trouble = Some(Trouble {
            message: message.into(),
            at: now,
        });
        self.last_attempt = Some(now);
    }

    /// The platform did not give the definition.
    pub(super) fn fail(
        &mut self,
        id: &str,
        error: &PlatformError,
        copy: Option<DiskCopy>,
        times: Times,
    ) -> End {
        self.trouble(id, &error.to_string(), times.now);
        self.failures += 1;
        let wait = if error.falls_back() {
            let longest = times.ttl;
            schedule::back_off(self.failures, error.retry_after(), longest, times.chance)
        } else {
            schedule::ahead(times.ttl, times.chance)
        };
        self.next_refresh = Some(times.monotonic + wait);
        self.last_outcome = Some(match &self.current {
            Some(_) => Outcome::Kept,
            None => Outcome::Failed,
        });
        if let Some(current) = &self.current {
            let mut current = Fetched::clone(current);
            current.stamp.last_error = self.trouble.clone();
            self.current = Some(Arc::new(current));
        }
        let copy = copy.map(|copy| self.of_copy(copy));
        if let Some(copy) = &copy
            && self.is_newer(copy)
        {
            self.replace(id, copy.clone());
        }
        let failed = || {
            Err(DefinitionError::Platform {
                id: id.to_owned(),
                source: error.clone(),
            })
        };
        let cached = self.current.clone().map_or_else(failed, Ok);
        let fresh = match copy {
            Some(copy) => Ok(Arc::new(copy)),
            None if error.falls_back() => self.unconfirmed(times.now).map_or_else(failed, Ok),
            None => failed(),
        };
        End { cached, fresh }
    }

    /// Whether a disk copy is worth more than what is in memory: there is nothing, or another
    /// process that shares the disk has fetched since.
    fn is_newer(&self, copy: &Fetched) -> bool {
        self.current.as_ref().is_none_or(|current| {
            current.stamp.hash != copy.stamp.hash
                && current.stamp.fetched_at.unix_seconds() < copy.stamp.fetched_at.unix_seconds()
        })
    }

    /// What is in memory, for somebody who asked for more.
    fn unconfirmed(&self, now: Timestamp) -> Option<Arc<Fetched>> {
        let mut fetched = Fetched::clone(self.current.as_ref()?);
        fetched.stamp.stale_from = Some(now);
        Some(Arc::new(fetched))
    }

    pub(super) fn note_disk(&mut self, id: &str, error: Option<io::Error>, now: Timestamp) {
        if let Some(error) = &error {
            tracing::warn!(
                id,
                "the disk copy was not written: {error}; check MODEL_CACHE_DIR"
            );
        }
        self.disk_trouble = error.map(|error| Trouble {
            message: error.to_string().into(),
            at: now,
        });
    }

    /// A file was read.
    pub(super) fn read(&mut self, id: &str, answer: Answer, source: Source, now: Timestamp) {
        self.last_attempt = Some(now);
        self.recover(id);
        let fetched = self.fetched(answer, source, now);
        let same = self.current.as_ref().is_some_and(|current| {
            current.stamp.hash == fetched.stamp.hash && current.stamp.last_error.is_none()
        });
        if !same {
            self.replace(id, fetched);
        }
    }

    /// A file is missing or broken: what was read before goes on.
    pub(super) fn broken(&mut self, id: &str, reason: &str, now: Timestamp) {
        self.trouble(id, reason, now);
        self.failures += 1;
        self.last_outcome = Some(match &self.current {
            Some(_) => Outcome::Kept,
            None => Outcome::Failed,
        });
        if let Some(current) = &self.current {
            let mut current = Fetched::clone(current);
            current.stamp.stale_from = current.stamp.stale_from.or(Some(now));
            current.stamp.last_error = self.trouble.clone();
            self.current = Some(Arc::new(current));
        }
    }
}
