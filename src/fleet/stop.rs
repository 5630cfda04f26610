//! How the thread of a pipeline is told to stop.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Tells the thread of a pipeline to stop, and wakes it.
pub(super) struct Stop {
    flag: AtomicBool,
    sender: Mutex<Option<Sender<Infallible>>>,
    receiver: Receiver<Infallible>,
}

impl Stop {
    /// Nobody is told yet.
    pub(super) fn new() -> Self {
        let (sender, receiver) = bounded(0);
        Self {
            flag: AtomicBool::new(false),
            sender: Mutex::new(Some(sender)),
            receiver,
        }
    }

    /// Disconnected as soon as the pipeline is to stop.
    pub(super) fn told(&self) -> &Receiver<Infallible> {
        &self.receiver
    }

    /// Whether it was told.
    pub(super) fn is_told(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
    }

    /// Tells it.
    pub(super) fn tell(&self) {
        self.flag.store(true, Ordering::SeqCst);
        self.sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}
