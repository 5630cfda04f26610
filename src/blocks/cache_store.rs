//! The store behind the cache blocks: values that `cache_set` puts aside for `cache_get`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;
use indexmap::IndexMap;

use super::state::MAX_STREAMS;
use crate::values::{Detections, Value};

/// Entries that cache blocks may hold per stream.
pub const MAX_ENTRIES: usize = 1024;
/// Bytes that the entries of one stream may take (pixels count in full, even if they are shared).
pub const MAX_BYTES: usize = 256 << 20;

/// Values by stream and key. Of each stream the entries used least lately go when there are more
/// than [`MAX_ENTRIES`] or when they take more than [`MAX_BYTES`]; beyond [`MAX_STREAMS`] streams
/// the one that was not written for longest goes.
///
/// Shared by all cache blocks of one engine, moved on to the next engine by a swap, and looked up
/// from several streams, hence concurrent.
#[derive(Debug, Default)]
pub struct CacheStore {
    streams: DashMap<Arc<str>, Namespace>,
    /// Writes so far: the time by which streams grow old.
    writes: AtomicU64,
}

#[derive(Debug, Default)]
struct Namespace {
    /// Least lately used first.
    entries: IndexMap<Arc<str>, Entry>,
    bytes: usize,
    /// The write that was the last.
    written: u64,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    bytes: usize,
}

/// How much a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// Streams.
    pub streams: usize,
    /// Entries of all streams.
    pub entries: usize,
    /// Bytes of all entries.
    pub bytes: usize,
}

impl CacheStore {
    /// The value under a key of a stream, if one was put there and is still kept.
    pub fn get(&self, stream: &str, key: &str) -> Option<Value> {
        let mut namespace = self.streams.get_mut(stream)?;
        let at = namespace.entries.get_index_of(key)?;
        let last = namespace.entries.len() - 1;
        namespace.entries.move_index(at, last);
        namespace
            .entries
            .last()
            .map(|(_, entry)| entry.value.clone())
    }

    /// Puts a value aside in place of the one under this key. A value that alone is larger than
    /// [`MAX_BYTES`] is not kept.
    pub fn set(&self, stream: &Arc<str>, key: &str, value: Value) {
        let bytes = size_of_value(&value) + key.len();
        self.make_room_for(stream);
        let mut namespace = self.streams.entry(stream.clone()).or_default();
        namespace.written = self.writes.fetch_add(1, Ordering::Relaxed);
        if let Some(old) = namespace.entries.shift_remove(key) {
            namespace.bytes -= old.bytes;
        }
        if bytes > MAX_BYTES {
            return;
        }
        namespace.bytes += bytes;
        namespace.entries.insert(key.into(), Entry { value, bytes });
        while namespace.entries.len() > MAX_ENTRIES || namespace.bytes > MAX_BYTES {
            match namespace.entries.shift_remove_index(0) {
                Some((_, old)) => namespace.bytes -= old.bytes,
                None => break,
            }
        }
    }

    /// Forgets the stream not written for longest if there is no place for a new one. Threads that
    /// bring new streams at the same moment may each find the last place, and all take it.
    fn make_room_for(&self, stream: &Arc<str>) {
        if self.streams.len() < MAX_STREAMS || self.streams.contains_key(stream) {
            return;
        }
        let oldest = self.streams.iter().min_by_key(|entry| entry.written);
        if let Some(name) = oldest.map(|entry| entry.key().clone()) {
            self.streams.remove(&name);
        }
    }

    /// How much it holds.
    pub fn figures(&self) -> CacheFigures {
        self.streams
            .iter()
            .fold(CacheFigures::default(), |sum, namespace| CacheFigures {
                streams: sum.streams + 1,
                entries: sum.entries + namespace.entries.len(),
                bytes: sum.bytes + namespace.bytes,
            })
    }
}

/// Bytes that a value keeps alive, roughly.
fn size_of_value(value: &Value) -> usize {
    let own = size_of::<Value>();
    own + match value {
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) | Value::Tuple(items) => items.iter().map(size_of_value).sum(),
        Value::Batch(batch) => batch.items.iter().map(size_of_value).sum(),
        Value::Dict(entries) => entries
            .iter()
            .map(|(k, v)| k.len() + size_of_value(v))
            .sum(),
        Value::Image(image) => image.width() * image.height() * image.channels(),
        Value::Detections(set) => size_of_set(set),
        Value::Detection(row) => size_of_set(&row.set),
        Value::Array(array) => array.data.len() * size_of::<f64>(),
        _ => 0,
    }
}

fn size_of_set(set: &Detections) -> usize {
    let masks = set.masks.iter().flat_map(|masks| masks.iter());
    let columns = set.data.values().flat_map(|column| column.iter());
    set.len() * 64
        + masks.map(|mask| mask.window_bits().len()).sum::<usize>()
        + columns.map(size_of_value).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Image, Matrix};

    fn name(i: usize) -> Arc<str> {
        i.to_string().into()
    }

    fn whole(cache: &CacheStore, stream: usize, key: &str) -> Option<i64> {
        cache
            .get(&name(stream), key)
            .and_then(|value| value.as_i64())
    }

    #[test]
    fn the_entry_used_least_lately_goes_first() {
        let cache = CacheStore::default();
        let stream = name(0);
        for i in 0..MAX_ENTRIES {
            cache.set(&stream, &name(i), Value::Int(i as i64));
        }
        assert_eq!(whole(&cache, 0, "0"), Some(0));
        cache.set(&stream, "new", Value::Int(7));
        assert_eq!(whole(&cache, 0, "0"), Some(0), "it was just used");
        assert_eq!(whole(&cache, 0, "1"), None);
        assert_eq!(cache.figures().entries, MAX_ENTRIES);
    }

    fn picture(side: usize) -> Value {
        Value::Image(Image::new(
            Matrix::filled(side, side, &[1, 2, 3]),
            "i".into(),
        ))
    }

    #[test]
    fn pictures_are_bounded_by_their_bytes() {
        let cache = CacheStore::default();
        let side = 4096;
        for i in 0..8 {
            cache.set(&name(0), &name(i), picture(side));
        }
        let figures = cache.figures();
        assert!(
            figures.bytes <= MAX_BYTES && figures.entries == MAX_BYTES / (side * side * 3),
            "{figures:?}"
        );
        assert!(cache.get("0", "7").is_some() && cache.get("0", "0").is_none());
    }

    #[test]
    fn a_value_that_is_too_large_leaves_only_its_own_key_empty() {
        let cache = CacheStore::default();
        cache.set(&name(0), "a", Value::Int(1));
        cache.set(&name(0), "b", Value::Int(2));
        cache.set(&name(0), "b", Value::Bytes(vec![0; MAX_BYTES].into()));
        assert_eq!(whole(&cache, 0, "a"), Some(1));
        assert!(cache.get("0", "b").is_none());
    }

    #[test]
    fn the_stream_not_written_for_longest_goes_first() {
        let cache = CacheStore::default();
        for i in 0..MAX_STREAMS {
            cache.set(&name(i), "k", Value::Int(i as i64));
        }
        cache.set(&name(0), "k", Value::Int(-1));
        cache.set(&name(MAX_STREAMS), "k", Value::Int(-2));
        assert_eq!(whole(&cache, 0, "k"), Some(-1));
        assert_eq!(whole(&cache, 1, "k"), None);
        assert_eq!(whole(&cache, 2, "k"), Some(2));
        assert_eq!(cache.figures().streams, MAX_STREAMS);
    }
}
