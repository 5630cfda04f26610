//! How a graph was used.

use std::time::Duration;

/// Upper bounds of the classes of [`BatchFigures::sizes`]; the last class has no bound.
pub const SIZES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Upper bounds in seconds of the classes of [`BatchFigures::waits`]; the last class has no bound.
pub const WAITS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5];

/// How a graph was used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchFigures {
    /// Runs of the graph.
    pub runs: u64,
    /// Images in them.
    pub images: u64,
    /// Runs with images of several callers.
    pub shared: u64,
    /// Most images of a run.
    pub largest: usize,
    /// Time that runs took.
    pub running: Duration,
    /// Time that leaders waited for further images.
    pub waiting: Duration,
    /// Runs by the class of their number of images.
    pub sizes: [u64; SIZES.len() + 1],
    /// What callers asked for, by the class of its wait for its first run.
    pub waits: [u64; WAITS.len() + 1],
    /// Time of all those waits.
    pub waited: Duration,
    /// Runs that failed.
    pub failures: u64,
    /// Images that were given up because their turn did not come in time.
    pub late: u64,
}

impl BatchFigures {
    /// Images of a run, on average.
    pub fn fill(&self) -> f64 {
        self.images as f64 / self.runs.max(1) as f64
    }

    /// Both together.
    pub(in crate::models) fn plus(self, other: Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            images: self.images + other.images,
            shared: self.shared + other.shared,
            largest: self.largest.max(other.largest),
            running: self.running + other.running,
            waiting: self.waiting + other.waiting,
            sizes: std::array::from_fn(|i| self.sizes[i] + other.sizes[i]),
            waits: std::array::from_fn(|i| self.waits[i] + other.waits[i]),
            waited: self.waited + other.waited,
            failures: self.failures + other.failures,
            late: self.late + other.late,
        }
    }

    /// What was added since `earlier`; the largest run is that of all time.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            runs: self.runs.saturating_sub(earlier.runs),
            images: self.images.saturating_sub(earlier.images),
            shared: self.shared.saturating_sub(earlier.shared),
            largest: self.largest,
            running: self.running.saturating_sub(earlier.running),
            waiting: self.waiting.saturating_sub(earlier.waiting),
            sizes: std::array::from_fn(|i| self.sizes[i].saturating_sub(earlier.sizes[i])),
            waits: std::array::from_fn(|i| self.waits[i].saturating_sub(earlier.waits[i])),
            waited: self.waited.saturating_sub(earlier.waited),
            failures: self.failures.saturating_sub(earlier.failures),
            late: self.late.saturating_sub(earlier.late),
        }
    }

    /// A run on so many images of so many callers.
    pub(super) fn note_run(&mut self, callers: usize, images: usize, time: Duration, failed: bool) {
        self.runs += 1;
        self.images += images as u64;
        self.shared += u64::from(callers > 1);
        self.largest = self.largest.max(images);
        self.running += time;
        self.failures += u64::from(failed);
        self.sizes[SIZES.partition_point(|bound| *bound < images)] += 1;
    }

    /// A caller's images waited so long for their first run.
    pub(super) fn note_wait(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        self.waits[WAITS.partition_point(|bound| *bound < seconds)] += 1;
        self.waited += time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_and_each_wait_has_its_class() {
        let mut figures = BatchFigures::default();
        let ms = Duration::from_millis;
        for images in [1, 2, 3, 64, 65] {
            figures.note_run(1, images, ms(1), images == 3);
        }
        for wait in [ms(0), ms(1), ms(30), ms(900)] {
            figures.note_wait(wait);
        }
        assert_eq!(figures.sizes, [1, 1, 1, 0, 0, 0, 1, 1]);
        assert_eq!(figures.waits, [2, 0, 0, 0, 0, 1, 0, 0, 0, 1]);
        assert_eq!((figures.failures, figures.largest), (1, 65));
        assert_eq!(figures.plus(figures).since(&figures), figures);
    }
}
