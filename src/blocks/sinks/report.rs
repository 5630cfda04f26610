//! What a sink answers: whether sending failed, whether the cooldown forbade it, and why.

use crate::blocks::{BlockError, Context, Inputs, Output, OutputSpec, output};
use crate::delivery::Trouble;
use crate::row;
use crate::values::{Dict, kind};

pub(super) const SENT: &str = "Notification sent successfully";
pub(super) const QUEUED: &str = "Notification sent in the background task";
const THROTTLED: &str = "Sink cooldown applies";
const OFF_BY_POLICY: &str = "Sink was disabled by workflow execution policy";
const OFF_BY_PARAMETER: &str = "Sink was disabled by parameter `disable_sink`";

/// Outputs of a sink with a cooldown.
pub(super) const THROTTLED_OUTPUTS: &[OutputSpec] = &[
    output("error_status", &[kind::BOOLEAN]),
    output("throttling_status", &[kind::BOOLEAN]),
    output("message", &[kind::STRING]),
];
/// Outputs of a sink without one.
pub(super) const OUTPUTS: &[OutputSpec] = &[
    output("error_status", &[kind::BOOLEAN]),
    output("message", &[kind::STRING]),
];

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) error: bool,
    pub(super) throttled: bool,
    pub(super) message: String,
}

impl Report {
    /// It went well.
    pub(super) fn done(message: impl Into<String>) -> Self {
        Self {
            error: false,
            throttled: false,
            message: message.into(),
        }
    }

    /// It went wrong.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self {
            error: true,
            ..Self::done(message)
        }
    }

    /// An attempt failed, of which `message` tells; says behind it that the event is kept, if it is.
    pub(super) fn undelivered(message: impl Into<String>, trouble: &Trouble) -> Self {
        let mut message = message.into();
        message.push_str(trouble.note());
        Self::failed(message)
    }

    /// The cooldown forbids it.
    pub(super) fn throttled(cx: &Context<'_>) -> Self {
        tracing::info!(step = cx.step, "{THROTTLED}");
        Self {
            throttled: true,
            ..Self::done(THROTTLED)
        }
    }

    /// What switches the sink off, if something does; the policy goes before the parameter.
    pub(super) fn off(inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Option<Self>, BlockError> {
        if let Some(off) = Self::off_by_policy(cx) {
            return Ok(Some(off));
        }
        let off = inputs.flag("disable_sink")?;
        Ok(off.then(|| Self::done(OFF_BY_PARAMETER)))
    }

    /// The same for sinks that only the policy switches off.
    pub(super) fn off_by_policy(cx: &Context<'_>) -> Option<Self> {
        cx.services.disable_sinks.then(|| Self::done(OFF_BY_POLICY))
    }

    /// As the outputs of a sink with a cooldown.
    pub(super) fn with_throttling(self) -> Output {
        Output::One(row![self.error, self.throttled, self.message])
    }

    /// As the outputs of a sink without one.
    pub(super) fn plain(self) -> Output {
        Output::One(row![self.error, self.message])
    }
}

/// The entries of an object in a field.
pub(super) fn entries<'a>(inputs: &Inputs<'a>, field: &str) -> Result<&'a Dict, BlockError> {
    let value = inputs.value(field);
    value.as_dict().ok_or_else(|| {
        BlockError::failed(format!(
            "field `{field}` must be an object, got {}",
            value.type_name()
        ))
    })
}
