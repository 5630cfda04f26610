//! Python's rules for sequences: length, iteration, membership and the equality of hash tables.
//!
//! Lists, tuples, texts (by character), bytes, objects (by key), sets of boxes (by row), arrays (by
//! first axis) and batches are sequences; everything else is not.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Array, Detection, Value, python};

/// `len(value)`; `None` for values without a length.
pub fn len(value: &Value) -> Option<usize> {
    match value {
        Value::Str(text) => Some(text.chars().count()),
        Value::Bytes(bytes) => Some(bytes.len()),
        Value::List(items) | Value::Tuple(items) => Some(items.len()),
        Value::Dict(entries) => Some(entries.len()),
        Value::Detections(detections) => Some(detections.len()),
        Value::Array(array) => array.shape.first().copied(),
        Value::Batch(batch) => Some(batch.items.len()),
        _ => None,
    }
}

/// How long a value is when it is written out, roughly: bytes of texts and bytes, and one for each other
/// element at any depth. Counting ends at about `most`.
pub fn extent(value: &Value, most: usize) -> usize {
    fn all<'a>(items: impl Iterator<Item = &'a Value>, most: usize) -> usize {
        let mut sum = 1_usize;
        for item in items {
            if sum >= most {
                break;
            }
            sum = sum.saturating_add(extent(item, most - sum));
        }
        sum
    }
    match value {
        Value::Str(text) => text.len() + 1,
        Value::Bytes(bytes) => bytes.len() + 1,
        Value::Array(array) => array.data.len() + 1,
        Value::List(items) | Value::Tuple(items) => all(items.iter(), most),
        Value::Batch(batch) => all(batch.items.iter(), most),
        Value::Dict(entries) => {
            let names: usize = entries.keys().map(|name| name.len()).sum();
            names.saturating_add(all(entries.values(), most))
        }
        _ => 1,
    }
}

/// What `for element in value` sees; `None` for values that cannot be iterated.
pub fn elements(value: &Value) -> Option<Cow<'_, [Value]>> {
    match value {
        Value::List(items) | Value::Tuple(items) => Some(Cow::Borrowed(items)),
        Value::Batch(batch) => Some(Cow::Borrowed(&batch.items)),
        Value::Str(text) => {
            let mut utf8 = [0; 4];
            let characters = text.chars().map(|c| Value::str(&*c.encode_utf8(&mut utf8)));
            Some(Cow::Owned(characters.collect()))
        }
        Value::Bytes(bytes) => Some(Cow::Owned(
            bytes.iter().map(|&b| Value::Int(i64::from(b))).collect(),
        )),
        Value::Dict(entries) => Some(Cow::Owned(
            entries.keys().map(|key| Value::Str(key.clone())).collect(),
        )),
        Value::Detections(set) => Some(Cow::Owned(
            (0..set.len())
                .map(|row| {
                    Value::Detection(Detection {
                        set: set.clone(),
                        row,
                    })
                })
                .collect(),
        )),
        Value::Array(array) => slices(array).map(Cow::Owned),
        _ => None,
    }
}

fn slices(array: &Array) -> Option<Vec<Value>> {
    let (&length, inner) = array.shape.split_first()?;
    let number = |&x: &f64| match array.integer {
        true => Value::Int(x as i64),
        false => Value::Float(x),
    };
    if inner.is_empty() {
        return Some(array.data.iter().map(number).collect());
    }
    let size: usize = inner.iter().product();
    let slice = |i: usize| Array {
        shape: inner.to_vec(),
        data: array.data[i * size..(i + 1) * size].to_vec(),
        integer: array.integer,
    };
    Some(
        (0..length)
            .map(|i| Value::Array(Arc::new(slice(i))))
            .collect(),
    )
}

/// The same value with arrays written out as nested lists, as numpy's `tolist()` does.
pub fn with_lists(value: &Value) -> Value {
    match value {
        Value::Array(array) => match slices(array) {
            Some(items) => Value::list(items.iter().map(with_lists).collect()),
            None => array
                .data
                .first()
                .copied()
                .map_or(Value::None, Value::Float),
        },
        other => other.clone(),
    }
}

/// `item in container`, or why Python refuses to answer.
pub fn contains(container: &Value, item: &Value) -> Result<bool, String> {
    match container {
        Value::Str(text) => match item {
            Value::Str(part) => Ok(text.contains(&**part)),
            other => Err(format!(
                "only text can be looked for in text, got {}",
                other.type_name()
            )),
        },
        Value::Dict(entries) => match item {
            Value::Str(key) => Ok(entries.contains_key(key)),
            other if Key::of(other).is_none() => Err(format!(
                "a value of type {} cannot be a key",
                other.type_name()
            )),
            _ => Ok(false),
        },
        other => match elements(other) {
            Some(items) => Ok(items.iter().any(|element| python::equal(element, item))),
            None => Err(format!(
                "a value of type {} has no elements",
                other.type_name()
            )),
        },
    }
}

/// A value as a key of a Python hash table: equal keys are values that Python holds for equal
/// (`1`, `1.0` and `True` are one key).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// `None`.
    None,
    /// A whole number, whatever its type.
    Int(i64),
    /// A whole number beyond 64 bits.
    BigInt(i128),
    /// The bits of any other number.
    Float(u64),
    /// Text.
    Str(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A tuple of keys.
    Tuple(Vec<Key>),
    /// A point in time: whether its offset is known, and the bits of its seconds.
    Time(bool, u64),
}

impl Key {
    /// The key; `None` for unhashable values (lists, objects, arrays, boxes).
    pub fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::None => Self::None,
            Value::Bool(b) => Self::Int(i64::from(*b)),
            Value::Int(i) => Self::Int(*i),
            Value::BigInt(i) => Self::BigInt(**i),
            Value::Float(f) if f.fract() == 0.0 && f.abs() < 9.2e18 => Self::Int(*f as i64),
            Value::Float(f) => Self::Float(f.to_bits()),
            Value::Str(text) => Self::Str(text.clone()),
            Value::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Value::Tuple(items) => Self::Tuple(items.iter().map(Self::of).collect::<Option<_>>()?),
            Value::Timestamp(time) => Self::Time(time.is_zoned(), time.unix_seconds().to_bits()),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: serde_json::Value) -> Value {
        Value::from_json(&json)
    }

    #[test]
    fn texts_and_objects_are_sequences_too() {
        assert_eq!(len(&"añb".into()), Some(3));
        assert_eq!(len(&of(serde_json::json!({"a": 1}))), Some(1));
        assert_eq!(len(&Value::Int(5)), None);
        let characters = elements(&"ab".into()).map(Cow::into_owned);
        assert_eq!(
            characters.map(|c| python::to_str(&Value::list(c))),
            Some("['a', 'b']".into())
        );
        let matrix = Array::integers(vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]);
        assert_eq!(
            python::to_str(&with_lists(&Value::Array(Arc::new(matrix)))),
            "[[1, 2], [3, 4]]"
        );
    }

    #[test]
    fn membership_follows_the_container() {
        let list = of(serde_json::json!([1, "2", [3]]));
        for (item, held) in [
            (of(1.0.into()), true),
            (of(true.into()), true),
            (of(2.into()), false),
            (of(serde_json::json!([3])), true),
        ] {
            assert_eq!(contains(&list, &item), Ok(held), "{item:?}");
        }
        let object = of(serde_json::json!({"k": 1}));
        assert_eq!(contains(&object, &"k".into()), Ok(true));
        assert!(contains(&object, &list).is_err());
        assert_eq!(contains(&"hello".into(), &"ell".into()), Ok(true));
        assert!(contains(&"hello".into(), &Value::Int(1)).is_err());
        assert!(contains(&Value::Int(1), &Value::Int(1)).is_err());
    }

    #[test]
    fn numbers_of_one_value_are_one_key() {
        assert_eq!(Key::of(&Value::Int(1)), Key::of(&Value::Float(1.0)));
        assert_eq!(Key::of(&Value::Int(1)), Key::of(&Value::Bool(true)));
        assert_ne!(Key::of(&Value::Int(1)), Key::of(&"1".into()));
        assert_eq!(Key::of(&Value::list(vec![])), None);
    }
}
