//! A track of ByteTrack, and a row that may continue it.

use crate::blocks::trackers::association::Kalman;

/// Where a track stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Tracked,
    Lost,
    Gone,
}

/// One track.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) filter: Kalman<8>,
    pub(super) state: State,
    pub(super) active: bool,
    pub(super) id: Option<i64>,
    /// Matches since the start or since the track was found again.
    pub(super) length: i64,
    pub(super) first_frame: i64,
    pub(super) last_frame: i64,
    /// Frame on which the track's time ran out last.
    pub(super) expired: i64,
}

/// A row that takes part in the matching.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) corners: [f64; 4],
    /// Centre, width divided by height, height.
    pub(super) measurement: [f64; 4],
    pub(super) confidence: f64,
    pub(super) taken: bool,
}

impl Track {
    /// A track at its first box.
    pub(super) fn new(candidate: &Candidate, frame: i64) -> Self {
        let h = candidate.measurement[3];
        let deviations = [
            h / 10.0,
            h / 10.0,
            1e-2,
            h / 10.0,
            h / 16.0,
            h / 16.0,
            1e-5,
            h / 16.0,
        ];
        Self {
            filter: Kalman::new(candidate.measurement, deviations.map(|d| d * d)),
            state: State::Tracked,
            active: false,
            id: None,
            length: 1,
            first_frame: frame,
            last_frame: frame,
            expired: -1,
        }
    }

    /// Corrects the track by the box that it was matched with.
    pub(super) fn hit(&mut self, candidate: &Candidate, frame: i64) {
        let h = self.filter.mean[3];
        let deviations = [h / 20.0, h / 20.0, 1e-1, h / 20.0];
        self.filter
            .update(&candidate.measurement, &deviations.map(|d| d * d));
        self.length = match self.state {
            State::Tracked => self.length + 1,
            State::Lost | State::Gone => 0,
        };
        self.state = State::Tracked;
        self.last_frame = frame;
    }

    /// Makes the track count; it gets its id now if it has none.
    pub(super) fn activate(&mut self, next_id: &mut i64) {
        self.active = true;
        if self.id.is_none() {
            self.id = Some(*next_id);
            *next_id += 1;
        }
    }

    /// Frames for which the track was followed.
    pub(super) fn age(&self) -> i64 {
        self.last_frame - self.first_frame
    }

    /// Corners of the box where the track is now.
    pub(super) fn corners(&self) -> [f64; 4] {
        let [x, y, aspect, h, ..] = self.filter.mean;
        let (left, top) = (x - aspect * h / 2.0, y - h / 2.0);
        [left, top, left + aspect * h, top + h]
    }
}

impl Candidate {
    /// The row, unless its box is empty or no box at all. Measured in 32 bits as in the reference.
    pub(super) fn new(corners: &[f64; 4], confidence: f64) -> Option<Self> {
        let [x1, y1, x2, y2] = *corners;
        let usable = corners.iter().all(|c| c.is_finite()) && x2 - x1 > 0.0 && y2 - y1 > 0.0;
        if !usable {
            return None;
        }
        let (x, y, w, h) = (x1 as f32, y1 as f32, (x2 - x1) as f32, (y2 - y1) as f32);
        Some(Self {
            corners: [x, y, x + w, y + h].map(f64::from),
            measurement: [x + w / 2.0, y + h / 2.0, w / h, h].map(f64::from),
            confidence,
            taken: false,
        })
    }
}

/// Variances by which the state grows uncertain in one frame, for a box of this height.
pub(super) fn motion_noise(h: f64) -> [f64; 8] {
    let (place, speed) = (h / 20.0, h / 160.0);
    [place, place, 1e-2, place, speed, speed, 1e-5, speed].map(|d| d * d)
}
