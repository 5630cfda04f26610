//! How sinks hand over what they send.
//!
//! A step that does not wait queues its event with the dispatcher, which delivers it in the order of
//! the stream, again if it has to, and from an outbox if there is one. A step that waits is told what
//! became of the first attempt; with an outbox the event is kept before that attempt, and stays there
//! if it fails. Each event names the definition that made it.

use std::sync::Arc;
use std::time::Duration;

use super::report::Report;
use crate::blocks::{BlockError, Context, Inputs};
use crate::delivery::{
    AddressPolicy, Answer, Errand, Event, Failure, PostError, Reply, Request, RequestError, Trouble,
};

/// Why an event could not be handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Delivery(#[from] Trouble),
    #[error(transparent)]
    Queue(#[from] PostError),
    /// Offline mode forbids it.
    #[error(transparent)]
    Offline(Failure),
}

/// Whether the step goes on without waiting.
pub(super) fn in_background(inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<bool, BlockError> {
    Ok(inputs.flag("fire_and_forget")? && cx.services.dispatcher.settings().background)
}

fn event(request: Request, cx: &Context<'_>) -> Event {
    Event {
        stream: cx.stream.clone(),
        request: Arc::new(request.definition(&cx.services.definition)),
    }
}

/// Queues an event.
pub(super) fn post(request: Request, cx: &Context<'_>) -> Result<(), PostError> {
    cx.services.dispatcher.post(event(request, cx))
}

/// Hands an event over and waits for its first attempt.
pub(super) fn deliver(request: Request, cx: &Context<'_>) -> Result<Answer, Trouble> {
    cx.services.dispatcher.deliver(event(request, cx))
}

/// Queues the request, or waits for its first attempt.
pub(super) fn send(request: Request, queue: bool, cx: &Context<'_>) -> Result<(), SendError> {
    if queue {
        post(request, cx)?;
    } else {
        deliver(request, cx)?;
    }
    Ok(())
}

/// An errand and what it needs.
pub(super) struct Sending<'a> {
    pub(super) errand: &'a Errand,
    pub(super) addresses: AddressPolicy,
    pub(super) timeout: Duration,
    /// Whether offline mode forbids it: then nothing is queued either, as nobody knows when it ends.
    pub(super) offline: bool,
}

/// What a step says of how it went.
pub(super) struct Words<'a> {
    /// The event is queued.
    pub(super) queued: &'a str,
    /// It was delivered.
    pub(super) sent: &'a str,
    /// It could not be queued, for this reason.
    pub(super) unqueued: &'a dyn Fn(&str) -> String,
    /// It was not delivered; that it is kept, if it is, is said behind.
    pub(super) failed: &'a dyn Fn(&Trouble) -> String,
}

impl Sending<'_> {
    fn request(&self) -> Result<Request, RequestError> {
        self.errand.request(self.addresses, self.timeout)
    }

    /// Queues the errand.
    pub(super) fn post(&self, cx: &Context<'_>) -> Result<(), SendError> {
        if self.offline {
            return Err(SendError::Offline(Failure::Offline));
        }
        Ok(post(self.request()?, cx)?)
    }

    /// Waits for the first attempt.
    pub(super) fn perform(&self, cx: &Context<'_>) -> Result<Vec<Reply>, Trouble> {
        if self.offline {
            return Err(Failure::Offline.into());
        }
        let request = self.request().map_err(Failure::from)?;
        Ok(deliver(request, cx)?.replies)
    }

    /// Queues the errand or waits for it, as the step asks, and says how it went.
    pub(super) fn report(
        &self,
        words: &Words<'_>,
        inputs: &Inputs<'_>,
        cx: &Context<'_>,
    ) -> Result<Report, BlockError> {
        if in_background(inputs, cx)? {
            return Ok(match self.post(cx) {
                Ok(()) => Report::done(words.queued),
                Err(error) => Report::failed((words.unqueued)(&error.to_string())),
            });
        }
        Ok(match self.perform(cx) {
            Ok(_) => Report::done(words.sent),
            Err(trouble) => Report::undelivered((words.failed)(&trouble), &trouble),
        })
    }
}
