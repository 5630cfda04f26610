//! Why a source gives no frames, in words an operator can act on.
//!
//! Every error names the source (redacted) and answers [`SourceError::retry`]: whether the same
//! attempt may succeed later without anybody changing anything.

use std::time::Duration;

use thiserror::Error;

use crate::redact::Redacted;

/// Who has to act on a [`SourceError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorOrigin {
    /// Whoever wrote the address or the options.
    Caller,
    /// The recorded file.
    File,
    /// The camera, or the way to it.
    Camera,
    /// This machine: something is not installed or does not work.
    Host,
}

/// Why a running live source stopped giving frames.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum LostReason {
    /// The other side ended the stream.
    #[error("the other side ended the stream")]
    Ended,
    /// The connection stands and nothing comes.
    #[error("no frame for {:.1} s", .0.as_secs_f64())]
    Silent(Duration),
    /// Frames come, and their time stamps stand still.
    #[error("the time stamps stand still since {:.1} s", .0.as_secs_f64())]
    Stuck(Duration),
    /// Frames come, and all are damaged.
    #[error("nothing but damaged frames for {:.1} s", .0.as_secs_f64())]
    Damaged(Duration),
    /// Reading failed.
    #[error("{0}")]
    Failed(String),
}

/// Why a source cannot give frames.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum SourceError {
    /// The address cannot be read.
    #[error("source address {address} is not usable: {reason}")]
    Address {
        /// What was given.
        address: Redacted,
        /// What is wrong with it.
        reason: String,
    },
    /// An option of the source is not possible.
    #[error("source option {option} is not usable: {reason}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing under this address.
    #[error("{source_name}: not found ({reason})")]
    NotFound {
        /// The source.
        source_name: Redacted,
        /// Who said so.
        reason: String,
        /// Whether it may appear later (a stream that nobody publishes yet, an unplugged camera).
        may_appear: bool,
    },
    /// It is there and has no video in it.
    #[error("{source_name}: not a video ({reason})")]
    NotVideo {
        /// The source.
        source_name: Redacted,
        /// What it is instead.
        reason: String,
    },
    /// It is a video that cannot be read.
    #[error("{source_name}: corrupt after {frames} frames ({reason})")]
    Corrupt {
        /// The source.
        source_name: Redacted,
        /// Frames given before.
        frames: i64,
        /// What was found.
        reason: String,
    },
    /// A decoder or another part of GStreamer is not installed.
    #[error("{source_name}: {what} is missing on this machine; install {package}")]
    Missing {
        /// The source.
        source_name: Redacted,
        /// Codec or element.
        what: String,
        /// Debian package that has it.
        package: String,
    },
    /// Nobody answers, or the connection is refused.
    #[error("{source_name}: cannot connect ({reason})")]
    Refused {
        /// The source.
        source_name: Redacted,
        /// What was tried and what came back.
        reason: String,
    },
    /// User name or password are wrong or missing.
    #[error("{source_name}: user name and password were not accepted")]
    Unauthorized {
        /// The source.
        source_name: Redacted,
    },
    /// The certificate of the other side is not trusted.
    #[error(
        "{source_name}: the certificate is not trusted ({reason}); switch its check off for cameras that sign their own"
    )]
    Certificate {
        /// The source.
        source_name: Redacted,
        /// What was wrong with it.
        reason: String,
    },
    /// Another program uses the camera.
    #[error("{source_name}: busy, another program uses it")]
    Busy {
        /// The source.
        source_name: Redacted,
    },
    /// The connection stands and no first frame came in time.
    #[error("{source_name}: connected, and no frame within {:.1} s", .waited.as_secs_f64())]
    NoFrame {
        /// The source.
        source_name: Redacted,
        /// How long was waited.
        waited: Duration,
    },
    /// A live source that gave frames stopped.
    #[error("{source_name}: lost ({reason})")]
    Lost {
        /// The source.
        source_name: Redacted,
        /// Why.
        reason: LostReason,
    },
    /// Reading a file did not get on.
    #[error("{source_name}: stalled, no frame for {:.1} s after {frames} frames", .waited.as_secs_f64())]
    Stalled {
        /// The source.
        source_name: Redacted,
        /// Frames given before.
        frames: i64,
        /// How long was waited.
        waited: Duration,
    },
    /// Every attempt that was allowed failed.
    #[error("given up after {attempts} attempts: {last}")]
    GaveUp {
        /// Number of failed attempts in a row.
        attempts: u32,
        /// How the last one failed.
        last: Box<SourceError>,
    },
    /// The source was closed.
    #[error("{source_name}: closed")]
    Closed {
        /// The source.
        source_name: Redacted,
    },
    /// GStreamer cannot do its work.
    #[error("GStreamer does not work: {reason}")]
    Host {
        /// What it said.
        reason: String,
    },
}

impl SourceError {
    /// Whether trying again later makes sense although nobody changes anything here.
    pub fn retry(&self) -> bool {
        match self {
            Self::NotFound { may_appear, .. } => *may_appear,
            Self::Refused { .. }
            | Self::Busy { .. }
            | Self::NoFrame { .. }
            | Self::Lost { .. }
            | Self::Stalled { .. } => true,
            Self::Address { .. }
            | Self::Option { .. }
            | Self::NotVideo { .. }
            | Self::Corrupt { .. }
            | Self::Missing { .. }
            | Self::Unauthorized { .. }
            | Self::Certificate { .. }
            | Self::GaveUp { .. }
            | Self::Closed { .. }
            | Self::Host { .. } => false,
        }
    }

    /// Who has to act.
    pub fn origin(&self) -> ErrorOrigin {
        match self {
            Self::Address { .. }
            | Self::Option { .. }
            | Self::Unauthorized { .. }
            | Self::Certificate { .. }
            | Self::Closed { .. } => ErrorOrigin::Caller,
            Self::NotFound { may_appear, .. } if !may_appear => ErrorOrigin::Caller,
            Self::NotVideo { .. } | Self::Corrupt { .. } | Self::Stalled { .. } => {
                ErrorOrigin::File
            }
            Self::Missing { .. } | Self::Host { .. } => ErrorOrigin::Host,
            Self::NotFound { .. }
            | Self::Refused { .. }
            | Self::Busy { .. }
            | Self::NoFrame { .. }
            | Self::Lost { .. } => ErrorOrigin::Camera,
            Self::GaveUp { last, .. } => last.origin(),
        }
    }
}
