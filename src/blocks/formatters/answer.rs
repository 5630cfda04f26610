//! What a language model said, read with patience: JSON in fences, among prose, or in pieces.

use std::sync::OnceLock;

use regex::Regex;

use crate::definition::coerce::parse_float;
use crate::values::{Value, json_text};

/// The object or list that a text holds; `None` if there is none.
///
/// Tried in this order: the first block fenced as `json`, the first fenced block, the whole text, the
/// text without fences, objects and lists one after the other (as one list), what lies between the
/// outermost brackets, what lies between the outermost braces.
pub(crate) fn read(text: &str) -> Option<Value> {
    let bare = without_fences(text);
    let fenced = [fenced(text, true), fenced(text, false)];
    let whole = [Some(text), Some(bare.as_str())];
    fenced
        .into_iter()
        .chain(whole)
        .flatten()
        .find_map(container)
        .or_else(|| sequence(&bare))
        .or_else(|| between(&bare, '[', ']').and_then(container))
        .or_else(|| between(&bare, '{', '}').and_then(container))
}

/// Every object that stands anywhere in a text, in order.
pub(super) fn objects(text: &str) -> Vec<Value> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        rest = match json_text::parse_prefix(&rest[at..]) {
            Some((value, behind)) => {
                found.push(value);
                behind
            }
            None => &rest[at + 1..],
        };
    }
    found
}

/// A number as a model wrote it, as such or as text.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Str(text) => parse_float(text),
        other => other.as_f64(),
    }
}

/// A confidence as a model wrote it, brought into 0 to 1.
pub(super) fn confidence(value: &Value) -> Option<f64> {
    Some(number(value)?.clamp(0.0, 1.0))
}

fn container(text: &str) -> Option<Value> {
    json_text::parse(text).filter(|v| matches!(v, Value::List(_) | Value::Dict(_)))
}

fn fenced(text: &str, json: bool) -> Option<&str> {
    static JSON: OnceLock<Option<Regex>> = OnceLock::new();
    static ANY: OnceLock<Option<Regex>> = OnceLock::new();
    let pattern = match json {
        true => JSON.get_or_init(|| Regex::new(r"(?is)```json\s*(.*?)```").ok()),
        false => ANY.get_or_init(|| Regex::new(r"(?s)```[a-zA-Z0-9_+-]*[ \t]*\r?\n?(.*?)```").ok()),
    };
    let found = pattern.as_ref()?.captures(text)?;
    found.get(1).map(|inside| inside.as_str())
}

/// The text with every line emptied that is nothing but a fence.
fn without_fences(text: &str) -> String {
    static LINE: OnceLock<Option<Regex>> = OnceLock::new();
    let line = LINE.get_or_init(|| Regex::new(r"(?m)^[ \t]*```[a-zA-Z0-9_+-]*[ \t]*$").ok());
    match line {
        Some(line) => line.replace_all(text, "").trim().to_owned(),
        None => text.trim().to_owned(),
    }
}

/// Objects and lists with nothing but blanks and commas between them, and at most one bracket too
/// many at the end.
fn sequence(text: &str) -> Option<Value> {
    let gap = |c: char| c == ',' || c.is_whitespace();
    let mut items = Vec::new();
    let mut rest = text.trim_matches(gap);
    while !rest.is_empty() && rest != "]" {
        let (value, behind) = json_text::parse_prefix(rest)?;
        match value {
            Value::Dict(_) => items.push(value),
            Value::List(inner) => items.extend(inner.iter().cloned()),
            _ => return None,
        }
        rest = behind.trim_start_matches(gap);
    }
    (!items.is_empty()).then(|| Value::list(items))
}

fn between(text: &str, open: char, close: char) -> Option<&str> {
    text.get(text.find(open)?..=text.rfind(close)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::python;

    #[test]
    fn json_is_found_wherever_a_model_puts_it() {
        // Specification 9.8.
        for (text, value) in [
            ("{\"a\":1}\n{\"b\":2}", "[{'a': 1}, {'b': 2}]"),
            ("{\"a\":1}]", "[{'a': 1}]"),
            ("text [1,2] {\"a\":1} end", "[1, 2]"),
            ("Sure: {\"a\":1} as asked", "{'a': 1}"),
            ("x\n```\n{\"a\":1}\n```", "{'a': 1}"),
            ("```JSON {\"a\":1} ``` ```json {\"a\":2}```", "{'a': 1}"),
            ("```json\n{\"a\":1}", "{'a': 1}"),
            ("```json\nno\n``` {\"a\":1}", "{'a': 1}"),
        ] {
            let found = read(text).map(|v| python::repr(&v));
            assert_eq!(found.as_deref(), Some(value), "{text}");
        }
        for text in ["x {\"a\":1}, {\"b\":2} y", "5", "", "]["] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn objects_among_prose() {
        let found = objects("First {\"a\": {\"b\": 1}} and { then {\"c\": 2}");
        assert_eq!(
            python::repr(&Value::list(found)),
            "[{'a': {'b': 1}}, {'c': 2}]"
        );
    }
}
