//! Who waits for what becomes of the first attempt at an event.
//!
//! An [`Asker`] goes with its event through the backlog and is told once. One that is dropped untold
//! says so too: its event was taken away.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::outcome::{Answer, Failure, Trouble};

/// What became of an event.
pub type Outcome = Result<Answer, Trouble>;

/// Tells somebody what became of an event.
#[derive(Clone, Debug)]
pub struct Asker(SyncSender<Outcome>);

impl Asker {
    /// An asker, and where it is heard.
    pub(super) fn new() -> (Self, Receiver<Outcome>) {
        let (told, heard) = sync_channel(1);
        (Self(told), heard)
    }

    /// Tells the outcome; who waits no longer is not told.
    pub(super) fn tell(self, outcome: Outcome) {
        let _ = self.0.try_send(outcome);
    }

    /// Tells that it is not the turn of the event, which stays.
    pub(super) fn tell_behind(self, reason: &str) {
        self.tell(Err(Trouble {
            kept: true,
            ..Failure::Behind(reason.into()).into()
        }));
    }
}
