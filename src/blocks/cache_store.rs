//! The store behind the cache blocks: values that `cache_set` puts aside for `cache_get`.

use std::sync::Arc;

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
/// one that was not written for longest goes.
///
/// Shared by all cache blocks of one engine, moved on to the next engine by a swap, and looked up
/// from several streams, hence concurrent.
#[derive(Debug, Default)]
pub struct CacheStore {
    streams: DashMap<Arc<str>, Namespace>,
    /// Streams in the order of their first write.
    order: std::sync::Mutex<Vec<Arc<str>>>,
}

#[derive(Debug, Default)]
struct Namespace {
    /// Least lately used first.
    entries: IndexMap<Arc<str>, Entry>,
    bytes: usize,
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
    /// The value under a key of a stream; `None` (the value) if there is none.
    pub fn get(&self, stream: &str, key: &str) -> Value {
        self.find(stream, key).unwrap_or_default()
    }

    /// The value under a key of a stream, told apart from one that was never put there.
    pub fn find(&self, stream: &str, key: &str) -> Option<Value> {
        let mut namespace = self.streams.get_mut(stream)?;
        let at = namespace.entries.get_index_of(key)?;
        let last = namespace.entries.len() - 1;
        namespace.entries.move_index(at, last);
        namespace
            .entries
            .last()
            .map(|(_, entry)| entry.value.clone())
    }

    /// Puts a value aside. A value that alone is larger than [`MAX_BYTES`] is not kept.
    pub fn set(&self, stream: &Arc<str>, key: &str, value: Value) {
        let bytes = size_of_value(&value) + key.len();
        self.make_room_for(stream);
        let mut namespace = self.streams.entry(stream.clone()).or_default();
        if let Some(old) = namespace.entries.shift_remove(key) {
            namespace.bytes -= old.bytes;
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

    fn make_room_for(&self, stream: &Arc<str>) {
        if self.streams.contains_key(stream) {
            return;
        }
        let mut order = self
            .order
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if order.len() >= MAX_STREAMS {
            let oldest = order.remove(0);
            self.streams.remove(&oldest);
        }
        order.push(stream.clone());
    }

    /// Forgets a stream that ended.
    pub fn end(&self, stream: &str) {
        let mut order = self
            .order
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        order.retain(|known| **known != *stream);
        self.streams.remove(stream);
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.order
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clear();
        self.streams.clear();
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

    #[test]
    fn the_entry_used_least_lately_goes_first() {
        let cache = CacheStore::default();
        let stream = name(0);
        for i in 0..MAX_ENTRIES {
            cache.set(&stream, &name(i), Value::Int(i as i64));
        }
        assert_eq!(cache.get("0", "0").as_i64(), Some(0));
        cache.set(&stream, "new", Value::Int(7));
        assert_eq!(cache.get("0", "0").as_i64(), Some(0), "it was just used");
        assert!(cache.find("0", "1").is_none());
        assert_eq!(cache.figures().entries, MAX_ENTRIES);
    }

    #[test]
    fn pictures_are_bounded_by_their_bytes() {
        let cache = CacheStore::default();
        let stream = name(0);
        let side = 4096;
        for i in 0..8 {
            let image = Image::new(Matrix::filled(side, side, &[1, 2, 3]), "i".into());
            cache.set(&stream, &name(i), Value::Image(image));
        }
        let figures = cache.figures();
        assert!(
            figures.bytes <= MAX_BYTES && figures.entries == MAX_BYTES / (side * side * 3),
            "{figures:?}"
        );
        assert!(cache.find("0", "7").is_some() && cache.find("0", "0").is_none());
    }

    #[test]
    fn streams_are_apart_bounded_and_end() {
        let cache = CacheStore::default();
        for i in 0..=MAX_STREAMS {
            cache.set(&name(i), "k", Value::Int(i as i64));
        }
        assert!(cache.find("0", "k").is_none());
        assert_eq!(cache.get("1", "k").as_i64(), Some(1));
        cache.end("1");
        assert!(cache.find("1", "k").is_none());
        assert_eq!(cache.figures().streams, MAX_STREAMS - 1);
        cache.clear();
        assert_eq!(cache.figures(), CacheFigures::default());
    }
}
