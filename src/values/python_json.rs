//! JSON text as Python's `json.dumps` writes it, for receivers that compare bytes.

use std::fmt::Write;

use super::{Value, python};

/// The value as JSON: `", "` and `": "` between the parts, everything beyond ASCII escaped, `NaN`
/// and `Infinity` by these names. Fails on values that JSON has no form for.
pub fn to_json(value: &Value) -> Result<String, String> {
    let mut out = String::new();
    write_value(&mut out, value)?;
    Ok(out)
}

fn write_value(out: &mut String, value: &Value) -> Result<(), String> {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => {
            let _ = write!(out, "{i}");
        }
        Value::BigInt(i) => {
            let _ = write!(out, "{i}");
        }
        Value::Float(f) if f.is_nan() => out.push_str("NaN"),
        Value::Float(f) if f.is_infinite() => {
            out.push_str(if *f > 0.0 { "Infinity" } else { "-Infinity" });
        }
        Value::Float(f) => out.push_str(&python::float_repr(*f)),
        Value::Str(text) => write_text(out, text),
        Value::List(items) | Value::Tuple(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_value(out, item)?;
            }
            out.push(']');
        }
        Value::Dict(entries) => {
            out.push('{');
            for (i, (key, item)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_text(out, key);
                out.push_str(": ");
                write_value(out, item)?;
            }
            out.push('}');
        }
        other => return Err(format!("JSON has no form for a {}", other.type_name())),
    }
    Ok(())
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_as_python_writes_it() {
        let value = Value::from_json(&json!({"a": [1, 2.0, true, null], "é\"": "\u{1F600}\n"}));
        assert_eq!(
            to_json(&value).unwrap(),
            r#"{"a": [1, 2.0, true, null], "\u00e9\"": "\ud83d\ude00\n"}"#
        );
        assert_eq!(to_json(&Value::Float(f64::NAN)).unwrap(), "NaN");
        assert_eq!(
            to_json(&Value::Bytes(b"x".as_slice().into())).unwrap_err(),
            "JSON has no form for a bytes"
        );
    }
}
