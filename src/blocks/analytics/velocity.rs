//! Measures how fast tracked objects move.
//!
//! # Inputs and outputs
//! Tracked `detections` of one frame of the video of `image` → `velocity_detections`: the same rows
//! with the columns `velocity` and `smoothed_velocity` (`[x, y]`), `speed` and `smoothed_speed` (their
//! lengths), in pixels per second divided by `pixels_per_meter`. Time is the block clock: frame number
//! by frame rate for files, else the frame's timestamp.
//!
//! # State
//! Per video and track id (bounded, see `PerTrack`): centre and time of the last frame, smoothed
//! velocity.
//!
//! # Edge cases
//! The first sight of a track, and a frame on which no time has passed, have velocity 0. Boxes without
//! track ids fail, a frame without boxes does not.
//!
//! # Parity
//! `video_velocity_*`, specification 1.3.

use super::{IMAGE, track_ids};
use crate::blocks::state::{PerStream, PerTrack};
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::row;
use crate::values::detections::column;
use crate::values::{Value, kind};

const BOXES: &[kind::Kind] = &[
    kind::KEYPOINT_DETECTION,
    kind::OBJECT_DETECTION,
    kind::INSTANCE_SEGMENTATION,
];
const NUMBER: &[Ty] = &[Ty::Float, Ty::Selector(&[kind::FLOAT])];

/// `roboflow_core/velocity@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/velocity@v1"],
    name: "Velocity",
    family: Family::Analytics,
    about: "Measures velocity and speed of tracked objects.",
    fields: &[
        IMAGE,
        Field::required("detections", &[Ty::StepOutput(BOXES)])
            .about("Tracked boxes of the frame."),
        Field::optional("smoothing_alpha", NUMBER, "0.5")
            .about("Weight of the newest velocity in the smoothed one, above 0, at most 1."),
        Field::optional("pixels_per_meter", NUMBER, "1.0").about("Pixels that are one metre."),
    ],
    outputs: &[output("velocity_detections", BOXES)],
    engine: ">=1.0.0,<2.0.0",
    literal_check: Some(check),
    build: |_, _| Ok(Box::<Velocity>::default()),
    ..BlockSpec::DEFAULT
};

const BAD_ALPHA: &str = "field `smoothing_alpha` must be above 0 and at most 1";
const BAD_SCALE: &str = "field `pixels_per_meter` must be above 0";

fn good_alpha(alpha: f64) -> bool {
    alpha > 0.0 && alpha <= 1.0
}

fn check(step: &Step) -> Vec<StepProblem> {
    let wrong = |field: &'static str, good: fn(f64) -> bool, message: &str| {
        let bad = step.number(field).is_some_and(|x| !good(x));
        bad.then(|| StepProblem {
            field: Some(field),
            message: message.to_owned(),
        })
    };
    let alpha = wrong("smoothing_alpha", good_alpha, BAD_ALPHA);
    let scale = wrong("pixels_per_meter", |m| m > 0.0, BAD_SCALE);
    alpha.into_iter().chain(scale).collect()
}

#[derive(Default)]
struct Velocity {
    streams: PerStream<PerTrack<Motion>>,
}

/// What is known of one track.
struct Motion {
    /// Centre of its last box, in pixels.
    center: [f64; 2],
    /// Seconds by the block clock on its last frame.
    time: f64,
    /// Pixels per second, averaged exponentially.
    smoothed: [f64; 2],
}

impl Block for Velocity {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let video = inputs.video("image", cx)?;
        let detections = inputs.detections("detections")?;
        let ids = track_ids(detections)?;
        let alpha = inputs.float("smoothing_alpha")?;
        if !good_alpha(alpha) {
            return Err(BlockError::failed(format!("{BAD_ALPHA}, got {alpha}")));
        }
        let scale = inputs.float("pixels_per_meter")?;
        if scale.is_nan() || scale <= 0.0 {
            return Err(BlockError::failed(format!("{BAD_SCALE}, got {scale}")));
        }
        let tracks = self.streams.get(&video.video_identifier, PerTrack::default);
        let now = video.block_seconds();
        let mut columns: [Vec<Value>; 4] = Default::default();
        for (row, &id) in ids.iter().enumerate() {
            let center = detections.center(row);
            let motion = tracks.get(id, || Motion::at(center, now));
            let velocity = motion.step(center, now, alpha);
            for (i, v) in [velocity, motion.smoothed].into_iter().enumerate() {
                let [x, y] = v.map(|pixels| pixels / scale);
                columns[2 * i].push(Value::list(vec![x.into(), y.into()]));
                columns[2 * i + 1].push(Value::Float(x.hypot(y)));
            }
        }
        let mut measured = (**detections).clone();
        let names = [
            column::VELOCITY,
            column::SPEED,
            column::SMOOTHED_VELOCITY,
            column::SMOOTHED_SPEED,
        ];
        for (name, values) in names.into_iter().zip(columns) {
            measured.set_column(name, values);
        }
        Ok(Output::One(row![measured]))
    }
}

impl Motion {
    /// A track that is at rest.
    fn at(center: [f64; 2], time: f64) -> Self {
        Self {
            center,
            time,
            smoothed: [0.0; 2],
        }
    }

    /// Moves the track to `center`; its velocity, in pixels per second.
    fn step(&mut self, center: [f64; 2], now: f64, alpha: f64) -> [f64; 2] {
        let passed = now - self.time;
        let velocity = [0, 1].map(|axis| {
            if passed > 0.0 {
                (center[axis] - self.center[axis]) / passed
            } else {
                0.0
            }
        });
        self.smoothed =
            [0, 1].map(|axis| alpha * velocity[axis] + (1.0 - alpha) * self.smoothed[axis]);
        (self.center, self.time) = (center, now);
        velocity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, frame, tracked};
    use crate::values::Detections;
    use serde_json::json;

    /// Speed and smoothed speed of an object at `x` on frame `number` of a file of 30 fps.
    fn see(bench: &mut Bench, number: i64, x: f64) -> (f64, f64) {
        let rows = tracked(&[([x - 5.0, 0.0, x + 5.0, 10.0], 1)]);
        let row = bench.run(&[
            ("image", frame("a", number, Some(30.0))),
            ("detections", rows.into()),
        ]);
        let row = row.unwrap();
        let out = row[0].as_detections().unwrap();
        let cell = |name| out.cell(name, 0).and_then(Value::as_f64).unwrap();
        (cell(column::SPEED), cell(column::SMOOTHED_SPEED))
    }

    /// Numbers of specification 1.3.
    #[test]
    fn speed_follows_the_clock_of_the_file() {
        let mut bench = Bench::new(&BLOCK, &[("pixels_per_meter", json!(2.0))]);
        assert_eq!(see(&mut bench, 30, 5.0), (0.0, 0.0));
        assert_eq!(see(&mut bench, 45, 35.0), (30.0, 15.0));
        assert_eq!(see(&mut bench, 60, 65.0), (30.0, 22.5));
        // No time has passed: the place is taken over, the smoothed velocity decays.
        assert_eq!(see(&mut bench, 60, 95.0), (0.0, 11.25));
        assert_eq!(see(&mut bench, 90, 95.0), (0.0, 5.625));
    }

    #[test]
    fn boxes_without_track_ids_fail() {
        let mut untracked = tracked(&[([0.0, 0.0, 1.0, 1.0], 1)]);
        untracked.tracker_id = None;
        let row = Bench::new(&BLOCK, &[]).run(&[
            ("image", frame("a", 1, None)),
            ("detections", untracked.into()),
        ]);
        assert!(row.unwrap_err().to_string().contains("tracker"));
    }

    #[test]
    fn no_boxes_have_the_columns_all_the_same() {
        let mut bench = Bench::new(&BLOCK, &[]);
        let row = bench.run(&[
            ("image", frame("a", 1, None)),
            ("detections", Detections::default().into()),
        ]);
        let row = row.unwrap();
        let out = row[0].as_detections().unwrap();
        assert_eq!(
            out.column(column::SMOOTHED_VELOCITY).map(<[_]>::len),
            Some(0)
        );
    }

    #[test]
    fn parameters_are_checked_on_every_frame() {
        for field in ["smoothing_alpha", "pixels_per_meter"] {
            let mut bench = Bench::new(&BLOCK, &[(field, json!(0.0))]);
            let row = bench.run(&[
                ("image", frame("a", 1, None)),
                ("detections", Detections::empty().into()),
            ]);
            assert!(row.unwrap_err().to_string().contains(field));
        }
    }
}
