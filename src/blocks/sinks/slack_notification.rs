//! Sends a message, and files with it, to a channel of Slack.
//!
//! # Inputs and outputs
//! `message` with its parameters goes to `channel` as the bot of `slack_token`. With `attachments`
//! each file is uploaded first and the message stands beside the files. `error_status`,
//! `throttling_status` and `message` tell what became of it.
//!
//! # State
//! The host keeps when the last attempt began, by token, `cooldown_session_key` and stream, so the
//! cooldown goes on over requests of a server.
//!
//! # Edge cases
//! Slack refuses with status 200; such a refusal is not tried again. Files keep the names that the
//! definition gives them; the reference calls each `Uploaded file`. All files go with one message; a
//! queued message and its files are one event. Tokens stand in no text.

use std::time::Duration;

use serde_json::json;
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

use super::fields;
use super::report::{QUEUED, Report, SENT, THROTTLED_OUTPUTS, entries};
use super::sending::{Sending, Words};
use super::shapes::{SECRET, TEXT};
use super::template::Message;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Role, StepProblem, Ty,
};
use crate::definition::step::Step;
use crate::delivery::{AddressPolicy, Errand, Exchange, Slot};
use crate::values::{Value, kind, python};

/// Longest cooldown that the host remembers.
const MAX_COOLDOWN: f64 = 900.0;
const TIMEOUT: Duration = Duration::from_secs(30);

/// `roboflow_core/slack_notification@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/slack_notification@v1"],
    name: "Slack Notification",
    family: Family::Sink,
    about: "Sends a message, and files with it, to a channel of Slack.",
    fields: FIELDS,
    outputs: THROTTLED_OUTPUTS,
    role: Role::Sink,
    engine: ">=1.4.0,<2.0.0",
    check: Some(check_cooldown),
    build: |step, _| {
        Ok(Box::new(SlackNotification {
            message: Message::new(step)?,
        }))
    },
    ..BlockSpec::DEFAULT
};

const FIELDS: &[Field] = &[
    Field::required("slack_token", SECRET)
        .about("Token of the bot.")
        .extra(r#"{"private": true}"#),
    Field::required("channel", TEXT)
        .about("Channel: its name or identifier, the identifier if files are attached."),
    fields::MESSAGE,
    fields::MESSAGE_PARAMETERS,
    fields::MESSAGE_OPERATIONS,
    Field::optional(
        "attachments",
        &[Ty::Map(&[Ty::Selector(&[kind::STRING, kind::BYTES])])],
        "{}",
    )
    .about("Files by name."),
    fields::FIRE_AND_FORGET,
    fields::DISABLE_SINK,
    fields::COOLDOWN,
    fields::COOLDOWN_SESSION,
];

/// The check of a literal cooldown that the host has to remember.
pub(super) fn check_cooldown(step: &Step) -> Vec<StepProblem> {
    let wrong = step
        .number("cooldown_seconds")
        .is_some_and(|seconds| !(0.0..=MAX_COOLDOWN).contains(&seconds));
    let problem = StepProblem {
        field: Some("cooldown_seconds"),
        message: "`cooldown_seconds` must be in range [0, 900]".into(),
    };
    wrong.then_some(problem).into_iter().collect()
}

/// Starts the timer of an account, unless the cooldown forbids an attempt now.
pub(super) fn start_shared(
    block: &str,
    account: &[&str],
    inputs: &Inputs<'_>,
    cx: &Context<'_>,
) -> Result<bool, BlockError> {
    let secrets: Vec<String> = account
        .iter()
        .map(|secret| hex::encode(Sha256::digest(secret.as_bytes())))
        .collect();
    let session = inputs.text("cooldown_session_key")?;
    let key = format!("{block}:{}:{session}:{}", secrets.join(":"), cx.stream);
    let seconds = inputs.int("cooldown_seconds")? as f64;
    let now = cx.services.clock.monotonic();
    Ok(cx.services.sinks.cooldowns.start(&key, seconds, now))
}

struct SlackNotification {
    message: Message,
}

impl Block for SlackNotification {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if let Some(off) = Report::off(inputs, cx)? {
            return Ok(off.with_throttling());
        }
        let text = self.message.text(inputs, cx)?;
        let token = inputs.text("slack_token")?;
        if !start_shared(BLOCK.type_id(), &[token], inputs, cx)? {
            return Ok(Report::throttled(cx).with_throttling());
        }
        let files: Vec<(&str, Vec<u8>)> = entries(inputs, "attachments")?
            .iter()
            .map(|(name, value)| (&**name, bytes(value)))
            .collect();
        let base = &cx.services.sinks.settings.slack;
        let channel = inputs.text("channel")?;
        let errand = match files.is_empty() {
            true => message(base, token, channel, &text),
            false => upload(base, token, channel, &text, files),
        };
        let sending = Sending {
            errand: &errand,
            addresses: AddressPolicy::Any,
            timeout: TIMEOUT,
            offline: false,
        };
        let failed = |reason: &str| {
            format!("Failed to send Slack notification. Internal error details: {reason}")
        };
        let words = Words {
            queued: QUEUED,
            sent: SENT,
            unqueued: &failed,
            failed: &|trouble| failed(&trouble.failure.to_string()),
        };
        Ok(sending.report(&words, inputs, cx)?.with_throttling())
    }
}

/// The content of a file: bytes as they are, anything else as Python prints it.
pub(super) fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.to_vec(),
        other => python::to_str(other).into_bytes(),
    }
}

fn call(base: &str, token: &str, method: &str) -> Exchange {
    Exchange::new("POST", format!("{base}/{method}"))
        .header("authorization", format!("Bearer {token}"))
        .want(&["/ok"])
}

fn message(base: &str, token: &str, channel: &str, text: &str) -> Errand {
    let body = json!({"channel": channel, "text": text});
    Errand::new(vec![call(base, token, "chat.postMessage").json(&body)])
}

/// Slack's upload: an address for each file, the file to that address, then all files at once to
/// the channel.
fn upload(
    base: &str,
    token: &str,
    channel: &str,
    text: &str,
    files: Vec<(&str, Vec<u8>)>,
) -> Errand {
    let form = "application/x-www-form-urlencoded";
    let mut exchanges = Vec::new();
    let mut listed = Vec::new();
    for (name, content) in files {
        let (address, id) = (Slot::new(), Slot::new());
        let asked: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("filename", name)
            .append_pair("length", &content.len().to_string())
            .finish();
        exchanges.push(
            call(base, token, "files.getUploadURLExternal")
                .body(form, asked)
                .keep(&address, "/upload_url")
                .keep(&id, "/file_id"),
        );
        let put = Exchange::new("POST", address.text());
        exchanges.push(put.body("application/octet-stream", content));
        listed.push(json!({"id": id.text(), "title": name}));
    }
    let body = json!({"files": listed, "channel_id": channel, "initial_comment": text});
    exchanges.push(call(base, token, "files.completeUploadExternal").json(&body));
    Errand::new(exchanges)
}
