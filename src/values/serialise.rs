//! Placeholder until the wire format lands.
use super::Value;
use serde_json::{Value as Json, json};
/// Options.
#[derive(Clone)]
pub struct OutputOptions {}
/// Error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SerialiseError(pub String);
/// Write.
pub fn serialise(
    _: &[impl AsRef<str>],
    value: &Value,
    _: &OutputOptions,
) -> Result<Json, SerialiseError> {
    Ok(match value {
        Value::None => Json::Null,
        Value::Bool(b) => json!(b),
        Value::Int(b) => json!(b),
        Value::Float(b) => json!(b),
        Value::Str(b) => json!(&**b),
        Value::List(v) | Value::Tuple(v) => Json::Array(
            v.iter()
                .map(|v| serialise(&[""], v, &OutputOptions {}))
                .collect::<Result<_, _>>()?,
        ),
        Value::Dict(v) => Json::Object(
            v.iter()
                .map(|(k, v)| Ok((k.to_string(), serialise(&[""], v, &OutputOptions {})?)))
                .collect::<Result<_, _>>()?,
        ),
        _ => return Err(SerialiseError("no".into())),
    })
}
