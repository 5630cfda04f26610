//! Models that are loaded at the start, beside everything else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ModelStore;
use crate::definitions::ApiKey;
use crate::models::ModelError;

/// Models that are loaded at a time.
const AT_A_TIME: usize = 2;
/// Time after which a model that is still being loaded holds up readiness no longer.
const PATIENCE: Duration = Duration::from_secs(300);

/// How far loading at the start has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preloading {
    /// Models that are not loaded yet.
    pub waiting: Vec<String>,
    /// Models that are still being loaded after 300 s.
    pub overdue: Vec<String>,
    /// Models that were loaded.
    pub loaded: Vec<String>,
    /// Models that could not be loaded, and why.
    pub failed: Vec<(String, ModelError)>,
}

impl Preloading {
    /// Whether nothing is waited for any more; what failed is not tried again.
    pub fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[derive(Debug, Default)]
pub(super) struct Preloads {
    queue: Mutex<VecDeque<String>>,
    states: Mutex<Vec<(String, State)>>,
}

#[derive(Debug)]
enum State {
    Waiting,
    Loading(Duration),
    Done(Result<(), ModelError>),
}

impl ModelStore {
    /// Begins to load these models, two at a time, and returns at once; [`Self::preloading`] tells
    /// how far it is.
    pub fn start_preload(self: &Arc<Self>, ids: &[String], key: Option<&ApiKey>) {
        {
            let mut states = lock(&self.preloads.states);
            let mut queue = lock(&self.preloads.queue);
            for id in ids {
                if !states.iter().any(|(known, _)| known == id) {
                    states.push((id.clone(), State::Waiting));
                    queue.push_back(id.clone());
                }
            }
        }
        for n in 0..AT_A_TIME.min(ids.len()) {
            let (store, key) = (self.clone(), key.cloned());
            let work = move || store.preload_queued(key.as_ref());
            let thread = std::thread::Builder::new().name(format!("preload-{n}"));
            if let Err(error) = thread.spawn(work) {
                tracing::error!("models are not loaded ahead: {error}");
            }
        }
    }

    /// Begins to load what the settings name (`PRELOAD_MODELS`, `PINNED_MODELS`).
    pub fn start_preload_of_settings(self: &Arc<Self>) {
        let Some(remote) = &self.remote else {
            return;
        };
        let settings = remote.settings();
        self.start_preload(&settings.preload, settings.preload_key.as_ref());
    }

    /// How far loading at the start has come.
    pub fn preloading(&self) -> Preloading {
        let now = self.clock.monotonic();
        let mut told = Preloading::default();
        for (id, state) in lock(&self.preloads.states).iter() {
            match state {
                State::Loading(since) if now >= *since + PATIENCE => told.overdue.push(id.clone()),
                State::Waiting | State::Loading(_) => told.waiting.push(id.clone()),
                State::Done(Ok(())) => told.loaded.push(id.clone()),
                State::Done(Err(error)) => told.failed.push((id.clone(), error.clone())),
            }
        }
        told
    }

    fn preload_queued(&self, key: Option<&ApiKey>) {
        loop {
            let next = lock(&self.preloads.queue).pop_front();
            let Some(id) = next else {
                return;
            };
            self.note(&id, State::Loading(self.clock.monotonic()));
            let result = self.preload_for(&id, key);
            if let Err(error) = &result {
                tracing::error!("not loaded ahead: {error}");
            }
            self.note(&id, State::Done(result));
        }
    }

    fn note(&self, id: &str, state: State) {
        let mut states = lock(&self.preloads.states);
        if let Some(place) = states.iter_mut().find(|(known, _)| known == id) {
            place.1 = state;
        }
    }
}

/// What is under the locks is written whole.
fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
