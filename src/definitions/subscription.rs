//! Being told when a definition changes.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::stamp::Fetched;
use super::store::Entry;
use crate::definition::canonical::DefinitionHash;

/// Sends changed definitions to one subscriber. The queue holds one: a newer definition takes the
/// place of one that was not fetched yet.
#[derive(Debug)]
pub(super) struct Teller {
    number: u64,
    sender: Sender<Arc<Fetched>>,
    /// The other end, to take back what nobody fetched.
    receiver: Receiver<Arc<Fetched>>,
    told: Option<DefinitionHash>,
}

impl Teller {
    pub(super) fn new(number: u64, told: Option<DefinitionHash>) -> Self {
        let (sender, receiver) = bounded(1);
        Self {
            number,
            sender,
            receiver,
            told,
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn receiver(&self) -> Receiver<Arc<Fetched>> {
        self.receiver.clone()
    }

    /// Tells of a definition if it is another than the last one told.
    pub(super) fn tell(&mut self, fetched: &Arc<Fetched>) {
        if self.told == Some(fetched.stamp.hash) {
            return;
        }
        self.told = Some(fetched.stamp.hash);
        // Only this end sends, under the lock of the entry: after the take there is room.
        let _ = self.receiver.try_recv();
        let _ = self.sender.try_send(fetched.clone());
    }
}

/// A subscription to a definition. While it lives the definition is kept fresh.
#[derive(Debug)]
pub struct Subscription {
    entry: Arc<Entry>,
    number: u64,
    changes: Receiver<Arc<Fetched>>,
}

impl Subscription {
    pub(super) fn new(entry: Arc<Entry>, running: Option<DefinitionHash>, now: Duration) -> Self {
        entry.touch(now);
        let (number, changes) = entry.enrol(running);
        Self {
            entry,
            number,
            changes,
        }
    }

    /// Receives every content whose hash is another than that of the one before; if several came
    /// since the last look, the newest.
    pub fn changes(&self) -> &Receiver<Arc<Fetched>> {
        &self.changes
    }

    /// What a request would get now, with the newest stamp: each confirmation by the source makes
    /// it younger although the content is the same. `None` until there is something.
    pub fn latest(&self) -> Option<Arc<Fetched>> {
        self.entry.current()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.entry.dismiss(self.number);
    }
}
