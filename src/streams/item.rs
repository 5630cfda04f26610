//! A round on its way through the stages, and whether it is still worth that.

use std::sync::Arc;
use std::time::Duration;

use super::Generation;
use super::figures::Spent;
use super::flow::Permit;
use super::intake::Frames;
use crate::definition::error::WorkflowError;
use crate::engine::Run;
use crate::telemetry::FrameTrace;

/// A round between stages.
pub(super) struct Item {
    pub frames: Frames,
    /// Numbers of the sources that the stream has.
    pub sources: Arc<[usize]>,
    /// When it was handed to the first stage.
    pub fed: Duration,
    /// Its place among the rounds of its definition, from 0 on without gaps.
    pub sequence: u64,
    pub generation: Arc<Generation>,
    pub run: Result<Run, Miss>,
    pub age: Age,
    /// What stages spent on it.
    pub spent: Spent,
    /// What is told of it to a collector of traces.
    pub trace: Option<Box<FrameTrace>>,
    /// Held until the result is taken over.
    pub permit: Permit,
}

/// Why a round has no outputs.
#[derive(Debug)]
pub(super) enum Miss {
    /// A step failed.
    Failed(WorkflowError),
    /// It got too old on its way and was dropped.
    Stale,
}

impl From<WorkflowError> for Miss {
    fn from(error: WorkflowError) -> Self {
        Self::Failed(error)
    }
}

/// The age of a round. It is stale when it is older than its budget and has waited for longer than it
/// was worked on: what only a slow pipeline makes old is still the newest that there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    /// When the newest of its frames came from the decoder.
    pub born: Duration,
    /// Age that live frames may reach; `None` for rounds with a frame of a recorded file.
    pub budget: Option<Duration>,
    /// Time that stages worked on it.
    pub worked: Duration,
}

impl Age {
    /// Time until the round is stale; `None` if it never is.
    pub(super) fn left(&self, now: Duration) -> Option<Duration> {
        let limit = self.budget?.max(self.worked * 2);
        Some((self.born + limit).saturating_sub(now))
    }

    /// Whether it is too late for the round.
    pub(super) fn is_stale(&self, now: Duration) -> bool {
        self.left(now).is_some_and(|left| left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waited_gets_stale() {
        let ms = Duration::from_millis;
        let mut age = Age {
            born: ms(1000),
            budget: Some(ms(500)),
            worked: ms(100),
        };
        assert_eq!(age.left(ms(1400)), Some(ms(100)));
        assert!(!age.is_stale(ms(1499)) && age.is_stale(ms(1500)));
        age.worked = ms(600);
        assert!(!age.is_stale(ms(2199)), "the stages took that long");
        assert!(age.is_stale(ms(2200)));
        age.budget = None;
        assert!(
            !age.is_stale(ms(9000)),
            "frames of a file are never dropped"
        );
    }
}
