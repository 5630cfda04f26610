//! Counts tracked objects that cross a line, in both directions.
//!
//! # Inputs and outputs
//! Tracked `detections` of one frame (of `metadata` or `image`) and a `line_segment` → totals
//! `count_in` (from right to left of the directed line; upwards for a line to the right) and
//! `count_out`; v2 also the rows that crossed on this frame. An object crosses when all its anchors
//! (v1 and named: one; v2 without: the four corners) are on the other side, between the line's ends.
//!
//! # State
//! Per video the line and anchor of its first frame, the totals, and per track id the side it was
//! last seen on, for as long as the id misses one frame at most.
//!
//! # Edge cases
//! Boxes without track ids fail; a frame without boxes does not. Negative ids are not counted.
//!
//! # Parity
//! `video_line_counter_*`, the golden pipelines in `fixtures/video`, specification 1.1.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::{ANCHOR, BOXES, DETECTIONS, IMAGE, METADATA, anchor_in, literal_problems, track_ids};
use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry::anchor::NAMES;
use crate::geometry::{Anchor, GeometryError, Line, Side};
use crate::row;
use crate::values::{Detections, Value, kind};

const LINE: Field = super::points("line_segment").about("The line: a list of two points.");

/// `roboflow_core/line_counter@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/line_counter@v1"],
    fields: &[
        METADATA,
        DETECTIONS,
        LINE,
        ANCHOR.about("Point of the box that has to cross."),
    ],
    outputs: &[
        output("count_in", &[kind::INTEGER]),
        output("count_out", &[kind::INTEGER]),
    ],
    build: |_, _| Ok(Box::new(LineCounter::new("metadata", false))),
    ..MODEL
};

/// `roboflow_core/line_counter@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/line_counter@v2"],
    fields: &[
        IMAGE,
        DETECTIONS,
        LINE,
        Field::optional(
            "triggering_anchor",
            &[
                Ty::Str,
                Ty::Selector(&[kind::STRING]),
                Ty::OneOf(NAMES),
                Ty::Null,
            ],
            "null",
        )
        .about("Point of the box that has to cross; all four corners if not given."),
    ],
    outputs: &[
        output("count_in", &[kind::INTEGER]),
        output("count_out", &[kind::INTEGER]),
        output("detections_in", BOXES),
        output("detections_out", BOXES),
    ],
    build: |_, _| Ok(Box::new(LineCounter::new("image", true))),
    ..MODEL
};

const MODEL: BlockSpec = BlockSpec {
    name: "Line Counter",
    family: Family::Analytics,
    about: "Counts tracked objects that cross a line, in both directions.",
    literal_check: Some(|step| literal_problems(step, "line_segment", Line::from_value)),
    ..BlockSpec::DEFAULT
};

struct LineCounter {
    /// Field that tells the video.
    source: &'static str,
    with_rows: bool,
    streams: PerStream<Counter>,
}

/// The line of one video and what has crossed it.
struct Counter {
    line: Line,
    anchors: SmallVec<[Anchor; 4]>,
    frame: u64,
    tracks: HashMap<i64, Sighting>,
    count_in: i64,
    count_out: i64,
    /// Per row of the last frame the side that it has crossed to.
    crossings: Vec<Option<Side>>,
}

struct Sighting {
    side: Side,
    frame: u64,
}

impl LineCounter {
    fn new(source: &'static str, with_rows: bool) -> Self {
        Self {
            source,
            with_rows,
            streams: PerStream::default(),
        }
    }
}

impl Block for LineCounter {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let video = inputs.video(self.source, cx)?;
        let detections = inputs.detections("detections")?;
        let ids = track_ids(detections)?;
        let counter = self
            .streams
            .try_get(&video.video_identifier, || Counter::new(inputs))?;
        counter.step(detections, ids)?;
        let (count_in, count_out) = (counter.count_in, counter.count_out);
        if !self.with_rows {
            return Ok(Output::One(row![count_in, count_out]));
        }
        let crossed = |to: Side| detections.filter(|row| counter.crossings[row] == Some(to));
        Ok(Output::One(row![
            count_in,
            count_out,
            crossed(Side::Left),
            crossed(Side::Right)
        ]))
    }
}

impl Counter {
    fn new(inputs: &Inputs<'_>) -> Result<Self, BlockError> {
        let anchors = match inputs.value("triggering_anchor") {
            Value::None => Anchor::CORNERS.into(),
            _ => SmallVec::from_slice(&[anchor_in(inputs)?]),
        };
        Ok(Self {
            line: Line::from_value(inputs.value("line_segment"))?,
            anchors,
            frame: 0,
            tracks: HashMap::new(),
            count_in: 0,
            count_out: 0,
            crossings: Vec::new(),
        })
    }

    fn step(&mut self, detections: &Detections, ids: &[i64]) -> Result<(), GeometryError> {
        self.frame += 1;
        for id in ids.iter().filter(|id| **id >= 0) {
            if let Some(track) = self.tracks.get_mut(id) {
                track.frame = self.frame;
            }
        }
        // An id that misses two frames starts afresh.
        self.tracks.retain(|_, track| self.frame - track.frame < 2);
        self.crossings.clear();
        for (row, &id) in ids.iter().enumerate() {
            let crossing = match self.side(detections, row)? {
                Some(side) if id >= 0 => self.see(id, side),
                _ => None,
            };
            self.crossings.push(crossing);
        }
        Ok(())
    }

    /// The side on which all anchors of a row lie; none if they lie on both or one lies beyond the
    /// ends.
    fn side(&self, detections: &Detections, row: usize) -> Result<Option<Side>, GeometryError> {
        let mut common = None;
        for anchor in &self.anchors {
            let point = anchor.of(detections, row)?;
            let side = self.line.side(point);
            if !self.line.spans(point) || *common.get_or_insert(side) != side {
                return Ok(None);
            }
        }
        Ok(common)
    }

    /// Notes the side of a track; the side if the track has come over from the other.
    fn see(&mut self, id: i64, side: Side) -> Option<Side> {
        let frame = self.frame;
        let track = self.tracks.entry(id).or_insert(Sighting { side, frame });
        if track.side == side {
            return None;
        }
        track.side = side;
        match side {
            Side::Left => self.count_in += 1,
            Side::Right => self.count_out += 1,
        }
        Some(side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, frame, ids, tracked, video};
    use serde_json::json;
    use std::sync::Arc;

    /// Totals of a line from (0, 100) to (200, 100) after one object stood at these heights; none
    /// means that it was not seen.
    fn totals(anchor: serde_json::Value, heights: &[Option<f64>]) -> (i64, i64) {
        let line = json!([[0, 100], [200, 100]]);
        let fields = [("line_segment", line), ("triggering_anchor", anchor)];
        let mut bench = Bench::new(&V2, &fields);
        let mut last = (0, 0);
        for (i, height) in heights.iter().enumerate() {
            let rows: Vec<_> = height
                .map(|y| ([50.0, y - 10.0, 70.0, y + 10.0], 7))
                .into_iter()
                .collect();
            let image = frame("a", i as i64, Some(30.0));
            let row = bench.run(&[("image", image), ("detections", tracked(&rows).into())]);
            let row = row.unwrap();
            let now = (row[0].as_i64().unwrap(), row[1].as_i64().unwrap());
            assert_eq!(ids(&row[2]).len() as i64, now.0 - last.0);
            assert_eq!(ids(&row[3]).len() as i64, now.1 - last.1);
            last = now;
        }
        last
    }

    #[test]
    fn up_is_in_and_down_is_out() {
        let centre = || json!("CENTER");
        assert_eq!(totals(centre(), &[Some(120.0), Some(80.0)]), (1, 0));
        assert_eq!(totals(centre(), &[Some(80.0), Some(120.0)]), (0, 1));
        // A point on the line counts as right of it.
        assert_eq!(totals(centre(), &[Some(80.0), Some(100.0)]), (0, 1));
    }

    #[test]
    fn without_an_anchor_the_whole_box_must_be_over() {
        let heights = [Some(120.0), Some(95.0), Some(80.0)];
        assert_eq!(totals(json!(null), &heights[..2]), (0, 0));
        assert_eq!(totals(json!(null), &heights), (1, 0));
    }

    #[test]
    fn a_track_may_miss_one_frame_not_two() {
        let centre = || json!("CENTER");
        assert_eq!(totals(centre(), &[Some(120.0), None, Some(80.0)]), (1, 0));
        assert_eq!(
            totals(centre(), &[Some(120.0), None, None, Some(80.0)]),
            (0, 0)
        );
    }

    #[test]
    fn beyond_the_ends_nothing_crosses() {
        let mut bench = Bench::new(&V2, &[("line_segment", json!([[0, 100], [40, 100]]))]);
        for y in [120.0, 80.0] {
            let rows = tracked(&[([50.0, y, 70.0, y + 10.0], 1)]);
            let image = frame("a", 1, None);
            let row = bench.run(&[("image", image), ("detections", rows.into())]);
            assert_eq!(row.unwrap()[0].as_i64(), Some(0));
        }
    }

    #[test]
    fn ids_are_needed_where_there_are_boxes() {
        let mut bench = Bench::new(&V2, &[("line_segment", json!([[0, 100], [40, 100]]))]);
        let mut run =
            |d: Detections| bench.run(&[("image", frame("a", 1, None)), ("detections", d.into())]);
        assert!(run(Detections::default()).is_ok());
        let mut untracked = tracked(&[([0.0, 0.0, 1.0, 1.0], 1)]);
        untracked.tracker_id = None;
        assert!(run(untracked).is_err());
    }

    #[test]
    fn negative_ids_are_not_counted() {
        let mut bench = Bench::new(&V2, &[("line_segment", json!([[0, 100], [200, 100]]))]);
        for y in [120.0, 60.0] {
            let rows = tracked(&[([50.0, y, 70.0, y + 10.0], -1)]);
            let row = bench.run(&[("image", frame("a", 1, None)), ("detections", rows.into())]);
            assert_eq!(row.unwrap()[0].as_i64(), Some(0));
        }
    }

    #[test]
    fn version_1_goes_by_the_centre_of_the_box() {
        let mut bench = Bench::new(&V1, &[("line_segment", json!([[0, 100], [200, 100]]))]);
        let mut count = Vec::new();
        for y in [120.0, 95.0, 80.0] {
            let rows = tracked(&[([50.0, y - 10.0, 70.0, y + 10.0], 1)]);
            let metadata = Value::Video(Arc::new(video("a", 1, None)));
            let row = bench.run(&[("metadata", metadata), ("detections", rows.into())]);
            count.push(row.unwrap()[0].as_i64().unwrap());
        }
        assert_eq!(count, [0, 1, 1]);
    }
}
