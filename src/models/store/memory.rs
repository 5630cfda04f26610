//! Which models stay in memory: those used least recently go when there are too many, or when their
//! weights take too many bytes. Pinned models stay, and so do those that somebody works with: giving
//! them up would free nothing.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use super::ModelStore;
use super::slot::Slot;
use crate::models::{BatchFigures, aliases};

/// Models given up at once when there are too many, as the reference does.
const AT_ONCE: usize = 3;

impl ModelStore {
    /// Gives up models until the limits hold again; the newcomer stays.
    pub(super) fn make_room(&self, newcomer: &str) {
        let _one_at_a_time = self.evicting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut loaded = self.in_memory();
            let too_many = loaded.len() > self.limits.models;
            let bytes = total(&loaded);
            if !too_many && self.limits.bytes.is_none_or(|limit| bytes <= limit) {
                return;
            }
            loaded.retain(|(id, slot)| {
                let in_use = slot.ready().is_some_and(|loaded| loaded.is_in_use());
                &**id != newcomer && !self.is_pinned(id) && !in_use
            });
            loaded.sort_by_key(|(_, slot)| slot.used());
            let go = if too_many { AT_ONCE } else { 1 };
            if loaded.is_empty() {
                tracing::warn!(
                    bytes,
                    "all models in memory are pinned or in use: the limit is exceeded"
                );
                return;
            }
            for (id, _) in loaded.into_iter().take(go) {
                tracing::info!(model = &*id, "unloaded: it was not used for longest");
                self.models.remove(&id);
            }
        }
    }

    /// How the models in memory were used so far, all together.
    pub fn batches(&self) -> BatchFigures {
        let each = self.batches_by_model().into_iter();
        each.map(|(_, figures)| figures)
            .fold(BatchFigures::default(), BatchFigures::plus)
    }

    /// How each model in memory was used so far, by the first of the ids that share its weights.
    pub fn batches_by_model(&self) -> Vec<(Arc<str>, BatchFigures)> {
        let mut loaded = self.in_memory();
        loaded.sort_by(|a, b| a.0.cmp(&b.0));
        let mut seen = HashSet::new();
        let ready = loaded
            .into_iter()
            .filter_map(|(id, slot)| Some((id, slot.ready()?.weights().clone())));
        ready
            .filter(|(_, weights)| seen.insert(Arc::as_ptr(weights)))
            .map(|(id, weights)| (id, weights.batches()))
            .collect()
    }

    /// The models in memory.
    pub(super) fn in_memory(&self) -> Vec<(Arc<str>, Arc<Slot>)> {
        let loaded = self.models.iter().filter(|e| e.value().ready().is_some());
        loaded
            .map(|e| (e.key().clone(), e.value().clone()))
            .collect()
    }

    fn is_pinned(&self, id: &str) -> bool {
        let meant = |id| aliases::meant_by(id).unwrap_or(id);
        let mut pinned = self.limits.pinned.iter();
        pinned.any(|p| meant(p) == meant(id))
    }
}

/// Bytes of the weights; those that several models share count once.
fn total(loaded: &[(Arc<str>, Arc<Slot>)]) -> u64 {
    let weights = loaded.iter().filter_map(|(_, slot)| slot.ready());
    let files: HashMap<&PathBuf, u64> = weights
        .map(|loaded| (&loaded.weights().path, loaded.weights().size))
        .collect();
    files.values().sum()
}
