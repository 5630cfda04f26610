//! Settles the class of each tracked object by votes over frames, so that it stops flickering.
//!
//! # Inputs and outputs
//! Tracked `detections` of one frame of the video of `image` → `tracked_detections`: the same rows; those
//! of settled tracks have the settled class and, as confidence, the mean of its votes. The column
//! `class_locked` says which.
//!
//! # State
//! Per video, for at most [`MAX_TRACKS`] track ids: votes per class, the settled class and its
//! challenger, the last frame and box. A settled track that vanishes hands its record to a new id that
//! appears in its place within `reattach_window` frames. Parameters are read on every frame.
//!
//! # Edge cases
//! Boxes without track ids fail, a frame without boxes does not. Negative ids are left alone. Boxes
//! without confidence count as certain and get a confidence of 1; boxes without class names vote by class
//! id and get no names.
//!
//! # Parity
//! `video_track_class_lock_*`, specification 8.2.

use std::sync::Arc;

use super::class_votes::{Rules, Settled, Tracks};
use crate::blocks::analytics::track_ids;
use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, StepProblem, Ty,
    output,
};
use crate::definition::step::Step;
use crate::row;
use crate::values::detections::column;
use crate::values::{Detections, Value, kind};

pub use super::class_votes::MAX_TRACKS;

const BOXES: &[kind::Kind] = &[
    kind::OBJECT_DETECTION,
    kind::INSTANCE_SEGMENTATION,
    kind::KEYPOINT_DETECTION,
    kind::RLE_INSTANCE_SEGMENTATION,
];
const INTEGER: Ty = Ty::Selector(&[kind::INTEGER]);
const SHARE: &[Ty] = &[
    Ty::FloatIn(Bounds::within(0.0, 1.0)),
    Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
];
const NONE: i64 = i64::MAX;
const MAX_TTL: i64 = 1_000_000;

/// `roboflow_core/track_class_lock@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/track_class_lock@v1"],
    name: "Track Class Lock",
    family: Family::Transformation,
    about: "Settles the class of each tracked object by votes over frames.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])]).about("The frame."),
        Field::required("detections", &[Ty::Selector(BOXES)]).about("Tracked boxes of the frame."),
        Field::optional("min_votes", &[Ty::IntIn(1, NONE), INTEGER], "10")
            .about("Votes that a class needs."),
        Field::optional("vote_confidence", SHARE, "0.8")
            .about("Confidence from which a box votes."),
        Field::optional("lead_margin", &[Ty::IntIn(0, NONE), INTEGER], "3")
            .about("Votes by which a class must lead."),
        Field::optional("switch_after", &[Ty::IntIn(1, NONE), INTEGER], "15")
            .about("Votes in a row for another class that unsettle a class."),
        Field::optional("state_ttl", &[Ty::IntIn(1, MAX_TTL), INTEGER], "300")
            .about("Frames after which a vanished track is forgotten."),
        Field::optional("reattach_window", &[Ty::IntIn(0, NONE), INTEGER], "30")
            .about("Frames within which a new id may take over from a vanished one; 0 for never."),
        Field::optional("reattach_iou", SHARE, "0.3")
            .about("Overlap with the vanished box that this takes."),
    ],
    outputs: &[output("tracked_detections", BOXES)],
    check: Some(check),
    build: |_, _| Ok(Box::<ClassLock>::default()),
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    match (step.number("reattach_window"), step.number("state_ttl")) {
        (Some(window), Some(ttl)) if window > ttl => vec![StepProblem {
            field: Some("reattach_window"),
            message: too_late(window, ttl),
        }],
        _ => Vec::new(),
    }
}

fn too_late(window: impl std::fmt::Display, ttl: impl std::fmt::Display) -> String {
    format!(
        "`reattach_window` ({window}) must not exceed `state_ttl` ({ttl}): lost tracks are forgotten \
         by then"
    )
}

/// The parameters of this frame.
fn rules(inputs: &Inputs<'_>) -> Result<Rules, BlockError> {
    let within = |field: &str, low: i64, high: i64| {
        let value = inputs.int(field)?;
        if (low..=high).contains(&value) {
            return Ok(value);
        }
        let limit = if value < low {
            format!(">= {low}")
        } else {
            format!("<= {high}")
        };
        Err(BlockError::failed(format!(
            "`{field}` must be {limit}, got {value}"
        )))
    };
    let share = |field: &str| {
        let value = inputs.float(field)?;
        if (0.0..=1.0).contains(&value) {
            return Ok(value);
        }
        Err(BlockError::failed(format!(
            "`{field}` must be within [0.0, 1.0], got {value}"
        )))
    };
    let rules = Rules {
        min_votes: within("min_votes", 1, NONE)?,
        vote_confidence: share("vote_confidence")?,
        lead_margin: within("lead_margin", 0, NONE)?,
        switch_after: within("switch_after", 1, NONE)?,
        ttl: within("state_ttl", 1, MAX_TTL)?,
        window: within("reattach_window", 0, NONE)?,
        overlap: share("reattach_iou")?,
    };
    if rules.window > rules.ttl {
        return Err(BlockError::failed(too_late(rules.window, rules.ttl)));
    }
    Ok(rules)
}

#[derive(Default)]
struct ClassLock {
    streams: PerStream<Tracks>,
}

impl Block for ClassLock {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let video = inputs.video("image", cx)?;
        let detections = inputs.detections("detections")?;
        let rules = rules(inputs)?;
        let ids = track_ids(detections)?;
        let tracks = self.streams.get(&video.video_identifier, Tracks::default);
        tracks.begin(ids, &rules);
        let mut settled = Vec::with_capacity(ids.len());
        for (row, &id) in ids.iter().enumerate() {
            if id < 0 {
                settled.push(None);
                continue;
            }
            let class = class_of(detections, row);
            let class_id = detections.class_id.as_ref().map(|c| c[row]);
            let confidence = detections.confidence.as_ref().map_or(1.0, |c| c[row]);
            let record = tracks.record(id, &detections.xyxy[row], &rules);
            if let Some(class) = class {
                record.vote(&class, class_id, confidence, &rules);
                settled.push(record.settled());
            } else {
                settled.push(None);
            }
        }
        tracks.end(&rules);
        Ok(Output::One(row![rewritten(detections, &settled)]))
    }
}

fn class_of(detections: &Detections, row: usize) -> Option<Arc<str>> {
    match (detections.class_name(row), &detections.class_id) {
        (Some(name), _) => Some(name.clone()),
        (None, Some(classes)) => Some(classes[row].to_string().into()),
        (None, None) => None,
    }
}

/// The rows with the settled classes written in.
fn rewritten(detections: &Detections, settled: &[Option<Settled>]) -> Detections {
    let mut out = detections.clone();
    let certain = || Arc::new(vec![1.0; settled.len()]);
    let confidences = out.confidence.get_or_insert_with(certain);
    for (row, class) in settled.iter().enumerate() {
        let Some(class) = class else { continue };
        Arc::make_mut(confidences)[row] = class.confidence;
        if let Some(names) = out.data.get_mut(column::CLASS_NAME) {
            Arc::make_mut(names)[row] = Value::Str(class.name.clone());
        }
        if let (Some(ids), Some(id)) = (&mut out.class_id, class.id) {
            Arc::make_mut(ids)[row] = id;
        }
    }
    let locked = settled.iter().map(|s| Value::Bool(s.is_some())).collect();
    out.set_column(column::CLASS_LOCKED, locked);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, frame, tracked};
    use serde_json::json;

    /// Class and confidence of the row after one more frame with this id, class and confidence.
    fn see(bench: &mut Bench, id: i64, class: &str, confidence: f64) -> (String, f64, bool) {
        let mut rows = tracked(&[([10.0, 10.0, 50.0, 50.0], id)]);
        rows.confidence = Some(Arc::new(vec![confidence]));
        rows.set_column(column::CLASS_NAME, vec![class.into()]);
        let fields = [("image", frame("a", 1, None)), ("detections", rows.into())];
        let row = bench.run(&fields).unwrap();
        let out = row[0].as_detections().unwrap();
        (
            out.class_name(0).unwrap().to_string(),
            out.confidence.as_ref().unwrap()[0],
            out.cell(column::CLASS_LOCKED, 0).and_then(Value::as_bool) == Some(true),
        )
    }

    fn bench() -> Bench {
        let fields = [
            ("min_votes", json!(3)),
            ("lead_margin", json!(2)),
            ("switch_after", json!(3)),
        ];
        Bench::new(&BLOCK, &fields)
    }

    /// Numbers of specification 8.2.
    #[test]
    fn votes_settle_a_class_and_a_row_of_others_unsettles_it() {
        let mut bench = bench();
        let votes = [("a", 0.9), ("a", 0.95), ("b", 0.9), ("a", 0.7)];
        for (class, confidence) in votes {
            let seen = see(&mut bench, 1, class, confidence);
            assert_eq!(seen, (class.to_owned(), confidence, false));
        }
        let (class, confidence, locked) = see(&mut bench, 1, "a", 0.9);
        assert!(locked && class == "a" && (confidence - 0.916667).abs() < 1e-6);
        for (class, confidence) in [("a", 0.99), ("b", 0.9), ("b", 0.85)] {
            assert_eq!(see(&mut bench, 1, class, confidence).0, "a");
        }
        let (class, confidence, _) = see(&mut bench, 1, "b", 0.9);
        assert!(class == "b" && (confidence - 0.883333).abs() < 1e-6);
    }

    #[test]
    fn a_new_id_in_the_same_place_inherits_the_class() {
        let mut bench = bench();
        (0..3).for_each(|_| drop(see(&mut bench, 1, "a", 0.9)));
        assert_eq!(see(&mut bench, 2, "b", 0.5).0, "a");
        assert_eq!(see(&mut bench, -7, "b", 0.5), ("b".to_owned(), 0.5, false));
    }

    #[test]
    fn the_window_must_not_exceed_the_life_of_a_track() {
        let fields = [("state_ttl", json!(5)), ("reattach_window", json!(6))];
        let row = Bench::new(&BLOCK, &fields).run(&[
            ("image", frame("a", 1, None)),
            ("detections", Detections::empty().into()),
        ]);
        assert!(row.unwrap_err().to_string().contains("reattach_window"));
    }

    /// The row of a bare box with track id 1 and class id 4 after one more frame.
    fn see_bare(bench: &mut Bench, bare: fn(&mut Detections)) -> Result<Detections, BlockError> {
        let mut rows = tracked(&[([10.0, 10.0, 50.0, 50.0], 1)]);
        rows.class_id = Some(Arc::new(vec![4]));
        bare(&mut rows);
        let fields = [("image", frame("a", 1, None)), ("detections", rows.into())];
        let row = bench.run(&fields)?;
        Ok((**row[0].as_detections().unwrap()).clone())
    }

    #[test]
    fn bare_boxes_vote_by_class_id_with_full_confidence() {
        let mut bench = bench();
        for locked in [false, false, true] {
            let out = see_bare(&mut bench, |rows| {
                rows.confidence = None;
                rows.data.clear();
            });
            let out = out.unwrap();
            assert_eq!(out.confidence.as_deref(), Some(&vec![1.0]));
            assert!(out.column(column::CLASS_NAME).is_none());
            let flag = out.cell(column::CLASS_LOCKED, 0).and_then(Value::as_bool);
            assert_eq!(flag, Some(locked));
        }
    }

    #[test]
    fn rows_without_ids_fail_but_no_rows_do_not() {
        assert!(see_bare(&mut bench(), |rows| rows.tracker_id = None).is_err());
        let none = see_bare(&mut bench(), |rows| *rows = Detections::default()).unwrap();
        assert_eq!(none.column(column::CLASS_LOCKED).map(<[_]>::len), Some(0));
    }
}
