//! Gives memory back to the system when streams have ended.
//!
//! The allocator keeps what the threads of streams have freed. Streams that come and go would let the
//! process grow for hours although nothing leaks.

use std::time::Duration;

use crate::allocator;
use crate::clock::Clock;

/// How long after the end of a stream: its last threads are gone then, and of many streams that end
/// together one look is enough.
const AFTER: Duration = Duration::from_secs(1);

/// When memory is given back the next time.
#[derive(Default)]
pub(super) struct Release {
    seen: u64,
    due: Option<Duration>,
}

impl Release {
    /// Gives memory back if it is time; `ended` counts the streams that ended so far.
    pub(super) fn look(&mut self, ended: u64, clock: &dyn Clock) {
        let now = clock.monotonic();
        if self.seen != ended && self.due.is_none() {
            self.seen = ended;
            self.due = Some(now + AFTER);
        }
        if self.due.is_some_and(|due| now >= due) {
            self.due = None;
            allocator::release();
        }
    }
}
