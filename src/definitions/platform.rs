//! The platform's side: one request for one definition.
//!
//! `GET {API_BASE_URL}/{workspace}/workflows/{workflow_id}?api_key=K[&workflow_version=V]`. The key
//! is in the address, so no error of the HTTP library is shown with its address, and no `Referer`
//! is sent along on redirects. Answers are read up to a limit, so that a wrong address that streams
//! without end cannot fill the memory.

use std::error::Error as StdError;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::DateTime;
use reqwest::header::{DATE, ETAG, HeaderMap, IF_NONE_MATCH, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, StatusCode};
use url::Url;

use super::answer::Answer;
use super::error::PlatformError;
use super::key::{ApiKey, PlatformKey};
use super::settings::PlatformSettings;
use crate::clock::Clock;
use crate::values::Timestamp;

/// Version of the reference server whose protocol this is; the platform may ask for one.
pub(crate) const PROTOCOL_VERSION: &str = "1.8.3";
/// Largest answer that is read.
const MAX_ANSWER: usize = 32 << 20;
/// Time that a connection may take to come about, if the whole exchange has more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects followed for one request, as the reference does.
const MAX_REDIRECTS: usize = 30;

/// What the platform answered.
#[derive(Debug)]
pub(super) enum Reply {
    /// A definition.
    New {
        /// The definition.
        answer: Answer,
        /// The answer as it came, for the disk copy.
        body: Bytes,
        /// What to compare with next time.
        etag: Option<String>,
    },
    /// The definition that was compared with is still the published one.
    Same,
}

/// How the platform answers when no definition is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Greeting {
    /// HTTP status: 401 for a key that it does not know.
    pub status: u16,
    /// The workspace that the key belongs to.
    pub workspace: Option<String>,
    /// The time that it has.
    pub date: Option<Timestamp>,
}

/// Asks the platform. The connection is made with the first request.
pub(super) struct Platform {
    settings: PlatformSettings,
    client: OnceLock<Result<Client, String>>,
}

impl Platform {
    pub(super) fn new(settings: PlatformSettings) -> Self {
        Self {
            settings,
            client: OnceLock::new(),
        }
    }

    /// Asks for a definition; with `etag` only if it is another than that one. Attempts that fail
    /// for a reason that the settings call passing are made again.
    pub(super) async fn fetch(
        &self,
        key: &PlatformKey,
        etag: Option<&str>,
        clock: &dyn Clock,
    ) -> Result<Reply, PlatformError> {
        let again = &self.settings.again;
        let mut left = again.retries;
        loop {
            let reply = self.attempt(key, etag, clock).await;
            let passing = match &reply {
                Err(PlatformError::Status { status, .. } | PlatformError::Refused { status }) => {
                    again.statuses.contains(status)
                }
                Err(PlatformError::Unreachable { .. } | PlatformError::Timeout { .. }) => {
                    again.connections
                }
                _ => false,
            };
            if !passing || left == 0 {
                return reply;
            }
            left -= 1;
            tokio::time::sleep(again.interval).await;
        }
    }

    async fn attempt(
        &self,
        key: &PlatformKey,
        etag: Option<&str>,
        clock: &dyn Clock,
    ) -> Result<Reply, PlatformError> {
        let mut request = self.headed(self.client()?.get(self.address(key)));
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = request.send().await.map_err(|e| self.failure(e))?;
        let status = response.status();
        if status == StatusCode::NOT_MODIFIED && etag.is_some() {
            return Ok(Reply::Same);
        }
        if !status.is_success() {
            let asked = retry_after(response.headers(), clock);
            return Err(PlatformError::of_status(status.as_u16(), asked));
        }
        let etag = response
            .headers()
            .get(ETAG)
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let body = self.body(response).await?;
        let answer = Answer::parse(&body).map_err(|reason| PlatformError::Garbage { reason })?;
        Ok(Reply::New { answer, body, etag })
    }

    /// Asks whom a key belongs to (`GET {API_BASE_URL}/?api_key=K&nocache=true`).
    pub(super) async fn greet(&self, key: Option<&ApiKey>) -> Result<Greeting, PlatformError> {
        let mut url = self.settings.base.clone();
        if let Some(key) = key {
            url.query_pairs_mut().append_pair("api_key", key.expose());
        }
        url.query_pairs_mut().append_pair("nocache", "true");
        let request = self.headed(self.client()?.get(self.through_gateway(url)));
        let response = request.send().await.map_err(|e| self.failure(e))?;
        let status = response.status().as_u16();
        let date = response
            .headers()
            .get(DATE)
            .and_then(|date| DateTime::parse_from_rfc2822(date.to_str().ok()?).ok())
            .map(Timestamp::zoned);
        let body = self.body(response).await?;
        let body: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let workspace = body.and_then(|b| Some(b.get("workspace")?.as_str()?.to_owned()));
        Ok(Greeting {
            status,
            workspace,
            date,
        })
    }

    /// The headers of every request.
    fn headed(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request
            .header("X-Roboflow-Inference-Version", PROTOCOL_VERSION)
            .header("X-Allow-Chunked", "true");
        let extra = self.settings.headers.iter();
        extra.fold(request, |request, (name, value)| {
            request.header(name, value)
        })
    }

    async fn body(&self, mut response: Response) -> Result<Bytes, PlatformError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.failure(e))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                let reason = format!("it is longer than {MAX_ANSWER} bytes");
                return Err(PlatformError::Garbage { reason });
            }
        }
        Ok(body.freeze())
    }

    fn address(&self, key: &PlatformKey) -> Url {
        let mut url = self.settings.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .extend([key.workspace(), "workflows", key.workflow()]);
        }
        if let Some(api_key) = key.api_key() {
            url.query_pairs_mut()
                .append_pair("api_key", api_key.expose());
        }
        if let Some(version) = key.version() {
            url.query_pairs_mut()
                .append_pair("workflow_version", version);
        }
        self.through_gateway(url)
    }

    fn through_gateway(&self, url: Url) -> Url {
        self.settings.through_gateway(url)
    }

    fn failure(&self, error: reqwest::Error) -> PlatformError {
        if error.is_timeout() {
            let limit = self.settings.timeout;
            return PlatformError::Timeout { limit };
        }
        let redirects = error.is_redirect();
        let reason = reason(&error.without_url());
        if redirects {
            PlatformError::Garbage { reason }
        } else {
            PlatformError::Unreachable { reason }
        }
    }

    fn client(&self) -> Result<&Client, PlatformError> {
        self.client
            .get_or_init(|| {
                let trusting = self.builder().build();
                // Where the machine has no certificate authorities, https fails its check and http
                // works all the same.
                let client = trusting.or_else(|_| self.builder().tls_certs_only([]).build());
                client.map_err(|e| reason(&e.without_url()))
            })
            .as_ref()
            .map_err(|reason| PlatformError::Unreachable {
                reason: reason.clone(),
            })
    }

    fn builder(&self) -> ClientBuilder {
        let timeout = self.settings.timeout;
        Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(CONNECT_TIMEOUT))
            .redirect(reqwest::redirect::Policy::limited(MAX_REDIRECTS))
            .referer(false)
            .tls_danger_accept_invalid_certs(!self.settings.verify_tls)
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
    }
}

/// The innermost causes of an error; the outer ones only say that a request failed.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        causes.push(inner.to_string());
        cause = inner.source();
    }
    let start = causes.len().saturating_sub(2);
    match &causes[start..] {
        [] => error.to_string(),
        [outer, inner] if outer.contains(inner.as_str()) => outer.clone(),
        last => last.join(": "),
    }
}

/// The wait that an answer asks for: seconds, or a date compared with the clock.
fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Duration::try_from_secs_f64(date.timestamp() as f64 - clock.now().unix_seconds()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definitions::{ApiKey, Settings};

    fn address(base: &str, gateway: Option<&str>, key: &PlatformKey) -> String {
        let mut settings = Settings::new(Url::parse(base).unwrap(), "/tmp").platform;
        settings.gateway = gateway.map(|g| Url::parse(g).unwrap());
        Platform::new(settings).address(key).to_string()
    }

    #[test]
    fn addresses_are_those_of_the_reference() {
        let key = |version, api_key: Option<&str>| {
            PlatformKey::new(
                "test-workspace",
                "tagged",
                version,
                api_key.map(ApiKey::new),
            )
        };
        let base = "http://platform.example";
        assert_eq!(
            address(base, None, &key(None, Some("K1"))),
            "http://platform.example/test-workspace/workflows/tagged?api_key=K1"
        );
        assert_eq!(
            address(base, None, &key(Some("ver-7"), Some("K1"))),
            "http://platform.example/test-workspace/workflows/tagged?api_key=K1&workflow_version=ver-7"
        );
        for none in [None, Some("local")] {
            assert_eq!(
                address("http://platform.example/api/", None, &key(None, none)),
                "http://platform.example/api/test-workspace/workflows/tagged"
            );
        }
        assert_eq!(
            address(base, Some("http://gate:80/"), &key(None, Some("K1"))),
            "http://gate/proxy?url=http%3A%2F%2Fplatform.example%2Ftest-workspace%2Fworkflows%2Ftagged%3Fapi_key%3DK1"
        );
    }

    #[test]
    fn ids_cannot_leave_their_place_in_the_address() {
        let key = PlatformKey::new("a/../b", "w?x#y z", None, None);
        assert_eq!(
            address("http://p", None, &key),
            "http://p/a%2F..%2Fb/workflows/w%3Fx%23y%20z"
        );
    }
}
