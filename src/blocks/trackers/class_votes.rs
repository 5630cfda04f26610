//! Votes on the classes of tracked objects, as `track_class_lock` counts them.

use std::collections::HashMap;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::geometry::iou;

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
        let waiting = self.records.iter().filter(|(id, record)| {
            let gap = frame - record.last_frame;
            record.locked.is_some() && gap >= 1 && gap <= rules.window && !ids.contains(id)
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
            let overlap = f64::from(iou(corners, &self.records[id].last_box));
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
        if self.records.len() > MAX_TRACKS {
            self.records.sort_by_key(|_, record| -record.last_frame);
            self.records.truncate(MAX_TRACKS);
        }
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

    /// Settles on the class with the most votes, if they are enough by the rules of this frame: these
    /// may ask for fewer than those of the frame of the last vote.
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
        self.note_id(class, class_id);
        let known = self.challenger.take().filter(|(name, _)| name == class);
        let mut streak = known.map_or(Votes::default(), |(_, streak)| streak);
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

    fn note_id(&mut self, class: &Arc<str>, class_id: Option<i64>) {
        if let Some(class_id) = class_id
            && (self.class_ids.len() < MAX_CLASSES || self.class_ids.contains_key(class))
        {
            self.class_ids.insert(class.clone(), class_id);
        }
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

    #[test]
    fn rules_that_ask_for_fewer_votes_settle_without_a_new_one() {
        let rules = Rules {
            min_votes: 2,
            vote_confidence: 0.6,
            lead_margin: 0,
            switch_after: 2,
            ttl: 2,
            window: 0,
            overlap: 0.9,
        };
        let mut record = Record::new();
        record.vote(&"plum".into(), None, 1.0, &rules);
        assert_eq!(record.locked, None);
        let fewer = Rules {
            min_votes: 1,
            ..rules
        };
        record.vote(&"pear".into(), None, 0.5, &fewer);
        assert_eq!(record.locked.as_deref(), Some("plum"));
    }
}
