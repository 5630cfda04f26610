//! For whom a model runs, and until when that is worth it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

/// What a stream wants of the models of one stage for one round of frames: turns among other streams
/// by its name, and no run any more once the frames are too old. It tells afterwards how long the
/// images waited for their turn, and whether they were given up.
#[derive(Debug)]
pub struct Claim {
    stream: Arc<str>,
    left: Option<Duration>,
    missed: AtomicBool,
    waited: AtomicU64,
}

impl Claim {
    /// A claim of a stream, worth something for so long; `None` is for ever.
    pub fn new(stream: Arc<str>, left: Option<Duration>) -> Self {
        Self {
            stream,
            left,
            missed: AtomicBool::new(false),
            waited: AtomicU64::new(0),
        }
    }

    /// Whether images were given up because their turn did not come in time.
    pub fn is_missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }

    /// How long images waited for their turn, all runs together.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited.load(Ordering::Relaxed))
    }

    pub(super) fn left(&self) -> Option<Duration> {
        self.left
    }

    pub(super) fn miss(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    pub(super) fn add_wait(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.waited.fetch_add(micros, Ordering::Relaxed);
    }
}

/// Who takes turns with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// A stream, whatever thread of it asks.
    Stream(Arc<str>),
    /// A request.
    Thread(ThreadId),
}

impl Who {
    /// The stream of a claim; without one, this thread.
    pub(super) fn of(claim: Option<&Claim>) -> Self {
        match claim {
            Some(claim) => Self::Stream(claim.stream.clone()),
            None => Self::Thread(std::thread::current().id()),
        }
    }
}
