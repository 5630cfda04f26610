//! Why a model cannot be had or cannot be run. No message contains an API key or the address of a
//! download, which may be signed.

use std::path::PathBuf;
use std::time::Duration;

use super::package::Task;
use crate::definitions::error::client_words;

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
    /// The id cannot be one.
    #[error("`{id}` is no model id: {reason}; write `project/version` or a short name")]
    Id {
        /// The id asked for.
        id: String,
        /// What is wrong with it.
        reason: &'static str,
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
    /// The model does something that no code here can run.
    #[error("model `{id}` does {task}, which cannot be run yet: use a model for object-detection")]
    UnsupportedTask {
        /// The id asked for.
        id: String,
        /// What the model does.
        task: Task,
    },
    /// The platform did not say what it was asked.
    #[error("model `{id}`: asked for {question}, {trouble}")]
    Platform {
        /// The id asked for.
        id: String,
        /// What it was asked.
        question: Question,
        /// Why it did not say it.
        trouble: Trouble,
    },
    /// None of the packages that the platform has for a model can be used.
    #[error("model `{id}`: none of its packages can be used: {reasons}")]
    NoPackage {
        /// The id asked for.
        id: String,
        /// Why not, for each package.
        reasons: String,
    },
    /// A file could not be fetched.
    #[error("model `{id}`: file `{file}` could not be downloaded: {trouble}")]
    Download {
        /// The id asked for.
        id: String,
        /// Name of the file in the package.
        file: String,
        /// Why.
        trouble: FileTrouble,
    },
    /// Somebody else has been loading or downloading the model for longer than one waits.
    #[error("model `{id}` is still being loaded after {} s: ask again later", limit.as_secs_f64())]
    Busy {
        /// The id asked for.
        id: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The folder of cached models cannot be used.
    #[error("model cache: {} cannot be used: {reason}; check MODEL_CACHE_DIR", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the file system said.
        reason: String,
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

/// What the platform is asked about a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Task and architecture (`models/v1/external/stat`).
    Metadata,
    /// Packages and their files (`models/v1/external/weights`).
    Packages,
    /// Everything, by the older protocol (`ort/…`, `getWeights`).
    Weights,
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Metadata => "its task",
            Self::Packages => "its packages",
            Self::Weights => "its weights",
        })
    }
}

/// Why the platform did not say what it was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Trouble {
    /// It will not: wrong key, no such model, no credits.
    #[error("the platform refused: {status} {}", advice(*status))]
    Refused {
        /// HTTP status: 401, 402, 403, 404 or 423.
        status: u16,
    },
    /// It answered with another status than success.
    #[error("the platform answered {status}")]
    Status {
        /// HTTP status.
        status: u16,
    },
    /// No answer in time.
    #[error("the platform did not answer within {} s", limit.as_secs_f64())]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// No connection, or one that broke.
    #[error(
        "the platform cannot be reached: {reason}; check the network, API_BASE_URL and ROBOFLOW_API_HOST"
    )]
    Unreachable {
        /// What the network said.
        reason: String,
    },
    /// Its answer is not what the protocol says.
    #[error("the platform's answer cannot be read: {reason}")]
    Garbage {
        /// What is wrong with it.
        reason: String,
    },
    /// OFFLINE_MODE forbids asking, and the cache does not have it.
    #[error(
        "the platform is not asked in offline mode, and the cache does not have the model: load it once while online"
    )]
    Offline,
}

impl Trouble {
    /// Whether what the cache has may stand in for the answer. A refusal is an answer.
    pub(super) fn falls_back(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

fn advice(status: u16) -> &'static str {
    match status {
        401 => "unauthorized: check the API key and that it belongs to the model's workspace",
        402 => "no credits left: check the billing page of the workspace",
        403 => "forbidden: check that the API key has the scopes it needs",
        404 => "not found: check the model id and that the API key may see it",
        _ => "the API keys of the workspace are paused",
    }
}

/// Why a file could not be fetched.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FileTrouble {
    /// Its server answered with another status than success.
    #[error("its server answered {status}")]
    Status {
        /// HTTP status.
        status: u16,
    },
    /// The connection broke, again and again.
    #[error("the connection failed: {reason}; what has come so far is kept")]
    Broken {
        /// What the network said.
        reason: String,
    },
    /// Its content is not what the platform announced.
    #[error("its MD5 is {found}, and the platform announced {wanted}")]
    Checksum {
        /// What the platform announced, in hexadecimal.
        wanted: String,
        /// What came.
        found: String,
    },
    /// It cannot be kept on disk.
    #[error("it cannot be written: {reason}")]
    Disk {
        /// What the file system said.
        reason: String,
    },
    /// Another process has the file and makes no headway.
    #[error("another process has locked it and made no headway for {} s", limit.as_secs_f64())]
    Locked {
        /// How long was waited.
        limit: Duration,
    },
}

impl ModelError {
    /// HTTP status (section 3.2 of the server specification): 404 for an unknown model, 400 for
    /// what the client can mend, what the platform says where it refuses, 502 and 503 where it
    /// fails, else 500.
    pub fn status(&self) -> u16 {
        match self {
            Self::Unknown { .. } => 404,
            Self::WrongTask { .. } | Self::Image { .. } | Self::Id { .. } => 400,
            Self::UnsupportedTask { .. } => 501,
            Self::Platform {
                question, trouble, ..
            } => platform_status(*question, trouble),
            Self::Busy { .. } => 503,
            Self::Download { trouble, .. } => match trouble {
                FileTrouble::Locked { .. } => 503,
                FileTrouble::Broken { .. } | FileTrouble::Status { .. } => 502,
                FileTrouble::Checksum { .. } | FileTrouble::Disk { .. } => 500,
            },
            Self::Package { .. }
            | Self::NoPackage { .. }
            | Self::Cache { .. }
            | Self::RuntimeMissing { .. }
            | Self::Runtime { .. }
            | Self::Inference { .. } => 500,
        }
    }

    /// The words that clients of the reference know for a failure of the platform; `None` where
    /// the error's own words are the answer.
    pub fn client_message(&self) -> Option<&'static str> {
        match self {
            Self::Platform { .. } => match self.status() {
                500 => Some("Internal error."),
                status => Some(client_words(status)),
            },
            Self::Unknown { .. } => Some(client_words(404)),
            Self::Id { .. } => Some("Invalid Model ID sent in request."),
            _ => None,
        }
    }

    /// The HTTP status of the platform or of a file's server, where the error comes from one.
    pub fn platform_status(&self) -> Option<u16> {
        match self {
            Self::Platform {
                trouble: Trouble::Refused { status } | Trouble::Status { status },
                ..
            }
            | Self::Download {
                trouble: FileTrouble::Status { status },
                ..
            } => Some(*status),
            _ => None,
        }
    }
}

/// The reference answers 500 where its model library gave up on the platform.
fn platform_status(question: Question, trouble: &Trouble) -> u16 {
    match trouble {
        Trouble::Refused { status } => *status,
        Trouble::Status { .. } if question == Question::Packages => 500,
        Trouble::Status { .. } | Trouble::Garbage { .. } => 502,
        Trouble::Unreachable { .. } | Trouble::Offline => 503,
        Trouble::Timeout { .. } => 504,
    }
}
