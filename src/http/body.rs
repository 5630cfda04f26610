//! Reads request bodies: within a size, within a time, and as JSON or as a form with files.
//!
//! A body that is no JSON object is refused with 422 as the reference does (section 1.1 of the server
//! specification). A form (`multipart/form-data`) becomes the same object: a part with a file is an
//! image input of the part's name (several of one name are a batch), `inputs` and `specification` are
//! JSON, other parts are fields of their name.

use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequest;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};

use super::rejection::Rejection;

/// How large a body may be and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes.
    pub bytes: usize,
    /// Time from the head of a request to the end of its body.
    pub time: Duration,
}

/// Bytes beyond the limit that are read before a client is cut off.
const MOST_THROWN_AWAY: usize = 1 << 30;

/// The media type of a request, without parameters and in lower case.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let plain = text.split(';').next().unwrap_or_default().trim();
    (!plain.is_empty()).then(|| plain.to_ascii_lowercase())
}

/// The bytes of a body.
///
/// # Errors
/// 413 if there are too many, 408 if they take too long, 400 if the client breaks off.
pub async fn read(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Bytes, Rejection> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let fits = announced.is_none_or(|length| length <= limits.bytes as u64);
    match tokio::time::timeout(limits.time, collect(body, limits.bytes, fits)).await {
        Ok(collected) => collected,
        Err(_) if !fits => Err(Rejection::too_large(limits.bytes)),
        Err(_) => Err(Rejection::message(
            StatusCode::REQUEST_TIMEOUT,
            "the body of the request took too long",
        )),
    }
}

/// Gathers a body. What is too much is read and thrown away: a client that is cut off while it sends
/// never sees the answer.
async fn collect(mut body: Body, limit: usize, mut fits: bool) -> Result<Bytes, Rejection> {
    let mut gathered = BytesMut::new();
    let mut thrown_away = 0;
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Rejection::bad_request("the body of the request broke off"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        fits = fits && gathered.len() + data.len() <= limit;
        if fits {
            gathered.extend_from_slice(&data);
            continue;
        }
        gathered = BytesMut::new();
        thrown_away += data.len();
        if thrown_away > MOST_THROWN_AWAY {
            break;
        }
    }
    match fits {
        true => Ok(gathered.freeze()),
        false => Err(Rejection::too_large(limit)),
    }
}

/// The JSON object of a request; an absent body is an empty object where `optional`.
///
/// # Errors
/// See [`read`]; 422 if it is no JSON object.
pub async fn object(
    request: Request<Body>,
    limits: BodyLimits,
) -> Result<Map<String, Value>, Rejection> {
    let kind = media_type(request.headers());
    if kind.as_deref() == Some("multipart/form-data") {
        return form(request, limits).await;
    }
    let (parts, body) = request.into_parts();
    let bytes = read(&parts.headers, body, limits).await?;
    let is_json = kind.is_some_and(|kind| {
        kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
    });
    // Parsing large bodies would keep other requests of this thread waiting.
    match bytes.len() {
        ..=65_536 => parse(&bytes, is_json),
        _ => tokio::task::spawn_blocking(move || parse(&bytes, is_json)).await?,
    }
}

fn parse(bytes: &[u8], is_json: bool) -> Result<Map<String, Value>, Rejection> {
    if bytes.is_empty() {
        return Err(invalid("missing", "Field required", &Value::Null));
    }
    const NOT_AN_OBJECT: &str =
        "Input should be a valid dictionary or object to extract fields from";
    if !is_json {
        let text = Value::from(String::from_utf8_lossy(bytes));
        return Err(invalid("model_attributes_type", NOT_AN_OBJECT, &text));
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(invalid("model_attributes_type", NOT_AN_OBJECT, &other)),
        Err(error) => Err(not_json(bytes, &error)),
    }
}

fn invalid(kind: &str, message: &str, input: &Value) -> Rejection {
    let detail = json!({"type": kind, "loc": ["body"], "msg": message, "input": input});
    Rejection::Invalid(vec![detail])
}

/// The place of a JSON error, in characters, and Python's words for it.
fn not_json(bytes: &[u8], error: &serde_json::Error) -> Rejection {
    let lines = bytes.split_inclusive(|b| *b == b'\n');
    let before: usize = lines
        .take(error.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    let end = (before + error.column().saturating_sub(1)).min(bytes.len());
    let place = String::from_utf8_lossy(&bytes[..end]).chars().count();
    let text = error.to_string();
    let words = [
        (
            "key must be a string",
            "Expecting property name enclosed in double quotes",
        ),
        ("expected `:`", "Expecting ':' delimiter"),
        ("expected `,`", "Expecting ',' delimiter"),
        (
            "trailing comma",
            "Expecting property name enclosed in double quotes",
        ),
        (
            "EOF while parsing a string",
            "Unterminated string starting at",
        ),
        ("control character", "Invalid control character at"),
        ("escape", "Invalid \\escape"),
        ("trailing characters", "Extra data"),
        ("recursion limit", "nested too deeply"),
    ];
    let words = words
        .iter()
        .find(|(ours, _)| text.contains(ours))
        .map_or("Expecting value", |(_, theirs)| theirs);
    Rejection::Invalid(vec![json!({
        "type": "json_invalid",
        "loc": ["body", place],
        "msg": "JSON decode error",
        "input": {},
        "ctx": {"error": words},
    })])
}

/// A form as the JSON object that would say the same.
async fn form(request: Request<Body>, limits: BodyLimits) -> Result<Map<String, Value>, Rejection> {
    let (parts, body) = request.into_parts();
    let headers = parts.headers.clone();
    let bytes = read(&headers, body, limits).await?;
    let request = Request::from_parts(parts, Body::from(bytes));
    let broken =
        |e: &dyn std::fmt::Display| Rejection::bad_request(format!("the form cannot be read: {e}"));
    let mut form = axum::extract::Multipart::from_request(request, &())
        .await
        .map_err(|e| broken(&e))?;
    let mut object = Map::new();
    let mut images: Vec<(String, Value)> = Vec::new();
    while let Some(part) = form.next_field().await.map_err(|e| broken(&e))? {
        let Some(name) = part.name().map(str::to_owned) else {
            return Err(Rejection::bad_request("a part of the form has no name"));
        };
        let is_file = part.file_name().is_some();
        let bytes = part.bytes().await.map_err(|e| broken(&e))?;
        let is_json = matches!(
            name.as_str(),
            "inputs" | "specification" | "excluded_fields"
        );
        if is_file && !is_json {
            let text = STANDARD.encode(&bytes);
            images.push((name, json!({"type": "base64", "value": text})));
        } else if is_json {
            let value = serde_json::from_slice(&bytes).map_err(|e| not_json(&bytes, &e))?;
            object.insert(name, value);
        } else {
            let text = String::from_utf8(bytes.to_vec()).map_err(|e| broken(&e))?;
            object.insert(name, Value::from(text));
        }
    }
    add_images(&mut object, images);
    Ok(object)
}

/// Puts the files of a form among the inputs; several of one name are a batch.
fn add_images(object: &mut Map<String, Value>, images: Vec<(String, Value)>) {
    let inputs = object.entry("inputs").or_insert_with(|| json!({}));
    let Some(inputs) = inputs.as_object_mut() else {
        return;
    };
    for (name, image) in images {
        match inputs.get_mut(&name) {
            None => {
                inputs.insert(name, image);
            }
            Some(Value::Array(batch)) => batch.push(image),
            Some(first) => *first = json!([first.take(), image]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: &str, body: impl Into<Body>) -> Request<Body> {
        let request = Request::builder().method("POST").uri("/workflows/run");
        let request = match kind {
            "" => request,
            kind => request.header(CONTENT_TYPE, kind),
        };
        request.body(body.into()).unwrap()
    }

    async fn read_object(kind: &str, body: &str) -> Result<Map<String, Value>, Rejection> {
        let limits = BodyLimits {
            bytes: 1_000,
            time: Duration::from_millis(200),
        };
        object(request(kind, body.to_owned()), limits).await
    }

    #[tokio::test]
    async fn only_a_json_object_passes() {
        let kind = "application/json; charset=utf-8";
        assert_eq!(read_object(kind, r#"{"a": 1}"#).await.unwrap()["a"], 1);
        for (kind, body, want) in [
            ("", r#"{"a": 1}"#, "model_attributes_type"),
            ("text/plain", r#"{"a": 1}"#, "model_attributes_type"),
            (kind, "[1]", "model_attributes_type"),
            (kind, "{nope", "json_invalid"),
            (kind, "", "missing"),
        ] {
            let refused = read_object(kind, body).await.unwrap_err();
            assert_eq!(refused.status(), 422);
            assert_eq!(refused.body()["detail"][0]["type"], want, "{kind} {body}");
        }
    }

    #[tokio::test]
    async fn the_place_of_a_json_error_is_told() {
        let refused = read_object("application/json", "{\"a\": 1,\n \"é\" 2}").await;
        let detail = &refused.unwrap_err().body()["detail"][0];
        assert_eq!(detail["loc"], json!(["body", 14]));
        assert_eq!(detail["ctx"]["error"], "Expecting ':' delimiter");
    }

    #[tokio::test]
    async fn a_body_is_bounded_in_size_and_time() {
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(2_000));
        let refused = read_object("application/json", &long).await.unwrap_err();
        assert_eq!(refused.status(), 413);
        let limits = BodyLimits {
            bytes: 1_000,
            time: Duration::from_millis(50),
        };
        let never =
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let refused = object(request("application/json", never), limits).await;
        assert_eq!(refused.unwrap_err().status(), 408);
    }

    #[tokio::test]
    async fn a_form_is_the_same_as_json() {
        let body = "--B\r\nContent-Disposition: form-data; name=\"specification\"\r\n\r\n{\"steps\": []}\r\n\
            --B\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.jpg\"\r\n\r\nabc\r\n\
            --B\r\nContent-Disposition: form-data; name=\"image\"; filename=\"b.jpg\"\r\n\r\nabd\r\n\
            --B\r\nContent-Disposition: form-data; name=\"api_key\"\r\n\r\nK\r\n--B--\r\n";
        let object = read_object("multipart/form-data; boundary=B", body)
            .await
            .unwrap();
        let want = json!({
            "specification": {"steps": []},
            "api_key": "K",
            "inputs": {"image": [
                {"type": "base64", "value": "YWJj"},
                {"type": "base64", "value": "YWJk"},
            ]},
        });
        assert_eq!(Value::Object(object), want);
    }
}
