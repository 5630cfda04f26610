//! Calls to a running server.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::Value as Json;
use tokio::runtime::Runtime;

use crate::redact::Redacted;

/// Longest wait for an answer: a start waits for the platform.
const PATIENCE: Duration = Duration::from_secs(130);

/// A server to talk to.
pub(super) struct Server {
    base: String,
    name: Redacted,
    token: Option<String>,
    client: reqwest::Client,
    runtime: Runtime,
}

impl Server {
    /// The server at an address.
    ///
    /// # Errors
    /// If the address is none of HTTP.
    pub(super) fn new(address: &str, token: Option<&str>) -> Result<Self, String> {
        let name = Redacted::text(address);
        let url = url::Url::parse(address).ok();
        if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https")) {
            return Err("--server: write http://HOST:PORT".into());
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        let client = reqwest::Client::builder().timeout(PATIENCE).build();
        Ok(Self {
            base: address.trim_end_matches('/').to_owned(),
            name,
            token: token.filter(|t| !t.is_empty()).map(str::to_owned),
            client: client.map_err(|e| e.without_url().to_string())?,
            runtime,
        })
    }

    /// Its address, safe to show.
    pub(super) fn name(&self) -> &Redacted {
        &self.name
    }

    /// Asks.
    ///
    /// # Errors
    /// If no server answers, or it refuses.
    pub(super) fn get(&self, path: &str) -> Result<Json, String> {
        self.answer(self.request(Method::GET, path))
    }

    /// Tells.
    ///
    /// # Errors
    /// If no server answers, or it refuses.
    pub(super) fn post(&self, path: &str, body: &Json) -> Result<Json, String> {
        self.answer(self.request(Method::POST, path).json(body))
    }

    /// Takes away.
    ///
    /// # Errors
    /// If no server answers, or it refuses.
    pub(super) fn delete(&self, path: &str) -> Result<Json, String> {
        self.answer(self.request(Method::DELETE, path))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.header("x-millrace-token", token),
            None => request,
        }
    }

    fn answer(&self, request: RequestBuilder) -> Result<Json, String> {
        let name = &self.name;
        let unreachable = |e: reqwest::Error| {
            format!(
                "no millrace answers at {name}: {}; start one with `millrace serve`, or name it with --server",
                e.without_url()
            )
        };
        let (status, text) = self.runtime.block_on(async {
            let answer = request.send().await.map_err(unreachable)?;
            let status = answer.status();
            Ok::<_, String>((status, answer.text().await.map_err(unreachable)?))
        })?;
        let json: Option<Json> = serde_json::from_str(&text).ok();
        match (status.as_u16(), json) {
            (200..=299, Some(json)) => Ok(json),
            (200..=299, None) => Err(format!("what answers at {name} is no millrace")),
            (401, _) => Err(format!(
                "{name} asks for its token: give --token or MILLRACE_TOKEN"
            )),
            (code, json) => {
                let why = json.as_ref().and_then(refusal).unwrap_or(text);
                Err(format!("{name} refused ({code}): {why}"))
            }
        }
    }
}

/// Why a server refuses, in its own words.
fn refusal(answer: &Json) -> Option<String> {
    if let Some(problems) = answer["detail"].as_array() {
        let problem = |problem: &Json| {
            let place = problem["loc"].as_array()?.iter().skip(1);
            let place: Vec<String> = place.map(super::table::text).collect();
            Some(format!("{}: {}", place.join("."), problem["msg"].as_str()?))
        };
        let problems: Vec<String> = problems.iter().filter_map(problem).collect();
        return Some(problems.join("; "));
    }
    let reason = answer["millrace"]["reason"].as_str();
    let text = reason
        .or(answer["message"].as_str())
        .or(answer["detail"].as_str())?;
    Some(text.to_owned())
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let Ok(mut url) = url::Url::parse("http://h/") else {
        return String::new();
    };
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(text);
    }
    url.path()[1..].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_cannot_leave_their_segment() {
        assert_eq!(segment("gate"), "gate");
        assert_eq!(segment("yard/north 1"), "yard%2Fnorth%201");
        assert_eq!(segment("a?b#c"), "a%3Fb%23c");
    }

    #[test]
    fn refusals_are_told_in_the_servers_words() {
        let detail = json!({"detail": [{"loc": ["body", "video_configuration", "video_reference"], "msg": "Field required"}]});
        assert_eq!(
            refusal(&detail).unwrap(),
            "video_configuration.video_reference: Field required"
        );
        let mut message = json!({"message": "there is no stream x"});
        assert_eq!(refusal(&message).unwrap(), "there is no stream x");
        message["millrace"] = json!({"reason": "there is no x at all"});
        assert_eq!(refusal(&message).unwrap(), "there is no x at all");
        assert_eq!(refusal(&json!([])), None);
    }

    #[test]
    fn only_addresses_of_http_are_taken_and_secrets_are_not_shown() {
        assert!(Server::new("ftp://h", None).is_err());
        let server = Server::new("http://u:hunter2@127.0.0.1:9", None).unwrap();
        let told = server.get("/streams").unwrap_err();
        assert!(told.contains("no millrace answers"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
