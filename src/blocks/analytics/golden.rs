//! Tracker, line counter and zone timer together against recorded answers of the reference's video
//! pipeline (`fixtures/video`: per frame number, totals in and out, and per detection the box, the
//! confidence, the track id and the time in the zone).

use serde_json::{Value as Json, json};

use super::{line_counter, time_in_zone};
use crate::blocks::bench::{Bench, boxes, frame};
use crate::blocks::trackers::byte_tracker;
use crate::values::{Detections, Value, detections::column};

struct Golden {
    fps: f64,
    frames: Vec<Json>,
}

impl Golden {
    fn read(text: &str) -> Self {
        let json: Json = serde_json::from_str(text).unwrap();
        Self {
            fps: json["fps"].as_f64().unwrap(),
            frames: json["frames"].as_array().unwrap().clone(),
        }
    }
}

/// Box and confidence of a recorded row.
fn detection(row: &Json) -> ([f64; 4], f64) {
    let number = |i: usize| row[i].as_f64().unwrap();
    ([0, 1, 2, 3].map(number), number(4))
}

/// The recorded rows with a number at `place`, as pairs of box and that number.
fn recorded(rows: &[Json], place: usize) -> Vec<([f64; 4], f64)> {
    let pairs = rows
        .iter()
        .filter_map(|row| Some((detection(row).0, row[place].as_f64()?)));
    pairs.collect()
}

fn answered(detections: &Detections, number: impl Fn(usize) -> f64) -> Vec<([f64; 4], f64)> {
    (0..detections.len())
        .map(|row| (detections.xyxy[row], number(row)))
        .collect()
}

fn replay(text: &str, line: Json, zone: Option<Json>) {
    let golden = Golden::read(text);
    let mut tracker = Bench::new(&byte_tracker::V3, &[]);
    let mut counter = Bench::new(&line_counter::V2, &[("line_segment", line)]);
    let mut timer = zone.map(|zone| Bench::new(&time_in_zone::V3, &[("zone", zone)]));
    for recorded_frame in &golden.frames {
        let number = recorded_frame[0].as_i64().unwrap();
        let rows = recorded_frame[3].as_array().unwrap();
        let image = || ("image", frame("clip", number, Some(golden.fps)));
        let found: Vec<_> = rows.iter().map(detection).collect();
        let out = tracker
            .run(&[image(), ("detections", boxes(&found).into())])
            .unwrap();
        let tracked = out[0].as_detections().unwrap();
        let ids = tracked.tracker_id.as_deref().unwrap();
        let got = answered(tracked, |row| ids[row] as f64);
        assert_eq!(got, recorded(rows, 5), "ids on frame {number}");

        let totals = counter
            .run(&[image(), ("detections", out[0].clone())])
            .unwrap();
        let totals = [totals[0].as_i64(), totals[1].as_i64()];
        let want = [recorded_frame[1].as_i64(), recorded_frame[2].as_i64()];
        assert_eq!(totals, want, "totals on frame {number}");

        if let Some(timer) = &mut timer {
            let out = timer
                .run(&[image(), ("detections", out[0].clone())])
                .unwrap();
            let timed = out[0].as_detections().unwrap();
            let time = |row| {
                timed
                    .cell(column::TIME_IN_ZONE, row)
                    .and_then(Value::as_f64)
            };
            let got = answered(timed, |row| time(row).unwrap());
            let want = recorded(rows, 6);
            assert_eq!(got.len(), want.len(), "rows in zone on frame {number}");
            for (g, w) in got.iter().zip(&want) {
                assert_eq!(g.0, w.0, "frame {number}");
                assert!((g.1 - w.1).abs() < 1e-3, "frame {number}: {g:?} for {w:?}");
            }
        }
    }
}

#[test]
fn shapes_cross_the_line_as_recorded() {
    let text = include_str!("../../../fixtures/video/shapes-line.json");
    replay(text, json!([[320, 0], [320, 360]]), None);
}

#[test]
fn pedestrians_have_the_recorded_ids_counts_and_times() {
    let text = include_str!("../../../fixtures/video/pedestrians-track.json");
    let zone = json!([[60, 160], [420, 160], [420, 330], [60, 330]]);
    replay(text, json!([[320, 0], [320, 480]]), Some(zone));
}
