//! A step of a parsed definition: a block and the values of its fields, literals coerced.

use std::sync::Arc;

use serde_json::Value as Json;

use super::selector::Selector;
use crate::blocks::BlockSpec;
use crate::values::Value;

/// Value of a field after parsing.
#[derive(Clone, Debug)]
pub enum FieldValue {
    /// A literal (or a default), coerced to the shape of the field: as JSON and as a value.
    Literal(Json, Value),
    /// A reference.
    Selector(Selector),
    /// A list with at least one reference among its items.
    List(Vec<FieldValue>),
    /// An object with at least one reference among its values.
    Map(Vec<(Arc<str>, FieldValue)>),
}

impl FieldValue {
    /// A literal from JSON.
    pub fn literal(json: Json) -> Self {
        let value = Value::from_json(&json);
        Self::Literal(json, value)
    }

    /// All references in the value with their list position or key, in order.
    pub fn selectors(&self) -> Vec<(Member, &Selector)> {
        match self {
            Self::Literal(..) => Vec::new(),
            Self::Selector(s) => vec![(Member::Whole, s)],
            Self::List(items) => items
                .iter()
                .enumerate()
                .filter_map(|(i, item)| match item {
                    Self::Selector(s) => Some((Member::Item(i), s)),
                    _ => None,
                })
                .collect(),
            Self::Map(entries) => entries
                .iter()
                .filter_map(|(key, item)| match item {
                    Self::Selector(s) => Some((Member::Key(key.clone()), s)),
                    _ => None,
                })
                .collect(),
        }
    }
}

/// Which part of a field's value a reference is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// The value itself.
    Whole,
    /// Item of a list.
    Item(usize),
    /// Value under a key.
    Key(Arc<str>),
}

/// A step of a definition.
#[derive(Clone, Debug)]
pub struct Step {
    /// Name, unique among steps.
    pub name: Arc<str>,
    /// Type as written (identifier or alias).
    pub type_tag: String,
    /// The block.
    pub spec: &'static BlockSpec,
    /// One value per field of the block, in the block's order.
    pub values: Vec<FieldValue>,
}

impl Step {
    /// Value of a field.
    ///
    /// # Panics
    /// If the block has no such field: field names are constants of the block's own file.
    #[allow(clippy::panic)]
    pub fn field(&self, name: &str) -> &FieldValue {
        match self.spec.field_index(name) {
            Some(i) => &self.values[i],
            None => panic!("block {} has no field {name}", self.spec.type_id()),
        }
    }

    /// The literal JSON of a field; `None` if a reference (or a list with references) stands there.
    pub fn literal(&self, name: &str) -> Option<&Json> {
        match self.field(name) {
            FieldValue::Literal(json, _) => Some(json),
            _ => None,
        }
    }

    /// The literal text of a field.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.literal(name).and_then(Json::as_str)
    }

    /// The literal number of a field.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.literal(name).and_then(Json::as_f64)
    }

    /// The literal boolean of a field.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.literal(name).and_then(Json::as_bool)
    }
}
