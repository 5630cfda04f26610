//! Delivery to real HTTP receivers on the loopback: the dispatcher and the webhook block.

#![allow(clippy::panic, clippy::unwrap_used)] // helpers of tests count as production code

mod block;
#[path = "../support/receiver.rs"]
mod receiver;

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::delivery::webhook::Webhook;
use millrace::delivery::{
    AddressPolicy, Capacity, Cause, Counts, Dispatcher, DropCause, Errand, Event, Exchange,
    Overflow, Request, RetryPolicy, Settings,
};
use receiver::{Receiver, Reply};
use serde_json::{Value as Json, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// Retries fast enough for a test.
fn quick() -> Settings {
    Settings {
        retry: RetryPolicy {
            attempts: 4,
            first: Duration::from_millis(20),
            ..RetryPolicy::default()
        },
        ..Settings::default()
    }
}

fn event(url: &str, stream: &str, body: &str) -> Event {
    let json = "application/json".parse().unwrap();
    let request = Request::new("POST", url, AddressPolicy::Any)
        .unwrap()
        .timeout(Duration::from_millis(300))
        .body(json, body.to_owned());
    Event {
        stream: stream.into(),
        request: Arc::new(request),
    }
}

fn failed(counts: &Counts, cause: Cause) -> u64 {
    counts.failed.get(&cause).copied().unwrap_or(0)
}

fn dropped(counts: &Counts, cause: DropCause) -> u64 {
    counts.dropped.get(&cause).copied().unwrap_or(0)
}

/// A port on which nobody listens.
fn closed_port() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

#[test]
fn failed_attempts_are_made_again_in_order_under_the_same_key() {
    let replies = [503, 500, 200, 429, 200, 200].map(Reply::status).to_vec();
    let receiver = Receiver::start(replies, Reply::status(200));
    let dispatcher = Dispatcher::new(quick());
    for body in ["1", "2", "3"] {
        dispatcher
            .post(event(&receiver.url("/hook"), "camera", body))
            .unwrap();
    }
    let counts = dispatcher.close(PATIENCE);
    let received = receiver.received();
    let bodies: Vec<&str> = received.iter().map(|r| r.text()).collect();
    assert_eq!(bodies, ["1", "1", "1", "2", "2", "3"]);
    let keys: Vec<&str> = received
        .iter()
        .map(|r| r.header("idempotency-key"))
        .collect();
    assert!(uuid::Uuid::parse_str(keys[0]).is_ok());
    assert!(keys[0] == keys[1] && keys[1] == keys[2] && keys[3] == keys[4]);
    assert!(keys[0] != keys[3] && keys[4] != keys[5]);
    assert_eq!(
        (
            counts.delivered,
            counts.retried,
            counts.lost(),
            counts.waiting
        ),
        (3, 3, 0, 0)
    );
}

#[test]
fn what_cannot_succeed_is_given_up_and_counted_by_cause() {
    let receiver = Receiver::start(vec![Reply::status(404)], Reply::status(503));
    let dispatcher = Dispatcher::new(quick());
    dispatcher
        .post(event(&receiver.url("/"), "a", "unwanted"))
        .unwrap();
    receiver.wait_for(1);
    dispatcher
        .post(event(&receiver.url("/"), "a", "too late"))
        .unwrap();
    dispatcher
        .post(event(&closed_port(), "b", "nobody"))
        .unwrap();
    let counts = dispatcher.close(PATIENCE);
    assert_eq!(failed(&counts, Cause::Refused), 1);
    assert_eq!(failed(&counts, Cause::Busy), 1);
    assert_eq!(failed(&counts, Cause::Network), 1);
    assert_eq!(counts.retried, 6, "three more attempts for each of the two");
    assert_eq!(receiver.received().len(), 5);
    assert!(
        dispatcher
            .post(event(&closed_port(), "b", "closed"))
            .is_err()
    );
    assert_eq!(dropped(&dispatcher.counts(), DropCause::Closed), 1);
}

#[test]
fn a_receiver_that_says_nothing_stalls_nobody() {
    let silent = Receiver::start(Vec::new(), Reply::never());
    let lively = Receiver::ok();
    let dispatcher = Dispatcher::new(quick());
    let start = Instant::now();
    for i in 0..200 {
        let stream = format!("camera {}", i % 20);
        for receiver in [&silent, &lively] {
            dispatcher
                .post(event(&receiver.url("/"), &stream, "event"))
                .unwrap();
        }
    }
    let posting = start.elapsed();
    assert!(posting < Duration::from_secs(2), "posting took {posting:?}");
    lively.wait_for(200);
    let closing = Instant::now();
    let counts = dispatcher.close(Duration::from_millis(500));
    let closing = closing.elapsed();
    assert!(closing < Duration::from_secs(2), "closing took {closing:?}");
    assert_eq!(counts.delivered, 200);
    assert_eq!(
        dropped(&counts, DropCause::Closed) + failed(&counts, Cause::Timeout),
        200
    );
}

#[test]
fn a_receiver_may_ask_for_a_pause() {
    let busy = Reply::status(429).with("retry-after", "1");
    let receiver = Receiver::start(vec![busy], Reply::status(200));
    let dispatcher = Dispatcher::new(quick());
    dispatcher
        .post(event(&receiver.url("/"), "a", "1"))
        .unwrap();
    receiver.wait_for(1);
    std::thread::sleep(Duration::from_millis(50));
    dispatcher
        .post(event(&receiver.url("/"), "b", "2"))
        .unwrap();
    assert_eq!(dispatcher.close(PATIENCE).delivered, 2);
    let received = receiver.received();
    for later in &received[1..] {
        let pause = later.at - received[0].at;
        assert!(pause >= Duration::from_secs(1), "{pause:?}");
    }
}

#[test]
fn a_full_queue_drops_the_oldest_and_counts_it() {
    let silent = Receiver::start(Vec::new(), Reply::never());
    let dispatcher = Dispatcher::new(Settings {
        capacity: Capacity {
            events: 10,
            overflow: Overflow::DropOldest,
            ..Capacity::default()
        },
        ..quick()
    });
    for i in 0..15 {
        let event = event(&silent.url("/"), "a", &i.to_string());
        dispatcher.post(event).unwrap();
    }
    let counts = dispatcher.counts();
    assert_eq!((dropped(&counts, DropCause::Full), counts.waiting), (5, 10));
}

#[test]
fn redirects_are_followed_as_the_reference_does() {
    let to = |status| Reply::status(status).with("location", "/there");
    let go = |status| {
        let receiver = Receiver::start(vec![to(status)], Reply::status(204));
        let request = event(&receiver.url("/here"), "", "body").request;
        let answer = Dispatcher::default().send((*request).clone()).unwrap();
        let last = receiver.received().pop().unwrap();
        assert_eq!((answer.status, last.uri.as_str()), (204, "/there"));
        (last.method.clone(), last.text().to_owned())
    };
    assert_eq!(go(302), ("GET".into(), String::new()));
    assert_eq!(go(307), ("POST".into(), "body".into()));
    let forever = Receiver::start(Vec::new(), to(302));
    let request = Request::new("GET", &forever.url("/"), AddressPolicy::Any).unwrap();
    let error = Dispatcher::default().send(request).unwrap_err();
    assert_eq!(error.to_string(), "Exceeded 30 redirects.");
}

#[test]
fn the_strict_policy_keeps_requests_off_this_machine() {
    let receiver = Receiver::ok();
    let port = receiver.url("").rsplit_once(':').unwrap().1.to_owned();
    let send = |host: &str| {
        let url = format!("http://{host}:{port}/");
        let request = Request::new("POST", &url, AddressPolicy::GlobalOnly).unwrap();
        Dispatcher::default().send(request).unwrap_err().to_string()
    };
    assert_eq!(
        send("127.0.0.1"),
        "URL points to non-global address '127.0.0.1'."
    );
    let by_name = send("localhost");
    assert!(
        by_name.starts_with("Host 'localhost' resolves to non-global address '"),
        "{by_name}"
    );
    assert!(receiver.received().is_empty());
}

/// The first answer breaks off in the middle: nobody knows what it said.
#[test]
fn an_errand_whose_answer_breaks_off_is_run_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let service = std::thread::spawn(move || {
        let whole = r#"{"id": "E1"}"#;
        for sent in [&whole[..6], whole] {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            let length = whole.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all((head + sent).as_bytes()).unwrap();
        }
    });
    let errand = Errand::new(vec![Exchange::new("GET", url).want(&["/id"])]);
    let request = errand.request(AddressPolicy::Any, Duration::from_secs(5));
    let dispatcher = Dispatcher::new(quick());
    let event = Event {
        stream: "camera".into(),
        request: Arc::new(request.unwrap()),
    };
    dispatcher.post(event).unwrap();
    let counts = dispatcher.close(PATIENCE);
    assert_eq!(
        (counts.delivered, counts.retried, counts.lost()),
        (1, 1, 0),
        "{counts}"
    );
    service.join().unwrap();
}

#[test]
fn results_are_posted_when_they_should_be() {
    let receiver = Receiver::start(vec![Reply::status(503)], Reply::status(200));
    let dispatcher = Arc::new(Dispatcher::new(quick()));
    let when = Some("alarm".parse().unwrap());
    let webhook = Webhook::new(dispatcher.clone(), &receiver.url("/hook"), when).unwrap();
    let stream: Arc<str> = "door".into();
    for (frame, alarm) in [(1, false), (2, true), (3, true)] {
        let outputs = json!({"alarm": alarm});
        let body = json!({"frame": frame, "outputs": outputs});
        assert_eq!(webhook.post(&stream, &outputs, &body).unwrap(), alarm);
    }
    assert_eq!(dispatcher.close(PATIENCE).delivered, 2);
    let received = receiver.received();
    let bodies = received
        .iter()
        .map(|r| serde_json::from_str::<Json>(r.text()).unwrap());
    let bodies: Vec<Json> = bodies.collect();
    let frames: Vec<&Json> = bodies.iter().map(|body| &body["frame"]).collect();
    assert_eq!(frames, [&json!(2), &json!(2), &json!(3)]);
    // By its id a receiver knows what it has already, with and without headers.
    for (request, body) in received.iter().zip(&bodies) {
        assert_eq!(body["id"], request.header("idempotency-key"));
    }
    assert!(bodies[0]["id"] == bodies[1]["id"] && bodies[1]["id"] != bodies[2]["id"]);
    assert_eq!(received[0].header("content-type"), "application/json");
}
