//! What blocks remember: state per stream.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

/// Streams that one block remembers at the same time; the one unused longest goes first.
pub const MAX_STREAMS: usize = 1024;

/// State of one step, one `S` per stream.
#[derive(Debug)]
pub struct PerStream<S> {
    /// Most recently used last.
    streams: IndexMap<Arc<str>, S>,
}

impl<S> Default for PerStream<S> {
    fn default() -> Self {
        Self {
            streams: IndexMap::new(),
        }
    }
}

impl<S> PerStream<S> {
    /// The state of a stream, made by `new` on its first frame.
    pub fn get(&mut self, stream: &Arc<str>, new: impl FnOnce() -> S) -> &mut S {
        match self.try_get(stream, || Ok::<S, std::convert::Infallible>(new())) {
            Ok(state) => state,
            Err(never) => match never {},
        }
    }

    /// The state of a stream, made by `new` on its first frame; nothing is remembered if `new`
    /// fails.
    pub fn try_get<E>(
        &mut self,
        stream: &Arc<str>,
        new: impl FnOnce() -> Result<S, E>,
    ) -> Result<&mut S, E> {
        let last = self.streams.len().wrapping_sub(1);
        match self.streams.get_index_of(stream) {
            Some(i) if i == last => {}
            Some(i) => self.streams.move_index(i, last),
            None => {
                let state = new()?;
                if self.streams.len() >= MAX_STREAMS {
                    self.streams.shift_remove_index(0);
                }
                self.streams.insert(stream.clone(), state);
            }
        }
        let newest = self.streams.len() - 1;
        Ok(&mut self.streams[newest])
    }

    /// Forgets a stream that ended.
    pub fn end(&mut self, stream: &str) {
        self.streams.shift_remove(stream);
    }

    /// Number of streams remembered.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}

/// Tracks that one block remembers at least per stream; at most twice as many.
pub const MAX_TRACKS: usize = 16_384;

/// State of one stream, one `V` per track id.
///
/// Tracks touched lately are young. When [`MAX_TRACKS`] (or a limit of its own) are young, they all
/// grow old and those that were old already are forgotten, so ids that never come back cost no memory
/// for ever.
#[derive(Debug)]
pub struct PerTrack<V> {
    limit: usize,
    young: HashMap<i64, V>,
    old: HashMap<i64, V>,
}

impl<V> Default for PerTrack<V> {
    fn default() -> Self {
        Self::with_limit(MAX_TRACKS)
    }
}

impl<V> PerTrack<V> {
    /// State for at least `limit` tracks, at most twice as many.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// The state of a track, made by `new` if there is none.
    pub fn get(&mut self, id: i64, new: impl FnOnce() -> V) -> &mut V {
        if !self.young.contains_key(&id) {
            let state = self.old.remove(&id).unwrap_or_else(new);
            if self.young.len() >= self.limit {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(id, state);
        }
        self.young
            .get_mut(&id)
            .expect("the id was inserted just now")
    }

    /// The state of a track, if it is remembered.
    pub fn find(&mut self, id: i64) -> Option<&mut V> {
        match self.young.get_mut(&id) {
            Some(state) => Some(state),
            None => self.old.get_mut(&id),
        }
    }

    /// Forgets the tracks that `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.young.retain(|_, state| keep(state));
        self.old.retain(|_, state| keep(state));
    }

    /// Forgets a track.
    pub fn remove(&mut self, id: i64) {
        self.young.remove(&id);
        self.old.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_unused_longest_goes_first() {
        let mut state: PerStream<u32> = PerStream::default();
        let name = |i: usize| Arc::<str>::from(i.to_string());
        for i in 0..MAX_STREAMS {
            *state.get(&name(i), || 0) += 1;
        }
        *state.get(&name(0), || 0) += 1;
        state.get(&name(MAX_STREAMS), || 0);
        assert_eq!(state.len(), MAX_STREAMS);
        assert_eq!(*state.get(&name(0), || 0), 2);
        assert_eq!(*state.get(&name(1), || 9), 9);
    }

    #[test]
    fn tracks_not_seen_for_long_are_forgotten() {
        let mut tracks: PerTrack<i64> = PerTrack::default();
        for id in 0..MAX_TRACKS as i64 {
            tracks.get(id, || id);
        }
        tracks.get(-1, || 0);
        assert_eq!(tracks.get(5, || 99), &5);
        for id in 0..MAX_TRACKS as i64 {
            tracks.get(1_000_000 + id, || 0);
        }
        assert!(tracks.find(6).is_none() && tracks.find(5).is_some());
        tracks.remove(5);
        assert!(tracks.find(5).is_none());
        tracks.retain(|state| *state == 0);
        assert!(tracks.find(1_000_003).is_some() && tracks.find(7).is_none());
    }
}
