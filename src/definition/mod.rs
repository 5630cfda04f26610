//! The document: inputs, steps, outputs, selectors, and all that can be wrong with it.

pub mod canonical;
pub mod document;
pub mod error;
pub mod fields;
pub mod selector;
pub mod step;

pub use canonical::DefinitionHash;
pub use document::Document;
