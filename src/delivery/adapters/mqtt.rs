//! MQTT 5: `mqtt://[user:password@]host[:1883]/TOPIC`, `mqtts://` with TLS (port 8883).
//!
//! Messages are published with QoS 1 and count as delivered with the broker's PUBACK;
//! `?retain=true` lets the broker keep the last one. Headers go along as user properties. A
//! connection is served by a task of its own, which ends with the first error.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAck, PubAckReason, PublishProperties};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::sync::oneshot;
use url::Url;

use super::{
    Adapter, Attempt, Connections, confirmed, decoded, headers, path, query, refused, unreachable,
};
use crate::delivery::outcome::{Answer, Failure};
use crate::delivery::request::Request;

/// Messages on their way to the broker at the same time.
const AT_ONCE: usize = 64;
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Sends to MQTT brokers.
#[derive(Default)]
pub(super) struct Mqtt {
    connections: Connections<Connection>,
}

/// What became of a message: the reason of the broker, or of a connection that ended.
type Outcome = Result<PubAckReason, String>;

#[derive(Clone)]
struct Connection {
    client: AsyncClient,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    /// Who waits for messages that have not got a number yet, in their order.
    unnumbered: VecDeque<oneshot::Sender<Outcome>>,
    numbered: HashMap<u16, oneshot::Sender<Outcome>>,
    /// Why the connection ended.
    ended: Option<String>,
}

impl Adapter for Mqtt {
    fn schemes(&self) -> &'static [&'static str] {
        &["mqtt", "mqtts"]
    }

    fn missing(&self, url: &Url) -> Option<&'static str> {
        path(url)
            .is_empty()
            .then_some("a topic, such as /cameras/events")
    }

    fn attempt<'a>(&'a self, request: &'a Request, _: &'a str) -> Attempt<'a> {
        Box::pin(self.send(request))
    }
}

impl Mqtt {
    fn connection(&self, request: &Request) -> Connection {
        if let Some(known) = self.connections.get(request)
            && !known.has_ended()
        {
            return known;
        }
        let url = &request.url;
        let tls = url.scheme() == "mqtts";
        let host = url.host_str().unwrap_or_default();
        let port = url.port().unwrap_or(if tls { 8883 } else { 1883 });
        let name = format!("millrace-{}", uuid::Uuid::new_v4().simple());
        let mut options = MqttOptions::new(name, host, port);
        options.set_keep_alive(KEEP_ALIVE);
        if !url.username().is_empty() {
            let password = url.password().unwrap_or_default();
            options.set_credentials(decoded(url.username()), decoded(password));
        }
        if tls {
            options.set_transport(rumqttc::Transport::tls_with_default_config());
        }
        let (client, events) = AsyncClient::new(options, AT_ONCE);
        let connection = Connection {
            client,
            waiting: Arc::default(),
        };
        tokio::spawn(serve(events, connection.waiting.clone()));
        self.connections.keep(request, &connection);
        connection
    }

    async fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let connection = self.connection(request);
        let retain = query(&request.url, "retain").as_deref() == Some("true");
        let mut user_properties = headers(request);
        let content_type = user_properties
            .iter()
            .position(|(name, _)| name == "content-type");
        let content_type = content_type.map(|at| user_properties.remove(at).1);
        let properties = PublishProperties {
            user_properties,
            content_type,
            ..PublishProperties::default()
        };
        let outcome = connection
            .hand_in(request, retain, properties)
            .map_err(|why| unreachable(request, why))?;
        match outcome.await {
            Ok(Ok(PubAckReason::Success)) => Ok(confirmed("PUBACK")),
            Ok(Ok(PubAckReason::NoMatchingSubscribers)) => {
                Ok(confirmed("PUBACK, nobody is subscribed"))
            }
            Ok(Ok(PubAckReason::QuotaExceeded)) => {
                Err(refused(request, "the broker's quota is exceeded", true))
            }
            Ok(Ok(reason)) => Err(refused(request, format!("PUBACK says {reason:?}"), false)),
            Ok(Err(why)) => Err(unreachable(request, why)),
            Err(_) => Err(unreachable(request, "the connection was closed")),
        }
    }
}

impl Connection {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.waiting().ended.is_some()
    }

    /// Hands a message in at once or not at all, and who waits for it with it: the broker's numbers
    /// come in the order in which messages are handed in.
    fn hand_in(
        &self,
        request: &Request,
        retain: bool,
        properties: PublishProperties,
    ) -> Result<oneshot::Receiver<Outcome>, String> {
        let mut waiting = self.waiting();
        if let Some(why) = &waiting.ended {
            return Err(why.clone());
        }
        let (topic, body) = (path(&request.url), request.body.clone());
        let (qos, client) = (QoS::AtLeastOnce, &self.client);
        client
            .try_publish_with_properties(topic, qos, retain, body, properties)
            .map_err(|_| "the connection takes no message just now".to_owned())?;
        let (told, outcome) = oneshot::channel();
        waiting.unnumbered.push_back(told);
        Ok(outcome)
    }
}

/// Serves a connection until its first error, which all that wait are told.
async fn serve(mut events: EventLoop, waiting: Arc<Mutex<Waiting>>) {
    loop {
        let event = events.poll().await;
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(Event::Outgoing(Outgoing::Publish(number))) => {
                if let Some(told) = waiting.unnumbered.pop_front() {
                    waiting.numbered.insert(number, told);
                }
            }
            Ok(Event::Incoming(Packet::PubAck(PubAck { pkid, reason, .. }))) => {
                if let Some(told) = waiting.numbered.remove(&pkid) {
                    // Who gave up waiting needs no answer.
                    let _ = told.send(Ok(reason));
                }
            }
            Ok(_) => {}
            Err(error) => {
                let why = error.to_string();
                waiting.ended = Some(why.clone());
                let numbered: Vec<_> = waiting.numbered.drain().map(|(_, told)| told).collect();
                for told in waiting.unnumbered.drain(..).chain(numbered) {
                    let _ = told.send(Err(why.clone()));
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_not_taken_leaves_nobody_waiting() {
        let request = Request::event("mqtt://h/t", "{}".into()).unwrap();
        let (client, events) = AsyncClient::new(MqttOptions::new("x", "h", 1883), 1);
        let connection = Connection {
            client,
            waiting: Arc::default(),
        };
        let hand_in = || connection.hand_in(&request, false, PublishProperties::default());
        assert!(hand_in().is_ok());
        assert!(hand_in().is_err(), "there is room for one");
        drop(events);
        assert!(hand_in().is_err(), "nobody serves it any more");
        assert_eq!(connection.waiting().unnumbered.len(), 1);
        connection.waiting().ended = Some("gone".into());
        assert_eq!(hand_in().unwrap_err(), "gone");
    }
}
