//! When a failed attempt is made again.
//!
//! Waiting times double from attempt to attempt up to a limit; half of each is random, so that
//! receivers that come back are not hit by everybody at once. A `Retry-After` of the receiver is
//! honoured up to a limit of its own.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime};

/// How often and how fast failed attempts are made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts for one event, the first included, where it does not outlive the process; an outbox
    /// goes on trying for as long as it keeps the event.
    pub attempts: u32,
    /// Wait after the first failure.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
    /// Attempts for an event that the receiver does not want (4xx but for 408, 425 and 429).
    pub unwanted: u32,
    /// Longest `Retry-After` that is waited for; a longer one is cut to this.
    pub longest_asked: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 8,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(30),
            unwanted: 1,
            longest_asked: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// Wait after `failures` failures in a row; `chance` in 0..1 places it in its random half.
    pub fn delay(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        full.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }

    /// Wait that a receiver asked for, within the limit.
    pub fn asked(&self, retry_after: Duration) -> Duration {
        retry_after.min(self.longest_asked)
    }
}

/// A random number in 0..1 for [`RetryPolicy::delay`].
pub fn chance() -> f64 {
    let (bits, _) = uuid::Uuid::new_v4().as_u64_pair();
    // The low twelve bits of the first half hold the version; the upper ones are random.
    (bits >> 32) as f64 / f64::from(u32::MAX)
}

/// Reads a `Retry-After` header: seconds, or an HTTP date compared with `now` (seconds since 1970).
pub fn retry_after(text: &str, now: f64) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let seconds = DateTime::parse_from_rfc2822(text)
        .map(|t| t.timestamp())
        .or_else(|_| {
            NaiveDateTime::parse_from_str(text, "%a, %d %b %Y %H:%M:%S GMT")
                .map(|t| t.and_utc().timestamp())
        })
        .ok()?;
    Duration::try_from_secs_f64((seconds as f64 - now).max(0.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_are_half_random() {
        let policy = RetryPolicy::default();
        let seconds = |failures, chance| policy.delay(failures, chance).as_secs_f64();
        assert_eq!(seconds(1, 0.0), 0.25);
        assert_eq!(seconds(1, 1.0), 0.5);
        assert_eq!(seconds(4, 1.0), 4.0);
        assert_eq!(seconds(100, 1.0), 30.0);
        assert_eq!(seconds(100, 0.0), 15.0);
        for _ in 0..100 {
            assert!((0.0..=1.0).contains(&chance()));
        }
    }

    #[test]
    fn receivers_may_say_when() {
        assert_eq!(retry_after("7", 0.0), Some(Duration::from_secs(7)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(
            retry_after(date, 784_111_770.0),
            Some(Duration::from_secs(7))
        );
        assert_eq!(retry_after(date, 784_111_900.0), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", 0.0), None);
        let asked = RetryPolicy::default().asked(Duration::from_secs(86_400));
        assert_eq!(asked, Duration::from_secs(300));
    }
}
