//! The place of a model: empty until one request has loaded it, while the others wait. No lock is
//! held during the load.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::loaded::Loaded;
use crate::definitions::ApiKey;
use crate::models::ModelError;

/// For so long a failure to load a model is taken to last.
pub(super) const FAILURE_LASTS: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Slot {
    ready: OnceLock<Loaded>,
    state: Mutex<State>,
    changed: Condvar,
    /// Turn of the last use: the higher, the later.
    used: AtomicU64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Loading,
    Failed(Failure),
}

/// Why the last attempt to load a model failed, when, and with whose key.
#[derive(Debug)]
struct Failure {
    error: ModelError,
    at: Duration,
    key: Option<ApiKey>,
}

/// What a request finds.
pub(super) enum Turn<'a> {
    /// The model.
    Ready(&'a Loaded),
    /// It is this request that loads.
    Load(Flight<'a>),
    /// Another request has loaded for longer than one waits.
    TooLong,
}

/// The right and duty to load. Dropped without an end (a panic), the next request tries anew.
pub(super) struct Flight<'a> {
    slot: &'a Slot,
    ended: bool,
}

impl Slot {
    /// The model, if it is loaded.
    pub fn ready(&self) -> Option<&Loaded> {
        self.ready.get()
    }

    /// Notes a use.
    pub fn touch(&self, turn: u64) {
        self.used.store(turn, Ordering::Relaxed);
    }

    /// Turn of the last use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether nothing would be lost without this slot.
    pub fn is_spent(&self, now: Duration) -> bool {
        self.ready.get().is_none()
            && match &*self.lock() {
                State::Idle => true,
                State::Loading => false,
                State::Failed(failure) => now >= failure.at + FAILURE_LASTS,
            }
    }

    /// Waits for the model, at most for `patience`, or takes over to load it.
    ///
    /// # Errors
    /// The one that a load with the same key ended with lately.
    pub fn begin(
        &self,
        key: Option<&ApiKey>,
        now: Duration,
        patience: Option<Duration>,
    ) -> Result<Turn<'_>, ModelError> {
        let mut state = self.lock();
        loop {
            if let Some(loaded) = self.ready.get() {
                return Ok(Turn::Ready(loaded));
            }
            match &*state {
                State::Failed(failure)
                    if failure.key.as_ref() == key && now < failure.at + FAILURE_LASTS =>
                {
                    return Err(failure.error.clone());
                }
                State::Failed(_) | State::Idle => {
                    *state = State::Loading;
                    return Ok(Turn::Load(Flight {
                        slot: self,
                        ended: false,
                    }));
                }
                State::Loading => {}
            }
            let waiting = |state: &mut State| matches!(state, State::Loading);
            state = match patience {
                None => self
                    .changed
                    .wait_while(state, waiting)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.changed.wait_timeout_while(state, patience, waiting);
                    let (state, time) = waited.unwrap_or_else(PoisonError::into_inner);
                    if time.timed_out() {
                        return Ok(Turn::TooLong);
                    }
                    state
                }
            };
        }
    }

    /// A state is written whole, so a panic of another thread leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State) {
        *self.lock() = state;
        self.changed.notify_all();
    }
}

impl<'a> Flight<'a> {
    /// The model is loaded.
    pub fn land(mut self, loaded: Loaded) -> &'a Loaded {
        let loaded = self.slot.ready.get_or_init(|| loaded);
        self.ended = true;
        self.slot.set(State::Idle);
        loaded
    }

    /// The load failed; requests with the same key are told so for a while.
    pub fn fail(mut self, error: &ModelError, key: Option<&ApiKey>, now: Duration) {
        self.ended = true;
        self.slot.set(match error {
            // Says something about the request, not about the model.
            ModelError::WrongTask { .. } => State::Idle,
            error => State::Failed(Failure {
                error: error.clone(),
                at: now,
                key: key.cloned(),
            }),
        });
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.slot.set(State::Idle);
        }
    }
}
