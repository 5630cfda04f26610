//! The platform and a local event store, as far as sinks know them.

use std::time::Duration;

use millrace::delivery::Dispatcher;
use millrace::delivery::outbox::OutboxSettings;
use millrace::values::{Detections, Value};
use serde_json::{Value as Json, json};

use crate::service::{Call, Service};
use crate::services::{boxes, image, queueing, step, waiting};
use crate::sink_step::{SinkStep, all_at};

fn platform(call: &Call, _: usize, _: &str) -> (u16, Json) {
    let json = match &*call.line {
        "GET /" => json!({"workspace": "ws"}),
        "POST /dataset/cars/upload" if call.text().contains("twice.jpg") => {
            json!({"duplicate": true, "id": "X"})
        }
        "POST /dataset/cars/upload" => json!({"success": true, "id": "ID 1"}),
        "POST /vision-events/upload" => json!({"sourceId": "S1"}),
        "POST /ws/images/metadata" => json!({"taskId": "T"}),
        _ => json!({"success": true}),
    };
    (200, json)
}

fn upload(version: u8) -> (String, Json) {
    let fields = json!({
        "images": null, "target_project": "cars", "usage_quota_name": "q",
        "image_name": "one", "registration_tags": ["a b"], "minutely_usage_limit": 2,
        "labeling_batches_recreation_frequency": "never",
    });
    (
        format!("roboflow_core/roboflow_dataset_upload@v{version}"),
        fields,
    )
}

#[test]
fn images_are_uploaded_and_annotated() {
    let service = Service::start(platform);
    let (id, fields) = upload(1);
    let mut uploading = step(&id, fields.clone(), &service)
        .put("images", image())
        .put("predictions", boxes());
    let done = "Successfully registered image and annotation";
    assert_eq!(uploading.run(), (false, done.into()));
    let calls = service.calls();
    assert_eq!(
        calls[0].query,
        "api_key=k3y&batch=workflows_data_collector&inference_id=i-1&tag=a%20b"
    );
    assert!(
        calls[0]
            .text()
            .contains("name=\"file\"; filename=\"imageToUpload\"")
    );
    assert_eq!(calls[1].line, "POST /dataset/cars/annotate/ID%201");
    assert_eq!(calls[1].query, "api_key=k3y&name=one.json&prediction=true");
    let annotation = calls[1].json();
    assert_eq!(annotation["image"], json!({"width": 512, "height": 153}));
    assert_eq!(annotation["predictions"][0]["width"], 51.0);
    uploading = uploading
        .put("predictions", Value::None)
        .put("image_name", "twice".into());
    assert_eq!(uploading.run(), (false, "Duplicated image".into()));
    uploading = uploading.put("image_name", "two".into());
    assert_eq!(
        uploading.run(),
        (false, "Successfully registered image".into())
    );
    let full = "Registration skipped due to usage quota exceeded";
    assert_eq!(
        uploading.run(),
        (false, full.into()),
        "a duplicate gave its credit back"
    );
    uploading.clock.advance(Duration::from_secs(60));
    assert!(uploading.run().1.starts_with("Successfully"));
}

#[test]
fn a_share_and_attributes_of_images() {
    let service = Service::start(platform);
    let (id, mut fields) = upload(2);
    fields["data_percentage"] = json!(0);
    let mut none = step(&id, fields.clone(), &service).put("images", image());
    let skipped = "Registration skipped due to sampling settings";
    assert_eq!(none.run(), (false, skipped.into()));
    fields["data_percentage"] = json!(100);
    fields["metadata"] = json!({"site": "n"});
    let mut all = step(&id, fields, &service).put("images", image());
    assert_eq!(all.run(), (false, "Successfully registered image".into()));
    let calls = service.calls();
    assert_eq!(calls.len(), 1);
    assert!(calls[0].text().contains("{\"site\":\"n\"}"));
}

#[test]
fn attributes_go_to_inferences_and_to_images() {
    let service = Service::start(platform);
    let fields = json!({"predictions": null, "field_name": "line", "field_value": "7"});
    let id = "RoboflowCustomMetadata";
    let mut some = step(id, fields.clone(), &service).put("predictions", boxes());
    assert_eq!(
        some.run(),
        (false, "Custom metadata upload was successful".into())
    );
    let call = &service.calls()[1];
    assert_eq!(call.line, "POST /ws/inference-stats/metadata");
    assert_eq!(
        call.json(),
        json!({"data": [{"inference_ids": ["i-1"], "field_name": "line", "field_value": "7"}]})
    );
    let none = Value::detections(Detections::empty());
    assert!(step(id, fields, &service).put("predictions", none).run().0);
    let fields = json!({"source_id": "a/b", "metadata": {"x": 1}, "tags": ["x", "y", "x"]});
    let mut image = step(
        "roboflow_core/asset_library_attributes@v1",
        fields,
        &service,
    );
    assert_eq!(
        image.run(),
        (false, "Image attributes update submitted".into())
    );
    let calls = service.calls();
    let call = calls.last().unwrap();
    assert_eq!(call.line, "POST /ws/images/a%2Fb/metadata");
    assert_eq!(
        call.json(),
        json!({"metadata": {"x": 1}, "addTags": ["y", "x"]})
    );
}

#[test]
fn the_monitoring_gets_the_best_of_each_class_now_and_then() {
    let service = Service::start(platform);
    let fields = json!({"predictions": null, "model_id": "m/1", "unique_aggregator_key": "u"});
    let id = "roboflow_core/model_monitoring_inference_aggregator@v1";
    let mut report = step(id, fields, &service).put("predictions", boxes());
    let not_yet = (
        false,
        "Not in reporting range, skipping report. (Ok)".to_owned(),
    );
    assert_eq!(report.run(), not_yet);
    report.clock.advance(Duration::from_secs(4));
    assert_eq!(report.run(), not_yet);
    report.clock.advance(Duration::from_secs(1));
    assert_eq!(report.run(), (false, "Data sent successfully".into()));
    let call = &service.calls()[1];
    assert_eq!(call.line, "POST /ws/inference-stats");
    assert_eq!(
        call.json()["inference_results"],
        json!([{"model_id": "m/1", "class_name": "car", "confidence": 0.75,
            "inference_id": "i-1", "model_type": "object-detection"}])
    );
}

fn event() -> Json {
    json!({"event_type": "quality_check", "solution": "s", "qc_result": "fail",
        "location": "not of this kind", "custom_metadata": {"n": 1}})
}

#[test]
fn events_go_to_the_platform_with_their_images() {
    let service = Service::start(platform);
    let id = "roboflow_core/roboflow_vision_events@v1";
    let mut sink = step(id, event(), &service)
        .put("output_image", image())
        .put("input_image", image())
        .put("predictions", boxes());
    assert_eq!(sink.run(), (false, "Vision event sent successfully".into()));
    let calls = service.calls();
    assert_eq!(service.lines()[0], "POST /vision-events/upload");
    assert!(
        calls
            .iter()
            .all(|call| call.header("authorization") == "Bearer k3y")
    );
    let sent = calls[2].json();
    assert_eq!(sent["eventData"], json!({"result": "fail"}));
    assert_eq!(sent["customMetadata"], json!({"n": 1}));
    let image = &sent["images"][0];
    assert_eq!(
        (&image["sourceId"], &image["inputSourceId"]),
        (&json!("S1"), &json!("S1"))
    );
    assert_eq!(
        image["objectDetections"],
        json!([{"class": "car", "x": 150.0, "y": 200.0, "width": 100.0, "height": 200.0,
            "confidence": 0.75}])
    );
}

#[test]
fn events_go_to_a_local_store_and_its_refusals_are_told() {
    let service = Service::start(|call, number, _| match (number, &*call.line) {
        (0, "POST /v2/events") => (201, json!({"id": "E1"})),
        _ => (529, json!({"detail": "full"})),
    });
    let mut fields = event();
    fields["write_to_event_store"] = json!(true);
    fields["event_store_url"] = json!(format!("{}/", service.url()));
    let id = "roboflow_core/roboflow_vision_events@v1";
    let mut sinks = all_at(&service.url());
    (sinks.api_key, sinks.event_store_key) = (None, Some("st0re".into()));
    let mut sink = SinkStep::new(id, fields, sinks, waiting()).put("output_image", image());
    let written = "Event written to local event store successfully";
    assert_eq!(sink.run(), (false, written.into()));
    sink.clock.advance(Duration::from_secs(1));
    let (error, text) = sink.run();
    assert!(
        error && text.contains("at capacity (529)") && text.ends_with("Detail: full"),
        "{text}"
    );
    let call = &service.calls()[0];
    assert_eq!(call.header("x-api-key"), "st0re");
    assert_eq!(call.json()["event_schema"], "quality_check");
    assert!(call.json()["images"][0]["base64Image"].is_string());
}

#[test]
fn a_step_that_waits_has_its_answer_and_its_event_is_kept_if_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(|call, number, base| match number {
        2 => (503, json!({})),
        _ => platform(call, number, base),
    });
    let (id, mut fields) = upload(1);
    fields["fire_and_forget"] = json!(false);
    let dispatcher = Dispatcher::with_outbox(queueing(), OutboxSettings::new(folder.path()));
    let sinks = all_at(&service.url());
    let mut sink = SinkStep::delivering(&id, fields, sinks, dispatcher)
        .put("images", image())
        .put("predictions", boxes());
    let done = "Successfully registered image and annotation";
    assert_eq!(sink.run(), (false, done.into()));
    sink = sink
        .put("predictions", Value::None)
        .put("image_name", "twice".into());
    let (error, text) = sink.run();
    assert!(
        error && text.ends_with("response code: 503; the event is kept and sent again"),
        "{text}"
    );
    let counts = sink.services.dispatcher.close(Duration::from_secs(20));
    assert_eq!(
        (counts.delivered, counts.retried, counts.waiting),
        (2, 1, 0)
    );
    sink.clock.advance(Duration::from_secs(1));
    let calls = service.calls();
    let key = |i: usize| calls[i].header("idempotency-key");
    assert_eq!((calls.len(), key(2)), (4, key(3)));
}

#[test]
fn requests_of_sinks_name_the_definition_that_made_them() {
    let service = Service::start(platform);
    let fields = json!({"predictions": null, "field_name": "line", "field_value": "7"});
    let mut sink = step("RoboflowCustomMetadata", fields, &service).put("predictions", boxes());
    sink.services.definition = json!({"hash": "d86e34748e80", "source": "file"}).into();
    assert!(!sink.run().0);
    for call in service.calls() {
        let stamp = call.header("x-millrace-definition");
        assert_eq!(stamp, "hash=d86e34748e80; source=file");
    }
}

#[test]
fn a_gateway_is_asked_in_place_of_the_platform_and_the_workspace_once() {
    let service = Service::start(|call, _, _| {
        let ask = call.query.contains("%2F%3Fapi_key");
        (200, json!({"workspace": if ask { "ws" } else { "" }}))
    });
    let mut sinks = all_at("http://platform.invalid");
    sinks.gateway = Some(format!("{}/", service.url()).parse().unwrap());
    let fields = json!({"predictions": null, "field_name": "line", "field_value": "7"});
    let id = "RoboflowCustomMetadata";
    let mut sink = SinkStep::new(id, fields, sinks, waiting()).put("predictions", boxes());
    for _ in 0..3 {
        let (error, text) = sink.run();
        assert!(!error, "{text}");
    }
    let posted = "POST /proxy";
    assert_eq!(service.lines(), ["GET /proxy", posted, posted, posted]);
    let asked = &service.calls()[1].query;
    let target = "url=http%3A%2F%2Fplatform.invalid%2Fws%2Finference-stats%2Fmetadata%3F";
    assert!(asked.starts_with(target), "{asked}");
}
