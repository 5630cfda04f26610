//! Where definitions come from that an inner workflow only names.

use std::fmt;

use serde_json::Value as Json;

use crate::definition::error::{ErrorClass, WorkflowError};

/// The name of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The workspace; `local` for definitions on this machine.
    pub workspace: String,
    /// The workflow's id in the workspace.
    pub workflow: String,
    /// The pinned version, if any.
    pub version: Option<String>,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workspace, self.workflow)?;
        match &self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

/// Gives definitions by their names. Compilation asks once for each name, and waits.
pub trait Library {
    /// The definition under a name.
    ///
    /// # Errors
    /// If there is no API key for a workspace of the platform, or the definition cannot be had.
    fn definition(&self, reference: &Reference) -> Result<Json, LibraryError>;
}

/// Why a library does not give a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// The workspace is not on this machine and there is no key for the platform.
    #[error("an API key is needed for definitions of the platform; set ROBOFLOW_API_KEY")]
    KeyMissing,
    /// It could not be fetched.
    #[error("{reason}")]
    Failed {
        /// HTTP status that tells a client why.
        status: u16,
        /// Why.
        reason: String,
    },
}

impl LibraryError {
    /// The error of a compilation that asked for `reference` at a place.
    pub(super) fn at(self, place: &str, reference: &Reference) -> WorkflowError {
        let status = match self {
            Self::KeyMissing => None,
            Self::Failed { status, .. } => Some(status),
        };
        let message = format!("{place}: the definition {reference} cannot be had: {self}");
        let mut error = unresolved(ErrorClass::WorkflowDefinition, message);
        error.status_override = status;
        error
    }
}

pub(super) fn unresolved(class: ErrorClass, message: String) -> WorkflowError {
    let context = "workflow_compilation | inner_workflow_spec_resolution";
    WorkflowError::new(class, context, message)
}
