//! NATS: `nats://[user:password@]host[:4222]/SUBJECT`, `tls://` with TLS.
//!
//! The idempotency key goes along as `Nats-Msg-Id`, by which JetStream takes a message once only.
//! With `?ack=jetstream` the event counts as delivered when a JetStream stream has stored it. Without,
//! it does when the server has processed it: an echo is sent behind it on the same connection, and
//! comes back after it.

use async_nats::{Client, ConnectOptions, HeaderMap, ServerAddr, Subject};
use futures_util::StreamExt;
use serde_json::Value as Json;
use url::Url;

use super::{
    Adapter, Attempt, Connections, confirmed, decoded, headers, path, query, refused, unreachable,
};
use crate::delivery::outcome::{Answer, Failure};
use crate::delivery::request::Request;

/// Sends to NATS.
#[derive(Default)]
pub(super) struct Nats {
    connections: Connections<Client>,
}

impl Adapter for Nats {
    fn schemes(&self) -> &'static [&'static str] {
        &["nats", "tls"]
    }

    fn missing(&self, url: &Url) -> Option<&'static str> {
        path(url)
            .is_empty()
            .then_some("a subject, such as /cameras.events")
    }

    fn attempt<'a>(&'a self, request: &'a Request, _: &'a str) -> Attempt<'a> {
        Box::pin(self.connections.attempt(request, self.send(request)))
    }
}

impl Nats {
    async fn client(&self, request: &Request) -> Result<Client, Failure> {
        if let Some(known) = self.connections.get(request) {
            return Ok(known);
        }
        let url = &request.url;
        let mut options = ConnectOptions::new().name("millrace");
        if let Some(password) = url.password() {
            options = options.user_and_password(decoded(url.username()), decoded(password));
        } else if !url.username().is_empty() {
            options = options.token(decoded(url.username()));
        }
        let mut server = url.clone();
        server.set_path("");
        server.set_query(None);
        let server = ServerAddr::from_url(server).map_err(|e| refused(request, e, false))?;
        let made = options.connect(server).await;
        let made = made.map_err(|e| unreachable(request, e))?;
        self.connections.keep(request, &made);
        Ok(made)
    }

    async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let client = self.client(request).await?;
        let subject = Subject::from(path(&request.url));
        let mut with = HeaderMap::new();
        for (name, value) in headers(request) {
            with.insert(name.as_str(), value.as_str());
        }
        with.insert("Nats-Msg-Id", request.key());
        let body = request.body.clone();
        if query(&request.url, "ack").as_deref() == Some("jetstream") {
            let stored = client.request_with_headers(subject, with, body).await;
            let stored = stored.map_err(|e| refused(request, e, true))?;
            return stored_in(request, &stored.payload);
        }
        let echo = client.new_inbox();
        let subscribed = client.subscribe(echo.clone()).await;
        let mut echoes = subscribed.map_err(|e| unreachable(request, e))?;
        let published = client.publish_with_headers(subject, with, body).await;
        published.map_err(|e| refused(request, e, false))?;
        let published = client.publish(echo, Vec::new().into()).await;
        published.map_err(|e| unreachable(request, e))?;
        match echoes.next().await {
            Some(_) => Ok(confirmed("published")),
            None => Err(unreachable(request, "the connection was closed")),
        }
    }
}

/// What JetStream answered.
fn stored_in(request: &Request, payload: &[u8]) -> Result<Answer, Failure> {
    let answer: Json = serde_json::from_slice(payload).unwrap_or_default();
    if let Some(error) = answer["error"]["description"].as_str() {
        let passing = answer["error"]["code"]
            .as_i64()
            .is_none_or(|code| code >= 500);
        return Err(refused(request, error, passing));
    }
    match (answer["stream"].as_str(), answer["seq"].as_u64()) {
        (Some(stream), Some(number)) => {
            Ok(confirmed(format!("stored in {stream} as number {number}")))
        }
        _ => Err(refused(
            request,
            "the answer is not one of JetStream",
            false,
        )),
    }
}
