//! How sinks hand over what they send.
//!
//! A step that does not wait queues its event with the dispatcher, which delivers it in the order of
//! the stream, again if it has to, and from an outbox if there is one. A step that waits makes one
//! attempt.

use std::sync::Arc;
use std::time::Duration;

use crate::blocks::{BlockError, Context, Inputs};
use crate::delivery::errand::{Reply, Trouble};
use crate::delivery::{AddressPolicy, Errand, Event, Failure, PostError, Request, RequestError};

/// Why an event could not be handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Delivery(#[from] Failure),
    #[error(transparent)]
    Queue(#[from] PostError),
}

/// Whether the step goes on without waiting.
pub(super) fn in_background(inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<bool, BlockError> {
    Ok(inputs.flag("fire_and_forget")? && cx.services.dispatcher.settings().background)
}

/// Queues an event.
pub(super) fn post(request: Request, cx: &Context<'_>) -> Result<(), PostError> {
    cx.services.dispatcher.post(Event {
        stream: cx.stream.clone(),
        request: Arc::new(request),
    })
}

/// Queues the request, or makes one attempt at it.
pub(super) fn send(request: Request, queue: bool, cx: &Context<'_>) -> Result<(), SendError> {
    if queue {
        post(request, cx)?;
    } else {
        cx.services.dispatcher.send(request)?;
    }
    Ok(())
}

/// An errand and what it needs.
pub(super) struct Sending<'a> {
    pub(super) errand: &'a Errand,
    pub(super) addresses: AddressPolicy,
    pub(super) timeout: Duration,
}

impl Sending<'_> {
    /// Queues the errand.
    pub(super) fn post(&self, cx: &Context<'_>) -> Result<(), SendError> {
        let request = self.errand.request(self.addresses, self.timeout)?;
        Ok(post(request, cx)?)
    }

    /// Makes one attempt.
    pub(super) fn perform(&self, cx: &Context<'_>) -> Result<Vec<Reply>, Trouble> {
        let dispatcher = &cx.services.dispatcher;
        dispatcher.perform(self.errand, self.addresses, self.timeout)
    }
}
