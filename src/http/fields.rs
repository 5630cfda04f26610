//! Reads the fields of a request's body and says of each that does not fit what the reference would
//! (pydantic's `type`, `loc`, `msg` and `input`, section 1.1 of the server specification).
//!
//! Conversions are pydantic's lax ones: a flag may be `1`, `"true"` or `"off"`, a number may be text.

use serde_json::{Map, Value, json};

use super::rejection::Rejection;

/// A body while it is read; problems are gathered, so that a client sees all of them at once.
pub struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// Where the object stands in the body.
    place: Vec<Value>,
    problems: Vec<Value>,
}

impl<'a> Fields<'a> {
    /// The fields of a body.
    pub fn of(object: &'a Map<String, Value>) -> Self {
        Self {
            object,
            place: vec!["body".into()],
            problems: Vec::new(),
        }
    }

    /// The fields of an object inside a body.
    pub fn within(object: &'a Map<String, Value>, name: &str) -> Self {
        let mut fields = Self::of(object);
        fields.place.push(name.into());
        fields
    }

    /// Takes over the problems of an object inside.
    pub fn absorb(&mut self, inner: Self) {
        self.problems.extend(inner.problems);
    }

    fn place(&self, name: &str) -> Value {
        let name = Value::from(name);
        self.place.iter().cloned().chain([name]).collect()
    }

    /// A field that is there and not null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// A field that must be there.
    pub fn required(&mut self, name: &str) -> Option<&'a Value> {
        let found = self.object.get(name);
        if found.is_none() {
            let place = self.place(name);
            self.problems.push(json!({
                "type": "missing",
                "loc": place,
                "msg": "Field required",
                "input": self.object,
            }));
        }
        found
    }

    /// Notes a problem of a field.
    pub fn refuse(&mut self, kind: &str, place: Value, text: &str, input: &Value) {
        self.problems
            .push(json!({"type": kind, "loc": place, "msg": text, "input": input}));
    }

    /// Text.
    pub fn text(&mut self, name: &str) -> Option<&'a str> {
        let value = self.get(name)?;
        if value.is_string() {
            return value.as_str();
        }
        let message = "Input should be a valid string";
        self.refuse("string_type", self.place(name), message, value);
        None
    }

    /// Text that must be there.
    pub fn required_text(&mut self, name: &str) -> Option<&'a str> {
        match self.required(name)? {
            Value::String(text) => Some(text),
            other => {
                let message = "Input should be a valid string";
                self.refuse("string_type", self.place(name), message, other);
                None
            }
        }
    }

    /// An object that must be there.
    pub fn required_object(&mut self, name: &str) -> Option<&'a Map<String, Value>> {
        match self.required(name)? {
            Value::Object(object) => Some(object),
            other => {
                let message = "Input should be a valid dictionary";
                self.refuse("dict_type", self.place(name), message, other);
                None
            }
        }
    }

    /// A flag.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        let Some(value) = self.get(name) else {
            return default;
        };
        match lax_flag(value) {
            Ok(flag) => flag,
            Err((kind, message)) => {
                self.refuse(kind, self.place(name), message, value);
                default
            }
        }
    }

    /// A number.
    pub fn number(&mut self, name: &str) -> Option<f64> {
        let value = self.get(name)?;
        let read = match value {
            Value::Number(number) => number.as_f64(),
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            Value::String(text) => text.trim().parse().ok(),
            _ => {
                let message = "Input should be a valid number";
                self.refuse("float_type", self.place(name), message, value);
                return None;
            }
        };
        if read.is_none() {
            let message = "Input should be a valid number, unable to parse string as a number";
            self.refuse("float_parsing", self.place(name), message, value);
        }
        read
    }

    /// A whole number.
    pub fn whole(&mut self, name: &str) -> Option<i64> {
        let value = self.get(name)?;
        let number = self.number(name)?;
        if number.fract() == 0.0 && number.abs() < 9e15 {
            return Some(number as i64);
        }
        let message = "Input should be a valid integer, got a number with a fractional part";
        self.refuse("int_from_float", self.place(name), message, value);
        None
    }

    /// A list of texts.
    pub fn texts(&mut self, name: &str) -> Option<Vec<&'a str>> {
        let value = self.get(name)?;
        let Value::Array(items) = value else {
            let message = "Input should be a valid list";
            self.refuse("list_type", self.place(name), message, value);
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            match item.as_str() {
                Some(text) => texts.push(text),
                None => {
                    let message = "Input should be a valid string";
                    self.refuse("string_type", json!(["body", name, at]), message, item);
                }
            }
        }
        Some(texts)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// 422 with all problems, if there are any.
    pub fn finish(self) -> Result<(), Rejection> {
        match self.problems.is_empty() {
            true => Ok(()),
            false => Err(Rejection::Invalid(self.problems)),
        }
    }
}

/// A flag as pydantic reads it in lax mode.
///
/// # Errors
/// The kind of problem and its text.
pub fn lax_flag(value: &Value) -> Result<bool, (&'static str, &'static str)> {
    const WORDS: &str = "Input should be a valid boolean, unable to interpret input";
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::Number(number) => match number.as_f64() {
            Some(0.0) => Ok(false),
            Some(1.0) => Ok(true),
            _ => Err(("bool_parsing", WORDS)),
        },
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
            "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
            _ => Err(("bool_parsing", WORDS)),
        },
        _ => Err(("bool_type", "Input should be a valid boolean")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(body: &Value, read: impl Fn(&mut Fields<'_>)) -> Value {
        let mut fields = Fields::of(body.as_object().unwrap());
        read(&mut fields);
        match fields.finish() {
            Err(rejection) => rejection.body(),
            Ok(()) => Value::Null,
        }
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let body = json!({"api_key": 4, "use_cache": "maybe", "excluded_fields": ["a", 7]});
        let told = problems(&body, |fields| {
            fields.text("api_key");
            fields.required_object("inputs");
            fields.flag("use_cache", true);
            fields.texts("excluded_fields");
        });
        let kinds: Vec<&str> = told["detail"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| d["type"].as_str().unwrap())
            .collect();
        let want = ["string_type", "missing", "bool_parsing", "string_type"];
        assert_eq!(kinds, want);
        assert_eq!(
            told["detail"][3]["loc"],
            json!(["body", "excluded_fields", 1])
        );
        assert_eq!(told["detail"][1]["input"], body);
    }

    #[test]
    fn flags_and_numbers_are_read_as_pydantic_reads_them() {
        for (value, want) in [
            (json!("Yes"), Ok(true)),
            (json!(0), Ok(false)),
            (json!("off"), Ok(false)),
        ] {
            assert_eq!(lax_flag(&value), want);
        }
        assert_eq!(lax_flag(&json!([])).unwrap_err().0, "bool_type");
        assert_eq!(lax_flag(&json!(2)).unwrap_err().0, "bool_parsing");
        let body = json!({"n": "0.5", "k": 3.0, "bad": "x", "half": 1.5});
        let mut fields = Fields::of(body.as_object().unwrap());
        assert_eq!(fields.number("n"), Some(0.5));
        assert_eq!(fields.whole("k"), Some(3));
        assert_eq!(fields.number("bad"), None);
        assert_eq!(fields.whole("half"), None);
        assert_eq!(fields.problems.len(), 2);
    }
}
