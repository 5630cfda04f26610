//! A place that rounds pass one by one in their order, whatever thread brings them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Lets round after round through, from number 0 on.
#[derive(Debug, Default)]
pub(super) struct Turnstile {
    next: Mutex<u64>,
    passed: Condvar,
}

impl Turnstile {
    fn next(&self) -> MutexGuard<'_, u64> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all rounds before this one have passed.
    fn enter(&self, round: u64) {
        let mut next = self.next();
        while *next < round {
            next = self
                .passed
                .wait(next)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The round has passed.
    fn leave(&self, round: u64) {
        *self.next() = round + 1;
        self.passed.notify_all();
    }
}

/// A round on its way through turnstiles, one after the other. However it ends, it leaves all of them
/// behind it, so that the rounds after it are never held up by one that is gone.
pub(super) struct Passage<'a> {
    turnstiles: &'a [Turnstile],
    round: u64,
    passed: usize,
    inside: bool,
}

impl<'a> Passage<'a> {
    pub(super) fn new(turnstiles: &'a [Turnstile], round: u64) -> Self {
        Self {
            turnstiles,
            round,
            passed: 0,
            inside: false,
        }
    }

    /// Enters the next turnstile.
    pub(super) fn enter(&mut self) {
        if let Some(turnstile) = self.turnstiles.get(self.passed) {
            turnstile.enter(self.round);
            self.inside = true;
        }
    }

    /// Leaves the one that was entered.
    pub(super) fn leave(&mut self) {
        if let Some(turnstile) = self.turnstiles.get(self.passed) {
            turnstile.leave(self.round);
            self.passed += 1;
            self.inside = false;
        }
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        while self.passed < self.turnstiles.len() {
            if !self.inside {
                self.enter();
            }
            self.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn rounds_pass_in_order_and_one_that_breaks_off_holds_nobody_up() {
        let turnstiles = [Turnstile::default(), Turnstile::default()];
        let seen = [AtomicU64::new(0), AtomicU64::new(0)];
        std::thread::scope(|scope| {
            for round in (0..40).rev() {
                let (turnstiles, seen) = (&turnstiles, &seen);
                scope.spawn(move || {
                    let mut passage = Passage::new(turnstiles, round);
                    for place in seen {
                        if round % 7 == 3 {
                            return;
                        }
                        passage.enter();
                        let before = place.swap(round + 1, Ordering::Relaxed);
                        assert!(before <= round, "{before} before {round}");
                        passage.leave();
                    }
                });
            }
        });
        assert_eq!(*turnstiles[1].next(), 40);
        assert_eq!(seen[1].load(Ordering::Relaxed), 40);
    }
}
