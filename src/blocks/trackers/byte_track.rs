//! ByteTrack as `byte_tracker` runs it: confident boxes are matched first, then the tracks that are
//! left with doubtful boxes, so that an object that is half hidden keeps its track (Zhang et al., ECCV
//! 2022, as `supervision` has it; specification 7.1.1).
//!
//! Ids start at 1 and are given when a track becomes active. A lost track stays matchable for one
//! frame more than its time allows. At most [`MAX_LOST`] lost tracks are kept, the newest.

mod order;
mod track;

use order::Leftovers;
use track::{Candidate, State, Track, motion_noise};

use super::association::Matcher;

/// Lost tracks that are remembered at most.
pub const MAX_LOST: usize = 4096;

/// Rows below this confidence are ignored.
const LOW_CONFIDENCE: f64 = 0.1;
/// Limit of cost between tracks and doubtful boxes.
const LOW_LIMIT: f64 = 0.5;
/// Limit of cost between tracks not yet active and boxes.
const UNCONFIRMED_LIMIT: f64 = 0.7;
/// Limit of cost between finished tracks and the rows they are written to.
const ATTACH_LIMIT: f64 = 0.5;
/// A lost and a tracked track closer than this are one object.
const DUPLICATE_DISTANCE: f32 = 0.05;

/// What a tracker is set to, once per video.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Confidence from which a box counts as certain.
    pub activation: f64,
    /// Greatest cost (1 - overlap times confidence) at which a box continues a track.
    pub matching: f64,
    /// Matches in a row after which a track gets its id.
    pub consecutive: i64,
    /// Frames that a lost track is remembered.
    pub patience: i64,
}

/// Tracker of one video.
#[derive(Debug)]
pub struct ByteTrack {
    settings: Settings,
    frame: i64,
    next_id: i64,
    tracks: Vec<Track>,
    /// Places in `tracks` that are not in use.
    free: Vec<usize>,
    /// Places of tracks seen on the last frame.
    tracked: Vec<usize>,
    /// Places of tracks out of sight, lost longest first.
    lost: Vec<usize>,
    work: Work,
}

/// Lists of one frame, kept for their memory.
#[derive(Debug, Default)]
struct Work {
    high: Vec<Candidate>,
    low: Vec<Candidate>,
    pool: Vec<usize>,
    rest: Vec<usize>,
    unconfirmed: Vec<usize>,
    found_again: Vec<usize>,
    /// Places in a list that are left over.
    left: Vec<usize>,
    leftovers: Leftovers,
    /// Candidates in another order.
    reordered: Vec<Candidate>,
    matcher: Matcher,
}

impl Work {
    /// Keeps the tracks in `rest` that found no row, in the order in which the reference goes on with them
    /// if they were `compared` with any.
    fn keep_left(&mut self, compared: bool, unmatched: impl Fn(usize) -> bool) {
        let rest = &self.rest;
        self.left.clear();
        self.left
            .extend((0..rest.len()).filter(|&i| unmatched(rest[i])));
        if compared {
            self.leftovers.order(&mut self.left, rest.len());
        }
        for place in &mut self.left {
            *place = rest[*place];
        }
        std::mem::swap(&mut self.rest, &mut self.left);
    }

    /// Keeps the certain rows that no track wanted, in the same way.
    fn keep_free(&mut self, compared: bool) {
        let rows = &self.high;
        self.left.clear();
        self.left
            .extend((0..rows.len()).filter(|&i| !rows[i].taken));
        if compared {
            self.leftovers.order(&mut self.left, rows.len());
        }
        self.reordered.clear();
        self.reordered.extend(self.left.iter().map(|&i| rows[i]));
        std::mem::swap(&mut self.high, &mut self.reordered);
    }
}

impl ByteTrack {
    /// A tracker that has seen nothing.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            frame: 0,
            next_id: 1,
            tracks: Vec::new(),
            free: Vec::new(),
            tracked: Vec::new(),
            lost: Vec::new(),
            work: Work::default(),
        }
    }

    /// Takes the boxes of the next frame and writes the id of each row (none for rows without a
    /// track) to `ids`. Returns whether any track is active.
    pub fn update(
        &mut self,
        boxes: &[[f64; 4]],
        confidences: &[f64],
        ids: &mut Vec<Option<i64>>,
    ) -> bool {
        self.frame += 1;
        self.read(boxes, confidences);
        self.gather();
        let mut work = std::mem::take(&mut self.work);
        self.match_pool(&mut work);
        self.match_unconfirmed(&mut work);
        self.start_tracks(&work);
        self.work = work;
        self.expire();
        self.settle();
        self.drop_duplicates();
        self.forget();
        self.attach(boxes, ids)
    }

    /// Sorts the rows into certain and doubtful ones.
    fn read(&mut self, boxes: &[[f64; 4]], confidences: &[f64]) {
        let Work { high, low, .. } = &mut self.work;
        high.clear();
        low.clear();
        for (corners, &confidence) in boxes.iter().zip(confidences) {
            let Some(candidate) = Candidate::new(corners, confidence) else {
                continue;
            };
            if confidence >= self.settings.activation {
                high.push(candidate);
            } else if confidence > LOW_CONFIDENCE && confidence < self.settings.activation {
                low.push(candidate);
            }
        }
    }

    /// Parts active from unconfirmed tracks and moves all but the latter to this frame.
    fn gather(&mut self) {
        let Work {
            pool, unconfirmed, ..
        } = &mut self.work;
        pool.clear();
        unconfirmed.clear();
        for &t in &self.tracked {
            if self.tracks[t].active {
                pool.push(t);
            } else {
                unconfirmed.push(t);
            }
        }
        pool.extend(&self.lost);
        for &t in pool.iter() {
            let track = &mut self.tracks[t];
            if track.state != State::Tracked {
                track.filter.mean[7] = 0.0;
            }
            track.filter.predict(&motion_noise(track.filter.mean[3]));
        }
    }

    /// Matches active and lost tracks with certain rows, then what is left of the active ones with
    /// doubtful rows. Active tracks without a row are lost.
    fn match_pool(&mut self, work: &mut Work) {
        let limit = self.settings.matching;
        self.associate(&work.pool, &mut work.high, limit, true, &mut work.matcher);
        work.found_again.clear();
        let found_again = |t: &&usize| {
            let track = &self.tracks[**t];
            track.last_frame == self.frame && track.length == 0
        };
        work.found_again
            .extend(work.pool.iter().filter(found_again));
        let compared = !work.high.is_empty();
        let unmatched = |t: usize| self.tracks[t].last_frame != self.frame;
        work.rest.clear();
        work.rest.extend_from_slice(&work.pool);
        work.keep_left(compared, unmatched);
        let still_tracked = |t: &usize| self.tracks[*t].state == State::Tracked;
        work.rest.retain(still_tracked);
        self.associate(
            &work.rest,
            &mut work.low,
            LOW_LIMIT,
            false,
            &mut work.matcher,
        );
        let compared = !work.low.is_empty();
        let unmatched = |t: usize| self.tracks[t].last_frame != self.frame;
        work.keep_left(compared, unmatched);
        for &t in &work.rest {
            self.tracks[t].state = State::Lost;
        }
    }

    /// Matches tracks not yet active with the certain rows that are left; they get no second chance.
    fn match_unconfirmed(&mut self, work: &mut Work) {
        work.keep_free(!work.pool.is_empty());
        self.associate(
            &work.unconfirmed,
            &mut work.high,
            UNCONFIRMED_LIMIT,
            true,
            &mut work.matcher,
        );
        for &t in &work.unconfirmed {
            if self.tracks[t].last_frame != self.frame {
                self.tracks[t].state = State::Gone;
            }
        }
        work.keep_free(!work.unconfirmed.is_empty());
    }

    /// Starts a track at each certain row that no track wanted.
    fn start_tracks(&mut self, work: &Work) {
        let activation = self.settings.activation;
        let least = if activation + 0.1 > 1.0 {
            activation
        } else {
            activation + 0.1
        };
        for candidate in &work.high {
            if candidate.confidence >= least {
                self.start(candidate);
            }
        }
    }

    /// Matches tracks with candidates and corrects the tracks that found one.
    fn associate(
        &mut self,
        tracks: &[usize],
        candidates: &mut [Candidate],
        limit: f64,
        by_confidence: bool,
        matcher: &mut Matcher,
    ) {
        let all = &self.tracks;
        let rows = candidates.len();
        let cost = |overlap: f32, j: usize| {
            let distance = 1.0 - overlap;
            if by_confidence {
                1.0 - (1.0 - distance) * candidates[j].confidence as f32
            } else {
                distance
            }
        };
        let pairs = matcher.cheapest(
            (tracks.len(), rows),
            limit,
            |i| all[tracks[i]].corners(),
            |j| candidates[j].corners,
            cost,
        );
        for &(i, j) in pairs {
            candidates[j].taken = true;
            let track = &mut self.tracks[tracks[i]];
            track.hit(&candidates[j], self.frame);
            if track.length >= self.settings.consecutive && track.length > 0 {
                track.activate(&mut self.next_id);
            }
        }
    }

    fn start(&mut self, candidate: &Candidate) {
        let mut track = Track::new(candidate, self.frame);
        if self.frame == 1 && self.settings.consecutive <= 1 {
            track.activate(&mut self.next_id);
        }
        let place = match self.free.pop() {
            Some(place) => {
                self.tracks[place] = track;
                place
            }
            None => {
                self.tracks.push(track);
                self.tracks.len() - 1
            }
        };
        self.tracked.push(place);
    }

    /// Marks the lost tracks whose time has run out.
    fn expire(&mut self) {
        for &t in &self.lost {
            let track = &mut self.tracks[t];
            let just_expired = track.expired == self.frame - 1;
            if !just_expired && self.frame - track.last_frame > self.settings.patience {
                track.expired = self.frame;
            }
        }
    }

    /// Brings `tracked` and `lost` up to date. Tracks found again stand behind those that were
    /// never lost and those started on this frame.
    fn settle(&mut self) {
        let (tracks, frame) = (&self.tracks, self.frame);
        self.tracked.retain(|&t| tracks[t].state == State::Tracked);
        self.tracked.extend(&self.work.found_again);
        self.lost.retain(|&t| tracks[t].state != State::Tracked);
        self.lost.extend(&self.work.rest);
        // What expired on the previous frame had this frame as its last chance.
        self.lost.retain(|&t| tracks[t].expired != frame - 1);
        if self.lost.len() > MAX_LOST {
            self.lost.drain(..self.lost.len() - MAX_LOST);
        }
    }

    /// Of a tracked and a lost track in the same place, the one that was followed for a shorter
    /// time goes; on equality the tracked one.
    fn drop_duplicates(&mut self) {
        let (tracks, lost) = (&mut self.tracks, &self.lost);
        let overlaps = self
            .work
            .matcher
            .overlaps(lost.len(), |k| tracks[lost[k]].corners());
        for &a in &self.tracked {
            for (k, overlap) in overlaps.with(tracks[a].corners()) {
                if 1.0 - overlap < DUPLICATE_DISTANCE {
                    let b = lost[k];
                    let shorter = if tracks[a].age() > tracks[b].age() {
                        b
                    } else {
                        a
                    };
                    tracks[shorter].state = State::Gone;
                }
            }
        }
        let tracks = &self.tracks;
        self.tracked.retain(|&t| tracks[t].state != State::Gone);
        self.lost.retain(|&t| tracks[t].state != State::Gone);
    }

    /// Frees the places of tracks that stand in no list.
    fn forget(&mut self) {
        for track in &mut self.tracks {
            track.state = State::Gone;
        }
        for (list, state) in [(&self.tracked, State::Tracked), (&self.lost, State::Lost)] {
            for &t in list {
                self.tracks[t].state = state;
            }
        }
        self.free.clear();
        let gone = self.tracks.iter().enumerate().rev();
        self.free.extend(
            gone.filter(|(_, track)| track.state == State::Gone)
                .map(|(place, _)| place),
        );
    }

    /// Writes the ids of the active tracks to the rows that they lie on.
    fn attach(&mut self, boxes: &[[f64; 4]], ids: &mut Vec<Option<i64>>) -> bool {
        ids.clear();
        ids.resize(boxes.len(), None);
        let Work { pool, matcher, .. } = &mut self.work;
        let tracks = &self.tracks;
        pool.clear();
        pool.extend(self.tracked.iter().filter(|&&t| tracks[t].active));
        let pairs = matcher.cheapest(
            (boxes.len(), pool.len()),
            ATTACH_LIMIT,
            |row| boxes[row],
            |j| tracks[pool[j]].corners(),
            |overlap, _| 1.0 - overlap,
        );
        for &(row, j) in pairs {
            ids[row] = tracks[pool[j]].id;
        }
        !pool.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Settings = Settings {
        activation: 0.25,
        matching: 0.8,
        consecutive: 1,
        patience: 30,
    };

    /// Three boxes of one object (specification 7.1.2).
    #[test]
    fn the_filter_has_the_numbers_of_the_reference() {
        let mut tracker = ByteTrack::new(DEFAULTS);
        let mut ids = Vec::new();
        for corners in [
            [10.0, 20.0, 50.0, 80.0],
            [22.0, 21.0, 62.0, 81.0],
            [35.0, 20.0, 75.0, 82.0],
        ] {
            assert!(tracker.update(&[corners], &[0.9], &mut ids));
            assert_eq!(ids, [Some(1)]);
        }
        let filter = &tracker.tracks[0].filter;
        let mean = [
            52.330980, 51.016397, 0.666048, 61.559111, 6.381195, 0.182641, -6.2e-10, 0.644539,
        ];
        let variances = [
            7.015998,
            7.015998,
            0.000287565,
            7.015998,
            7.198127,
            7.198127,
            3e-10,
            7.198127,
        ];
        for i in 0..8 {
            assert!((filter.mean[i] - mean[i]).abs() < 1e-6, "{i}");
            let variance = filter.covariance[i][i];
            assert!((variance - variances[i]).abs() < 1e-6, "{i}: {variance}");
        }
    }

    #[test]
    fn rows_that_are_no_boxes_are_ignored() {
        let mut tracker = ByteTrack::new(DEFAULTS);
        let mut ids = Vec::new();
        let rows = [
            [0.0, 0.0, 0.0, 9.0],
            [0.0, f64::NAN, 9.0, 9.0],
            [5.0, 5.0, 9.0, 9.0],
        ];
        assert!(tracker.update(&rows, &[0.9; 3], &mut ids));
        assert_eq!(ids, [None, None, Some(1)]);
    }

    #[test]
    fn memory_stays_bounded_and_places_are_used_again() {
        let mut tracker = ByteTrack::new(Settings {
            patience: 1,
            ..DEFAULTS
        });
        let mut ids = Vec::new();
        for frame in 0..200 {
            let x = f64::from(frame) * 100.0;
            tracker.update(&[[x, 0.0, x + 10.0, 10.0]], &[0.9], &mut ids);
        }
        assert!(tracker.tracks.len() < 8, "{}", tracker.tracks.len());
    }

    #[test]
    fn of_a_tracked_and_a_lost_track_in_one_place_the_one_followed_longer_stays() {
        let (place, far) = ([10.0, 10.0, 50.0, 90.0], [200.0, 10.0, 240.0, 90.0]);
        // Frame from which on the track far away counts as followed, and how many are left of each list.
        for (first_frame, left) in [(0, (1, 0)), (2, (0, 1)), (3, (0, 1))] {
            let mut tracker = ByteTrack::new(DEFAULTS);
            let mut ids = Vec::new();
            tracker.update(&[place], &[0.9], &mut ids);
            tracker.update(&[place, far], &[0.9, 0.9], &mut ids);
            tracker.update(&[far], &[0.9], &mut ids);
            assert_eq!((tracker.tracked.len(), tracker.lost.len()), (1, 1));
            let (tracked, lost) = (tracker.tracked[0], tracker.lost[0]);
            tracker.drop_duplicates();
            assert_eq!((tracker.tracked.len(), tracker.lost.len()), (1, 1));
            tracker.tracks[tracked].filter.mean = tracker.tracks[lost].filter.mean;
            tracker.tracks[tracked].first_frame = first_frame;
            tracker.drop_duplicates();
            assert_eq!(
                (tracker.tracked.len(), tracker.lost.len()),
                left,
                "{first_frame}"
            );
        }
    }
}
