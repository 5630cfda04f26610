//! Follows boxes by ByteTrack (Zhang et al., 2022): certain boxes are matched first, then the others.
//!
//! # Inputs and outputs
//! `detections` of one frame of the video of `image` → `tracked_detections`: the rows of tracks with an
//! id, those matched among the certain boxes first, each by age of the track; `new_instances` and
//! `already_seen_instances` part them.
//!
//! # State
//! Per video one tracker with the parameters of its first frame, and the ids seen. A lost track is
//! dropped after `lost_track_buffer` frames (at 30 a second), or if it is the oldest of more than
//! `MAX_LOST`.
//!
//! # Edge cases
//! Boxes without confidence start no tracks. A track with an id is reported on every match.
//!
//! # Parity
//! `video_trackers_bytetrack_*`, `video_trackers_empty_frames`, specification 7.4. Not the same as
//! `byte_tracker`.

use super::association::Matcher;
use super::corner_track::CornerTrack;
use super::tracking::{self, Frame, Ids, Rate, Rules, Tracker, TrackerBlock, bound_lost};
use crate::blocks::{BlockError, BlockSpec, Inputs};

/// `roboflow_core/trackers_bytetrack@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/trackers_bytetrack@v1"],
    name: "ByteTrack Tracker",
    about: "Follows boxes from frame to frame by ByteTrack and gives them track ids.",
    fields: &[
        tracking::IMAGE,
        tracking::DETECTIONS,
        tracking::least_overlap("0.1"),
        tracking::consecutive("2"),
        tracking::BUFFER,
        tracking::activation("0.7"),
        tracking::HIGH_CONFIDENCE,
        tracking::CACHE,
    ],
    build: |_, _| Ok(TrackerBlock::<ByteTrack>::boxed()),
    ..tracking::MODEL
};

struct ByteTrack {
    rules: Rules,
    activation: f64,
    certain: f64,
    ids: Ids,
    tracks: Vec<CornerTrack>,
    matcher: Matcher,
    /// Rows not matched yet: certain ones, others.
    high: Vec<usize>,
    low: Vec<usize>,
    /// Tracks not matched yet.
    waiting: Vec<usize>,
    /// Whether a row has been matched.
    taken: Vec<bool>,
}

impl Tracker for ByteTrack {
    fn new(inputs: &Inputs<'_>, rate: Rate) -> Result<Self, BlockError> {
        Ok(Self {
            rules: Rules::of(inputs, rate)?,
            activation: inputs.float("track_activation_threshold")?,
            certain: inputs.float("high_conf_det_threshold")?,
            ids: Ids::default(),
            tracks: Vec::new(),
            matcher: Matcher::default(),
            high: Vec::new(),
            low: Vec::new(),
            waiting: Vec::new(),
            taken: Vec::new(),
        })
    }

    fn update(&mut self, frame: &Frame<'_>, reported: &mut Vec<(usize, i64)>) {
        for track in &mut self.tracks {
            if track.since > 0 {
                track.hits = 0;
            }
            track.predict();
        }
        self.waiting.clear();
        self.waiting.extend(0..self.tracks.len());
        self.taken.clear();
        self.taken.resize(frame.boxes.len(), false);
        self.high.clear();
        self.low.clear();
        for row in 0..frame.boxes.len() {
            if frame.confidence(row, 0.0) >= self.certain {
                self.high.push(row);
            } else {
                self.low.push(row);
            }
        }
        let mut high = std::mem::take(&mut self.high);
        let mut low = std::mem::take(&mut self.low);
        self.associate(frame, &mut high, reported);
        self.associate(frame, &mut low, reported);
        for &row in &high {
            if frame.confidence(row, 0.0) >= self.activation {
                self.tracks.push(CornerTrack::new(frame.boxes[row]));
            }
        }
        (self.high, self.low) = (high, low);
        let (patience, consecutive) = (self.rules.patience, self.rules.consecutive);
        self.tracks.retain(|t| {
            t.since < patience && (t.id.is_some() || t.hits >= consecutive || t.since == 0)
        });
        bound_lost(&mut self.tracks, |t| t.since);
    }
}

impl ByteTrack {
    /// Matches the waiting tracks with `rows`; both keep what is left over.
    fn associate(
        &mut self,
        frame: &Frame<'_>,
        rows: &mut Vec<usize>,
        reported: &mut Vec<(usize, i64)>,
    ) {
        let (tracks, waiting, least) = (&self.tracks, &self.waiting, self.rules.least_overlap);
        let pairs = self.matcher.most_similar(
            (waiting.len(), rows.len()),
            least,
            |i| tracks[waiting[i]].corners(),
            |j| frame.boxes[rows[j]],
            |overlap, _| overlap,
        );
        for &(i, j) in pairs {
            let track = &mut self.tracks[self.waiting[i]];
            track.hit(&frame.boxes[rows[j]]);
            if track.hits >= self.rules.consecutive {
                self.ids.of(&mut track.id);
            }
            reported.extend(track.id.map(|id| (rows[j], id)));
            self.taken[rows[j]] = true;
        }
        let (tracks, taken) = (&self.tracks, &self.taken);
        rows.retain(|&row| !taken[row]);
        self.waiting.retain(|&t| tracks[t].since > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scene_has_the_ids_of_the_reference() {
        assert_eq!(
            tracking::scene::ids(&BLOCK),
            "./. 0/1 0/1 0/1 ./1 ./1 0/1 0/. 0/1 0/1"
        );
    }
}
