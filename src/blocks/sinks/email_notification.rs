//! Sends e-mails with files and, in the second version, pictures in the text.
//!
//! # Inputs and outputs
//! `message` with its parameters goes to the receivers: from the mail server that the step names, or
//! (second version) through the platform. The first version sends plain text, the second HTML in
//! which an image parameter is shown. `error_status`, `throttling_status` and `message` tell what
//! became of it.
//!
//! # State
//! Per stream, when the last attempt began, for `cooldown_seconds`.
//!
//! # Edge cases
//! Everybody named gets the mail, and those of `bcc_receiver_email` stand in no header: the
//! reference sends to `receiver_email` alone and shows the others. The subject has no placeholders.
//! Nothing is sent without TLS; port 587 is asked for TLS, any other speaks it from the start. A
//! server that is not told in full is an error that starts no cooldown. A queued mail waits like any
//! other event. Passwords stand in no text.

mod managed;
mod mime;

use super::cooldown::Cooldown;
use super::fields;
use super::report::{QUEUED, Report, SENT, THROTTLED_OUTPUTS, entries};
use super::sending::{in_background, send};
use super::shapes::{
    ADDRESSES, ADDRESSES_OR_NULL, LITERAL, NUMBER, SECRET, SECRET_OR_NULL, TEXT, TEXT_OR_NULL,
};
use super::template::{self, Message};
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Role, StepProblem, Ty,
};
use crate::definition::step::Step;
use crate::delivery::mail::Mail;
use crate::values::{Dict, Value, kind, python};

use mime::{Letter, Part};

/// `roboflow_core/email_notification@v1`
pub static BLOCK_V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/email_notification@v1"],
    name: "Email Notification",
    family: Family::Sink,
    about: "Sends an e-mail with files from a mail server.",
    fields: FIELDS_V1,
    outputs: THROTTLED_OUTPUTS,
    role: Role::Sink,
    engine: ">=1.4.0,<2.0.0",
    check: Some(check_receivers),
    build: |step, _| Ok(Box::new(EmailNotification::new(step, false)?)),
    ..BlockSpec::DEFAULT
};

/// `roboflow_core/email_notification@v2`
pub static BLOCK_V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/email_notification@v2"],
    name: "Email Notification",
    family: Family::Sink,
    about: "Sends an e-mail with files and pictures, through the platform or a mail server.",
    fields: FIELDS_V2,
    outputs: THROTTLED_OUTPUTS,
    role: Role::Sink,
    engine: ">=1.4.0,<2.0.0",
    check: Some(check_receivers),
    build: |step, _| Ok(Box::new(EmailNotification::new(step, true)?)),
    ..BlockSpec::DEFAULT
};

const FIELDS_V1: &[Field] = &[
    Field::required("subject", LITERAL)
        .about("Subject line; placeholders in it are not replaced.")
        .extra(r#"{"hide_description": true}"#),
    Field::required("sender_email", TEXT)
        .about("Address of the sender, who logs in with it.")
        .extra(r#"{"hide_description": true}"#),
    Field::required("receiver_email", ADDRESSES)
        .about("Address of the receiver, or a list of them.")
        .extra(r#"{"hide_description": true}"#),
    Field::required("message", LITERAL)
        .about("Text with placeholders `{{ $parameters.name }}`.")
        .extra(r#"{"hide_description": true, "multiline": true}"#),
    fields::MESSAGE_PARAMETERS,
    fields::MESSAGE_OPERATIONS,
    Field::optional("cc_receiver_email", ADDRESSES_OR_NULL, "null")
        .about("Further receivers, seen by all.")
        .extra(r#"{"hide_description": true}"#),
    Field::optional("bcc_receiver_email", ADDRESSES_OR_NULL, "null")
        .about("Further receivers, seen by nobody.")
        .extra(r#"{"hide_description": true}"#),
    Field::optional(
        "attachments",
        &[Ty::Map(&[Ty::Selector(&[kind::STRING, kind::BYTES])])],
        "{}",
    )
    .about("Files by name.")
    .extra(r#"{"hide_description": true}"#),
    Field::required("smtp_server", TEXT).about("Host of the mail server."),
    Field::required("sender_email_password", SECRET)
        .about("Password of the sender.")
        .extra(r#"{"private": true}"#),
    Field::optional("smtp_port", NUMBER, "465")
        .about("Port of the mail server: TLS from the start, but for 587, where it is asked for."),
    fields::FIRE_AND_FORGET,
    fields::DISABLE_SINK,
    fields::COOLDOWN,
];

const FIELDS_V2: &[Field] = &[
    Field::optional("email_provider", &[Ty::OneOf(&["Roboflow Managed API Key", "Custom SMTP"])], r#""Roboflow Managed API Key""#).about("Who delivers: the platform, or a mail server of your own.").always_visible(),
    Field::required("subject", LITERAL).about("Subject line; placeholders in it are not replaced.").extra(r#"{"always_visible": true, "hide_description": true}"#),
    Field::required("receiver_email", ADDRESSES).about("Address of the receiver, or a list of them.").extra(r#"{"always_visible": true, "hide_description": true}"#),
    fields::SHOWN_MESSAGE,
    fields::MESSAGE_PARAMETERS,
    fields::MESSAGE_OPERATIONS,
    Field::optional("sender_email", TEXT_OR_NULL, "null").about("Address of the sender, who logs in with it.").extra(r#"{"hide_description": true, "relevant_for": {"email_provider": {"required": true, "values": ["Custom SMTP"]}}}"#),
    Field::optional("smtp_server", TEXT_OR_NULL, "null").about("Host of the mail server.").extra(r#"{"relevant_for": {"email_provider": {"required": true, "values": ["Custom SMTP"]}}}"#),
    Field::optional("sender_email_password", SECRET_OR_NULL, "null").about("Password of the sender.").extra(r#"{"relevant_for": {"email_provider": {"required": true, "values": ["Custom SMTP"]}}}"#),
    Field::optional("cc_receiver_email", ADDRESSES_OR_NULL, "null").about("Further receivers, seen by all.").extra(r#"{"hide_description": true, "relevant_for": {"email_provider": {"required": true, "values": ["Custom SMTP"]}}}"#),
    Field::optional("bcc_receiver_email", ADDRESSES_OR_NULL, "null").about("Further receivers, seen by nobody.").extra(r#"{"hide_description": true, "relevant_for": {"email_provider": {"required": true, "values": ["Custom SMTP"]}}}"#),
    Field::optional("smtp_port", NUMBER, "465").about("Port of the mail server: TLS from the start, but for 587, where it is asked for.").extra(r#"{"relevant_for": {"email_provider": {"required": true, "values": ["Custom SMTP"]}}}"#),
    Field::optional("attachments", &[Ty::Map(&[Ty::Selector(&[kind::STRING, kind::BYTES, kind::IMAGE])])], "{}").about("Files by name.").extra(r#"{"hide_description": true}"#),
    fields::FIRE_AND_FORGET,
    fields::DISABLE_SINK,
    fields::COOLDOWN,
];

const NOBODY: &str = "E-mail notification must have at least one receiver defined.";
const INCOMPLETE: &str =
    "Custom SMTP requires sender_email, smtp_server, and sender_email_password";

fn check_receivers(step: &Step) -> Vec<StepProblem> {
    let receivers = step.literal("receiver_email").and_then(|v| v.as_array());
    let problem = receivers.is_some_and(Vec::is_empty).then(|| StepProblem {
        field: Some("receiver_email"),
        message: NOBODY.into(),
    });
    problem.into_iter().collect()
}

struct EmailNotification {
    message: Message,
    cooldown: Cooldown,
    html: bool,
}

/// Where a mail starts from.
struct Server<'a> {
    host: &'a str,
    port: i64,
    sender: &'a str,
    password: &'a str,
}

impl Block for EmailNotification {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if let Some(stopped) = self.cooldown.stops(inputs, cx)? {
            return Ok(stopped.with_throttling());
        }
        let managed = self.html && inputs.text("email_provider")? == "Roboflow Managed API Key";
        let report = if managed {
            let parameters = self.message.all(inputs, cx)?;
            self.cooldown.start(cx);
            managed::send(&parameters, inputs, cx)?
        } else {
            self.through_server(inputs, cx)?
        };
        Ok(report.with_throttling())
    }
}

impl EmailNotification {
    fn new(step: &Step, html: bool) -> Result<Self, crate::blocks::BuildError> {
        Ok(Self {
            message: Message::new(step)?,
            cooldown: Cooldown::default(),
            html,
        })
    }

    fn through_server(
        &mut self,
        inputs: &Inputs<'_>,
        cx: &Context<'_>,
    ) -> Result<Report, BlockError> {
        let Some(server) = Server::read(inputs)? else {
            return Ok(Report::failed(INCOMPLETE));
        };
        let letter = self.letter(&server, inputs, cx)?;
        self.cooldown.start(cx);
        let queue = in_background(inputs, cx)?;
        let sent = letter.and_then(|letter| server.send(&letter, queue, cx));
        Ok(match sent {
            Ok(()) => Report::done(if queue { QUEUED } else { SENT }),
            Err(reason) => Report::failed(format!(
                "Failed to send e-mail. Internal error details: {reason}"
            )),
        })
    }

    /// The letter; the inner result is what is wrong with it.
    fn letter(
        &self,
        server: &Server<'_>,
        inputs: &Inputs<'_>,
        cx: &Context<'_>,
    ) -> Result<Result<Letter, String>, BlockError> {
        let parameters = self.message.parameters(inputs, cx)?;
        let text = inputs.text("message")?;
        let (body, images) = match self.html {
            true => html(text, &parameters)?,
            false => {
                let print = |_: &std::sync::Arc<str>, value: &Value| python::to_str(value);
                (template::fill(text, &parameters, print), Vec::new())
            }
        };
        let receivers = people(inputs.value("receiver_email"))?;
        if receivers.is_empty() {
            return Ok(Err(NOBODY.into()));
        }
        let attachments = attachments(entries(inputs, "attachments")?)?;
        Ok(Ok(Letter {
            from: server.sender.to_owned(),
            to: receivers,
            cc: people(inputs.value("cc_receiver_email"))?,
            bcc: people(inputs.value("bcc_receiver_email"))?,
            subject: inputs.text("subject")?.to_owned(),
            body,
            html: self.html,
            images,
            attachments,
            date: cx.now().unix_seconds(),
        }))
    }
}

impl<'a> Server<'a> {
    /// The server; none if it is not told in full.
    fn read(inputs: &Inputs<'a>) -> Result<Option<Self>, BlockError> {
        let read = |field| -> Result<Option<&'a str>, BlockError> {
            let text = inputs.optional(field, |inputs, field| inputs.text(field))?;
            Ok(text.filter(|text| !text.is_empty()))
        };
        let told = (
            read("smtp_server")?,
            read("sender_email")?,
            read("sender_email_password")?,
        );
        let (Some(host), Some(sender), Some(password)) = told else {
            return Ok(None);
        };
        Ok(Some(Self {
            host,
            port: inputs.int("smtp_port")?,
            sender,
            password,
        }))
    }

    fn send(&self, letter: &Letter, queue: bool, cx: &Context<'_>) -> Result<(), String> {
        let port = u16::try_from(self.port).map_err(|_| format!("{} is no port", self.port))?;
        let (to, message) = letter.write()?;
        let mail = Mail {
            server: self.host,
            port,
            user: self.sender,
            password: self.password,
            from: self.sender,
            to: &to,
            message: &message,
        };
        let policy = cx.services.dispatcher.settings().addresses;
        let request = mail.request(policy).map_err(|error| error.to_string())?;
        send(request, queue, cx).map_err(|error| error.to_string())
    }
}

/// The addresses in a field: one, a list of them, or none.
fn people(value: &Value) -> Result<Vec<String>, BlockError> {
    let items = match value.as_slice() {
        Some(items) => items,
        None if value.is_none() => &[],
        None => std::slice::from_ref(value),
    };
    let address = |item: &Value| {
        item.as_str().map(str::to_owned).ok_or_else(|| {
            BlockError::failed(format!(
                "a mail address must be text, got {}",
                item.type_name()
            ))
        })
    };
    items.iter().map(address).collect()
}

/// The text as HTML and the images that it shows.
fn html(text: &str, parameters: &Dict) -> Result<(String, Vec<Part>), BlockError> {
    let mut images = Vec::new();
    for (name, value) in parameters {
        if let Some(image) = value.as_image() {
            images.push(Part {
                name: format!("image_{name}"),
                content: super::platform::jpeg(image, 90)?,
            });
        }
    }
    let filled = template::fill(text, parameters, |name, value| match value {
        Value::Image(_) => format!(
            "<img src=\"cid:image_{name}\" alt=\"{name}\" style=\"max-width: 600px; height: auto;\">"
        ),
        other => escaped(&python::to_str(other)),
    });
    Ok((filled.replace('\n', "<br>\n"), images))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#x27;")
}

/// Files of a mail: an image becomes a JPEG and is named as one.
fn attachments(files: &Dict) -> Result<Vec<Part>, BlockError> {
    let part = |(name, value): (&std::sync::Arc<str>, &Value)| {
        let Some(image) = value.as_image() else {
            return Ok(Part {
                name: name.to_string(),
                content: super::slack_notification::bytes(value),
            });
        };
        let lower = name.to_lowercase();
        let named = lower.ends_with(".jpg") || lower.ends_with(".jpeg");
        Ok(Part {
            name: if named {
                name.to_string()
            } else {
                format!("{name}.jpg")
            },
            content: super::platform::jpeg(image, 90)?,
        })
    };
    files.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{Image, Matrix};

    #[test]
    fn html_escapes_values_and_shows_images() {
        let image = Image::new(Matrix::filled(4, 4, &[1, 2, 3]), "i".into());
        let parameters = Dict::from_iter([
            ("n".into(), Value::from("<b>&'\"")),
            ("p".into(), Value::Image(image)),
        ]);
        let text = "<i>{{ $parameters.n }}</i>\n{{ $parameters.p }}";
        let (body, images) = html(text, &parameters).unwrap();
        assert_eq!(
            body,
            "<i>&lt;b&gt;&amp;&#x27;&quot;</i><br>\n<img src=\"cid:image_p\" alt=\"p\" \
             style=\"max-width: 600px; height: auto;\">"
        );
        assert_eq!(images[0].name, "image_p");
        assert_eq!(&images[0].content[..2], [0xff, 0xd8]);
        let files = attachments(&parameters).unwrap();
        let names: Vec<&str> = files.iter().map(|file| &*file.name).collect();
        assert_eq!(names, ["n", "p.jpg"]);
    }

    #[test]
    fn one_address_or_many_and_nothing_else() {
        let list = Value::list(vec!["a@x.org".into(), "b@x.org".into()]);
        assert_eq!(people(&list).unwrap().len(), 2);
        assert_eq!(people(&"a@x.org".into()).unwrap(), ["a@x.org"]);
        assert!(people(&Value::None).unwrap().is_empty());
        assert!(people(&Value::Int(3)).is_err());
    }
}
