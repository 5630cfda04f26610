//! How much may be sent per minute, hour and day (UTC).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Seconds of the three periods.
const PERIODS: [i64; 3] = [60, 3600, 86_400];
/// Names that are counted at the same time; whichever was not used today goes first.
const MAX_NAMES: usize = 4096;

/// Counters by name.
#[derive(Debug, Default)]
pub(super) struct Quotas(Mutex<HashMap<Arc<str>, [Counter; 3]>>);

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    period: i64,
    used: i64,
}

impl Quotas {
    /// Takes one of each period, if none has reached its limit; says whether it did.
    pub(super) fn take(&self, name: &str, limits: [i64; 3], now: i64) -> bool {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MAX_NAMES && !names.contains_key(name) {
            let today = now.div_euclid(PERIODS[2]);
            names.retain(|_, counters| counters[2].period == today);
        }
        let counters = names.entry(name.into()).or_default();
        for (counter, seconds) in counters.iter_mut().zip(PERIODS) {
            let period = now.div_euclid(seconds);
            if counter.period != period {
                *counter = Counter { period, used: 0 };
            }
        }
        let full = counters
            .iter()
            .zip(limits)
            .any(|(c, limit)| c.used >= limit);
        if !full {
            counters.iter_mut().for_each(|counter| counter.used += 1);
        }
        !full
    }

    /// Gives one of each period back.
    pub(super) fn give_back(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for counter in names.get_mut(name).into_iter().flatten() {
            counter.used = (counter.used - 1).max(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_period_has_its_limit_and_credits_come_back() {
        let quotas = Quotas::default();
        let limits = [2, 3, 10];
        assert!(quotas.take("a", limits, 0) && quotas.take("a", limits, 1));
        assert!(!quotas.take("a", limits, 2), "the minute is full");
        assert!(quotas.take("b", limits, 2), "names are apart");
        assert!(quotas.take("a", limits, 60));
        assert!(!quotas.take("a", limits, 61), "the hour is full");
        quotas.give_back("a");
        assert!(quotas.take("a", limits, 62));
        assert!(quotas.take("a", limits, 3600));
    }
}
