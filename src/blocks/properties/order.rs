//! A tracker's answer for rows in another order: the same rows reported, parted into the same tracks.
//! Tracks are named in the order of their rows, as in the reference, so names may be exchanged.

use std::collections::HashMap;

use proptest::prelude::*;

use super::cases;
use crate::blocks::BlockSpec;
use crate::blocks::bench::{Bench, boxes, frame};
use crate::blocks::trackers::{
    byte_tracker, trackers_botsort, trackers_bytetrack, trackers_ocsort, trackers_sort,
};

/// Most objects of a scene.
const OBJECTS: usize = 6;
const FRAMES: usize = 12;

static TRACKERS: &[&BlockSpec] = &[
    &byte_tracker::V3,
    &trackers_botsort::BLOCK,
    &trackers_bytetrack::BLOCK,
    &trackers_ocsort::BLOCK,
    &trackers_sort::BLOCK,
];

/// An object on its way.
#[derive(Clone, Debug)]
struct Walker {
    start: [f64; 2],
    step: [f64; 2],
    size: [f64; 2],
    score: f64,
    /// Frames on which it is not found, a bit each.
    hidden: u16,
}

fn walker() -> impl Strategy<Value = Walker> {
    let pair = |low: f64, high: f64| [low..high, low..high];
    let hidden = prop_oneof![Just(0u16), any::<u16>().prop_map(|a| a & (a >> 3))];
    (
        pair(0.0, 400.0),
        pair(-9.0, 9.0),
        pair(30.0, 90.0),
        0.05..0.1f64,
        hidden,
    )
        .prop_map(|(start, step, size, score, hidden)| Walker {
            start,
            step,
            size,
            score,
            hidden,
        })
}

type Row = ([f64; 4], f64);

/// The rows of a frame with the object of each. Scores are apart by at least 0.05.
fn rows(walkers: &[Walker], t: usize) -> Vec<(usize, Row)> {
    let seen = walkers
        .iter()
        .enumerate()
        .filter(|(_, w)| w.hidden >> t & 1 == 0);
    seen.map(|(n, w)| {
        let [x, y] = [0, 1].map(|axis| w.start[axis] + w.step[axis] * t as f64);
        let corners = [x, y, x + w.size[0], y + w.size[1]];
        (n, (corners, 0.15 + 0.13 * n as f64 + w.score))
    })
    .collect()
}

/// The id of each object that has one, frame by frame, with the rows in an order of each frame.
fn tracks(
    spec: &'static BlockSpec,
    walkers: &[Walker],
    orders: &[Vec<usize>],
) -> Vec<HashMap<usize, i64>> {
    let mut bench = Bench::new(spec, &[]);
    let mut found = Vec::new();
    for (t, order) in orders.iter().enumerate() {
        let mut ordered = rows(walkers, t);
        ordered.sort_by_key(|(n, _)| order[*n]);
        let plain: Vec<Row> = ordered.iter().map(|(_, row)| *row).collect();
        let number = t as i64 + 1;
        let out = bench
            .run(&[
                ("image", frame("a", number, Some(30.0))),
                ("detections", boxes(&plain).into()),
            ])
            .unwrap();
        let tracked = out[0].as_detections().unwrap();
        let ids = tracked.tracker_id.as_deref().unwrap();
        let scores = tracked.confidence.as_deref().unwrap();
        let named = scores.iter().zip(ids).map(|(score, id)| {
            let (object, _) = ordered.iter().find(|(_, row)| row.1 == *score).unwrap();
            (*object, *id)
        });
        found.push(named.collect());
    }
    found
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn the_order_of_rows_names_tracks_and_nothing_else(
        walkers in prop::collection::vec(walker(), 1..=OBJECTS),
        orders in prop::collection::vec(
            Just((0..OBJECTS).collect::<Vec<_>>()).prop_shuffle(), FRAMES),
    ) {
        let plain = vec![(0..OBJECTS).collect::<Vec<_>>(); FRAMES];
        for spec in TRACKERS {
            let (one, other) = (tracks(spec, &walkers, &plain), tracks(spec, &walkers, &orders));
            let (mut there, mut back) = (HashMap::new(), HashMap::new());
            for (t, (a, b)) in one.iter().zip(&other).enumerate() {
                prop_assert_eq!(a.len(), b.len(), "{} frame {}: {:?} {:?}", spec.name, t, a, b);
                for (object, id) in a {
                    let twin = b.get(object);
                    prop_assert!(twin.is_some(), "{} frame {}: {:?} {:?}", spec.name, t, a, b);
                    let twin = twin.copied().unwrap_or_default();
                    let same = *there.entry(*id).or_insert(twin) == twin
                        && *back.entry(twin).or_insert(*id) == *id;
                    prop_assert!(same, "{} frame {}: {:?} {:?}", spec.name, t, a, b);
                }
            }
        }
    }
}
