//! Results as events for a receiver, through the outbox.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value as Json, json};

use super::spec::EventsSpec;
use crate::delivery::webhook::Webhook;
use crate::delivery::{Dispatcher, RequestError};

/// A receiver with what became of the events for it.
pub(super) struct Events {
    pub(super) spec: EventsSpec,
    webhook: Result<Webhook, RequestError>,
    queued: AtomicU64,
    refused: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Events {
    pub(super) fn new(spec: EventsSpec, dispatcher: &Arc<Dispatcher>) -> Self {
        let webhook = Webhook::new(dispatcher.clone(), &spec.url, spec.when.clone());
        Self {
            webhook,
            spec,
            queued: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            problem: Mutex::default(),
        }
    }

    /// Queues the result of a stream if the receiver is to get it.
    pub(super) fn post(&self, stream: &Arc<str>, body: &Json) {
        let posted = match &self.webhook {
            Ok(webhook) => webhook
                .post(stream, &body["outputs"], body)
                .map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match posted {
            Ok(false) => {}
            Ok(true) => {
                self.queued.fetch_add(1, Ordering::Relaxed);
                self.note(stream, None);
            }
            Err(error) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.note(stream, Some(error));
            }
        }
    }

    fn note(&self, stream: &str, problem: Option<String>) {
        let mut last = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = problem.as_ref().filter(|_| *last != problem) {
            tracing::warn!(stream, error, "events are not queued");
        }
        *last = problem;
    }

    /// Events that were queued, and that were not.
    pub(super) fn counts(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.queued), count(&self.refused))
    }

    pub(super) fn to_json(&self) -> Json {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let early = self.webhook.as_ref().err().map(ToString::to_string);
        let url = self.webhook.as_ref().ok();
        json!({
            "kind": self.spec.kind,
            "url": url.map(|webhook| webhook.redacted_url()),
            "queued": self.queued.load(Ordering::Relaxed),
            "refused": self.refused.load(Ordering::Relaxed),
            "problem": problem.clone().or(early),
        })
    }
}
