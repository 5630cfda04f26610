//! Every way in which a session is refused.

use crate::definition::error::WorkflowError;
use crate::definitions::DefinitionError;
use crate::sources::SourceError;

/// Why a session is not started.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WebrtcError {
    /// The offer cannot be used.
    #[error("the WebRTC offer cannot be used: {reason}")]
    Offer {
        /// What is wrong with it.
        reason: String,
    },
    /// A field of the request cannot be used.
    #[error("{what} cannot be used: {reason}")]
    Field {
        /// The field.
        what: &'static str,
        /// What is wrong with it, without secrets.
        reason: String,
    },
    /// The definition does not compile.
    #[error(transparent)]
    Workflow(Box<WorkflowError>),
    /// The definition cannot be had.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// The camera gives no picture.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There are as many sessions as may be.
    #[error(
        "{limit} WebRTC sessions run and more are not allowed; end one, or raise MILLRACE_WEBRTC_SESSIONS"
    )]
    Full {
        /// How many may be.
        limit: usize,
    },
    /// The workspace of the key has as many sessions as it may have. The words are the reference's.
    #[error("You have reached the maximum of {limit} concurrent streams.")]
    Quota {
        /// How many it may have.
        limit: usize,
    },
    /// There is no such session, or it is another workspace's.
    #[error("session not found")]
    Unknown,
    /// The machine or GStreamer fails.
    #[error("the connection cannot be set up: {reason}")]
    Host {
        /// Why.
        reason: String,
    },
}

impl WebrtcError {
    /// An offer that cannot be used.
    pub(super) fn offer(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Offer { reason }
    }

    /// A failure of the machine.
    pub(super) fn host(reason: impl std::fmt::Display) -> Self {
        Self::Host {
            reason: reason.to_string(),
        }
    }

    /// HTTP status of the answer to a client.
    pub fn status(&self) -> u16 {
        match self {
            Self::Offer { .. } | Self::Field { .. } => 400,
            Self::Workflow(error) => error.status(),
            Self::Definition(error) => error.status(),
            Self::Full { .. } => 503,
            Self::Quota { .. } => 429,
            Self::Unknown => 404,
            // As the reference tells it.
            Self::Source(_) | Self::Host { .. } => 500,
        }
    }

    /// The name that the reference has for this kind of refusal, where its answer tells one.
    pub fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Offer { .. } | Self::Field { .. } => Some("WebRTCConfigurationError"),
            Self::Quota { .. } => Some("WorkspaceStreamQuotaError"),
            _ => None,
        }
    }
}

impl From<WorkflowError> for WebrtcError {
    fn from(error: WorkflowError) -> Self {
        Self::Workflow(Box::new(error))
    }
}
