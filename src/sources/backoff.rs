//! The waits between attempts.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Waits between attempts: doubling from `initial` to `max`, each ±20 % so that cameras behind one
/// switch do not come back in step. The same `seed` gives the same waits.
#[derive(Debug)]
pub(crate) struct Backoff {
    initial: Duration,
    max: Duration,
    seed: u64,
    step: u32,
}

impl Backoff {
    /// The waits of the source named `name`.
    pub(crate) fn new(initial: Duration, max: Duration, name: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self {
            initial,
            max: max.max(initial),
            seed: hasher.finish(),
            step: 0,
        }
    }

    /// Starts again from the shortest wait.
    pub(crate) fn reset(&mut self) {
        self.step = 0;
    }

    /// A time as it is for this source at this step.
    pub(crate) fn jittered(&self, time: Duration) -> Duration {
        let mut hasher = DefaultHasher::new();
        (self.seed, self.step).hash(&mut hasher);
        time.mul_f64(0.8 + 0.4 * (hasher.finish() % 1000) as f64 / 1000.0)
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self
            .initial
            .saturating_mul(2u32.saturating_pow(self.step))
            .min(self.max);
        let wait = self.jittered(wait);
        self.step = self.step.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn waits_double_up_to_the_longest_and_differ_between_sources() {
        let waits = |name| {
            let mut backoff = Backoff::new(ms(500), ms(30_000), name);
            (0..12).map(|_| backoff.next()).collect::<Vec<_>>()
        };
        let a = waits("a");
        for (i, wait) in a.iter().enumerate() {
            let nominal = (500.0 * 2f64.powi(i as i32)).min(30_000.0) / 1000.0;
            let ratio = wait.as_secs_f64() / nominal;
            assert!((0.8..=1.2).contains(&ratio), "{i}: {wait:?}");
        }
        assert_eq!(a, waits("a"));
        assert_ne!(a, waits("b"));
    }
}
