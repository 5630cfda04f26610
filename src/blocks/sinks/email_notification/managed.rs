//! E-mails through the platform, which puts the parameters in itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use super::{attachments, people};
use crate::blocks::sinks::platform;
use crate::blocks::sinks::report::{QUEUED, Report, entries};
use crate::blocks::sinks::sending::in_background;
use crate::blocks::{BlockError, Context, Inputs};
use crate::delivery::Errand;
use crate::delivery::errand::Trouble;
use crate::values::{Dict, Value, python};

const STRANGERS: &str = "To prevent spam, you can only send emails to members of your Roboflow Workspace via the Roboflow Managed API Key. Add this email to your Workspace or switch to sending via your own SMTP server.";
const TOO_LARGE: &str = "Failed to send email: attachment size exceeds the 5MB limit. For image attachments, use the Image Preprocessing block to resize images before sending. For other attachments (like CSV files), reduce the file size or send smaller data.";
const TOO_MANY: &str = "Failed to send email: rate limit exceeded. The workspace has exceeded its email sending limits. Please wait before sending more emails or contact support to increase your limits.";
const NO_CREDITS: &str = "Failed to send email: workspace credits exceeded. Please add more credits to your workspace to continue sending emails.";

/// Sends a mail with these parameters.
pub(super) fn send(
    parameters: &Dict,
    inputs: &Inputs<'_>,
    cx: &Context<'_>,
) -> Result<Report, BlockError> {
    let key = platform::key(cx, "Email Notification")?;
    let mut values = Map::new();
    for (name, value) in parameters {
        values.insert(name.to_string(), plain(value)?);
    }
    let mut body = json!({
        "receiver_email": people(inputs.value("receiver_email"))?,
        "subject": inputs.text("subject")?,
        "message": inputs.text("message")?,
        "message_parameters": values,
    });
    for field in ["cc_receiver_email", "bcc_receiver_email"] {
        let people = people(inputs.value(field))?;
        if !people.is_empty() {
            body[field] = json!(people);
        }
    }
    let files: Map<String, Json> = attachments(entries(inputs, "attachments")?)?
        .into_iter()
        .map(|file| (file.name, STANDARD.encode(file.content).into()))
        .collect();
    if !files.is_empty() {
        body["attachments"] = files.into();
    }
    let url = platform::proxy_url(cx, "email", &key);
    let errand = Errand::new(vec![platform::exchange(cx, "POST", url).json(&body)]);
    let sending = platform::sending(&errand, cx);
    if in_background(inputs, cx)? {
        return Ok(match sending.post(cx) {
            Ok(()) => Report::done(QUEUED),
            Err(error) => Report::failed(details(&error.to_string())),
        });
    }
    Ok(match sending.perform(cx) {
        Ok(_) => Report::done("Notification sent successfully via Roboflow proxy"),
        Err(trouble) => Report::failed(failure(&trouble)),
    })
}

/// A parameter as JSON: images as JPEG in base64, what JSON has no form for as Python prints it.
fn plain(value: &Value) -> Result<Json, BlockError> {
    Ok(match value {
        Value::None => Json::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => json!(number),
        Value::Image(image) => STANDARD.encode(platform::jpeg(image, 90)?).into(),
        Value::Dict(entries) => {
            let mut object = Map::new();
            for (name, value) in entries.iter() {
                object.insert(name.to_string(), plain(value)?);
            }
            object.into()
        }
        other => match other.as_slice() {
            Some(items) => items
                .iter()
                .map(plain)
                .collect::<Result<Vec<_>, _>>()?
                .into(),
            None => python::to_str(other).into(),
        },
    })
}

fn details(reason: &str) -> String {
    format!("Failed to send e-mail via proxy. Internal error details: {reason}")
}

fn failure(trouble: &Trouble) -> String {
    let Some(reply) = &trouble.reply else {
        return details(&platform::error_text(trouble));
    };
    let text = platform::proxy_text(trouble);
    let lower = text.to_lowercase();
    if reply.status == 403 {
        return match lower.contains("non-workspace members") {
            true => STRANGERS.into(),
            false => format!("Failed to send email: access forbidden. {text}"),
        };
    }
    let too_large = reply.status == 413 || lower.contains("413") || lower.contains("too large");
    match () {
        () if too_large => TOO_LARGE.into(),
        () if lower.contains("rate limit") => TOO_MANY.into(),
        () if lower.contains("credits exceeded") => NO_CREDITS.into(),
        () => format!("Failed to send email via proxy. {text}"),
    }
}
