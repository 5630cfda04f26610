//! Keeps a log of when each tracked object was seen first and last.
//!
//! # Inputs and outputs
//! Tracked `detections` of one frame of the video of `image` → `event_log` (`logged`: objects seen on
//! `frame_threshold` frames, `pending`: the others), the sizes of both, the `detections` unchanged, and
//! `complete_events`: what was logged and has not been seen for more than `stale_frames` frames, told
//! once, on the call every `flush_interval` calls that tidies up.
//!
//! # State
//! Per video: one event per track id ([`MAX_EVENTS`] at most, the oldest go), the number of calls, the
//! time of the first. Frames in events are calls, not frame numbers.
//!
//! # Edge cases
//! Boxes without track ids are not an error; nothing is logged. Negative ids are ids.
//!
//! # Parity
//! `video_event_log_*`, specification 1.5.

use std::sync::Arc;

use indexmap::IndexMap;

use super::{BOXES, DETECTIONS, IMAGE};
use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::{Detections, Dict, Value, kind};

/// Events kept per video.
pub const MAX_EVENTS: usize = 65_536;

const COUNT: &[Ty] = &[Ty::Int, Ty::InputParameter(&[kind::INTEGER])];

/// `roboflow_core/detection_event_log@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/detection_event_log@v1"],
    name: "Detection Event Log",
    family: Family::Analytics,
    about: "Keeps a log of when each tracked object was seen first and last.",
    fields: &[
        IMAGE,
        DETECTIONS,
        Field::optional("frame_threshold", COUNT, "30")
            .bounds(Bounds::at_least(1.0))
            .about("Frames on which an object must have been seen to be logged."),
        Field::optional("flush_interval", COUNT, "30")
            .bounds(Bounds::at_least(1.0))
            .about("Calls from one tidying up to the next."),
        Field::optional("stale_frames", COUNT, "300")
            .bounds(Bounds::at_least(1.0))
            .about("Calls after which an object that is not seen is gone."),
        Field::optional(
            "reference_timestamp",
            &[Ty::Float, Ty::Selector(&[kind::FLOAT]), Ty::Null],
            "null",
        )
        .about("Without effect; kept for old definitions.")
        .extra(r#"{"deprecated": true}"#),
        Field::optional(
            "fallback_fps",
            &[Ty::Float, Ty::InputParameter(&[kind::FLOAT])],
            "1.0",
        )
        .bounds(Bounds::above(0.0))
        .about("Without effect on frames that have a timestamp, as all have."),
    ],
    outputs: &[
        output("event_log", &[kind::DICTIONARY]),
        output("detections", BOXES),
        output("total_logged", &[kind::INTEGER]),
        output("total_pending", &[kind::INTEGER]),
        output("complete_events", &[kind::DICTIONARY]),
    ],
    build: |_, _| Ok(Box::<EventLog>::default()),
    ..BlockSpec::DEFAULT
};

#[derive(Default)]
struct EventLog {
    streams: PerStream<Log>,
}

/// The log of one video.
struct Log {
    calls: i64,
    tidied: i64,
    start: f64,
    events: IndexMap<i64, Event>,
}

struct Event {
    class_name: Arc<str>,
    first: Sight,
    last: Sight,
    frames: i64,
}

/// When an object was seen.
#[derive(Clone, Copy)]
struct Sight {
    call: i64,
    time: f64,
    since_start: f64,
}

impl Block for EventLog {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let video = inputs.video("image", cx)?;
        let detections = inputs.detections("detections")?;
        let threshold = inputs.int("frame_threshold")?;
        let interval = inputs.int("flush_interval")?;
        let stale = inputs.int("stale_frames")?;
        inputs.float("fallback_fps")?;
        let time = video.frame_timestamp.unix_seconds();
        let log = self.streams.get(&video.video_identifier, || Log {
            calls: 0,
            tidied: 1,
            start: time,
            events: IndexMap::new(),
        });
        log.calls += 1;
        let complete = if log.calls - log.tidied >= interval {
            log.tidied = log.calls;
            log.tidy(stale, threshold)
        } else {
            Dict::new()
        };
        log.see(detections, time);
        let (mut logged, mut pending) = (Dict::new(), Dict::new());
        for (id, event) in &log.events {
            let list = if event.frames >= threshold {
                &mut logged
            } else {
                &mut pending
            };
            list.insert(id.to_string().into(), event.to_value(*id));
        }
        let totals = (logged.len(), pending.len());
        let log: Dict = [
            ("logged".into(), Value::dict(logged)),
            ("pending".into(), Value::dict(pending)),
        ]
        .into();
        Ok(Output::One(row![
            Value::dict(log),
            Value::Detections(detections.clone()),
            totals.0,
            totals.1,
            Value::dict(complete)
        ]))
    }
}

impl Log {
    /// Drops the events of objects that are gone; those among them that were logged.
    fn tidy(&mut self, stale: i64, threshold: i64) -> Dict {
        let mut complete = Dict::new();
        let now = self.calls;
        self.events.retain(|id, event| {
            let gone = now - event.last.call > stale;
            if gone && event.frames >= threshold {
                complete.insert(id.to_string().into(), event.to_value(*id));
            }
            !gone
        });
        complete
    }

    /// Notes the objects of a frame.
    fn see(&mut self, detections: &Detections, time: f64) {
        let Some(ids) = &detections.tracker_id else {
            return;
        };
        let now = Sight {
            call: self.calls,
            time,
            since_start: time - self.start,
        };
        for (row, id) in ids.iter().enumerate() {
            if let Some(event) = self.events.get_mut(id) {
                event.last = now;
                event.frames += 1;
                continue;
            }
            if self.events.len() >= MAX_EVENTS {
                self.events.shift_remove_index(0);
            }
            let event = Event {
                class_name: class_name(detections, row),
                first: now,
                last: now,
                frames: 1,
            };
            self.events.insert(*id, event);
        }
    }
}

fn class_name(detections: &Detections, row: usize) -> Arc<str> {
    match (detections.class_name(row), &detections.class_id) {
        (Some(name), _) => name.clone(),
        (None, Some(classes)) => format!("class_{}", classes[row]).into(),
        (None, None) => "unknown".into(),
    }
}

impl Event {
    fn to_value(&self, id: i64) -> Value {
        let entries: [(&str, Value); 9] = [
            ("tracker_id", id.into()),
            ("class_name", self.class_name.clone().into()),
            ("first_seen_frame", self.first.call.into()),
            ("first_seen_timestamp", self.first.time.into()),
            ("last_seen_frame", self.last.call.into()),
            ("last_seen_timestamp", self.last.time.into()),
            ("first_seen_relative", self.first.since_start.into()),
            ("last_seen_relative", self.last.since_start.into()),
            ("frame_count", self.frames.into()),
        ];
        Value::dict(entries.into_iter().map(|(k, v)| (k.into(), v)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, frame, tracked};
    use serde_json::json;

    /// Ids logged, pending and complete after a frame with these track ids.
    fn see(bench: &mut Bench, ids: &[i64]) -> [Vec<String>; 3] {
        let rows: Vec<_> = ids.iter().map(|&id| ([0.0, 0.0, 9.0, 9.0], id)).collect();
        let fields = [
            ("image", frame("a", 1, None)),
            ("detections", tracked(&rows).into()),
        ];
        let row = bench.run(&fields).unwrap();
        let log = row[0].as_dict().unwrap();
        let keys = |v: &Value| -> Vec<String> {
            v.as_dict().unwrap().keys().map(|k| k.to_string()).collect()
        };
        let (logged, pending) = (keys(&log["logged"]), keys(&log["pending"]));
        assert_eq!(row[2].as_i64(), Some(logged.len() as i64));
        assert_eq!(row[3].as_i64(), Some(pending.len() as i64));
        [logged, pending, keys(&row[4])]
    }

    #[test]
    fn objects_are_logged_once_seen_often_enough_and_complete_once_gone() {
        let fields = [
            ("frame_threshold", json!(2)),
            ("flush_interval", json!(3)),
            ("stale_frames", json!(1)),
        ];
        let mut bench = Bench::new(&BLOCK, &fields);
        let none = Vec::<String>::new;
        let some = |ids: &[&str]| ids.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        assert_eq!(
            see(&mut bench, &[1, -2]),
            [none(), some(&["1", "-2"]), none()]
        );
        assert_eq!(see(&mut bench, &[1]), [some(&["1"]), some(&["-2"]), none()]);
        assert_eq!(see(&mut bench, &[]), [some(&["1"]), some(&["-2"]), none()]);
        // The fourth call tidies up: 1 was logged, -2 was not.
        assert_eq!(see(&mut bench, &[3]), [none(), some(&["3"]), some(&["1"])]);
    }

    #[test]
    fn boxes_without_ids_are_no_error() {
        let mut bench = Bench::new(&BLOCK, &[]);
        let mut rows = tracked(&[([0.0, 0.0, 9.0, 9.0], 1)]);
        rows.tracker_id = None;
        let row = bench.run(&[("image", frame("a", 1, None)), ("detections", rows.into())]);
        assert_eq!(row.unwrap()[3].as_i64(), Some(0));
    }

    #[test]
    fn of_too_many_objects_the_one_seen_first_is_forgotten() {
        let mut bench = Bench::new(&BLOCK, &[]);
        let rows: Vec<_> = (0..=MAX_EVENTS as i64).map(|id| ([0.0; 4], id)).collect();
        let row = bench.run(&[
            ("image", frame("a", 1, None)),
            ("detections", tracked(&rows).into()),
        ]);
        let log = row.unwrap()[0].as_dict().unwrap().clone();
        let pending = log["pending"].as_dict().unwrap();
        assert_eq!(pending.len(), MAX_EVENTS);
        assert!(!pending.contains_key("0") && pending.contains_key("1"));
    }
}
