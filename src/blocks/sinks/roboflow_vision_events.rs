//! Records events with their images and predictions, on the platform or in a local store.
//!
//! # Inputs and outputs
//! `event_type` says which of the fields belong to the event; `predictions` are the annotations of
//! the image. `event_id` names the event, `error_status`, `throttling_status` and `message` tell what
//! became of it.
//!
//! # State
//! Per stream, when the last attempt began, for `cooldown_seconds`.
//!
//! # Edge cases
//! Fields that are `None` are left out, required or not. A segmentation without an outline, and one
//! whose outline has less than three points, is a box. Without an image annotations have nothing to
//! stand on and are left out. The platform wants a key, or the step fails; the local store does not,
//! and its address is held to the address policy. A queued event and its images are one event; it has
//! its identifier before it is sent, but as in the reference the step does not tell it. Images wait in
//! the form in which they go out.

mod annotations;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::cooldown::Cooldown;
use super::fields;
use super::platform;
use super::report::{Report, entries};
use super::sending::{Sending, in_background};
use super::shapes::{
    ATTRIBUTES, CHOSEN_TEXT, CHOSEN_TEXT_OR_NULL, FLAG, IMAGE_OR_NULL, PREDICTIONS_OR_NULL,
};
use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, Role, Ty, output,
};
use crate::delivery::{AddressPolicy, Errand, Exchange, Failure, Slot, Trouble};
use crate::row;
use crate::values::{Value, kind};

const TIMEOUT: Duration = Duration::from_secs(30);
const QUEUED: &str = "Vision event sent in background task";
/// Quality of the image that is shown, of the one that came in, and of those in a local store.
const SHOWN: u8 = 85;
const WHOLE: u8 = 95;

/// `roboflow_core/roboflow_vision_events@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/roboflow_vision_events@v1"],
    name: "Roboflow Vision Events",
    family: Family::Sink,
    about: "Records events with their images and predictions, on the platform or in a local store.",
    fields: FIELDS,
    outputs: &[
        output("error_status", &[kind::BOOLEAN]),
        output("throttling_status", &[kind::BOOLEAN]),
        output("event_id", &[kind::STRING]),
        output("message", &[kind::STRING]),
    ],
    role: Role::Sink,
    build: |_, _| Ok(Box::new(VisionEvents::default())),
    ..BlockSpec::DEFAULT
};

const FIELDS: &[Field] = &[
    Field::optional("input_image", IMAGE_OR_NULL, "null").about("Image as it came in.").always_visible(),
    Field::optional("output_image", IMAGE_OR_NULL, "null").about("Image as it is shown.").always_visible(),
    Field::optional("predictions", PREDICTIONS_OR_NULL, "null").about("Predictions that go with it.").always_visible(),
    Field::required("event_type", &[Ty::OneOf(&["quality_check", "inventory_count", "safety_alert", "custom", "operator_feedback"]), Ty::Selector(&[kind::STRING])]).about("Kind of the event.").extra(r#"{"always_visible": true, "values_metadata": {"custom": {"name": "Custom"}, "inventory_count": {"name": "Inventory Count"}, "operator_feedback": {"name": "Operator Feedback"}, "quality_check": {"name": "Quality Check"}, "safety_alert": {"name": "Safety Alert"}}}"#),
    Field::required("solution", &[Ty::Str, Ty::Selector(&[kind::ROBOFLOW_SOLUTION, kind::STRING])]).about("Use case that the event belongs to."),
    Field::optional("external_id", CHOSEN_TEXT_OR_NULL, "null").about("Identifier in another system.").extra(r#"{"relevant_for": {"event_type": {"values": ["quality_check", "inventory_count", "safety_alert", "custom"]}}}"#),
    Field::optional("qc_result", &[Ty::Selector(&[kind::STRING]), Ty::OneOf(&["pass", "fail"]), Ty::Null], "null").about("Result of the check.").extra(r#"{"always_visible": true, "relevant_for": {"event_type": {"required": true, "values": ["quality_check"]}}}"#),
    Field::optional("location", CHOSEN_TEXT_OR_NULL, "null").about("Place that was counted.").extra(r#"{"relevant_for": {"event_type": {"required": true, "values": ["inventory_count"]}}}"#),
    Field::optional("item_count", &[Ty::Selector(&[kind::INTEGER]), Ty::Int, Ty::Null], "null").about("Number of items.").extra(r#"{"always_visible": true, "relevant_for": {"event_type": {"required": true, "values": ["inventory_count"]}}}"#),
    Field::optional("item_type", CHOSEN_TEXT_OR_NULL, "null").about("What was counted.").extra(r#"{"relevant_for": {"event_type": {"required": true, "values": ["inventory_count"]}}}"#),
    Field::optional("alert_type", CHOSEN_TEXT_OR_NULL, "null").about("Kind of the alert.").extra(r#"{"always_visible": true, "relevant_for": {"event_type": {"required": true, "values": ["safety_alert"]}}}"#),
    Field::optional("severity", &[Ty::Selector(&[kind::STRING]), Ty::OneOf(&["low", "medium", "high"]), Ty::Null], "null").about("How severe it is.").extra(r#"{"relevant_for": {"event_type": {"required": true, "values": ["safety_alert"]}}}"#),
    Field::optional("alert_description", CHOSEN_TEXT_OR_NULL, "null").about("What happened.").extra(r#"{"relevant_for": {"event_type": {"required": true, "values": ["safety_alert"]}}}"#),
    Field::optional("custom_value", CHOSEN_TEXT_OR_NULL, "null").about("Value of the event.").extra(r#"{"always_visible": true, "relevant_for": {"event_type": {"required": true, "values": ["custom"]}}}"#),
    Field::optional("related_event_id", CHOSEN_TEXT_OR_NULL, "null").about("Event that the feedback is about.").extra(r#"{"always_visible": true, "relevant_for": {"event_type": {"required": true, "values": ["operator_feedback"]}}}"#),
    Field::optional("feedback", &[Ty::Selector(&[kind::STRING]), Ty::OneOf(&["correct", "incorrect", "inconclusive"]), Ty::Null], "null").about("Judgement on that event.").extra(r#"{"relevant_for": {"event_type": {"required": true, "values": ["operator_feedback"]}}}"#),
    Field::optional("custom_metadata", ATTRIBUTES, "{}").about("Further attributes.").extra(r#"{"additional_section": true}"#),
    fields::FIRE_AND_FORGET,
    fields::DISABLE_SINK,
    Field::optional("cooldown_seconds", &[Ty::IntIn(0, i64::MAX), Ty::FloatIn(Bounds::at_least(0.0)), Ty::Selector(&[kind::INTEGER, kind::FLOAT])], "1").about("Seconds between two attempts; 0 for no limit.").always_visible(),
    Field::optional("write_to_event_store", FLAG, "false").about("Whether the event goes to a local store and not to the platform."),
    Field::optional("event_store_url", CHOSEN_TEXT, r#""http://localhost:8001""#).about("Address of the local store.").extra(r#"{"relevant_for": {"write_to_event_store": {"required": false, "values": [true]}}}"#),
];

/// By kind of event, the fields and the names under which they are sent.
const EVENTS: &[(&str, &[(&str, &str)])] = &[
    (
        "quality_check",
        &[("result", "qc_result"), ("externalId", "external_id")],
    ),
    (
        "inventory_count",
        &[
            ("location", "location"),
            ("itemCount", "item_count"),
            ("itemType", "item_type"),
            ("externalId", "external_id"),
        ],
    ),
    (
        "safety_alert",
        &[
            ("alertType", "alert_type"),
            ("severity", "severity"),
            ("description", "alert_description"),
            ("externalId", "external_id"),
        ],
    ),
    (
        "custom",
        &[("value", "custom_value"), ("externalId", "external_id")],
    ),
    (
        "operator_feedback",
        &[
            ("relatedEventId", "related_event_id"),
            ("feedback", "feedback"),
        ],
    ),
];

#[derive(Default)]
struct VisionEvents {
    cooldown: Cooldown,
}

impl Block for VisionEvents {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if let Some(off) = Report::off(inputs, cx)? {
            return Ok(answer(off, String::new()));
        }
        if self.cooldown.forbids(inputs.float("cooldown_seconds")?, cx) {
            return Ok(answer(Report::throttled(cx), String::new()));
        }
        let local = inputs.flag("write_to_event_store")?;
        let (errand, sent) = match local {
            true => to_store(inputs, cx)?,
            false => to_platform(inputs, cx)?,
        };
        self.cooldown.start(cx);
        let settings = cx.services.dispatcher.settings();
        let addresses = match local {
            true => settings.addresses,
            false => AddressPolicy::Any,
        };
        let sending = Sending {
            errand: &errand,
            addresses,
            timeout: TIMEOUT,
            offline: cx.services.sinks.settings.offline && !local,
        };
        if in_background(inputs, cx)? {
            let report = match sending.post(cx) {
                Ok(()) => Report::done(QUEUED),
                Err(error) => {
                    Report::failed(format!("Failed to send vision event. Error: {error}"))
                }
            };
            return Ok(answer(report, String::new()));
        }
        Ok(match (sending.perform(cx), local) {
            (Ok(_), false) => answer(Report::done("Vision event sent successfully"), sent),
            (Ok(replies), true) => {
                let last = replies.last().map(|reply| reply.json()).unwrap_or_default();
                let id = last["id"]
                    .as_str()
                    .map_or_else(|| last["id"].to_string(), str::to_owned);
                answer(
                    Report::done("Event written to local event store successfully"),
                    id,
                )
            }
            (Err(trouble), local) => {
                let message = match local {
                    true => store_failure(&trouble),
                    false => platform_failure(&trouble),
                };
                answer(Report::undelivered(message, &trouble), String::new())
            }
        })
    }
}

fn answer(report: Report, event: String) -> Output {
    Output::One(row![report.error, report.throttled, event, report.message])
}

/// What belongs to the event.
fn event_data(inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Map<String, Json>, BlockError> {
    let kind = inputs.text("event_type")?;
    let Some((_, fields)) = EVENTS.iter().find(|(name, _)| *name == kind) else {
        tracing::warn!(step = cx.step, kind, "unknown kind of vision event");
        return Ok(Map::new());
    };
    let mut data = Map::new();
    for (name, field) in *fields {
        let value = inputs.value(field);
        if !value.is_none() {
            data.insert((*name).to_owned(), platform::json(value, cx)?);
        }
    }
    Ok(data)
}

fn custom_metadata(inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Json, BlockError> {
    platform::json(
        &Value::dict(entries(inputs, "custom_metadata")?.clone()),
        cx,
    )
}

fn is_filled(json: &Json) -> bool {
    json.as_object().is_some_and(|object| !object.is_empty())
}

/// An event for the platform: the images first. Also the identifier of the event.
fn to_platform(inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<(Errand, String), BlockError> {
    let key = platform::key(cx, "Roboflow Vision Events")?;
    let base = &cx.services.sinks.settings.platform;
    let bearer = format!("Bearer {}", key.expose());
    let mut exchanges = Vec::new();
    let mut image = Map::new();
    for (field, name, quality) in [
        ("output_image", "sourceId", SHOWN),
        ("input_image", "inputSourceId", WHOLE),
    ] {
        let Some(picture) = inputs.optional(field, |inputs, field| inputs.image(field))? else {
            continue;
        };
        let (content_type, body) = form(&platform::jpeg(picture, quality)?);
        let source = Slot::new();
        exchanges.push(
            platform::exchange(cx, "POST", format!("{base}/vision-events/upload"))
                .header("authorization", bearer.clone())
                .body(&content_type, body)
                .keep(&source, "/sourceId"),
        );
        image.insert(name.to_owned(), source.text().into());
    }
    let id = Uuid::new_v4().to_string();
    let mut event = json!({
        "eventId": id,
        "eventType": inputs.text("event_type")?,
        "useCaseId": inputs.text("solution")?,
        "timestamp": utc(cx),
    });
    let pictured = !image.is_empty();
    event["images"] = match pictured {
        true => {
            image.insert("label".into(), "workflow".into());
            image.extend(annotations::of(inputs.value("predictions")));
            json!([image])
        }
        false => json!([]),
    };
    let data = Json::Object(event_data(inputs, cx)?);
    for (name, part) in [
        ("eventData", data),
        ("customMetadata", custom_metadata(inputs, cx)?),
    ] {
        if is_filled(&part) {
            event[name] = part;
        }
    }
    if pictured {
        event["displayImagePosition"] = 0.into();
    }
    exchanges.push(
        platform::exchange(cx, "POST", format!("{base}/vision-events"))
            .header("authorization", bearer)
            .json(&event),
    );
    Ok((Errand::new(exchanges), id))
}

/// An event for a local store.
fn to_store(inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<(Errand, String), BlockError> {
    let mut image = Map::new();
    for (field, name) in [
        ("output_image", "base64Image"),
        ("input_image", "inputBase64Image"),
    ] {
        if let Some(picture) = inputs.optional(field, |inputs, field| inputs.image(field))? {
            let jpeg = platform::jpeg(picture, WHOLE)?;
            image.insert(name.to_owned(), STANDARD.encode(jpeg).into());
        }
    }
    let pictured = !image.is_empty();
    let mut event = json!({
        "inference_timestamp": utc(cx),
        "solution": inputs.text("solution")?,
        "event_schema": inputs.text("event_type")?,
        "event_data": event_data(inputs, cx)?,
        "images": [],
    });
    let metadata = custom_metadata(inputs, cx)?;
    if is_filled(&metadata) {
        event["custom_metadata"] = metadata;
    }
    if pictured {
        image.insert("label".into(), "workflow".into());
        image.extend(annotations::of(inputs.value("predictions")));
        event["images"] = json!([image]);
        event["displayImagePosition"] = 0.into();
    }
    let base = inputs.text("event_store_url")?.trim_end_matches('/');
    let mut exchange = Exchange::new("POST", format!("{base}/v2/events")).json(&event);
    if let Some(key) = &cx.services.sinks.settings.event_store_key {
        exchange = exchange.header("x-api-key", &**key);
    }
    Ok((Errand::new(vec![exchange]), String::new()))
}

/// The time in UTC with its offset.
fn utc(cx: &Context<'_>) -> String {
    let micros = (cx.now().unix_seconds() * 1e6).round() as i64;
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// The form of an upload: its type and its bytes.
fn form(jpeg: &[u8]) -> (String, Vec<u8>) {
    let boundary = Uuid::new_v4().simple().to_string();
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"image.jpg\"\r\n\
         Content-Type: image/jpeg\r\n\r\n"
    );
    let end = format!("\r\n--{boundary}--\r\n");
    let body = [head.as_bytes(), jpeg, end.as_bytes()].concat();
    (format!("multipart/form-data; boundary={boundary}"), body)
}

fn platform_failure(trouble: &Trouble) -> String {
    match &trouble.reply {
        Some(reply) => format!(
            "Failed to send vision event. Status: {}. Details: {}",
            reply.status,
            excerpt(&reply.body)
        ),
        None => format!(
            "Failed to send vision event. Error: {}: {}",
            platform::error_type(trouble),
            trouble.failure
        ),
    }
}

fn store_failure(trouble: &Trouble) -> String {
    let Some(reply) = &trouble.reply else {
        return match &trouble.failure {
            Failure::Timeout { .. } => {
                format!(
                    "Request to event store timed out after {}s",
                    TIMEOUT.as_secs()
                )
            }
            other => format!("Failed to write event to event store. Error: {other}"),
        };
    };
    let detail = match &reply.json()["detail"] {
        Json::Null => excerpt(&reply.body),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    match reply.status {
        529 => format!(
            "Event Ingestion Service at capacity (529). The device is experiencing backpressure. Detail: {detail}"
        ),
        status => format!("Failed to write event to event store. HTTP {status}: {detail}"),
    }
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Services;
    use crate::blocks::sinks::testing::Bench;

    #[test]
    fn the_platform_wants_a_key() {
        let fields = json!({"event_type": "custom", "solution": "s"});
        let mut bench = Bench::new(&BLOCK, fields, Services::default());
        let error = bench.run("a").unwrap_err().to_string();
        assert!(error.contains("without Roboflow API key"), "{error}");
    }

    #[test]
    fn every_kind_of_event_names_fields_that_exist() {
        for (_, fields) in EVENTS {
            for (_, field) in *fields {
                assert!(BLOCK.field_index(field).is_some(), "{field}");
            }
        }
    }
}
