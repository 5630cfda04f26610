//! One attempt to deliver a request: connect, send, read the status.
//!
//! Redirects are followed here and not by the HTTP library, because each hop has to pass the
//! address policy and because the reference's rules for the method after a redirect are these:
//! 303 turns into GET, 302 too, 301 only for POST, 307 and 308 keep method and body. Credentials
//! do not follow to another host. Only the status of an answer counts; its body is thrown away.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION, PROXY_AUTHORIZATION, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, StatusCode};
use url::Url;

use super::adapters::Adapters;
use super::address::{self, AddressPolicy, AddressRefused};
use super::errand::{self, Remembered};
use super::outcome::{Answer, Failure, MAX_REDIRECTS, Trouble};
use super::request::{Request, RequestError};
use super::{mail, retry};
use crate::clock::Clock;
use crate::network::{self, CheckedResolver, PlatformPlaces};

/// Bytes of an answer that are read so that its connection can be used again.
const MAX_ANSWER: usize = 64 * 1024;
/// Time that a connection may take to come about, if the whole exchange has more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The two clients: one for any address, one that connects to global addresses only.
pub(super) struct Clients {
    open: Client,
    strict: Client,
    forbidden: Option<Arc<PlatformPlaces>>,
    adapters: Adapters,
    pub(super) remembered: Remembered,
}

impl Clients {
    /// Clients that send nothing to forbidden places.
    pub(super) fn new(forbidden: Option<Arc<PlatformPlaces>>) -> Result<Self, reqwest::Error> {
        let clients = network::clients(Self::built)?;
        Ok(Self {
            forbidden,
            ..clients
        })
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
            forbidden: None,
            adapters: Adapters::new(),
            remembered: Remembered::default(),
        })
    }

    /// Sends the request once, as an event of a stream.
    pub(super) async fn attempt(
        &self,
        request: &Request,
        stream: &str,
        clock: &dyn Clock,
    ) -> Result<Answer, Trouble> {
        let carried = whole(self.carry(request, stream, clock));
        match tokio::time::timeout(request.timeout, carried).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Timeout {
                url: request.redacted_url(),
                limit: request.timeout,
            }
            .into()),
        }
    }

    /// Sends the request the way that its address asks for.
    async fn carry(
        &self,
        request: &Request,
        stream: &str,
        clock: &dyn Clock,
    ) -> Result<Answer, Trouble> {
        if errand::is_errand(request) {
            return Box::pin(errand::deliver(self, request, clock)).await;
        }
        let outcome = if mail::is_mail(request) {
            Box::pin(mail::deliver(request)).await
        } else if let Some(adapter) = self.adapters.of(&request.url) {
            adapter.attempt(request, stream).await
        } else {
            self.follow(request, clock).await
        };
        Ok(outcome?)
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
            return Ok(Answer::of(status.as_u16()));
        }
        Err(Failure::Redirects)
    }

    pub(super) async fn send(&self, request: &Request) -> Result<reqwest::Response, Failure> {
        let forbidden = self.forbidden.as_ref();
        if forbidden.is_some_and(|places| places.have(&request.url)) {
            return Err(Failure::Offline);
        }
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

/// An attempt that ends in a failure if it panics: nobody else would settle its event, and the events
/// of its stream would wait for it for ever.
async fn whole(attempt: impl Future<Output = Result<Answer, Trouble>>) -> Result<Answer, Trouble> {
    let outcome = AssertUnwindSafe(attempt).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(Failure::Broken.into()))
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

pub(super) fn failure(request: &Request, error: reqwest::Error) -> Failure {
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

    #[tokio::test]
    async fn an_attempt_that_panics_is_a_failure_that_is_not_repeated() {
        let panics = async {
            let answers: Vec<Answer> = Vec::new();
            Ok(answers[0].clone())
        };
        let failure = whole(panics).await.unwrap_err().failure;
        assert_eq!(failure, Failure::Broken);
        assert!(!failure.retry());
        assert_eq!(
            whole(async { Ok(Answer::of(204)) }).await,
            Ok(Answer::of(204))
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
