//! Receivers that do not speak HTTP: one file each, behind one trait.
//!
//! The scheme of an address says which: `kafka://`, `mqtt://`, `nats://`, `redis://`,
//! and their forms with TLS. The body of a request becomes the message, its idempotency key and definition stamp go
//! with it. An attempt succeeds when the receiver has confirmed the message; a connection that
//! failed is thrown away, so that nothing lingers in it while the event is tried again.

mod kafka;
mod mqtt;
mod nats;
mod redis;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use url::Url;

use super::outcome::{Answer, Failure};
use super::request::{Request, RequestError};

/// An attempt under way.
pub(super) type Attempt<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// A kind of receiver.
pub(super) trait Adapter: Send + Sync {
    /// Schemes of its addresses.
    fn schemes(&self) -> &'static [&'static str];

    /// What is missing in an address, if something is.
    fn missing(&self, url: &Url) -> Option<&'static str>;

    /// Makes one attempt for an event of a stream. Whoever waits for it keeps the time.
    fn attempt<'a>(&'a self, request: &'a Request, stream: &'a str) -> Attempt<'a>;
}

/// All of them.
pub(super) struct Adapters([Box<dyn Adapter>; 4]);

impl Adapters {
    pub(super) fn new() -> Self {
        Self([
            Box::new(kafka::Kafka::default()),
            Box::new(mqtt::Mqtt::default()),
            Box::new(nats::Nats::default()),
            Box::new(redis::Redis::default()),
        ])
    }

    /// The one for an address.
    pub(super) fn of(&self, url: &Url) -> Option<&dyn Adapter> {
        let adapter = self.0.iter().find(|a| a.schemes().contains(&url.scheme()));
        adapter.map(AsRef::as_ref)
    }

    /// Whether events can be sent to an address that is not one of HTTP.
    pub(super) fn check(url: &Url) -> Result<(), RequestError> {
        let all = Self::new();
        let Some(adapter) = all.of(url) else {
            return Err(RequestError::Scheme(url.scheme().into()));
        };
        let host = url.host_str().unwrap_or_default();
        let missing = if host.is_empty() {
            Some("a host")
        } else {
            adapter.missing(url)
        };
        missing.map_or(Ok(()), |what| Err(RequestError::Target(what)))
    }
}

/// Connections by receiver.
struct Connections<T>(Mutex<HashMap<String, T>>);

impl<T> Default for Connections<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Connections<T> {
    fn get(&self, request: &Request) -> Option<T> {
        self.all().get(authority(&request.url)).cloned()
    }

    fn keep(&self, request: &Request, connection: &T) {
        let name = authority(&request.url).to_owned();
        self.all().insert(name, connection.clone());
    }

    fn forget(&self, request: &Request) {
        self.all().remove(authority(&request.url));
    }

    /// Makes an attempt. Its connection is forgotten unless it succeeds, also if nobody waits for it any
    /// more: what the connection still holds would go out later.
    async fn attempt(
        &self,
        request: &Request,
        attempt: impl Future<Output = Result<Answer, Failure>>,
    ) -> Result<Answer, Failure> {
        let mut unfinished = Unfinished(Some((self, request)));
        let outcome = attempt.await;
        if outcome.is_ok() {
            unfinished.0 = None;
        }
        outcome
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that has not succeeded.
struct Unfinished<'a, T: Clone>(Option<(&'a Connections<T>, &'a Request)>);

impl<T: Clone> Drop for Unfinished<'_, T> {
    fn drop(&mut self) {
        if let Some((connections, request)) = self.0 {
            connections.forget(request);
        }
    }
}

/// The address up to its path: connections that log in as different people are different.
fn authority(url: &Url) -> &str {
    &url[..url::Position::BeforePath]
}

/// The path without its first slash, as names of topics and subjects are written in addresses.
fn path(url: &Url) -> String {
    decoded(url.path().trim_start_matches('/'))
}

/// A value of the query.
fn query(url: &Url, name: &str) -> Option<String> {
    let mut pairs = url.query_pairs();
    pairs
        .find(|(key, _)| key == name)
        .map(|(_, v)| v.into_owned())
}

/// A text without percent signs that stand for something else.
fn decoded(text: &str) -> String {
    let pair = format!("t={}", text.replace('+', "%2B").replace('&', "%26"));
    let mut pairs = url::form_urlencoded::parse(pair.as_bytes());
    pairs
        .next()
        .map_or(String::new(), |(_, text)| text.into_owned())
}

/// Headers that go with a message, as names and texts.
fn headers(request: &Request) -> Vec<(String, String)> {
    let readable = request.headers.iter().filter_map(|(name, value)| {
        let text = value.to_str().ok()?;
        Some((name.to_string(), text.to_owned()))
    });
    readable.collect()
}

fn unreachable(request: &Request, reason: impl std::fmt::Display) -> Failure {
    Failure::Network {
        url: request.redacted_url(),
        reason: reason.to_string(),
    }
}

fn refused(request: &Request, reason: impl std::fmt::Display, passing: bool) -> Failure {
    Failure::Peer {
        url: request.redacted_url(),
        reason: reason.to_string(),
        passing,
    }
}

fn confirmed(said: impl Into<String>) -> Answer {
    Answer::confirmed(said)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_connection_outlives_attempts_that_succeed_and_no_others() {
        let request = Request::event("redis://h/0?list=l", "{}".into()).unwrap();
        let connections = Connections::default();
        connections.keep(&request, &1);
        let done = async { Ok(confirmed("ok")) };
        assert!(connections.attempt(&request, done).await.is_ok());
        assert_eq!(connections.get(&request), Some(1));
        let failed = async { Err(unreachable(&request, "gone")) };
        assert!(connections.attempt(&request, failed).await.is_err());
        assert_eq!(connections.get(&request), None);
        connections.keep(&request, &2);
        let silent = connections.attempt(&request, std::future::pending());
        let given_up = tokio::time::timeout(Duration::from_millis(5), silent).await;
        assert!(given_up.is_err() && connections.get(&request).is_none());
    }

    #[test]
    fn addresses_name_their_topic_subject_or_stream() {
        let check = |text: &str| Adapters::check(&Url::parse(text).unwrap());
        for good in [
            "kafka://h/events",
            "mqtt://h/cameras/events",
            "mqtts://user:word@h:8883/t",
            "nats://h/cameras.events?ack=jetstream",
            "redis://:word@h:6379/0?stream=events",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "kafka://h:9092/",
            "mqtt://h",
            "nats://h",
            "redis://h/0",
            "mqtt:///t",
            "amqp://h/q",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        let url = Url::parse("mqtt://u%40x:w@h/a%20b/c+d").unwrap();
        assert_eq!(
            (path(&url), decoded(url.username())),
            ("a b/c+d".into(), "u@x".into())
        );
    }
}
