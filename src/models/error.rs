//! Why a model cannot be had or cannot be run.

use std::path::PathBuf;

use super::package::Task;

/// Why a model cannot be had or cannot be run. Names what an operator has to look at.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModelError {
    /// No package has the id.
    #[error("model `{id}` is unknown: {place}")]
    Unknown {
        /// The id asked for.
        id: String,
        /// Where it was looked for, and what to do.
        place: String,
    },
    /// The model does something else than was asked for.
    #[error("model `{id}` does {task}, not {wanted}: use a block for {task} or another model")]
    WrongTask {
        /// The id asked for.
        id: String,
        /// What the model does.
        task: Task,
        /// What was wanted.
        wanted: Task,
    },
    /// A file of the package is missing or does not hold what it must.
    #[error("model package: {} cannot be used: {reason}", path.display())]
    Package {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// ONNX Runtime's shared library was not found.
    #[error(
        "the ONNX Runtime library was not found ({tried}): run scripts/setup.sh, or set ORT_DYLIB_PATH to a libonnxruntime.so of version 1.23 or newer"
    )]
    RuntimeMissing {
        /// The places looked at.
        tried: String,
    },
    /// ONNX Runtime's shared library was found but cannot be used.
    #[error(
        "the ONNX Runtime library {} cannot be used: {reason}; scripts/setup.sh installs one that can",
        path.display()
    )]
    Runtime {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The image cannot be given to the model.
    #[error("image {index} of the batch cannot be given to a model: {reason}")]
    Image {
        /// Position in the batch.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The model failed on its input, or its answer has another form than its package says.
    #[error("inference with model `{id}` failed: {reason}")]
    Inference {
        /// The model.
        id: String,
        /// What went wrong.
        reason: String,
    },
}

impl ModelError {
    /// HTTP status: 404 for an unknown model, 400 for what the client can mend, else 500.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unknown { .. } => 404,
            Self::WrongTask { .. } | Self::Image { .. } => 400,
            Self::Package { .. }
            | Self::RuntimeMissing { .. }
            | Self::Runtime { .. }
            | Self::Inference { .. } => 500,
        }
    }
}
