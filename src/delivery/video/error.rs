//! Why a film cannot be written.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why a film cannot be written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VideoError {
    /// Size or rate are not possible.
    #[error("film {path:?}: {reason}")]
    Option {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file cannot be made.
    #[error("film {path:?} cannot be opened: {reason}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// No space is left.
    #[error("film {path:?}: the disk is full")]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// A picture has another size or another number of channels than the film.
    #[error("film {path:?} takes {expected}, not {got}")]
    Picture {
        /// The file.
        path: PathBuf,
        /// Form of the film.
        expected: String,
        /// Form of the picture.
        got: String,
    },
    /// The encoder or the multiplexer is not installed.
    #[error("film {path:?}: the GStreamer element {element} is missing; install {package}")]
    Missing {
        /// The file.
        path: PathBuf,
        /// Name of the element.
        element: String,
        /// Debian package that has it.
        package: String,
    },
    /// The encoder did not get on.
    #[error("film {path:?}: no progress for {:.1} s", .waited.as_secs_f64())]
    Stalled {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// GStreamer reported an error.
    #[error("film {path:?}: {reason}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}
