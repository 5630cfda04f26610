//! Sends an HTTP request about an element.
//!
//! # Inputs and outputs
//! The request is put together from `url`, `method`, `query_parameters`, `headers` and one of three
//! bodies: files (with `form_data` as further parts), `form_data` alone, or `json_payload`.
//! Operations of the query language change values of the three maps first. `error_status` says
//! whether sending failed, `throttling_status` whether the cooldown forbade it, `message` why.
//!
//! With `fire_and_forget` on a stream or server the request is queued and the step answers at once;
//! the queue keeps the order of the stream, and a failed attempt is made again, with the same
//! `Idempotency-Key`. Otherwise the step waits for the first attempt, for at most `request_timeout`;
//! with an outbox the event is kept before and, if that attempt fails, sent again, which the message
//! then says.
//!
//! # State
//! Per stream, when the last attempt began, for `cooldown_seconds`. A failed attempt counts too.
//!
//! # Edge cases
//! A receiver that refuses or is away is not an error of the workflow, an operation that fails is.
//! Switched off by policy or by `disable_sink` comes before everything else. A request that cannot
//! be put together (a header that is no text, NaN in JSON) is reported in the background too.
//! Texts name addresses without credentials, tokens and values of the query.
//! With `WEBHOOK_SIGNATURE_SECRET` set, `X-Millrace-Signature` holds the HMAC-SHA256 of the body.
//! `request_timeout` limits the whole exchange; the reference limits the connection and each read.

mod encoding;

use std::sync::Arc;

use reqwest::header::HeaderValue;

use super::cooldown::Cooldown;
use super::fields;
use super::operations::Operations;
use super::report::{QUEUED, Report, SENT, THROTTLED_OUTPUTS, entries};
use super::sending::{SendError, in_background, send};
use super::shapes::{OPERATIONS, WHOLE};
use crate::blocks::{
    Block, BlockError, BlockSpec, BuildError, Context, Family, Field, Inputs, Output, Role, Ty,
};
use crate::definition::step::Step;
use crate::delivery::{Request, RequestError};
use crate::values::{Dict, Kind, Value, kind, python};

use encoding::EncodingError;

const HEADER_KINDS: &[Kind] = &[
    kind::STRING,
    kind::INTEGER,
    kind::FLOAT,
    kind::ROBOFLOW_MODEL_ID,
    kind::ROBOFLOW_PROJECT,
    kind::ROBOFLOW_API_KEY,
    kind::FLOAT_ZERO_TO_ONE,
    kind::BOOLEAN,
    kind::TOP_CLASS,
];
const QUERY_KINDS: &[Kind] = &[
    kind::STRING,
    kind::INTEGER,
    kind::FLOAT,
    kind::ROBOFLOW_MODEL_ID,
    kind::ROBOFLOW_PROJECT,
    kind::ROBOFLOW_API_KEY,
    kind::FLOAT_ZERO_TO_ONE,
    kind::LIST_OF_VALUES,
    kind::BOOLEAN,
    kind::TOP_CLASS,
];
const ANYTHING: &[Ty] = &[
    Ty::Selector(&[kind::WILDCARD]),
    Ty::Str,
    Ty::Float,
    Ty::Bool,
    Ty::Int,
    Ty::Object,
    Ty::List(&[Ty::Any]),
];

/// `roboflow_core/webhook_sink@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/webhook_sink@v1"],
    name: "Webhook Sink",
    family: Family::Sink,
    about: "Sends an HTTP request with values of the workflow to an address.",
    fields: &[
        Field::required("url", &[Ty::Selector(&[kind::STRING]), Ty::Str])
            .about("Address of the receiver."),
        Field::required("method", &[Ty::OneOf(&["GET", "POST", "PUT"])]).about("HTTP method."),
        Field::optional(
            "query_parameters",
            &[Ty::Map(&[
                Ty::Selector(QUERY_KINDS),
                Ty::Str,
                Ty::Float,
                Ty::Bool,
                Ty::Int,
                Ty::List(&[Ty::Str, Ty::Float, Ty::Int, Ty::Bool]),
            ])],
            "{}",
        )
        .about("Parameters added to the address; a list repeats its name."),
        Field::optional(
            "headers",
            &[Ty::Map(&[
                Ty::Selector(HEADER_KINDS),
                Ty::Str,
                Ty::Float,
                Ty::Bool,
                Ty::Int,
            ])],
            "{}",
        )
        .about("Headers; their values must be text."),
        Field::optional("json_payload", &[Ty::Map(ANYTHING)], "{}")
            .about("JSON body, sent if there are neither files nor form data."),
        Field::optional("json_payload_operations", OPERATIONS, "{}")
            .about("Operations on values of the JSON body."),
        Field::optional("multi_part_encoded_files", &[Ty::Map(ANYTHING)], "{}")
            .about("Files of a multipart body."),
        Field::optional("multi_part_encoded_files_operations", OPERATIONS, "{}")
            .about("Operations on files."),
        Field::optional("form_data", &[Ty::Map(ANYTHING)], "{}").about("Form fields."),
        Field::optional("form_data_operations", OPERATIONS, "{}")
            .about("Operations on form fields."),
        Field::optional("request_timeout", WHOLE, "2")
            .about("Seconds that the whole exchange may take."),
        fields::FIRE_AND_FORGET,
        fields::DISABLE_SINK,
        Field::optional("cooldown_seconds", WHOLE, "5")
            .about("Seconds between two requests of a stream; 0 for no limit.")
            .always_visible(),
    ],
    outputs: THROTTLED_OUTPUTS,
    role: Role::Sink,
    build: |step, _| Ok(Box::new(WebhookSink::new(step)?)),
    ..BlockSpec::DEFAULT
};

struct WebhookSink {
    payload_operations: Operations,
    file_operations: Operations,
    form_operations: Operations,
    cooldown: Cooldown,
}

/// Why a request could not be put together or delivered; the text stands in `message`.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    #[error(
        "Header part ({value}) from ('{name}', {value}) must be of type str or bytes, not <class '{class}'>"
    )]
    Header {
        name: Arc<str>,
        value: String,
        class: &'static str,
    },
    #[error(transparent)]
    Send(#[from] SendError),
}

impl WebhookSink {
    fn new(step: &Step) -> Result<Self, BuildError> {
        Ok(Self {
            payload_operations: Operations::new(step, "json_payload_operations")?,
            file_operations: Operations::new(step, "multi_part_encoded_files_operations")?,
            form_operations: Operations::new(step, "form_data_operations")?,
            cooldown: Cooldown::default(),
        })
    }

    /// The maps after their operations.
    fn bodies(&self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Bodies, BlockError> {
        let map = |operations: &Operations, field| operations.apply(entries(inputs, field)?, cx);
        Ok(Bodies {
            json: map(&self.payload_operations, "json_payload")?,
            files: map(&self.file_operations, "multi_part_encoded_files")?,
            form: map(&self.form_operations, "form_data")?,
        })
    }
}

impl Block for WebhookSink {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if let Some(stopped) = self.cooldown.stops(inputs, cx)? {
            return Ok(stopped.with_throttling());
        }
        let bodies = self.bodies(inputs, cx)?;
        let queue = in_background(inputs, cx)?;
        let parts = Parts {
            url: inputs.text("url")?,
            method: inputs.text("method")?,
            query: entries(inputs, "query_parameters")?,
            headers: entries(inputs, "headers")?,
            timeout: inputs.int("request_timeout")?,
        };
        self.cooldown.start(cx);
        let sent = parts
            .request(&bodies, cx)
            .and_then(|request| Ok(send(request, queue, cx)?));
        let report = match sent {
            Ok(()) => Report::done(if queue { QUEUED } else { SENT }),
            Err(trouble) => Report::failed(failed(&trouble)),
        };
        Ok(report.with_throttling())
    }
}

fn failed(trouble: &Trouble) -> String {
    format!("Failed to send webhook notification. Internal error details: {trouble}")
}

/// What may become the body, by precedence: files, form, JSON.
struct Bodies {
    json: Dict,
    files: Dict,
    form: Dict,
}

/// The rest of a request.
struct Parts<'a> {
    url: &'a str,
    method: &'a str,
    query: &'a Dict,
    headers: &'a Dict,
    timeout: i64,
}

impl Parts<'_> {
    fn request(&self, bodies: &Bodies, cx: &Context<'_>) -> Result<Request, Trouble> {
        let policy = cx.services.dispatcher.settings().addresses;
        let mut request = Request::new(self.method, self.url, policy)?
            .timeout_seconds(self.timeout)?
            .query(&encoding::urlencoded(self.query));
        for (name, value) in self.headers {
            request = match value {
                Value::Str(text) => request.header(name, text.as_bytes())?,
                Value::Bytes(bytes) => request.header(name, bytes)?,
                Value::None => request,
                other => {
                    return Err(Trouble::Header {
                        name: name.clone(),
                        value: python::repr(other),
                        class: other.type_name(),
                    });
                }
            };
        }
        let plain = |kind: &'static str| HeaderValue::from_static(kind);
        let request = if !bodies.files.is_empty() {
            let (boundary, body) = encoding::multipart(&bodies.form, &bodies.files)?;
            let kind = format!("multipart/form-data; boundary={boundary}");
            let kind = HeaderValue::from_str(&kind)
                .map_err(|_| RequestError::HeaderValue("content-type".into()))?;
            request.body(kind, body)
        } else if !bodies.form.is_empty() {
            let form = encoding::urlencoded(&bodies.form);
            request.body(plain("application/x-www-form-urlencoded"), form)
        } else {
            let json = encoding::json(&bodies.json)?;
            request.body(plain("application/json"), json)
        };
        let secret = cx.services.sinks.settings.webhook_secret.as_deref();
        Ok(match secret {
            Some(secret) => request.signed(secret),
            None => request,
        })
    }
}
