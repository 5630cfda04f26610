//! Reports what models found to the platform's monitoring, now and then.
//!
//! # Inputs and outputs
//! `predictions` of `model_id` are gathered; every `frequency` seconds the most confident of each
//! class goes out. `error_status` and `message` tell what became of it.
//!
//! # State
//! Per stream, what was gathered. The host keeps when the last report was made, by
//! `unique_aggregator_key` and stream.
//!
//! # Edge cases
//! The first run only starts the time. Without boxes nothing is gathered. Without a key the step
//! fails. A report that was queued is delivered sooner or later; one made at once that fails for a
//! passing reason keeps what was gathered for the next, where the reference loses it. What is
//! gathered is one entry per class, so it does not grow with time. Of the machine the report tells
//! the operating system and the processor family alone.

use indexmap::IndexMap;
use serde_json::{Value as Json, json};

use super::fields;
use super::platform;
use super::report::{OUTPUTS, Report};
use super::sending::in_background;
use super::shapes::{LIMIT, LITERAL, PREDICTIONS};
use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Role, StepProblem, Ty,
};
use crate::definition::step::Step;
use crate::definitions::ApiKey;
use crate::delivery::{Errand, Slot};
use crate::values::detections::column;
use crate::values::{Value, kind, python};

const TOO_LOW: &str = "`frequency` cannot be lower than 1.";

/// `roboflow_core/model_monitoring_inference_aggregator@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/model_monitoring_inference_aggregator@v1"],
    name: "Model Monitoring Inference Aggregator",
    family: Family::Sink,
    about: "Reports what models found to the platform's monitoring, now and then.",
    fields: FIELDS,
    outputs: OUTPUTS,
    role: Role::Sink,
    check: Some(check),
    build: |_, _| Ok(Box::new(Aggregator::default())),
    ..BlockSpec::DEFAULT
};

const FIELDS: &[Field] = &[
    Field::required("predictions", PREDICTIONS).about("Predictions that go with it."),
    Field::required("model_id", &[Ty::Selector(&[kind::ROBOFLOW_MODEL_ID])])
        .about("Model that predicted."),
    Field::optional("frequency", LIMIT, "5").about("Seconds between two reports."),
    Field::required("unique_aggregator_key", LITERAL)
        .about("What the time is counted for.")
        .extra(r#"{"hidden": true}"#),
    fields::FIRE_AND_FORGET,
];

fn check(step: &Step) -> Vec<StepProblem> {
    let wrong = step
        .number("frequency")
        .is_some_and(|seconds| seconds < 1.0);
    let problem = StepProblem {
        field: Some("frequency"),
        message: TOO_LOW.into(),
    };
    wrong.then_some(problem).into_iter().collect()
}

/// The most confident entry of each class.
type Gathered = IndexMap<String, (f64, Json)>;

#[derive(Default)]
struct Aggregator {
    streams: PerStream<Gathered>,
}

impl Block for Aggregator {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if let Some(off) = Report::off_by_policy(cx) {
            return Ok(off.plain());
        }
        let key = platform::key(cx, "ModelMonitoringInferenceAggregator")?;
        let seconds = frequency(inputs.value("frequency"))?;
        let gathered = self.streams.get(cx.stream, Gathered::new);
        gather(
            gathered,
            inputs.value("predictions"),
            inputs.text("model_id")?,
        );
        let timer = inputs.text("unique_aggregator_key")?;
        let timer = format!("{}:{timer}:{}", BLOCK.type_id(), cx.stream);
        let cooldowns = &cx.services.sinks.cooldowns;
        let (now, first) = (
            cx.services.clock.monotonic(),
            cooldowns.started(&timer).is_none(),
        );
        if !cooldowns.start(&timer, seconds, now) || first {
            return Ok(Report::done("Not in reporting range, skipping report. (Ok)").plain());
        }
        let report = report(gathered, &key, inputs, cx)?;
        Ok(report.plain())
    }
}

/// Makes a report of what was gathered, and begins anew unless it is to be tried again.
fn report(
    gathered: &mut Gathered,
    key: &ApiKey,
    inputs: &Inputs<'_>,
    cx: &Context<'_>,
) -> Result<Report, BlockError> {
    if cx.services.sinks.settings.offline {
        gathered.clear();
        return Ok(Report::done("Data sent successfully"));
    }
    let results: Vec<&Json> = gathered.values().map(|(_, entry)| entry).collect();
    let device = hostname();
    let body = json!({
        "timestamp": cx.now().isoformat(),
        "source": "workflow",
        "source_info": "ModelMonitoringInferenceAggregatorBlockV1",
        "inference_results": results,
        "device_id": device,
        "inference_server_version": env!("CARGO_PKG_VERSION"),
        "platform": std::env::consts::OS,
        "platform_machine": std::env::consts::ARCH,
    });
    let workspace = Slot::new();
    let url = platform::url(cx, &format!("/{}/inference-stats", workspace.text()), key);
    let errand = Errand::new(vec![
        platform::workspace(cx, key, &workspace),
        platform::exchange(cx, "POST", url).json(&body),
    ]);
    let sending = platform::sending(&errand, cx);
    let failed = |kind: &str, details: &str| {
        format!("Error while uploading inference data. Error type: {kind}. Details: {details}")
    };
    if in_background(inputs, cx)? {
        return Ok(match sending.post(cx) {
            Ok(()) => {
                gathered.clear();
                Report::done("Reporting happens in the background task")
            }
            Err(error) => Report::failed(failed("DeliveryError", &error.to_string())),
        });
    }
    Ok(match sending.perform(cx) {
        Ok(_) => {
            gathered.clear();
            Report::done("Data sent successfully")
        }
        Err(trouble) => {
            // What is kept is reported again as it is.
            if trouble.kept || !trouble.failure.retry() {
                gathered.clear();
            }
            let message = failed(
                platform::error_type(&trouble),
                &platform::error_text(&trouble),
            );
            Report::undelivered(message, &trouble)
        }
    })
}

/// Name of the machine, as the kernel has it.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Seconds between reports; selectors may bring them as text.
fn frequency(value: &Value) -> Result<f64, BlockError> {
    let seconds = match value.as_str() {
        Some(text) => text.trim().parse::<i64>().ok(),
        None => value.as_i64(),
    };
    match seconds {
        Some(seconds @ 1..) => Ok(seconds as f64),
        _ => Err(BlockError::Input(TOO_LOW.into())),
    }
}

/// Takes over what is more confident than what is there.
fn gather(gathered: &mut Gathered, predictions: &Value, model: &str) {
    for entry in flattened(predictions) {
        let better = gathered
            .get(&entry.class)
            .is_none_or(|(confidence, _)| entry.confidence > *confidence);
        if better {
            let json = json!({
                "model_id": model,
                "class_name": entry.class,
                "confidence": entry.confidence,
                "inference_id": entry.inference,
                "model_type": entry.model_type,
            });
            gathered.insert(entry.class, (entry.confidence, json));
        }
    }
}

struct Entry {
    class: String,
    confidence: f64,
    inference: Option<String>,
    model_type: Option<String>,
}

fn flattened(predictions: &Value) -> Vec<Entry> {
    let text = |value: Option<&Value>| value.filter(|v| !v.is_none()).map(python::to_str);
    match predictions {
        Value::Detections(set) => (0..set.len())
            .map(|row| Entry {
                class: set
                    .class_name(row)
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                confidence: set
                    .confidence
                    .as_ref()
                    .and_then(|all| all.get(row).copied())
                    .unwrap_or(0.0),
                inference: text(set.cell(column::INFERENCE_ID, row)),
                model_type: text(set.cell(column::PREDICTION_TYPE, row)),
            })
            .collect(),
        Value::Dict(entries) => {
            let of = |class: String, value: Option<&Value>| Entry {
                class,
                confidence: value.and_then(Value::as_f64).unwrap_or(0.0),
                inference: text(entries.get(column::INFERENCE_ID)),
                model_type: text(entries.get(column::PREDICTION_TYPE)),
            };
            match entries.get("predictions") {
                Some(Value::Dict(classes)) => classes
                    .iter()
                    .map(|(name, one)| {
                        let one = one.as_dict();
                        of(name.to_string(), one.and_then(|one| one.get("confidence")))
                    })
                    .collect(),
                Some(list) => list
                    .as_slice()
                    .unwrap_or_default()
                    .iter()
                    .filter_map(Value::as_dict)
                    .map(|one| {
                        let class = text(one.get("class")).unwrap_or_default();
                        of(class, one.get("confidence"))
                    })
                    .collect(),
                None => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_confident_of_each_class_is_kept_first_on_ties() {
        let one = |id: &str| {
            Value::from_json(&json!({
                "inference_id": id, "prediction_type": "classification", "top": "a",
                "predictions": [{"class": "a", "confidence": 0.5}, {"class": "b", "confidence": 0.1}],
            }))
        };
        let mut gathered = Gathered::new();
        gather(&mut gathered, &one("1"), "m/1");
        gather(&mut gathered, &one("2"), "m/2");
        let many = json!({"inference_id": "3", "predictions": {"b": {"confidence": 0.9}}});
        gather(&mut gathered, &Value::from_json(&many), "m/3");
        assert_eq!(gathered["a"].1["inference_id"], "1");
        assert_eq!(gathered["b"].1["model_id"], "m/3");
        assert_eq!(gathered.len(), 2);
    }
}
