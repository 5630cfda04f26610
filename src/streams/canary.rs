//! A canary: a new definition runs beside the running one on the same frames, and their outputs are
//! compared before anything changes.
//!
//! The canary's engine is its own, with fresh state and with sinks switched off: what it would have
//! sent is not sent twice. Outputs are compared as JSON, without pictures and with random
//! identifiers taken for equal. A file waits for the canary, a camera does not: frames that it is
//! too slow for are left out and counted.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};
use regex::Regex;
use serde_json::{Map, Value as Json, json};

use super::report::outputs_without_pictures;
use super::{FrameResult, Generation};
use crate::engine::Run;
use crate::values::Timestamp;
use crate::values::serialise::OutputOptions;

/// How long the comparison waits for the last results.
const LAST_RESULTS: Duration = Duration::from_secs(10);

/// When a canary is followed by the swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum CanaryUntil {
    /// If all outputs were equal.
    #[default]
    Equal,
    /// In any case: the canary only tells.
    Always,
    /// Not at all.
    Never,
}

/// How a new definition is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryPlan {
    /// Frames on which it runs beside the old one.
    pub frames: u64,
    /// What follows.
    pub until: CanaryUntil,
}

/// How the outputs of two definitions differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CanaryReport {
    /// Frames that both ran on.
    pub compared: u64,
    /// Of them, frames with equal outputs.
    pub equal: u64,
    /// Frames that the canary was too slow for.
    pub skipped: u64,
    /// Frames by output that differed, was new or was gone; `error` counts failures of the canary.
    pub differing: BTreeMap<String, u64>,
    /// The first difference, in words.
    pub first: Option<String>,
}

impl CanaryReport {
    /// Whether there was something to compare and nothing differed.
    pub fn all_equal(&self) -> bool {
        self.compared > 0 && self.equal == self.compared
    }

    /// As JSON.
    pub fn to_json(&self) -> Json {
        json!({
            "compared": self.compared, "equal": self.equal, "skipped": self.skipped,
            "differing": self.differing, "first": self.first,
        })
    }

    fn compare(&mut self, frame: i64, old: &Map<String, Json>, new: &Map<String, Json>) {
        self.compared += 1;
        let mut names: Vec<&String> = old
            .keys()
            .chain(new.keys().filter(|k| !old.contains_key(*k)))
            .collect();
        names.retain(|name| old.get(*name) != new.get(*name));
        if names.is_empty() {
            self.equal += 1;
        }
        for name in names {
            *self.differing.entry(name.clone()).or_default() += 1;
            if self.first.is_none() {
                let show = |side: &Map<String, Json>| -> String {
                    side.get(name).map_or("nothing".into(), |v| {
                        v.to_string().chars().take(120).collect()
                    })
                };
                self.first = Some(format!(
                    "frame {frame}, {name}: {} before, {} now",
                    show(old),
                    show(new)
                ));
            }
        }
    }
}

impl fmt::Display for CanaryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} frames equal", self.equal, self.compared)?;
        for (output, n) in &self.differing {
            write!(f, ", {output} differs on {n}")?;
        }
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        match &self.first {
            Some(first) => write!(f, " (first: {first})"),
            None => Ok(()),
        }
    }
}

/// Outputs of a frame in the form in which they are compared.
pub(super) struct Comparable {
    frame: i64,
    outputs: Map<String, Json>,
}

impl Comparable {
    pub(super) fn of_result(result: &FrameResult) -> Self {
        Self::new(
            result.frame.number,
            &result.generation,
            result.run.as_ref().map_err(ToString::to_string),
        )
    }

    pub(super) fn new(frame: i64, generation: &Generation, run: Result<&Run, String>) -> Self {
        // The time stands in metadata of pictures only, and those are left out.
        let options = OutputOptions::new(Timestamp::from_unix_micros(0));
        let outputs = run.and_then(|run| outputs_without_pictures(run, &generation.plan, &options));
        let outputs = match outputs {
            Ok(outputs) => outputs
                .into_iter()
                .map(|(name, value)| (name, anonymous(value)))
                .collect(),
            Err(error) => Map::from_iter([("error".to_owned(), Json::from(error))]),
        };
        Self { frame, outputs }
    }
}

/// The value with every random identifier replaced.
fn anonymous(value: Json) -> Json {
    match value {
        Json::String(text) => Json::String(
            identifiers().map_or(text.clone(), |r| r.replace_all(&text, "*").into_owned()),
        ),
        Json::Array(items) => items.into_iter().map(anonymous).collect(),
        Json::Object(entries) => entries
            .into_iter()
            .map(|(k, v)| (k, anonymous(v)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

fn identifiers() -> Option<&'static Regex> {
    static UUID: std::sync::OnceLock<Option<Regex>> = std::sync::OnceLock::new();
    let pattern = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    UUID.get_or_init(|| Regex::new(pattern).ok()).as_ref()
}

/// Compares what comes from both sides until the canary's side ends and every frame of it was
/// matched, then sends the report.
pub(super) fn compare(
    old: &Receiver<Comparable>,
    new: &Receiver<Comparable>,
    skipped: &Receiver<u64>,
    report: &Sender<CanaryReport>,
) {
    let mut found = CanaryReport::default();
    let (mut before, mut after) = (HashMap::new(), HashMap::new());
    let mut running = true;
    while running || !after.is_empty() {
        let mut took = None;
        if running {
            select! {
                recv(old) -> got => match got {
                    Ok(side) => { before.insert(side.frame, side.outputs); }
                    Err(_) => break,
                },
                recv(new) -> got => match got {
                    Ok(side) => { after.insert(side.frame, side.outputs); }
                    Err(_) => running = false,
                },
                default(LAST_RESULTS) => {}
            }
        } else {
            match old.recv_timeout(LAST_RESULTS) {
                Ok(side) => took = Some(side),
                Err(_) => break,
            }
        }
        if let Some(side) = took {
            before.insert(side.frame, side.outputs);
        }
        let both: Vec<i64> = after
            .keys()
            .filter(|frame| before.contains_key(frame))
            .copied()
            .collect();
        for frame in both {
            if let (Some(old), Some(new)) = (before.remove(&frame), after.remove(&frame)) {
                found.compare(frame, &old, &new);
            }
        }
    }
    found.skipped = skipped.try_iter().sum();
    // Whoever asked may have gone meanwhile.
    let _ = report.send(found);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(entries: Json) -> Map<String, Json> {
        entries
            .as_object()
            .unwrap()
            .clone()
            .into_iter()
            .map(|(k, v)| (k, anonymous(v)))
            .collect()
    }

    #[test]
    fn random_identifiers_are_equal_and_new_outputs_differ() {
        let mut report = CanaryReport::default();
        let old = side(json!({"id": "8f07fa08-c863-52ef-af0a-b619e8e47189", "n": 1}));
        report.compare(
            1,
            &old,
            &side(json!({"id": "2efbaa21-6741-545e-8c9b-09192393739b", "n": 1})),
        );
        assert!(report.all_equal());
        report.compare(
            2,
            &old,
            &side(json!({"id": "2efbaa21-6741-545e-8c9b-09192393739b", "n": 2, "extra": true})),
        );
        assert!(!report.all_equal());
        assert_eq!(
            report.differing,
            BTreeMap::from([("extra".to_owned(), 1), ("n".to_owned(), 1)])
        );
        assert_eq!(report.first.as_deref(), Some("frame 2, n: 1 before, 2 now"));
        assert!(
            report
                .to_string()
                .starts_with("1 of 2 frames equal, extra differs on 1")
        );
    }

    #[test]
    fn results_are_paired_by_frame_whatever_comes_first() {
        let (old, old_in) = crossbeam_channel::unbounded();
        let (new, new_in) = crossbeam_channel::unbounded();
        let (_skipped, skipped_in) = crossbeam_channel::unbounded();
        let (report, report_in) = crossbeam_channel::bounded(1);
        let put = |to: &Sender<Comparable>, frame, n: i64| {
            to.send(Comparable {
                frame,
                outputs: side(json!({"n": n})),
            })
            .unwrap();
        };
        for frame in 1..=3 {
            put(&old, frame, frame);
        }
        put(&new, 3, 3);
        put(&new, 2, 9);
        drop(new);
        compare(&old_in, &new_in, &skipped_in, &report);
        let found = report_in.recv().unwrap();
        assert_eq!((found.compared, found.equal), (2, 1));
    }
}
