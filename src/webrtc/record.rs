//! What others see of a session, and how they end it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::life::Phase;
use super::settings::Settings;
use super::upload::Budget;
use crate::blocks::{CacheStore, Services};
use crate::definitions::{ApiKey, DefinitionStore};
use crate::streams::Figures;

/// What all sessions share.
pub(super) struct Host {
    pub services: Services,
    pub store: Arc<DefinitionStore>,
    pub settings: Settings,
    pub uploads: Arc<Budget>,
}

/// Tells the thread of a session to end, and wakes it.
pub(super) struct Stop {
    sender: Mutex<Option<Sender<Infallible>>>,
    receiver: Receiver<Infallible>,
}

impl Default for Stop {
    fn default() -> Self {
        let (sender, receiver) = bounded(0);
        Self {
            sender: Mutex::new(Some(sender)),
            receiver,
        }
    }
}

impl Stop {
    /// Disconnected as soon as the session is to end.
    pub(super) fn told(&self) -> &Receiver<Infallible> {
        &self.receiver
    }

    pub(super) fn is_told(&self) -> bool {
        self.receiver.try_recv() == Err(TryRecvError::Disconnected)
    }

    pub(super) fn tell(&self) {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        sender.take();
    }
}

/// A session as others see it.
pub(super) struct Record {
    pub id: Arc<str>,
    /// Id of its definition.
    pub definition: String,
    pub cache: Arc<CacheStore>,
    pub api_key: Option<ApiKey>,
    pub workspace: Option<String>,
    pub stop: Stop,
    phase: Mutex<Phase>,
    results: AtomicU64,
    figures: OnceLock<Arc<Figures>>,
}

impl Record {
    pub(super) fn new(
        id: Arc<str>,
        definition: String,
        api_key: Option<ApiKey>,
        workspace: Option<String>,
    ) -> Self {
        Self {
            id,
            definition,
            cache: Arc::default(),
            api_key,
            workspace,
            stop: Stop::default(),
            phase: Mutex::new(Phase::Connecting),
            results: AtomicU64::new(0),
            figures: OnceLock::new(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub(super) fn count_result(&self) {
        self.results.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn results(&self) -> u64 {
        self.results.load(Ordering::Relaxed)
    }

    pub(super) fn figures(&self) -> Option<&Arc<Figures>> {
        self.figures.get()
    }

    pub(super) fn set_figures(&self, figures: Arc<Figures>) {
        // A session has one stream.
        let _ = self.figures.set(figures);
    }
}
