//! How many rounds of a stream may be in flight.
//!
//! What waits between the stages gets old there, so live frames are taken from their source only
//! when the stages have use for them; until then the newest stays where the older ones are dropped
//! and counted. The stages have use for as many rounds as they can work on at once: throughput is
//! one round per time of the slowest stage, and by Little's law the number under work is the sum of
//! the stages' times over that. One more bridges uneven times while waiting for it is cheap. Rounds
//! beyond the first are begun only if they all come out young: a stage that is slow because other
//! streams use its model too gains nothing from a round that waits.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Up to this time of the slowest stage, one round more waits for it.
const CHEAP: f64 = 0.1;
/// Share of another round's work below which it is not begun early: it would wait far longer than it
/// saves.
const SLIGHT: f64 = 0.1;
/// Age in seconds that rounds may reach in the stages; beyond it one at a time goes through.
const YOUNG: f64 = 0.4;
/// Rounds in flight before the stages' times are known.
const UNKNOWN: usize = 2;
/// Weight of the newest time in the averages.
const NEWEST: f64 = 0.1;

/// Counts the rounds in flight.
#[derive(Debug, Default)]
pub(super) struct Flow {
    inner: Mutex<Inner>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    in_flight: usize,
    stages: Vec<Pace>,
}

/// How fast a stage is.
#[derive(Debug)]
struct Pace {
    name: String,
    /// Rounds that it works on at once.
    workers: usize,
    /// Average time of a round in seconds, once known.
    seconds: Option<f64>,
}

/// A round in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit(Arc<Flow>);

impl Flow {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stages of a definition with their workers; times of stages that it keeps go on.
    pub(super) fn stages(&self, stages: impl Iterator<Item = (String, usize)>) {
        let mut inner = self.inner();
        let old = std::mem::take(&mut inner.stages);
        inner.stages = stages
            .map(|(name, workers)| Pace {
                seconds: old.iter().find(|s| s.name == name).and_then(|s| s.seconds),
                name,
                workers,
            })
            .collect();
    }

    /// A stage works on so many rounds at once from now on.
    pub(super) fn set_workers(&self, stage: &str, workers: usize) {
        let mut inner = self.inner();
        if let Some(stage) = inner.stages.iter_mut().find(|s| s.name == stage) {
            stage.workers = workers;
        }
        drop(inner);
        self.left.notify_one();
    }

    /// A stage took so long.
    pub(super) fn note(&self, stage: &str, time: Duration) {
        let time = time.as_secs_f64();
        if let Some(stage) = self.inner().stages.iter_mut().find(|s| s.name == stage) {
            let average = stage
                .seconds
                .map_or(time, |old| old + NEWEST * (time - old));
            stage.seconds = Some(average);
        }
    }

    /// Waits until another round may enter, for `timeout` at most; false if none may.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        let full = |inner: &mut Inner| inner.in_flight >= inner.limit();
        let waited = self.left.wait_timeout_while(self.inner(), timeout, full);
        let (inner, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(inner);
        !timed_out.timed_out()
    }

    /// A round enters.
    pub(super) fn enter(self: &Arc<Self>) -> Permit {
        self.inner().in_flight += 1;
        Permit(self.clone())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.inner().in_flight -= 1;
        self.0.left.notify_one();
    }
}

impl Inner {
    fn limit(&self) -> usize {
        let known: Option<Vec<f64>> = self.stages.iter().map(|s| s.seconds).collect();
        let Some(times) = known.filter(|times| !times.is_empty()) else {
            return UNKNOWN;
        };
        let sum: f64 = times.iter().sum();
        let each = self.stages.iter().zip(&times);
        let slowest = each
            .map(|(stage, time)| time / stage.workers.max(1) as f64)
            .fold(0.0, f64::max);
        if slowest <= 0.0 {
            return UNKNOWN;
        }
        let at_work = (sum / slowest - SLIGHT).ceil().max(1.0) as usize;
        let wanted = at_work + usize::from(slowest <= CHEAP);
        wanted.min((YOUNG / slowest) as usize).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(stages: &[(u64, usize)]) -> usize {
        let flow = Flow::default();
        let named = |i: usize| format!("stage {i}");
        flow.stages(stages.iter().enumerate().map(|(i, s)| (named(i), s.1)));
        for (i, (ms, _)) in stages.iter().enumerate() {
            flow.note(&named(i), Duration::from_millis(*ms));
        }
        flow.inner().limit()
    }

    #[test]
    fn as_many_as_the_stages_work_on_at_once() {
        assert_eq!(limit(&[]), 2);
        assert_eq!(limit(&[(20, 1)]), 2, "one at work, one waits");
        assert_eq!(limit(&[(400, 1)]), 1, "waiting would cost 400 ms");
        assert_eq!(limit(&[(2, 1), (400, 1), (3, 1)]), 1);
        assert_eq!(limit(&[(100, 1), (200, 1)]), 2, "half of it runs ahead");
        assert_eq!(limit(&[(400, 1), (400, 1)]), 1, "two would be 800 ms old");
        assert_eq!(limit(&[(20, 1), (20, 1), (20, 1)]), 4);
        assert_eq!(limit(&[(270, 3)]), 4, "three at work, one waits");
    }

    #[test]
    fn a_round_that_leaves_lets_another_in() {
        let flow = Arc::new(Flow::default());
        assert!(flow.wait(Duration::ZERO));
        let first = flow.enter();
        let _second = flow.enter();
        assert!(!flow.wait(Duration::from_millis(1)));
        let other = std::thread::spawn({
            let flow = flow.clone();
            move || flow.wait(Duration::from_secs(20))
        });
        drop(first);
        assert!(other.join().unwrap());
    }
}
