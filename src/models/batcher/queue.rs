//! Who is next: the queue of a graph and what is known of its callers.

use std::collections::VecDeque;
use std::time::Duration;

use super::BatchFigures;
use super::job::{Failed, Part, Pending};
use super::times::{Callers, RunTimes};

/// What the callers of a graph share.
pub(super) struct State<O> {
    pub queue: VecDeque<Pending<O>>,
    /// Whether somebody leads; nobody does only while the queue is empty.
    pub led: bool,
    /// Whether outputs turned out to have no rows: callers are never put together.
    pub apart: bool,
    pub callers: Callers,
    pub times: RunTimes,
    pub figures: BatchFigures,
}

impl<O> Default for State<O> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            led: false,
            apart: false,
            callers: Callers::default(),
            times: RunTimes::default(),
            figures: BatchFigures::default(),
        }
    }
}

impl<O> State<O> {
    /// A run ended.
    pub(super) fn note(&mut self, callers: usize, images: usize, time: Duration, failed: bool) {
        self.times.note(images, time);
        self.figures.note_run(callers, images, time, failed);
    }

    /// Whether the batch has room and callers that were here of late have put nothing in.
    pub(super) fn is_incomplete(&self, now: Duration) -> bool {
        let Some(front) = self.queue.front() else {
            return false;
        };
        let turns = self.turns();
        let first = self
            .queue
            .iter()
            .zip(&turns)
            .filter(|(_, turn)| turn.0 == 0);
        let (callers, images) = first.fold((0, 0), |(callers, images), (pending, _)| {
            (callers + 1, images + pending.left())
        });
        !self.apart && images < front.job.limit && callers < self.callers.active(now)
    }

    /// Puts those first who were not served for longest. Of one caller only the job that came first
    /// counts so; its others stand behind the first ones of all.
    pub(super) fn order(&mut self) {
        if self.queue.len() < 2 {
            return;
        }
        let turns = self.turns();
        let waiting = std::mem::take(&mut self.queue);
        let mut waiting: Vec<_> = turns.into_iter().zip(waiting).collect();
        waiting.sort_by_key(|(turn, _)| *turn);
        self.queue = waiting.into_iter().map(|(_, pending)| pending).collect();
    }

    /// For each job how many of its caller stand before it, and when its caller was served.
    fn turns(&self) -> Vec<(usize, u64)> {
        let turn = |(at, pending): (usize, &Pending<O>)| {
            let who = &pending.job.who;
            let before = self.queue.iter().take(at);
            let rank = before.filter(|other| other.job.who == *who).count();
            (rank, self.callers.served(who))
        };
        self.queue.iter().enumerate().map(turn).collect()
    }

    /// Gives up what is too old and was not begun.
    pub(super) fn drop_late(&mut self, now: Duration) {
        let figures = &mut self.figures;
        self.queue.retain(|pending| {
            let late = pending.taken == 0 && pending.job.is_late(now);
            if late {
                figures.late += pending.job.images.count as u64;
                figures.note_wait(pending.job.waited(now));
                pending.job.fail(Failed::Late);
            }
            !late
        });
    }

    /// Takes a batch out of the queue, an image of each caller in turn. Who has images left stands
    /// last.
    pub(super) fn take(&mut self, now: Duration) -> Vec<Part<O>> {
        self.drop_late(now);
        self.order();
        let counts = self.share(now);
        let mut parts = Vec::new();
        let mut rest = Vec::new();
        let waiting = std::mem::take(&mut self.queue);
        self.callers.next_turn();
        for (mut pending, count) in waiting.into_iter().zip(counts) {
            if count == 0 {
                self.queue.push_back(pending);
                continue;
            }
            self.callers.serve(&pending.job.who);
            if let Some(waited) = pending.job.begin(now) {
                self.figures.note_wait(waited);
            }
            parts.push(Part {
                job: pending.job.clone(),
                first: pending.taken,
                count,
            });
            pending.taken += count;
            if pending.left() > 0 {
                rest.push(pending);
            }
        }
        self.queue.extend(rest);
        parts
    }

    /// How many images of each job the next batch has: of a caller only those of its first job. A
    /// caller whose last run failed is alone. A batch gets no fuller than lets everybody in it have
    /// the result as soon after the time that the images are worth a run as a run of their own would.
    fn share(&self, now: Duration) -> Vec<usize> {
        let mut counts = vec![0; self.queue.len()];
        let Some(front) = self.queue.front() else {
            return counts;
        };
        let (mut limit, mut total) = (front.job.limit, 0);
        let alone = self.apart || self.callers.is_suspect(&front.job.who);
        let together = if alone { 1 } else { self.queue.len() };
        let turns = self.turns();
        let mut slack = front.job.slack(now).unwrap_or(Duration::MAX);
        loop {
            let before = total;
            let jobs = self.queue.iter().zip(&turns).zip(&mut counts);
            for (at, ((pending, turn), count)) in jobs.take(together).enumerate() {
                let own = pending.job.slack(now).unwrap_or(Duration::MAX);
                let in_time = at == 0 || self.times.extra(total + 1) <= slack.min(own);
                let fits = in_time
                    && pending.job.images.shape == front.job.images.shape
                    && turn.0 == 0
                    && (alone || !self.callers.is_suspect(&pending.job.who))
                    && total < limit.min(pending.job.limit);
                if fits && *count < pending.left() {
                    *count += 1;
                    total += 1;
                    slack = slack.min(own);
                    limit = limit.min(pending.job.limit);
                }
            }
            if total == before {
                return counts;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::models::batcher::claim::Who;
    use crate::models::batcher::job::{Images, Job};

    const MS: Duration = Duration::from_millis(1);

    /// A queue of jobs of one image each that are due after so long; a run takes 40 ms an image.
    fn queue(due: &[u32]) -> State<()> {
        let mut state = State::default();
        state.times.note(1, 40 * MS);
        state.times.note(4, 160 * MS);
        for (i, due) in due.iter().enumerate() {
            let images = Images {
                data: vec![0.0].into(),
                count: 1,
                shape: [1, 1, 1],
            };
            let who = Who::Stream(format!("{i}").into());
            let job = Job::new(images, 4, who, Duration::ZERO, Some(*due * MS));
            let job = Arc::new(job);
            state.queue.push_back(Pending { job, taken: 0 });
        }
        state
    }

    #[test]
    fn a_batch_is_as_full_as_the_oldest_in_it_can_wait() {
        let share = |due: &[u32]| queue(due).share(Duration::ZERO);
        assert_eq!(share(&[500, 500, 500, 500]), [1, 1, 1, 1]);
        assert_eq!(share(&[20, 500, 500, 500]), [1, 0, 0, 0]);
        assert_eq!(share(&[50, 500, 500, 500]), [1, 1, 0, 0]);
        assert_eq!(share(&[500, 20, 500, 500]), [1, 0, 1, 1]);
    }
}
