//! The hand-over of blocks from the stages of an old definition to those of the new one.
//!
//! A stage that has run its last frame deposits its blocks; the stage of the new definition that
//! keeps one of them waits for it before its own first frame. So the last frames of the old
//! definition and the first of the new one are under way at the same time, and still no block ever
//! sees frames out of order.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::blocks::Block;

/// Blocks of one chain of stages, by position of their step, once their stage has ended.
pub(super) struct Handoff {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    blocks: HashMap<usize, Box<dyn Block>>,
    stages_running: usize,
}

impl Handoff {
    /// For a chain of so many stages.
    pub(super) fn new(stages: usize) -> Self {
        let inner = Inner {
            blocks: HashMap::new(),
            stages_running: stages,
        };
        Self {
            inner: Mutex::new(inner),
            changed: Condvar::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stage has ended; these were its blocks.
    pub(super) fn deposit(&self, blocks: Vec<(usize, Box<dyn Block>)>) {
        let mut inner = self.inner();
        inner.blocks.extend(blocks);
        inner.stages_running -= 1;
        drop(inner);
        self.changed.notify_all();
    }

    /// The block of a step, as soon as its stage has ended; `None` if no stage had it.
    pub(super) fn take(&self, step: usize) -> Option<Box<dyn Block>> {
        let mut inner = self.inner();
        loop {
            if let Some(block) = inner.blocks.remove(&step) {
                return Some(block);
            }
            if inner.stages_running == 0 {
                return None;
            }
            inner = self
                .changed
                .wait(inner)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Handoff {
    /// Nobody keeps what is left.
    fn drop(&mut self) {
        for (_, mut block) in self.inner().blocks.drain() {
            block.close();
        }
    }
}
