//! Slack, Twilio and the platform's services for mails and messages, as far as sinks know them.

use std::time::Duration;

use millrace::delivery::{RetryPolicy, Settings};
use millrace::values::{Detections, Image, Matrix, Value};
use serde_json::{Value as Json, json};

use crate::service::{Call, Service};
use crate::sink_step::{SinkStep, all_at};

const SENT: &str = "Notification sent successfully";

/// As with `exec`: the step waits for the answer.
pub(crate) fn waiting() -> Settings {
    Settings {
        background: false,
        ..Settings::default()
    }
}

/// As in a stream, retries fast enough for a test.
pub(crate) fn queueing() -> Settings {
    Settings {
        retry: RetryPolicy {
            first: Duration::from_millis(20),
            ..RetryPolicy::default()
        },
        ..Settings::default()
    }
}

pub(crate) fn step(type_id: &str, fields: Json, service: &Service) -> SinkStep {
    SinkStep::new(type_id, fields, all_at(&service.url()), waiting())
}

pub(crate) fn image() -> Value {
    let pixels = Matrix::filled(1000, 300, &[10, 20, 30]);
    Value::Image(Image::new(pixels, "image".into()))
}

/// One box with what results need.
pub(crate) fn boxes() -> Value {
    let mut set = Detections::empty();
    set.xyxy = vec![[100.0, 100.0, 200.0, 300.0]].into();
    set.confidence = Some(vec![0.75].into());
    set.class_id = Some(vec![0].into());
    for (name, cell) in [
        ("class_name", Value::from("car")),
        ("detection_id", Value::from("d")),
        ("inference_id", Value::from("i-1")),
        ("prediction_type", Value::from("object-detection")),
        ("parent_id", Value::from("image")),
        ("image_dimensions", Value::from_json(&json!([300, 1000]))),
    ] {
        set.set_column(name, vec![cell]);
    }
    set.tracker_id = None;
    Value::detections(set)
}

fn slack(call: &Call, _: usize, base: &str) -> (u16, Json) {
    if call.line.contains("/upload/") {
        return (200, json!("OK"));
    }
    if call.header("authorization") != "Bearer t0ken" {
        return (200, json!({"ok": false, "error": "invalid_auth"}));
    }
    (
        200,
        match &*call.line {
            "POST /chat.postMessage" | "POST /files.completeUploadExternal" => json!({"ok": true}),
            "POST /files.getUploadURLExternal" => {
                json!({"ok": true, "file_id": "F1", "upload_url": format!("{base}/upload/1?a=b")})
            }
            _ => json!({"ok": false, "error": "unknown_method"}),
        },
    )
}

fn slack_fields(token: &str) -> Json {
    json!({
        "slack_token": token, "channel": "C1", "cooldown_session_key": "k",
        "message": "{{ $parameters.n }} cars", "message_parameters": {"n": 2},
    })
}

#[test]
fn slack_gets_messages_and_its_refusals_are_told() {
    let service = Service::start(slack);
    let id = "roboflow_core/slack_notification@v1";
    let mut good = step(id, slack_fields("t0ken"), &service);
    assert_eq!(good.run(), (false, SENT.into()));
    assert_eq!(good.run(), (false, "Sink cooldown applies".into()));
    good.clock.advance(Duration::from_secs(5));
    assert_eq!(good.run(), (false, SENT.into()));
    let call = &service.calls()[0];
    assert_eq!(call.json(), json!({"channel": "C1", "text": "2 cars"}));
    let (error, text) = step(id, slack_fields("wrong"), &service).run();
    let refused = "Failed to send Slack notification. Internal error details: invalid_auth";
    assert_eq!((error, &*text), (true, refused));
}

#[test]
fn files_for_slack_go_to_the_address_that_it_names() {
    let service = Service::start(slack);
    let mut fields = slack_fields("t0ken");
    fields["attachments"] = json!({"a b.csv": "1,2"});
    let sinks = all_at(&service.url());
    let mut queued = SinkStep::new(
        "roboflow_core/slack_notification@v1",
        fields,
        sinks,
        queueing(),
    );
    let answered = (false, "Notification sent in the background task".into());
    assert_eq!(queued.run(), answered);
    let counts = queued.services.dispatcher.close(Duration::from_secs(20));
    assert_eq!((counts.delivered, counts.lost()), (1, 0));
    let calls = service.calls();
    assert_eq!(
        service.lines(),
        [
            "POST /files.getUploadURLExternal",
            "POST /upload/1",
            "POST /files.completeUploadExternal",
        ]
    );
    assert_eq!(calls[0].text(), "filename=a+b.csv&length=3");
    assert_eq!((&*calls[1].query, &*calls[1].text()), ("a=b", "1,2"));
    assert_eq!(
        calls[1].header("authorization"),
        "",
        "no token to where files go"
    );
    assert_eq!(
        calls[2].json(),
        json!({"files": [{"id": "F1", "title": "a b.csv"}], "channel_id": "C1",
            "initial_comment": "2 cars"})
    );
}

#[test]
fn an_event_of_several_exchanges_is_tried_again_as_a_whole() {
    let service = Service::start(|call, number, base| match number {
        1 => (503, json!({})),
        _ => slack(call, number, base),
    });
    let mut fields = slack_fields("t0ken");
    fields["attachments"] = json!({"a.csv": "1,2"});
    let sinks = all_at(&service.url());
    let mut queued = SinkStep::new(
        "roboflow_core/slack_notification@v1",
        fields,
        sinks,
        queueing(),
    );
    assert!(!queued.run().0);
    let counts = queued.services.dispatcher.close(Duration::from_secs(20));
    assert_eq!((counts.delivered, counts.retried, counts.lost()), (1, 1, 0));
    let calls = service.calls();
    assert_eq!(calls.len(), 5, "{:?}", service.lines());
    let key = |i: usize| calls[i].header("idempotency-key");
    assert_eq!((key(0), key(1)), (key(2), key(3)));
    assert!(key(0).ends_with("-0") && key(4).ends_with("-2"));
}

fn twilio(call: &Call, _: usize, _: &str) -> (u16, Json) {
    // Basic of `AC1:t0ken`.
    match call.header("authorization") == "Basic QUMxOnQwa2Vu" {
        true => (201, json!({"sid": "SM1"})),
        false => (401, json!({"message": "Authenticate"})),
    }
}

#[test]
fn twilio_gets_texts_cut_to_their_limit() {
    let service = Service::start(twilio);
    let fields = |token: &str| {
        json!({
            "twilio_account_sid": "AC1", "twilio_auth_token": token, "sender_number": "+1",
            "receiver_number": "+2", "message": "0123456789abcdef", "length_limit": 10,
            "cooldown_session_key": "k",
        })
    };
    let id = "roboflow_core/twilio_sms_notification@v1";
    assert_eq!(
        step(id, fields("t0ken"), &service).run(),
        (false, SENT.into())
    );
    let call = &service.calls()[0];
    assert_eq!(call.line, "POST /2010-04-01/Accounts/AC1/Messages.json");
    assert_eq!(call.text(), "Body=0123+%5B...%5D&From=%2B1&To=%2B2");
    let (error, text) = step(id, fields("wrong"), &service).run();
    assert!(error && text.ends_with("details: Authenticate"), "{text}");
}

#[test]
fn pictures_go_to_twilio_by_address_and_nowhere_else() {
    let service = Service::start(twilio);
    let fields = json!({
        "sms_provider": "Custom Twilio", "twilio_account_sid": "AC1",
        "twilio_auth_token": "t0ken", "sender_number": "+1", "receiver_number": "+2",
        "message": "x", "media_url": ["https://a/1.jpg", "https://a/2.jpg"],
    });
    let id = "roboflow_core/twilio_sms_notification@v2";
    assert_eq!(
        step(id, fields.clone(), &service).run(),
        (false, SENT.into())
    );
    let form = service.calls()[0].text();
    assert!(form.ends_with("&MediaUrl=https%3A%2F%2Fa%2F1.jpg&MediaUrl=https%3A%2F%2Fa%2F2.jpg"));
    let (error, text) = step(id, fields.clone(), &service)
        .put("media_url", image())
        .run();
    assert!(
        error && text.contains("give `media_url` an address"),
        "{text}"
    );
    let (error, text) = step(id, fields, &service)
        .put("twilio_auth_token", Value::None)
        .run();
    assert!(
        error && text.starts_with("Custom Twilio requires"),
        "{text}"
    );
    assert_eq!(service.calls().len(), 1);
}

#[test]
fn the_platform_delivers_messages_and_mails() {
    let service = Service::start(|call, _, _| match &*call.line {
        "POST /apiproxy/email" => (403, json!({"details": "non-workspace members"})),
        _ => (200, json!({})),
    });
    let fields = json!({"receiver_number": "+2", "message": "x".repeat(200)});
    let id = "roboflow_core/twilio_sms_notification@v2";
    let sent = "Notification sent successfully via Roboflow proxy";
    let long = step(id, fields.clone(), &service).run();
    assert_eq!(long, (false, sent.into()));
    let pictured = step(id, fields, &service).put("media_url", image()).run();
    assert_eq!(pictured, (false, sent.into()));
    let calls = service.calls();
    assert_eq!(
        (&*calls[0].line, &*calls[0].query),
        ("POST /apiproxy/twilio", "api_key=k3y")
    );
    assert_eq!(calls[0].json()["force_mms"], true);
    assert_eq!(calls[1].json()["media_base64"][0]["mimeType"], "image/jpeg");
    assert!(calls[1].json().get("force_mms").is_none());
    let fields = json!({"receiver_email": "a@x.org", "subject": "s",
        "message": "{{ $parameters.n }}", "message_parameters": {"n": 3}});
    let (error, text) = step("roboflow_core/email_notification@v2", fields, &service).run();
    assert!(error && text.starts_with("To prevent spam"), "{text}");
    let body = service.calls()[2].json();
    assert_eq!(body["receiver_email"], json!(["a@x.org"]));
    assert_eq!(
        body["message"], "{{ $parameters.n }}",
        "the platform puts values in"
    );
    assert_eq!(body["message_parameters"], json!({"n": 3}));
}
