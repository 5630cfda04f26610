//! Weights on disk, ONNX Runtime sessions, pre- and post-processing per family.
//!
//! A [`ModelStore`] is opened on a folder of packages and gives models by id. The first request for
//! a model loads it; all later ones, from whatever thread, share it. A family of models has a type
//! of its own, so far [`Detector`] for boxes; each has the same shape: prepare images, run the
//! session, read the answer.

mod aliases;
pub mod config;
mod contrast;
pub mod detection;
pub mod error;
pub mod package;
pub mod prepare;
mod registry;
pub mod runtime;
pub mod store;
pub mod usage;
pub mod weights;

pub use detection::{Confidence, DetectParams, Detector};
pub use error::ModelError;
pub use package::Task;
pub use runtime::{Provider, RuntimeSettings};
pub use store::{ModelInfo, ModelStore};
