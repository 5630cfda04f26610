//! Whether streams are well: starved (no frames), hung (frames and no results) and dead are told
//! apart.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::pipeline::{Phase, Pipeline, State};
use crate::sources::SourceState;

/// Failed rounds in a row after which a stream counts as failing.
const FAILING: u64 = 10;

/// How a stream is.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Results come, or it is just beginning.
    Well,
    /// It waits for its definition or a model, or is tried again later.
    Starting(Option<String>),
    /// It pauses as it was told to.
    Paused,
    /// It has come to its end.
    Ended,
    /// No frames come from these sources.
    Starved {
        /// Numbers of the sources.
        sources: Vec<usize>,
        /// For how long at least.
        silent: Duration,
        /// The last error of the first of them.
        reason: Option<String>,
    },
    /// Frames come and no results.
    Hung {
        /// For how long.
        stalled: Duration,
    },
    /// Results come and all of them are errors.
    Failing {
        /// The last error.
        reason: String,
    },
    /// Nothing comes any more.
    Dead {
        /// Why.
        reason: String,
    },
}

impl Condition {
    /// Name in reports and metrics: a closed set.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Starting(_) => "starting",
            Self::Paused => "paused",
            Self::Ended => "ended",
            Self::Starved { .. } => "starved",
            Self::Hung { .. } => "hung",
            Self::Failing { .. } => "failing",
            Self::Dead { .. } => "dead",
        }
    }

    /// Whether somebody should look at it.
    pub fn is_ill(&self) -> bool {
        matches!(
            self,
            Self::Starved { .. } | Self::Hung { .. } | Self::Failing { .. } | Self::Dead { .. }
        ) || matches!(self, Self::Starting(Some(_)))
    }

    /// As JSON: the name, and what belongs to it.
    pub fn to_json(&self) -> Json {
        let mut json = json!({"condition": self.name()});
        match self {
            Self::Starting(reason) => json["reason"] = json!(reason),
            Self::Starved {
                sources,
                silent,
                reason,
            } => {
                json["sources"] = json!(sources);
                json["seconds"] = json!(silent.as_secs_f64());
                json["reason"] = json!(reason);
            }
            Self::Hung { stalled } => json["seconds"] = json!(stalled.as_secs_f64()),
            Self::Failing { reason } | Self::Dead { reason } => json["reason"] = json!(reason),
            Self::Well | Self::Paused | Self::Ended => {}
        }
        json
    }
}

/// How one stream of the fleet is.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamHealth {
    /// The pipeline.
    pub id: String,
    /// How it is.
    pub condition: Condition,
    /// How often its hung stream was started anew.
    pub restarts: usize,
}

impl StreamHealth {
    /// As JSON.
    pub fn to_json(&self) -> Json {
        let mut json = self.condition.to_json();
        json["id"] = json!(self.id);
        json["restarts"] = json!(self.restarts);
        json
    }
}

/// How a pipeline is now.
pub(super) fn of(pipeline: &Pipeline) -> Condition {
    let state = pipeline.state();
    let now = pipeline.now();
    let settings = pipeline.settings();
    match state.phase {
        Phase::Waiting | Phase::Loading => return Condition::Starting(state.problem.clone()),
        Phase::Ended => return Condition::Ended,
        Phase::Failed => {
            let reason = state.problem.clone().unwrap_or_default();
            return Condition::Dead { reason };
        }
        Phase::Running => {}
    }
    let stalled = now.saturating_sub(state.alive_at);
    if stalled >= settings.hung {
        return Condition::Hung { stalled };
    }
    if state.paused {
        return Condition::Paused;
    }
    let since = now.saturating_sub(state.since);
    if let Some(starved) = starved(&state, since, settings.starved) {
        // What waits for a client is not starved: its file or queue stands still on purpose.
        if !pipeline.results.producer_waits() {
            return starved;
        }
    }
    match &state.last_error {
        Some(reason) if state.failing >= FAILING => Condition::Failing {
            reason: reason.clone(),
        },
        _ => Condition::Well,
    }
}

/// The sources from which nothing comes, if there are such.
fn starved(state: &State, since: Duration, patience: Duration) -> Option<Condition> {
    let mut sources = Vec::new();
    let mut shortest = Duration::MAX;
    let mut reason = None;
    for camera in &state.cameras {
        let Some(source) = &camera.source else {
            continue;
        };
        let stats = source.stats();
        if stats.state == SourceState::Ended {
            continue;
        }
        let silent = stats.silent_for.unwrap_or(since);
        // A file that is taken slowly is silent while it waits; only its supervisor knows better.
        let waits = !source.is_live() && stats.state == SourceState::Running;
        if silent < patience || waits {
            continue;
        }
        sources.push(camera.number);
        shortest = shortest.min(silent);
        reason = reason.or(stats.last_error.map(|error| error.to_string()));
    }
    (!sources.is_empty()).then_some(Condition::Starved {
        sources,
        silent: shortest,
        reason,
    })
}
