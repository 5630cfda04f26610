//! Placeholder until the wire format lands.
use super::Value;
/// Root.
pub fn to_root_deep(v: &Value) -> Value {
    v.clone()
}
