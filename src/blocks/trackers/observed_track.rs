//! A track as OC-SORT keeps it: a filter over centre, area and aspect of the box, the boxes that were
//! observed, the direction of motion, and the filter as it was before the object went out of sight.

use std::collections::VecDeque;

use super::association::Kalman;

const MOTION: [f64; 7] = [1.0, 1.0, 1.0, 1.0, 0.01, 0.01, 0.0001];
const MEASUREMENT: [f64; 4] = [1.0, 1.0, 10.0, 10.0];
const FIRST: [f64; 7] = [10.0, 10.0, 10.0, 10.0, 1e4, 1e4, 1e4];

/// Observed boxes kept per track, however far back the direction is taken from.
const MAX_HISTORY: usize = 1024;

/// One track.
#[derive(Clone, Debug)]
pub(super) struct ObservedTrack {
    filter: Kalman<7>,
    /// Its id, once it has proved itself.
    pub(super) id: Option<i64>,
    /// Matches in a row.
    pub(super) streak: i64,
    /// Frames since the last match.
    pub(super) since: i64,
    age: i64,
    last: [f64; 4],
    /// Boxes by the age at which they were matched, but for the first.
    history: VecDeque<(i64, [f64; 4])>,
    direction: Option<[f64; 2]>,
    /// The filter before the first frame that missed the object.
    frozen: Option<Kalman<7>>,
}

impl ObservedTrack {
    /// A track at its first box.
    pub(super) fn new(corners: [f64; 4]) -> Self {
        Self {
            filter: Kalman::new(measure(&corners), FIRST),
            id: None,
            streak: 0,
            since: 0,
            age: 0,
            last: corners,
            history: VecDeque::new(),
            direction: None,
            frozen: None,
        }
    }

    /// Box on which the object was last seen.
    pub(super) fn last(&self) -> &[f64; 4] {
        &self.last
    }

    /// Moves the track to the next frame.
    pub(super) fn predict(&mut self) {
        if self.since > 0 {
            self.streak = 0;
            if self.frozen.is_none() {
                self.frozen = Some(self.filter.clone());
            }
        }
        let [_, _, area, _, _, _, growth] = self.filter.mean;
        if area + growth <= 0.0 {
            self.filter.mean[6] = 0.0;
        }
        self.filter.predict(&MOTION);
        self.age += 1;
        self.since += 1;
    }

    /// The box observed `delta_t` frames ago, or the oldest one since, or else the newest.
    fn before(&self, delta_t: i64) -> Option<&[f64; 4]> {
        let from = self.age - delta_t.max(0);
        self.history
            .iter()
            .find(|(age, _)| *age >= from)
            .or(self.history.back())
            .map(|(_, corners)| corners)
    }

    /// How well the way to a box agrees with the track's direction: from -1/2 to 1/2.
    pub(super) fn direction_score(&self, corners: &[f64; 4], delta_t: i64) -> f32 {
        let Some(direction) = self.direction else {
            return 0.0;
        };
        let way = way(self.before(delta_t).unwrap_or(&self.last), corners);
        let cosine = (way[0] * direction[0] + way[1] * direction[1]).clamp(-1.0, 1.0);
        let right = std::f64::consts::FRAC_PI_2;
        ((right - cosine.acos()) / std::f64::consts::PI) as f32
    }

    /// Corrects the track by the box that it was matched with.
    pub(super) fn hit(&mut self, corners: &[f64; 4], delta_t: i64) {
        if let Some(before) = self.before(delta_t) {
            self.direction = Some(way(before, corners));
        }
        if let Some(frozen) = self.frozen.take() {
            self.filter = frozen;
            self.replay(corners);
        }
        self.filter.update_joseph(&measure(corners), &MEASUREMENT);
        self.streak += 1;
        self.since = 0;
        self.last = *corners;
        // From the next frame on no older box but the newest can be asked for.
        let keep = usize::try_from(delta_t).unwrap_or(0).clamp(1, MAX_HISTORY);
        self.history.push_back((self.age, *corners));
        if self.history.len() > keep {
            self.history.pop_front();
        }
    }

    /// Runs the filter over the gap as if the object had moved straight and steadily.
    fn replay(&mut self, corners: &[f64; 4]) {
        let (from, to) = (size(&self.last), size(corners));
        for i in 1..=self.since {
            let share = i as f64 / self.since as f64;
            let [x, y, w, h] = [0, 1, 2, 3].map(|k| from[k] + share * (to[k] - from[k]));
            self.filter
                .update_joseph(&[x, y, w * h, w / h], &MEASUREMENT);
            if i < self.since {
                self.filter.predict(&MOTION);
            }
        }
    }

    /// Corners of the box where the track is now.
    pub(super) fn corners(&self) -> [f64; 4] {
        let [x, y, area, aspect, ..] = self.filter.mean;
        let w = (area * aspect).sqrt();
        let h = area / w;
        [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0]
    }
}

/// Centre, area, and width divided by height.
fn measure([x1, y1, x2, y2]: &[f64; 4]) -> [f64; 4] {
    let (w, h) = (x2 - x1, y2 - y1);
    [x1 + w / 2.0, y1 + h / 2.0, w * h, w / (h + 1e-6)]
}

/// Centre, width and height, by way of area and aspect as the reference takes them.
fn size(corners: &[f64; 4]) -> [f64; 4] {
    let [x, y, area, aspect] = measure(corners);
    [x, y, (area * aspect).sqrt(), (area / aspect).sqrt()]
}

/// Direction from the centre of one box to that of another.
fn way(from: &[f64; 4], to: &[f64; 4]) -> [f64; 2] {
    let centre = |b: &[f64; 4]| [(b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0];
    let (a, b) = (centre(from), centre(to));
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let norm = (dx * dx + dy * dy).sqrt() + 1e-6;
    [dx / norm, dy / norm]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three boxes of one object (specification 7.8).
    #[test]
    fn the_filter_has_the_numbers_of_the_reference() {
        let mut track = ObservedTrack::new([10.0, 20.0, 50.0, 80.0]);
        let steps = [
            (
                [22.0, 21.0, 62.0, 81.0],
                [
                    41.998801, 50.9999, 2400.0, 0.666667, 11.985617, 0.998801, 0.0,
                ],
            ),
            (
                [35.0, 20.0, 75.0, 82.0],
                [
                    54.940236,
                    51.058771,
                    2467.076806,
                    0.658405,
                    12.762219,
                    0.235107,
                    39.978077,
                ],
            ),
        ];
        for (corners, mean) in steps {
            track.predict();
            track.hit(&corners, 3);
            for (got, want) in track.filter.mean.iter().zip(mean) {
                assert!((got - want).abs() < 1e-4, "{got} is not {want}");
            }
        }
    }

    #[test]
    fn the_direction_is_taken_from_the_box_delta_t_frames_ago() {
        let mut track = ObservedTrack::new([0.0, 0.0, 10.0, 10.0]);
        for i in 1..=5 {
            let x = 10.0 * f64::from(i);
            track.predict();
            track.hit(&[x, 0.0, x + 10.0, 10.0], 3);
        }
        track.predict();
        assert_eq!(track.before(3), Some(&[30.0, 0.0, 40.0, 10.0]));
        let ahead = track.direction_score(&[60.0, 0.0, 70.0, 10.0], 3);
        let back = track.direction_score(&[0.0, 0.0, 10.0, 10.0], 3);
        assert!((ahead - 0.5).abs() < 1e-3 && (back + 0.5).abs() < 1e-3);
        assert!(track.history.len() <= 3);
    }
}
