//! Sends text messages, with pictures in the second version, through Twilio.
//!
//! # Inputs and outputs
//! `message` with its parameters goes to `receiver_number`: from the account that the step names, or
//! (second version) through the platform, which keeps an account of its own. `error_status`,
//! `throttling_status` and `message` tell what became of it.
//!
//! # State
//! First version: the host keeps when the last attempt began, by account, `cooldown_session_key` and
//! stream. Second version: the step does, per stream.
//!
//! # Edge cases
//! A text that is too long is cut and ends in `[...]`. With an account of its own Twilio fetches
//! pictures by address: an image there is an error that says so. The reference puts customers'
//! images on a public file host for that, and a transparent dot to turn a long text into a message
//! with media; this one sends nothing anywhere but to Twilio. An account that is not told in full is
//! an error that starts no cooldown. Tokens stand in no text.

mod managed;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use super::cooldown::Cooldown;
use super::fields;
use super::report::{QUEUED, Report, SENT, THROTTLED_OUTPUTS};
use super::sending::{Sending, Words};
use super::shapes::{SECRET, SECRET_OR_NULL, TEXT, TEXT_OR_NULL, WHOLE};
use super::slack_notification::{check_cooldown, start_shared};
use super::template::Message;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Role, StepProblem, Ty,
};
use crate::definition::step::Step;
use crate::delivery::{AddressPolicy, Errand, Exchange};
use crate::values::{Value, kind};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Characters of one plain text message.
const PLAIN: usize = 160;
/// Characters that the second version sends at most.
const MOST: usize = 1600;

/// `roboflow_core/twilio_sms_notification@v1`
pub static BLOCK_V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/twilio_sms_notification@v1"],
    name: "Twilio SMS Notification",
    family: Family::Sink,
    about: "Sends a text message from an account of Twilio.",
    fields: FIELDS_V1,
    outputs: THROTTLED_OUTPUTS,
    role: Role::Sink,
    engine: ">=1.4.0,<2.0.0",
    check: Some(check_v1),
    build: |step, _| {
        Ok(Box::new(V1 {
            message: Message::new(step)?,
        }))
    },
    ..BlockSpec::DEFAULT
};

/// `roboflow_core/twilio_sms_notification@v2`
pub static BLOCK_V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/twilio_sms_notification@v2"],
    name: "Twilio SMS/MMS Notification",
    family: Family::Sink,
    about: "Sends a text message with pictures, through the platform or an account of Twilio.",
    fields: FIELDS_V2,
    outputs: THROTTLED_OUTPUTS,
    role: Role::Sink,
    engine: ">=1.4.0,<2.0.0",
    build: |step, _| {
        Ok(Box::new(V2 {
            message: Message::new(step)?,
            cooldown: Cooldown::default(),
        }))
    },
    ..BlockSpec::DEFAULT
};

const FIELDS_V1: &[Field] = &[
    Field::required("twilio_account_sid", SECRET)
        .about("Identifier of the account.")
        .extra(r#"{"private": true}"#),
    Field::required("twilio_auth_token", SECRET)
        .about("Token of the account.")
        .extra(r#"{"hide_description": true}"#),
    Field::required("sender_number", TEXT)
        .about("Number of the sender.")
        .extra(r#"{"hide_description": true}"#),
    Field::required("receiver_number", TEXT)
        .about("Number of the receiver.")
        .extra(r#"{"hide_description": true}"#),
    fields::MESSAGE,
    fields::MESSAGE_PARAMETERS,
    fields::MESSAGE_OPERATIONS,
    fields::FIRE_AND_FORGET,
    fields::DISABLE_SINK,
    fields::COOLDOWN,
    fields::COOLDOWN_SESSION,
    Field::optional("length_limit", WHOLE, "160")
        .about("Characters after which the text is cut.")
        .always_visible(),
];

const FIELDS_V2: &[Field] = &[
    Field::optional("sms_provider", &[Ty::OneOf(&["Roboflow Managed API Key", "Custom Twilio"])], r#""Roboflow Managed API Key""#).about("Who delivers: the platform, or an account of your own.").always_visible(),
    Field::required("receiver_number", TEXT).about("Number of the receiver.").extra(r#"{"always_visible": true, "hide_description": true}"#),
    fields::SHOWN_MESSAGE,
    fields::MESSAGE_PARAMETERS,
    fields::MESSAGE_OPERATIONS,
    Field::optional("media_url", &[Ty::Str, Ty::List(&[Ty::Str]), Ty::Selector(&[kind::STRING, kind::LIST_OF_VALUES, kind::IMAGE]), Ty::Null], "null").about("Pictures: addresses, or an image if the platform delivers.").extra(r#"{"hide_description": true}"#),
    Field::optional("twilio_account_sid", SECRET_OR_NULL, "null").about("Identifier of the account.").extra(r#"{"relevant_for": {"sms_provider": {"required": true, "values": ["Custom Twilio"]}}}"#),
    Field::optional("twilio_auth_token", SECRET_OR_NULL, "null").about("Token of the account.").extra(r#"{"hide_description": true, "relevant_for": {"sms_provider": {"required": true, "values": ["Custom Twilio"]}}}"#),
    Field::optional("sender_number", TEXT_OR_NULL, "null").about("Number of the sender.").extra(r#"{"hide_description": true, "relevant_for": {"sms_provider": {"required": true, "values": ["Custom Twilio"]}}}"#),
    fields::FIRE_AND_FORGET,
    fields::DISABLE_SINK,
    fields::COOLDOWN,
];

fn check_v1(step: &Step) -> Vec<StepProblem> {
    let mut problems = check_cooldown(step);
    if step
        .number("length_limit")
        .is_some_and(|limit| limit <= 0.0)
    {
        problems.push(StepProblem {
            field: Some("length_limit"),
            message: "Length limit for SMS message must be greater than 0".into(),
        });
    }
    problems
}

/// The text, cut so that it has no more characters than the limit.
fn cut(text: String, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text;
    }
    let kept: String = text.chars().take(limit.saturating_sub(6)).collect();
    format!("{kept} [...]")
}

/// The account that a message comes from.
struct Account<'a> {
    sid: &'a str,
    token: &'a str,
    sender: &'a str,
}

impl Account<'_> {
    fn errand(&self, base: &str, receiver: &str, text: &str, media: &[String]) -> Errand {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Body", text)
            .append_pair("From", self.sender)
            .append_pair("To", receiver);
        for address in media {
            form.append_pair("MediaUrl", address);
        }
        let sid: String = form_urlencoded::byte_serialize(self.sid.as_bytes()).collect();
        let login = STANDARD.encode(format!("{}:{}", self.sid, self.token));
        let url = format!("{base}/2010-04-01/Accounts/{sid}/Messages.json");
        let exchange = Exchange::new("POST", url)
            .header("authorization", format!("Basic {login}"))
            .body("application/x-www-form-urlencoded", form.finish());
        Errand::new(vec![exchange])
    }

    fn send(
        &self,
        (receiver, text, media): (&str, &str, &[String]),
        inputs: &Inputs<'_>,
        cx: &Context<'_>,
    ) -> Result<Report, BlockError> {
        let base = &cx.services.sinks.settings.twilio;
        let errand = self.errand(base, receiver, text, media);
        let sending = Sending {
            errand: &errand,
            addresses: AddressPolicy::Any,
            timeout: TIMEOUT,
            offline: false,
        };
        let words = Words {
            queued: QUEUED,
            sent: SENT,
            unqueued: &failed,
            failed: &|trouble| {
                let answer = trouble.reply.as_ref().map(|reply| reply.json());
                let said = answer.as_ref().and_then(|json| json["message"].as_str());
                failed(said.unwrap_or(&hide(&trouble.failure.to_string(), self.sid)))
            },
        };
        sending.report(&words, inputs, cx)
    }
}

/// A text without the account.
fn hide(text: &str, sid: &str) -> String {
    match sid.is_empty() {
        true => text.to_owned(),
        false => text.replace(sid, "***"),
    }
}

fn failed(reason: &str) -> String {
    format!("Failed to send Twilio SMS notification. Internal error details: {reason}")
}

struct V1 {
    message: Message,
}

impl Block for V1 {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if let Some(off) = Report::off(inputs, cx)? {
            return Ok(off.with_throttling());
        }
        let limit = usize::try_from(inputs.int("length_limit")?).unwrap_or(0);
        if limit == 0 {
            return Err(BlockError::Input(
                "Length limit for SMS message must be greater than 0".into(),
            ));
        }
        let text = cut(self.message.text(inputs, cx)?, limit);
        let account = Account {
            sid: inputs.text("twilio_account_sid")?,
            token: inputs.text("twilio_auth_token")?,
            sender: inputs.text("sender_number")?,
        };
        let secrets = [account.sid, account.token];
        if !start_shared(BLOCK_V1.type_id(), &secrets, inputs, cx)? {
            return Ok(Report::throttled(cx).with_throttling());
        }
        let message = (inputs.text("receiver_number")?, &*text, &[][..]);
        Ok(account.send(message, inputs, cx)?.with_throttling())
    }
}

struct V2 {
    message: Message,
    cooldown: Cooldown,
}

impl Block for V2 {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if let Some(stopped) = self.cooldown.stops(inputs, cx)? {
            return Ok(stopped.with_throttling());
        }
        let text = self.message.text(inputs, cx)?;
        let long = text.chars().count() > PLAIN;
        let text = cut(text, MOST);
        let media = pictures(inputs.value("media_url"));
        let managed = inputs.text("sms_provider")? == "Roboflow Managed API Key";
        let report = if managed {
            self.cooldown.start(cx);
            managed::send((&text, long, &media), inputs, cx)?
        } else {
            self.custom(&text, &media, inputs, cx)?
        };
        Ok(report.with_throttling())
    }
}

impl V2 {
    fn custom(
        &mut self,
        text: &str,
        media: &[&Value],
        inputs: &Inputs<'_>,
        cx: &Context<'_>,
    ) -> Result<Report, BlockError> {
        let read = |field| inputs.optional(field, |inputs, field| inputs.text(field));
        let account = (
            read("twilio_account_sid")?.filter(|text| !text.is_empty()),
            read("twilio_auth_token")?.filter(|text| !text.is_empty()),
            read("sender_number")?.filter(|text| !text.is_empty()),
        );
        let (Some(sid), Some(token), Some(sender)) = account else {
            return Ok(Report::failed(
                "Custom Twilio requires twilio_account_sid, twilio_auth_token, and sender_number",
            ));
        };
        let addresses: Option<Vec<String>> = media
            .iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect();
        let Some(addresses) = addresses else {
            return Ok(Report::failed(failed(
                "Twilio fetches pictures by address: give `media_url` an address in place of an image, or let the platform send it",
            )));
        };
        self.cooldown.start(cx);
        let account = Account { sid, token, sender };
        account.send(
            (inputs.text("receiver_number")?, text, &addresses),
            inputs,
            cx,
        )
    }
}

/// The pictures in a field: one, a list of them, or none.
fn pictures(value: &Value) -> Vec<&Value> {
    match value.as_slice() {
        Some(items) => items.iter().filter(|item| !item.is_none()).collect(),
        None if value.is_none() => Vec::new(),
        None => vec![value],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_to_the_limit() {
        let cut_text = cut("é".repeat(200), 160);
        assert_eq!(cut_text.chars().count(), 160);
        assert!(cut_text.ends_with("é [...]"));
        assert_eq!(cut("short".into(), 160), "short");
        assert_eq!(cut("x".repeat(9), 3), " [...]");
    }
}
