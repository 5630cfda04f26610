//! How the reference's HTTP client writes queries, forms, JSON and multipart bodies.
//!
//! In queries and forms a list repeats its name, an object gives its keys, `None` is left out and
//! everything else reads as Python prints it. In multipart bodies the form comes first, then one
//! part per file under its own name, without a content type.

use std::sync::Arc;

use url::form_urlencoded::byte_serialize;

use crate::values::{Dict, Value, python, python_json};

/// Why a body cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// A number that JSON does not have.
    #[error("Out of range float values are not JSON compliant")]
    OutOfRange,
    /// A value without a form in JSON.
    #[error("{0}, convert it with an operation first")]
    NoJson(String),
    /// A value that is no file.
    #[error("file `{name}` must be text, bytes or a number, got {got}")]
    NoFile {
        /// Name of the file.
        name: Arc<str>,
        /// Type of the value.
        got: &'static str,
    },
}

/// The entries as JSON.
pub fn json(entries: &Dict) -> Result<String, EncodingError> {
    let value = Value::dict(entries.clone());
    if !is_finite(&value) {
        return Err(EncodingError::OutOfRange);
    }
    python_json::to_json(&value).map_err(EncodingError::NoJson)
}

fn is_finite(value: &Value) -> bool {
    match value {
        Value::Float(f) => f.is_finite(),
        Value::Dict(entries) => entries.values().all(is_finite),
        _ => value
            .as_slice()
            .is_none_or(|items| items.iter().all(is_finite)),
    }
}

/// The entries as they stand in a query or a form body.
pub fn urlencoded(entries: &Dict) -> String {
    let mut pairs: Vec<String> = Vec::new();
    for (name, value) in entries {
        for item in repeated(value) {
            // One more level of lists or objects repeats the name too.
            for item in repeated(&item) {
                let text: String = byte_serialize(&text(&item)).collect();
                let name: String = byte_serialize(name.as_bytes()).collect();
                pairs.push(format!("{name}={text}"));
            }
        }
    }
    pairs.join("&")
}

/// The items of a list, the keys of an object, or the value itself; without `None`.
fn repeated(value: &Value) -> Vec<Value> {
    let items: Vec<Value> = match value {
        Value::Dict(entries) => entries.keys().map(|key| key.clone().into()).collect(),
        _ => match value.as_slice() {
            Some(items) => items.to_vec(),
            None => vec![value.clone()],
        },
    };
    items.into_iter().filter(|item| !item.is_none()).collect()
}

fn text(value: &Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.to_vec(),
        _ => python::to_str(value).into_bytes(),
    }
}

/// A multipart body: what stands between two parts, and the body.
pub fn multipart(form: &Dict, files: &Dict) -> Result<(String, Vec<u8>), EncodingError> {
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let mut body = Vec::new();
    for (name, value) in form {
        for item in repeated(value) {
            let head = format!("form-data; name=\"{}\"", quoted(name));
            part(&mut body, &boundary, &head, &text(&item));
        }
    }
    for (name, value) in files {
        let content = match value {
            Value::None => continue,
            Value::Str(_)
            | Value::Bytes(_)
            | Value::Int(_)
            | Value::BigInt(_)
            | Value::Float(_)
            | Value::Bool(_) => text(value),
            other => {
                return Err(EncodingError::NoFile {
                    name: name.clone(),
                    got: other.type_name(),
                });
            }
        };
        let name = quoted(name);
        let head = format!("form-data; name=\"{name}\"; filename=\"{name}\"");
        part(&mut body, &boundary, &head, &content);
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Ok((boundary, body))
}

fn part(body: &mut Vec<u8>, boundary: &str, disposition: &str, content: &[u8]) {
    let head = format!("--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n");
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n");
}

fn quoted(name: &str) -> String {
    name.replace('\n', "%0A")
        .replace('\r', "%0D")
        .replace('"', "%22")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as j;

    fn dict(json: &serde_json::Value) -> Dict {
        Value::from_json(json).as_dict().unwrap().clone()
    }

    #[test]
    fn queries_and_forms() {
        let entries = dict(&j!({
            "text": "x y&é", "n": 1, "f": 1.0, "yes": true, "none": null,
            "list": ["a", null, 2], "d": {"q": 1},
        }));
        assert_eq!(
            urlencoded(&entries),
            "text=x+y%26%C3%A9&n=1&f=1.0&yes=True&list=a&list=2&d=q"
        );
    }

    #[test]
    fn json_bodies() {
        let entries = dict(&j!({"a": "é", "b": [1, 2.5]}));
        assert_eq!(json(&entries).unwrap(), r#"{"a": "\u00e9", "b": [1, 2.5]}"#);
        assert_eq!(json(&Dict::new()).unwrap(), "{}");
        let infinite = Dict::from_iter([("x".into(), Value::list(vec![f64::INFINITY.into()]))]);
        assert_eq!(json(&infinite), Err(EncodingError::OutOfRange));
    }

    #[test]
    fn multipart_bodies() {
        let form = dict(&j!({"tag": ["a", "b"]}));
        let mut files = dict(&j!({"note.txt": "hé", "n": 5, "none": null}));
        files.insert("raw".into(), Value::Bytes(b"\xff\x00".as_slice().into()));
        let (boundary, body) = multipart(&form, &files).unwrap();
        let mut expected = Vec::new();
        for (disposition, content) in [
            ("name=\"tag\"", b"a".as_slice()),
            ("name=\"tag\"", b"b"),
            ("name=\"note.txt\"; filename=\"note.txt\"", "hé".as_bytes()),
            ("name=\"n\"; filename=\"n\"", b"5"),
            ("name=\"raw\"; filename=\"raw\"", b"\xff\x00"),
        ] {
            let head =
                format!("--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
            expected.extend_from_slice(head.as_bytes());
            expected.extend_from_slice(content);
            expected.extend_from_slice(b"\r\n");
        }
        expected.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        assert_eq!(body, expected);
        let wrong = dict(&j!({"x": {}}));
        assert_eq!(
            multipart(&form, &wrong).unwrap_err().to_string(),
            "file `x` must be text, bytes or a number, got dict"
        );
    }
}
