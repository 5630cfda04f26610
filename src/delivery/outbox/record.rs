//! An event as bytes: what the journal and the database keep.
//!
//! Fields in order, numbers little-endian, texts and bytes behind their length in four bytes:
//! version, time of putting in (ms since 1970), timeout in ms, flags, stream, method,
//! address, headers (count, then name, value, whether it is a secret), body (in place, or the hash
//! and length of a file beside the database).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::bodies::Hash;
use crate::delivery::address::AddressPolicy;
use crate::delivery::backlog::Event;
use crate::delivery::request::Request;

const VERSION: u8 = 1;
/// Flags of a request.
const GLOBAL_ONLY: u8 = 1;
const SINGLE_EXCHANGE: u8 = 2;
const IN_PLACE: u8 = 0;
const IN_A_FILE: u8 = 1;

/// Bytes that are no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored event cannot be read")]
pub struct Unreadable;

/// Where a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    Here(Bytes),
    File { hash: Hash, length: u64 },
}

/// An event read back, its body perhaps still in a file.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// When it was put in, in milliseconds since 1970.
    pub since: i64,
    pub stream: Arc<str>,
    /// The request; without its body if that is in a file.
    pub request: Request,
    pub body: Body,
}

/// The bytes of an event; `file` names its body if that is kept beside.
pub(super) fn encode(event: &Event, since: i64, file: Option<&Hash>) -> Vec<u8> {
    let request = &event.request;
    let inline = if file.is_some() {
        0
    } else {
        request.body.len()
    };
    let mut out = Vec::with_capacity(inline + 512);
    out.push(VERSION);
    out.extend_from_slice(&since.to_le_bytes());
    let timeout = u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX);
    out.extend_from_slice(&timeout.to_le_bytes());
    out.push(flags(request));
    put(&mut out, event.stream.as_bytes());
    put(&mut out, request.method.as_str().as_bytes());
    put(&mut out, request.url.as_str().as_bytes());
    length(&mut out, request.headers.len());
    for (name, value) in &request.headers {
        put(&mut out, name.as_str().as_bytes());
        put(&mut out, value.as_bytes());
        out.push(u8::from(value.is_sensitive()));
    }
    match file {
        None => {
            out.push(IN_PLACE);
            put(&mut out, &request.body);
        }
        Some(hash) => {
            out.push(IN_A_FILE);
            out.extend_from_slice(&hash.0);
            out.extend_from_slice(&(request.body.len() as u64).to_le_bytes());
        }
    }
    out
}

/// Reads an event back.
pub(super) fn decode(bytes: &[u8]) -> Result<Record, Unreadable> {
    let mut left = bytes;
    let left = &mut left;
    if byte(left)? != VERSION {
        return Err(Unreadable);
    }
    let since = i64::from_le_bytes(array(left)?);
    let timeout = Duration::from_millis(u64::from_le_bytes(array(left)?));
    let flags = byte(left)?;
    let addresses = match flags & GLOBAL_ONLY {
        0 => AddressPolicy::Any,
        _ => AddressPolicy::GlobalOnly,
    };
    let stream = text(left)?.into();
    let method = Method::from_bytes(field(left)?).map_err(|_| Unreadable)?;
    let url = Url::parse(text(left)?).map_err(|_| Unreadable)?;
    let count = u32::from_le_bytes(array(left)?);
    let mut headers = HeaderMap::new();
    for _ in 0..count {
        let name = HeaderName::from_bytes(field(left)?).map_err(|_| Unreadable)?;
        let mut value = HeaderValue::from_bytes(field(left)?).map_err(|_| Unreadable)?;
        value.set_sensitive(byte(left)? != 0);
        headers.append(name, value);
    }
    let body = match byte(left)? {
        IN_PLACE => Body::Here(Bytes::copy_from_slice(field(left)?)),
        IN_A_FILE => Body::File {
            hash: Hash(array(left)?),
            length: u64::from_le_bytes(array(left)?),
        },
        _ => return Err(Unreadable),
    };
    let request = Request {
        single_exchange: flags & SINGLE_EXCHANGE != 0,
        method,
        url,
        headers,
        body: match &body {
            Body::Here(bytes) => bytes.clone(),
            Body::File { .. } => Bytes::new(),
        },
        timeout,
        addresses,
    };
    Ok(Record {
        since,
        stream,
        request,
        body,
    })
}

fn flags(request: &Request) -> u8 {
    let global_only = match request.addresses {
        AddressPolicy::Any => 0,
        AddressPolicy::GlobalOnly => GLOBAL_ONLY,
    };
    let single_exchange = match request.single_exchange {
        true => SINGLE_EXCHANGE,
        false => 0,
    };
    global_only | single_exchange
}

fn length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take<'a>(left: &mut &'a [u8], count: usize) -> Result<&'a [u8], Unreadable> {
    let (taken, rest) = left.split_at_checked(count).ok_or(Unreadable)?;
    *left = rest;
    Ok(taken)
}

fn array<const N: usize>(left: &mut &[u8]) -> Result<[u8; N], Unreadable> {
    take(left, N)?.try_into().map_err(|_| Unreadable)
}

fn byte(left: &mut &[u8]) -> Result<u8, Unreadable> {
    array::<1>(left).map(|[b]| b)
}

fn field<'a>(left: &mut &'a [u8]) -> Result<&'a [u8], Unreadable> {
    let count = u32::from_le_bytes(array(left)?);
    take(left, count as usize)
}

fn text<'a>(left: &mut &'a [u8]) -> Result<&'a str, Unreadable> {
    std::str::from_utf8(field(left)?).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let request = Request::new("PUT", "https://u:p@h/x?k=v", AddressPolicy::GlobalOnly)
            .and_then(|r| r.header("Authorization", b"secret"))
            .unwrap()
            .timeout(Duration::from_millis(1500))
            .single_exchange()
            .body(HeaderValue::from_static("text/plain"), "body \u{e9}");
        Event {
            stream: "camera 1".into(),
            request: Arc::new(request),
        }
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        let event = event();
        let record = decode(&encode(&event, 77, None)).unwrap();
        let (was, is) = (&event.request, &record.request);
        assert_eq!((record.since, &record.stream), (77, &event.stream));
        assert_eq!((&was.method, &was.url), (&is.method, &is.url));
        assert_eq!((&was.headers, &was.body), (&is.headers, &is.body));
        assert_eq!((was.timeout, was.addresses), (is.timeout, is.addresses));
        assert!(is.headers["authorization"].is_sensitive() && is.single_exchange);

        let hash = Hash([7; 32]);
        let record = decode(&encode(&event, 77, Some(&hash))).unwrap();
        let length = was.body.len() as u64;
        assert_eq!(record.body, Body::File { hash, length });
        assert!(record.request.body.is_empty());
    }

    #[test]
    fn cut_or_changed_bytes_are_refused_and_never_panic() {
        let bytes = encode(&event(), 77, None);
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0xff;
            let _ = decode(&changed);
        }
        assert!(decode(&[]).is_err());
    }
}
