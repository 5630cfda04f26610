//! Placeholder until the wire format lands.
use super::Value;
use serde_json::Value as Json;
/// Options.
#[derive(Clone, Default)]
pub struct InputOptions {}
/// Error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DeserialiseError(pub String);
impl DeserialiseError {
    /// Name.
    pub fn class_name(&self) -> &'static str {
        "X"
    }
}
/// Read.
pub fn deserialise(
    _: &[String],
    json: &Json,
    _: &str,
    _: &InputOptions,
) -> Result<Value, DeserialiseError> {
    Ok(Value::from_json(json))
}
