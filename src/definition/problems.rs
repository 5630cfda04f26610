//! Structural problems of a definition, gathered so that a client sees all of them at once.

use std::collections::HashSet;

use super::error::{BlockProblem, ErrorClass, WorkflowError};

/// Context of errors that parsing shows.
const PARSING: &str = "workflow_compilation | workflow_definition_parsing";

/// Problems as they are found, in the order of the document.
#[derive(Default)]
pub(super) struct Problems {
    lines: Vec<String>,
    blocks: Vec<BlockProblem>,
    /// Steps and fields that stand in `blocks`: each is named once.
    reported: HashSet<(Option<String>, Option<String>)>,
}

impl Problems {
    /// A problem at a place of the document.
    pub(super) fn add(&mut self, place: &str, category: &str, message: &str) {
        self.lines.push(format!("{place}: {message} [{category}]"));
    }

    /// A problem of a step; editors show the first of each field.
    pub(super) fn blame(&mut self, problem: BlockProblem) {
        let key = (problem.block_id.clone(), problem.property_name.clone());
        if self.reported.insert(key) {
            self.blocks.push(problem);
        }
    }

    /// One error that lists all problems, if there are any.
    pub(super) fn into_result(self) -> Result<(), WorkflowError> {
        let n = self.lines.len();
        let count = match n {
            0 => return Ok(()),
            1 => "1 problem".to_owned(),
            _ => format!("{n} problems"),
        };
        let message = format!("{count} in the definition:\n{}", self.lines.join("\n"));
        Err(syntax_error(message, self.blocks))
    }
}

/// The error for a document that is no well-formed definition.
pub(super) fn syntax_error(message: impl Into<String>, blocks: Vec<BlockProblem>) -> WorkflowError {
    let message = message.into();
    let mut error = WorkflowError::new(ErrorClass::WorkflowSyntax, PARSING, message.clone());
    error.blocks = blocks;
    error.with_inner("ValidationError", message)
}
