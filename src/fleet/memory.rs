//! Gives memory back to the system when streams have ended.
//!
//! The allocator of the GNU C library keeps what a stream's threads have freed in pools of its own,
//! one for several threads each, and gives it back only from their ends. Streams that come and go
//! would let the process grow for hours although nothing leaks.

use std::time::Duration;

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
            give_back();
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code)]
fn give_back() {
    // SAFETY: `malloc_trim` takes a number, locks what it looks at, and touches free memory only.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}
