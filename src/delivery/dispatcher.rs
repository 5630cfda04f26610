//! The side that events come in at.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::asker::Asker;
use super::backlog::{Backlog as _, Event, PutError};
use super::client::Clients;
use super::counts::{Counts, DropCause};
use super::outbox::{self, Outbox, OutboxError, OutboxSettings};
use super::outcome::{Answer, Failure, Trouble};
use super::receiver::Receiver;
use super::request::Request;
use super::shared::Shared;
use super::{PostError, Settings};

/// Threads that send.
const THREADS: usize = 2;
/// With an outbox nothing is lost by closing, so closing waits only while events are delivered: so
/// long after the last one.
const STANDSTILL: Duration = Duration::from_secs(2);
/// How long attempts under way may take when closing is due.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// What who waits for an attempt waits beyond its time, so that it is told how the attempt ended.
const GRACE: Duration = Duration::from_millis(250);

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

impl Dispatcher {
    /// A dispatcher with these settings.
    pub fn new(settings: Settings) -> Self {
        Self {
            shared: Arc::new(Shared::new(settings, None)),
            engine: OnceLock::new(),
        }
    }

    /// A dispatcher whose events wait in an outbox. It is opened with the first event, or by
    /// [`Self::resume`].
    pub fn with_outbox(settings: Settings, outbox: OutboxSettings) -> Self {
        Self {
            shared: Arc::new(Shared::new(settings, Some(outbox))),
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

    /// Makes one attempt at a request that is no event, and waits for the answer, at most for the
    /// request's timeout. Nothing is kept.
    ///
    /// # Errors
    /// Why the attempt failed.
    pub fn send(&self, request: Request) -> Result<Answer, Failure> {
        self.attempt(Event {
            stream: "".into(),
            request: Arc::new(request),
        })
        .map_err(|trouble| trouble.failure)
    }

    /// Sends an event and waits for the answer to its first attempt, at most for the request's
    /// timeout.
    ///
    /// With an outbox the event is kept before the attempt, which is made in the order of the
    /// stream; an event that fails, or whose turn does not come, stays and is tried again like any
    /// other ([`Trouble::kept`]). While older events of the stream wait for a receiver in trouble the
    /// answer is that, at once. Without an outbox this is one attempt.
    ///
    /// # Errors
    /// Why the attempt failed, or why the event was not taken.
    pub fn deliver(&self, event: Event) -> Result<Answer, Trouble> {
        if !self.shared.has_outbox() {
            return self.attempt(event);
        }
        let (limit, url) = (event.request.timeout, event.request.redacted_url());
        let (asker, heard) = Asker::new();
        self.count_dropped(self.try_post(event, Some(asker)))
            .map_err(Failure::from)?;
        match heard.recv_timeout(limit.saturating_add(GRACE)) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => Err(Trouble {
                kept: true,
                ..Failure::Timeout { url, limit }.into()
            }),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::TakenAway.into()),
        }
    }

    fn attempt(&self, event: Event) -> Result<Answer, Trouble> {
        let engine = self.engine().map_err(Failure::Internal)?;
        let (asker, heard) = Asker::new();
        let (shared, clients) = (self.shared.clone(), engine.clients.clone());
        engine.runtime.spawn(async move {
            let clock = shared.clock.as_ref();
            let attempt = clients.attempt(&event.request, &event.stream, clock);
            asker.tell(attempt.await);
        });
        heard
            .recv()
            .unwrap_or_else(|_| Err(Failure::Internal("the attempt was cut off".into()).into()))
    }

    /// Queues an event for its receiver. With an outbox the event outlives the process when this
    /// returns. Waits only if the queue is full and its policy is [`Overflow::Block`], or for the
    /// disk if the outbox is to outlive a loss of power.
    pub fn post(&self, event: Event) -> Result<(), PostError> {
        self.count_dropped(self.try_post(event, None))
    }

    fn count_dropped(&self, posted: Result<(), PostError>) -> Result<(), PostError> {
        if let Err(error) = &posted {
            self.shared.counters.dropped(error.cause(), 1);
        }
        posted
    }

    fn try_post(&self, event: Event, asker: Option<Asker>) -> Result<(), PostError> {
        let outbox = self.shared.outbox()?;
        let engine = self.engine().map_err(PostError::Internal)?;
        let name: Arc<str> = event.request.receiver().into();
        loop {
            let put = match (self.receiver(engine, &name), outbox) {
                (Ok(receiver), _) => {
                    let put = receiver.backlog.put(event.clone(), asker.clone());
                    receiver.changed.notify_one();
                    put
                }
                // Its turn comes when another receiver has nothing to take.
                (Err(PostError::Receivers), Some(outbox)) => {
                    outbox.handle(&name).put(event.clone(), asker.clone())
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

    /// The receiver of this name, made and served if it is new.
    fn receiver(&self, engine: &Engine, name: &Arc<str>) -> Result<Arc<Receiver>, PostError> {
        let _runtime = engine.runtime.enter();
        self.shared.serve(&engine.clients, name)
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
        let forbidden = shared.settings.forbidden.clone();
        let clients = Clients::new(forbidden).map_err(|error| error.without_url().to_string())?;
        let clients = Arc::new(clients);
        if shared.has_outbox() {
            runtime.spawn(shared.clone().attend(clients.clone()));
        }
        Ok(Self { runtime, clients })
    }
}
