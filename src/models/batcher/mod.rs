//! One graph shared by many callers: what they want run is gathered into batches.
//!
//! There is no thread of its own: the caller whose images stand first leads, gathers what others
//! have put in, runs it and hands the rows out; then the one who stands first then leads. A batch
//! takes one image of each caller in turn until it is full, so a caller with many images delays
//! nobody by more than a run, and who was served stands behind those who were not. A caller waits
//! for its rows, so it has one job in the queue at most and the queue is bounded by the callers.
//!
//! A leader waits for further images only while callers that were here of late are missing, and no
//! longer than what a larger batch is known to save ([`times`]). A batch that fails is run again
//! caller by caller: nobody gets the error of another. A leader that panics fails its batch only.

#[cfg(test)]
mod tests;
mod times;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use self::times::{Callers, RunTimes};
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

/// What one image gave.
pub(super) struct Row<O> {
    /// The outputs of the whole batch.
    pub outputs: Arc<O>,
    /// Place of the image in the batch.
    pub index: usize,
}

/// Images of one caller, prepared.
#[derive(Clone, Debug)]
pub(super) struct Images {
    /// Channels, rows and columns of each.
    pub shape: [usize; 3],
    /// How many.
    pub count: usize,
    /// Their numbers, one image after the other.
    pub data: Arc<Vec<f32>>,
}

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
}

impl BatchFigures {
    /// Images of a run, on average.
    pub fn fill(&self) -> f64 {
        self.images as f64 / self.runs.max(1) as f64
    }

    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            images: self.images + other.images,
            shared: self.shared + other.shared,
            largest: self.largest.max(other.largest),
            running: self.running + other.running,
            waiting: self.waiting + other.waiting,
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
        }
    }
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

struct State<O> {
    queue: VecDeque<Pending<O>>,
    /// Whether somebody leads; nobody does only while the queue is empty.
    led: bool,
    /// Whether outputs turned out to have no rows: callers are never put together.
    apart: bool,
    callers: Callers,
    times: RunTimes,
    figures: BatchFigures,
}

struct Pending<O> {
    job: Arc<Job<O>>,
    taken: usize,
}

/// What a caller wants.
struct Job<O> {
    images: Images,
    /// Most images of a run.
    limit: usize,
    progress: Mutex<Progress<O>>,
    changed: Condvar,
}

struct Progress<O> {
    rows: Vec<Option<Row<O>>>,
    left: usize,
    failed: Option<String>,
    /// Whether its caller is to lead.
    leads: bool,
}

/// Images of a job that are in a batch.
struct Part<O> {
    job: Arc<Job<O>>,
    first: usize,
    count: usize,
}

enum Turn<O> {
    Lead,
    Done(Result<Vec<Row<O>>, String>),
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
            state: Mutex::new(State {
                queue: VecDeque::new(),
                led: false,
                apart: false,
                callers: Callers::default(),
                times: RunTimes::default(),
                figures: BatchFigures::default(),
            }),
            arrived: Condvar::new(),
        }
    }

    /// How the graph was used so far.
    pub fn figures(&self) -> BatchFigures {
        lock(&self.state).figures
    }

    /// A row for each image. No run that they are part of has more than `limit` images.
    ///
    /// # Errors
    /// Why the graph did not run on them.
    pub fn run(&self, images: Images, limit: usize) -> Result<Vec<Row<G::Outputs>>, String> {
        if images.count == 0 {
            return Ok(Vec::new());
        }
        let job = Arc::new(Job::new(images, limit.max(1)));
        let caller = thread::current().id();
        self.enter(&job, caller);
        loop {
            match job.wait() {
                Turn::Lead => self.lead(),
                Turn::Done(result) => {
                    let now = self.clock.monotonic();
                    lock(&self.state).callers.saw(caller, now);
                    return result;
                }
            }
        }
    }

    fn enter(&self, job: &Arc<Job<G::Outputs>>, caller: thread::ThreadId) {
        let mut state = lock(&self.state);
        state.callers.saw(caller, self.clock.monotonic());
        state.queue.push_back(Pending {
            job: job.clone(),
            taken: 0,
        });
        if state.led {
            self.arrived.notify_one();
        } else {
            state.led = true;
            lock(&job.progress).leads = true;
        }
    }

    /// Runs one batch.
    fn lead(&self) {
        let mut lead = Lead {
            batcher: self,
            parts: Vec::new(),
        };
        lead.parts = self.gather();
        let run = self.execute(&lead.parts);
        match run {
            Ok(outputs) => deliver(&mut lead.parts, outputs),
            Err(Failure::NotTogether) => self.run_apart(&mut lead.parts),
            Err(Failure::Run(_)) if lead.parts.len() > 1 => self.run_apart(&mut lead.parts),
            Err(Failure::Run(reason)) => fail(&mut lead.parts, &reason),
        }
    }

    /// Runs the part of each caller by itself.
    fn run_apart(&self, parts: &mut Vec<Part<G::Outputs>>) {
        while let Some(part) = parts.last() {
            let run = self.execute(std::slice::from_ref(part));
            let Some(part) = parts.pop() else {
                return;
            };
            match run {
                Ok(outputs) => deliver(&mut vec![part], outputs),
                Err(failure) => fail(&mut vec![part], &failure.to_string()),
            }
        }
    }

    /// The next batch; its first part is that of the job that stands first.
    fn gather(&self) -> Vec<Part<G::Outputs>> {
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
        state.take()
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
        let run = graph.run(shape, data);
        let time = self.clock.monotonic().saturating_sub(began);
        drop(graph);
        let mut state = lock(&self.state);
        state.note(parts.len(), count, time);
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

/// The images of all parts one after the other, zeros up to so many.
fn joined<O>(parts: &[Part<O>], slots: usize) -> Vec<f32> {
    let floats = parts.first().map_or(0, |part| part.job.images.floats());
    let mut data = Vec::with_capacity(slots * floats);
    for part in parts {
        data.extend_from_slice(part.data());
    }
    data.resize(slots * floats, 0.0);
    data
}

/// Hands the rows out, in the order of the parts.
fn deliver<O>(parts: &mut Vec<Part<O>>, outputs: O) {
    let outputs = Arc::new(outputs);
    let mut index = 0;
    for part in parts.drain(..) {
        let mut progress = lock(&part.job.progress);
        for row in progress.rows.iter_mut().skip(part.first).take(part.count) {
            *row = Some(Row {
                outputs: outputs.clone(),
                index,
            });
            index += 1;
        }
        progress.left = progress.left.saturating_sub(part.count);
        if progress.left == 0 {
            part.job.changed.notify_one();
        }
    }
}

fn fail<O>(parts: &mut Vec<Part<O>>, reason: &str) {
    for part in parts.drain(..) {
        lock(&part.job.progress).failed = Some(reason.to_owned());
        part.job.changed.notify_one();
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
        fail(&mut self.parts, "the run of the model panicked");
        let mut state = lock(&self.batcher.state);
        // The rest of a failed job has nobody who waits for it.
        state
            .queue
            .retain(|pending| lock(&pending.job.progress).failed.is_none());
        match state.queue.front() {
            Some(next) => {
                lock(&next.job.progress).leads = true;
                next.job.changed.notify_one();
            }
            None => state.led = false,
        }
    }
}

impl<O> Job<O> {
    fn new(images: Images, limit: usize) -> Self {
        let progress = Progress {
            rows: (0..images.count).map(|_| None).collect(),
            left: images.count,
            failed: None,
            leads: false,
        };
        Self {
            images,
            limit,
            progress: Mutex::new(progress),
            changed: Condvar::new(),
        }
    }

    /// Waits until all images were run, or the caller is to lead.
    fn wait(&self) -> Turn<O> {
        let mut progress = lock(&self.progress);
        loop {
            if std::mem::take(&mut progress.leads) {
                return Turn::Lead;
            }
            if let Some(reason) = progress.failed.clone() {
                return Turn::Done(Err(reason));
            }
            if progress.left == 0 {
                let rows = progress.rows.drain(..).flatten().collect();
                return Turn::Done(Ok(rows));
            }
            progress = self
                .changed
                .wait(progress)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Images {
    /// Numbers of an image.
    fn floats(&self) -> usize {
        self.shape.iter().product()
    }
}

impl<O> Part<O> {
    fn data(&self) -> &[f32] {
        let floats = self.job.images.floats();
        let range = self.first * floats..(self.first + self.count) * floats;
        self.job.images.data.get(range).unwrap_or_default()
    }
}

impl<O> Pending<O> {
    fn left(&self) -> usize {
        self.job.images.count - self.taken
    }
}

impl<O> State<O> {
    fn note(&mut self, parts: usize, images: usize, time: Duration) {
        self.times.note(images, time);
        self.figures.runs += 1;
        self.figures.images += images as u64;
        self.figures.shared += u64::from(parts > 1);
        self.figures.largest = self.figures.largest.max(images);
        self.figures.running += time;
    }

    /// Whether the batch has room and callers that were here of late have put nothing in.
    fn is_incomplete(&self, now: Duration) -> bool {
        let Some(front) = self.queue.front() else {
            return false;
        };
        let images: usize = self.queue.iter().map(Pending::left).sum();
        !self.apart && images < front.job.limit && self.queue.len() < self.callers.active(now)
    }

    /// Takes a batch out of the queue, an image of each caller in turn. Who has images left stands
    /// last.
    fn take(&mut self) -> Vec<Part<O>> {
        let counts = self.share();
        let mut parts = Vec::new();
        let mut rest = Vec::new();
        let waiting = std::mem::take(&mut self.queue);
        for (mut pending, count) in waiting.into_iter().zip(counts) {
            if count == 0 {
                self.queue.push_back(pending);
                continue;
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

    /// How many images of each job the next batch has.
    fn share(&self) -> Vec<usize> {
        let mut counts = vec![0; self.queue.len()];
        let Some(front) = self.queue.front() else {
            return counts;
        };
        let (mut limit, mut total) = (front.job.limit, 0);
        loop {
            let before = total;
            let together = if self.apart { 1 } else { self.queue.len() };
            for (pending, count) in self.queue.iter().zip(&mut counts).take(together) {
                let fits = pending.job.images.shape == front.job.images.shape
                    && total < limit.min(pending.job.limit);
                if fits && *count < pending.left() {
                    *count += 1;
                    total += 1;
                    limit = limit.min(pending.job.limit);
                }
            }
            if total == before {
                return counts;
            }
        }
    }
}
