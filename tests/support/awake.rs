//! Time that passes only while the machine lets this process run.
//!
//! A bar on time holds on a machine that runs what is ready to run. Here a thread beats every few
//! milliseconds, and what a beat comes late is time in which the process stood still, because others
//! had the processors or the whole machine was held. [`awake`] leaves that time out. On a machine
//! that is not starved nothing is left out, so a test asserts the bar's own number there.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two beats.
const BEAT: Duration = Duration::from_millis(5);
/// How late a beat may be on an idle machine.
const LATE: Duration = Duration::from_millis(1);

struct Pulse {
    began: Instant,
    last: Instant,
    lost: Duration,
}

impl Pulse {
    /// How long the process has stood still since the last beat.
    fn standing(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last + BEAT + LATE)
    }
}

fn pulse() -> &'static Mutex<Pulse> {
    static PULSE: OnceLock<Mutex<Pulse>> = OnceLock::new();
    PULSE.get_or_init(|| {
        thread::spawn(beat);
        let now = Instant::now();
        Mutex::new(Pulse {
            began: now,
            last: now,
            lost: Duration::ZERO,
        })
    })
}

fn beat() {
    loop {
        thread::sleep(BEAT);
        let mut pulse = pulse().lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let standing = pulse.standing(now);
        pulse.lost += standing;
        pulse.last = now;
    }
}

/// Time since the first call of a process, less what it stood still; never goes back.
pub fn awake() -> Duration {
    let pulse = pulse().lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    now - pulse.began - pulse.lost - pulse.standing(now)
}
