//! Weights on disk, ONNX Runtime sessions, pre- and post-processing per family.
//!
//! A [`ModelStore`] gives models by id: from a folder of packages, else from the cache, else from the
//! platform. The first request for a model loads it; all later ones, from whatever thread, share it.
//! A family of models has a type of its own, so far [`Detector`] for boxes; each has the same shape:
//! prepare images, run the session, read the answer. What several callers want of a session at a time
//! is run in batches, fair between them.

mod aliases;
mod batcher;
pub mod config;
mod contrast;
pub mod detection;
mod environment;
pub mod error;
mod lock;
pub mod package;
pub mod prepare;
mod registry;
mod remote;
pub mod runtime;
pub mod settings;
pub mod store;
pub mod usage;
pub mod weights;

pub use batcher::{BatchFigures, Claim, SIZES, WAITS};
pub use detection::{Confidence, DetectParams, Detector};
pub use error::ModelError;
pub use package::Task;
pub use remote::{CachedModel, Download, Source};
pub use runtime::{Provider, RuntimeSettings};
pub use settings::{Limits, Settings};
pub use store::{ModelInfo, ModelStore, Preloading, RegistryRow};
