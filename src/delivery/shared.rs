//! What the sending side shares with its dispatcher: the receivers and the outbox.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::backlog::{Backlog, MemoryBacklog};
use super::client::Clients;
use super::counts::Counters;
use super::outbox::{Outbox, OutboxError, OutboxSettings};
use super::receiver::Receiver;
use super::{MAX_RECEIVERS, PostError, Settings};
use crate::clock::{Clock, SystemClock};

/// How often an outbox is looked into for events that nobody sends yet.
const ATTEND: Duration = Duration::from_millis(500);

/// What the sending side shares with its dispatcher.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) counters: Counters,
    receivers: Mutex<HashMap<Arc<str>, Arc<Receiver>>>,
    outbox: Option<LazyOutbox>,
    /// Takes no events.
    pub(super) closed: AtomicBool,
    /// Makes no attempts.
    pub(super) stopped: AtomicBool,
    /// Guards nothing; `settled` is told under it whenever an event is done with.
    settling: Mutex<()>,
    settled: Condvar,
}

/// An outbox that is opened when it is needed.
struct LazyOutbox {
    settings: OutboxSettings,
    opened: OnceLock<Result<Outbox, OutboxError>>,
}

impl Default for Shared {
    fn default() -> Self {
        Self::new(Settings::default(), None)
    }
}

impl LazyOutbox {
    fn open(&self, clock: &Arc<dyn Clock>) -> Result<&Outbox, OutboxError> {
        self.opened
            .get_or_init(|| Outbox::open(self.settings.clone(), clock.clone()))
            .as_ref()
            .map_err(Clone::clone)
    }
}

impl Shared {
    /// Opens the outbox, if there is one, when it is needed.
    pub(super) fn new(settings: Settings, outbox: Option<OutboxSettings>) -> Self {
        Self {
            settings,
            clock: Arc::new(SystemClock::default()),
            counters: Counters::default(),
            receivers: Mutex::default(),
            outbox: outbox.map(|settings| LazyOutbox {
                settings,
                opened: OnceLock::new(),
            }),
            closed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            settling: Mutex::default(),
            settled: Condvar::new(),
        }
    }

    /// Whether events wait in an outbox.
    pub(super) fn has_outbox(&self) -> bool {
        self.outbox.is_some()
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The outbox, opened if it was not.
    pub(super) fn outbox(&self) -> Result<Option<&Outbox>, OutboxError> {
        let lazy = self.outbox.as_ref();
        lazy.map(|lazy| lazy.open(&self.clock)).transpose()
    }

    /// The outbox if it is open.
    pub(super) fn opened(&self) -> Option<&Outbox> {
        self.outbox.as_ref()?.opened.get()?.as_ref().ok()
    }

    pub(super) fn receivers(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Receiver>>> {
        self.receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The receiver of this name, made and served if it is new; to be called inside the runtime.
    pub(super) fn serve(
        self: &Arc<Self>,
        clients: &Arc<Clients>,
        name: &Arc<str>,
    ) -> Result<Arc<Receiver>, PostError> {
        let mut receivers = self.receivers();
        if self.closed.load(Ordering::SeqCst) {
            return Err(PostError::Closed);
        }
        if let Some(known) = receivers.get(name) {
            return Ok(known.clone());
        }
        if receivers.len() >= MAX_RECEIVERS {
            return Err(PostError::Receivers);
        }
        let backlog: Box<dyn Backlog> = match self.opened() {
            Some(outbox) => Box::new(outbox.handle(name)),
            None => Box::new(MemoryBacklog::new(self.settings.capacity)),
        };
        let at_once = self.settings.at_once.max(1);
        let receiver = Arc::new(Receiver::new(name.clone(), backlog, at_once));
        receivers.insert(name.clone(), receiver.clone());
        tokio::spawn(receiver.clone().serve(self.clone(), clients.clone()));
        Ok(receiver)
    }

    /// Sees to it that events in the outbox are sent that were there before, or were put back.
    pub(super) async fn attend(self: Arc<Self>, clients: Arc<Clients>) {
        while !self.closed.load(Ordering::SeqCst) {
            let waiting = self.opened().map(Outbox::receivers).unwrap_or_default();
            for name in waiting {
                // Beyond the bound receivers wait until another one has nothing to take.
                if let Ok(receiver) = self.serve(&clients, &name) {
                    receiver.changed.notify_one();
                }
            }
            tokio::time::sleep(ATTEND).await;
        }
    }

    /// Events that wait or are under way.
    pub(super) fn waiting(&self) -> usize {
        match self.opened() {
            Some(outbox) => outbox.waiting(),
            None => self.receivers().values().map(|r| r.backlog.len()).sum(),
        }
    }

    /// Attempts under way.
    pub(super) fn under_way(&self) -> usize {
        self.receivers().values().map(|r| r.under_way()).sum()
    }

    /// Waits until something holds; looks whenever an event is settled, and now and then.
    pub(super) fn wait_until(&self, mut holds: impl FnMut() -> bool) {
        const LOOK: Duration = Duration::from_millis(50);
        let mut guard = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        while !holds() {
            guard = self
                .settled
                .wait_timeout(guard, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Forgets a receiver that has nothing to take; false if it has.
    pub(super) fn forget(&self, receiver: &Receiver) -> bool {
        let mut receivers = self.receivers();
        let retired = receiver.backlog.retire();
        if retired {
            receivers.remove(&receiver.name);
        }
        retired
    }

    /// Tells [`Dispatcher::close`] that an event was settled.
    pub(super) fn settled(&self) {
        drop(self.settling.lock().unwrap_or_else(PoisonError::into_inner));
        self.settled.notify_all();
    }
}
