//! One graph shared by many callers: what they want run is gathered into batches.
//!
//! There is no thread of its own: a caller leads, gathers what others have put in, runs it and hands
//! the rows out; then the one who stands first leads. Callers take turns by stream: those stand first
//! who were not served for longest, and a batch takes one image of each in turn until it is full, so
//! neither many images nor many threads nor a high rate take another stream's turn. Of the threads of
//! one stream only one is in a batch. A thread waits for its rows, so it has one job in the queue at
//! most and the queue is bounded by the threads.
//!
//! A leader waits for further images only while callers that were here of late are missing, and no
//! longer than what a larger batch is known to save ([`times`]). Images whose turn does not come
//! before their [`Claim`] ends are not run. A batch that fails or panics is run again caller by
//! caller: nobody gets the failure of another, and whose run failed is alone until one succeeds.

mod claim;
mod figures;
mod job;
mod queue;
#[cfg(test)]
mod tests;
mod times;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::claim::Claim;
use self::claim::Who;
pub use self::figures::{BatchFigures, SIZES, WAITS};
use self::job::{Failed, Job, Part, Pending, Turn, joined};
pub(super) use self::job::{Images, Row};
use self::queue::State;
use crate::clock::Clock;

/// What runs batches; one at a time.
pub(super) trait Graph: Send {
    /// What a run gives.
    type Outputs: Send + Sync;

    /// Runs a batch: shape (images, channels, rows, columns) and its numbers.
    fn run(&mut self, shape: [usize; 4], data: &[f32]) -> Result<Self::Outputs, String>;

    /// Whether the outputs can be told apart by image: one row for each of so many.
    fn has_rows(outputs: &Self::Outputs, images: usize) -> bool;
}

/// See the module documentation.
pub(super) struct Batcher<G: Graph> {
    graph: Mutex<G>,
    /// Images that every run must have; the rest of a smaller batch is zeros.
    exact: Option<usize>,
    clock: Arc<dyn Clock>,
    state: Mutex<State<G::Outputs>>,
    arrived: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind the locks is changed in single steps, and graphs only read their weights.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<G: Graph> Batcher<G> {
    /// Shares a graph; `exact` is the batch size that it insists on, if it does.
    pub fn new(graph: G, exact: Option<usize>, clock: Arc<dyn Clock>) -> Self {
        Self {
            graph: Mutex::new(graph),
            exact,
            clock,
            state: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    /// How the graph was used so far.
    pub fn figures(&self) -> BatchFigures {
        lock(&self.state).figures
    }

    /// A row for each image. No run that they are part of has more than `limit` images. The claim
    /// learns how long they waited, and whether they were given up.
    ///
    /// # Errors
    /// Why the graph did not run on them.
    pub fn run(
        &self,
        images: Images,
        limit: usize,
        claim: Option<&Claim>,
    ) -> Result<Vec<Row<G::Outputs>>, String> {
        if images.count == 0 {
            return Ok(Vec::new());
        }
        let came = self.clock.monotonic();
        let due = claim.and_then(Claim::left).map(|left| came + left);
        let job = Job::new(images, limit.max(1), Who::of(claim), came, due);
        let job = Arc::new(job);
        self.enter(&job);
        let result = loop {
            match job.wait() {
                Turn::Lead => self.lead(&job),
                Turn::Done(result) => break result,
            }
        };
        let now = self.clock.monotonic();
        lock(&self.state).callers.saw(&job.who, now);
        if let Some(claim) = claim {
            claim.add_wait(job.waited(now));
            if let Err(Failed::Late) = result {
                claim.miss();
            }
        }
        result.map_err(|failed| failed.to_string())
    }

    fn enter(&self, job: &Arc<Job<G::Outputs>>) {
        let mut state = lock(&self.state);
        state.callers.saw(&job.who, job.came);
        state.queue.push_back(Pending {
            job: job.clone(),
            taken: 0,
        });
        if state.led {
            self.arrived.notify_one();
        } else {
            state.led = true;
            job.lead();
        }
    }

    /// Runs one batch; a leader whose own images are too old leaves it to the next.
    fn lead(&self, own: &Job<G::Outputs>) {
        let mut lead = Lead {
            batcher: self,
            parts: Vec::new(),
        };
        lead.parts = self.gather(own);
        if lead.parts.is_empty() {
            return;
        }
        match self.execute(&lead.parts) {
            run if lead.parts.len() == 1 => self.end(&mut lead.parts, run),
            Ok(outputs) => deliver(&mut lead.parts, outputs),
            Err(Failure::NotTogether | Failure::Run(_)) => self.run_apart(&mut lead.parts),
        }
    }

    /// Runs the part of each caller by itself, but for what has got too old meanwhile.
    fn run_apart(&self, parts: &mut Vec<Part<G::Outputs>>) {
        parts.reverse();
        while let Some(part) = parts.last() {
            let late = part.first == 0 && part.job.is_late(self.clock.monotonic());
            let run = (!late).then(|| self.execute(std::slice::from_ref(part)));
            let Some(part) = parts.pop() else {
                return;
            };
            match run {
                Some(run) => self.end(&mut vec![part], run),
                None => {
                    lock(&self.state).figures.late += part.count as u64;
                    part.job.fail(Failed::Late);
                }
            }
        }
    }

    /// Answers a caller that was run alone.
    fn end(&self, parts: &mut Vec<Part<G::Outputs>>, run: Result<G::Outputs, Failure>) {
        if let Some(part) = parts.first() {
            let callers = &mut lock(&self.state).callers;
            callers.judge(&part.job.who, run.is_err());
        }
        match run {
            Ok(outputs) => deliver(parts, outputs),
            Err(failure) => fail(parts, &failure.to_string()),
        }
    }

    /// The next batch.
    fn gather(&self, own: &Job<G::Outputs>) -> Vec<Part<G::Outputs>> {
        let began = self.clock.monotonic();
        let mut state = lock(&self.state);
        let patience = state.times.patience();
        let mut waited = Duration::ZERO;
        while waited < patience && state.is_incomplete(began) {
            let (woken, timed_out) = self
                .arrived
                .wait_timeout(state, patience - waited)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
            waited = self.clock.monotonic().saturating_sub(began);
            if timed_out.timed_out() {
                break;
            }
        }
        state.figures.waiting += waited;
        let now = began + waited;
        state.drop_late(now);
        match own.is_failed() {
            true => Vec::new(),
            false => state.take(now),
        }
    }

    fn execute(&self, parts: &[Part<G::Outputs>]) -> Result<G::Outputs, Failure> {
        let Some(first) = parts.first() else {
            return Err(Failure::Run("the batch is empty".into()));
        };
        let count: usize = parts.iter().map(|part| part.count).sum();
        let slots = self.exact.map_or(count, |exact| exact.max(count));
        let [channels, rows, columns] = first.job.images.shape;
        let shape = [slots, channels, rows, columns];
        let alone = parts.len() == 1 && slots == count;
        let joined = (!alone).then(|| joined(parts, slots));
        let data = match &joined {
            Some(joined) => joined,
            None => first.data(),
        };
        let mut graph = lock(&self.graph);
        let began = self.clock.monotonic();
        // A graph only reads its weights: a run that panicked leaves nothing half done in it.
        let run = catch_unwind(AssertUnwindSafe(|| graph.run(shape, data)));
        let time = self.clock.monotonic().saturating_sub(began);
        drop(graph);
        let run = run.unwrap_or_else(|_| Err("the run of the model panicked".into()));
        let mut state = lock(&self.state);
        state.note(parts.len(), count, time, run.is_err());
        let outputs = run.map_err(Failure::Run)?;
        if parts.len() > 1 && !G::has_rows(&outputs, slots) {
            state.apart = true;
            return Err(Failure::NotTogether);
        }
        Ok(outputs)
    }
}

/// Why a batch gave nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Run(String),
    #[error("the outputs cannot be told apart by image")]
    NotTogether,
}

/// Hands the rows out, in the order of the parts.
fn deliver<O>(parts: &mut Vec<Part<O>>, outputs: O) {
    let outputs = Arc::new(outputs);
    let mut index = 0;
    for part in parts.drain(..) {
        part.deliver(&outputs, index);
        index += part.count;
    }
}

fn fail<O>(parts: &mut Vec<Part<O>>, reason: &str) {
    for part in parts.drain(..) {
        part.job.fail(Failed::Run(reason.to_owned()));
    }
}

/// The leadership of one batch. When it ends, in whatever way, every part was answered and the next
/// leads.
struct Lead<'a, G: Graph> {
    batcher: &'a Batcher<G>,
    parts: Vec<Part<G::Outputs>>,
}

impl<G: Graph> Drop for Lead<'_, G> {
    fn drop(&mut self) {
        fail(&mut self.parts, "the leader of the batch panicked");
        let mut state = lock(&self.batcher.state);
        // The rest of a failed job has nobody who waits for it.
        state.queue.retain(|pending| !pending.job.is_failed());
        state.order();
        match state.queue.front() {
            Some(next) => next.job.lead(),
            None => state.led = false,
        }
    }
}
