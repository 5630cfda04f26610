//! The figures of a source in the words of operators: what it does, and why it was lost.

use std::time::Duration;

use super::{LostReason, SourceError, SourceState, SourceStats};

/// Silence of a running source from which it counts as starved, unless its frames are further apart.
const STARVED: Duration = Duration::from_secs(1);

/// What a source is doing, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// No frame yet; the first connection is being made.
    Connecting,
    /// Frames come.
    Streaming,
    /// The connection stands and no frame came for a while.
    Starved,
    /// The connection is gone, or never was; it is tried again.
    Reconnecting,
    /// The last frame was given.
    Ended,
    /// The source gave up.
    Failed,
    /// The source was closed.
    Closed,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 7] = [
        Self::Connecting,
        Self::Streaming,
        Self::Starved,
        Self::Reconnecting,
        Self::Ended,
        Self::Failed,
        Self::Closed,
    ];

    /// Name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::Starved => "starved",
            Self::Reconnecting => "reconnecting",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Closed => "closed",
        }
    }

    /// The condition that figures tell of. A live source counts as starved after a second, or five
    /// times the time between its frames; a recorded file waits for the one who takes its frames.
    pub(crate) fn of(stats: &SourceStats) -> Self {
        match stats.state {
            SourceState::Connecting => Self::Connecting,
            SourceState::Lost => Self::Reconnecting,
            SourceState::Ended => Self::Ended,
            SourceState::Failed => Self::Failed,
            SourceState::Closed => Self::Closed,
            SourceState::Running => {
                let spacing = stats.measured_fps.map_or(Duration::ZERO, |fps| {
                    Duration::from_secs_f64(1.0 / fps.max(0.001))
                });
                let recorded = stats.info.as_ref().is_some_and(|info| info.recorded);
                let silent = stats.silent_for.unwrap_or_default();
                match !recorded && silent > STARVED.max(5 * spacing) {
                    true => Self::Starved,
                    false => Self::Streaming,
                }
            }
        }
    }
}

/// Why a live source was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Loss {
    /// The other side ended the stream.
    Ended,
    /// Nothing came any more.
    Silent,
    /// Time stamps stood still.
    Stuck,
    /// Only damaged frames came.
    Damaged,
    /// Reading failed.
    Broken,
    /// There was no connection.
    Unreachable,
    /// User name and password were not accepted.
    Unauthorized,
    /// The certificate was not trusted.
    Certificate,
    /// There was nothing under the address.
    NotFound,
    /// A connection gave no first frame.
    NoFrame,
    /// Anything else, on this machine.
    Other,
}

impl Loss {
    /// Every cause.
    pub const ALL: [Self; 11] = [
        Self::Ended,
        Self::Silent,
        Self::Stuck,
        Self::Damaged,
        Self::Broken,
        Self::Unreachable,
        Self::Unauthorized,
        Self::Certificate,
        Self::NotFound,
        Self::NoFrame,
        Self::Other,
    ];

    /// Name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Silent => "silent",
            Self::Stuck => "stuck",
            Self::Damaged => "damaged",
            Self::Broken => "broken",
            Self::Unreachable => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::Certificate => "certificate",
            Self::NotFound => "not_found",
            Self::NoFrame => "no_frame",
            Self::Other => "other",
        }
    }

    /// The cause that an error tells of.
    pub fn of(error: &SourceError) -> Self {
        match error {
            SourceError::Lost { reason, .. } => match reason {
                LostReason::Ended => Self::Ended,
                LostReason::Silent(_) => Self::Silent,
                LostReason::Stuck(_) => Self::Stuck,
                LostReason::Damaged(_) => Self::Damaged,
                LostReason::Failed(_) => Self::Broken,
            },
            SourceError::Stalled { .. } => Self::Silent,
            SourceError::Corrupt { .. } => Self::Damaged,
            SourceError::Refused { .. } | SourceError::Busy { .. } => Self::Unreachable,
            SourceError::Unauthorized { .. } => Self::Unauthorized,
            SourceError::Certificate { .. } => Self::Certificate,
            SourceError::NotFound { .. } => Self::NotFound,
            SourceError::NoFrame { .. } => Self::NoFrame,
            SourceError::GaveUp { last, .. } => Self::of(last),
            SourceError::Address { .. }
            | SourceError::Option { .. }
            | SourceError::NotVideo { .. }
            | SourceError::Missing { .. }
            | SourceError::Closed { .. }
            | SourceError::Host { .. } => Self::Other,
        }
    }
}

/// Losses by cause. Each outage counts once, with the cause that began it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses([u64; Loss::ALL.len()]);

impl Losses {
    /// Losses for this cause.
    pub fn count(&self, cause: Loss) -> u64 {
        self.0[cause as usize]
    }

    /// Losses for any cause.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Counts a loss.
    pub(crate) fn count_one(&mut self, cause: Loss) {
        self.0[cause as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Redacted;

    #[test]
    fn every_cause_is_counted_under_its_own_name() {
        let mut losses = Losses::default();
        for (i, cause) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, i);
            losses.count_one(cause);
            assert_eq!(losses.count(cause), 1, "{}", cause.name());
        }
        let name = Redacted::new("rtsp://cam/x");
        let silent = SourceError::Lost {
            source_name: name.clone(),
            reason: LostReason::Silent(Duration::from_secs(5)),
        };
        let given_up = SourceError::GaveUp {
            attempts: 3,
            last: Box::new(SourceError::Unauthorized { source_name: name }),
        };
        assert_eq!(Loss::of(&silent), Loss::Silent);
        assert_eq!(Loss::of(&given_up), Loss::Unauthorized);
        assert_eq!(losses.total(), 11);
    }
}
