//! How long a sink rests after an attempt.
//!
//! The time counts from the start of an attempt, whether it succeeded or not, and per stream. A
//! [`Cooldown`] belongs to one step; a [`SharedCooldown`] is kept by the host, so that it goes on
//! from one request of a server to the next. Times are those of a clock that is never set back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;

use super::report::Report;
use crate::blocks::state::PerStream;
use crate::blocks::{BlockError, Context, Inputs};

/// Timers that the host keeps; the one started longest ago goes first.
const MAX_TIMERS: usize = 4096;

/// The timer of one step.
#[derive(Default)]
pub(super) struct Cooldown(PerStream<Option<Duration>>);

impl Cooldown {
    /// Whether an attempt is forbidden now; nothing forbids it without a positive number of seconds.
    pub(super) fn forbids(&mut self, seconds: f64, cx: &Context<'_>) -> bool {
        let last = *self.0.get(cx.stream, || None);
        is_within(last, seconds, cx.services.clock.monotonic())
    }

    /// What keeps a sink with `disable_sink` and whole `cooldown_seconds` from an attempt, if
    /// something does.
    pub(super) fn stops(
        &mut self,
        inputs: &Inputs<'_>,
        cx: &Context<'_>,
    ) -> Result<Option<Report>, BlockError> {
        if let Some(off) = Report::off(inputs, cx)? {
            return Ok(Some(off));
        }
        let seconds = inputs.int("cooldown_seconds")? as f64;
        Ok(self.forbids(seconds, cx).then(|| Report::throttled(cx)))
    }

    /// An attempt starts now.
    pub(super) fn start(&mut self, cx: &Context<'_>) {
        *self.0.get(cx.stream, || None) = Some(cx.services.clock.monotonic());
    }
}

fn is_within(last: Option<Duration>, seconds: f64, now: Duration) -> bool {
    let cooldown = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    last.is_some_and(|last| now.saturating_sub(last) < cooldown)
}

/// Timers by key.
#[derive(Debug, Default)]
pub struct SharedCooldown(Mutex<IndexMap<Arc<str>, Duration>>);

impl SharedCooldown {
    /// Starts the timer of a key, unless it was started within so many seconds; says whether it
    /// did.
    pub fn start(&self, key: &str, seconds: f64, now: Duration) -> bool {
        let mut timers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_within(timers.get(key).copied(), seconds, now) {
            return false;
        }
        timers.shift_remove(key);
        if timers.len() >= MAX_TIMERS {
            timers.shift_remove_index(0);
        }
        timers.insert(key.into(), now);
        true
    }

    /// When the timer of a key was started.
    pub fn started(&self, key: &str) -> Option<Duration> {
        let timers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        timers.get(key).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_forbids_what_is_within_it_and_only_for_its_key() {
        let timers = SharedCooldown::default();
        let at = Duration::from_secs;
        assert!(timers.start("a", 5.0, at(10)));
        assert!(!timers.start("a", 5.0, at(14)));
        assert!(timers.start("b", 5.0, at(14)));
        assert!(timers.start("a", 5.0, at(15)));
        assert!(timers.start("a", 0.0, at(15)) && timers.start("a", -1.0, at(15)));
        assert_eq!(timers.started("a"), Some(at(15)));
    }

    #[test]
    fn timers_are_bounded() {
        let timers = SharedCooldown::default();
        for i in 0..=MAX_TIMERS {
            timers.start(&i.to_string(), 5.0, Duration::ZERO);
        }
        assert_eq!(timers.started("0"), None);
        assert!(timers.started("1").is_some());
    }
}
