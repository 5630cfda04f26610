//! Every way in which a request is refused, and the answer that each becomes.
//!
//! Statuses and bodies are those of section 1.1 of the server specification: workflow errors bring
//! their own body, the rest is `{"message"}`, `{"detail"}` for routing, and a list of details for a
//! body that does not fit.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{ALLOW, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::definition::error::{ErrorClass, WorkflowError};
use crate::definitions::DefinitionError;
use crate::models::ModelError;

/// Why a request is refused.
#[derive(Debug)]
pub enum Rejection {
    /// A workflow does not compile or run.
    Workflow(Box<WorkflowError>),
    /// A definition cannot be had.
    Definition(DefinitionError),
    /// A model cannot be had or run.
    Model(ModelError),
    /// The body does not fit; one entry per problem.
    Invalid(Vec<Value>),
    /// Anything else that has a text for the client.
    Message(StatusCode, String),
    /// No such route.
    NotFound,
    /// The route takes other methods.
    MethodNotAllowed,
    /// As many requests run as may.
    Busy,
    /// millrace failed; the reason is in the log.
    Internal(String),
}

impl Rejection {
    /// A refusal with a text for the client.
    pub fn message(status: StatusCode, text: impl Into<String>) -> Self {
        Self::Message(status, text.into())
    }

    /// 400 with a text.
    pub fn bad_request(text: impl Into<String>) -> Self {
        Self::message(StatusCode::BAD_REQUEST, text)
    }

    /// An image that came with a request cannot be read.
    pub fn image(cause: impl std::fmt::Display) -> Self {
        Self::bad_request(format!("Could not load input image. Cause: {cause}"))
    }

    /// A body larger than allowed.
    pub fn too_large(limit: usize) -> Self {
        let text = format!(
            "the request is larger than {} MiB; send smaller images, or raise --max-body-mib",
            limit >> 20
        );
        Self::message(StatusCode::PAYLOAD_TOO_LARGE, text)
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        let number = match self {
            Self::Workflow(error) => error.status(),
            Self::Definition(error) => error.status(),
            Self::Model(error) => error.status(),
            Self::Invalid(_) => 422,
            Self::Message(status, _) => status.as_u16(),
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Busy => 503,
            Self::Internal(_) => 500,
        };
        StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The body of the answer.
    pub fn body(&self) -> Value {
        match self {
            Self::Workflow(error) => workflow_body(error),
            Self::Definition(error) => json!({"message": error.client_message()}),
            Self::Model(error) => json!({"message": model_message(error)}),
            Self::Invalid(details) => json!({"detail": details}),
            Self::Message(_, text) => json!({"message": text}),
            Self::NotFound => json!({"detail": "Not Found"}),
            Self::MethodNotAllowed => json!({"detail": "Method Not Allowed"}),
            Self::Busy => json!({"message": "The server is busy. Try again in a moment."}),
            Self::Internal(_) => json!({"message": "Internal error."}),
        }
    }

    /// What the log says, where it is more than the client is told.
    fn log(&self) {
        match self {
            Self::Definition(error) => tracing::warn!(%error, "a definition cannot be had"),
            Self::Model(error) => tracing::warn!(%error, "a model cannot be had"),
            Self::Internal(reason) => tracing::error!(reason, "a request failed"),
            Self::Workflow(error) if error.status() >= 500 || error.status() == 404 => {
                tracing::warn!(%error, "a workflow failed");
            }
            _ => {}
        }
    }
}

/// The body of a workflow error as the reference's server words it, where that differs from the
/// engine alone: details of a definition go into the inner error, a model that is not there is told
/// by the platform's words, and wrong inputs have no inner error.
fn workflow_body(error: &WorkflowError) -> Value {
    let mut body = error.to_json();
    match error.class {
        ErrorClass::WorkflowSyntax if !error.blocks.is_empty() => {
            body["message"] =
                json!("Could not parse workflow definition. Details provided in inner error.");
        }
        ErrorClass::RuntimeInput => {
            body["inner_error_type"] = Value::Null;
            body["inner_error_message"] = json!("None");
        }
        ErrorClass::ClientCausedStepExecution if error.status() == 404 => {
            const INNER: &str = "Could not find requested Roboflow resource. Check that the provided \
                                 dataset and version are correct, and check that the provided \
                                 Roboflow API key has the correct permissions.";
            let step = error.blocks.first().and_then(|b| b.block_id.as_deref());
            body["message"] = json!(format!(
                "Could not find requested Roboflow resource while execution of step {} - details of \
                 error: {INNER}. This error usually mean the problem with not existing model.",
                step.unwrap_or_default()
            ));
            body["inner_error_type"] = json!("RoboflowAPINotNotFoundError");
            body["inner_error_message"] = json!(INNER);
        }
        _ => {}
    }
    body
}

/// What a client is told of a model: the reference's words where it has some, our own for what the
/// client can mend, and nothing of files and addresses.
fn model_message(error: &ModelError) -> String {
    match (error.client_message(), error.status()) {
        (Some(words), _) => words.to_owned(),
        (None, 400..=499 | 501 | 503) => error.to_string(),
        _ => "Internal error.".to_owned(),
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.log();
        let mut response = (self.status(), Json(self.body())).into_response();
        let header = match self {
            Self::MethodNotAllowed => Some((ALLOW, "GET, HEAD")),
            Self::Busy => Some((RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = header {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<WorkflowError> for Rejection {
    fn from(error: WorkflowError) -> Self {
        Self::Workflow(Box::new(error))
    }
}

impl From<DefinitionError> for Rejection {
    fn from(error: DefinitionError) -> Self {
        Self::Definition(error)
    }
}

impl From<ModelError> for Rejection {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl From<tokio::task::JoinError> for Rejection {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Internal(format!("the work broke off: {error}"))
    }
}
