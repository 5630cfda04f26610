//! With `OFFLINE_MODE` nothing leaves for the platform: neither what sinks would send now, nor what
//! waits in the outbox from before, nor what a definition addresses to it.

use std::time::{Duration, Instant};

use millrace::blocks::sinks::settings::SinkSettings;
use millrace::delivery::outbox::OutboxSettings;
use millrace::delivery::{AddressPolicy, Dispatcher, Errand, Event, Exchange, Request, Settings};
use serde_json::{Value as Json, json};

use crate::service::Service;
use crate::services::{boxes, image, queueing, waiting};
use crate::sink_step::{SinkStep, all_at};

/// Settings of a process in offline mode whose platform is at this address.
fn offline(base: &str, settings: Settings) -> (SinkSettings, Settings) {
    let sinks = SinkSettings {
        offline: true,
        ..all_at(base)
    };
    let settings = Settings {
        addresses: AddressPolicy::Any,
        forbidden: sinks.forbidden(),
        ..settings
    };
    (sinks, settings)
}

/// Every sink that sends to the platform, with fields under which it does.
fn sinks_of_the_platform() -> Vec<(&'static str, Json)> {
    let upload = json!({"images": null, "target_project": "cars", "usage_quota_name": "q"});
    let event = json!({"event_type": "quality_check", "solution": "s"});
    vec![
        ("roboflow_core/roboflow_dataset_upload@v1", upload.clone()),
        ("roboflow_core/roboflow_dataset_upload@v2", upload),
        ("roboflow_core/roboflow_vision_events@v1", event),
        (
            "roboflow_core/asset_library_attributes@v1",
            json!({"source_id": "a", "tags": ["x"]}),
        ),
        (
            "roboflow_core/email_notification@v2",
            json!({"receiver_email": "a@x.org", "subject": "s", "message": "m"}),
        ),
        (
            "roboflow_core/twilio_sms_notification@v2",
            json!({"receiver_number": "+2", "message": "m"}),
        ),
    ]
}

fn sink(id: &str, fields: Json, base: &str, settings: Settings) -> SinkStep {
    let (sinks, settings) = offline(base, settings);
    let sink = SinkStep::new(id, fields, sinks, settings);
    match id.contains("dataset_upload") {
        true => sink.put("images", image()),
        false => sink,
    }
}

#[test]
fn sinks_of_the_platform_say_so_and_send_nothing() {
    let service = Service::start(|_, _, _| (200, json!({})));
    for (id, fields) in sinks_of_the_platform() {
        for settings in [waiting(), queueing()] {
            let mut sink = sink(id, fields.clone(), &service.url(), settings);
            let (error, text) = sink.run();
            assert!(
                error && text.contains("OFFLINE_MODE is enabled"),
                "{id}: {text}"
            );
            let counts = sink.services.dispatcher.close(Duration::from_secs(1));
            assert_eq!((counts.delivered, counts.waiting), (0, 0), "{id}");
        }
    }
    assert_eq!(service.lines(), Vec::<String>::new());
}

#[test]
fn metadata_and_monitoring_do_nothing_in_silence() {
    let service = Service::start(|_, _, _| (200, json!({})));
    let fields = json!({"predictions": null, "field_name": "line", "field_value": "7"});
    let metadata = sink("RoboflowCustomMetadata", fields, &service.url(), waiting());
    let done = "Custom metadata upload was successful";
    assert_eq!(
        metadata.put("predictions", boxes()).run(),
        (false, done.into())
    );
    let id = "roboflow_core/model_monitoring_inference_aggregator@v1";
    let fields = json!({"predictions": null, "model_id": "m/1", "unique_aggregator_key": "o"});
    let mut report = sink(id, fields, &service.url(), waiting()).put("predictions", boxes());
    report.run();
    report.clock.advance(Duration::from_secs(5));
    assert_eq!(report.run(), (false, "Data sent successfully".into()));
    assert_eq!(service.lines(), Vec::<String>::new());
}

#[test]
fn other_receivers_and_a_local_event_store_are_reached() {
    let platform = Service::start(|_, _, _| (200, json!({})));
    let other = Service::start(|_, _, _| (200, json!({"id": "E1"})));
    let fields = json!({
        "event_type": "quality_check", "solution": "s", "write_to_event_store": true,
        "event_store_url": other.url(),
    });
    let id = "roboflow_core/roboflow_vision_events@v1";
    let (error, text) = sink(id, fields, &platform.url(), waiting()).run();
    assert!(!error, "{text}");
    let hook = |url: &str| {
        let fields =
            json!({"url": format!("{url}/hook"), "method": "POST", "fire_and_forget": false});
        sink(
            "roboflow_core/webhook_sink@v1",
            fields,
            &platform.url(),
            waiting(),
        )
        .run()
    };
    assert!(!hook(&other.url()).0);
    let (error, text) = hook(&platform.url());
    assert!(error && text.contains("OFFLINE_MODE"), "{text}");
    assert_eq!(other.lines(), ["POST /v2/events", "POST /hook"]);
    assert_eq!(platform.lines(), Vec::<String>::new());
}

/// What was queued online stays where it is until the process is online again.
#[test]
fn events_in_the_outbox_wait() {
    let service = Service::start(|_, _, _| (200, json!({})));
    let folder = tempfile::tempdir().unwrap();
    let errand = Errand::new(vec![
        Exchange::new("POST", format!("{}/dataset", service.url())).json(&json!({})),
    ]);
    let request = errand.request(AddressPolicy::Any, Duration::from_secs(5));
    let event = Event {
        stream: "camera".into(),
        request: std::sync::Arc::new(request.unwrap()),
    };
    let plain = Request::event(&format!("{}/plain", service.url()), "{}".into()).unwrap();
    let (_, settings) = offline(&service.url(), queueing());
    let dispatcher = Dispatcher::with_outbox(settings, OutboxSettings::new(folder.path()));
    dispatcher.post(event.clone()).unwrap();
    let plain = Event {
        request: std::sync::Arc::new(plain),
        ..event
    };
    dispatcher.post(plain).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let counts = dispatcher.close(Duration::from_secs(1));
    assert_eq!((counts.delivered, counts.waiting), (0, 2), "{counts}");
    drop(dispatcher);
    assert_eq!(service.lines(), Vec::<String>::new());

    let online = Dispatcher::with_outbox(queueing(), OutboxSettings::new(folder.path()));
    online.resume().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while online.counts().delivered < 2 && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let counts = online.close(Duration::from_secs(1));
    assert_eq!((counts.delivered, counts.waiting), (2, 0), "{counts}");
    let mut lines = service.lines();
    lines.sort();
    assert_eq!(lines, ["POST /dataset", "POST /plain"]);
}
