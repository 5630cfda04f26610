//! Votes on the classes of tracked objects, as `track_class_lock` counts them (specification 8.2).
//!
//! A track collects votes until one class leads by enough and is settled. From then on only an unbroken
//! run of votes for one other class, its challenger, settles that one instead. Tracks, classes per track
//! and tracks to inherit from are bounded as in the reference.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use indexmap::IndexMap;

use crate::geometry::overlap::iou_in_full;

/// Tracks remembered per video.
pub const MAX_TRACKS: usize = 4096;
/// Classes that one track may have votes for.
const MAX_CLASSES: usize = 256;
/// Vanished tracks that a new id may take over from.
const MAX_CANDIDATES: usize = 256;

/// The parameters of one frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) min_votes: i64,
    pub(super) vote_confidence: f64,
    pub(super) lead_margin: i64,
    pub(super) switch_after: i64,
    pub(super) ttl: i64,
    pub(super) window: i64,
    pub(super) overlap: f64,
}

/// The settled class of a track.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) name: Arc<str>,
    pub(super) id: Option<i64>,
    pub(super) confidence: f64,
}

/// All tracks of one video.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    frame: i64,
    records: IndexMap<i64, Record>,
    /// Vanished tracks whose record may be inherited on this frame.
    candidates: Vec<i64>,
}

/// What is known of one track.
#[derive(Debug)]
pub(super) struct Record {
    last_frame: i64,
    last_box: [f64; 4],
    votes: IndexMap<Arc<str>, Votes>,
    class_ids: HashMap<Arc<str>, i64>,
    locked: Option<Arc<str>>,
    challenger: Option<(Arc<str>, Votes)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Votes {
    count: i64,
    confidence: f64,
}

impl Tracks {
    /// Begins a frame with these track ids.
    pub(super) fn begin(&mut self, ids: &[i64], rules: &Rules) {
        self.frame += 1;
        self.candidates.clear();
        if rules.window == 0 {
            return;
        }
        let frame = self.frame;
        let present: HashSet<i64> = ids.iter().copied().collect();
        let waiting = self.records.iter().filter(|(id, record)| {
            let gap = frame - record.last_frame;
            record.locked.is_some() && gap >= 1 && gap <= rules.window && !present.contains(id)
        });
        self.candidates.extend(waiting.map(|(id, _)| *id));
        if self.candidates.len() > MAX_CANDIDATES {
            let records = &self.records;
            self.candidates.sort_by_key(|id| -records[id].last_frame);
            self.candidates.truncate(MAX_CANDIDATES);
        }
    }

    /// The record of a track, inherited or made if there is none; it is noted as seen here and now.
    pub(super) fn record(&mut self, id: i64, corners: &[f64; 4], rules: &Rules) -> &mut Record {
        if !self.records.contains_key(&id) {
            let record = self.inherited(corners, rules).unwrap_or_else(Record::new);
            self.records.insert(id, record);
        }
        let record = &mut self.records[&id];
        record.last_frame = self.frame;
        record.last_box = *corners;
        record
    }

    /// The record of the vanished track that overlaps most, taken from it.
    fn inherited(&mut self, corners: &[f64; 4], rules: &Rules) -> Option<Record> {
        let mut best: Option<(usize, f64)> = None;
        for (place, id) in self.candidates.iter().enumerate() {
            let overlap = iou_in_full(corners, &self.records[id].last_box);
            if overlap > best.map_or(0.0, |(_, most)| most) {
                best = Some((place, overlap));
            }
        }
        let (place, _) = best.filter(|(_, overlap)| *overlap >= rules.overlap)?;
        let id = self.candidates.remove(place);
        self.records.shift_remove(&id)
    }

    /// Ends a frame: forgets tracks that are gone for long.
    pub(super) fn end(&mut self, rules: &Rules) {
        let frame = self.frame;
        self.records
            .retain(|_, record| frame - record.last_frame <= rules.ttl);
        self.bound();
    }

    /// Forgets the tracks seen longest ago, of several those recorded first, if there are more than
    /// [`MAX_TRACKS`].
    fn bound(&mut self) {
        let Some(last) = self.records.len().checked_sub(MAX_TRACKS + 1) else {
            return;
        };
        let by_age = |(place, record): (usize, &Record)| (record.last_frame, place);
        let mut ages: Vec<_> = self.records.values().enumerate().map(by_age).collect();
        let (_, &mut oldest, _) = ages.select_nth_unstable(last);
        let mut places = 0..;
        self.records.retain(|_, record| {
            places
                .next()
                .is_some_and(|i| (record.last_frame, i) > oldest)
        });
    }
}

impl Record {
    fn new() -> Self {
        Self {
            last_frame: 0,
            last_box: [0.0; 4],
            votes: IndexMap::new(),
            class_ids: HashMap::new(),
            locked: None,
            challenger: None,
        }
    }

    /// Takes in a box of this class.
    pub(super) fn vote(
        &mut self,
        class: &Arc<str>,
        class_id: Option<i64>,
        confidence: f64,
        rules: &Rules,
    ) {
        let counts = confidence >= rules.vote_confidence;
        match &self.locked {
            None => {
                if counts {
                    self.support(class, class_id, confidence);
                }
                // On every row, as the rules may have changed since the last vote.
                self.settle(rules);
            }
            Some(locked) if counts && locked != class => {
                self.challenge(class, class_id, confidence, rules);
            }
            Some(_) => self.challenger = None,
        }
    }

    fn support(&mut self, class: &Arc<str>, class_id: Option<i64>, confidence: f64) {
        if self.votes.len() >= MAX_CLASSES && !self.votes.contains_key(class) {
            return;
        }
        let votes = self.votes.entry(class.clone()).or_default();
        votes.count += 1;
        votes.confidence += confidence;
        self.note_id(class, class_id);
    }

    /// Settles the class with the most votes, of several the first, if it leads by enough.
    fn settle(&mut self, rules: &Rules) {
        let mut leader: Option<(&Arc<str>, i64)> = None;
        let mut second = 0;
        for (name, votes) in &self.votes {
            match leader {
                Some((_, most)) if votes.count <= most => second = second.max(votes.count),
                _ => {
                    second = leader.map_or(0, |(_, most)| most);
                    leader = Some((name, votes.count));
                }
            }
        }
        if let Some((name, most)) = leader
            && most >= rules.min_votes
            && most - second >= rules.lead_margin
        {
            self.locked = Some(name.clone());
        }
    }

    fn challenge(
        &mut self,
        class: &Arc<str>,
        class_id: Option<i64>,
        confidence: f64,
        rules: &Rules,
    ) {
        let known = self.challenger.take().filter(|(name, _)| name == class);
        let mut streak = match known {
            Some((_, streak)) => streak,
            None => {
                self.note_id(class, class_id);
                Votes::default()
            }
        };
        streak.count += 1;
        streak.confidence += confidence;
        if streak.count >= rules.switch_after {
            self.locked = Some(class.clone());
            self.votes.clear();
            self.votes.insert(class.clone(), streak);
        } else {
            self.challenger = Some((class.clone(), streak));
        }
    }

    /// Remembers the number of a class; if there are too many, those of classes that no longer count
    /// are forgotten.
    fn note_id(&mut self, class: &Arc<str>, class_id: Option<i64>) {
        let Some(class_id) = class_id else { return };
        if self.class_ids.len() >= MAX_CLASSES && !self.class_ids.contains_key(class) {
            let (votes, locked) = (&self.votes, &self.locked);
            self.class_ids
                .retain(|name, _| votes.contains_key(name) || locked.as_ref() == Some(name));
        }
        self.class_ids.insert(class.clone(), class_id);
    }

    /// The settled class, if there is one.
    pub(super) fn settled(&self) -> Option<Settled> {
        let name = self.locked.as_ref()?;
        let votes = self.votes.get(name).copied().unwrap_or_default();
        Some(Settled {
            name: name.clone(),
            id: self.class_ids.get(name).copied(),
            confidence: (votes.confidence / votes.count.max(1) as f64).min(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        min_votes: 2,
        vote_confidence: 0.8,
        lead_margin: 0,
        switch_after: 2,
        ttl: 10_000,
        window: 10,
        overlap: 0.3,
    };

    fn name(i: usize) -> Arc<str> {
        format!("c{i}").into()
    }

    #[test]
    fn a_vote_that_suffices_only_now_settles_without_another() {
        let mut record = Record::new();
        record.vote(&name(1), Some(1), 0.9, &RULES);
        record.vote(&name(2), Some(2), 0.5, &RULES);
        assert!(record.settled().is_none());
        let lenient = Rules {
            min_votes: 1,
            ..RULES
        };
        record.vote(&name(2), Some(2), 0.5, &lenient);
        assert_eq!(record.settled().map(|s| s.id), Some(Some(1)));
    }

    #[test]
    fn a_challenger_has_the_number_of_its_first_vote() {
        let mut record = Record::new();
        (0..2).for_each(|_| record.vote(&name(1), Some(1), 0.9, &RULES));
        record.vote(&name(2), Some(2), 0.9, &RULES);
        record.vote(&name(2), Some(3), 0.9, &RULES);
        assert_eq!(record.settled().map(|s| s.id), Some(Some(2)));
    }

    #[test]
    fn numbers_of_passing_challengers_are_forgotten_first() {
        let mut record = Record::new();
        (0..2).for_each(|_| record.vote(&name(0), Some(0), 0.9, &RULES));
        for i in 1..2 * MAX_CLASSES {
            record.vote(&name(i), Some(i as i64), 0.9, &RULES);
            assert!(record.class_ids.len() <= MAX_CLASSES);
        }
        let last = 2 * MAX_CLASSES - 1;
        assert_eq!(record.settled().map(|s| s.id), Some(Some(0)));
        record.vote(&name(last), Some(-1), 0.9, &RULES);
        assert_eq!(record.settled().map(|s| s.id), Some(Some(last as i64)));
    }

    #[test]
    fn of_tracks_seen_together_those_recorded_first_are_forgotten() {
        let mut tracks = Tracks::default();
        let ids: Vec<i64> = (0..MAX_TRACKS as i64 + 2).collect();
        for seen in [&ids[..], &ids[..1]] {
            tracks.begin(seen, &RULES);
            for &id in seen {
                tracks.record(id, &[0.0; 4], &RULES);
            }
        }
        tracks.end(&RULES);
        assert_eq!(tracks.records.len(), MAX_TRACKS);
        let known: Vec<i64> = tracks.records.keys().copied().take(3).collect();
        assert_eq!(known, [0, 3, 4]);
    }

    #[test]
    fn the_overlap_of_a_heir_is_taken_in_full() {
        // 3 / 10 in 32 bits is above 0.3.
        let limit = f64::from(0.3f32);
        let mut tracks = Tracks::default();
        tracks.begin(&[1], &RULES);
        let record = tracks.record(1, &[0.0, 0.0, 10.0, 1.0], &RULES);
        (0..2).for_each(|_| record.vote(&name(1), None, 0.9, &RULES));
        for (id, limit, inherits) in [(2, limit, false), (3, 0.3, true)] {
            let rules = Rules {
                overlap: limit,
                ..RULES
            };
            tracks.begin(&[id], &rules);
            let record = tracks.record(id, &[0.0, 0.0, 3.0, 1.0], &rules);
            assert_eq!(record.settled().is_some(), inherits, "{limit}");
        }
    }
}
