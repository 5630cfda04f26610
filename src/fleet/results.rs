//! Results that wait for a client: bounded in number and in pixels, with a named policy.
//!
//! Results are kept as the workflow gave them, without the values that no output shows, and become
//! JSON only when somebody takes them, so pictures that nobody asks for are never encoded.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::definition::error::WorkflowError;
use crate::engine::Run;
use crate::streams::{FrameResult, Generation};
use crate::values::{Timestamp, Value, VideoMetadata};

/// What happens to results that find no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResultsPolicy {
    /// The oldest result makes room for the newest.
    #[default]
    DropOldest,
    /// The stream waits until a client has taken one: not one result is lost.
    Wait,
}

impl ResultsPolicy {
    /// Name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::DropOldest => "DROP_OLDEST",
            Self::Wait => "WAIT",
        }
    }
}

/// How many results wait, and what of them was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResultsFigures {
    /// Results that wait.
    pub waiting: usize,
    /// Bytes of their pixels.
    pub bytes: usize,
    /// Results that a client took.
    pub taken: u64,
    /// Results dropped because there were as many as may wait.
    pub dropped_full: u64,
    /// Results dropped because their pixels took too much memory.
    pub dropped_bytes: u64,
}

/// What is kept of a frame.
pub(super) struct Facts {
    /// Number of its source.
    pub source: usize,
    /// Its metadata.
    pub video: Arc<VideoMetadata>,
    /// When it came out of the decoder.
    pub arrived_at: Timestamp,
}

/// A result that waits. The pictures of its frames are held only where an output shows them.
pub(super) struct Kept {
    /// The frames, in the order of the elements of the run.
    pub frames: Vec<Facts>,
    /// Numbers of all sources that the stream had then.
    pub sources: Arc<[usize]>,
    /// The definition that ran.
    pub generation: Arc<Generation>,
    /// What it made of them.
    pub run: Result<Run, WorkflowError>,
    /// Time from the decoder to the result.
    pub latency: Duration,
    /// Of it, the time until the first stage was free.
    pub waited: Duration,
    /// Bytes of the pictures that outputs show.
    bytes: usize,
}

impl Kept {
    /// Gives up what no output shows.
    fn of(result: FrameResult) -> Self {
        let first = (result.source, result.frame);
        let frames = std::iter::once(first).chain(result.others);
        let plan = &result.generation.plan;
        let mut run = result.run;
        let mut bytes = 0;
        if let Ok(run) = &mut run {
            run.keep_outputs(plan);
            let objects = run.produced(plan);
            bytes = objects.iter().flatten().map(|p| pixels(&p.value)).sum();
        }
        Self {
            frames: frames
                .map(|(source, frame)| Facts {
                    source,
                    video: frame.video,
                    arrived_at: frame.arrived_at,
                })
                .collect(),
            sources: result.sources,
            run,
            latency: result.latency,
            waited: result.waited,
            generation: result.generation,
            bytes,
        }
    }
}

/// See the module documentation.
pub(super) struct Results {
    capacity: usize,
    policy: ResultsPolicy,
    most_bytes: usize,
    inner: Mutex<Inner>,
    room: Condvar,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Kept>,
    figures: ResultsFigures,
    closed: bool,
    producer_waits: bool,
}

impl Results {
    pub(super) fn new(capacity: usize, policy: ResultsPolicy, most_bytes: usize) -> Self {
        let least = usize::from(policy == ResultsPolicy::Wait);
        Self {
            capacity: capacity.max(least),
            policy,
            most_bytes,
            inner: Mutex::default(),
            room: Condvar::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a result in by the policy. Waits only if the policy says so and the buffer is open.
    pub(super) fn push(&self, result: FrameResult) {
        let kept = Kept::of(result);
        let mut inner = self.inner();
        if self.policy == ResultsPolicy::Wait {
            inner.producer_waits = true;
            while !inner.closed && inner.queue.len() >= self.capacity {
                inner = self
                    .room
                    .wait(inner)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            inner.producer_waits = false;
        }
        if inner.closed {
            return;
        }
        inner.figures.bytes += kept.bytes;
        inner.queue.push_back(kept);
        while inner.queue.len() > self.capacity {
            inner.drop_oldest();
            inner.figures.dropped_full += 1;
        }
        while inner.figures.bytes > self.most_bytes
            && inner.queue.len() > 1
            && self.policy == ResultsPolicy::DropOldest
        {
            inner.drop_oldest();
            inner.figures.dropped_bytes += 1;
        }
    }

    /// Takes the oldest result.
    pub(super) fn pop(&self) -> Option<Kept> {
        let mut inner = self.inner();
        let kept = inner.queue.pop_front()?;
        inner.figures.bytes -= kept.bytes;
        inner.figures.taken += 1;
        drop(inner);
        self.room.notify_one();
        Some(kept)
    }

    /// Lets the stream go that waits for room; what comes later is dropped. What is there stays.
    pub(super) fn close(&self) {
        self.inner().closed = true;
        self.room.notify_all();
    }

    /// Whether the stream waits for a client.
    pub(super) fn producer_waits(&self) -> bool {
        let inner = self.inner();
        inner.producer_waits && inner.queue.len() >= self.capacity
    }

    pub(super) fn policy(&self) -> ResultsPolicy {
        self.policy
    }

    pub(super) fn figures(&self) -> ResultsFigures {
        let inner = self.inner();
        ResultsFigures {
            waiting: inner.queue.len(),
            ..inner.figures
        }
    }
}

impl Inner {
    fn drop_oldest(&mut self) {
        if let Some(kept) = self.queue.pop_front() {
            self.figures.bytes -= kept.bytes;
        }
    }
}

fn pixels(value: &Value) -> usize {
    match value {
        Value::Image(image) => image.width() * image.height() * 3,
        Value::List(items) | Value::Tuple(items) => items.iter().map(pixels).sum(),
        Value::Dict(entries) => entries.values().map(pixels).sum(),
        _ => 0,
    }
}
