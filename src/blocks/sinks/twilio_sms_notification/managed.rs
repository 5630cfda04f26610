//! Text messages through the platform.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::blocks::sinks::managed::Managed;
use crate::blocks::sinks::platform;
use crate::blocks::sinks::report::Report;
use crate::blocks::{BlockError, Context, Inputs};
use crate::values::Value;

const SMS: Managed = Managed {
    path: "twilio",
    what: "SMS",
    unsent: "SMS",
    own: |_, _| None,
    too_many: "Failed to send SMS: rate limit exceeded. The workspace has exceeded its SMS sending limits. Please wait before sending more messages.",
    no_credits: "Failed to send SMS: workspace credits exceeded. Please add more credits to your workspace to continue sending messages.",
};

/// Sends a text with its pictures; `long` says whether it needs more than a plain message.
pub(super) fn send(
    (text, long, media): (&str, bool, &[&Value]),
    inputs: &Inputs<'_>,
    cx: &Context<'_>,
) -> Result<Report, BlockError> {
    let key = platform::key(cx, "Twilio SMS Notification")?;
    let mut body = json!({"receiver_number": inputs.text("receiver_number")?, "message": text});
    let addresses: Vec<&str> = media.iter().filter_map(|value| value.as_str()).collect();
    if !addresses.is_empty() {
        body["media_urls"] = json!(addresses);
    }
    let images: Vec<Json> = media
        .iter()
        .filter_map(|value| value.as_image())
        .map(|image| {
            let jpeg = platform::jpeg(image, 90)?;
            Ok(json!({"base64": STANDARD.encode(jpeg), "mimeType": "image/jpeg"}))
        })
        .collect::<Result<_, BlockError>>()?;
    if !images.is_empty() {
        body["media_base64"] = images.into();
    }
    if long && media.is_empty() {
        body["force_mms"] = true.into();
    }
    SMS.send(&body, &key, inputs, cx)
}
