//! Adds an attribute to inferences that the platform keeps.
//!
//! # Inputs and outputs
//! The inferences that `predictions` come from get `field_name` = `field_value`. `error_status` and
//! `message` tell what became of it.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Without a key the step fails. Boxes without an inference identifier, and no boxes at all, have
//! nothing to add to: that is reported. Identifiers go out in the order in which they first stand.

use serde_json::json;

use super::fields;
use super::platform;
use super::report::{OUTPUTS, Report};
use super::sending::Words;
use super::shapes::{LITERAL, PREDICTIONS, TEXT};
use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Role};
use crate::delivery::{Errand, Slot};
use crate::values::Value;
use crate::values::detections::column;

const NOTHING: &str = "Custom metadata upload failed because no inference_ids were received. This is known bug (https://github.com/roboflow/inference/issues/567). Please provide a report for the problem under mentioned issue.";

/// `roboflow_core/roboflow_custom_metadata@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/roboflow_custom_metadata@v1",
        "RoboflowCustomMetadata",
    ],
    name: "Roboflow Custom Metadata",
    family: Family::Sink,
    about: "Adds an attribute to inferences that the platform keeps.",
    fields: FIELDS,
    outputs: OUTPUTS,
    role: Role::Sink,
    build: |_, _| Ok(Box::new(CustomMetadata)),
    ..BlockSpec::DEFAULT
};

const FIELDS: &[Field] = &[
    Field::required("predictions", PREDICTIONS).about("Predictions that go with it."),
    Field::required("field_name", LITERAL).about("Name of the attribute."),
    Field::required("field_value", TEXT).about("Its value."),
    fields::FIRE_AND_FORGET,
];

struct CustomMetadata;

impl Block for CustomMetadata {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if let Some(off) = Report::off_by_policy(cx) {
            return Ok(off.plain());
        }
        let key = platform::key(cx, "RoboflowCustomMetadata")?;
        let inferences = inferences(inputs.value("predictions"));
        if inferences.is_empty() {
            return Ok(Report::failed(NOTHING).plain());
        }
        if cx.services.sinks.settings.offline {
            return Ok(Report::done("Custom metadata upload was successful").plain());
        }
        let workspace = Slot::new();
        let path = format!("/{}/inference-stats/metadata", workspace.text());
        let url = format!("{}&nocache=true", platform::url(cx, &path, &key));
        let entry = json!({
            "inference_ids": inferences,
            "field_name": inputs.text("field_name")?,
            "field_value": inputs.text("field_value")?,
        });
        let errand = Errand::new(vec![
            platform::workspace(cx, &key, &workspace),
            platform::exchange(cx, "POST", url).json(&json!({"data": [entry]})),
        ]);
        let failed = |kind: &str, details: &str| {
            format!(
                "Error while custom metadata registration. Error type: {kind}. Details: {details}"
            )
        };
        let words = Words {
            queued: "Registration happens in the background task",
            sent: "Custom metadata upload was successful",
            unqueued: &|reason| failed("DeliveryError", reason),
            failed: &|trouble| {
                failed(
                    platform::error_type(trouble),
                    &platform::error_text(trouble),
                )
            },
        };
        let sending = platform::sending(&errand, cx);
        Ok(sending.report(&words, inputs, cx)?.plain())
    }
}

/// The identifiers of the inferences, each once.
fn inferences(predictions: &Value) -> Vec<String> {
    let cells: Vec<&Value> = match predictions {
        Value::Detections(set) => set
            .column(column::INFERENCE_ID)
            .map(|cells| cells.iter().collect())
            .unwrap_or_default(),
        Value::Dict(entries) => entries.get(column::INFERENCE_ID).into_iter().collect(),
        _ => Vec::new(),
    };
    let mut known: Vec<String> = Vec::new();
    for id in cells.into_iter().filter_map(Value::as_str) {
        if !known.iter().any(|other| other == id) {
            known.push(id.to_owned());
        }
    }
    known
}
