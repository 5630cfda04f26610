//! The identity of a definition: a hash of its canonical JSON.

use std::fmt;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// SHA-256 of a definition's canonical JSON (keys sorted, no white space). Shown by its first
/// twelve hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DefinitionHash([u8; 32]);

impl DefinitionHash {
    /// The hash of a document.
    pub fn of(definition: &Json) -> Self {
        let mut text = String::new();
        write_canonical(definition, &mut text);
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// All 64 hexadecimal digits.
    pub fn full(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..6]))
    }
}

impl fmt::Debug for DefinitionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DefinitionHash({self})")
    }
}

fn write_canonical(json: &Json, out: &mut String) {
    match json {
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Json::Object(entries) => {
            let mut keys: Vec<&String> = entries.keys().collect();
            keys.sort();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Json::from(key.as_str()).to_string());
                out.push(':');
                write_canonical(&entries[key], out);
            }
            out.push('}');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn order_of_keys_does_not_matter_order_of_items_does() {
        let a = DefinitionHash::of(&json!({"a": [1, 2], "b": {"c": 1, "d": 2}}));
        assert_eq!(
            a,
            DefinitionHash::of(&json!({"b": {"d": 2, "c": 1}, "a": [1, 2]}))
        );
        assert_ne!(
            a,
            DefinitionHash::of(&json!({"a": [2, 1], "b": {"c": 1, "d": 2}}))
        );
        assert_eq!(a.to_string().len(), 12);
        assert!(a.full().starts_with(&a.to_string()));
    }
}
