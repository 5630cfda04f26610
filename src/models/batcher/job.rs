//! What callers want of a graph: images that wait, images in a batch, rows that come back.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::claim::Who;
use super::lock;

/// Images of one caller, prepared.
#[derive(Clone, Debug)]
pub(in crate::models) struct Images {
    /// Channels, rows and columns of each.
    pub shape: [usize; 3],
    /// How many.
    pub count: usize,
    /// Their numbers, one image after the other.
    pub data: Arc<Vec<f32>>,
}

impl Images {
    /// Numbers of an image.
    pub(super) fn floats(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What one image gave.
pub(in crate::models) struct Row<O> {
    /// The outputs of the whole batch.
    pub outputs: Arc<O>,
    /// Place of the image in the batch.
    pub index: usize,
}

/// What a caller wants.
pub(super) struct Job<O> {
    pub images: Images,
    /// Most images of a run.
    pub limit: usize,
    /// Whose turn it takes.
    pub who: Who,
    /// When it came.
    pub came: Duration,
    /// When its images are no longer worth a run.
    pub due: Option<Duration>,
    progress: Mutex<Progress<O>>,
    changed: Condvar,
}

struct Progress<O> {
    rows: Vec<Option<Row<O>>>,
    left: usize,
    failed: Option<Failed>,
    /// Whether its caller is to lead.
    leads: bool,
    /// When its first image was taken into a batch.
    begun: Option<Duration>,
}

/// Why a job gives nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failed {
    #[error("{0}")]
    Run(String),
    #[error("the images waited for the model until they were too old")]
    Late,
}

/// What a caller is to do next.
pub(super) enum Turn<O> {
    Lead,
    Done(Result<Vec<Row<O>>, Failed>),
}

/// A job in the queue.
pub(super) struct Pending<O> {
    pub job: Arc<Job<O>>,
    pub taken: usize,
}

/// Images of a job that are in a batch.
pub(super) struct Part<O> {
    pub job: Arc<Job<O>>,
    pub first: usize,
    pub count: usize,
}

impl<O> Job<O> {
    pub(super) fn new(
        images: Images,
        limit: usize,
        who: Who,
        came: Duration,
        due: Option<Duration>,
    ) -> Self {
        let progress = Progress {
            rows: (0..images.count).map(|_| None).collect(),
            left: images.count,
            failed: None,
            leads: false,
            begun: None,
        };
        Self {
            images,
            limit,
            who,
            came,
            due,
            progress: Mutex::new(progress),
            changed: Condvar::new(),
        }
    }

    /// Waits until all images were run, or the caller is to lead.
    pub(super) fn wait(&self) -> Turn<O> {
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

    /// Makes its caller the leader.
    pub(super) fn lead(&self) {
        lock(&self.progress).leads = true;
        self.changed.notify_one();
    }

    /// Ends it without rows.
    pub(super) fn fail(&self, reason: Failed) {
        lock(&self.progress).failed = Some(reason);
        self.changed.notify_one();
    }

    pub(super) fn is_failed(&self) -> bool {
        lock(&self.progress).failed.is_some()
    }

    /// Whether its images are too old for a first run.
    pub(super) fn is_late(&self, now: Duration) -> bool {
        self.due.is_some_and(|due| now > due)
    }

    /// How long its images are still worth a first run; `None` is for ever.
    pub(super) fn slack(&self, now: Duration) -> Option<Duration> {
        self.due.map(|due| due.saturating_sub(now))
    }

    /// An image of it is in a batch; the time that it waited, if it is the first.
    pub(super) fn begin(&self, now: Duration) -> Option<Duration> {
        let mut progress = lock(&self.progress);
        if progress.begun.is_some() {
            return None;
        }
        progress.begun = Some(now);
        Some(now.saturating_sub(self.came))
    }

    /// How long it waited for its first run, up to now if there was none.
    pub(super) fn waited(&self, now: Duration) -> Duration {
        let begun = lock(&self.progress).begun;
        begun.unwrap_or(now).saturating_sub(self.came)
    }
}

impl<O> Pending<O> {
    pub(super) fn left(&self) -> usize {
        self.job.images.count - self.taken
    }
}

impl<O> Part<O> {
    pub(super) fn data(&self) -> &[f32] {
        let floats = self.job.images.floats();
        let range = self.first * floats..(self.first + self.count) * floats;
        self.job.images.data.get(range).unwrap_or_default()
    }

    /// Takes its rows, which begin at `index` of a batch.
    pub(super) fn deliver(&self, outputs: &Arc<O>, index: usize) {
        let mut progress = lock(&self.job.progress);
        let rows = progress.rows.iter_mut().skip(self.first).take(self.count);
        for (i, row) in rows.enumerate() {
            *row = Some(Row {
                outputs: outputs.clone(),
                index: index + i,
            });
        }
        progress.left = progress.left.saturating_sub(self.count);
        if progress.left == 0 {
            self.job.changed.notify_one();
        }
    }
}

/// The images of all parts one after the other, zeros up to so many.
pub(super) fn joined<O>(parts: &[Part<O>], slots: usize) -> Vec<f32> {
    let floats = parts.first().map_or(0, |part| part.job.images.floats());
    let mut data = Vec::with_capacity(slots * floats);
    for part in parts {
        data.extend_from_slice(part.data());
    }
    data.resize(slots * floats, 0.0);
    data
}
