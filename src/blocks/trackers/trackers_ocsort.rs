//! Follows boxes by OC-SORT (Cao et al., 2023): overlap and direction of motion, with a second look at
//! where each object was last seen, and a filter that is run again over a gap once the object is back.
//!
//! # Inputs and outputs
//! `detections` of one frame of the video of `image` → `tracked_detections`: the rows of tracks with an
//! id, matches by overlap first, each by age of the track; `new_instances` and
//! `already_seen_instances` part them. Rows below `high_conf_det_threshold` take no part.
//!
//! # State
//! Per video one tracker with the parameters of its first frame, and the ids seen. A lost track is
//! dropped after `lost_track_buffer` frames (at 30 a second), or if it is the oldest of more than
//! `MAX_LOST`.
//!
//! # Edge cases
//! After a missed frame a track is reported again only when it has been matched
//! `minimum_consecutive_frames` times in a row. A frame without tracks and rows does not count as one.
//! Boxes without confidence count as certain.
//!
//! # Parity
//! `video_trackers_ocsort_*`, `video_trackers_empty_frames`, specification 7.5.

use super::association::Matcher;
use super::observed_track::ObservedTrack;
use super::tracking::{
    self, Frame, Ids, NUMBER, Rate, Rules, SHARE, Tracker, TrackerBlock, bound_lost,
};
use crate::blocks::{BlockError, BlockSpec, Field, Inputs};

/// `roboflow_core/trackers_ocsort@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/trackers_ocsort@v1"],
    name: "OC-SORT Tracker",
    about: "Follows boxes from frame to frame by OC-SORT and gives them track ids.",
    fields: &[
        tracking::IMAGE,
        tracking::DETECTIONS,
        tracking::least_overlap("0.3"),
        tracking::consecutive("3"),
        tracking::BUFFER,
        tracking::HIGH_CONFIDENCE,
        Field::optional("direction_consistency_weight", SHARE, "0.2")
            .about("Weight of the direction of motion beside overlap."),
        Field::optional("delta_t", NUMBER, "3")
            .about("Frames back from which the direction of motion is taken."),
        tracking::CACHE,
    ],
    build: |_, _| Ok(TrackerBlock::<OcSort>::boxed()),
    ..tracking::MODEL
};

struct OcSort {
    rules: Rules,
    certain: f64,
    direction_weight: f32,
    delta_t: i64,
    frames: i64,
    ids: Ids,
    tracks: Vec<ObservedTrack>,
    matcher: Matcher,
    /// Rows not matched yet.
    rows: Vec<usize>,
    /// Tracks not matched yet.
    waiting: Vec<usize>,
    /// Whether a row has been matched.
    taken: Vec<bool>,
}

impl Tracker for OcSort {
    fn new(inputs: &Inputs<'_>, rate: Rate) -> Result<Self, BlockError> {
        Ok(Self {
            rules: Rules::of(inputs, rate)?,
            certain: inputs.float("high_conf_det_threshold")?,
            direction_weight: inputs.float("direction_consistency_weight")? as f32,
            delta_t: inputs.int("delta_t")?,
            frames: 0,
            ids: Ids::default(),
            tracks: Vec::new(),
            matcher: Matcher::default(),
            rows: Vec::new(),
            waiting: Vec::new(),
            taken: Vec::new(),
        })
    }

    fn update(&mut self, frame: &Frame<'_>, reported: &mut Vec<(usize, i64)>) {
        if self.tracks.is_empty() && frame.boxes.is_empty() {
            return;
        }
        self.tracks.iter_mut().for_each(ObservedTrack::predict);
        self.waiting.clear();
        self.waiting.extend(0..self.tracks.len());
        self.taken.clear();
        self.taken.resize(frame.boxes.len(), false);
        self.rows.clear();
        let certain = self.certain;
        let rows = 0..frame.boxes.len();
        self.rows
            .extend(rows.filter(|&row| frame.confidence(row, 1.0) >= certain));
        self.by_overlap_and_direction(frame, reported);
        if !self.waiting.is_empty() && !self.rows.is_empty() {
            self.by_last_sight(frame, reported);
        }
        let patience = self.rules.patience;
        self.tracks.retain(|track| track.since <= patience);
        bound_lost(&mut self.tracks, |track| track.since);
        for &row in &self.rows {
            self.tracks.push(ObservedTrack::new(frame.boxes[row]));
        }
        self.frames += 1;
    }
}

impl OcSort {
    fn by_overlap_and_direction(&mut self, frame: &Frame<'_>, reported: &mut Vec<(usize, i64)>) {
        let (tracks, rows, least) = (&self.tracks, &self.rows, self.rules.least_overlap);
        let (weight, delta_t) = (self.direction_weight, self.delta_t);
        let confidence = |j: usize| frame.confidence(rows[j], 1.0) as f32;
        let mut pairs = std::mem::take(&mut self.matcher);
        let found = pairs.most_similar_with_bonus(
            (tracks.len(), rows.len()),
            least,
            |i| tracks[i].corners(),
            |j| frame.boxes[rows[j]],
            // A score is at most one half; the rest is for what rounding adds.
            |j| (0.5 * weight * confidence(j)).abs() + 1e-5,
            |i, j| {
                let score = tracks[i].direction_score(&frame.boxes[rows[j]], delta_t);
                weight * (score * confidence(j))
            },
        );
        self.accept(frame, found, reported);
        self.matcher = pairs;
    }

    fn by_last_sight(&mut self, frame: &Frame<'_>, reported: &mut Vec<(usize, i64)>) {
        let (tracks, rows, waiting) = (&self.tracks, &self.rows, &self.waiting);
        let least = self.rules.least_overlap;
        let mut pairs = std::mem::take(&mut self.matcher);
        let found = pairs.most_similar(
            (waiting.len(), rows.len()),
            least,
            |i| *tracks[waiting[i]].last(),
            |j| frame.boxes[rows[j]],
            |overlap, _| overlap,
        );
        self.accept(frame, found, reported);
        self.matcher = pairs;
    }

    /// Corrects the waiting tracks that found a row and takes both out of the lists.
    fn accept(
        &mut self,
        frame: &Frame<'_>,
        pairs: &[(usize, usize)],
        reported: &mut Vec<(usize, i64)>,
    ) {
        for &(i, j) in pairs {
            let (track, row) = (&mut self.tracks[self.waiting[i]], self.rows[j]);
            track.hit(&frame.boxes[row], self.delta_t);
            // On the first frames every match counts.
            if self.frames <= self.rules.consecutive || track.streak >= self.rules.consecutive {
                reported.push((row, self.ids.of(&mut track.id)));
            }
            self.taken[row] = true;
        }
        let (tracks, taken) = (&self.tracks, &self.taken);
        self.waiting.retain(|&t| tracks[t].since > 0);
        self.rows.retain(|&row| !taken[row]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scene_has_the_ids_of_the_reference() {
        assert_eq!(
            tracking::scene::ids(&BLOCK),
            "./. 0/1 0/1 0/. ./. ./. ./. ./. 0/. 0/."
        );
    }
}
