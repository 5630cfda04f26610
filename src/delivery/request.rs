//! One HTTP request as it is kept for sending, once or many times.

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, Mac};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::Value as Json;
use sha2::Sha256;
use url::Url;
use uuid::Uuid;

use super::adapters::Adapters;
use super::address::{AddressPolicy, AddressRefused};
use crate::network::address::has_backslash_in_authority;
use crate::redact::Redacted;

/// Header by which a receiver recognises an event that it already has.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Header by which a receiver knows that a body comes from who shares a secret with it.
pub const SIGNATURE: HeaderName = HeaderName::from_static("x-millrace-signature");

/// Header that names the definition which made an event.
pub const DEFINITION: HeaderName = HeaderName::from_static("x-millrace-definition");

/// A request that can be sent any number of times; it carries the same idempotency key each time.
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) timeout: Duration,
    pub(super) addresses: AddressPolicy,
    pub(super) single_exchange: bool,
}

/// Why a request could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The address cannot be read.
    #[error("Invalid URL ({0}), use http://HOST/PATH or https://HOST/PATH")]
    Url(url::ParseError),
    /// The address is not one of HTTP.
    #[error("No connection adapters were found for scheme `{0}`, use http or https")]
    Scheme(String),
    /// Something is missing in the address.
    #[error("the address needs {0}")]
    Target(&'static str),
    /// The address is not allowed.
    #[error(transparent)]
    Address(#[from] AddressRefused),
    /// The method has no name that HTTP allows.
    #[error("Handler for HTTP method `{0}` not registered")]
    Method(String),
    /// The name of a header is not one.
    #[error("Invalid header name `{0}`")]
    HeaderName(String),
    /// The value of a header has characters that it cannot have.
    #[error(
        "Invalid leading whitespace, reserved character(s), or return character(s) in value of header `{0}`"
    )]
    HeaderValue(String),
    /// The timeout is not positive.
    #[error(
        "Attempted to set connect timeout to {0}, but the timeout cannot be set to a value less than or equal to 0."
    )]
    Timeout(i64),
}

impl Request {
    /// A request with a new idempotency key, no body and a timeout of ten seconds for the whole
    /// exchange.
    pub fn new(method: &str, url: &str, addresses: AddressPolicy) -> Result<Self, RequestError> {
        if addresses == AddressPolicy::GlobalOnly && has_backslash_in_authority(url) {
            return Err(AddressRefused::Backslash.into());
        }
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| RequestError::Method(method.into()))?;
        let url = Url::parse(url).map_err(RequestError::Url)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(match addresses {
                AddressPolicy::Any => RequestError::Scheme(url.scheme().into()),
                AddressPolicy::GlobalOnly => AddressRefused::NotHttp.into(),
            });
        }
        Ok(Self {
            method,
            ..Self::to(url, addresses)
        })
    }

    /// A request to whatever the address names, to be posted.
    pub(super) fn to(url: Url, addresses: AddressPolicy) -> Self {
        let mut headers = HeaderMap::new();
        let key = Uuid::new_v4().to_string();
        if let Ok(value) = HeaderValue::from_str(&key) {
            headers.insert(IDEMPOTENCY_KEY, value);
        }
        Self {
            method: Method::POST,
            url,
            headers,
            body: Bytes::new(),
            timeout: Duration::from_secs(10),
            addresses,
            single_exchange: false,
        }
    }

    /// A JSON text for a receiver that the operator named: posted over HTTP, or sent as a message
    /// over `kafka://`, `mqtt://`, `nats://` or `redis://`.
    pub fn event(url: &str, json: String) -> Result<Self, RequestError> {
        let parsed = Url::parse(url).map_err(RequestError::Url)?;
        let is_http = matches!(parsed.scheme(), "http" | "https");
        if !is_http {
            Adapters::check(&parsed)?;
        }
        let first = if is_http { url } else { "http://localhost/" };
        let mut request = Self::new("POST", first, AddressPolicy::Any)?;
        request.url = parsed;
        Ok(request.body(HeaderValue::from_static("application/json"), json))
    }

    /// The same request naming the definition that made the event, in the header
    /// `X-Millrace-Definition`: `hash=…; id=…; version=…; source=…; inner=…`, those that are known, out
    /// of the `definition` of a result; `inner` has `id@hash` of each definition that it names, parted by
    /// commas. Characters that a header cannot have become `?`.
    #[must_use]
    pub fn definition(mut self, stamp: &Json) -> Self {
        let known = ["hash", "id", "version", "source"].iter();
        let mut parts: Vec<String> = known
            .filter_map(|name| Some(format!("{name}={}", stamp[*name].as_str()?)))
            .collect();
        let inner = stamp["inner"].as_array().into_iter().flatten();
        let inner: Vec<String> = inner
            .filter_map(|own| Some(format!("{}@{}", own["id"].as_str()?, own["hash"].as_str()?)))
            .collect();
        if !inner.is_empty() {
            parts.push(format!("inner={}", inner.join(",")));
        }
        let text: String = parts
            .join("; ")
            .chars()
            .map(|c| if (' '..='~').contains(&c) { c } else { '?' })
            .collect();
        if let Ok(value) = HeaderValue::from_str(&text)
            && !text.is_empty()
        {
            self.headers.insert(DEFINITION, value);
        }
        self
    }

    /// The same request with an encoded query (`a=1&b=2`) behind the one that the address has.
    #[must_use]
    pub fn query(mut self, encoded: &str) -> Self {
        if !encoded.is_empty() {
            let query = match self.url.query() {
                Some(own) if !own.is_empty() => format!("{own}&{encoded}"),
                _ => encoded.to_owned(),
            };
            self.url.set_query(Some(&query));
        }
        self
    }

    /// The same request with a body and its type, unless the type is already set.
    #[must_use]
    pub fn body(mut self, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        self.headers.entry(CONTENT_TYPE).or_insert(content_type);
        self.body = body.into();
        self
    }

    /// The same request with the HMAC-SHA256 of its body under a secret, in the header
    /// `X-Millrace-Signature`: `sha256=` and 64 hexadecimal digits. To be called after
    /// [`Self::body`].
    #[must_use]
    pub fn signed(mut self, secret: &str) -> Self {
        // HMAC takes a key of any length, so there is nothing to fail.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
            mac.update(&self.body);
            let digest = hex::encode(mac.finalize().into_bytes());
            if let Ok(value) = HeaderValue::from_str(&format!("sha256={digest}")) {
                self.headers.insert(SIGNATURE, value);
            }
        }
        self
    }

    /// The same request with a header, in place of one of that name.
    pub fn header(mut self, name: &str, value: &[u8]) -> Result<Self, RequestError> {
        let known: HeaderName = name
            .parse()
            .map_err(|_| RequestError::HeaderName(name.into()))?;
        let starts_blank = value.first().is_some_and(u8::is_ascii_whitespace);
        let mut value = HeaderValue::from_bytes(value)
            .ok()
            .filter(|_| !starts_blank)
            .ok_or_else(|| RequestError::HeaderValue(name.into()))?;
        value.set_sensitive(true);
        self.headers.insert(known, value);
        Ok(self)
    }

    /// The same request with a limit for the whole exchange.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same request with a limit in seconds, as definitions have it.
    pub fn timeout_seconds(self, seconds: i64) -> Result<Self, RequestError> {
        match u64::try_from(seconds) {
            Ok(positive @ 1..) => Ok(self.timeout(Duration::from_secs(positive))),
            _ => Err(RequestError::Timeout(seconds)),
        }
    }

    /// The same request as one exchange: redirects are not followed, and a failed attempt is not made
    /// again. For receivers that would do twice what they are told twice.
    #[must_use]
    pub fn single_exchange(mut self) -> Self {
        self.single_exchange = true;
        self
    }

    /// Where it goes, safe to show.
    pub fn redacted_url(&self) -> Redacted {
        Redacted::url(&self.url)
    }

    /// The idempotency key: of each event another, and the same on every attempt.
    pub(super) fn key(&self) -> &str {
        let key = self.headers.get(IDEMPOTENCY_KEY);
        key.and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Who receives it: scheme, host and port. Requests to one receiver share a queue.
    pub fn receiver(&self) -> String {
        if matches!(self.url.scheme(), "http" | "https") {
            return self.url.origin().ascii_serialization();
        }
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().map(|port| format!(":{port}"));
        format!("{}://{host}{}", self.url.scheme(), port.unwrap_or_default())
    }

    /// Bytes that it takes while it waits: its body, and a round number for the rest.
    pub fn size(&self) -> usize {
        self.body.len() + 1024
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} ({} bytes)",
            self.method,
            self.redacted_url(),
            self.body.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(url: &str) -> Result<Request, RequestError> {
        Request::new("POST", url, AddressPolicy::Any)
    }

    #[test]
    fn a_query_goes_behind_that_of_the_address() {
        let request = post("http://h/p?a=1").unwrap().query("b=x+y&b=%C3%A9");
        assert_eq!(request.url.as_str(), "http://h/p?a=1&b=x+y&b=%C3%A9");
        let without = post("http://h/p").unwrap().query("");
        assert_eq!(without.url.as_str(), "http://h/p");
    }

    #[test]
    fn a_type_set_by_hand_wins_and_headers_are_checked() {
        let request = post("http://h/")
            .unwrap()
            .header("content-type", b"application/vnd.x+json")
            .unwrap()
            .body(HeaderValue::from_static("application/json"), "{}");
        assert_eq!(request.headers[CONTENT_TYPE], "application/vnd.x+json");
        for (name, value) in [("a b", "x"), ("a", " x"), ("a", "x\r\nEvil: 1")] {
            assert!(
                post("http://h/")
                    .unwrap()
                    .header(name, value.as_bytes())
                    .is_err()
            );
        }
    }

    #[test]
    fn addresses_that_lead_nowhere_are_refused() {
        for (url, text) in [
            (
                "hook",
                "Invalid URL (relative URL without a base), use http://HOST/PATH or https://HOST/PATH",
            ),
            (
                "ftp://h/",
                "No connection adapters were found for scheme `ftp`, use http or https",
            ),
        ] {
            assert_eq!(post(url).unwrap_err().to_string(), text);
        }
        let strict = |url| Request::new("POST", url, AddressPolicy::GlobalOnly).unwrap_err();
        assert_eq!(
            strict("http://a.com\\@127.0.0.1/").to_string(),
            "Webhook URL authority contains a backslash"
        );
        assert_eq!(
            strict("ftp://h/").to_string(),
            "Webhook requires an HTTP(S) URL with a valid host"
        );
        let timeout = post("http://h/").unwrap().timeout_seconds(0);
        assert!(matches!(timeout, Err(RequestError::Timeout(0))));
    }

    #[test]
    fn a_body_is_signed() {
        // Test case 2 of RFC 4231.
        let json = HeaderValue::from_static("text/plain");
        let request = post("http://h/").unwrap();
        let request = request
            .body(json, "what do ya want for nothing?")
            .signed("Jefe");
        assert_eq!(
            request.headers[SIGNATURE],
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn an_event_names_the_definition_that_made_it() {
        let stamp =
            serde_json::json!({"hash": "d86e34748e80", "version": null, "source": "f\u{e9}"});
        let request = post("http://h/").unwrap().definition(&stamp);
        assert_eq!(request.headers[DEFINITION], "hash=d86e34748e80; source=f?");
        let inner = serde_json::json!([{"id": "w/a", "hash": "1a"}, {"id": "w/b@3", "hash": "2b"}]);
        let stamp = serde_json::json!({"source": "platform", "hash": "d8", "version": "v7",
            "id": "w/f", "inner": inner});
        let request = post("http://h/").unwrap().definition(&stamp);
        assert_eq!(
            request.headers[DEFINITION],
            "hash=d8; id=w/f; version=v7; source=platform; inner=w/a@1a,w/b@3@2b"
        );
        let without = post("http://h/").unwrap().definition(&Json::Null);
        assert!(!without.headers.contains_key(DEFINITION));
    }

    #[test]
    fn secrets_do_not_show() {
        let request = post("https://u:p@h/x?k=v")
            .unwrap()
            .header("authorization", b"s3cret");
        let shown = format!("{:?}", request.unwrap());
        assert_eq!(shown, "POST https://***@h/x?k=*** (0 bytes)");
    }
}
