//! The sending side of one receiver: takes events out of its backlog, a bounded number at a time,
//! and settles each by the result of its attempt.
//!
//! Log lines mark changes only: a receiver that starts to fail, and one that takes events again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::backlog::{Backlog, Claim, Claimed, Settlement};
use super::client::Clients;
use super::outcome::{Cause, Failure, Trouble};
use super::retry;
use super::shared::Shared;

/// A receiver that has had nothing to take for so long is forgotten.
const IDLE: Duration = Duration::from_secs(60);

/// One receiver.
pub(super) struct Receiver {
    pub(super) name: Arc<str>,
    pub(super) backlog: Box<dyn Backlog>,
    /// Told when an event was put in or settled.
    pub(super) changed: Notify,
    /// Attempts at the same time.
    slots: Arc<Semaphore>,
    at_once: usize,
    /// Attempts that failed in a row.
    failures: AtomicU64,
}

impl Receiver {
    pub(super) fn new(name: Arc<str>, backlog: Box<dyn Backlog>, at_once: usize) -> Self {
        Self {
            name,
            backlog,
            changed: Notify::new(),
            slots: Arc::new(Semaphore::new(at_once)),
            at_once,
            failures: AtomicU64::new(0),
        }
    }

    /// Attempts under way.
    pub(super) fn under_way(&self) -> usize {
        self.at_once.saturating_sub(self.slots.available_permits())
    }

    /// Sends until nothing came for a while.
    pub(super) async fn serve(self: Arc<Self>, shared: Arc<Shared>, clients: Arc<Clients>) {
        loop {
            let Ok(slot) = self.slots.clone().acquire_owned().await else {
                return;
            };
            if shared.stopped.load(Ordering::SeqCst) {
                return;
            }
            let now = shared.now();
            match self.backlog.claim(now) {
                Claim::Event(claimed) => {
                    let (receiver, shared) = (self.clone(), shared.clone());
                    let clients = clients.clone();
                    tokio::spawn(async move {
                        receiver.deliver(&shared, &clients, claimed, slot).await;
                    });
                }
                Claim::NotBefore(when) => {
                    drop(slot);
                    let wait = when.saturating_sub(now);
                    let _ = tokio::time::timeout(wait, self.changed.notified()).await;
                }
                Claim::Nothing => {
                    drop(slot);
                    let waited = tokio::time::timeout(IDLE, self.changed.notified()).await;
                    if waited.is_err() && shared.forget(&self) {
                        return;
                    }
                }
            }
        }
    }

    /// Makes one attempt and settles the event.
    async fn deliver(
        &self,
        shared: &Shared,
        clients: &Clients,
        claimed: Claimed,
        slot: OwnedSemaphorePermit,
    ) {
        let (event, clock) = (&claimed.event, shared.clock.as_ref());
        let outcome = clients.attempt(&event.request, &event.stream, clock).await;
        let settlement = match &outcome {
            Ok(_) => {
                shared.counters.delivered();
                self.recovered();
                Settlement::Done
            }
            Err(trouble) => self.failed(shared, &claimed, &trouble.failure),
        };
        let why = outcome.as_ref().err().map(ToString::to_string);
        self.backlog.settle(&claimed, settlement, why.as_deref());
        if let Some(asker) = claimed.asker {
            let kept = settlement != Settlement::GivenUp;
            asker.tell(outcome.map_err(|trouble| Trouble { kept, ..trouble }));
        }
        drop(slot);
        self.changed.notify_one();
        shared.settled();
    }

    /// What a failure means for the event.
    fn failed(&self, shared: &Shared, claimed: &Claimed, failure: &Failure) -> Settlement {
        let made = claimed.attempts + 1;
        let policy = &shared.settings.retry;
        if self.failures.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(receiver = %self.name, error = %failure, "delivery fails");
        }
        let most = match failure.cause() {
            _ if claimed.event.request.single_exchange => 1,
            Cause::Refused => policy.unwanted,
            _ if !failure.retry() => 1,
            _ if self.backlog.durable() => u32::MAX,
            _ => policy.attempts,
        };
        if made >= most {
            shared.counters.failed(failure.cause());
            tracing::debug!(receiver = %self.name, attempts = made, error = %failure, "event given up");
            return Settlement::GivenUp;
        }
        shared.counters.retried();
        let now = shared.now();
        let delay = policy.delay(made, retry::chance());
        match failure.retry_after() {
            Some(asked) => Settlement::Pause(now + policy.asked(asked).max(delay)),
            // Nobody is there for the other streams either; they go on together, oldest first.
            None if self.backlog.durable() && failure.cause() == Cause::Network => {
                Settlement::Pause(now + delay)
            }
            None => Settlement::Again(now + delay),
        }
    }

    fn recovered(&self) {
        let failures = self.failures.swap(0, Ordering::Relaxed);
        if failures > 0 {
            tracing::info!(receiver = %self.name, failures, "delivery works again");
        }
    }
}
