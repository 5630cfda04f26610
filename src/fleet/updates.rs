//! What became of a pipeline, event by event, as its status tells it (server specification 4.3).
//!
//! The last [`KEPT`] updates are kept. Times are the machine's local time without an offset, as the
//! reference writes them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Local};
use serde_json::{Value as Json, json};

use crate::clock::Clock;
use crate::sources::SourceState;
use crate::values::Timestamp;

/// Updates kept; of more, the oldest go.
const KEPT: usize = 512;

/// How much an update matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    Info = 20,
    Warning = 30,
    Error = 40,
}

/// Who tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Teller {
    Pipeline,
    Source,
}

impl Teller {
    fn name(self) -> &'static str {
        match self {
            Self::Pipeline => "inference_pipeline",
            Self::Source => "video_source",
        }
    }
}

/// State of a source in the words of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireState {
    NotStarted,
    Initialising,
    Running,
    Paused,
    Muted,
    Restarting,
    Ended,
    Error,
}

impl WireState {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NotStarted => "NOT_STARTED",
            Self::Initialising => "INITIALISING",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Muted => "MUTED",
            Self::Restarting => "RESTARTING",
            Self::Ended => "ENDED",
            Self::Error => "ERROR",
        }
    }

    /// The state of an open source. While its pipeline pauses a live source is muted (its frames go
    /// by) and a recorded file is paused (it is not read).
    pub(super) fn of(state: SourceState, paused: bool, live: bool) -> Self {
        match state {
            SourceState::Connecting => Self::Initialising,
            SourceState::Running if paused && live => Self::Muted,
            SourceState::Running if paused => Self::Paused,
            SourceState::Running => Self::Running,
            SourceState::Lost => Self::Restarting,
            SourceState::Ended | SourceState::Closed => Self::Ended,
            SourceState::Failed => Self::Error,
        }
    }
}

/// The time on the wall as the reference writes it.
pub(super) fn wall(clock: &dyn Clock) -> Timestamp {
    let micros = (clock.now().unix_seconds() * 1e6).round() as i64;
    let utc = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    Timestamp::naive(utc.with_timezone(&Local).naive_local())
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct Updates {
    list: Mutex<VecDeque<Json>>,
}

impl Updates {
    fn list(&self) -> MutexGuard<'_, VecDeque<Json>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an update.
    pub(super) fn note(
        &self,
        clock: &dyn Clock,
        severity: Severity,
        event: &str,
        teller: Teller,
        payload: Json,
    ) {
        let update = json!({
            "timestamp": wall(clock).isoformat(),
            "severity": severity as u8,
            "event_type": event,
            "payload": payload,
            "context": teller.name(),
        });
        let mut list = self.list();
        if list.len() == KEPT {
            list.pop_front();
        }
        list.push_back(update);
    }

    /// A source went from one state to another.
    pub(super) fn moved(&self, clock: &dyn Clock, number: usize, from: WireState, to: WireState) {
        let source = json!({"source_id": number});
        let note =
            |event, payload| self.note(clock, Severity::Info, event, Teller::Source, payload);
        let started = to == WireState::Running
            && matches!(from, WireState::Initialising | WireState::Restarting);
        if started {
            note("VIDEO_CONSUMPTION_STARTED", source.clone());
        }
        note(
            "SOURCE_STATE_UPDATE",
            json!({"previous_state": from.name(), "new_state": to.name(), "source_id": number}),
        );
        if to == WireState::Ended {
            note("VIDEO_CONSUMPTION_FINISHED", source);
        }
    }

    /// All that are kept, oldest first.
    pub(super) fn to_json(&self) -> Json {
        self.list().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn updates_are_bounded_and_tell_moves_as_recorded() {
        let (updates, clock) = (Updates::default(), ManualClock::default());
        let (from, to) = (WireState::Initialising, WireState::Running);
        updates.moved(&clock, 0, from, to);
        let told = updates.to_json();
        let events: Vec<&str> = told
            .as_array()
            .unwrap()
            .iter()
            .map(|u| u["event_type"].as_str().unwrap())
            .collect();
        assert_eq!(events, ["VIDEO_CONSUMPTION_STARTED", "SOURCE_STATE_UPDATE"]);
        assert_eq!(
            told[1]["payload"],
            json!({"previous_state": "INITIALISING", "new_state": "RUNNING", "source_id": 0})
        );
        for number in 0..600 {
            updates.moved(&clock, number, to, WireState::Restarting);
        }
        let told = updates.to_json();
        assert_eq!(told.as_array().unwrap().len(), KEPT);
        assert_eq!(told[KEPT - 1]["payload"]["source_id"], 599);
    }
}
