//! Where events wait for their delivery.
//!
//! A receiver has one [`Backlog`]. It decides which event goes next: events of one stream go one
//! after the other, in the order in which they were put in, and an event that has to be sent again
//! holds up its own stream only; among streams the oldest event goes first. The backlog never
//! sends anything, it only answers [`Backlog::claim`] and is told the result by
//! [`Backlog::settle`], so a durable one takes the place of [`MemoryBacklog`] without a change to
//! the sending.
//!
//! A backlog is bounded in events and bytes; [`Overflow`] names what happens beyond.

pub(super) mod lanes;
mod memory;

use std::sync::Arc;
use std::time::Duration;

pub use memory::MemoryBacklog;

pub use super::asker::Asker;
use super::request::Request;

/// What happens to an event for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Overflow {
    /// The new event is refused.
    Refuse,
    /// The oldest events that are not under way make room.
    #[default]
    DropOldest,
    /// Whoever puts the event in waits until there is room.
    Block,
}

impl Overflow {
    /// Name in arguments, reports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::DropOldest => "drop-oldest",
            Self::Block => "block",
        }
    }
}

/// Bounds of a backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Events.
    pub events: usize,
    /// Bytes of their requests.
    pub bytes: usize,
    /// What happens beyond.
    pub overflow: Overflow,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            events: 1000,
            bytes: 64 << 20,
            overflow: Overflow::default(),
        }
    }
}

/// Something that happened on a stream, as the request that tells a receiver.
#[derive(Clone, Debug)]
pub struct Event {
    /// Stream whose order the event keeps; events without a stream share the empty text.
    pub stream: Arc<str>,
    /// The request.
    pub request: Arc<Request>,
}

/// An event handed out for one attempt.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its number in the backlog.
    pub id: u64,
    /// The event.
    pub event: Event,
    /// Attempts made before this one.
    pub attempts: u32,
    /// Who waits for what becomes of it.
    pub asker: Option<Asker>,
}

/// What a backlog has for a sender.
#[derive(Clone, Debug)]
pub enum Claim {
    /// An event to send now.
    Event(Claimed),
    /// Nothing before this time (on the clock of the call).
    NotBefore(Duration),
    /// Nothing, until an event is put in or settled.
    Nothing,
}

/// Result of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The event is done with: delivered.
    Done,
    /// The event is to be sent again, not before this time.
    Again(Duration),
    /// As [`Self::Again`], and no other event of the receiver goes before that time either.
    Pause(Duration),
    /// No further attempt: the event was not delivered. A backlog that outlives the process keeps it
    /// for somebody to look at.
    GivenUp,
}

/// Why an event was not put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutError {
    /// No room, and the policy is to refuse (or nothing could make room).
    Full,
    /// The backlog was retired: ask for a new one.
    Retired,
    /// Delivery is being closed.
    Closed,
    /// The place where events are kept cannot be written, and the policy is to refuse.
    Storage,
}

/// Events that wait for one receiver.
pub trait Backlog: Send + Sync {
    /// Puts an event in and returns how many older ones were dropped for it. Who waits for what
    /// becomes of it is told after the first attempt, or as soon as older events hold it up.
    fn put(&self, event: Event, asker: Option<Asker>) -> Result<usize, PutError>;

    /// Hands out the next event that may be sent at this time.
    fn claim(&self, now: Duration) -> Claim;

    /// Takes the result of an attempt, with what went wrong if something did.
    fn settle(&self, claimed: &Claimed, settlement: Settlement, error: Option<&str>);

    /// Whether events outlive the process. Failures that may pass are then tried again for as long
    /// as the backlog keeps the event, and what is left when delivery closes is not lost.
    fn durable(&self) -> bool {
        false
    }

    /// Closes the backlog for good if nothing waits in it, and says whether it did.
    fn retire(&self) -> bool;

    /// Takes no more events; those that wait stay.
    fn close(&self);

    /// Lets go of everything that waits, and returns how many events are lost by that.
    fn discard(&self) -> usize;

    /// Number of events that wait or are under way.
    fn len(&self) -> usize;

    /// Whether nothing waits or is under way.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
