//! Kafka: `kafka://[user:password@]host[:9092]/TOPIC`, `kafkas://` with TLS; further brokers as
//! `?brokers=host:9092,host:9092`.
//!
//! A message counts as delivered when all replicas in sync have stored it; the producer is
//! idempotent. The key of the message is the name of its stream, so that a stream stays in one
//! partition and in order, or `?key=TEXT`. Headers go along, the idempotency key among them. With a
//! user, SASL is used: PLAIN, or what `?mechanism=` names (`SCRAM-SHA-256`, `SCRAM-SHA-512`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use url::Url;

use super::{
    Adapter, Attempt, authority, confirmed, decoded, headers, path, query, refused, unreachable,
};
use crate::delivery::outcome::{Answer, Failure};
use crate::delivery::request::Request;

/// What a producer's own limit stays below that of the attempt, so that the producer gives a message
/// up first: one that stayed with it would go out behind its successors.
const MARGIN: Duration = Duration::from_millis(500);
/// Shortest time that a producer tries.
const SHORTEST: Duration = Duration::from_millis(500);
/// Largest message that is left to the broker to judge.
const LARGEST: &str = "100000000";

type Producer = FutureProducer<Quiet>;

/// Sends to Kafka.
#[derive(Default)]
pub(super) struct Kafka {
    /// Producers by address, further brokers, mechanism and time limit.
    producers: Mutex<HashMap<String, Producer>>,
}

/// Keeps what librdkafka says about each broken connection for those who look for it: the dispatcher
/// tells of receivers that fail.
#[derive(Clone)]
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, part: &str, text: &str) {
        tracing::debug!(target: "librdkafka", part, "{text}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl Adapter for Kafka {
    fn schemes(&self) -> &'static [&'static str] {
        &["kafka", "kafkas"]
    }

    fn missing(&self, url: &Url) -> Option<&'static str> {
        path(url).is_empty().then_some("a topic, such as /events")
    }

    fn attempt<'a>(&'a self, request: &'a Request, stream: &'a str) -> Attempt<'a> {
        Box::pin(self.send(request, stream))
    }
}

impl Kafka {
    fn producers(&self) -> MutexGuard<'_, HashMap<String, Producer>> {
        self.producers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn producer(&self, name: &str, request: &Request) -> Result<Producer, Failure> {
        let mut producers = self.producers();
        if let Some(known) = producers.get(name) {
            return Ok(known.clone());
        }
        let made = configured(request).create_with_context(Quiet);
        let made: Producer = made.map_err(|e| refused(request, e, false))?;
        producers.insert(name.to_owned(), made.clone());
        Ok(made)
    }

    async fn send(&self, request: &Request, stream: &str) -> Result<Answer, Failure> {
        let name = name(request);
        let producer = self.producer(&name, request)?;
        let topic = path(&request.url);
        let key = query(&request.url, "key");
        let key = key
            .as_deref()
            .or(Some(stream))
            .filter(|key| !key.is_empty());
        let mut with = OwnedHeaders::new();
        for (name, value) in &headers(request) {
            with = with.insert(Header {
                key: name,
                value: Some(value),
            });
        }
        let mut record = FutureRecord::to(&topic)
            .payload(&request.body[..])
            .headers(with);
        if let Some(key) = key {
            record = record.key(key);
        }
        match producer.send(record, Duration::ZERO).await {
            Ok(stored) => Ok(confirmed(format!(
                "stored in partition {} at offset {}",
                stored.partition, stored.offset
            ))),
            Err((error, _)) => {
                // After such an error a producer refuses everything for good.
                if producer.client().fatal_error().is_some() {
                    self.producers().remove(&name);
                }
                Err(failure(request, &error))
            }
        }
    }
}

/// What producers are told apart by.
fn name(request: &Request) -> String {
    let of = |name| query(&request.url, name).unwrap_or_default();
    format!(
        "{} {} {} {}",
        authority(&request.url),
        of("brokers"),
        of("mechanism"),
        limit(request).as_millis()
    )
}

fn limit(request: &Request) -> Duration {
    request.timeout.saturating_sub(MARGIN).max(SHORTEST)
}

fn configured(request: &Request) -> ClientConfig {
    let url = &request.url;
    let host = url.host_str().unwrap_or_default();
    let mut brokers = format!("{host}:{}", url.port().unwrap_or(9092));
    if let Some(further) = query(url, "brokers") {
        brokers = format!("{brokers},{further}");
    }
    let limit = limit(request).as_millis();
    let mut config = ClientConfig::new();
    config
        .set_log_level(RDKafkaLogLevel::Warning)
        .set("bootstrap.servers", brokers)
        .set("client.id", "millrace")
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", limit.to_string())
        // A topic that is not there is told as such before the time is up.
        .set("topic.metadata.propagation.max.ms", (limit / 2).to_string())
        // The pauses between attempts are the outbox's.
        .set("reconnect.backoff.max.ms", "1000")
        .set("message.max.bytes", LARGEST)
        .set("linger.ms", "0");
    let user = url.username();
    let protocol = match (url.scheme() == "kafkas", user.is_empty()) {
        (false, true) => "plaintext",
        (true, true) => "ssl",
        (false, false) => "sasl_plaintext",
        (true, false) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if !user.is_empty() {
        let mechanism = query(url, "mechanism").unwrap_or_else(|| "PLAIN".into());
        config
            .set("sasl.mechanisms", mechanism)
            .set("sasl.username", decoded(user))
            .set("sasl.password", decoded(url.password().unwrap_or_default()));
    }
    config
}

/// What went wrong, and whether it may pass.
fn failure(request: &Request, error: &KafkaError) -> Failure {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(
            Code::MessageSizeTooLarge
            | Code::InvalidMessage
            | Code::InvalidMessageSize
            | Code::InvalidTopic
            | Code::InvalidRecord
            | Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition,
        ) => refused(request, error, false),
        Some(Code::AllBrokersDown | Code::BrokerTransportFailure | Code::MessageTimedOut) => {
            unreachable(request, error)
        }
        _ => refused(request, error, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> Request {
        Request::event(url, "{}".into()).unwrap()
    }

    #[test]
    fn an_address_says_how_to_log_in() {
        let plain = request("kafka://h/t?brokers=a:1,b:2");
        let config = configured(&plain);
        assert_eq!(config.get("bootstrap.servers"), Some("h:9092,a:1,b:2"));
        assert_eq!(config.get("security.protocol"), Some("plaintext"));
        assert_eq!(config.get("message.timeout.ms"), Some("9500"));
        let safe = request("kafkas://u%40x:w%3Ad@h:9093/t?mechanism=SCRAM-SHA-512");
        let config = configured(&safe);
        assert_eq!(config.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(config.get("sasl.username"), Some("u@x"));
        assert_eq!(config.get("sasl.password"), Some("w:d"));
        assert_eq!(config.get("sasl.mechanisms"), Some("SCRAM-SHA-512"));
        assert!(
            configured(&safe)
                .create_with_context::<_, Producer>(Quiet)
                .is_ok()
        );
    }

    #[test]
    fn a_broken_connection_passes_and_a_wrong_message_does_not() {
        let of = |code| {
            failure(
                &request("kafka://h/t"),
                &KafkaError::MessageProduction(code),
            )
        };
        assert!(of(RDKafkaErrorCode::MessageTimedOut).retry());
        assert!(of(RDKafkaErrorCode::NotEnoughReplicas).retry());
        assert!(!of(RDKafkaErrorCode::MessageSizeTooLarge).retry());
        assert!(!of(RDKafkaErrorCode::UnknownTopic).retry());
    }
}
