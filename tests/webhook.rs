//! Delivery to real HTTP receivers on the loopback: the dispatcher and the webhook block.

#![allow(clippy::panic, clippy::unwrap_used)] // helpers of tests count as production code

#[path = "support/receiver.rs"]
mod receiver;

use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::blocks::{Block, BlockError, Context, Inputs, Output, Services, registry};
use millrace::clock::ManualClock;
use millrace::definition::step::{FieldValue, Step};
use millrace::delivery::webhook::Webhook;
use millrace::delivery::{
    AddressPolicy, Capacity, Cause, Counts, Dispatcher, DropCause, Event, Overflow, Request,
    RetryPolicy, Settings,
};
use millrace::values::Value;
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

#[test]
fn results_are_posted_when_they_should_be() {
    let receiver = Receiver::ok();
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
    let frames: Vec<Json> = received
        .iter()
        .map(|r| serde_json::from_str::<Json>(r.text()).unwrap()["frame"].clone())
        .collect();
    assert_eq!(frames, [json!(2), json!(3)]);
    assert_eq!(received[0].header("content-type"), "application/json");
}

/// The webhook block of one step, with the services of its host.
struct Sink {
    step: Step,
    block: Box<dyn Block>,
    services: Services,
    clock: Arc<ManualClock>,
}

impl Sink {
    fn new(fields: Json, settings: Settings) -> Self {
        let spec = registry::find("roboflow_core/webhook_sink@v1").unwrap();
        let value = |field: &millrace::blocks::Field| match fields.get(field.name) {
            Some(json) => FieldValue::literal(json.clone()),
            None => {
                let default = field.default.expect(field.name);
                FieldValue::literal(serde_json::from_str(default).unwrap())
            }
        };
        let step = Step {
            name: "notify".into(),
            type_tag: spec.type_id().into(),
            spec,
            values: spec.fields.iter().map(value).collect(),
        };
        let clock = Arc::new(ManualClock::default());
        let services = Services {
            clock: clock.clone(),
            dispatcher: Arc::new(Dispatcher::new(settings)),
            ..Services::default()
        };
        Self {
            block: (spec.build)(&step, &services).unwrap(),
            step,
            services,
            clock,
        }
    }

    /// As with `exec`: nothing goes on in the background.
    fn foreground(fields: Json) -> Self {
        let settings = Settings {
            background: false,
            ..quick()
        };
        Self::new(fields, settings)
    }

    /// `error_status`, `throttling_status` and `message` of one element.
    fn run(&mut self, stream: &str) -> (bool, bool, String) {
        let Output::One(row) = self.try_run(stream).unwrap() else {
            panic!("one row expected");
        };
        let text = row[2].as_str().unwrap().to_owned();
        (row[0].as_bool().unwrap(), row[1].as_bool().unwrap(), text)
    }

    fn try_run(&mut self, stream: &str) -> Result<Output, BlockError> {
        let values: Vec<Value> = self
            .step
            .values
            .iter()
            .map(|value| match value {
                FieldValue::Literal(_, value) => value.clone(),
                _ => unreachable!("only literals are used here"),
            })
            .collect();
        let stream = Arc::from(stream);
        let cx = Context {
            step: "notify",
            stream: &stream,
            services: &self.services,
            claim: None,
        };
        let inputs = Inputs::new(self.step.spec, &values);
        self.block.run(&inputs, &cx)
    }
}

const SENT: &str = "Notification sent successfully";

fn sent() -> (bool, bool, String) {
    (false, false, SENT.into())
}

#[test]
fn the_block_sends_json_with_query_and_headers() {
    let receiver = Receiver::ok();
    let mut sink = Sink::foreground(json!({
        "url": receiver.url("/hook?own=1"), "method": "PUT",
        "query_parameters": {"a": [1, "two"], "b": true, "c": 0.5},
        "headers": {"X-Key": "secret", "Idempotency-Key": "mine"},
        "json_payload": {"name": "é", "count": 2.0, "list": [1, {"x": null}]},
    }));
    assert_eq!(sink.run("s"), sent());
    let received = &receiver.received()[0];
    assert_eq!(received.method, "PUT");
    assert_eq!(received.uri, "/hook?own=1&a=1&a=two&b=True&c=0.5");
    assert_eq!(received.header("x-key"), "secret");
    assert_eq!(received.header("idempotency-key"), "mine");
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(
        received.text(),
        r#"{"name": "\u00e9", "count": 2.0, "list": [1, {"x": null}]}"#
    );
}

#[test]
fn the_block_sends_an_empty_object_forms_and_files() {
    let receiver = Receiver::ok();
    let send = |extra: Json| {
        let mut fields = json!({"url": receiver.url("/"), "method": "GET"});
        for (name, value) in extra.as_object().unwrap() {
            fields[name] = value.clone();
        }
        assert_eq!(Sink::foreground(fields).run("s"), sent());
        receiver.received().pop().unwrap()
    };
    assert_eq!(send(json!({})).text(), "{}");

    let form = send(
        json!({"method": "POST", "json_payload": {"x": 1}, "form_data": {"a": ["1", true], "n": null}}),
    );
    assert_eq!(form.text(), "a=1&a=True");
    assert_eq!(
        form.header("content-type"),
        "application/x-www-form-urlencoded"
    );

    let files = send(json!({
        "method": "POST", "form_data": {"tag": "t"}, "multi_part_encoded_files": {"note.txt": "hello"},
    }));
    let kind = files.header("content-type");
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    assert_eq!(
        files.text(),
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"tag\"\r\n\r\nt\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"note.txt\"; filename=\"note.txt\"\r\n\r\nhello\r\n\
             --{boundary}--\r\n"
        )
    );
}

#[test]
fn operations_change_values_before_they_are_sent() {
    let receiver = Receiver::ok();
    let upper = json!([{"type": "StringToUpperCase"}]);
    let mut sink = Sink::foreground(json!({
        "url": receiver.url("/"), "method": "POST",
        "json_payload": {"name": "gate", "tags": ["a", "b"], "other": "same"},
        "json_payload_operations": {
            "name": upper, "tags": [{"type": "SequenceLength"}], "missing": upper, "other": [],
        },
    }));
    assert_eq!(sink.run("s"), sent());
    assert_eq!(
        receiver.received()[0].text(),
        r#"{"name": "GATE", "tags": 2, "other": "same"}"#
    );
    let mut failing = Sink::foreground(json!({
        "url": receiver.url("/"), "method": "POST",
        "form_data": {"n": 1}, "form_data_operations": {"n": upper},
    }));
    assert!(failing.try_run("s").is_err(), "fails the step");
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn the_block_reports_what_went_wrong_without_secrets() {
    let receiver = Receiver::start(Vec::new(), Reply::status(503));
    let address = receiver.url("").replace("http://", "");
    let prefix = "Failed to send webhook notification. Internal error details: ";
    let fails = |extra: Json| {
        let mut fields = json!({
            "url": format!("http://user:pass@{address}/hook?key=secret"), "method": "POST",
        });
        for (name, value) in extra.as_object().unwrap() {
            fields[name] = value.clone();
        }
        let (error, throttled, message) = Sink::foreground(fields).run("s");
        assert!(error && !throttled);
        message.strip_prefix(prefix).unwrap().to_owned()
    };
    assert_eq!(
        fails(json!({})),
        format!("503 Server Error: Service Unavailable for url: http://***@{address}/hook?key=***")
    );
    assert_eq!(receiver.received().len(), 1, "one attempt only");
    assert_eq!(
        fails(json!({"headers": {"a": 5}})),
        "Header part (5) from ('a', 5) must be of type str or bytes, not <class 'int'>"
    );
    assert_eq!(
        fails(json!({"url": closed_port()})).split(": ").count(),
        2,
        "could not reach …: reason"
    );
    assert!(fails(json!({"url": "hook"})).starts_with("Invalid URL"));
    assert!(fails(json!({"request_timeout": 0})).contains("less than or equal to 0"));

    let silent = Receiver::start(Vec::new(), Reply::never());
    let message = fails(json!({"url": silent.url("/"), "request_timeout": 1}));
    assert_eq!(
        message,
        format!("timed out after 1 s waiting for {}", silent.url("/"))
    );
}

#[test]
fn the_cooldown_holds_per_stream_and_from_the_start_of_an_attempt() {
    let receiver = Receiver::start(vec![Reply::status(500)], Reply::status(200));
    let mut sink = Sink::foreground(json!({
        "url": receiver.url("/"), "method": "POST", "cooldown_seconds": 5,
    }));
    let throttled = (false, true, "Sink cooldown applies".to_owned());
    assert!(sink.run("a").0, "the first attempt fails");
    assert_eq!(sink.run("a"), throttled);
    assert_eq!(sink.run("b"), sent(), "another camera");
    sink.clock.advance(Duration::from_millis(4999));
    assert_eq!(sink.run("a"), throttled);
    sink.clock.advance(Duration::from_millis(1));
    assert_eq!(sink.run("a"), sent());
    assert_eq!(receiver.received().len(), 3);
}

#[test]
fn a_block_that_is_switched_off_sends_nothing() {
    let receiver = Receiver::ok();
    let mut sink = Sink::foreground(json!({
        "url": receiver.url("/"), "method": "POST", "disable_sink": true,
    }));
    let off = |by: &str| (false, false, format!("Sink was disabled by {by}"));
    assert_eq!(sink.run("s"), off("parameter `disable_sink`"));
    sink.services.disable_sinks = true;
    assert_eq!(sink.run("s"), off("workflow execution policy"));
    assert!(receiver.received().is_empty());
}

#[test]
fn in_the_background_the_step_answers_at_once_and_the_request_is_retried() {
    let receiver = Receiver::start(vec![Reply::status(503)], Reply::status(200));
    let fields = json!({
        "url": receiver.url("/"), "method": "POST", "json_payload": {"n": 1}, "cooldown_seconds": 0,
    });
    let mut sink = Sink::new(fields, quick());
    let queued = "Notification sent in the background task".to_owned();
    for _ in 0..3 {
        assert_eq!(sink.run("s"), (false, false, queued.clone()));
    }
    let counts = sink.services.dispatcher.close(PATIENCE);
    assert_eq!((counts.delivered, counts.retried), (3, 1));
    assert_eq!(receiver.received().len(), 4);
}
