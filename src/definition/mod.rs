//! The document: inputs, steps, outputs, selectors, and all that can be wrong with it.

pub mod error;
pub mod selector;
pub mod step;
