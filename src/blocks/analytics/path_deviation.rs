//! Tells how far the path of each tracked object strays from a reference path.
//!
//! # Inputs and outputs
//! Tracked `detections` of one frame (of `metadata` or `image`) and a `reference_path` (a list of
//! points) → `path_deviation_detections`: the same rows with the column `path_deviation`, the discrete
//! Fréchet distance (Eiter and Mannila, 1994) in pixels between all anchor points of the track so far and
//! the reference path.
//!
//! # State
//! Per video and track id ([`MAX_PATHS`], see `PerTrack`) the last row of the distance table, and the last
//! [`MAX_POINTS`] anchor points in case the reference path changes.
//!
//! # Edge cases
//! Boxes without track ids fail; no boxes give an empty result that has lost its columns. The reference
//! engine's own block always fails; this is what it means to do.
//!
//! # Parity
//! `video_path_deviation_*`, specification 1.4.

use std::collections::VecDeque;

use super::{ANCHOR, BOXES, DETECTIONS, IMAGE, METADATA, anchor_in, literal_problems, track_ids};
use crate::blocks::state::{PerStream, PerTrack};
use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, output};
use crate::geometry::{self, GeometryError};
use crate::row;
use crate::values::detections::column;
use crate::values::{Detections, Value};

/// Paths kept per video at least.
pub const MAX_PATHS: usize = 1024;

/// Points kept of one path; the reference cannot follow longer ones at all.
pub const MAX_POINTS: usize = 1024;

const WHOSE_PATH: Field = ANCHOR.about("Point of the box whose path counts.");
const PATH: Field =
    super::points("reference_path").about("The path to compare with: a list of points.");

/// `roboflow_core/path_deviation_analytics@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/path_deviation_analytics@v1"],
    fields: &[METADATA, DETECTIONS, WHOSE_PATH, PATH],
    build: |_, _| Ok(Box::new(PathDeviation::new("metadata"))),
    ..MODEL
};

/// `roboflow_core/path_deviation_analytics@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/path_deviation_analytics@v2"],
    fields: &[IMAGE, DETECTIONS, WHOSE_PATH, PATH],
    engine: ">=1.2.0,<2.0.0",
    build: |_, _| Ok(Box::new(PathDeviation::new("image"))),
    ..MODEL
};

const MODEL: BlockSpec = BlockSpec {
    name: "Path Deviation",
    family: Family::Analytics,
    about: "Tells how far the paths of tracked objects stray from a reference path.",
    outputs: &[output("path_deviation_detections", BOXES)],
    literal_check: Some(|step| literal_problems(step, "reference_path", read_path)),
    ..BlockSpec::DEFAULT
};

fn read_path(value: &Value) -> Result<Vec<[f64; 2]>, GeometryError> {
    let points = geometry::points(value)?;
    if points.is_empty() {
        return Err(GeometryError::EmptyPath);
    }
    Ok(points)
}

struct PathDeviation {
    /// Field that tells the video.
    source: &'static str,
    streams: PerStream<Stream>,
}

struct Stream {
    reference: Vec<[f64; 2]>,
    /// Counts the changes of the reference path.
    edition: u64,
    tracks: PerTrack<Path>,
}

impl Default for Stream {
    fn default() -> Self {
        Self {
            reference: Vec::new(),
            edition: 0,
            tracks: PerTrack::with_limit(MAX_PATHS),
        }
    }
}

/// The path of one track so far.
#[derive(Default)]
struct Path {
    edition: u64,
    points: VecDeque<[f64; 2]>,
    /// For each point of the reference, the distance of the path so far from the reference so far.
    distances: Vec<f64>,
}

impl PathDeviation {
    fn new(source: &'static str) -> Self {
        Self {
            source,
            streams: PerStream::default(),
        }
    }
}

impl Block for PathDeviation {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let video = inputs.video(self.source, cx)?;
        let detections = inputs.detections("detections")?;
        let ids = track_ids(detections)?;
        let anchor = anchor_in(inputs)?;
        let reference = read_path(inputs.value("reference_path"))?;
        let stream = self.streams.get(&video.video_identifier, Stream::default);
        if stream.reference != reference {
            stream.reference = reference;
            stream.edition += 1;
        }
        if detections.is_empty() {
            return Ok(Output::One(row![Detections::empty()]));
        }
        let mut deviations = Vec::with_capacity(ids.len());
        for (row, &id) in ids.iter().enumerate() {
            let point = anchor.of(detections, row)?;
            let path = stream.tracks.get(id, Path::default);
            let deviation = path.extend(point, &stream.reference, stream.edition);
            deviations.push(Value::Float(deviation));
        }
        let mut measured = (**detections).clone();
        measured.set_column(column::PATH_DEVIATION, deviations);
        Ok(Output::One(row![measured]))
    }
}

impl Path {
    /// Adds a point; the distance of the whole path from the reference.
    fn extend(&mut self, point: [f64; 2], reference: &[[f64; 2]], edition: u64) -> f64 {
        if self.edition != edition {
            self.edition = edition;
            self.distances.clear();
            for known in &self.points {
                advance(&mut self.distances, *known, reference);
            }
        }
        if self.points.len() >= MAX_POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
        advance(&mut self.distances, point, reference);
        self.distances.last().copied().unwrap_or(0.0)
    }
}

/// The next row of the table of discrete Fréchet distances, in place.
fn advance(distances: &mut Vec<f64>, point: [f64; 2], reference: &[[f64; 2]]) {
    let first = distances.is_empty();
    // Distance at the reference point before, on the row before and on this row.
    let mut before = (f64::INFINITY, f64::INFINITY);
    for (j, q) in reference.iter().enumerate() {
        let here = (point[0] - q[0]).hypot(point[1] - q[1]);
        let above = if first { f64::INFINITY } else { distances[j] };
        let reached = above.min(before.0).min(before.1);
        let start = first && j == 0;
        let distance = if start { here } else { reached.max(here) };
        if first {
            distances.push(distance);
        } else {
            distances[j] = distance;
        }
        before = (above, distance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, frame, tracked};
    use serde_json::json;

    fn see(bench: &mut Bench, [x, y]: [f64; 2], route: Option<serde_json::Value>) -> f64 {
        let rows = tracked(&[([x - 5.0, y - 5.0, x + 5.0, y + 5.0], 4)]);
        let mut fields = vec![("image", frame("a", 1, None)), ("detections", rows.into())];
        if let Some(route) = route {
            fields.push(("reference_path", Value::from_json(&route)));
        }
        let row = bench.run(&fields).unwrap();
        let out = row[0].as_detections().unwrap();
        out.cell(column::PATH_DEVIATION, 0)
            .and_then(Value::as_f64)
            .unwrap()
    }

    #[test]
    fn the_distance_is_that_of_the_whole_path() {
        let mut bench = Bench::new(
            &V2,
            &[("reference_path", json!([[0, 0], [10, 0], [20, 0]]))],
        );
        // Alone, the first point has to wait for the whole reference.
        assert_eq!(see(&mut bench, [0.0, 0.0], None), 20.0);
        assert_eq!(see(&mut bench, [10.0, 3.0], None), (100.0f64 + 9.0).sqrt());
        assert_eq!(see(&mut bench, [20.0, 1.0], None), 3.0);
        // A detour is never forgotten.
        assert_eq!(see(&mut bench, [20.0, 7.0], None), 7.0);
        assert_eq!(see(&mut bench, [20.0, 0.0], None), 7.0);
    }

    #[test]
    fn a_new_reference_counts_from_the_first_point() {
        let mut bench = Bench::new(&V2, &[("reference_path", json!([[0, 0], [20, 0]]))]);
        see(&mut bench, [0.0, 0.0], None);
        let moved = see(&mut bench, [20.0, 0.0], Some(json!([[0, 5], [20, 4]])));
        assert_eq!(moved, 5.0);
    }

    #[test]
    fn no_boxes_are_no_error_but_an_empty_path_is() {
        let run = |path: serde_json::Value| {
            let mut bench = Bench::new(&V2, &[("reference_path", path)]);
            let empty = Detections::default().into();
            bench.run(&[("image", frame("a", 1, None)), ("detections", empty)])
        };
        assert!(run(json!([[0, 0]])).is_ok());
        assert!(run(json!([])).is_err());
    }
}
