//! One request to the platform on behalf of everybody who asks for an entry.
//!
//! A flight runs on the store's thread and ends by itself: callers that go away do not stop it.
//! Whoever wants what the platform gives *now* does not join a flight that left before they asked;
//! they take the next one, together.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::entry::Landed;
use super::state::State;
use super::{Demand, Entry, Shared, cut_off};
use crate::definitions::answer::Answer;
use crate::definitions::disk::{DiskCache, DiskCopy};
use crate::definitions::error::{DefinitionError, PlatformError};
use crate::definitions::key::{DefinitionKey, PlatformKey};
use crate::definitions::platform::Reply;
use crate::definitions::stamp::Fetched;

/// Longest time for which a disk may hold up an answer of the platform.
const DISK_PATIENCE: Duration = Duration::from_secs(5);

/// How a flight ended: for those who take what there is, and for those who want it fresh.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) cached: Result<Arc<Fetched>, DefinitionError>,
    pub(super) fresh: Result<Arc<Fetched>, DefinitionError>,
}

impl End {
    pub(super) fn both(result: Result<Arc<Fetched>, DefinitionError>) -> Self {
        Self {
            fresh: result.clone(),
            cached: result,
        }
    }
}

/// A flight under way.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    number: u64,
    end: watch::Receiver<Option<End>>,
}

impl Flight {
    async fn wait(&self) -> Result<End, DefinitionError> {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|e| e.clone()).ok_or_else(cut_off)
    }
}

/// The way back: takes the flight off its entry even if it breaks off.
struct Landing {
    entry: Arc<Entry>,
    number: u64,
    tell: watch::Sender<Option<End>>,
}

impl Landing {
    fn land(self, landed: Landed, key: PlatformKey) {
        let end = self.entry.land(self.number, landed, key);
        self.tell.send_replace(Some(end));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.entry.state().end_flight(self.number);
    }
}

impl State {
    /// Takes a flight off, if it is this one.
    pub(super) fn end_flight(&mut self, number: u64) {
        if self.flight.as_ref().is_some_and(|f| f.number == number) {
            self.flight = None;
        }
    }
}

impl Shared {
    /// Answers a request that cannot be answered from memory.
    pub(super) async fn fetch(
        self: Arc<Self>,
        entry: Arc<Entry>,
        key: PlatformKey,
        demand: Demand,
    ) -> Result<Arc<Fetched>, DefinitionError> {
        let fetched = match demand {
            Demand::Cached => self.fetch_cached(&entry, &key).await,
            Demand::Fresh => self.fetch_fresh(&entry, &key).await,
        };
        if fetched.is_err() {
            self.forget_empty(&entry);
        }
        fetched
    }

    async fn fetch_cached(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        key: &PlatformKey,
    ) -> Result<Arc<Fetched>, DefinitionError> {
        let flight = {
            let mut state = entry.state();
            // Somebody else's flight may have landed since the look into memory.
            if let Some(current) = state.ready(self.clock.monotonic()) {
                return Ok(current);
            }
            self.join(entry, &mut state, key, false)
        };
        if let Ok(end) = tokio::time::timeout(self.settings.patience, flight.wait()).await {
            return end?.cached;
        }
        match self.stand_in(entry, key).await {
            Some(copy) => Ok(copy),
            None => flight.wait().await?.cached,
        }
    }

    async fn fetch_fresh(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        key: &PlatformKey,
    ) -> Result<Arc<Fetched>, DefinitionError> {
        let next = entry.state().flights + 1;
        loop {
            let flight = self.join(entry, &mut entry.state(), key, true);
            let end = flight.wait().await?;
            if flight.number >= next {
                return end.fresh;
            }
        }
    }

    /// The flight under way, else a new one; with `whole` one that compares with nothing.
    fn join(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        state: &mut State,
        key: &PlatformKey,
        whole: bool,
    ) -> Flight {
        if let Some(flight) = &state.flight {
            return flight.clone();
        }
        state.flights += 1;
        let (tell, end) = watch::channel(None);
        let flight = Flight {
            number: state.flights,
            end,
        };
        state.flight = Some(flight.clone());
        let landing = Landing {
            entry: entry.clone(),
            number: flight.number,
            tell,
        };
        let etag = state.etag.clone().filter(|_| !whole);
        self.handle
            .spawn(fly(self.clone(), landing, key.clone(), etag));
        flight
    }

    /// Starts a flight if the entry is due and none is under way. Says when it is due.
    pub(super) fn refresh_if_due(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        now: Duration,
    ) -> Option<Duration> {
        let mut state = entry.state();
        let DefinitionKey::Platform(key) = state.key.clone() else {
            return None;
        };
        let due = state.next_refresh?;
        if state.flight.is_none() && due <= now {
            self.join(entry, &mut state, &key, false);
        }
        // While a flight is under way the next one is not known; its landing sets it.
        state.flight.is_none().then_some(due)
    }

    /// What may be had without the platform, for a request whose patience is over.
    async fn stand_in(&self, entry: &Entry, key: &PlatformKey) -> Option<Arc<Fetched>> {
        if let Some(current) = entry.current() {
            return Some(current);
        }
        let copy = self.read_copy(key).await?;
        let limit = self.settings.patience;
        Some(entry.adopt(copy, &PlatformError::Timeout { limit }, self))
    }

    async fn read_copy(&self, key: &PlatformKey) -> Option<DiskCopy> {
        let key = key.clone();
        let read = self.on_disk(move |disk| disk.read(&key)).await?;
        match read {
            Ok(Ok(copy)) => copy,
            Ok(Err(damaged)) => {
                tracing::warn!("{damaged}");
                None
            }
            Err(hung) => {
                tracing::warn!("the disk copy cannot be read: {hung}");
                None
            }
        }
    }

    /// Does something with the disk copies, beside the store's thread and within a limit of time.
    /// `None` if there are none.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DiskCache) -> T + Send + 'static,
    ) -> Option<io::Result<T>> {
        let disk = self.disk.clone()?;
        let work = self.handle.spawn_blocking(move || work(&disk));
        Some(match tokio::time::timeout(DISK_PATIENCE, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(broken)) => Err(io::Error::other(broken.to_string())),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the disk did nothing for {} s", DISK_PATIENCE.as_secs()),
            )),
        })
    }

    /// Writes the disk copy; a failure is told and changes nothing else.
    async fn write_copy(&self, key: &PlatformKey, body: Bytes) -> Result<(), io::Error> {
        let key = key.clone();
        let written = self.on_disk(move |disk| {
            disk.sweep(&key);
            disk.write(&key, &body)
        });
        match written.await {
            None => Ok(()),
            Some(written) => written.and_then(|w| w),
        }
    }

    /// Whether the disk copy is the definition that the platform just confirmed. Notes the time.
    async fn confirm_copy(&self, key: &PlatformKey, confirmed: &Fetched) -> bool {
        let (key, definition) = (key.clone(), confirmed.definition.clone());
        let now = self.clock.now();
        let confirmed = self.on_disk(move |disk| {
            let same = |copy: DiskCopy| copy.answer.definition == *definition;
            disk.read(&key).is_ok_and(|copy| copy.is_some_and(same))
                && disk.confirm(&key, now).is_ok()
        });
        confirmed.await.is_none_or(|c| c.unwrap_or(false))
    }

    /// Asks the platform; an answer that nothing changed is believed only if the disk copy is good
    /// too, so that a damaged one is replaced.
    async fn ask(
        &self,
        entry: &Entry,
        key: &PlatformKey,
        etag: Option<&str>,
    ) -> Result<Option<(Answer, Bytes, Option<String>)>, PlatformError> {
        if self.settings.offline {
            return Err(PlatformError::Offline);
        }
        let clock = &*self.clock;
        let mut reply = self.platform.fetch(key, etag, clock).await?;
        if matches!(reply, Reply::Same) {
            let good = match entry.current() {
                Some(current) => self.confirm_copy(key, &current).await,
                None => false,
            };
            if good {
                return Ok(None);
            }
            reply = self.platform.fetch(key, None, clock).await?;
        }
        match reply {
            Reply::New { answer, body, etag } => Ok(Some((answer, body, etag))),
            Reply::Same => Ok(None),
        }
    }
}

async fn fly(shared: Arc<Shared>, landing: Landing, key: PlatformKey, etag: Option<String>) {
    let asked = shared.ask(&landing.entry, &key, etag.as_deref()).await;
    let landed = match asked {
        Ok(Some((answer, body, etag))) => {
            let disk = shared.write_copy(&key, body).await;
            Landed::answer(answer, etag, disk.err(), &shared)
        }
        Ok(None) => Landed::same(&shared),
        Err(error) => {
            let copy = if error.falls_back() {
                shared.read_copy(&key).await
            } else {
                None
            };
            Landed::failure(error, copy, &shared)
        }
    };
    landing.land(landed, key);
    shared.wake.notify_one();
}
