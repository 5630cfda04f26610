//! The webhook block: what it sends, what it answers, and when.

use std::sync::Arc;
use std::time::Duration;

use millrace::blocks::{Block, BlockError, Context, Inputs, Output, Services, registry};
use millrace::clock::ManualClock;
use millrace::definition::step::{FieldValue, Step};
use millrace::delivery::{Dispatcher, Settings};
use millrace::values::Value;
use serde_json::{Value as Json, json};

use super::receiver::{Receiver, Reply};
use super::{PATIENCE, closed_port, quick};

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
