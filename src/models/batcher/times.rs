//! What is known of a graph's callers and run times, to tell whether waiting for a fuller batch pays.

use std::thread::ThreadId;
use std::time::Duration;

/// A caller that was not seen for so long is not waited for.
const LATE: Duration = Duration::from_secs(1);
/// A leader waits at most this part of the time of a run on one image.
const PART: u32 = 4;
/// Weight of the newest run in the averages.
const NEWEST: f64 = 0.1;

/// When callers were seen.
#[derive(Debug, Default)]
pub(super) struct Callers(Vec<(ThreadId, Duration)>);

impl Callers {
    /// A caller was here.
    pub(super) fn saw(&mut self, caller: ThreadId, now: Duration) {
        match self.0.iter_mut().find(|(known, _)| *known == caller) {
            Some((_, seen)) => *seen = now,
            None => {
                self.0.retain(|(_, seen)| now.saturating_sub(*seen) < LATE);
                self.0.push((caller, now));
            }
        }
    }

    /// How many were here of late.
    pub(super) fn active(&self, now: Duration) -> usize {
        let late = |seen: &Duration| now.saturating_sub(*seen) < LATE;
        self.0.iter().filter(|(_, seen)| late(seen)).count()
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
    fn callers_are_forgotten() {
        let mut callers = Callers::default();
        let other = std::thread::spawn(|| {}).thread().id();
        callers.saw(std::thread::current().id(), Duration::ZERO);
        callers.saw(other, Duration::from_millis(600));
        assert_eq!(callers.active(Duration::from_millis(900)), 2);
        assert_eq!(callers.active(Duration::from_millis(1100)), 1);
        callers.saw(other, Duration::from_millis(1200));
        assert_eq!(callers.active(Duration::from_millis(1300)), 1);
    }
}
