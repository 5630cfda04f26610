//! Readers of single values: numbers, text, booleans, bytes, times.
//!
//! The `lax_` readers are for fields of structured values, where the reference takes numbers as
//! text and the like; kinds themselves are read strictly.

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::super::base64_text::decode_base64;
use super::{Mismatch, want};
use crate::values::{Timestamp, Value};

/// A whole number; a boolean stays one.
pub(super) fn integer(json: &Json) -> Result<Value, Mismatch> {
    match json {
        Json::Bool(b) => Ok(Value::Bool(*b)),
        Json::Number(n) if !n.is_f64() => Ok(Value::from_json(json)),
        other => Err(want("a whole number", other)),
    }
}

/// A number or a boolean, as a float.
pub(super) fn number(json: &Json) -> Result<f64, Mismatch> {
    match json {
        Json::Bool(b) => Ok(f64::from(u8::from(*b))),
        Json::Number(n) => n.as_f64().ok_or_else(|| want("a number", json)),
        other => Err(want("a number", other)),
    }
}

pub(super) fn float(json: &Json) -> Result<Value, Mismatch> {
    number(json).map(Value::Float)
}

/// A number from 0 to 1.
pub(super) fn share(json: &Json) -> Result<Value, Mismatch> {
    let x = number(json)?;
    if (0.0..=1.0).contains(&x) {
        Ok(Value::Float(x))
    } else {
        Err(Mismatch::Refused(format!("{x} is not between 0 and 1")))
    }
}

pub(super) fn boolean(json: &Json) -> Result<Value, Mismatch> {
    match json {
        Json::Bool(b) => Ok(Value::Bool(*b)),
        other => Err(want("a boolean", other)),
    }
}

pub(super) fn string(json: &Json) -> Result<&str, Mismatch> {
    json.as_str().ok_or_else(|| want("text", json))
}

pub(super) fn text(json: &Json) -> Result<Value, Mismatch> {
    string(json).map(Value::str)
}

/// Text, or `null` for none.
pub(super) fn credential(json: &Json) -> Result<Value, Mismatch> {
    match json {
        Json::Null => Ok(Value::None),
        other => text(other),
    }
}

pub(super) fn bytes(json: &Json) -> Result<Value, Mismatch> {
    let text = string(json)?;
    if !text.is_ascii() {
        return Err(Mismatch::Refused(
            "base64 text has ASCII characters only".to_owned(),
        ));
    }
    Ok(Value::Bytes(decode_base64(text)?.into()))
}

/// ISO-8601 text.
pub(super) fn timestamp(json: &Json) -> Result<Value, Mismatch> {
    moment(string(json)?).map(Value::Timestamp)
}

fn moment(text: &str) -> Result<Timestamp, Mismatch> {
    Timestamp::parse(text).ok_or_else(|| {
        Mismatch::Refused("the text is no ISO-8601 time such as 2024-05-01T10:00:00Z".to_owned())
    })
}

/// ISO-8601 text, or seconds since 1970 as a number or text; beyond the year 2600 they are taken
/// for milliseconds.
pub(super) fn lax_moment(json: &Json) -> Result<Timestamp, Mismatch> {
    let seconds = match json {
        Json::String(text) => match text.trim().parse::<f64>() {
            Ok(seconds) if seconds.is_finite() => seconds,
            _ => return moment(text),
        },
        Json::Number(n) => n.as_f64().unwrap_or(f64::NAN),
        other => return Err(want("a time as ISO-8601 text or Unix seconds", other)),
    };
    let seconds = if seconds.abs() > 2e10 {
        seconds / 1e3
    } else {
        seconds
    };
    DateTime::<Utc>::from_timestamp_micros((seconds * 1e6).round_ties_even() as i64)
        .map(|t| Timestamp::zoned(t.fixed_offset()))
        .ok_or_else(|| Mismatch::Refused(format!("{seconds} seconds are no time")))
}

/// A whole number, also as float without fraction or as text.
pub(super) fn lax_integer(json: &Json) -> Result<i64, Mismatch> {
    let whole = |x: f64| (x.fract() == 0.0 && x.abs() < 9.2e18).then_some(x as i64);
    let number = match json {
        Json::Bool(b) => Some(i64::from(*b)),
        Json::Number(n) => n.as_i64().or_else(|| n.as_f64().and_then(whole)),
        Json::String(text) => {
            let text = text.trim();
            text.parse()
                .ok()
                .or_else(|| text.parse().ok().and_then(whole))
        }
        _ => None,
    };
    number.ok_or_else(|| want("a whole number", json))
}

/// A number, also as text.
pub(super) fn lax_number(json: &Json) -> Result<f64, Mismatch> {
    match json {
        Json::String(text) => text.trim().parse().map_err(|_| want("a number", json)),
        other => number(other),
    }
}

/// A boolean, also as 0, 1 or one of the usual words.
pub(super) fn lax_boolean(json: &Json) -> Result<bool, Mismatch> {
    let known = match json {
        Json::Bool(b) => Some(*b),
        Json::Number(n) if n.as_f64() == Some(0.0) => Some(false),
        Json::Number(n) if n.as_f64() == Some(1.0) => Some(true),
        Json::String(text) => match text.to_ascii_lowercase().as_str() {
            "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
            "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
            _ => None,
        },
        _ => None,
    };
    known.ok_or_else(|| want("a boolean", json))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_read_strictly() {
        assert!(matches!(integer(&json!(true)), Ok(Value::Bool(true))));
        assert!(matches!(integer(&json!(-3)), Ok(Value::Int(-3))));
        assert!(integer(&json!(1.0)).is_err() && integer(&json!("5")).is_err());
        assert!(matches!(float(&json!(5)), Ok(Value::Float(x)) if x == 5.0));
        assert!(float(&json!("5")).is_err());
        assert!(matches!(share(&json!(1)), Ok(Value::Float(x)) if x == 1.0));
        assert!(share(&json!(1.5)).is_err() && share(&json!(-0.1)).is_err());
        assert!(boolean(&json!(1)).is_err());
    }

    #[test]
    fn bytes_are_read_leniently() {
        let read = |text: &str| match bytes(&json!(text)) {
            Ok(Value::Bytes(b)) => Some(b.to_vec()),
            _ => None,
        };
        assert_eq!(read("@@"), Some(vec![]));
        assert_eq!(read("AQI="), Some(vec![1, 2]));
        assert_eq!(read("AQI"), None);
        assert_eq!(read("é"), None);
    }

    #[test]
    fn times_of_frames_may_be_seconds() {
        for (given, iso) in [
            (json!(1_767_225_600), "2026-01-01T00:00:00+00:00"),
            (json!("1767225600.5"), "2026-01-01T00:00:00.500000+00:00"),
            (json!(1_767_225_600_000_i64), "2026-01-01T00:00:00+00:00"),
            (json!("2026-03-01T10:20:30Z"), "2026-03-01T10:20:30+00:00"),
        ] {
            assert_eq!(lax_moment(&given).unwrap().isoformat(), iso);
        }
        assert!(timestamp(&json!(5)).is_err() && timestamp(&json!("today")).is_err());
        assert!(timestamp(&json!("2026-01-02")).is_ok());
    }
}
