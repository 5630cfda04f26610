//! Real brokers, started for the test on a free port: Mosquitto, NATS, Redis from Debian's packages
//! (`scripts/setup.sh --test`), and the mock cluster of librdkafka in place of Kafka.
//!
//! Each is down while events are made, comes up, and gets everything in order.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use millrace::delivery::outbox::OutboxSettings;
use millrace::delivery::{Dispatcher, Event, Request};
use serde_json::{Value as Json, json};

use super::quick;

const EVENTS: usize = 20;

/// A broker; it ends when dropped.
struct Broker(Child);

impl Broker {
    fn start(program: &str, arguments: &[&str], port: u16) -> Self {
        let path = ["/usr/sbin", "/usr/bin"].map(|folder| Path::new(folder).join(program));
        let program = path.iter().find(|p| p.exists());
        let program = program.expect("run scripts/setup.sh --test: it installs the broker");
        let child = Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let broker = Self(child);
        let end = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                Instant::now() < end,
                "{} does not listen",
                program.display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        broker
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn event(url: &str, n: usize) -> Event {
    let stamp = json!({"hash": "d86e34748e80"});
    let body = json!({"number": n}).to_string();
    let request = Request::event(url, body).unwrap().definition(&stamp);
    Event {
        stream: "camera".into(),
        request: std::sync::Arc::new(request.timeout(Duration::from_secs(5))),
    }
}

/// Events that wait for a broker that is not there yet.
fn waiting(folder: &Path, url: &str) -> Dispatcher {
    let dispatcher = Dispatcher::with_outbox(quick(), OutboxSettings::new(folder));
    for n in 0..EVENTS {
        dispatcher.post(event(url, n)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(300));
    let counts = dispatcher.counts();
    assert_eq!(
        (counts.delivered, counts.waiting),
        (0, EVENTS as u64),
        "{counts}"
    );
    dispatcher
}

fn delivered(dispatcher: Dispatcher) {
    let end = Instant::now() + Duration::from_secs(60);
    while dispatcher.counts().waiting > 0 {
        let counts = dispatcher.counts();
        assert!(
            Instant::now() < end,
            "{counts}: {}",
            dispatcher.outbox_report()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let counts = dispatcher.close(Duration::from_secs(5));
    assert_eq!(
        (counts.delivered, counts.lost()),
        (EVENTS as u64, 0),
        "{counts}"
    );
}

/// Numbers in the order of their first arrival.
fn in_order(bodies: &[Vec<u8>]) {
    let mut numbers: Vec<u64> = Vec::new();
    for body in bodies {
        let json: Json = serde_json::from_slice(body).unwrap();
        let number = json["number"].as_u64().unwrap();
        if !numbers.contains(&number) {
            numbers.push(number);
        }
    }
    assert_eq!(numbers, (0..EVENTS as u64).collect::<Vec<_>>());
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn test_command(url: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_millrace"))
        .args(["outbox", "test", url])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn redis_gets_everything_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let server = format!("redis://127.0.0.1:{port}/0");
    let dispatcher = waiting(
        &folder.path().join("outbox"),
        &format!("{server}?stream=events"),
    );
    let (dir, number) = (folder.path().to_str().unwrap(), port.to_string());
    let arguments = [
        "--port",
        &number,
        "--save",
        "",
        "--dir",
        dir,
        "--bind",
        "127.0.0.1",
    ];
    let _redis = Broker::start("redis-server", &arguments, port);
    delivered(dispatcher);
    let mut connection = redis::Client::open(server.as_str())
        .unwrap()
        .get_connection()
        .unwrap();
    let entries: Vec<(String, Vec<(String, String)>)> = redis::cmd("XRANGE")
        .arg("events")
        .arg("-")
        .arg("+")
        .query(&mut connection)
        .unwrap();
    let bodies: Vec<Vec<u8>> = entries
        .iter()
        .map(|(_, f)| f[0].1.clone().into_bytes())
        .collect();
    in_order(&bodies);
    let fields = &entries[0].1;
    assert!(fields[1].0 == "key" && uuid::Uuid::parse_str(&fields[1].1).is_ok());
    assert_eq!(fields[2], ("definition".into(), "hash=d86e34748e80".into()));

    assert!(test_command(&format!("{server}?list=more")).contains("length of the list 1"));
    assert!(test_command(&format!("{server}?channel=ch")).contains("listeners 0"));
    // A server that takes its time is waited for, and has the event once.
    let pause = redis::cmd("CLIENT").arg("PAUSE").arg(1_200).to_owned();
    pause.exec(&mut connection).unwrap();
    let slow = Request::event(&format!("{server}?list=slow"), "{}".into()).unwrap();
    let answer = Dispatcher::default().send(slow).unwrap();
    assert_eq!(answer.to_string(), "length of the list 1");

    // A list is no stream: the server will say so every time.
    let refused = Dispatcher::default()
        .send(Request::event(&format!("{server}?stream=more"), "{}".into()).unwrap());
    let refused = refused.unwrap_err();
    assert!(
        !refused.retry() && refused.to_string().contains("WRONGTYPE"),
        "{refused}"
    );
}

#[test]
fn nats_gets_everything_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let server = format!("nats://127.0.0.1:{port}");
    let url = format!("{server}/cameras.events");
    let dispatcher = waiting(&folder.path().join("outbox"), &url);
    let (dir, number) = (folder.path().to_str().unwrap(), port.to_string());
    let arguments = ["-a", "127.0.0.1", "-p", &number, "-js", "-sd", dir];
    let stored = format!("{url}?ack=jetstream");
    runtime().block_on(async {
        let _nats = Broker::start("nats-server", &arguments, port);
        let client = async_nats::connect(&server).await.unwrap();
        let stream = json!({"name": "EVENTS", "subjects": ["cameras.>"]}).to_string();
        let made = client
            .request("$JS.API.STREAM.CREATE.EVENTS", stream.into())
            .await
            .unwrap();
        let made: Json = serde_json::from_slice(&made.payload).unwrap();
        assert!(made["error"].is_null(), "{made}");
        let mut heard = client.subscribe("cameras.more").await.unwrap();
        client.flush().await.unwrap();

        delivered(dispatcher);
        let more =
            Dispatcher::with_outbox(quick(), OutboxSettings::new(folder.path().join("more")));
        for n in 0..EVENTS {
            let url = format!("{server}/cameras.more?ack=jetstream");
            more.post(event(&url, n)).unwrap();
        }
        delivered(more);
        let mut bodies = Vec::new();
        for _ in 0..EVENTS {
            let message = tokio::time::timeout(Duration::from_secs(20), heard.next()).await;
            let message = message.unwrap().unwrap();
            let headers = message.headers.unwrap();
            assert_eq!(headers.get("Nats-Msg-Id"), headers.get("idempotency-key"));
            bodies.push(message.payload.to_vec());
        }
        in_order(&bodies);
        assert!(test_command(&stored).contains("stored in EVENTS"));
        assert!(test_command(&url).contains("published"));
        let nobody = Request::event(&format!("{server}/nobody?ack=jetstream"), "{}".into());
        let nobody = Dispatcher::default().send(nobody.unwrap()).unwrap_err();
        assert!(nobody.retry(), "{nobody}");
    });
}

#[test]
fn mqtt_gets_everything_in_order() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::Packet;
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};

    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let url = format!("mqtt://127.0.0.1:{port}/cameras/events");
    let dispatcher = waiting(&folder.path().join("outbox"), &url);
    let config = folder.path().join("mosquitto.conf");
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n");
    std::fs::write(&config, text).unwrap();
    drop(dispatcher);
    let _mosquitto = Broker::start("mosquitto", &["-c", config.to_str().unwrap()], port);
    runtime().block_on(async {
        let mut options = MqttOptions::new("listener", "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(5));
        let (client, mut events) = AsyncClient::new(options, 10);
        client
            .subscribe("cameras/events", QoS::AtLeastOnce)
            .await
            .unwrap();
        let mut bodies = Vec::new();
        let mut dispatcher = None;
        while bodies.len() < EVENTS {
            let next = tokio::time::timeout(Duration::from_secs(30), events.poll()).await;
            match next.unwrap().unwrap() {
                Event::Incoming(Packet::SubAck(_)) => {
                    // Now that somebody listens, what waited in the outbox goes out.
                    let resumed = super::dispatcher(&folder.path().join("outbox"));
                    resumed.resume().unwrap();
                    dispatcher = Some(resumed);
                }
                Event::Incoming(Packet::Publish(publish)) => {
                    let properties = publish.properties.clone().unwrap();
                    let names: Vec<&str> = properties
                        .user_properties
                        .iter()
                        .map(|(n, _)| n.as_str())
                        .collect();
                    assert!(names.contains(&"idempotency-key"), "{names:?}");
                    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
                    bodies.push(publish.payload.to_vec());
                }
                _ => {}
            }
        }
        in_order(&bodies);
        delivered(dispatcher.unwrap());
    });
    assert!(test_command(&url).contains("PUBACK"));
}

/// What a topic holds: partition, key, headers and body of each message.
fn consumed(brokers: &str, topic: &str, count: usize) -> Vec<(i32, String, Vec<String>, Vec<u8>)> {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::{Headers, Message};

    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", topic)
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let mut messages = Vec::new();
    let end = Instant::now() + Duration::from_secs(60);
    while messages.len() < count {
        assert!(Instant::now() < end, "{} of {count}", messages.len());
        let Some(message) = consumer.poll(Duration::from_millis(200)) else {
            continue;
        };
        let message = message.unwrap();
        let key = String::from_utf8(message.key().unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().unwrap();
        let names = headers.iter().map(|header| header.key.to_owned()).collect();
        let body = message.payload().unwrap().to_vec();
        messages.push((message.partition(), key, names, body));
    }
    messages
}

#[test]
fn kafka_gets_everything_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
    cluster.create_topic("events", 4, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let url = format!("kafka://{brokers}/events");
    cluster.broker_down(1).unwrap();
    let dispatcher = waiting(&folder.path().join("outbox"), &url);
    cluster.broker_up(1).unwrap();
    delivered(dispatcher);
    let messages = consumed(&brokers, "events", EVENTS);
    let bodies: Vec<Vec<u8>> = messages.iter().map(|message| message.3.clone()).collect();
    in_order(&bodies);
    for (partition, key, headers, _) in &messages {
        assert_eq!((partition, &**key), (&messages[0].0, "camera"));
        for name in ["idempotency-key", "x-millrace-definition", "content-type"] {
            assert!(headers.iter().any(|header| header == name), "{headers:?}");
        }
    }
    assert!(test_command(&format!("{url}?key=one")).contains("at offset"));
}

#[test]
fn kafka_is_asked_again_for_what_may_pass_and_not_for_what_will_not() {
    use rdkafka::types::RDKafkaRespErr as Error;

    let folder = tempfile::tempdir().unwrap();
    let cluster = rdkafka::mocking::MockCluster::new(1).unwrap();
    cluster.create_topic("events", 1, 1).unwrap();
    let brokers = cluster.bootstrap_servers();
    let url = format!("kafka://{brokers}/events");
    let produce = rdkafka::types::RDKafkaApiKey::Produce;
    cluster.request_errors(produce, &[Error::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 3]);
    let dispatcher = super::dispatcher(&folder.path().join("outbox"));
    for n in 0..EVENTS {
        dispatcher.post(event(&url, n)).unwrap();
    }
    delivered(dispatcher);
    let messages = consumed(&brokers, "events", EVENTS);
    let bodies: Vec<Vec<u8>> = messages.into_iter().map(|message| message.3).collect();
    in_order(&bodies);

    let refused = |error| {
        cluster.request_errors(produce, &[error]);
        let request = Request::event(&url, "{}".into()).unwrap();
        Dispatcher::default().send(request).unwrap_err()
    };
    let large = refused(Error::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    assert!(!large.retry(), "{large}");
    cluster.broker_down(1).unwrap();
    let request = Request::event(&url, "{}".into()).unwrap();
    let away = Dispatcher::default().send(request.timeout(Duration::from_secs(2)));
    let away = away.unwrap_err();
    assert!(away.retry(), "{away}");
}
