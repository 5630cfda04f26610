//! Operations on texts, and those that make one.

use super::node::{Node, Read};
use super::pattern::Pattern;
use super::sequences::{LARGEST, too_large};
use super::{QueryError, Scope};
use crate::values::{Value, python, python_json, sequence};

/// An operation on a text, or one that makes a text.
#[derive(Debug)]
pub(super) enum StringOperation {
    /// `StringToLowerCase`
    Lower,
    /// `StringToUpperCase`
    Upper,
    /// `StringSubSequence`: Python's slice.
    Slice { start: i64, end: i64 },
    /// `StringMatches`
    Matches(Pattern),
    /// `ToString`
    Text,
    /// `ConvertDictionaryToJSON`
    DictionaryToJson,
    /// `TimestampToISOFormat`
    TimestampToIso,
}

impl StringOperation {
    pub(super) fn read(name: &str, node: &Node<'_>) -> Option<Read<Self>> {
        Some(match name {
            "StringToLowerCase" => Ok(Self::Lower),
            "StringToUpperCase" => Ok(Self::Upper),
            "StringSubSequence" => read_slice(node),
            "StringMatches" => read_pattern(node),
            "ToString" => Ok(Self::Text),
            "ConvertDictionaryToJSON" => Ok(Self::DictionaryToJson),
            "TimestampToISOFormat" => Ok(Self::TimestampToIso),
            _ => return None,
        })
    }

    pub(super) fn apply(&self, value: Value, scope: &Scope<'_>) -> Result<Value, QueryError> {
        let text = |wanted: &'static str| match &value {
            Value::Str(text) => Ok(text),
            other => Err(scope.takes(wanted, other)),
        };
        match self {
            Self::Lower => Ok(text("text")?.to_lowercase().into()),
            Self::Upper => Ok(text("text")?.to_uppercase().into()),
            Self::Slice { start, end } => Ok(slice(text("text")?, *start, *end).into()),
            Self::Matches(pattern) => pattern
                .found_in(text("text")?)
                .map(Value::Bool)
                .map_err(|why| scope.failed(why)),
            Self::Text => match value {
                Value::Str(_) => Ok(value),
                other if sequence::extent(&other, LARGEST) >= LARGEST => {
                    Err(scope.failed(too_large()))
                }
                other => Ok(python::to_str(&other).into()),
            },
            Self::DictionaryToJson => match &value {
                Value::Dict(_) => python_json::to_json(&value)
                    .map(Value::from)
                    .map_err(|why| scope.failed(why)),
                other => Err(scope.takes("an object", other)),
            },
            Self::TimestampToIso => match &value {
                Value::Timestamp(time) => Ok(time.isoformat().into()),
                other => Err(scope.takes("a timestamp", other)),
            },
        }
    }
}

fn read_slice(node: &Node<'_>) -> Read<StringOperation> {
    let start = node.or("start", 0, |field| field.int());
    let end = node.or("end", -1, |field| field.int());
    Ok(StringOperation::Slice {
        start: start?,
        end: end?,
    })
}

fn read_pattern(node: &Node<'_>) -> Read<StringOperation> {
    let field = node.need("regex")?;
    match Pattern::new(field.text()?) {
        Ok(pattern) => Ok(StringOperation::Matches(pattern)),
        Err(why) => Err(field.broken(why)),
    }
}

fn slice(text: &str, start: i64, end: i64) -> &str {
    let count = text.chars().count() as i64;
    let bound = |i: i64| match i < 0 {
        true => (count + i).max(0),
        false => i.min(count),
    };
    let byte = |i: i64| {
        text.char_indices()
            .nth(i as usize)
            .map_or(text.len(), |(byte, _)| byte)
    };
    let (start, end) = (bound(start), bound(end));
    match start < end {
        true => &text[byte(start)..byte(end)],
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{apply, shown, text};
    use crate::values::Timestamp;
    use serde_json::json;

    #[test]
    fn texts_change_as_in_python() {
        let slice =
            |start: i64, end: i64| json!({"type": "StringSubSequence", "start": start, "end": end});
        for (operation, input, result) in [
            (
                json!({"type": "StringToLowerCase"}),
                json!("HeLlo É"),
                "'hello é'",
            ),
            (
                json!({"type": "StringToUpperCase"}),
                json!("straße"),
                "'STRASSE'",
            ),
            (
                json!({"type": "StringToUpperCase"}),
                json!(5),
                "!InvalidInputTypeError",
            ),
            (
                json!({"type": "StringSubSequence"}),
                json!("abcdef"),
                "'abcde'",
            ),
            (slice(1, 4), json!("Hello 42"), "'ell'"),
            (slice(-3, -1), json!("straße ÀÉ"), "' À'"),
            (slice(2, 100), json!("cat"), "'t'"),
            (slice(4, 2), json!("Hello 42"), "''"),
            (slice(-100, 2), json!("cat"), "'ca'"),
            (slice(0, 2), json!(["a"]), "!InvalidInputTypeError"),
            (
                json!({"type": "StringSubSequence", "start": "1.0", "end": "+3"}),
                json!("cats"),
                "'at'",
            ),
            (
                json!({"type": "StringSubSequence", "start": true, "end": 3.0}),
                json!("cats"),
                "'at'",
            ),
            (
                json!({"type": "StringMatches", "regex": "[0-9]+"}),
                json!("a 42"),
                "True",
            ),
            (
                json!({"type": "StringMatches", "regex": "^b"}),
                json!("ab"),
                "False",
            ),
            (
                json!({"type": "StringMatches", "regex": "a"}),
                json!(1),
                "!InvalidInputTypeError",
            ),
            (json!({"type": "ToString"}), json!(1e20), "'1e+20'"),
            (json!({"type": "ToString"}), json!("x"), "'x'"),
        ] {
            assert_eq!(
                text(json!([operation]), input.clone()),
                result,
                "{operation} of {input}"
            );
        }
        let chain = json!([{"type": "ToString"}]);
        let nested = Value::from_json(&json!({"k": [true, {"z": "it's"}]}));
        let shown = apply(chain, nested).unwrap();
        assert_eq!(shown.as_str(), Some(r#"{'k': [True, {'z': "it's"}]}"#));
    }

    #[test]
    fn objects_become_the_json_of_python() {
        let chain = json!([{"type": "ConvertDictionaryToJSON"}]);
        let dumped = |value: Value| match apply(chain.clone(), value) {
            Ok(text) => python::to_str(&text),
            Err(error) => shown(Err(error)),
        };
        let object = json!({"a": [1, null, true], "é": 1.0, "s": "\u{1F600}\n\"\u{1}", "e": 1e-9});
        assert_eq!(
            dumped(Value::from_json(&object)),
            r#"{"a": [1, null, true], "\u00e9": 1.0, "s": "\ud83d\ude00\n\"\u0001", "e": 1e-09}"#
        );
        let one = |value: Value| Value::dict([("k".into(), value)].into_iter().collect());
        assert_eq!(dumped(one(Value::Float(f64::NAN))), r#"{"k": NaN}"#);
        assert_eq!(
            dumped(one(Value::Float(f64::NEG_INFINITY))),
            r#"{"k": -Infinity}"#
        );
        assert_eq!(
            dumped(one(Value::Bytes(b"a".as_slice().into()))),
            "!OperationError"
        );
        assert_eq!(dumped(Value::list(vec![])), "!InvalidInputTypeError");
    }

    #[test]
    fn timestamps_become_iso_texts() {
        let chain = json!([{"type": "TimestampToISOFormat"}]);
        let time = Value::Timestamp(Timestamp::parse("2024-01-02T03:04:05.000006+01:00").unwrap());
        assert_eq!(
            shown(apply(chain.clone(), time)),
            "'2024-01-02T03:04:05.000006+01:00'"
        );
        assert_eq!(text(chain, json!("2026-01-01")), "!InvalidInputTypeError");
    }
}
