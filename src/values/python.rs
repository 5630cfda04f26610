//! Python's rules where a definition can observe them: truth, equality, order, text.

use std::cmp::Ordering;
use std::fmt::Write;
use std::sync::OnceLock;

use regex::Regex;

use super::Value;

/// `bool(value)`: zero, empty and `None` are false.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::None => false,
        Value::Bool(b) => *b,
        Value::Int(i) => *i != 0,
        Value::BigInt(_) => true,
        Value::Float(f) => *f != 0.0,
        Value::Str(s) => !s.is_empty(),
        Value::Bytes(b) => !b.is_empty(),
        Value::List(v) | Value::Tuple(v) => !v.is_empty(),
        Value::Dict(d) => !d.is_empty(),
        Value::Detections(d) => !d.is_empty(),
        Value::Batch(b) => !b.items.is_empty(),
        Value::Array(a) => a.data.len() != 1 || a.data[0] != 0.0,
        Value::Image(_) | Value::Video(_) | Value::Detection(_) | Value::Timestamp(_) => true,
    }
}

/// `a == b`: numbers by value whatever their type (`1 == 1.0 == True`), containers deeply, a tuple
/// never equals a list.
pub fn equal(a: &Value, b: &Value) -> bool {
    use Value as V;
    match (a, b) {
        (V::None, V::None) => true,
        (V::Int(x), V::Int(y)) => x == y,
        (
            V::Bool(_) | V::Int(_) | V::BigInt(_) | V::Float(_),
            V::Bool(_) | V::Int(_) | V::BigInt(_) | V::Float(_),
        ) => compare_numbers(a, b) == Some(Ordering::Equal),
        (V::Str(x), V::Str(y)) => x == y,
        (V::Bytes(x), V::Bytes(y)) => x == y,
        (V::List(x), V::List(y)) | (V::Tuple(x), V::Tuple(y)) => {
            x.len() == y.len() && x.iter().zip(y.iter()).all(|(x, y)| equal(x, y))
        }
        (V::Dict(x), V::Dict(y)) => dicts_equal(x, y),
        (V::Timestamp(x), V::Timestamp(y)) => {
            x.is_zoned() == y.is_zoned()
                && if x.is_zoned() {
                    x.unix_seconds() == y.unix_seconds()
                } else {
                    x.local() == y.local()
                }
        }
        (V::Array(x), V::Array(y)) => x.shape == y.shape && x.data == y.data,
        (V::Video(x), V::Video(y)) => x == y,
        // Pictures are equal to none but themselves.
        (V::Image(x), V::Image(y)) => x.same_pixels(y),
        (V::Detections(x), V::Detections(y)) => detections_equal(x, y),
        _ => false,
    }
}

fn dicts_equal(x: &super::Dict, y: &super::Dict) -> bool {
    x.len() == y.len() && x.iter().all(|(k, v)| y.get(k).is_some_and(|w| equal(v, w)))
}

fn detections_equal(x: &super::Detections, y: &super::Detections) -> bool {
    x.xyxy == y.xyxy
        && x.masks == y.masks
        && x.confidence == y.confidence
        && x.class_id == y.class_id
        && x.tracker_id == y.tracker_id
        && dicts_equal(&x.metadata, &y.metadata)
        && x.data.len() == y.data.len()
        && x.data.iter().all(|(name, column)| {
            y.data
                .get(name)
                .is_some_and(|other| column.iter().zip(other.iter()).all(|(a, b)| equal(a, b)))
        })
}

/// Order of two values as `<`, `>` and the like see it: numbers by value, text and sequences
/// lexicographically. `None` for types without a common order; `Some(None)` if NaN is involved
/// (all comparisons false).
#[allow(clippy::option_option)]
pub fn compare(a: &Value, b: &Value) -> Option<Option<Ordering>> {
    use Value as V;
    match (a, b) {
        (V::Int(x), V::Int(y)) => Some(Some(x.cmp(y))),
        (
            V::Bool(_) | V::Int(_) | V::BigInt(_) | V::Float(_),
            V::Bool(_) | V::Int(_) | V::BigInt(_) | V::Float(_),
        ) => Some(compare_numbers(a, b)),
        (V::Str(x), V::Str(y)) => Some(Some(x.cmp(y))),
        (V::Bytes(x), V::Bytes(y)) => Some(Some(x.cmp(y))),
        (V::List(x), V::List(y)) | (V::Tuple(x), V::Tuple(y)) => {
            for (x, y) in x.iter().zip(y.iter()) {
                if !equal(x, y) {
                    return compare(x, y);
                }
            }
            Some(Some(x.len().cmp(&y.len())))
        }
        (V::Timestamp(x), V::Timestamp(y)) if x.is_zoned() == y.is_zoned() => {
            Some(if x.is_zoned() {
                x.unix_seconds().partial_cmp(&y.unix_seconds())
            } else {
                Some(x.local().cmp(&y.local()))
            })
        }
        _ => None,
    }
}

/// Order of two numbers by their exact values; `None` if one is NaN.
fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (a.as_whole(), b.as_whole()) {
        (Some(x), Some(y)) => Some(x.cmp(&y)),
        (Some(x), None) => compare_with_float(x, b.as_f64()?),
        (None, Some(y)) => compare_with_float(y, a.as_f64()?).map(Ordering::reverse),
        (None, None) => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

fn compare_with_float(whole: i128, float: f64) -> Option<Ordering> {
    match (whole as f64).partial_cmp(&float)? {
        // Different whole numbers can share the nearest float.
        Ordering::Equal => Some(whole.cmp(&(float as i128))),
        order => Some(order),
    }
}

/// `str(value)`.
pub fn to_str(value: &Value) -> String {
    match value {
        Value::Str(s) => s.to_string(),
        Value::Timestamp(t) => t.python_str(),
        _ => repr(value),
    }
}

/// `repr(value)`.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value);
    out
}

fn write_repr(out: &mut String, value: &Value) {
    match value {
        Value::None => out.push_str("None"),
        Value::Bool(b) => out.push_str(if *b { "True" } else { "False" }),
        Value::Int(i) => {
            let _ = write!(out, "{i}");
        }
        Value::BigInt(i) => {
            let _ = write!(out, "{i}");
        }
        Value::Float(f) => out.push_str(&float_repr(*f)),
        Value::Str(s) => write_quoted(out, s),
        Value::Bytes(b) => write_bytes(out, b),
        Value::List(items) => write_items(out, '[', items, ']'),
        Value::Batch(batch) => write_items(out, '[', &batch.items, ']'),
        Value::Tuple(items) => {
            if items.len() == 1 {
                out.push('(');
                write_repr(out, &items[0]);
                out.push_str(",)");
            } else {
                write_items(out, '(', items, ')');
            }
        }
        Value::Dict(entries) => {
            out.push('{');
            for (i, (key, value)) in entries.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_quoted(out, key);
                out.push_str(": ");
                write_repr(out, value);
            }
            out.push('}');
        }
        Value::Timestamp(t) => out.push_str(&t.python_repr()),
        Value::Array(a) => {
            let items: Vec<Value> = a
                .data
                .iter()
                .map(|&x| {
                    if a.integer {
                        Value::Int(x as i64)
                    } else {
                        Value::Float(x)
                    }
                })
                .collect();
            out.push_str("array(");
            write_items(out, '[', &items, ']');
            out.push(')');
        }
        Value::Image(image) => {
            let _ = write!(out, "<image {}x{}>", image.width(), image.height());
        }
        Value::Detections(d) => {
            let _ = write!(out, "<{} detections>", d.len());
        }
        Value::Detection(_) => out.push_str("<detection>"),
        Value::Video(v) => {
            let _ = write!(out, "<frame {} of {}>", v.frame_number, v.video_identifier);
        }
    }
}

fn write_items(out: &mut String, open: char, items: &[Value], close: char) {
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_repr(out, item);
    }
    out.push(close);
}

fn write_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c => write_escaped(out, c),
        }
    }
    out.push(quote);
}

/// Whether `repr` writes a character as it is: not controls, formats, unassigned ones and separators,
/// the blank aside.
fn is_printable(c: char) -> bool {
    static HIDDEN: OnceLock<Option<Regex>> = OnceLock::new();
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let hidden = HIDDEN.get_or_init(|| Regex::new(r"^[\p{C}\p{Z}]").ok());
    let is_hidden = |hidden: &Regex| hidden.is_match(c.encode_utf8(&mut [0; 4]));
    !hidden.as_ref().is_some_and(is_hidden)
}

/// Writes a character as an escape of two, four or eight digits.
pub fn write_escaped(out: &mut String, c: char) {
    let _ = match u32::from(c) {
        code @ ..=0xff => write!(out, "\\x{code:02x}"),
        code @ ..=0xffff => write!(out, "\\u{code:04x}"),
        code => write!(out, "\\U{code:08x}"),
    };
}

fn write_bytes(out: &mut String, bytes: &[u8]) {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        '"'
    } else {
        '\''
    };
    out.push('b');
    out.push(quote);
    for &b in bytes {
        match b {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b if char::from(b) == quote => {
                out.push('\\');
                out.push(quote);
            }
            0x20..=0x7e => out.push(char::from(b)),
            b => {
                let _ = write!(out, "\\x{b:02x}");
            }
        }
    }
    out.push(quote);
}

/// `repr(f)`: the shortest text that reads back as the same float, always with a point or an
/// exponent; exponent form below 1e-4 and from 1e16 on.
pub fn float_repr(f: f64) -> String {
    if f.is_nan() {
        return "nan".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if f == 0.0 {
        return if f.is_sign_negative() {
            "-0.0".into()
        } else {
            "0.0".into()
        };
    }
    let scientific = format!("{f:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{f}");
        if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    }
}

/// `round(x)`: to the nearest whole number, ties to the even one.
pub fn round_half_even(x: f64) -> f64 {
    x.round_ties_even()
}

/// `a // b` for positive `b`: the floor of the quotient.
pub fn floor_div(a: i64, b: i64) -> i64 {
    a.div_euclid(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_as_python_writes_them() {
        for (f, text) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (100_000.0, "100000.0"),
            (1e16, "1e+16"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (-0.0, "-0.0"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(float_repr(f), text);
        }
    }

    #[test]
    fn containers_read_as_python_writes_them() {
        let v = Value::from_json(&serde_json::json!([1, "a", null, true, 1.5, {"a": "c'd"}]));
        assert_eq!(to_str(&v), r#"[1, 'a', None, True, 1.5, {'a': "c'd"}]"#);
        assert_eq!(to_str(&Value::tuple(vec![Value::Int(1)])), "(1,)");
        assert_eq!(
            to_str(&Value::Bytes(b"a\n\xff".as_slice().into())),
            r"b'a\n\xff'"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_written_as_an_escape() {
        // Answers of the reference.
        for (text, written) in [
            ("\u{7f}\u{1}", r"'\x7f\x01'"),
            ("\u{200b}\u{ad}\u{378}", r"'\u200b\xad\u0378'"),
            ("a é \u{1f600}", "'a é \u{1f600}'"),
            ("\u{a0}\u{e000}\u{e0001}", r"'\xa0\ue000\U000e0001'"),
        ] {
            assert_eq!(repr(&text.into()), written);
        }
    }

    #[test]
    fn equality_crosses_number_types_but_not_sequences() {
        assert!(
            equal(&Value::Int(1), &Value::Float(1.0)) && equal(&Value::Bool(true), &Value::Int(1))
        );
        assert!(!equal(&"1".into(), &Value::Int(1)));
        assert!(!equal(&Value::list(vec![]), &Value::tuple(vec![])));
        let odd = Value::Int((1 << 53) + 1);
        assert!(!equal(&odd, &Value::Float((1_i64 << 53) as f64)));
        let huge = Value::from_json(&serde_json::json!(u64::MAX));
        assert_eq!(to_str(&huge), "18446744073709551615");
        assert!(equal(&huge, &Value::whole(i128::from(u64::MAX))));
        assert!(!equal(&huge, &Value::Int(-1)));
        assert_eq!(
            compare(&huge, &Value::Int(1)),
            Some(Some(Ordering::Greater))
        );
        assert_eq!(compare(&Value::None, &Value::Int(1)), None);
        assert_eq!(compare(&Value::Float(f64::NAN), &Value::Int(1)), Some(None));
    }
}
