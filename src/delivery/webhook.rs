//! Results of streams, posted to one address: `millrace run --webhook URL [--webhook-when NAME]`, or
//! sent to it as messages: `--kafka`, `--mqtt`, `--nats`, `--redis`.
//!
//! The body of a request is the JSON of one result behind an `id`: the idempotency key of the event,
//! which stands in the body because not every receiver has headers. It stays the same when the event
//! is sent again, so a receiver can drop what it has. The address is the operator's own, so private
//! ones are allowed whatever definitions may reach. Results of one stream arrive in order.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use serde::Serialize;
use serde_json::Value as Json;

use super::errand::is_true;
use super::{Dispatcher, Event, PostError, Request, RequestError};
use crate::redact::Redacted;

/// Limit for one attempt.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which results are posted: those in which an output is true.
///
/// The output is named as in the definition's `outputs`; further names behind dots lead into
/// objects and lists (`line.count_in`, `zones.0.occupied`). `$outputs.` may stand in front. True is
/// what Python takes for true: not null, false, zero or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    path: Vec<String>,
}

/// The condition names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no output, use the name of an output such as `alarm` or `line.count_in`")]
pub struct ConditionError(String);

impl std::str::FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let path = text.trim();
        let path = path.strip_prefix("$outputs.").unwrap_or(path);
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        if path
            .iter()
            .any(|name| name.is_empty() || name.starts_with('$'))
        {
            return Err(ConditionError(text.to_owned()));
        }
        Ok(Self { path })
    }
}

impl Condition {
    /// Name of the output.
    pub fn output(&self) -> &str {
        &self.path[0]
    }

    /// Whether the outputs of a result meet the condition.
    pub fn holds(&self, outputs: &Json) -> bool {
        let mut value = outputs;
        for name in &self.path {
            let inner = match value {
                Json::Array(items) => name.parse().ok().and_then(|i: usize| items.get(i)),
                _ => value.get(name),
            };
            match inner {
                Some(inner) => value = inner,
                None => return false,
            }
        }
        is_true(value)
    }
}

/// A result as it is posted.
#[derive(Serialize)]
struct Told<'a> {
    id: &'a str,
    #[serde(flatten)]
    result: &'a Json,
}

/// Posts results to one address.
#[derive(Clone)]
pub struct Webhook {
    dispatcher: Arc<Dispatcher>,
    url: Arc<str>,
    when: Option<Condition>,
}

impl Webhook {
    /// Posts to this address, those results that meet the condition if there is one.
    pub fn new(
        dispatcher: Arc<Dispatcher>,
        url: &str,
        when: Option<Condition>,
    ) -> Result<Self, RequestError> {
        Request::event(url, String::new())?;
        Ok(Self {
            dispatcher,
            url: url.into(),
            when,
        })
    }

    /// Queues the result of a stream; `outputs` is what the condition looks at, `body` the object that
    /// is posted. Says whether it was queued; events that do not find room are counted.
    pub fn post(&self, stream: &Arc<str>, outputs: &Json, body: &Json) -> Result<bool, PostError> {
        if self.when.as_ref().is_some_and(|when| !when.holds(outputs)) {
            return Ok(false);
        }
        let internal = |error: &dyn std::fmt::Display| PostError::Internal(error.to_string());
        let request = Request::event(&self.url, String::new()).map_err(|e| internal(&e))?;
        let told = Told {
            id: request.key(),
            result: body,
        };
        let told = serde_json::to_string(&told).map_err(|e| internal(&e))?;
        let request = request
            .body(HeaderValue::from_static("application/json"), told)
            .definition(&body["definition"])
            .timeout(TIMEOUT);
        self.dispatcher.post(Event {
            stream: stream.clone(),
            request: Arc::new(request),
        })?;
        Ok(true)
    }

    /// Where results go, safe to show.
    pub fn redacted_url(&self) -> Redacted {
        Redacted::text(&self.url)
    }
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Webhook({}, {:?})", self.redacted_url(), self.when)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_result_stands_behind_its_id() {
        let result = json!({"stream": "camera", "outputs": {"id": 7}});
        let told = Told {
            id: "k",
            result: &result,
        };
        assert_eq!(
            serde_json::to_string(&told).unwrap(),
            r#"{"id":"k","stream":"camera","outputs":{"id":7}}"#
        );
    }

    #[test]
    fn a_result_is_posted_when_the_named_output_is_true() {
        let outputs = json!({
            "alarm": true, "quiet": false, "count": 2, "none": null, "boxes": [],
            "line": {"in": 0, "out": 3}, "zones": [{"on": 1}],
        });
        for (name, holds) in [
            ("alarm", true),
            ("$outputs.alarm", true),
            ("quiet", false),
            ("count", true),
            ("none", false),
            ("boxes", false),
            ("line.in", false),
            ("line.out", true),
            ("zones.0.on", true),
            ("zones.1.on", false),
            ("missing", false),
        ] {
            let condition: Condition = name.parse().unwrap();
            assert_eq!(condition.holds(&outputs), holds, "{name}");
        }
        for name in ["", "a..b", "$steps.a.b"] {
            assert!(name.parse::<Condition>().is_err(), "{name}");
        }
    }
}
