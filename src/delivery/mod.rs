//! What leaves millrace: webhooks and files.
//!
//! A [`Dispatcher`] sends requests on threads of its own, so that no stream waits for a receiver:
//! [`Dispatcher::post`] puts an event into the queue of its receiver and returns at once. Each
//! receiver (scheme, host and port) has a bounded queue with a named policy, a bounded number of
//! attempts at the same time, and order per stream. Attempts that fail for a passing reason (408,
//! 425, 429, 5xx, network, timeout) are made again with growing waits; the `Idempotency-Key`
//! header is the same on each. What was delivered, retried, given up and dropped is counted with
//! its cause. Events wait in memory ([`backlog::MemoryBacklog`]) or, with
//! [`Dispatcher::with_outbox`], in a folder where they outlive the process ([`outbox`]).
//!
//! [`Dispatcher::send`] makes one attempt and waits for it: for steps whose definition asks for
//! the answer.
//!
//! [`jsonl`] writes files of JSON Lines, [`video`] films, [`webhook`] posts the results of streams,
//! [`window`] shows pictures.

mod adapters;
pub mod address;
pub mod backlog;
pub mod client;
pub mod counts;
pub mod errand;
pub mod jsonl;
pub mod mail;
pub mod outbox;
mod receiver;
pub mod remote;
pub mod request;
pub mod retry;
pub mod video;
pub mod webhook;
pub mod window;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

pub use address::AddressPolicy;
pub use backlog::{Capacity, Event, Overflow};
pub use client::{Answer, Cause, Failure};
pub use counts::{Counts, DropCause};
pub use errand::{Errand, Exchange, Slot};
pub use remote::RemoteWorkflows;
pub use request::{Request, RequestError};
pub use retry::RetryPolicy;

use crate::clock::{Clock, SystemClock};
use backlog::{Backlog, MemoryBacklog, PutError};
use client::Clients;
use counts::Counters;
use outbox::{Outbox, OutboxError, OutboxSettings};
use receiver::Receiver;

/// Receivers served at the same time.
pub const MAX_RECEIVERS: usize = 256;
/// Threads that send.
const THREADS: usize = 2;
/// How often an outbox is looked into for events that nobody sends yet.
const ATTEND: Duration = Duration::from_millis(500);
/// With an outbox nothing is lost by closing, so closing waits only while events are delivered: so
/// long after the last one.
const STANDSTILL: Duration = Duration::from_secs(2);
/// How long attempts under way may take when closing is due.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

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
    /// The disk does not take the event, and the policy is to refuse.
    #[error("the outbox cannot be written, so the event is refused")]
    Storage,
    /// The outbox cannot be used.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
}

impl PostError {
    fn cause(&self) -> DropCause {
        match self {
            Self::Full(_) => DropCause::Full,
            Self::Receivers => DropCause::Receivers,
            Self::Closed => DropCause::Closed,
            Self::Internal(_) => DropCause::Internal,
            Self::Storage | Self::Outbox(_) => DropCause::Storage,
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
struct Shared {
    settings: Settings,
    clock: Arc<dyn Clock>,
    counters: Counters,
    receivers: Mutex<HashMap<Arc<str>, Arc<Receiver>>>,
    outbox: Option<LazyOutbox>,
    /// Takes no events.
    closed: AtomicBool,
    /// Makes no attempts.
    stopped: AtomicBool,
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
        Self {
            settings: Settings::default(),
            clock: Arc::new(SystemClock::default()),
            counters: Counters::default(),
            receivers: Mutex::default(),
            outbox: None,
            closed: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            settling: Mutex::default(),
            settled: Condvar::new(),
        }
    }
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

    /// A dispatcher whose events wait in an outbox. It is opened with the first event, or by
    /// [`Self::resume`].
    pub fn with_outbox(settings: Settings, outbox: OutboxSettings) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings,
                outbox: Some(LazyOutbox {
                    settings: outbox,
                    opened: OnceLock::new(),
                }),
                ..Shared::default()
            }),
            engine: OnceLock::new(),
        }
    }

    /// Opens the outbox now and takes up what waits in it. Returns its folder; none if there is no
    /// outbox.
    ///
    /// # Errors
    /// If the outbox cannot be used, with what to do about it.
    pub fn resume(&self) -> Result<Option<PathBuf>, OutboxError> {
        let Some(outbox) = self.shared.outbox()? else {
            return Ok(None);
        };
        if let Err(reason) = self.engine() {
            tracing::error!(reason, "delivery could not be started");
        }
        Ok(Some(outbox.folder().to_owned()))
    }

    /// The figures of the outbox; none if there is none or nothing needed it yet.
    pub fn outbox_figures(&self) -> Option<outbox::OutboxFigures> {
        self.shared.opened().map(Outbox::figures)
    }

    /// The outbox for people and programs: what waits, what was given up, how the disk does; an
    /// object with `queued`, `oldest_age_seconds`, `dead`, totals and a row per receiver. Without an
    /// outbox the figures are those of the memory (`"folder": null`).
    pub fn outbox_report(&self) -> serde_json::Value {
        let counts = self.counts();
        let mut report = match self.shared.opened() {
            Some(outbox) => outbox.report(),
            None => serde_json::json!({"folder": null, "queued": counts.waiting}),
        };
        report["since_start"] = counts.to_json();
        report
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
            let _ = answer.send(clients.attempt(&request, shared.clock.as_ref()).await);
        });
        wait.recv()
            .unwrap_or_else(|_| Err(Failure::Internal("the attempt was cut off".into())))
    }

    /// Queues an event for its receiver. With an outbox the event outlives the process when this
    /// returns. Waits only if the queue is full and its policy is [`Overflow::Block`], or for the
    /// disk if the outbox is to outlive a loss of power.
    pub fn post(&self, event: Event) -> Result<(), PostError> {
        let posted = self.try_post(event);
        if let Err(error) = &posted {
            self.shared.counters.dropped(error.cause(), 1);
        }
        posted
    }

    fn try_post(&self, event: Event) -> Result<(), PostError> {
        let outbox = self.shared.outbox()?;
        let engine = self.engine().map_err(PostError::Internal)?;
        let name: Arc<str> = event.request.receiver().into();
        loop {
            let put = match (self.shared.receiver(engine, &name), outbox) {
                (Ok(receiver), _) => {
                    let put = receiver.backlog.put(event.clone());
                    receiver.changed.notify_one();
                    put
                }
                // Its turn comes when another receiver has nothing to take.
                (Err(PostError::Receivers), Some(outbox)) => {
                    outbox.handle(&name).put(event.clone())
                }
                (Err(error), _) => return Err(error),
            };
            match put {
                Ok(dropped) => {
                    self.shared.counters.dropped(DropCause::Full, dropped);
                    return Ok(());
                }
                Err(PutError::Full) => return Err(PostError::Full(name)),
                Err(PutError::Closed) => return Err(PostError::Closed),
                Err(PutError::Storage) => return Err(PostError::Storage),
                // Forgotten between look-up and put: the next look-up makes a new one.
                Err(PutError::Retired) => {}
            }
        }
    }

    /// What became of events so far.
    pub fn counts(&self) -> Counts {
        let mut counts = self.shared.counters.snapshot();
        counts.waiting = self.shared.waiting() as u64;
        let aged = self.shared.opened().map_or(0, Outbox::aged);
        if aged > 0 {
            counts.dropped.insert(DropCause::Age, aged);
        }
        counts
    }

    /// Takes no more events, delivers those that wait for at most `deadline` and returns the final
    /// counts. What waits then is dropped, or stays in the outbox for the next start.
    pub fn close(&self, deadline: Duration) -> Counts {
        let shared = &self.shared;
        shared.closed.store(true, Ordering::SeqCst);
        for receiver in shared.receivers().values() {
            receiver.backlog.close();
        }
        let outbox = shared.opened();
        if let Some(outbox) = outbox {
            outbox.close();
        }
        let end = Instant::now() + deadline;
        let (mut delivered, mut since) = (0, Instant::now());
        shared.wait_until(|| {
            let now = shared.counters.snapshot().delivered;
            if now != delivered {
                (delivered, since) = (now, Instant::now());
            }
            let stands = outbox.is_some() && since.elapsed() >= STANDSTILL;
            shared.waiting() == 0 || stands || Instant::now() >= end
        });
        shared.stopped.store(true, Ordering::SeqCst);
        if let Some(outbox) = outbox {
            let end = Instant::now() + LAST_ANSWERS;
            shared.wait_until(|| shared.under_way() == 0 || Instant::now() >= end);
            outbox.rest();
        }
        for receiver in shared.receivers().values() {
            let left = receiver.backlog.discard();
            shared.counters.dropped(DropCause::Closed, left);
        }
        self.counts()
    }

    fn engine(&self) -> Result<&Engine, String> {
        self.engine
            .get_or_init(|| Engine::start(&self.shared))
            .as_ref()
            .map_err(Clone::clone)
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        let outbox = self.shared.opened();
        let waiting = self.shared.waiting();
        if waiting > 0 && outbox.is_none() {
            tracing::warn!(events = waiting, "events lost: delivery was not closed");
        }
        self.shared.stopped.store(true, Ordering::SeqCst);
        if let Some(outbox) = outbox {
            outbox.rest();
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
    fn start(shared: &Arc<Shared>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("delivery")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let clients = Clients::new().map_err(|error| error.without_url().to_string())?;
        let clients = Arc::new(clients);
        if shared.outbox.is_some() {
            runtime.spawn(shared.clone().attend(clients.clone()));
        }
        Ok(Self { runtime, clients })
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
    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// The outbox, opened if it was not.
    fn outbox(&self) -> Result<Option<&Outbox>, OutboxError> {
        let lazy = self.outbox.as_ref();
        lazy.map(|lazy| lazy.open(&self.clock)).transpose()
    }

    /// The outbox if it is open.
    fn opened(&self) -> Option<&Outbox> {
        self.outbox.as_ref()?.opened.get()?.as_ref().ok()
    }

    fn receivers(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Receiver>>> {
        self.receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The receiver of this name, made and served if it is new.
    fn receiver(
        self: &Arc<Self>,
        engine: &Engine,
        name: &Arc<str>,
    ) -> Result<Arc<Receiver>, PostError> {
        let _runtime = engine.runtime.enter();
        self.serve(&engine.clients, name)
    }

    /// The same inside the runtime.
    fn serve(
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
    async fn attend(self: Arc<Self>, clients: Arc<Clients>) {
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
    fn waiting(&self) -> usize {
        match self.opened() {
            Some(outbox) => outbox.waiting(),
            None => self.receivers().values().map(|r| r.backlog.len()).sum(),
        }
    }

    /// Attempts under way.
    fn under_way(&self) -> usize {
        self.receivers().values().map(|r| r.under_way()).sum()
    }

    /// Waits until something holds; looks whenever an event is settled, and now and then.
    fn wait_until(&self, mut holds: impl FnMut() -> bool) {
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
