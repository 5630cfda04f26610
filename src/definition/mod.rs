//! The document: inputs, steps, outputs, selectors, and all that can be wrong with it.

pub mod canonical;
pub(crate) mod coerce;
pub mod document;
pub mod error;
pub mod fields;
pub mod inner;
mod inputs;
mod problems;
pub mod selector;
pub mod step;
mod steps;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
pub mod version;

pub use canonical::DefinitionHash;
pub use document::Document;
pub use inner::InnerWorkflows;
