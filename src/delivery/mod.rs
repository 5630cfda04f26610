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
//! [`Dispatcher::deliver`] waits for the first attempt: for steps whose definition asks for the
//! answer. With an outbox the event is kept before the attempt, and stays if that fails.
//!
//! [`jsonl`] writes files of JSON Lines, [`video`] films, [`webhook`] posts the results of streams,
//! [`window`] shows pictures.

mod adapters;
pub mod address;
mod asker;
pub mod backlog;
pub mod client;
pub mod counts;
mod dispatcher;
pub mod errand;
pub mod jsonl;
pub mod mail;
pub mod outbox;
mod outcome;
mod receiver;
pub mod remote;
pub mod request;
pub mod retry;
mod shared;
pub mod video;
pub mod webhook;
pub mod window;

use std::sync::Arc;

pub use address::AddressPolicy;
pub use backlog::{Capacity, Event, Overflow};
pub use counts::{Counts, DropCause};
pub use dispatcher::Dispatcher;
pub use errand::{Errand, Exchange, Slot};
pub use outcome::{Answer, Cause, Failure, Reply, Trouble};
pub use remote::RemoteWorkflows;
pub use request::{Request, RequestError};
pub use retry::RetryPolicy;

use crate::network::PlatformPlaces;
use outbox::OutboxError;

/// Receivers served at the same time.
pub const MAX_RECEIVERS: usize = 256;

/// How a dispatcher behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether steps that do not want to wait (`fire_and_forget`) need not: true for streams and
    /// servers, false where the process ends with the run.
    pub background: bool,
    /// Which addresses definitions may reach.
    pub addresses: AddressPolicy,
    /// Where nothing is sent, in offline mode; events for these places wait.
    pub forbidden: Option<Arc<PlatformPlaces>>,
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
            forbidden: None,
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
