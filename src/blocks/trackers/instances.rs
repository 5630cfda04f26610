//! Which tracks are new: a memory of track ids that every tracker block splits its rows by.

use std::collections::{HashSet, VecDeque};

use crate::values::Detections;

/// Most ids that are remembered, whatever a definition asks for.
const MOST: usize = 1 << 20;

/// The ids seen last, oldest first out.
#[derive(Debug)]
pub struct SeenIds {
    order: VecDeque<i64>,
    ids: HashSet<i64>,
    capacity: usize,
}

impl SeenIds {
    /// A memory of `size` ids, at least one and at most a million or so.
    pub fn new(size: i64) -> Self {
        Self {
            order: VecDeque::new(),
            ids: HashSet::new(),
            capacity: usize::try_from(size).unwrap_or(0).clamp(1, MOST),
        }
    }

    /// Whether an id is new; it is remembered. An id that is remembered does not grow younger.
    pub fn is_new(&mut self, id: i64) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }

    /// The rows whose ids are new, and the rows whose ids were seen before.
    pub fn split(&mut self, tracked: &Detections) -> (Detections, Detections) {
        let ids = tracked.tracker_id.as_deref().map_or(&[][..], Vec::as_slice);
        let new: Vec<bool> = ids.iter().map(|&id| self.is_new(id)).collect();
        (
            tracked.filter(|row| new[row]),
            tracked.filter(|row| !new[row]),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_remembered_first_is_forgotten_first() {
        let mut seen = SeenIds::new(2);
        assert!(seen.is_new(1) && seen.is_new(2) && !seen.is_new(1));
        assert!(seen.is_new(3));
        assert!(seen.is_new(1) && !seen.is_new(3));
        assert!(SeenIds::new(-5).is_new(7));
    }
}
