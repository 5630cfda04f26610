//! Several HTTP exchanges that make one event: an upload and what is said about it.
//!
//! An [`Errand`] is a list of [`Exchange`]s made in order. A later one may carry what an earlier one
//! was answered: [`Slot::text`] stands in its address or body until the value is known. An exchange
//! can ask for a true value in the answer, for services that refuse with status 200. As a
//! [`Request`] ([`Errand::request`]) an errand waits in the outbox and is tried again as a whole, so
//! each exchange carries the same `Idempotency-Key` on every attempt; its stored form is compressed
//! and shows no token.

mod remembered;
mod run;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use url::Url;
use url::form_urlencoded::byte_serialize;
use uuid::Uuid;

use super::address::AddressPolicy;
use super::request::{Request, RequestError};
use crate::definitions::behind;

pub(super) use remembered::Remembered;
pub(super) use run::deliver;

/// What an errand's address starts with in front of that of its first exchange.
const SCHEME: &str = "errand+";
/// Bytes that a stored errand may unpack to.
const MAX_STORED: u64 = 512 << 20;

/// A value that an answer brings and a later exchange carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot(String);

impl Slot {
    /// A slot of its own.
    pub fn new() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    /// What stands for the value until it is known.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

/// One request and what its answer must say.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Exchange {
    /// HTTP method.
    pub method: String,
    /// Address; a slot in it is written as part of an address, one that is all of it as it is.
    pub url: String,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body, with slots written as inside a JSON text, or as a form has them.
    #[serde(with = "body_text")]
    pub body: Vec<u8>,
    /// Values kept of the answer, by JSON pointer.
    pub keep: Vec<(Slot, String)>,
    /// JSON pointers of which one must lead to something true; empty for none.
    pub want: Vec<String>,
    /// JSON pointer of the reason if none does.
    pub reason: String,
    /// JSON pointer of what makes the remaining exchanges needless if it is true.
    pub done: Option<String>,
    /// A gateway that is asked in place of the address.
    #[serde(default)]
    pub gateway: Option<String>,
    /// For how long a good answer stays true: until then it is not asked for again.
    #[serde(default)]
    pub stays: Option<Duration>,
}

mod body_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

impl Exchange {
    /// A request without a body.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            reason: "/error".into(),
            ..Self::default()
        }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a body of this type.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut exchange = self.header("content-type", content_type);
        exchange.body = body.into();
        exchange
    }

    /// The same with a JSON body.
    #[must_use]
    pub fn json(self, json: &Json) -> Self {
        self.body("application/json", json.to_string())
    }

    /// The same keeping a value of the answer.
    #[must_use]
    pub fn keep(mut self, slot: &Slot, pointer: &str) -> Self {
        self.keep.push((slot.clone(), pointer.into()));
        self
    }

    /// The same asking for one of these to be true.
    #[must_use]
    pub fn want(mut self, pointers: &[&str]) -> Self {
        self.want = pointers.iter().map(|p| (*p).to_owned()).collect();
        self
    }

    /// The same through a gateway, if there is one.
    #[must_use]
    pub fn through(mut self, gateway: Option<&Url>) -> Self {
        self.gateway = gateway.map(Url::to_string);
        self
    }

    /// The same with an answer that stays true for a while.
    #[must_use]
    pub fn stays(mut self, time: Duration) -> Self {
        self.stays = Some(time);
        self
    }

    /// The same ending the errand if this is true.
    #[must_use]
    pub fn done(mut self, pointer: &str) -> Self {
        self.done = Some(pointer.into());
        self
    }

    /// Whether it needs something out of the answer.
    fn asks(&self) -> bool {
        let values = self.keep.len() + self.want.len();
        values > 0 || self.done.is_some() || self.stays.is_some()
    }

    fn request(
        &self,
        addresses: AddressPolicy,
        kept: &HashMap<String, String>,
    ) -> Result<Request, RequestError> {
        let url = match kept.get(&self.url) {
            Some(whole) => whole.clone(),
            None => filled(&self.url, kept, quoted),
        };
        let mut request = Request::new(&self.method, &url, addresses)?;
        if let Some(gateway) = &self.gateway {
            let gateway = Url::parse(gateway).map_err(RequestError::Url)?;
            request.url = behind(&gateway, &request.url);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value.as_bytes())?;
        }
        request.body = Bytes::from(self.filled_body(kept));
        Ok(request)
    }

    fn filled_body(&self, kept: &HashMap<String, String>) -> Vec<u8> {
        let Ok(text) = std::str::from_utf8(&self.body) else {
            return self.body.clone();
        };
        let form = "application/x-www-form-urlencoded";
        let is_form = self.headers.iter().any(|(_, value)| value == form);
        let write = |value: &str| match is_form {
            true => byte_serialize(value.as_bytes()).collect(),
            false => {
                let quoted = Json::from(value).to_string();
                quoted.trim_matches('"').to_owned()
            }
        };
        filled(text, kept, write).into_bytes()
    }

    /// What is wrong with an answer of a good status.
    fn refusal(&self, answer: &Json) -> Option<String> {
        let holds = |pointer: &String| answer.pointer(pointer).is_some_and(is_true);
        if self.want.is_empty() || self.want.iter().any(holds) {
            return None;
        }
        Some(match answer.pointer(&self.reason) {
            Some(Json::String(reason)) => reason.clone(),
            Some(Json::Null) | None => "Not Available.".to_owned(),
            Some(other) => other.to_string(),
        })
    }
}

fn filled(text: &str, kept: &HashMap<String, String>, write: impl Fn(&str) -> String) -> String {
    let mut text = text.to_owned();
    for (slot, value) in kept {
        if text.contains(slot.as_str()) {
            text = text.replace(slot.as_str(), &write(value));
        }
    }
    text
}

/// A value as a part of an address; a form writes a blank as `+`, which a path has for itself.
fn quoted(value: &str) -> String {
    let form: String = byte_serialize(value.as_bytes()).collect();
    form.replace('+', "%20")
}

/// Whether Python takes a value for true.
pub(super) fn is_true(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(b) => *b,
        Json::Number(n) => n.as_f64() != Some(0.0),
        Json::String(s) => !s.is_empty(),
        Json::Array(a) => !a.is_empty(),
        Json::Object(o) => !o.is_empty(),
    }
}

/// Exchanges that make one event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Errand(Vec<Exchange>);

impl Errand {
    /// Exchanges in their order.
    pub fn new(exchanges: Vec<Exchange>) -> Self {
        Self(exchanges)
    }

    /// The errand as an event: it goes to the receiver of its first exchange.
    ///
    /// # Errors
    /// If the first address is none, or a header cannot be.
    pub fn request(
        &self,
        addresses: AddressPolicy,
        timeout: Duration,
    ) -> Result<Request, RequestError> {
        let none = HashMap::new();
        let mut receiver = String::new();
        for (i, exchange) in self.0.iter().enumerate() {
            // An address that an answer brings is looked at when it is there.
            if i == 0 || Url::parse(&exchange.url).is_ok() {
                let request = exchange.request(addresses, &none)?;
                if i == 0 {
                    receiver = request.receiver();
                }
            }
        }
        let url = Url::parse(&format!("{SCHEME}{receiver}/")).map_err(RequestError::Url)?;
        let mut request = Request::to(url, addresses).timeout(timeout);
        request.body = Bytes::from(self.packed());
        Ok(request)
    }

    fn packed(&self) -> Vec<u8> {
        let json = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
        let written = packer.write_all(&json).and_then(|()| packer.finish());
        written.unwrap_or_default()
    }

    fn unpacked(body: &[u8]) -> Option<Self> {
        let mut json = Vec::new();
        let mut unpacker = ZlibDecoder::new(body).take(MAX_STORED);
        unpacker.read_to_end(&mut json).ok()?;
        serde_json::from_slice(&json).ok().map(Self)
    }
}

/// Whether a request is an errand.
pub(super) fn is_errand(request: &Request) -> bool {
    request.url.scheme().starts_with(SCHEME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kept_values_are_written_as_their_place_asks() {
        let slot = Slot::new();
        let kept = HashMap::from([(slot.0.clone(), "a \"b\"/c".to_owned())]);
        let url = format!("http://h/{}/x", slot.text());
        let exchange = Exchange::new("POST", url).json(&json!({"id": slot.text()}));
        let request = exchange.request(AddressPolicy::Any, &kept).unwrap();
        assert_eq!(request.url.as_str(), "http://h/a%20%22b%22%2Fc/x");
        assert_eq!(&request.body[..], br#"{"id":"a \"b\"/c"}"#);
        let whole = Exchange::new("POST", slot.text());
        let kept = HashMap::from([(slot.0.clone(), "https://files/up?x=1".to_owned())]);
        let request = whole.request(AddressPolicy::Any, &kept).unwrap();
        assert_eq!(request.url.as_str(), "https://files/up?x=1");
    }

    #[test]
    fn a_stored_errand_comes_back_and_shows_no_token() {
        let exchange = Exchange::new("POST", "https://h/p?api_key=k3y")
            .header("authorization", "Bearer t0ken")
            .body("image/jpeg", vec![0xff, 0, 0xd8]);
        let errand = Errand::new(vec![exchange]);
        let request = errand
            .request(AddressPolicy::Any, Duration::from_secs(1))
            .unwrap();
        assert_eq!(request.receiver(), "errand+https://h");
        assert!(is_errand(&request));
        let text = String::from_utf8_lossy(&request.body);
        assert!(!text.contains("t0ken") && !text.contains("k3y"));
        let back = Errand::unpacked(&request.body).unwrap();
        assert_eq!(back.0[0].body, [0xff, 0, 0xd8]);
        assert_eq!(back.0[0].headers[0].1, "Bearer t0ken");
        assert!(Errand::unpacked(b"nonsense").is_none());
    }

    #[test]
    fn a_refusal_in_a_good_answer_is_seen() {
        let exchange = Exchange::new("POST", "http://h/").want(&["/ok"]);
        assert_eq!(exchange.refusal(&json!({"ok": true})), None);
        let wrong = exchange.refusal(&json!({"ok": false, "error": "invalid_auth"}));
        assert_eq!(wrong.as_deref(), Some("invalid_auth"));
        assert_eq!(
            exchange.refusal(&Json::Null).as_deref(),
            Some("Not Available.")
        );
    }

    #[test]
    fn a_gateway_is_asked_for_the_address_with_its_values() {
        let slot = Slot::new();
        let kept = HashMap::from([(slot.0.clone(), "my ws".to_owned())]);
        let gateway = Url::parse("http://gw:8080/").unwrap();
        let url = format!("https://api/{}/x?api_key=k", slot.text());
        let exchange = Exchange::new("GET", url).through(Some(&gateway));
        let request = exchange.request(AddressPolicy::Any, &kept).unwrap();
        assert_eq!(
            request.url.as_str(),
            "http://gw:8080/proxy?url=https%3A%2F%2Fapi%2Fmy%2520ws%2Fx%3Fapi_key%3Dk"
        );
    }
}
