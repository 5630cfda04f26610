//! When a definition is looked at again.
//!
//! An answer is refreshed ahead of its expiry, at a random moment of the last fifth of its
//! time-to-live, so that nobody waits and many servers do not ask at once. After a failure the wait
//! doubles up to a limit; half of each wait is random.

use std::time::Duration;

/// Wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait after failures.
const LONGEST: Duration = Duration::from_secs(60);
/// Longest wait that the platform may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// Shortest time between two refreshes that nobody asked for.
const SHORTEST: Duration = Duration::from_millis(500);
/// How many times-to-live a definition is refreshed that nobody asks for any more.
const KEPT_WARM: u32 = 4;
/// Shortest time for which such a definition is refreshed.
const KEPT_WARM_AT_LEAST: Duration = Duration::from_secs(60);

/// Time from an answer to the next refresh; `chance` in 0..1.
pub(super) fn ahead(ttl: Duration, chance: f64) -> Duration {
    ttl.mul_f64(0.8 + 0.15 * chance.clamp(0.0, 1.0))
        .max(SHORTEST)
}

/// Wait after `failures` failures in a row, not longer than the time-to-live; `asked` is what the
/// platform asked for.
pub(super) fn back_off(
    failures: u32,
    asked: Option<Duration>,
    ttl: Duration,
    chance: f64,
) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    let longest = LONGEST.min(ttl).max(FIRST);
    let full = FIRST.saturating_mul(1 << doublings).min(longest);
    let own = full.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
    own.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

/// How long after its last use a definition is kept fresh.
pub(super) fn kept_warm(ttl: Duration) -> Duration {
    ttl.saturating_mul(KEPT_WARM).max(KEPT_WARM_AT_LEAST)
}

/// A random number in 0..1.
pub(super) fn chance() -> f64 {
    let (bits, _) = uuid::Uuid::new_v4().as_u64_pair();
    // The low twelve bits of the first half hold the version; the upper ones are random.
    (bits >> 32) as f64 / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refresh_comes_before_the_expiry() {
        let ttl = Duration::from_secs(900);
        assert_eq!(ahead(ttl, 0.0), Duration::from_secs(720));
        assert_eq!(ahead(ttl, 1.0), Duration::from_secs(855));
        assert_eq!(ahead(Duration::ZERO, 0.5), SHORTEST, "no busy loop");
        assert!((0..100).all(|_| (0.0..=1.0).contains(&chance())));
    }

    #[test]
    fn waits_double_up_to_the_limit() {
        let ttl = Duration::from_secs(900);
        let seconds = |failures, chance| back_off(failures, None, ttl, chance).as_secs_f64();
        assert_eq!(seconds(1, 0.0), 0.5);
        assert_eq!(seconds(1, 1.0), 1.0);
        assert_eq!(seconds(4, 1.0), 8.0);
        assert_eq!(seconds(99, 1.0), 60.0);
        let short = back_off(99, None, Duration::from_secs(3), 1.0);
        assert_eq!(short.as_secs(), 3, "not longer than the time-to-live");
        let asked = |seconds| back_off(1, Some(Duration::from_secs(seconds)), ttl, 1.0).as_secs();
        assert_eq!(asked(30), 30);
        assert_eq!(asked(86_400), 300);
        assert_eq!(asked(0), 1);
    }
}
