//! Tells how long each tracked object has been inside a zone.
//!
//! # Inputs and outputs
//! Tracked `detections` of one frame and a `zone` (a list of points; in v3 also a list of such lists)
//! → `timed_detections`: the rows inside with the column `time_in_zone` in seconds; rows outside
//! have 0 there, or are left out (`remove_out_of_zone_detections`). Time is the block clock: frame
//! number by frame rate for files, else the frame's timestamp.
//!
//! # State
//! Per video the time at which each track id came in (bounded, see `PerTrack`) and the drawn zones:
//! v1 and v2 keep the zone and anchor of the first frame; v3 keeps up to 100 zones with the anchor
//! of their first use, the zone first drawn going first, so a moving zone keeps its timers running.
//!
//! # Edge cases
//! Boxes without track ids fail, a frame without boxes does not. No rows left: an empty result that
//! has lost its columns. With `remove` and without `reset_out_of_zone_detections` time runs on
//! through absences outside. v3: an empty list is no zone; everything is outside.
//!
//! # Parity
//! `video_time_in_zone_*`, the golden pipeline in `fixtures/video`, specification 1.2.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{ANCHOR, BOXES, DETECTIONS, IMAGE, METADATA, anchor_in, literal_problems, track_ids};
use crate::blocks::state::{PerStream, PerTrack};
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry::{Anchor, GeometryError, Zone};
use crate::row;
use crate::values::detections::column;
use crate::values::{Detections, Value, kind, python};

const ZONE: Field =
    super::points("zone").about("The zone: a list of more than two points; v3 also takes several.");
const WHO_IS_IN: Field = ANCHOR.about("Point of the box that has to be inside.");
const FLAG: &[Ty] = &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])];
const REMOVE: Field = Field::optional("remove_out_of_zone_detections", FLAG, "true")
    .about("Whether boxes outside are left out.");
const RESET: Field = Field::optional("reset_out_of_zone_detections", FLAG, "true")
    .about("Whether time starts anew for boxes that were outside.");

/// `roboflow_core/time_in_zone@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/time_in_zone@v1"],
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])]).about("The frame."),
        METADATA,
        DETECTIONS,
        ZONE,
        WHO_IS_IN,
        REMOVE,
        RESET,
    ],
    literal_check: Some(|step| literal_problems(step, "zone", Zone::from_value)),
    build: |_, _| Ok(Box::new(TimeInZone::new("metadata", false))),
    ..MODEL
};

/// `roboflow_core/time_in_zone@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/time_in_zone@v2"],
    fields: &[IMAGE, DETECTIONS, ZONE, WHO_IS_IN, REMOVE, RESET],
    literal_check: Some(|step| literal_problems(step, "zone", Zone::from_value)),
    build: |_, _| Ok(Box::new(TimeInZone::new("image", false))),
    ..MODEL
};

/// `roboflow_core/time_in_zone@v3`
pub static V3: BlockSpec = BlockSpec {
    types: &["roboflow_core/time_in_zone@v3"],
    fields: &[IMAGE, DETECTIONS, ZONE, WHO_IS_IN, REMOVE, RESET],
    literal_check: Some(|step| literal_problems(step, "zone", Zone::all_from_value)),
    build: |_, _| Ok(Box::new(TimeInZone::new("image", true))),
    ..MODEL
};

const MODEL: BlockSpec = BlockSpec {
    name: "Time in Zone",
    family: Family::Analytics,
    about: "Tells how long each tracked object has been inside a zone.",
    outputs: &[output("timed_detections", BOXES)],
    ..BlockSpec::DEFAULT
};

/// Zones kept per video, drawn once.
const MAX_ZONES: usize = 100;

struct TimeInZone {
    /// Field that tells the video.
    source: &'static str,
    /// Whether the zone may change and be several.
    moving: bool,
    streams: PerStream<Stream>,
}

#[derive(Default)]
struct Stream {
    /// Zones drawn, oldest first.
    zones: VecDeque<Area>,
    /// Time at which a track came in.
    entered: PerTrack<f64>,
}

/// What one value of the field `zone` stands for.
struct Area {
    value: Value,
    zones: Vec<Zone>,
    anchor: Anchor,
}

impl TimeInZone {
    fn new(source: &'static str, moving: bool) -> Self {
        Self {
            source,
            moving,
            streams: PerStream::default(),
        }
    }
}

impl Block for TimeInZone {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let video = inputs.video(self.source, cx)?;
        let detections = inputs.detections("detections")?;
        let ids = track_ids(detections)?;
        let (remove, reset) = (
            inputs.flag("remove_out_of_zone_detections")?,
            inputs.flag("reset_out_of_zone_detections")?,
        );
        let stream = self.streams.get(&video.video_identifier, Stream::default);
        let area = stream.area(inputs, self.moving)?;
        let area = &stream.zones[area];
        let now = video.block_seconds();
        let (mut rows, mut times) = (Vec::new(), Vec::new());
        for (row, &id) in ids.iter().enumerate() {
            if area.contains(detections, row)? {
                rows.push(row);
                times.push(Value::Float(now - *stream.entered.get(id, || now)));
                continue;
            }
            if reset || !remove {
                stream.entered.remove(id);
            }
            if !remove {
                rows.push(row);
                times.push(Value::Float(0.0));
            }
        }
        Ok(Output::One(row![timed(detections, &rows, times)]))
    }
}

/// These rows with their times.
fn timed(detections: &Arc<Detections>, rows: &[usize], times: Vec<Value>) -> Detections {
    if rows.is_empty() {
        return Detections::empty();
    }
    let mut kept = if rows.len() == detections.len() {
        (**detections).clone()
    } else {
        detections.take(rows)
    };
    kept.set_column(column::TIME_IN_ZONE, times);
    kept
}

impl Stream {
    /// Place of the area of this frame in `zones`; drawn if it is new.
    fn area(&mut self, inputs: &Inputs<'_>, moving: bool) -> Result<usize, BlockError> {
        let value = inputs.value("zone");
        let known = if moving {
            self.zones.iter().rposition(|area| area.is_of(value))
        } else {
            self.zones.len().checked_sub(1)
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let zones = if moving {
            Zone::all_from_value(value)?
        } else {
            vec![Zone::from_value(value)?]
        };
        let anchor = anchor_in(inputs)?;
        if self.zones.len() >= MAX_ZONES {
            self.zones.pop_front();
        }
        self.zones.push_back(Area {
            value: value.clone(),
            zones,
            anchor,
        });
        Ok(self.zones.len() - 1)
    }
}

impl Area {
    fn is_of(&self, value: &Value) -> bool {
        match (&self.value, value) {
            (Value::List(a), Value::List(b)) if Arc::ptr_eq(a, b) => true,
            (known, value) => python::equal(known, value),
        }
    }

    fn contains(&self, detections: &Detections, row: usize) -> Result<bool, GeometryError> {
        let point = self.anchor.of(detections, row)?;
        Ok(self.zones.iter().any(|zone| zone.contains(point)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, frame, tracked};
    use serde_json::json;

    fn square() -> serde_json::Value {
        json!([[0, 0], [100, 0], [100, 100], [0, 100]])
    }

    /// Times of one object (10 frames a second) that stands at these places.
    fn times(bench: &mut Bench, places: &[f64]) -> Vec<Option<f64>> {
        let mut times = Vec::new();
        for (i, x) in places.iter().enumerate() {
            let rows = tracked(&[([x - 5.0, 40.0, x + 5.0, 60.0], 3)]);
            let image = frame("a", i as i64 + 1, Some(10.0));
            let row = bench.run(&[("image", image), ("detections", rows.into())]);
            let row = row.unwrap();
            let out = row[0].as_detections().unwrap();
            let time = out.cell(column::TIME_IN_ZONE, 0).and_then(Value::as_f64);
            times.push(time.map(|t| (t * 10.0).round() / 10.0));
        }
        times
    }

    fn with_flags(remove: bool, reset: bool) -> Bench {
        let fields = [
            ("zone", square()),
            ("remove_out_of_zone_detections", json!(remove)),
            ("reset_out_of_zone_detections", json!(reset)),
        ];
        Bench::new(&V2, &fields)
    }

    #[test]
    fn flags_say_what_becomes_of_those_outside() {
        let places = [50.0, 60.0, 150.0, 60.0, 50.0];
        let seen = |remove, reset| times(&mut with_flags(remove, reset), &places);
        let none = None;
        let anew = [Some(0.0), Some(0.1), none, Some(0.0), Some(0.1)];
        assert_eq!(seen(true, true), anew);
        let on = [Some(0.0), Some(0.1), none, Some(0.3), Some(0.4)];
        assert_eq!(seen(true, false), on);
        let kept = [Some(0.0), Some(0.1), Some(0.0), Some(0.0), Some(0.1)];
        assert_eq!(seen(false, true), kept);
        assert_eq!(seen(false, false), kept);
    }

    #[test]
    fn a_moving_zone_keeps_its_timers() {
        let mut bench = Bench::new(&V3, &[("zone", square())]);
        assert_eq!(times(&mut bench, &[50.0]), [Some(0.0)]);
        let both = json!([[[40, 0], [90, 0], [90, 90]], square()]);
        let zone = Value::from_json(&both);
        let rows = tracked(&[([45.0, 40.0, 55.0, 60.0], 3)]);
        let row = bench.run(&[
            ("image", frame("a", 6, Some(10.0))),
            ("detections", rows.into()),
            ("zone", zone),
        ]);
        let out = row.unwrap()[0].as_detections().unwrap().clone();
        assert_eq!(
            out.cell(column::TIME_IN_ZONE, 0).and_then(Value::as_f64),
            Some(0.5)
        );
    }

    #[test]
    fn no_zone_holds_nobody() {
        let mut bench = Bench::new(&V3, &[("zone", json!([]))]);
        assert_eq!(times(&mut bench, &[50.0]), [None]);
    }

    #[test]
    fn a_zone_of_two_points_is_refused() {
        let mut bench = Bench::new(&V2, &[("zone", json!([[0, 0], [1, 1]]))]);
        let image = frame("a", 1, None);
        let row = bench.run(&[("image", image), ("detections", Detections::empty().into())]);
        assert!(row.is_err());
    }

    /// Seconds in the zone of an object at x = 50 on frame 2 of `video`, if it is in.
    fn inside(bench: &mut Bench, video: &str, zone: serde_json::Value) -> Option<f64> {
        let rows = tracked(&[([45.0, 40.0, 55.0, 60.0], 3)]);
        let row = bench.run(&[
            ("image", frame(video, 2, Some(10.0))),
            ("detections", rows.into()),
            ("zone", Value::from_json(&zone)),
        ]);
        let out = row.unwrap()[0].as_detections().unwrap().clone();
        out.cell(column::TIME_IN_ZONE, 0).and_then(Value::as_f64)
    }

    #[test]
    fn only_version_3_takes_another_zone_and_videos_are_apart() {
        let away = || json!([[300, 0], [400, 0], [400, 100]]);
        for (spec, moved) in [(&V2, Some(0.1)), (&V3, None)] {
            let mut bench = Bench::new(spec, &[("zone", square())]);
            assert_eq!(times(&mut bench, &[50.0]), [Some(0.0)]);
            assert_eq!(inside(&mut bench, "a", away()), moved);
            assert_eq!(inside(&mut bench, "b", square()), Some(0.0));
        }
    }
}
