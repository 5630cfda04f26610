//! The order in which events of one receiver go.
//!
//! A lane holds the events of one stream, oldest first; its first event may be under way. Among
//! lanes the one with the oldest first event goes next. What an event is kept as does not matter
//! here: its request may be in memory or elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::{Asker, Settlement};
use crate::delivery::request::Request;

/// An event in its lane.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Waiting {
    /// Its number; greater than those of older events.
    pub id: u64,
    /// Bytes that it takes.
    pub size: usize,
    /// Attempts made.
    pub attempts: u32,
    /// When it was put in, in milliseconds since 1970.
    pub since: i64,
    /// What is sent, if it is in memory.
    pub request: Option<Arc<Request>>,
    /// Who waits for what becomes of it.
    pub asker: Option<Asker>,
}

/// An event that goes next.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Picked {
    pub id: u64,
    pub stream: Arc<str>,
    pub attempts: u32,
    pub request: Option<Arc<Request>>,
    pub asker: Option<Asker>,
}

/// What goes next.
#[derive(Clone, Debug)]
pub(in crate::delivery) enum Pick {
    Event(Picked),
    NotBefore(Duration),
    Nothing,
}

/// Events of one receiver by stream.
#[derive(Debug, Default)]
pub(in crate::delivery) struct Lanes {
    lanes: IndexMap<Arc<str>, Lane>,
    events: usize,
    bytes: usize,
    /// No event goes before this time.
    paused_until: Duration,
    /// Why the last attempt failed, if it did.
    trouble: Option<Arc<str>>,
    /// Takes nothing any more.
    pub retired: bool,
}

#[derive(Debug, Default)]
struct Lane {
    /// Oldest first.
    waiting: VecDeque<Waiting>,
    /// Whether the oldest one is under way.
    under_way: bool,
    /// The oldest one does not go before this time.
    not_before: Duration,
}

impl Lane {
    /// Lets the first event wait for another attempt.
    fn hold(&mut self, until: Duration, error: Option<&str>) {
        self.not_before = until;
        if let Some(head) = self.waiting.front_mut() {
            head.attempts += 1;
        }
        self.tell(error);
    }

    /// Tells all who wait that it is not the turn of their events.
    fn tell(&mut self, error: Option<&str>) {
        for waiting in &mut self.waiting {
            if let Some(asker) = waiting.asker.take() {
                asker.tell_behind(error.unwrap_or_default());
            }
        }
    }
}

impl Lanes {
    /// Events that wait or are under way.
    pub fn len(&self) -> usize {
        self.events
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts an event behind the others of its stream, or where its number belongs.
    pub fn push(&mut self, stream: &Arc<str>, event: Waiting) {
        self.events += 1;
        self.bytes += event.size;
        let waiting = match self.lanes.get_mut(stream) {
            Some(lane) => lane,
            None => self.lanes.entry(stream.clone()).or_default(),
        };
        let newest = waiting.waiting.back().is_none_or(|w| w.id < event.id);
        if newest {
            waiting.waiting.push_back(event);
        } else {
            let at = waiting.waiting.partition_point(|w| w.id < event.id);
            let at = at.max(usize::from(waiting.under_way));
            waiting.waiting.insert(at, event);
        }
    }

    /// The event to send at this time; it is under way then.
    pub fn claim(&mut self, now: Duration) -> Pick {
        let paused_until = self.paused_until;
        let ready_at = |lane: &Lane| lane.not_before.max(paused_until);
        let mut soonest: Option<Duration> = None;
        let mut oldest: Option<(u64, usize)> = None;
        for (place, lane) in self.lanes.values().enumerate() {
            let Some(head) = lane.waiting.front().map(|w| w.id) else {
                continue;
            };
            if lane.under_way {
                continue;
            }
            if ready_at(lane) > now {
                soonest = Some(soonest.map_or(ready_at(lane), |t| t.min(ready_at(lane))));
            } else if oldest.is_none_or(|(id, _)| head < id) {
                oldest = Some((head, place));
            }
        }
        if let Some((_, place)) = oldest
            && let Some((stream, lane)) = self.lanes.get_index_mut(place)
            && let Some(head) = lane.waiting.front_mut()
        {
            lane.under_way = true;
            return Pick::Event(Picked {
                id: head.id,
                stream: stream.clone(),
                attempts: head.attempts,
                request: head.request.clone(),
                asker: head.asker.take(),
            });
        }
        soonest.map_or(Pick::Nothing, Pick::NotBefore)
    }

    /// Why an event that is put in now would be held up by older ones, if it would: they, or all
    /// events of the receiver, wait for the time of another attempt.
    pub fn held(&self, stream: &str, now: Duration) -> Option<Arc<str>> {
        let waits = match self.lanes.get(stream) {
            Some(lane) if lane.under_way => false,
            Some(lane) => lane.not_before.max(self.paused_until) > now,
            None => self.paused_until > now,
        };
        let reason = || self.trouble.clone().unwrap_or_else(|| "retries".into());
        waits.then(reason)
    }

    /// Takes the result of an attempt, with what went wrong if something did; the event is given
    /// back if it is done with. Those who wait for events that this one holds up are told.
    pub fn settle(
        &mut self,
        stream: &str,
        id: u64,
        settlement: Settlement,
        error: Option<&str>,
    ) -> Option<Waiting> {
        let place = self.lanes.get_index_of(stream)?;
        let lane = &mut self.lanes[place];
        let is_head = lane.waiting.front().is_some_and(|w| w.id == id);
        if !(lane.under_way && is_head) {
            return None;
        }
        lane.under_way = false;
        self.trouble = error.map(Arc::from);
        match settlement {
            Settlement::Done | Settlement::GivenUp => {
                lane.not_before = Duration::ZERO;
                let done = lane.waiting.pop_front();
                self.forget(place, done)
            }
            Settlement::Again(when) => {
                lane.hold(when, error);
                None
            }
            Settlement::Pause(until) => {
                lane.hold(until, error);
                self.paused_until = self.paused_until.max(until);
                for lane in self.lanes.values_mut().filter(|lane| !lane.under_way) {
                    lane.tell(error);
                }
                None
            }
        }
    }

    /// The number of the oldest event that is not under way.
    pub fn oldest(&self) -> Option<u64> {
        self.candidates().min().map(|(id, ..)| id)
    }

    /// Takes the oldest event out that is not under way.
    pub fn drop_oldest(&mut self) -> Option<Waiting> {
        let (_, place, at) = self.candidates().min()?;
        self.take(place, at)
    }

    /// Takes an event out unless it is under way.
    pub fn remove(&mut self, stream: &str, id: u64) -> Option<Waiting> {
        let place = self.lanes.get_index_of(stream)?;
        let lane = &self.lanes[place];
        let at = lane.waiting.partition_point(|w| w.id < id);
        let is_it = lane.waiting.get(at).is_some_and(|w| w.id == id);
        if !is_it || (at == 0 && lane.under_way) {
            return None;
        }
        self.take(place, at)
    }

    /// Takes an event out whose older ones were put in before this time, unless it is under way.
    pub fn drop_older_than(&mut self, since: i64) -> Option<Waiting> {
        let found = self.lanes.iter().enumerate().find(|(_, (_, lane))| {
            let head = lane.waiting.front();
            !lane.under_way && head.is_some_and(|w| w.since < since)
        });
        let place = found?.0;
        self.take(place, 0)
    }

    /// Attempts made for an event.
    pub fn attempts(&self, stream: &str, id: u64) -> Option<u32> {
        let lane = self.lanes.get(stream)?;
        let at = lane.waiting.binary_search_by_key(&id, |w| w.id).ok()?;
        lane.waiting.get(at).map(|w| w.attempts)
    }

    /// Whether an event of this number waits on the stream.
    pub fn holds(&self, stream: &str, id: u64) -> bool {
        self.lanes
            .get(stream)
            .is_some_and(|lane| lane.waiting.binary_search_by_key(&id, |w| w.id).is_ok())
    }

    /// The stream on which an event of this number waits.
    pub fn stream_of(&self, id: u64) -> Option<Arc<str>> {
        let stream = self.lanes.keys().find(|stream| self.holds(stream, id));
        stream.cloned()
    }

    /// All events, with their streams.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Waiting)> {
        let lanes = self.lanes.iter();
        lanes.flat_map(|(stream, lane)| lane.waiting.iter().map(move |event| (stream, event)))
    }

    /// Lets everything go at once that waits for a time.
    pub fn hurry(&mut self) {
        self.paused_until = Duration::ZERO;
        for lane in self.lanes.values_mut() {
            lane.not_before = Duration::ZERO;
        }
    }

    /// When the oldest event was put in.
    pub fn oldest_since(&self) -> Option<i64> {
        let heads = self.lanes.values().filter_map(|l| l.waiting.front());
        heads.map(|w| w.since).min()
    }

    /// Takes everything out.
    pub fn clear(&mut self) -> usize {
        self.lanes.clear();
        self.bytes = 0;
        std::mem::take(&mut self.events)
    }

    /// The oldest event of each lane that is not under way: number, place, place in the lane.
    fn candidates(&self) -> impl Iterator<Item = (u64, usize, usize)> {
        self.lanes.values().enumerate().filter_map(|(place, lane)| {
            let at = usize::from(lane.under_way);
            lane.waiting.get(at).map(|w| (w.id, place, at))
        })
    }

    fn take(&mut self, place: usize, at: usize) -> Option<Waiting> {
        let lane = &mut self.lanes[place];
        if at == 0 {
            lane.not_before = Duration::ZERO;
        }
        let taken = lane.waiting.remove(at);
        self.forget(place, taken)
    }

    /// Takes an event that left its lane off the books, and the lane if it is empty.
    fn forget(&mut self, place: usize, left: Option<Waiting>) -> Option<Waiting> {
        if let Some(left) = &left {
            self.events -= 1;
            self.bytes -= left.size;
        }
        if self.lanes[place].waiting.is_empty() {
            self.lanes.swap_remove_index(place);
        }
        left
    }
}
