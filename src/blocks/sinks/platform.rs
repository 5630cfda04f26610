//! Requests of sinks to the platform: its address, the key, headers, and what its errors say.

use std::time::Duration;

use serde_json::Value as Json;
use url::form_urlencoded::byte_serialize;

use super::sending::Sending;
use crate::blocks::{BlockError, Context};
use crate::definitions::ApiKey;
use crate::delivery::{AddressPolicy, Errand, Exchange, Failure, Reply, Slot, Trouble};
use crate::values::Image;
use crate::values::codec::encode_jpeg;
use crate::values::serialise::{OutputOptions, serialise};

/// How long it counts as known which workspace a key belongs to.
const WORKSPACE: Duration = Duration::from_secs(900);

/// The key that a request brought, or that of the process.
pub(super) fn key(cx: &Context<'_>, block: &str) -> Result<ApiKey, BlockError> {
    let services = cx.services;
    let key = services.api_key.as_ref();
    let key = key.or(services.sinks.settings.api_key.as_ref());
    key.cloned().ok_or_else(|| {
        BlockError::failed(format!(
            "{block} block cannot run without Roboflow API key. Set ROBOFLOW_API_KEY or send `api_key` with the request"
        ))
    })
}

/// A text as a part of an address.
pub(super) fn quoted(text: &str) -> String {
    let form: String = byte_serialize(text.as_bytes()).collect();
    // A form writes a blank as `+`, which a path has for itself.
    form.replace('+', "%20")
}

/// An address of the platform; the query holds the key.
pub(super) fn url(cx: &Context<'_>, path: &str, key: &ApiKey) -> String {
    let base = &cx.services.sinks.settings.platform;
    format!("{base}{path}?api_key={}", quoted(key.expose()))
}

/// An address of a service of the platform.
pub(super) fn proxy_url(cx: &Context<'_>, service: &str, key: &ApiKey) -> String {
    let base = &cx.services.sinks.settings.proxy;
    format!("{base}/apiproxy/{service}?api_key={}", quoted(key.expose()))
}

/// A request with the headers that the platform wants.
pub(super) fn exchange(cx: &Context<'_>, method: &str, url: String) -> Exchange {
    let mut exchange = Exchange::new(method, url)
        .through(cx.services.sinks.settings.gateway.as_ref())
        .header("x-roboflow-inference-version", env!("CARGO_PKG_VERSION"))
        .header("x-allow-chunked", "true");
    for (name, value) in &cx.services.sinks.settings.headers {
        exchange = exchange.header(name, value.clone());
    }
    exchange
}

/// Asks which workspace a key belongs to, unless that is known; the answer goes into the slot.
pub(super) fn workspace(cx: &Context<'_>, key: &ApiKey, slot: &Slot) -> Exchange {
    let address = format!("{}&nocache=true", url(cx, "/", key));
    exchange(cx, "GET", address)
        .keep(slot, "/workspace")
        .stays(WORKSPACE)
}

/// An errand to the platform.
pub(super) fn sending<'a>(errand: &'a Errand, cx: &Context<'_>) -> Sending<'a> {
    Sending {
        errand,
        addresses: AddressPolicy::Any,
        timeout: cx.services.sinks.settings.timeout,
        offline: cx.services.sinks.settings.offline,
    }
}

/// The image as JPEG.
pub(super) fn jpeg(image: &Image, quality: u8) -> Result<Vec<u8>, BlockError> {
    encode_jpeg(&image.bgr(), quality).map_err(|error| BlockError::failed(error.to_string()))
}

/// A value as JSON, as it stands in results.
pub(super) fn json(value: &crate::values::Value, cx: &Context<'_>) -> Result<Json, BlockError> {
    let written = serialise(&["*"], value, &OutputOptions::new(cx.now()));
    written.map_err(|error| BlockError::failed(error.to_string()))
}

/// What an error of the platform reads as.
pub(super) fn error_text(trouble: &Trouble) -> String {
    match &trouble.failure {
        Failure::Timeout { .. } => "Timeout when attempting to connect to Roboflow API.".into(),
        Failure::Network { .. } => "Could not connect to Roboflow API.".into(),
        Failure::Offline => "Could not connect to Roboflow API: OFFLINE_MODE is enabled.".into(),
        Failure::Status { status, .. } => match status {
            401 => "Unauthorized access to roboflow API - check API key.".into(),
            402 => "Not enough credits to perform this request. Verify your workspace billing page."
                .into(),
            403 => "Unauthorized access to roboflow API - check API key regarding correctness and required scopes.".into(),
            404 => "Could not find requested Roboflow resource.".into(),
            other => format!("Unsuccessful request to Roboflow API with response code: {other}"),
        },
        other => other.to_string(),
    }
}

/// What kind of error it is.
pub(super) fn error_type(trouble: &Trouble) -> &'static str {
    match &trouble.failure {
        Failure::Timeout { .. } => "RoboflowAPITimeoutError",
        Failure::Network { .. } | Failure::Offline => "RoboflowAPIConnectionError",
        Failure::Status { status, .. } => match status {
            401 | 403 => "RoboflowAPINotAuthorizedError",
            402 => "PaymentRequiredError",
            404 => "RoboflowAPINotNotFoundError",
            _ => "RoboflowAPIUnsuccessfulRequestError",
        },
        _ => "RoboflowAPIRequestError",
    }
}

/// What a service of the platform says against a mail or a message.
pub(super) fn proxy_text(trouble: &Trouble) -> String {
    let detail = |reply: &Reply| {
        let json = reply.json();
        let text = json["details"].as_str().or_else(|| json["error"].as_str());
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let reply = trouble.reply.as_ref();
    let reply = reply.filter(|reply| matches!(reply.status, 403 | 413 | 429));
    let text = reply.and_then(detail);
    text.unwrap_or_else(|| error_text(trouble))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_addresses_are_quoted() {
        assert_eq!(quoted("a b/c?d+e"), "a%20b%2Fc%3Fd%2Be");
    }
}
