//! E-mails through the platform, which puts the parameters in itself.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use super::{attachments, people};
use crate::blocks::sinks::managed::Managed;
use crate::blocks::sinks::platform;
use crate::blocks::sinks::report::{Report, entries};
use crate::blocks::{BlockError, Context, Inputs};
use crate::values::{Dict, Value, python};

const STRANGERS: &str = "To prevent spam, you can only send emails to members of your Roboflow Workspace via the Roboflow Managed API Key. Add this email to your Workspace or switch to sending via your own SMTP server.";
const TOO_LARGE: &str = "Failed to send email: attachment size exceeds the 5MB limit. For image attachments, use the Image Preprocessing block to resize images before sending. For other attachments (like CSV files), reduce the file size or send smaller data.";

const EMAIL: Managed = Managed {
    path: "email",
    what: "email",
    unsent: "e-mail",
    own: |status, text| {
        if status == 403 {
            return text.contains("non-workspace members").then_some(STRANGERS);
        }
        let too_large = status == 413 || text.contains("413") || text.contains("too large");
        too_large.then_some(TOO_LARGE)
    },
    too_many: "Failed to send email: rate limit exceeded. The workspace has exceeded its email sending limits. Please wait before sending more emails or contact support to increase your limits.",
    no_credits: "Failed to send email: workspace credits exceeded. Please add more credits to your workspace to continue sending emails.",
};

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
    EMAIL.send(&body, &key, inputs, cx)
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
