//! What leaves millrace: webhooks and files.
//!
//! A [`Dispatcher`] sends requests on threads of its own, so that no stream waits for a receiver:
//! [`Dispatcher::post`] puts an event into the queue of its receiver and returns at once. Each
//! receiver (scheme, host and port) has a bounded queue with a named policy, a bounded number of
//! attempts at the same time, and order per stream. Attempts that fail for a passing reason (408,
//! 425, 429, 5xx, network, timeout) are made again with growing waits; the `Idempotency-Key`
//! header is the same on each. What was delivered, retried, given up and dropped is counted with
//! its cause. Events wait in memory ([`backlog::MemoryBacklog`]); a durable place for them
//! implements [`backlog::Backlog`].
//!
//! [`Dispatcher::send`] makes one attempt and waits for it: for steps whose definition asks for
//! the answer.
//!
//! [`jsonl`] writes files of JSON Lines, [`webhook`] posts the results of streams.

pub mod address;
pub mod backlog;
pub mod client;
pub mod counts;
pub mod jsonl;
pub mod preview;
mod receiver;
pub mod remote;
pub mod request;
pub mod retry;
pub mod video;
pub mod webhook;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

pub use address::AddressPolicy;
pub use backlog::{Capacity, Event, Overflow};
pub use client::{Answer, Cause, Failure};
pub use counts::{Counts, DropCause};
pub use remote::RemoteWorkflows;
pub use request::{Request, RequestError};
pub use retry::RetryPolicy;

use crate::clock::{Clock, SystemClock};
use backlog::{MemoryBacklog, PutError};
use client::Clients;
use counts::Counters;
use receiver::Receiver;

/// Receivers served at the same time.
pub const MAX_RECEIVERS: usize = 256;
/// Threads that send.
const THREADS: usize = 2;

/// How a dispatcher behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether steps that do not want to wait (`fire_and_forget`) need not: true for streams and
    /// servers, false where the process ends with the run.
    pub background: bool,
    /// Which addresses definitions may reach.
    pub addresses: AddressPolicy,
    /// Bounds of the queue of each receiver.
    pub capacity: Capacity,
    /// How failed attempts are made again.
    pub retry: RetryPolicy,
    /// Attempts for one receiver at the same time.
    pub at_once: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            background: true,
            addresses: AddressPolicy::default(),
            capacity: Capacity::default(),
            retry: RetryPolicy::default(),
            at_once: 8,
        }
    }
}

/// Why an event was not queued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// No room in the queue of the receiver.
    #[error("the queue of {0} is full")]
    Full(Arc<str>),
    /// Too many receivers at once.
    #[error("more than {MAX_RECEIVERS} receivers at once")]
    Receivers,
    /// The dispatcher was closed.
    #[error("delivery is closed")]
    Closed,
    /// The threads that send could not be started.
    #[error("delivery could not be started: {0}")]
    Internal(String),
}

impl PostError {
    fn cause(&self) -> DropCause {
        match self {
            Self::Full(_) => DropCause::Full,
            Self::Receivers => DropCause::Receivers,
            Self::Closed => DropCause::Closed,
            Self::Internal(_) => DropCause::Internal,
        }
    }
}

/// Sends events to receivers without making anybody wait.
///
/// Making one costs nothing: threads start with the first request.
#[derive(Default)]
pub struct Dispatcher {
    shared: Arc<Shared>,
    engine: OnceLock<Result<Engine, String>>,
}

/// The threads and connections of a dispatcher.
struct Engine {
    runtime: Runtime,
    clients: Arc<Clients>,
}

/// What the sending side shares with its dispatcher.
#[derive(Default)]
struct Shared {
    settings: Settings,
    clock: SystemClock,
    counters: Counters,
    receivers: Mutex<HashMap<Arc<str>, Arc<Receiver>>>,
    closed: AtomicBool,
    /// Guards nothing; `settled` is told under it whenever an event is done with.
    settling: Mutex<()>,
    settled: Condvar,
}

impl Dispatcher {
    /// A dispatcher with these settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                ..Shared::default()
            }),
            engine: OnceLock::new(),
        }
    }

    /// How it behaves.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Makes one attempt and waits for the answer, at most for the request's timeout.
    pub fn send(&self, request: Request) -> Result<Answer, Failure> {
        let engine = self.engine().map_err(Failure::Internal)?;
        let (answer, wait) = std::sync::mpsc::sync_channel(1);
        let (shared, clients) = (self.shared.clone(), engine.clients.clone());
        engine.runtime.spawn(async move {
            let _ = answer.send(clients.attempt(&request, &shared.clock).await);
        });
        wait.recv()
            .unwrap_or_else(|_| Err(Failure::Internal("the attempt was cut off".into())))
    }

    /// Queues an event for its receiver. Waits only if the queue is full and its policy is
    /// [`Overflow::Block`].
    pub fn post(&self, event: Event) -> Result<(), PostError> {
        let posted = self.try_post(event);
        if let Err(error) = &posted {
            self.shared.counters.dropped(error.cause(), 1);
        }
        posted
    }

    fn try_post(&self, event: Event) -> Result<(), PostError> {
        let engine = self.engine().map_err(PostError::Internal)?;
        let name: Arc<str> = event.request.receiver().into();
        loop {
            let receiver = self.receiver(engine, &name)?;
            match receiver.backlog.put(event.clone()) {
                Ok(dropped) => {
                    self.shared.counters.dropped(DropCause::Full, dropped);
                    receiver.changed.notify_one();
                    return Ok(());
                }
                Err(PutError::Full) => return Err(PostError::Full(name)),
                Err(PutError::Closed) => return Err(PostError::Closed),
                // Forgotten between look-up and put: the next look-up makes a new one.
                Err(PutError::Retired) => {}
            }
        }
    }

    /// What became of events so far.
    pub fn counts(&self) -> Counts {
        let mut counts = self.shared.counters.snapshot();
        counts.waiting = self.shared.waiting() as u64;
        counts
    }

    /// Takes no more events, delivers those that wait for at most `deadline`, drops the rest and
    /// returns the final counts.
    pub fn close(&self, deadline: Duration) -> Counts {
        let shared = &self.shared;
        shared.closed.store(true, Ordering::SeqCst);
        for receiver in shared.receivers().values() {
            receiver.backlog.close();
        }
        let end = Instant::now() + deadline;
        let mut guard = shared
            .settling
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while shared.waiting() > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            guard = shared
                .settled
                .wait_timeout(guard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        drop(guard);
        for receiver in shared.receivers().values() {
            let left = receiver.backlog.discard();
            shared.counters.dropped(DropCause::Closed, left);
        }
        self.counts()
    }

    fn engine(&self) -> Result<&Engine, String> {
        self.engine
            .get_or_init(Engine::start)
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The receiver of this name, made if it is new.
    fn receiver(&self, engine: &Engine, name: &Arc<str>) -> Result<Arc<Receiver>, PostError> {
        let shared = &self.shared;
        let mut receivers = shared.receivers();
        if shared.closed.load(Ordering::SeqCst) {
            return Err(PostError::Closed);
        }
        if let Some(known) = receivers.get(name) {
            return Ok(known.clone());
        }
        if receivers.len() >= MAX_RECEIVERS {
            return Err(PostError::Receivers);
        }
        let backlog = Box::new(MemoryBacklog::new(shared.settings.capacity));
        let at_once = shared.settings.at_once.max(1);
        let receiver = Arc::new(Receiver::new(name.clone(), backlog, at_once));
        receivers.insert(name.clone(), receiver.clone());
        let serve = receiver
            .clone()
            .serve(shared.clone(), engine.clients.clone());
        engine.runtime.spawn(serve);
        Ok(receiver)
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        let waiting = self.shared.waiting();
        if waiting > 0 {
            tracing::warn!(events = waiting, "events lost: delivery was not closed");
        }
        if let Some(Ok(engine)) = self.engine.take() {
            engine.runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dispatcher({})", self.counts())
    }
}

impl Engine {
    fn start() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("delivery")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let clients = Clients::new().map_err(|error| error.without_url().to_string())?;
        Ok(Self {
            runtime,
            clients: Arc::new(clients),
        })
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    fn receivers(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Receiver>>> {
        self.receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Events that wait or are under way.
    fn waiting(&self) -> usize {
        self.receivers().values().map(|r| r.backlog.len()).sum()
    }

    /// Forgets a receiver that has nothing to take; false if it has.
    fn forget(&self, receiver: &Receiver) -> bool {
        let mut receivers = self.receivers();
        let retired = receiver.backlog.retire();
        if retired {
            receivers.remove(&receiver.name);
        }
        retired
    }

    /// Tells [`Dispatcher::close`] that an event was settled.
    fn settled(&self) {
        drop(self.settling.lock().unwrap_or_else(PoisonError::into_inner));
        self.settled.notify_all();
    }
}
