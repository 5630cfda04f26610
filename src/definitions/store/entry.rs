//! One definition in memory, as callers, flights and the refresher see it. What is known of it is in
//! its [`State`].

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::Shared;
use super::flight::End;
use super::state::{State, Times};
use crate::definition::canonical::DefinitionHash;
use crate::definitions::answer::Answer;
use crate::definitions::disk::DiskCopy;
use crate::definitions::error::{DefinitionError, PlatformError};
use crate::definitions::file::{Look, WatchedFile};
use crate::definitions::freshness::{Freshness, Refusal};
use crate::definitions::key::{DefinitionKey, PlatformKey};
use crate::definitions::stamp::{self, DefinitionStamp, Fetched, Source, Trouble};
use crate::definitions::subscription::Teller;

/// A definition in memory.
#[derive(Debug)]
pub(in crate::definitions) struct Entry {
    name: Arc<str>,
    id: String,
    tenant: Option<String>,
    file: Option<Mutex<WatchedFile>>,
    /// When it was last used, in milliseconds of the monotonic clock.
    used: AtomicU64,
    state: Mutex<State>,
}

/// What a flight brought back.
pub(super) enum Landed {
    Answer(Answer, Option<String>, Option<io::Error>, Times),
    Same(Times),
    Failure(PlatformError, Option<DiskCopy>, Times),
}

impl Landed {
    pub(super) fn answer(
        answer: Answer,
        etag: Option<String>,
        disk: Option<io::Error>,
        shared: &Shared,
    ) -> Self {
        Self::Answer(answer, etag, disk, Times::of(shared))
    }

    pub(super) fn same(shared: &Shared) -> Self {
        Self::Same(Times::of(shared))
    }

    pub(super) fn failure(error: PlatformError, copy: Option<DiskCopy>, shared: &Shared) -> Self {
        Self::Failure(error, copy, Times::of(shared))
    }
}

impl Entry {
    pub(super) fn new(
        name: Arc<str>,
        key: DefinitionKey,
        file: Option<WatchedFile>,
        now: Duration,
    ) -> Self {
        Self {
            name,
            id: key.to_string(),
            tenant: key.tenant(),
            used: AtomicU64::new(now.as_millis() as u64),
            state: Mutex::new(State::new(key, file.is_none().then_some(now))),
            file: file.map(Mutex::new),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn key(&self) -> DefinitionKey {
        self.state().key.clone()
    }

    /// State is changed in whole steps, so a panic of another thread leaves nothing half done.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::definitions) fn touch(&self, now: Duration) {
        self.used.store(now.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> Duration {
        Duration::from_millis(self.used.load(Ordering::Relaxed))
    }

    pub(super) fn is_file(&self) -> bool {
        self.file.is_some()
    }

    pub(super) fn is_subscribed(&self) -> bool {
        !self.state().tellers.is_empty()
    }

    /// Whether nobody would miss it.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state();
        state.current.is_none() && state.tellers.is_empty() && state.flight.is_none()
    }

    /// What a request that does not insist on fresh content gets.
    pub(in crate::definitions) fn current(&self) -> Option<Arc<Fetched>> {
        self.state().current.clone()
    }

    /// The stamp of a content that runs: the newest one while the source still has that content. Of
    /// content that the source replaced it says since when, and why it runs on if the new one was
    /// refused.
    pub(in crate::definitions) fn stamp_of(&self, running: &DefinitionStamp) -> DefinitionStamp {
        let state = self.state();
        let current = match &state.current {
            Some(current) if current.stamp.hash == running.hash => return current.stamp.clone(),
            Some(current) => &current.stamp,
            None => return running.clone(),
        };
        let refused = state.refused.as_ref().filter(|r| r.hash == current.hash);
        DefinitionStamp {
            stale_from: Some(current.fetched_at),
            last_error: refused.map(|refused| Trouble {
                message: format!("{} was refused: {}", refused.hash, refused.reason).into(),
                at: refused.at,
            }),
            ..running.clone()
        }
    }

    /// Enrols a subscriber that runs this content: its number, and where it is told of others.
    pub(in crate::definitions) fn enrol(
        &self,
        running: Option<DefinitionHash>,
    ) -> (u64, Receiver<Arc<Fetched>>) {
        let mut state = self.state();
        state.enrolled += 1;
        let number = state.enrolled;
        let mut teller = Teller::new(number, running);
        let changes = teller.receiver();
        if let Some(current) = &state.current {
            teller.tell(current);
        }
        state.tellers.push(teller);
        (number, changes)
    }

    /// Ends a subscription.
    pub(in crate::definitions) fn dismiss(&self, number: u64) {
        self.state().tellers.retain(|t| t.number() != number);
    }

    pub(super) fn note_refusal(&self, refusal: Option<Refusal>) {
        self.state().refused = refusal;
    }

    /// Takes in what a flight brought back.
    pub(super) fn land(&self, number: u64, landed: Landed, key: PlatformKey) -> End {
        let mut state = self.state();
        state.end_flight(number);
        match landed {
            Landed::Answer(answer, etag, disk, times) => {
                state.key = DefinitionKey::Platform(key);
                state.etag = etag;
                state.note_disk(&self.id, disk, times.now);
                let fetched = state.fetched(answer, Source::Platform, times.now);
                End::both(Ok(state.confirm(&self.id, fetched, times)))
            }
            Landed::Same(times) => {
                state.key = DefinitionKey::Platform(key);
                let known = state.current.as_deref().cloned();
                End::both(match known {
                    Some(known) => Ok(state.confirm(&self.id, known, times)),
                    None => Err(DefinitionError::Internal(
                        "there is nothing to confirm".into(),
                    )),
                })
            }
            Landed::Failure(error, copy, times) => state.fail(&self.id, &error, copy, times),
        }
    }

    /// Takes in a disk copy while the platform still keeps everybody waiting.
    pub(super) fn adopt(
        &self,
        copy: DiskCopy,
        error: &PlatformError,
        shared: &Shared,
    ) -> Arc<Fetched> {
        let mut state = self.state();
        if let Some(current) = &state.current {
            return current.clone();
        }
        let times = Times::of(shared);
        state.trouble(&self.id, &error.to_string(), times.now);
        state.failures = state.failures.max(1);
        let fetched = state.of_copy(copy);
        state.replace(&self.id, fetched)
    }

    /// Looks at the file of an entry that has one.
    pub(super) fn look(&self, shared: &Shared) -> Result<Arc<Fetched>, DefinitionError> {
        let Some(file) = &self.file else {
            return Err(DefinitionError::Internal(format!("{} is no file", self.id)));
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        let look = file.look(&*shared.clock);
        let now = shared.clock.now();
        let mut state = self.state();
        match look {
            Look::Same => {}
            Look::Read(answer) => state.read(&self.id, answer, file.source(), now),
            Look::Failed(reason) => state.broken(&self.id, &reason, now),
        }
        state.current.clone().ok_or_else(|| DefinitionError::File {
            path: file.path().to_owned(),
            reason: match &state.trouble {
                Some(trouble) => trouble.message.to_string(),
                None => "it is still being written".into(),
            },
        })
    }

    pub(super) fn freshness(&self, shared: &Shared) -> Freshness {
        let (now, monotonic) = (shared.clock.now(), shared.clock.monotonic());
        let state = self.state();
        // The monotonic clock says when, the wall clock how that is written.
        let written = |at: Duration| match at.checked_sub(monotonic) {
            Some(ahead) => stamp::later(now, ahead),
            None => stamp::earlier(now, monotonic - at),
        };
        let known = state.current.is_some() && !self.is_file();
        Freshness {
            id: self.id.clone(),
            tenant: self.tenant.clone(),
            stamp: state.current.as_ref().map(|c| c.stamp.clone()),
            expires: (known && !state.expires.is_zero()).then(|| written(state.expires)),
            next_refresh: state.next_refresh.map(written),
            refreshing: state.flight.is_some(),
            last_attempt: state.last_attempt,
            last_outcome: state.last_outcome,
            last_error: state.trouble.clone(),
            failures: state.failures,
            disk_error: state.disk_trouble.clone(),
            subscribers: state.tellers.len(),
            refused: state.refused.clone(),
        }
    }
}
