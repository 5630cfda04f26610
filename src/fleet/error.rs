//! Every way in which a call to a fleet is refused, with the words that clients of the reference
//! know (server specification 4.6).

use serde_json::{Value as Json, json};

use crate::definition::error::WorkflowError;
use crate::definitions::{DefinitionError, PlatformError};
use crate::sources::SourceError;

/// Why a call is refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FleetError {
    /// The request does not fit; one entry per problem, as pydantic writes them.
    #[error("the request does not fit: {}", Json::from(.0.clone()))]
    Invalid(Vec<Json>),
    /// The request names no definition.
    #[error("the request has neither a workflow specification nor workspace and workflow id")]
    NoDefinition,
    /// The definition does not compile.
    #[error(transparent)]
    Workflow(Box<WorkflowError>),
    /// The definition cannot be had.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// A source cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There are as many pipelines as may be.
    #[error(
        "{limit} pipelines run and more are not allowed; terminate one, or raise STREAM_MANAGER_MAX_ACTIVE_PIPELINES"
    )]
    Full {
        /// How many may be.
        limit: usize,
    },
    /// There is no such pipeline.
    #[error("there is no pipeline {id}")]
    Unknown {
        /// What was asked for.
        id: String,
    },
    /// The same, for one that was to be terminated.
    #[error("there is no pipeline {id} to terminate")]
    Gone {
        /// What was asked for.
        id: String,
    },
    /// A name is taken.
    #[error("there is a pipeline {id} already")]
    Taken {
        /// The name.
        id: String,
    },
    /// The pipeline is in another state than the call needs.
    #[error("pipeline {id} is {state}; it cannot {what} now")]
    State {
        /// The pipeline.
        id: String,
        /// Its state.
        state: &'static str,
        /// What it was told to do.
        what: &'static str,
    },
    /// The pipeline has no such source.
    #[error("pipeline {id} has no source {number}")]
    NoSource {
        /// The pipeline.
        id: String,
        /// The number.
        number: usize,
    },
    /// A pipeline keeps at least one source.
    #[error("source {number} is the last of pipeline {id}; terminate the pipeline instead")]
    LastSource {
        /// The pipeline.
        id: String,
        /// The number.
        number: usize,
    },
    /// The machine refuses a thread.
    #[error("the machine refuses a thread: {0}")]
    Machine(String),
}

const NOT_AVAILABLE: &str = "N/A";
const UNKNOWN: &str = "Unknown internal error. Raise this issue providing as much of a context as possible: https://github.com/roboflow/inference/issues";

/// What kind of failure clients are told of.
enum Kind {
    Internal,
    Payload,
    NotFound,
    Operation,
}

impl Kind {
    fn words(&self) -> (&'static str, &'static str) {
        match self {
            Self::Internal => ("internal_error", "ProcessesManagerInternalError"),
            Self::Payload => ("invalid_payload", "ProcessesManagerInvalidPayload"),
            Self::NotFound => ("not_found", "ProcessesManagerNotFoundError"),
            Self::Operation => ("operation_error", "ProcessesManagerOperationError"),
        }
    }
}

impl From<WorkflowError> for FleetError {
    fn from(error: WorkflowError) -> Self {
        Self::Workflow(Box::new(error))
    }
}

impl FleetError {
    /// HTTP status and body of the answer to a client.
    pub fn answer(&self) -> (u16, Json) {
        match self {
            Self::Invalid(details) => (422, json!({"detail": details})),
            // A wrong key is told as everywhere else.
            Self::Definition(error) if error.status() == 401 => {
                (401, json!({"message": error.client_message()}))
            }
            _ => {
                let (status, kind, details) = self.told();
                let (kind, class) = kind.words();
                let message = format!(
                    "Error with command handling raised by InferencePipeline Manager. Error type: {kind}. Details: {details}"
                );
                let body = json!({
                    "message": message, "error_type": class, "inner_error_type": null,
                    // The reference's words hide what happened.
                    "millrace": {"reason": self.to_string()},
                });
                (status, body)
            }
        }
    }

    fn told(&self) -> (u16, Kind, String) {
        match self {
            Self::Workflow(_) => (
                400,
                Kind::Payload,
                "Provided workflow configuration is not valid.".into(),
            ),
            Self::Definition(error) => definition(error),
            Self::Unknown { id } => (
                404,
                Kind::NotFound,
                format!("Could not find InferencePipeline with id={id}."),
            ),
            Self::Gone { .. } => (400, Kind::Payload, NOT_AVAILABLE.into()),
            Self::State { .. } => (
                500,
                Kind::Operation,
                "Cannot get pipeline status in the current state of InferencePipeline.".into(),
            ),
            Self::Source(_) | Self::LastSource { .. } | Self::Taken { .. } => {
                (400, Kind::Payload, self.to_string())
            }
            Self::NoSource { .. } => (404, Kind::NotFound, self.to_string()),
            Self::Full { .. } => (500, Kind::Internal, NOT_AVAILABLE.into()),
            Self::NoDefinition | Self::Machine(_) | Self::Invalid(_) => {
                (500, Kind::Internal, UNKNOWN.into())
            }
        }
    }
}

/// How the reference tells that a definition cannot be had.
fn definition(error: &DefinitionError) -> (u16, Kind, String) {
    let unreachable = matches!(
        error,
        DefinitionError::Platform {
            source: PlatformError::Unreachable { .. }
                | PlatformError::Timeout { .. }
                | PlatformError::Offline,
            ..
        }
    );
    match error.status() {
        404 => (
            404,
            Kind::NotFound,
            "Requested Roboflow resources (models / workflows etc.) not available or wrong API key used.".into(),
        ),
        _ if unreachable => (
            500,
            Kind::Operation,
            "Could not connect to Roboflow API during pipeline initialisation. Check network connectivity.".into(),
        ),
        _ => (500, Kind::Internal, UNKNOWN.into()),
    }
}
