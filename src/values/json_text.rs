//! JSON as Python's `json.loads` reads it: with `NaN`, `Infinity` and `-Infinity`, whole numbers
//! told from others, the last of equal keys, and halves of surrogate pairs (which become U+FFFD).

use std::sync::Arc;

use super::{Dict, Value};

/// Lists and objects inside each other that are followed.
const MAX_DEPTH: usize = 200;

/// The value that a whole text holds; `None` if it is not JSON.
pub fn parse(text: &str) -> Option<Value> {
    let start = text.trim_start_matches(SPACE);
    let (value, rest) = parse_prefix(start)?;
    rest.trim_start_matches(SPACE).is_empty().then_some(value)
}

/// The value at the very start of a text, and what follows it.
pub fn parse_prefix(text: &str) -> Option<(Value, &str)> {
    let mut reader = Reader {
        rest: text,
        depth: 0,
    };
    let value = reader.value()?;
    Some((value, reader.rest))
}

/// What JSON counts as blank.
pub const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn skip(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches(SPACE);
    }

    fn value(&mut self) -> Option<Value> {
        const WORDS: &[(&str, Value)] = &[
            ("null", Value::None),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ];
        match self.rest.as_bytes().first()? {
            b'"' => self.text().map(Value::from),
            b'[' => self.nested(Self::list),
            b'{' => self.nested(Self::object),
            _ => match WORDS.iter().find(|(word, _)| self.skip(word)) {
                Some((_, value)) => Some(value.clone()),
                None => self.number(),
            },
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Option<Value>) -> Option<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.rest = &self.rest[1..];
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn list(&mut self) -> Option<Value> {
        let mut items = Vec::new();
        self.blank();
        if self.skip("]") {
            return Some(Value::list(items));
        }
        loop {
            self.blank();
            items.push(self.value()?);
            self.blank();
            if self.skip("]") {
                return Some(Value::list(items));
            }
            self.skip(",").then_some(())?;
        }
    }

    fn object(&mut self) -> Option<Value> {
        let mut entries = Dict::new();
        self.blank();
        if self.skip("}") {
            return Some(Value::dict(entries));
        }
        loop {
            self.blank();
            let key: Arc<str> = self.text()?.into();
            self.blank();
            self.skip(":").then_some(())?;
            self.blank();
            entries.insert(key, self.value()?);
            self.blank();
            if self.skip("}") {
                return Some(Value::dict(entries));
            }
            self.skip(",").then_some(())?;
        }
    }

    fn number(&mut self) -> Option<Value> {
        let bytes = self.rest.as_bytes();
        let digits = |from: usize| {
            bytes[from..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count()
        };
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let whole = match bytes.get(sign)? {
            b'0' => 1,
            _ => digits(sign),
        };
        if whole == 0 {
            return None;
        }
        let mut end = sign + whole;
        let is_whole = end;
        if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
            let start = end + 1 + usize::from(signed);
            if start <= bytes.len() && digits(start) > 0 {
                end = start + digits(start);
            }
        }
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        match text.parse() {
            Ok(i) if end == is_whole => Some(Value::whole(i)),
            _ => text.parse().ok().map(Value::Float),
        }
    }

    fn text(&mut self) -> Option<String> {
        self.skip("\"").then_some(())?;
        let mut text = String::new();
        loop {
            let at = self.rest.find(|c: char| c == '"' || c == '\\' || c < ' ')?;
            text.push_str(&self.rest[..at]);
            let stop = self.rest.as_bytes()[at];
            self.rest = &self.rest[at + 1..];
            match stop {
                b'"' => return Some(text),
                b'\\' => text.push(self.escaped()?),
                _ => return None,
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let code = *self.rest.as_bytes().first()?;
        let plain = match code {
            b'"' | b'\\' | b'/' => char::from(code),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.unit()?;
                let before = self.rest;
                if (0xd800..0xdc00).contains(&high)
                    && self.skip("\\")
                    && let Some(low) = self.unit()
                    && (0xdc00..0xe000).contains(&low)
                {
                    return char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00));
                }
                self.rest = before;
                return Some(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            _ => return None,
        };
        self.rest = &self.rest[1..];
        Some(plain)
    }

    /// The four digits behind a `u`.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.strip_prefix('u')?.get(..4)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = &self.rest[5..];
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::python;

    #[test]
    fn reads_as_python_reads_it() {
        for (text, value) in [
            (
                " {\"a\": 1, \"a\": 9, \"b\": [true, null]} ",
                "{'a': 9, 'b': [True, None]}",
            ),
            (
                "[1.0, 1e3, -0, 123456789012345678901]",
                "[1.0, 1000.0, 0, 123456789012345678901]",
            ),
            ("[NaN, -Infinity]", "[nan, -inf]"),
            (r#""\u00e9\ud83d\ude00\n\/""#, "'é😀\\n/'"),
            ("{}", "{}"),
        ] {
            let parsed = parse(text).map(|v| python::repr(&v));
            assert_eq!(parsed.as_deref(), Some(value), "{text}");
        }
    }

    #[test]
    fn what_python_refuses_is_refused() {
        let deep = "[".repeat(100_000);
        for text in [
            "",
            "{'a': 1}",
            "[1,]",
            "{\"a\" 1}",
            "01",
            "1.",
            ".5",
            "+1",
            "\"a\nb\"",
            "\"\\x\"",
            "nul",
            "[1] 2",
            &deep,
        ] {
            assert!(parse(text).is_none(), "{text:.20}");
        }
    }

    #[test]
    fn a_value_may_have_text_behind_it() {
        let (value, rest) = parse_prefix("{\"a\": \"}\"} and more").unwrap();
        assert_eq!(python::repr(&value), "{'a': '}'}");
        assert_eq!(rest, " and more");
    }
}
