//! Text messages through the platform.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use crate::blocks::sinks::platform;
use crate::blocks::sinks::report::{QUEUED, Report};
use crate::blocks::sinks::sending::in_background;
use crate::blocks::{BlockError, Context, Inputs};
use crate::delivery::Errand;
use crate::delivery::errand::Trouble;
use crate::values::Value;

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
    let url = platform::proxy_url(cx, "twilio", &key);
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

fn details(reason: &str) -> String {
    format!("Failed to send SMS via proxy. Internal error details: {reason}")
}

fn failure(trouble: &Trouble) -> String {
    let Some(reply) = &trouble.reply else {
        return details(&platform::error_text(trouble));
    };
    let text = platform::proxy_text(trouble);
    let lower = text.to_lowercase();
    if reply.status == 403 {
        format!("Failed to send SMS: access forbidden. {text}")
    } else if lower.contains("rate limit") {
        "Failed to send SMS: rate limit exceeded. The workspace has exceeded its SMS sending limits. Please wait before sending more messages.".into()
    } else if lower.contains("credits exceeded") {
        "Failed to send SMS: workspace credits exceeded. Please add more credits to your workspace to continue sending messages.".into()
    } else {
        format!("Failed to send SMS via proxy. {text}")
    }
}
