//! One attempt to deliver a request: connect, send, read the status.
//!
//! Redirects are followed here and not by the HTTP library, because each hop has to pass the
//! address policy and because the reference's rules for the method after a redirect are these:
//! 303 turns into GET, 302 too, 301 only for POST, 307 and 308 keep method and body. Credentials
//! do not follow to another host. Only the status of an answer counts; its body is thrown away.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION, PROXY_AUTHORIZATION, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, StatusCode};
use url::Url;

use super::adapters::Adapters;
use super::address::{self, AddressPolicy, AddressRefused};
use super::request::{Request, RequestError};
use super::{errand, mail, retry};
use crate::clock::Clock;
use crate::network::{self, CheckedResolver};
use crate::redact::Redacted;

/// Redirects followed for one attempt.
const MAX_REDIRECTS: usize = 30;
/// Bytes of an answer that are read so that its connection can be used again.
const MAX_ANSWER: usize = 64 * 1024;
/// Time that a connection may take to come about, if the whole exchange has more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a receiver answered to an attempt that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status; 200 where a receiver that does not speak HTTP confirmed the event.
    pub status: u16,
    /// What such a receiver confirmed.
    pub said: Option<String>,
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.said {
            Some(said) => f.write_str(said),
            None => write!(f, "{} {}", self.status, phrase(self.status)),
        }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// No answer in time.
    #[error("timed out after {} s waiting for {url}", limit.as_secs_f64())]
    Timeout {
        /// Where the request went.
        url: Redacted,
        /// The limit.
        limit: Duration,
    },
    /// No connection, or one that broke.
    #[error("could not reach {url}: {reason}")]
    Network {
        /// Where the request went.
        url: Redacted,
        /// What the network said.
        reason: String,
    },
    /// The receiver answered with an error.
    #[error("{status} {} Error: {} for url: {url}", side(*status), phrase(*status))]
    Status {
        /// HTTP status.
        status: u16,
        /// Where the request went.
        url: Redacted,
        /// Wait that the receiver asked for.
        retry_after: Option<Duration>,
    },
    /// A receiver that does not speak HTTP answered with an error.
    #[error("{url} does not take it: {reason}")]
    Peer {
        /// Where the request went.
        url: Redacted,
        /// What it said.
        reason: String,
        /// Whether it may take the same event later.
        passing: bool,
    },
    /// The receiver redirects without end.
    #[error("Exceeded {MAX_REDIRECTS} redirects.")]
    Redirects,
    /// The address policy forbids the address.
    #[error(transparent)]
    Address(#[from] AddressRefused),
    /// The request itself is not possible.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Delivery could not be started on this machine.
    #[error("delivery could not be started: {0}")]
    Internal(String),
    /// The receiver understood and said no.
    #[error("{reason}")]
    Said {
        /// Its words.
        reason: String,
        /// Whether it may say yes later.
        retry: bool,
    },
}

fn side(status: u16) -> &'static str {
    if status < 500 { "Client" } else { "Server" }
}

fn phrase(status: u16) -> &'static str {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Unknown")
}

/// Cause of a failure: a closed set, for counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// No answer in time.
    Timeout,
    /// No connection, or one that broke.
    Network,
    /// Status 408, 425, 429 or 5xx: the receiver cannot take it now.
    Busy,
    /// Another status: the receiver does not want it.
    Refused,
    /// The address policy forbids the address.
    Address,
    /// The request itself is not possible.
    Request,
}

impl Cause {
    /// Name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Address => "address",
            Self::Request => "request",
        }
    }
}

impl Failure {
    /// Its cause.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Timeout { .. } => Cause::Timeout,
            Self::Network { .. } => Cause::Network,
            Self::Status { status, .. } if is_passing(*status) => Cause::Busy,
            Self::Peer { passing: true, .. } => Cause::Busy,
            Self::Status { .. } | Self::Peer { .. } | Self::Redirects => Cause::Refused,
            Self::Address(_) => Cause::Address,
            Self::Request(_) | Self::Internal(_) => Cause::Request,
            Self::Said { retry: true, .. } => Cause::Busy,
            Self::Said { retry: false, .. } => Cause::Refused,
        }
    }

    /// Whether the same request may succeed later.
    pub fn retry(&self) -> bool {
        match self {
            Self::Address(refused) => refused.may_pass(),
            _ => matches!(self.cause(), Cause::Timeout | Cause::Network | Cause::Busy),
        }
    }

    /// Wait that the receiver asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } if self.retry() => *retry_after,
            _ => None,
        }
    }
}

fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..)
}

/// The two clients: one for any address, one that connects to global addresses only.
pub(super) struct Clients {
    open: Client,
    strict: Client,
    adapters: Adapters,
}

impl Clients {
    pub(super) fn new() -> Result<Self, reqwest::Error> {
        network::clients(Self::built)
    }

    fn built(builder: fn() -> ClientBuilder) -> Result<Self, reqwest::Error> {
        let builder = || {
            builder()
                .redirect(Policy::none())
                .referer(false)
                .connect_timeout(CONNECT_TIMEOUT)
                .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            open: builder().build()?,
            strict: builder()
                .no_proxy()
                .dns_resolver(CheckedResolver::global())
                .build()?,
            adapters: Adapters::new(),
        })
    }

    /// Sends the request once.
    pub(super) async fn attempt(
        &self,
        request: &Request,
        clock: &dyn Clock,
    ) -> Result<Answer, Failure> {
        match tokio::time::timeout(request.timeout, self.carry(request, clock)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Timeout {
                url: request.redacted_url(),
                limit: request.timeout,
            }),
        }
    }

    /// Sends the request the way that its address asks for.
    async fn carry(&self, request: &Request, clock: &dyn Clock) -> Result<Answer, Failure> {
        if errand::is_errand(request) {
            return Box::pin(errand::deliver(self, request, clock)).await;
        }
        if mail::is_mail(request) {
            return Box::pin(mail::deliver(request)).await;
        }
        match self.adapters.of(&request.url) {
            Some(adapter) => adapter.attempt(request).await,
            None => self.follow(request, clock).await,
        }
    }

    /// Sends the request and goes where redirects lead.
    async fn follow(&self, request: &Request, clock: &dyn Clock) -> Result<Answer, Failure> {
        let mut hop = request.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut response = self.send(&hop).await?;
            let status = response.status();
            let header = |name| response.headers().get(name).and_then(|v| v.to_str().ok());
            let location = header(LOCATION).and_then(|to| hop.url.join(to).ok());
            let follows = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
            let stays = hop.addresses == AddressPolicy::GlobalOnly || hop.single_exchange;
            if status.is_redirection() && stays {
                return Err(AddressRefused::Redirect.into());
            }
            if let (true, Some(to)) = (follows, location) {
                redirect(&mut hop, status, to)?;
                continue;
            }
            if status.is_client_error() || status.as_u16() >= 500 {
                let now = clock.now().unix_seconds();
                return Err(Failure::Status {
                    status: status.as_u16(),
                    url: hop.redacted_url(),
                    retry_after: header(RETRY_AFTER).and_then(|t| retry::retry_after(t, now)),
                });
            }
            drain(&mut response).await;
            return Ok(Answer {
                status: status.as_u16(),
                said: None,
            });
        }
        Err(Failure::Redirects)
    }

    pub(super) async fn send(&self, request: &Request) -> Result<reqwest::Response, Failure> {
        let client = match request.addresses {
            AddressPolicy::Any => &self.open,
            AddressPolicy::GlobalOnly => {
                address::check_url(&request.url)?;
                &self.strict
            }
        };
        client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone())
            .body(request.body.clone())
            .send()
            .await
            .map_err(|error| failure(request, error))
    }
}

/// Reads what little an answer says, so that its connection can serve the next request.
async fn drain(response: &mut reqwest::Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        read += chunk.len();
        if read > MAX_ANSWER {
            return;
        }
    }
}

/// Turns the request into the one that a redirect asks for.
fn redirect(request: &mut Request, status: StatusCode, to: Url) -> Result<(), Failure> {
    if !matches!(to.scheme(), "http" | "https") {
        return Err(RequestError::Scheme(to.scheme().into()).into());
    }
    let becomes_get = match status.as_u16() {
        301 => request.method == Method::POST,
        302 | 303 => request.method != Method::HEAD,
        _ => false,
    };
    if becomes_get {
        request.method = Method::GET;
        request.body = Bytes::new();
        request.headers.remove(CONTENT_TYPE);
        request.headers.remove(CONTENT_LENGTH);
    }
    if to.origin() != request.url.origin() {
        for name in [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE] {
            request.headers.remove(name);
        }
    }
    request.url = to;
    Ok(())
}

fn failure(request: &Request, error: reqwest::Error) -> Failure {
    if let Some(refused) = network::refusal(&error) {
        return AddressRefused::from(refused.clone()).into();
    }
    let url = request.redacted_url();
    if error.is_timeout() {
        return Failure::Timeout {
            url,
            limit: request.timeout.min(CONNECT_TIMEOUT),
        };
    }
    Failure::Network {
        url,
        reason: network::reason(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::HostRefused;

    #[test]
    fn what_may_pass_is_tried_again() {
        let status = |status| Failure::Status {
            status,
            url: Redacted::text("http://h/"),
            retry_after: Some(Duration::from_secs(1)),
        };
        for code in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(status(code).retry(), "{code}");
        }
        for code in [400, 401, 403, 404, 410, 422] {
            assert!(!status(code).retry(), "{code}");
            assert_eq!(status(code).retry_after(), None);
        }
        assert!(!Failure::from(AddressRefused::Redirect).retry());
        let unresolved = AddressRefused::from(HostRefused::Unresolved("h".into()));
        assert!(Failure::from(unresolved).retry());
    }

    #[test]
    fn errors_read_as_clients_know_them() {
        let failure = Failure::Status {
            status: 503,
            url: Redacted::text("http://h/p"),
            retry_after: None,
        };
        assert_eq!(
            failure.to_string(),
            "503 Server Error: Service Unavailable for url: http://h/p"
        );
    }

    #[test]
    fn credentials_stay_with_their_host() {
        let request = Request::new("POST", "http://a/x", AddressPolicy::Any)
            .and_then(|r| r.header("Authorization", b"secret"))
            .unwrap();
        let go = |to: &str, status: u16| {
            let mut request = request.clone();
            let status = StatusCode::from_u16(status).unwrap();
            redirect(&mut request, status, Url::parse(to).unwrap()).unwrap();
            request
        };
        assert!(go("http://a/y", 307).headers.contains_key(AUTHORIZATION));
        assert!(!go("http://b/y", 307).headers.contains_key(AUTHORIZATION));
        assert_eq!(go("http://a/y", 307).method, Method::POST);
        assert_eq!(go("http://a/y", 302).method, Method::GET);
    }
}
