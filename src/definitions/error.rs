//! Why a definition could not be had. No message contains an API key.

use std::path::PathBuf;
use std::time::Duration;

/// Why the platform did not give a definition.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlatformError {
    /// It answered that it will not: wrong key, no such workflow, no credits.
    #[error("the platform refused: {status} {}", advice(*status))]
    Refused {
        /// HTTP status: 401, 402, 403, 404 or 423.
        status: u16,
    },
    /// It answered with another status than success.
    #[error("the platform answered {status}")]
    Status {
        /// HTTP status.
        status: u16,
        /// Wait that it asked for.
        retry_after: Option<Duration>,
    },
    /// No answer in time.
    #[error("the platform did not answer within {} s", limit.as_secs_f64())]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// No connection, or one that broke.
    #[error("the platform cannot be reached: {reason}; check the network and API_BASE_URL")]
    Unreachable {
        /// What the network said.
        reason: String,
    },
    /// Its answer is no definition.
    #[error("the platform's answer is no definition: {reason}")]
    Garbage {
        /// What is wrong with it.
        reason: String,
    },
    /// OFFLINE_MODE forbids asking.
    #[error("offline mode: the platform is not asked")]
    Offline,
}

fn advice(status: u16) -> &'static str {
    match status {
        401 => "unauthorized: check the API key and that it belongs to this workspace",
        402 => "no credits left: check the billing page of the workspace",
        403 => "forbidden: check that the API key has the scopes it needs",
        404 => "not found: check the workspace, the workflow id and the version",
        _ => "the API keys of the workspace are paused",
    }
}

impl PlatformError {
    /// The error of an answer that is no success.
    pub(super) fn of_status(status: u16, retry_after: Option<Duration>) -> Self {
        match status {
            401 | 402 | 403 | 404 | 423 => Self::Refused { status },
            status => Self::Status {
                status,
                retry_after,
            },
        }
    }

    /// Whether a copy may stand in for the answer. A clear refusal is an answer; everything else
    /// tells nothing about the definition.
    pub fn falls_back(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }

    /// Whether the same request may succeed later without anybody doing anything.
    pub fn retry(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Timeout { .. } | Self::Unreachable { .. } | Self::Garbage { .. } => true,
            Self::Refused { .. } | Self::Offline => false,
        }
    }

    /// Name in logs and metrics: a closed set.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Status { .. } => "status",
            Self::Timeout { .. } => "timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::Garbage { .. } => "garbage",
            Self::Offline => "offline",
        }
    }

    /// Wait that the platform asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Status of our answer to a client (section 1.1 of the server specification).
    fn status(&self) -> u16 {
        match self {
            Self::Refused { status } => *status,
            Self::Status { .. } | Self::Garbage { .. } => 502,
            Self::Unreachable { .. } | Self::Offline => 503,
            Self::Timeout { .. } => 504,
        }
    }

    /// The words that clients of the reference know.
    pub fn client_message(&self) -> &'static str {
        client_words(self.status())
    }
}

/// The words that clients of the reference know for a status of the platform.
pub(crate) fn client_words(status: u16) -> &'static str {
    match status {
        401 => {
            "Unauthorized access to roboflow API - check API key and make sure the key is valid for workspace you use. Visit https://docs.roboflow.com/api-reference/authentication#retrieve-an-api-key to learn how to retrieve one."
        }
        402 => "Not enough credits to perform this request. Verify your workspace billing page.",
        403 => {
            "Unauthorized access to roboflow API - check API key and make sure the key is valid and have required scopes. Visit https://docs.roboflow.com/api-reference/authentication#retrieve-an-api-key to learn how to retrieve one."
        }
        404 => {
            "Requested Roboflow resource not found. Make sure that workspace, project or model you referred in request exists."
        }
        423 => {
            "Roboflow API usage is paused. Please contact your workspace administrator to re-enable api keys."
        }
        502 => "Internal error. Request to Roboflow API failed.",
        504 => "Timeout when attempting to connect to Roboflow API.",
        _ => "Internal error. Could not connect to Roboflow API.",
    }
}

/// Why a definition could not be had.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DefinitionError {
    /// The platform did not give it, and no copy may stand in for it.
    #[error("definition {id}: {source}")]
    Platform {
        /// Workspace, workflow and version.
        id: String,
        /// Why.
        source: PlatformError,
    },
    /// The workspace or workflow id cannot be part of an address.
    #[error("definition {id}: workspace and workflow id must not be empty, `.` or `..`")]
    Name {
        /// What was asked for.
        id: String,
    },
    /// A file cannot be read or is no definition.
    #[error("definition {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A name that the watched folder cannot have.
    #[error("definition `{name}`: {reason}")]
    Folder {
        /// The name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The store was closed, or its threads could not be started.
    #[error("definitions cannot be fetched: {0}")]
    Internal(String),
}

impl DefinitionError {
    /// Who has to act: `platform`, `definition` or `internal`.
    pub fn origin(&self) -> &'static str {
        match self {
            Self::Platform { .. } => "platform",
            Self::Name { .. } | Self::File { .. } | Self::Folder { .. } => "definition",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether the same request may succeed later without anybody doing anything.
    pub fn retry(&self) -> bool {
        matches!(self, Self::Platform { source, .. } if source.retry())
    }

    /// HTTP status of the answer to a client.
    pub fn status(&self) -> u16 {
        match self {
            Self::Platform { source, .. } => source.status(),
            Self::Name { .. } => 404,
            Self::File { .. } | Self::Folder { .. } | Self::Internal(_) => 500,
        }
    }

    /// What a client is told: the reference's words, which name no file and no address.
    pub fn client_message(&self) -> &'static str {
        match self {
            Self::Platform { source, .. } => source.client_message(),
            Self::Name { .. } => PlatformError::Refused { status: 404 }.client_message(),
            Self::File { .. } | Self::Folder { .. } | Self::Internal(_) => "Internal error.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_the_statuses_and_words_of_the_reference() {
        let of = |source| {
            let error = DefinitionError::Platform {
                id: "ws/flow".into(),
                source,
            };
            (error.status(), error.client_message())
        };
        for status in [401, 402, 403, 404, 423] {
            assert_eq!(of(PlatformError::of_status(status, None)).0, status);
        }
        let failed = "Internal error. Request to Roboflow API failed.";
        for status in [429, 500, 503, 418] {
            assert_eq!(of(PlatformError::of_status(status, None)), (502, failed));
        }
        let unreachable = PlatformError::Unreachable {
            reason: "refused".into(),
        };
        let message = "Internal error. Could not connect to Roboflow API.";
        assert_eq!(of(unreachable), (503, message));
        let limit = Duration::from_secs(2);
        let message = "Timeout when attempting to connect to Roboflow API.";
        assert_eq!(of(PlatformError::Timeout { limit }), (504, message));
    }

    #[test]
    fn only_a_refusal_is_an_answer() {
        assert!(!PlatformError::of_status(401, None).falls_back());
        assert!(!PlatformError::of_status(404, None).falls_back());
        assert!(PlatformError::of_status(429, None).falls_back());
        assert!(PlatformError::of_status(503, None).falls_back());
        assert!(PlatformError::Offline.falls_back());
    }
}
