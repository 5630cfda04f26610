//! Requests of the doctor: short, bounded in time and size, and never shown with their address.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap};
use reqwest::{Client, ClientBuilder};
use serde_json::Value as Json;
use url::Url;

/// Largest answer that is read; the rest is left.
const MAX_BODY: usize = 8 << 20;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON, or null.
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or(Json::Null)
    }

    /// What the other side says the time is, in seconds since 1970.
    pub fn date(&self) -> Option<i64> {
        let text = self.headers.get(DATE)?.to_str().ok()?;
        let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
        Some(date.timestamp())
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nobody accepts connections.
    NotConnected(String),
    /// Somebody does, and gave no answer in time.
    Timeout,
    /// What came is no HTTP, or the connection broke.
    Broken(String),
}

impl std::fmt::Display for Silence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotConnected(reason) | Self::Broken(reason) => f.write_str(reason),
            Self::Timeout => f.write_str("no answer in time"),
        }
    }
}

/// A client for servers of this machine: no proxy stands between.
pub(super) fn local_client(limit: Duration) -> Result<Client, String> {
    built(Client::builder().no_proxy(), limit)
}

/// A client for the platform, through the proxies of the environment.
pub(super) fn platform_client(limit: Duration, verify_tls: bool) -> Result<Client, String> {
    let builder = Client::builder()
        .referer(false)
        .tls_danger_accept_invalid_certs(!verify_tls);
    built(builder, limit)
}

fn built(builder: ClientBuilder, limit: Duration) -> Result<Client, String> {
    builder
        .timeout(limit)
        .connect_timeout(limit)
        .user_agent(concat!("millrace-doctor/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| reason(&error))
}

/// Asks once.
pub(super) async fn get(client: &Client, url: Url, headers: HeaderMap) -> Result<Reply, Silence> {
    let sent = client.get(url).headers(headers).send().await;
    let mut response = sent.map_err(|e| silence(&e))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    while body.len() < MAX_BODY {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Err(silence(&error)),
        }
    }
    Ok(Reply {
        status,
        headers,
        body,
    })
}

fn silence(error: &reqwest::Error) -> Silence {
    if error.is_timeout() {
        Silence::Timeout
    } else if error.is_connect() {
        Silence::NotConnected(reason(error))
    } else {
        Silence::Broken(reason(error))
    }
}

/// The innermost cause of an error; the outer ones only say that a request failed, and with which
/// address.
fn reason(error: &reqwest::Error) -> String {
    let mut innermost = None;
    let mut cause = error.source();
    while let Some(inner) = cause {
        innermost = Some(inner.to_string());
        cause = inner.source();
    }
    innermost.unwrap_or_else(|| "the request failed".into())
}

/// Waits for what a check does over the network, on the thread of the check.
pub(super) fn wait<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    Ok(runtime.block_on(work))
}
