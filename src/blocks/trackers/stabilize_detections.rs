//! Smooths the boxes of tracked objects and carries them on for some frames when they vanish.
//!
//! # Inputs and outputs
//! Tracked `detections` of one frame of the video of `image` → `tracked_detections`: each box moved
//! from its place on the last frame by the share `bbox_smoothing_coefficient` of the way, then the boxes
//! of objects that have vanished, moved on by their velocity.
//!
//! # State
//! Per video: the last row of each track id, and its velocity (that of the bottom right corner, by a
//! Kalman filter of one number) smoothed over `smoothing_window_size` frames, the size set by the first
//! frame. At most [`MAX_OBJECTS`] ids, the oldest go.
//!
//! # Edge cases
//! An object measured k times is carried on for k frames, at most as many as the window has. Of several
//! rows with one id the last takes the place of the first. Boxes without track ids fail, a frame without
//! boxes does not. Columns that differ from those of boxes carried on fail.
//!
//! # Parity
//! `video_stabilize_detections_*`, specification 8.1.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use indexmap::IndexMap;

use crate::blocks::analytics::track_ids;
use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::{Detections, kind};

/// Track ids followed per video.
pub const MAX_OBJECTS: usize = 4096;

/// Frames that a window of unlimited size keeps.
const MAX_WINDOW: usize = 4096;

const MEASUREMENT_NOISE: f64 = 0.01;
const MOTION_NOISE: f64 = 0.001;
const BOXES: &[kind::Kind] = &[kind::OBJECT_DETECTION, kind::INSTANCE_SEGMENTATION];

/// `roboflow_core/stabilize_detections@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/stabilize_detections@v1"],
    name: "Detections Stabilizer",
    family: Family::Transformation,
    about: "Smooths the boxes of tracked objects and bridges short absences.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])]).about("The frame."),
        Field::required("detections", &[Ty::Selector(BOXES)]).about("Tracked boxes of the frame."),
        Field::optional(
            "smoothing_window_size",
            &[Ty::Int, Ty::Selector(&[kind::INTEGER]), Ty::Null],
            "3",
        )
        .about("Frames over which velocity is smoothed."),
        Field::optional(
            "bbox_smoothing_coefficient",
            &[
                Ty::Float,
                Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
                Ty::Null,
            ],
            "0.2",
        )
        .about("Share of the way to its new place that a box moves."),
    ],
    outputs: &[output("tracked_detections", BOXES)],
    build: |_, _| Ok(Box::<Stabilizer>::default()),
    ..BlockSpec::DEFAULT
};

#[derive(Default)]
struct Stabilizer {
    streams: PerStream<Stream>,
}

struct Stream {
    /// Length of the histories; none if what the field holds is no length.
    window: Option<usize>,
    /// Velocities in the order in which the ids were measured first.
    motions: IndexMap<i64, Motion>,
    /// The last row of each id.
    known: HashMap<i64, LastRow>,
}

/// Where an object was on the last frame.
struct LastRow {
    /// Corners, moved on while the object is out of sight.
    corners: [f64; 4],
    /// The boxes of the frame on which it was seen; only its own once it is out of sight.
    set: Arc<Detections>,
    row: usize,
}

/// Velocity of one object.
struct Motion {
    velocity: [f64; 2],
    error: f64,
    /// Measured velocities, newest first.
    history: VecDeque<[f64; 2]>,
    measured: bool,
}

impl Block for Stabilizer {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let video = inputs.video("image", cx)?;
        let detections = inputs.detections("detections")?;
        let ids = track_ids(detections)?;
        let stream = self.streams.try_get(&video.video_identifier, || {
            let window = inputs.optional("smoothing_window_size", Inputs::int)?;
            Ok::<_, BlockError>(Stream {
                window: window.map_or(Some(MAX_WINDOW), |w| usize::try_from(w).ok()),
                motions: IndexMap::new(),
                known: HashMap::new(),
            })
        })?;
        let mut last_rows: IndexMap<i64, usize> = IndexMap::with_capacity(ids.len());
        last_rows.extend(ids.iter().copied().zip(0..));
        // Neither parameter is needed before an object is seen again.
        let share = match stream.known.is_empty() && last_rows.len() == ids.len() {
            true => 1.0,
            false => inputs.float("bbox_smoothing_coefficient")?,
        };
        stream.measure(detections, &last_rows)?;
        let mut parts = vec![stream.smooth(detections, ids, &last_rows, share)];
        stream.carry_on(&last_rows, share, &mut parts);
        let parts: Vec<&Detections> = parts.iter().collect();
        let joined = Detections::joined(&parts).map_err(|why| {
            BlockError::failed(format!(
                "field `detections` does not go with the boxes of vanished objects: {why}; \
                 give it the same columns on every frame"
            ))
        })?;
        Ok(Output::One(row![joined]))
    }
}

impl Stream {
    /// Measures the velocity of the ids that were there on the last frame too.
    fn measure(
        &mut self,
        detections: &Detections,
        last_rows: &IndexMap<i64, usize>,
    ) -> Result<(), BlockError> {
        for motion in self.motions.values_mut() {
            motion.measured = false;
        }
        for (&id, &row) in last_rows {
            let Some(known) = self.known.get(&id) else {
                continue;
            };
            let window = self.window.ok_or_else(|| {
                BlockError::failed("field `smoothing_window_size` must not be negative")
            })?;
            let (now, before) = (detections.xyxy[row], known.corners);
            let velocity = [now[2] - before[2], now[3] - before[3]];
            match self.motions.get_mut(&id) {
                Some(motion) => motion.update(velocity, window.min(MAX_WINDOW)),
                None => {
                    if self.motions.len() >= MAX_OBJECTS {
                        self.motions.shift_remove_index(0);
                    }
                    self.motions.insert(id, Motion::new(velocity));
                }
            }
        }
        for motion in self.motions.values_mut() {
            motion.error += MOTION_NOISE;
            if !motion.measured {
                motion.history.pop_front();
            }
        }
        Ok(())
    }

    /// The rows of this frame, each smoothed if it is known; unsmoothed they become the known ones.
    fn smooth(
        &mut self,
        detections: &Arc<Detections>,
        ids: &[i64],
        last_rows: &IndexMap<i64, usize>,
        share: f64,
    ) -> Detections {
        let mut corners = detections.xyxy.to_vec();
        for (row, (&id, corners)) in ids.iter().zip(&mut corners).enumerate() {
            let now = LastRow {
                corners: *corners,
                set: detections.clone(),
                row,
            };
            if let Some(before) = self.known.insert(id, now) {
                let moved = |i: usize| share * corners[i] + (1.0 - share) * before.corners[i];
                *corners = [0, 1, 2, 3].map(moved);
            }
        }
        let mut smoothed = (**detections).clone();
        smoothed.xyxy = Arc::new(corners);
        if last_rows.len() < ids.len() {
            let rows: Vec<usize> = last_rows.values().copied().collect();
            smoothed = smoothed.take(&rows);
        }
        smoothed
    }

    /// Adds the rows of objects that have vanished, and forgets those that have been carried on long
    /// enough.
    fn carry_on(
        &mut self,
        last_rows: &IndexMap<i64, usize>,
        share: f64,
        parts: &mut Vec<Detections>,
    ) {
        let mut output_now: HashSet<i64> = last_rows.keys().copied().collect();
        for (id, motion) in &self.motions {
            let Some(known) = self.known.get_mut(id).filter(|_| output_now.insert(*id)) else {
                continue;
            };
            parts.push(known.moved_on(motion.velocity.map(|v| share * v)));
        }
        self.motions
            .retain(|_, motion| motion.measured || !motion.history.is_empty());
        let motions = &self.motions;
        self.known
            .retain(|id, _| motions.contains_key(id) || output_now.contains(id));
    }
}

impl LastRow {
    /// The row `dx` and `dy` further on, where it stays.
    fn moved_on(&mut self, [dx, dy]: [f64; 2]) -> Detections {
        let [x1, y1, x2, y2] = self.corners;
        self.corners = [x1 + dx, y1 + dy, x2 + dx, y2 + dy];
        if self.set.len() > 1 {
            self.set = Arc::new(self.set.take(&[self.row]));
            self.row = 0;
        }
        let mut alone = (*self.set).clone();
        alone.xyxy = Arc::new(vec![self.corners]);
        alone
    }
}

impl Motion {
    fn new(velocity: [f64; 2]) -> Self {
        Self {
            velocity,
            error: 1.0,
            history: [velocity].into(),
            measured: true,
        }
    }

    fn update(&mut self, measured: [f64; 2], window: usize) {
        self.history.push_front(measured);
        self.history.truncate(window.max(1));
        let count = self.history.len() as f64;
        let gain = self.error / (self.error + MEASUREMENT_NOISE);
        for axis in [0, 1] {
            let mean = self.history.iter().map(|v| v[axis]).sum::<f64>() / count;
            self.velocity[axis] += gain * (mean - self.velocity[axis]);
        }
        self.error -= gain * self.error;
        self.measured = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, frame, tracked};
    use serde_json::json;

    fn see(bench: &mut Bench, x: Option<f64>) -> Option<f64> {
        let rows: Vec<_> = x
            .map(|x| ([x, 0.0, x + 10.0, 10.0], 1))
            .into_iter()
            .collect();
        let fields = [
            ("image", frame("a", 1, None)),
            ("detections", tracked(&rows).into()),
        ];
        let row = bench.run(&fields).unwrap();
        let out = row[0].as_detections().unwrap();
        out.xyxy.first().map(|b| b[0].round())
    }

    /// Numbers of specification 8.1.
    #[test]
    fn boxes_lag_and_go_on_for_a_while() {
        let mut bench = Bench::new(&BLOCK, &[]);
        let places = [Some(0.0), Some(10.0), Some(20.0), None, None, None];
        let seen: Vec<_> = places.into_iter().map(|x| see(&mut bench, x)).collect();
        let want = [
            Some(0.0),
            Some(2.0),
            Some(12.0),
            Some(22.0),
            Some(24.0),
            None,
        ];
        assert_eq!(seen, want);
    }

    #[test]
    fn an_object_seen_once_is_not_carried_on() {
        let mut bench = Bench::new(&BLOCK, &[]);
        assert_eq!(see(&mut bench, Some(5.0)), Some(5.0));
        assert_eq!(see(&mut bench, None), None);
        // It has been forgotten: nothing to smooth with.
        assert_eq!(see(&mut bench, None), None);
        assert_eq!(see(&mut bench, Some(50.0)), Some(50.0));
    }

    #[test]
    fn of_rows_with_one_id_the_last_takes_the_place_of_the_first() {
        let mut bench = Bench::new(&BLOCK, &[]);
        let rows = tracked(&[
            ([0.0, 0.0, 10.0, 10.0], 1),
            ([50.0, 0.0, 60.0, 10.0], 2),
            ([10.0, 0.0, 20.0, 10.0], 1),
        ]);
        let fields = [("image", frame("a", 1, None)), ("detections", rows.into())];
        let row = bench.run(&fields).unwrap();
        let out = row[0].as_detections().unwrap();
        // 0.2 of the last and 0.8 of the first.
        let places: Vec<f64> = out.xyxy.iter().map(|b| b[0]).collect();
        assert_eq!(places, [2.0, 50.0]);
        assert_eq!(
            out.tracker_id.as_deref().map(|ids| ids.to_vec()),
            Some(vec![1, 2])
        );
    }

    #[test]
    fn parameters_that_do_not_suit_fail_when_they_are_needed() {
        for (field, value) in [
            ("smoothing_window_size", json!(-1)),
            ("bbox_smoothing_coefficient", json!(null)),
        ] {
            let mut bench = Bench::new(&BLOCK, &[(field, value)]);
            let mut run = || {
                let rows = tracked(&[([0.0, 0.0, 10.0, 10.0], 1)]);
                bench.run(&[("image", frame("a", 1, None)), ("detections", rows.into())])
            };
            assert!(run().is_ok());
            assert!(run().unwrap_err().to_string().contains(field));
        }
    }

    #[test]
    fn rows_without_ids_fail_but_no_rows_do_not() {
        let mut bench = Bench::new(&BLOCK, &[]);
        let mut rows = tracked(&[([0.0, 0.0, 9.0, 9.0], 1)]);
        rows.tracker_id = None;
        let mut run =
            |d: Detections| bench.run(&[("image", frame("a", 1, None)), ("detections", d.into())]);
        assert!(run(rows).is_err());
        assert!(run(Detections::default()).is_ok());
    }

    #[test]
    fn boxes_carried_on_keep_their_own_columns_and_need_the_same() {
        let mut bench = Bench::new(&BLOCK, &[]);
        let mut see = |rows: Detections| {
            let fields = [("image", frame("a", 1, None)), ("detections", rows.into())];
            bench.run(&fields).map(|row| row[0].clone())
        };
        let rows = |x: f64| {
            let pair = [
                ([x, 0.0, x + 9.0, 9.0], 1),
                ([x + 50.0, 0.0, x + 59.0, 9.0], 2),
            ];
            let mut rows = tracked(&pair);
            rows.set_column("class_name", vec!["a".into(), "b".into()]);
            rows
        };
        for x in [0.0, 10.0, 20.0] {
            see(rows(x)).unwrap();
        }
        let out = see(rows(30.0).take(&[0])).unwrap();
        let out = out.as_detections().unwrap();
        let names: Vec<_> = (0..2)
            .map(|row| out.class_name(row).unwrap().to_string())
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(out.xyxy[1][0], 72.0);
        let mut more = rows(40.0).take(&[0]);
        more.fill_column("speed", 1.0.into());
        let error = see(more).unwrap_err().to_string();
        assert!(error.contains("`speed`"), "{error}");
    }

    #[test]
    fn no_more_objects_are_carried_on_than_are_followed() {
        let mut bench = Bench::new(&BLOCK, &[]);
        let many: Vec<_> = (0..=MAX_OBJECTS as i64)
            .map(|id| ([0.0, 0.0, 9.0, 9.0], id))
            .collect();
        for (rows, answered) in [
            (tracked(&many), many.len()),
            (tracked(&many), many.len()),
            (Detections::default(), MAX_OBJECTS),
        ] {
            let fields = [("image", frame("a", 1, None)), ("detections", rows.into())];
            let row = bench.run(&fields).unwrap();
            assert_eq!(row[0].as_detections().unwrap().len(), answered);
        }
    }
}
