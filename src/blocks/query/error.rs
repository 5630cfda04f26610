//! Errors of evaluation, with the classes and contexts that clients know.

use crate::blocks::BlockError;
use crate::definition::error::ErrorClass;

const CONTEXT: &str = "step_execution | roboflow_query_language_evaluation";

/// Why a chain or a statement could not be evaluated; which class says what stands in section 8 of the
/// query language specification.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// The class; `None` if the failure is an ordinary failure of the step.
    pub class: Option<ErrorClass>,
    /// Place in the chain or statement, such as `<root>[0].statements[1]`; a few operations do not
    /// tell it.
    pub path: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl QueryError {
    /// An error of a class at a place.
    pub(super) fn at(class: ErrorClass, path: &str, message: String) -> Self {
        Self {
            class: Some(class),
            path: Some(path.to_owned()),
            message,
        }
    }

    /// The context on the wire.
    pub fn context(&self) -> String {
        match &self.path {
            Some(path) => format!("{CONTEXT} | {path}"),
            None => CONTEXT.to_owned(),
        }
    }
}

impl From<QueryError> for BlockError {
    fn from(error: QueryError) -> Self {
        match error.class {
            None => Self::Failed(error.message),
            Some(class) => Self::Classed {
                class,
                context: error.context(),
                message: error.message,
            },
        }
    }
}
