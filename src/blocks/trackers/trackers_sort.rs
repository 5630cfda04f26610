//! Follows boxes by SORT (Bewley et al., 2016): Kalman filter and overlap, one association a frame.
//!
//! # Inputs and outputs
//! `detections` of one frame of the video of `image` → `tracked_detections`: the rows of tracks that
//! have been matched `minimum_consecutive_frames` times, in their order, with `tracker_id`;
//! `new_instances` and `already_seen_instances` part them.
//!
//! # State
//! Per video one tracker with the parameters of its first frame, and the ids seen. A lost track is
//! dropped after `lost_track_buffer` frames (at 30 a second), or if it is the oldest of more than
//! `MAX_LOST`.
//!
//! # Edge cases
//! Boxes without confidence count as certain. A buffer of 0 reports nothing.
//!
//! # Parity
//! `video_trackers_sort_*`, `video_trackers_empty_frames`, specification 7.3.

use super::association::Matcher;
use super::corner_track::CornerTrack;
use super::tracking::{self, Frame, Ids, Rate, Rules, Tracker, TrackerBlock, bound_lost};
use crate::blocks::{BlockError, BlockSpec, Inputs};

/// `roboflow_core/trackers_sort@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/trackers_sort@v1"],
    name: "SORT Tracker",
    about: "Follows boxes from frame to frame by SORT and gives them track ids.",
    fields: &[
        tracking::IMAGE,
        tracking::DETECTIONS,
        tracking::least_overlap("0.3"),
        tracking::consecutive("3"),
        tracking::BUFFER,
        tracking::activation("0.25"),
        tracking::CACHE,
    ],
    build: |_, _| Ok(TrackerBlock::<Sort>::boxed()),
    ..tracking::MODEL
};

struct Sort {
    rules: Rules,
    activation: f64,
    ids: Ids,
    tracks: Vec<CornerTrack>,
    matcher: Matcher,
    /// Per row the track that it was matched with.
    track_of: Vec<Option<usize>>,
}

impl Tracker for Sort {
    fn new(inputs: &Inputs<'_>, rate: Rate) -> Result<Self, BlockError> {
        Ok(Self {
            rules: Rules::of(inputs, rate)?,
            activation: inputs.float("track_activation_threshold")?,
            ids: Ids::default(),
            tracks: Vec::new(),
            matcher: Matcher::default(),
            track_of: Vec::new(),
        })
    }

    fn update(&mut self, frame: &Frame<'_>, reported: &mut Vec<(usize, i64)>) {
        self.tracks.iter_mut().for_each(CornerTrack::predict);
        self.track_of.clear();
        self.track_of.resize(frame.boxes.len(), None);
        let (tracks, least) = (&self.tracks, self.rules.least_overlap);
        let pairs = self.matcher.most_similar(
            (tracks.len(), frame.boxes.len()),
            least,
            |i| tracks[i].corners(),
            |j| frame.boxes[j],
            |overlap, _| overlap,
        );
        for &(i, j) in pairs {
            let track = &mut self.tracks[i];
            track.hit(&frame.boxes[j]);
            if track.hits >= self.rules.consecutive {
                self.ids.of(&mut track.id);
            }
            self.track_of[j] = Some(i);
        }
        for (row, track) in self.track_of.iter().enumerate() {
            match track.and_then(|i| self.tracks[i].id) {
                Some(id) => reported.push((row, id)),
                None if track.is_none() && frame.confidence(row, 1.0) >= self.activation => {
                    self.tracks.push(CornerTrack::new(frame.boxes[row]));
                }
                None => {}
            }
        }
        let (patience, consecutive) = (self.rules.patience, self.rules.consecutive);
        self.tracks
            .retain(|t| t.since < patience && (t.hits >= consecutive || t.since == 0));
        bound_lost(&mut self.tracks, |t| t.since);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes, frame, ids};
    use crate::values::Value;
    use serde_json::json;

    #[test]
    fn the_scene_has_the_ids_of_the_reference() {
        assert_eq!(
            tracking::scene::ids(&BLOCK),
            "./. ./. 0/1 0/1 ./1 ./1 0/1 0/. 0/1 0/1"
        );
    }

    /// Ids after `gap` frames without the object.
    fn after(gap: i64, fields: &[(&str, serde_json::Value)]) -> Vec<i64> {
        let mut bench = Bench::new(&BLOCK, fields);
        let rows: Value = boxes(&[([10.0, 10.0, 50.0, 90.0], 0.9)]).into();
        let mut number = 0;
        let mut see = |detections: Value| {
            number += 1;
            let image = frame("a", number, Some(30.0));
            let row = bench.run(&[("image", image), ("detections", detections)]);
            ids(&row.unwrap()[0])
        };
        (0..3).for_each(|_| drop(see(rows.clone())));
        (0..gap).for_each(|_| drop(see(boxes(&[]).into())));
        see(rows)
    }

    #[test]
    fn a_lost_track_waits_as_long_as_its_buffer() {
        assert_eq!(after(29, &[]), [0]);
        assert!(after(30, &[]).is_empty());
        assert!(after(0, &[("lost_track_buffer", json!(0))]).is_empty());
    }
}
