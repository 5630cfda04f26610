//! Placeholder until the query language lands.
use serde_json::Value as Json;
/// A problem.
#[derive(Clone, Debug)]
pub struct ParseProblem {
    /// Path.
    pub path: String,
    /// Message.
    pub message: String,
}
/// Chain.
pub fn parse_chain(_: &Json) -> Result<(), Vec<ParseProblem>> {
    Ok(())
}
/// Statement.
pub fn parse_statement(_: &Json) -> Result<(), Vec<ParseProblem>> {
    Ok(())
}
