//! A track whose filter follows the corners of its box, as SORT and ByteTrack of the `trackers_*`
//! family keep it.

use super::association::Kalman;

const MOTION: [f64; 8] = [0.01; 8];
const MEASUREMENT: [f64; 4] = [0.1; 4];

/// One track.
#[derive(Clone, Debug)]
pub(super) struct CornerTrack {
    filter: Kalman<8>,
    /// Its id, once it has proved itself.
    pub(super) id: Option<i64>,
    /// Matches so far (SORT) or in a row (ByteTrack), the first sight included.
    pub(super) hits: i64,
    /// Frames since the last match.
    pub(super) since: i64,
}

impl CornerTrack {
    /// A track at its first box.
    pub(super) fn new(corners: [f64; 4]) -> Self {
        Self {
            filter: Kalman::new(corners, [1.0; 8]),
            id: None,
            hits: 1,
            since: 0,
        }
    }

    /// Moves the track to the next frame.
    pub(super) fn predict(&mut self) {
        self.filter.predict(&MOTION);
        self.since += 1;
    }

    /// Corrects the track by the box that it was matched with.
    pub(super) fn hit(&mut self, corners: &[f64; 4]) {
        self.filter.update_joseph(corners, &MEASUREMENT);
        self.since = 0;
        self.hits += 1;
    }

    /// Corners of the box where the track is now.
    pub(super) fn corners(&self) -> [f64; 4] {
        let [x1, y1, x2, y2, ..] = self.filter.mean;
        [x1, y1, x2, y2]
    }
}
