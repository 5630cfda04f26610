//! What flows between steps: numbers, text, lists, images, detections and the rest, and how each
//! of them is written to and read from JSON.
//!
//! A [`Value`] is cheap to clone (everything large is behind an `Arc`) and never changes in place
//! once another step may hold it. Python semantics that a definition can observe (truth, equality,
//! text) live in [`python`], because the reference engine's answers are Python's.

pub mod array;
pub mod base64_text;
pub mod codec;
pub mod coordinates;
pub mod deserialise;
pub mod detections;
pub mod hash_order;
pub mod image;
pub mod json_text;
pub mod kind;
pub mod mask;
pub mod mask_sets;
pub mod polygon;
pub mod python;
pub mod python_format;
pub mod python_json;
pub mod sequence;
pub mod serialise;
pub mod timestamp;
pub mod video;

use std::sync::Arc;

use indexmap::IndexMap;

pub use array::Array;
pub use detections::{Detection, Detections};
pub use image::{Image, Matrix, Origin};
pub use kind::Kind;
pub use mask::Mask;
pub use timestamp::Timestamp;
pub use video::VideoMetadata;

/// An object with text keys, in insertion order.
pub type Dict = IndexMap<Arc<str>, Value>;

/// Place of an element in a nested batch: one number per level, from the top.
pub type Index = smallvec::SmallVec<[u32; 4]>;

/// One value as a step sees it.
#[derive(Clone, Debug, Default)]
pub enum Value {
    /// Python's `None`: an empty element, or a JSON `null`.
    #[default]
    None,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number beyond 64 bits; made by [`Value::whole`] only.
    BigInt(Arc<i128>),
    /// A 64-bit floating point number; may be NaN or infinite.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A list.
    List(Arc<Vec<Value>>),
    /// A tuple: a list to JSON, but not equal to a list.
    Tuple(Arc<Vec<Value>>),
    /// An object.
    Dict(Arc<Dict>),
    /// An image with its origin and video metadata.
    Image(Image),
    /// Facts about one video frame.
    Video(Arc<VideoMetadata>),
    /// A set of boxes with their columns.
    Detections(Arc<Detections>),
    /// One row of a set of boxes (`_` inside a detections filter).
    Detection(Detection),
    /// A point in time.
    Timestamp(Timestamp),
    /// A numeric array.
    Array(Arc<Array>),
    /// A batch handed to a block that takes several elements at once; never an output.
    Batch(Arc<Batch>),
}

/// An ordered list of elements with their places in the whole batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Place of each element.
    pub indices: Vec<Index>,
    /// The elements, as many as `indices`.
    pub items: Vec<Value>,
}

impl Value {
    /// Text from anything that converts to a shared string.
    pub fn str(text: impl Into<Arc<str>>) -> Self {
        Self::Str(text.into())
    }

    /// A list.
    pub fn list(items: Vec<Value>) -> Self {
        Self::List(Arc::new(items))
    }

    /// A tuple.
    pub fn tuple(items: Vec<Value>) -> Self {
        Self::Tuple(Arc::new(items))
    }

    /// An object.
    pub fn dict(entries: Dict) -> Self {
        Self::Dict(Arc::new(entries))
    }

    /// A set of boxes.
    pub fn detections(detections: Detections) -> Self {
        Self::Detections(Arc::new(detections))
    }

    /// A whole number of any size.
    pub fn whole(i: i128) -> Self {
        i64::try_from(i).map_or_else(|_| Self::BigInt(Arc::new(i)), Self::Int)
    }

    /// Whether this is `None`, the empty element.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The text, if this is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The number as a 64-bit float, if this is a number; booleans count as 0 and 1.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(i) => Some(*i as f64),
            Self::BigInt(i) => Some(**i as f64),
            Self::Float(f) => Some(*f),
            Self::Bool(b) => Some(f64::from(u8::from(*b))),
            _ => None,
        }
    }

    /// The whole number, if this is one; booleans count as 0 and 1, floats only without a fraction.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(i) => Some(*i),
            Self::Bool(b) => Some(i64::from(*b)),
            Self::Float(f) if f.fract() == 0.0 && f.abs() < 9.2e18 => Some(*f as i64),
            _ => None,
        }
    }

    /// The whole number of any size, if this is one; booleans count as 0 and 1, floats do not.
    pub fn as_whole(&self) -> Option<i128> {
        match self {
            Self::Int(i) => Some(i128::from(*i)),
            Self::BigInt(i) => Some(**i),
            Self::Bool(b) => Some(i128::from(*b)),
            _ => None,
        }
    }

    /// The boolean, if this is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The elements, if this is a list, a tuple or a batch.
    pub fn as_slice(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            Self::Batch(batch) => Some(&batch.items),
            _ => None,
        }
    }

    /// The entries, if this is an object.
    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Self::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// The image, if this is one.
    pub fn as_image(&self) -> Option<&Image> {
        match self {
            Self::Image(image) => Some(image),
            _ => None,
        }
    }

    /// The boxes, if this is a set of boxes.
    pub fn as_detections(&self) -> Option<&Arc<Detections>> {
        match self {
            Self::Detections(detections) => Some(detections),
            _ => None,
        }
    }

    /// Name of the type in the words of the field (Python's), for error messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Image(_) => "image",
            Self::Video(_) => "video metadata",
            Self::Detections(_) => "detections",
            Self::Detection(_) => "detection",
            Self::Timestamp(_) => "datetime",
            Self::Array(_) => "array",
            Self::Batch(_) => "batch",
        }
    }

    /// The same JSON value as a [`Value`]; whole numbers that even an unsigned
    /// 64-bit number cannot hold become floats.
    pub fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as J;
        match json {
            J::Null => Self::None,
            J::Bool(b) => Self::Bool(*b),
            J::Number(n) => match n.as_i128() {
                Some(i) => Self::whole(i),
                None => Self::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            J::String(s) => Self::str(s.as_str()),
            J::Array(items) => Self::list(items.iter().map(Self::from_json).collect()),
            J::Object(map) => Self::dict(
                map.iter()
                    .map(|(k, v)| (Arc::from(k.as_str()), Self::from_json(v)))
                    .collect(),
            ),
        }
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

impl From<i64> for Value {
    fn from(i: i64) -> Self {
        Self::Int(i)
    }
}

impl From<usize> for Value {
    fn from(i: usize) -> Self {
        Self::Int(i as i64)
    }
}

impl From<f64> for Value {
    fn from(f: f64) -> Self {
        Self::Float(f)
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Self::str(s)
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Self::str(s)
    }
}

impl From<Arc<str>> for Value {
    fn from(s: Arc<str>) -> Self {
        Self::Str(s)
    }
}

impl From<Image> for Value {
    fn from(image: Image) -> Self {
        Self::Image(image)
    }
}

impl From<Detections> for Value {
    fn from(detections: Detections) -> Self {
        Self::detections(detections)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::list(items)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Self {
        v.map_or(Self::None, Into::into)
    }
}
