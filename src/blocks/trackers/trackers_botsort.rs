//! Follows boxes by BoT-SORT (Aharon et al., 2022): certain boxes first, doubtful ones second, with noise
//! that grows with the box and, if asked for, with the motion of the camera taken out.
//!
//! # Inputs and outputs
//! `detections` of one frame of the video of `image` → `tracked_detections`: the rows of tracks that
//! have been matched `minimum_consecutive_frames` times; `new_instances` and `already_seen_instances`
//! part them. Pixels are looked at only with `enable_cmc`.
//!
//! # State
//! Per video one tracker with the parameters of its first frame, the ids seen, and with `enable_cmc` a
//! small gray picture of the last frame. A lost track is dropped after `lost_track_buffer` frames (at
//! 30 a second), or if it is the oldest of more than `MAX_LOST`.
//!
//! # Edge cases
//! Boxes without confidence count as certain; boxes of 0.1 and below are ignored. A frame without
//! tracks and rows counts as a frame.
//!
//! # Parity
//! `video_trackers_botsort_*`, `video_trackers_empty_frames`, specification 7.6.

use super::association::{Kalman, Matcher};
use super::camera_motion::{Affine, CameraMotion};
use super::tracking::{
    self, FLAG, Frame, Ids, NUMBER, Rate, SHARE, Tracker, TrackerBlock, bound_lost,
};
use crate::blocks::{BlockError, BlockSpec, Field, Inputs, Ty};

/// `roboflow_core/trackers_botsort@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/trackers_botsort@v1"],
    name: "BoT-SORT Tracker",
    about: "Follows boxes from frame to frame by BoT-SORT and gives them track ids.",
    fields: &[
        tracking::IMAGE,
        tracking::DETECTIONS,
        Field::optional("minimum_iou_threshold_first_assoc", SHARE, "0.2")
            .about("Least overlap times confidence at which a certain box continues a track.")
            .always_visible(),
        Field::optional("minimum_iou_threshold_second_assoc", SHARE, "0.5")
            .about("Least overlap at which a doubtful box continues a track.")
            .always_visible(),
        Field::optional("minimum_iou_threshold_unconfirmed_assoc", SHARE, "0.3")
            .about("Least overlap times confidence at which a box continues a new track.")
            .always_visible(),
        tracking::consecutive("2"),
        tracking::BUFFER,
        tracking::activation("0.7"),
        tracking::HIGH_CONFIDENCE,
        Field::optional("enable_cmc", FLAG, "false")
            .about("Whether the motion of the camera is taken out."),
        Field::optional(
            "cmc_method",
            &[Ty::OneOf(&["orb", "sift", "sparseOptFlow", "ecc"])],
            r#""sparseOptFlow""#,
        )
        .about("How the motion of the camera is found."),
        Field::optional("cmc_downscale", NUMBER, "2")
            .about("Factor by which the picture is reduced for that."),
        Field::optional("instant_first_frame_activation", FLAG, "false")
            .about("Whether tracks of the first frame have ids at once."),
        tracking::CACHE,
    ],
    build: |_, _| Ok(TrackerBlock::<BotSort>::boxed()),
    ..tracking::MODEL
};

/// Rows at or below this confidence are ignored.
const LOW_CONFIDENCE: f64 = 0.1;

struct BotSort {
    limits: Limits,
    consecutive: i64,
    activation: f64,
    certain: f64,
    patience: i64,
    instant: bool,
    camera: Option<CameraMotion>,
    frame: i64,
    ids: Ids,
    tracks: Vec<Track>,
    work: Work,
}

/// Least similarity of the three associations.
#[derive(Clone, Copy)]
struct Limits {
    first: f32,
    second: f32,
    unconfirmed: f32,
}

/// Lists of one frame, kept for their memory.
#[derive(Default)]
struct Work {
    matcher: Matcher,
    high: Vec<usize>,
    low: Vec<usize>,
    pool: Vec<usize>,
    unconfirmed: Vec<usize>,
    taken: Vec<bool>,
}

/// One frame while its rows are matched.
struct Round<'a> {
    frame: &'a Frame<'a>,
    matcher: &'a mut Matcher,
    /// Whether a row has been matched.
    taken: &'a mut Vec<bool>,
    reported: &'a mut Vec<(usize, i64)>,
}

/// One track: a filter over centre, width and height.
struct Track {
    filter: Kalman<8>,
    id: Option<i64>,
    hits: i64,
    since: i64,
    gone: bool,
}

impl Tracker for BotSort {
    fn new(inputs: &Inputs<'_>, rate: Rate) -> Result<Self, BlockError> {
        let share = |field: &str| inputs.float(field).map(|limit| limit as f32);
        let camera = if inputs.flag("enable_cmc")? {
            let downscale = inputs.int("cmc_downscale")?;
            Some(CameraMotion::new(inputs.text("cmc_method")?, downscale)?)
        } else {
            None
        };
        Ok(Self {
            limits: Limits {
                first: share("minimum_iou_threshold_first_assoc")?,
                second: share("minimum_iou_threshold_second_assoc")?,
                unconfirmed: share("minimum_iou_threshold_unconfirmed_assoc")?,
            },
            consecutive: inputs.int("minimum_consecutive_frames")?,
            activation: inputs.float("track_activation_threshold")?,
            certain: inputs.float("high_conf_det_threshold")?,
            patience: rate.frames(inputs.int("lost_track_buffer")?),
            instant: inputs.flag("instant_first_frame_activation")?,
            camera,
            frame: 0,
            ids: Ids::default(),
            tracks: Vec::new(),
            work: Work::default(),
        })
    }

    fn update(&mut self, frame: &Frame<'_>, reported: &mut Vec<(usize, i64)>) {
        self.frame += 1;
        self.tracks.iter_mut().for_each(Track::predict);
        let mut work = std::mem::take(&mut self.work);
        work.sort_rows(frame, self.certain);
        self.compensate(frame, &work);
        self.sort_tracks(&mut work);
        self.match_all(frame, &mut work, reported);
        self.start_tracks(frame, &work.high, reported);
        self.work = work;
        let (patience, consecutive) = (self.patience, self.consecutive);
        self.tracks
            .retain(|t| !t.gone && t.since < patience && (t.hits >= consecutive || t.since == 0));
        bound_lost(&mut self.tracks, |t| t.since);
    }
}

impl Work {
    /// Sorts the rows into certain and doubtful ones.
    fn sort_rows(&mut self, frame: &Frame<'_>, certain: f64) {
        self.high.clear();
        self.low.clear();
        self.taken.clear();
        self.taken.resize(frame.boxes.len(), false);
        for row in 0..frame.boxes.len() {
            let confidence = frame.confidence(row, 1.0);
            if confidence >= certain {
                self.high.push(row);
            } else if confidence > LOW_CONFIDENCE {
                self.low.push(row);
            }
        }
    }
}

impl BotSort {
    /// Moves the tracks as the camera has moved since the last frame.
    fn compensate(&mut self, frame: &Frame<'_>, work: &Work) {
        if let Some(camera) = &mut self.camera {
            let boxes = work.high.iter().map(|&row| frame.boxes[row]);
            let motion = camera.follow(frame.image, boxes);
            for track in &mut self.tracks {
                track.moved_by(&motion);
            }
        }
    }

    /// Parts the tracks: confirmed ones, then lost ones, in `pool`; the others unconfirmed.
    fn sort_tracks(&self, work: &mut Work) {
        work.pool.clear();
        work.unconfirmed.clear();
        let lost = |t: &Track| t.since > 1;
        for (i, track) in self.tracks.iter().enumerate() {
            if !lost(track) && track.hits >= self.consecutive {
                work.pool.push(i);
            } else if !lost(track) {
                work.unconfirmed.push(i);
            }
        }
        let all = self.tracks.iter().enumerate();
        work.pool
            .extend(all.filter(|(_, t)| lost(t)).map(|(i, _)| i));
    }

    fn match_all(&mut self, frame: &Frame<'_>, work: &mut Work, reported: &mut Vec<(usize, i64)>) {
        let mut round = Round {
            frame,
            matcher: &mut work.matcher,
            taken: &mut work.taken,
            reported,
        };
        let limits = self.limits;
        self.associate(&mut round, &work.pool, &work.high, limits.first, true);
        // Of the tracks left over, only those seen on the last frame take a doubtful box.
        work.pool.retain(|&t| self.tracks[t].since == 1);
        self.associate(&mut round, &work.pool, &work.low, limits.second, false);
        work.high.retain(|&row| !round.taken[row]);
        let unconfirmed = &work.unconfirmed;
        self.associate(
            &mut round,
            unconfirmed,
            &work.high,
            limits.unconfirmed,
            true,
        );
        for &t in unconfirmed {
            self.tracks[t].gone = self.tracks[t].since > 0;
        }
        work.high.retain(|&row| !round.taken[row]);
    }

    /// Matches tracks with rows by overlap (times confidence) and corrects those that found one.
    fn associate(
        &mut self,
        round: &mut Round<'_>,
        tracks: &[usize],
        rows: &[usize],
        least: f32,
        by_confidence: bool,
    ) {
        let (all, frame) = (&self.tracks, round.frame);
        let similarity = |overlap: f32, j: usize| {
            if by_confidence {
                overlap * frame.confidence(rows[j], 1.0) as f32
            } else {
                overlap
            }
        };
        let pairs = round.matcher.most_similar(
            (tracks.len(), rows.len()),
            least,
            |i| all[tracks[i]].corners(),
            |j| frame.boxes[rows[j]],
            similarity,
        );
        for &(i, j) in pairs {
            let (track, row) = (&mut self.tracks[tracks[i]], rows[j]);
            track.hit(&frame.boxes[row]);
            round.taken[row] = true;
            if track.hits >= self.consecutive {
                self.ids.of(&mut track.id);
            }
            round.reported.extend(track.id.map(|id| (row, id)));
        }
    }

    /// Starts a track at each certain row that no track wanted.
    fn start_tracks(
        &mut self,
        frame: &Frame<'_>,
        rows: &[usize],
        reported: &mut Vec<(usize, i64)>,
    ) {
        for &row in rows {
            if frame.confidence(row, 1.0) < self.activation {
                continue;
            }
            let mut track = Track::new(&frame.boxes[row]);
            if self.frame == 1 && self.instant {
                reported.push((row, self.ids.of(&mut track.id)));
            }
            self.tracks.push(track);
        }
    }
}

/// Least width and height of a track.
const LEAST_SIZE: f64 = 1e-3;

impl Track {
    fn new(corners: &[f64; 4]) -> Self {
        let measurement = measure(corners);
        let [_, _, w, h] = measurement;
        let deviations = [
            0.1 * w,
            0.1 * h,
            0.1 * w,
            0.1 * h,
            0.0625 * w,
            0.0625 * h,
            0.0625 * w,
            0.0625 * h,
        ];
        Self {
            filter: Kalman::new(measurement, deviations.map(|d| d * d)),
            id: None,
            hits: 1,
            since: 0,
            gone: false,
        }
    }

    /// Width and height now.
    fn size(&self) -> (f64, f64) {
        let [_, _, w, h, ..] = self.filter.mean;
        (w.max(LEAST_SIZE), h.max(LEAST_SIZE))
    }

    fn keep_size(&mut self) {
        for side in &mut self.filter.mean[2..4] {
            *side = side.max(LEAST_SIZE);
        }
    }

    fn predict(&mut self) {
        let (w, h) = self.size();
        let (place, speed) = (0.05, 0.00625);
        let deviations = [
            place * w,
            place * h,
            place * w,
            place * h,
            speed * w,
            speed * h,
            speed * w,
            speed * h,
        ];
        self.filter.predict(&deviations.map(|d| d * d));
        self.keep_size();
        self.since += 1;
    }

    fn hit(&mut self, corners: &[f64; 4]) {
        let (w, h) = self.size();
        let deviations = [0.05 * w, 0.05 * h, 0.05 * w, 0.05 * h];
        self.filter
            .update_joseph(&measure(corners), &deviations.map(|d| d * d));
        self.keep_size();
        self.since = 0;
        self.hits += 1;
    }

    /// Moves the track as the picture has moved; its size stays.
    fn moved_by(&mut self, motion: &Affine) {
        let [x, y, _, _, vx, vy, ..] = self.filter.mean;
        let ([x, y], [vx, vy]) = (motion.point([x, y]), motion.turn([vx, vy]));
        self.filter.mean[0] = x;
        self.filter.mean[1] = y;
        self.filter.mean[4] = vx;
        self.filter.mean[5] = vy;
        // P = A P A', where A turns place and velocity and leaves the rest.
        let covariance = &mut self.filter.covariance;
        for first in [0, 4] {
            let (x, y) = (covariance[first], covariance[first + 1]);
            covariance[first] = std::array::from_fn(|c| motion.turn([x[c], y[c]])[0]);
            covariance[first + 1] = std::array::from_fn(|c| motion.turn([x[c], y[c]])[1]);
        }
        for row in covariance {
            for first in [0, 4] {
                [row[first], row[first + 1]] = motion.turn([row[first], row[first + 1]]);
            }
        }
    }

    fn corners(&self) -> [f64; 4] {
        let [x, y, w, h, ..] = self.filter.mean;
        [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0]
    }
}

/// Centre, width and height.
fn measure([x1, y1, x2, y2]: &[f64; 4]) -> [f64; 4] {
    let (w, h) = (x2 - x1, y2 - y1);
    [x1 + w / 2.0, y1 + h / 2.0, w, h]
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

    /// Three boxes of one object (specification 7.8).
    #[test]
    fn the_filter_has_the_numbers_of_the_reference() {
        let mut track = Track::new(&[10.0, 20.0, 50.0, 80.0]);
        for corners in [[22.0, 21.0, 62.0, 81.0], [35.0, 20.0, 75.0, 82.0]] {
            track.predict();
            track.hit(&corners);
        }
        let mean = [
            52.33098, 51.016397, 40.0, 61.559111, 6.381195, 0.182641, 0.0, 0.644539,
        ];
        for (got, want) in track.filter.mean.iter().zip(mean) {
            assert!((got - want).abs() < 1e-5, "{got} is not {want}");
        }
    }

    #[test]
    fn a_moving_camera_moves_the_tracks() {
        let mut track = Track::new(&[10.0, 20.0, 50.0, 80.0]);
        track.filter.mean[4] = 2.0;
        track.filter.covariance[0][0] = 9.0;
        // A quarter turn and a shift.
        track.moved_by(&Affine([[0.0, -1.0, 5.0], [1.0, 0.0, 7.0]]));
        assert_eq!(track.filter.mean[..6], [-45.0, 37.0, 40.0, 60.0, 0.0, 2.0]);
        assert_eq!(track.filter.covariance[1][1], 9.0);
    }
}
