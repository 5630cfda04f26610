//! What is known of a graph's callers and run times, to tell whether waiting for a fuller batch pays.

use std::time::Duration;

use super::claim::Who;

/// A caller that was not seen for so long is not waited for.
const LATE: Duration = Duration::from_secs(1);
/// A caller that was not seen for so long is as good as new.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// A leader waits at most this part of the time of a run on one image.
const PART: u32 = 4;
/// Weight of the newest run in the averages.
const NEWEST: f64 = 0.1;

/// What is known of the callers of a graph.
#[derive(Debug, Default)]
pub(super) struct Callers {
    known: Vec<Caller>,
    /// Number of the newest turn.
    turn: u64,
}

#[derive(Debug)]
struct Caller {
    who: Who,
    seen: Duration,
    /// Its last turn; that of the moment when it came if it had none.
    served: u64,
    /// Whether its last run failed.
    suspect: bool,
}

impl Callers {
    /// A caller was here.
    pub(super) fn saw(&mut self, who: &Who, now: Duration) {
        match self.known.iter_mut().find(|caller| caller.who == *who) {
            Some(caller) => caller.seen = now,
            None => {
                self.known
                    .retain(|c| now.saturating_sub(c.seen) < FORGOTTEN);
                self.known.push(Caller {
                    who: who.clone(),
                    seen: now,
                    served: self.turn,
                    suspect: false,
                });
            }
        }
    }

    /// How many were here of late.
    pub(super) fn active(&self, now: Duration) -> usize {
        let known = self.known.iter();
        known
            .filter(|caller| now.saturating_sub(caller.seen) < LATE)
            .count()
    }

    fn find(&self, who: &Who) -> Option<&Caller> {
        self.known.iter().find(|caller| caller.who == *who)
    }

    fn find_mut(&mut self, who: &Who) -> Option<&mut Caller> {
        self.known.iter_mut().find(|caller| caller.who == *who)
    }

    /// The last turn of a caller.
    pub(super) fn served(&self, who: &Who) -> u64 {
        self.find(who).map_or(0, |caller| caller.served)
    }

    /// Another turn begins.
    pub(super) fn next_turn(&mut self) {
        self.turn += 1;
    }

    /// A caller is served in this turn.
    pub(super) fn serve(&mut self, who: &Who) {
        let turn = self.turn;
        if let Some(caller) = self.find_mut(who) {
            caller.served = turn;
        }
    }

    /// Whether the last run of a caller failed: it would take others with it.
    pub(super) fn is_suspect(&self, who: &Who) -> bool {
        self.find(who).is_some_and(|caller| caller.suspect)
    }

    /// A run of this caller alone ended.
    pub(super) fn judge(&mut self, who: &Who, failed: bool) {
        if let Some(caller) = self.find_mut(who) {
            caller.suspect = failed;
        }
    }
}

/// Average time per image in seconds, of runs on one image and of runs on several.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RunTimes {
    alone: Option<f64>,
    together: Option<f64>,
}

impl RunTimes {
    /// A run on so many images took so long.
    pub(super) fn note(&mut self, images: usize, time: Duration) {
        let each = time.as_secs_f64() / images.max(1) as f64;
        let average = match images {
            0 | 1 => &mut self.alone,
            _ => &mut self.together,
        };
        *average = Some(average.map_or(each, |old| old + NEWEST * (each - old)));
    }

    /// How much longer a run on so many images takes than one on a single image; nothing as long as
    /// runs of both kinds are not known.
    pub(super) fn extra(&self, images: usize) -> Duration {
        let (Some(alone), Some(together)) = (self.alone, self.together) else {
            return Duration::ZERO;
        };
        Duration::try_from_secs_f64(together * images as f64 - alone).unwrap_or_default()
    }

    /// How long a leader may wait for further images: no longer than one more image in the batch
    /// saves. Before runs of both kinds are known that is nothing; under load, images that came
    /// during a run make batches without any wait.
    pub(super) fn patience(&self) -> Duration {
        let (Some(alone), Some(together)) = (self.alone, self.together) else {
            return Duration::ZERO;
        };
        let saved = Duration::try_from_secs_f64(alone - together).unwrap_or_default();
        let most = Duration::try_from_secs_f64(alone).unwrap_or_default() / PART;
        saved.min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_longer_than_a_batch_saves() {
        let ms = Duration::from_millis;
        let mut times = RunTimes::default();
        assert_eq!(times.patience(), Duration::ZERO);
        times.note(1, ms(40));
        assert_eq!(times.patience(), Duration::ZERO, "batches are not known");
        times.note(4, ms(152));
        assert_eq!(times.patience(), ms(2));
        let mut cheap = times;
        (0..200).for_each(|_| cheap.note(4, ms(40)));
        assert_eq!(cheap.patience(), ms(10), "a quarter of a run");
        (0..200).for_each(|_| times.note(2, ms(100)));
        assert_eq!(times.patience(), Duration::ZERO, "batches cost more");
    }

    #[test]
    fn a_fuller_batch_takes_longer() {
        let ms = Duration::from_millis;
        let mut times = RunTimes::default();
        times.note(1, ms(40));
        assert_eq!(times.extra(4), Duration::ZERO, "batches are not known");
        times.note(4, ms(152));
        assert_eq!(times.extra(4), ms(112));
        assert_eq!(times.extra(1), Duration::ZERO);
    }

    #[test]
    fn callers_are_forgotten() {
        let mut callers = Callers::default();
        let [one, other] = ["one", "other"].map(|name| Who::Stream(name.into()));
        callers.saw(&one, Duration::ZERO);
        callers.saw(&other, Duration::from_millis(600));
        assert_eq!(callers.active(Duration::from_millis(900)), 2);
        assert_eq!(callers.active(Duration::from_millis(1100)), 1);
        callers.saw(&other, Duration::from_millis(1200));
        assert_eq!(callers.active(Duration::from_millis(1300)), 1);
        callers.saw(&one, Duration::from_millis(1300));
        assert_eq!(callers.active(Duration::from_millis(1300)), 2);
    }
}
