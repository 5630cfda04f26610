//! Events that wait in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;

use super::{Backlog, Capacity, Claim, Claimed, Event, Overflow, PutError, Settlement};

/// A backlog in memory: what waits is lost when the process dies.
#[derive(Debug)]
pub struct MemoryBacklog {
    capacity: Capacity,
    lanes: Mutex<Lanes>,
    /// Told when room is made or the backlog closes.
    room: Condvar,
}

#[derive(Debug, Default)]
struct Lanes {
    /// Events by stream.
    lanes: IndexMap<Arc<str>, Lane>,
    events: usize,
    bytes: usize,
    next_id: u64,
    /// No event goes before this time.
    paused_until: Duration,
    retired: bool,
    closed: bool,
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

#[derive(Debug)]
struct Waiting {
    id: u64,
    event: Event,
    attempts: u32,
}

impl MemoryBacklog {
    /// An empty backlog.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            lanes: Mutex::default(),
            room: Condvar::new(),
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fits(&self, lanes: &Lanes, size: usize) -> bool {
        lanes.events < self.capacity.events && lanes.bytes + size <= self.capacity.bytes
    }
}

impl Backlog for MemoryBacklog {
    fn put(&self, event: Event) -> Result<usize, PutError> {
        let size = event.request.size();
        let mut lanes = self.lanes();
        let mut dropped = 0;
        loop {
            if lanes.closed {
                return Err(PutError::Closed);
            }
            if lanes.retired {
                return Err(PutError::Retired);
            }
            if self.fits(&lanes, size) {
                break;
            }
            let could_fit = size <= self.capacity.bytes && self.capacity.events > 0;
            match self.capacity.overflow {
                _ if !could_fit => return Err(PutError::Full),
                Overflow::Refuse => return Err(PutError::Full),
                Overflow::DropOldest if lanes.drop_oldest() => dropped += 1,
                Overflow::DropOldest => return Err(PutError::Full),
                Overflow::Block => {
                    lanes = self
                        .room
                        .wait(lanes)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        lanes.push(event, size);
        Ok(dropped)
    }

    fn claim(&self, now: Duration) -> Claim {
        self.lanes().claim(now)
    }

    fn settle(&self, claimed: &Claimed, settlement: Settlement) {
        self.lanes().settle(claimed, settlement);
        if settlement == Settlement::Done {
            self.room.notify_all();
        }
    }

    fn retire(&self) -> bool {
        let mut lanes = self.lanes();
        lanes.retired = lanes.events == 0;
        lanes.retired
    }

    fn close(&self) {
        self.lanes().closed = true;
        self.room.notify_all();
    }

    fn discard(&self) -> usize {
        let mut lanes = self.lanes();
        lanes.lanes.clear();
        lanes.bytes = 0;
        std::mem::take(&mut lanes.events)
    }

    fn len(&self) -> usize {
        self.lanes().events
    }
}

impl Lanes {
    fn push(&mut self, event: Event, size: usize) {
        self.events += 1;
        self.bytes += size;
        let id = self.next_id;
        self.next_id += 1;
        let lane = self.lanes.entry(event.stream.clone()).or_default();
        lane.waiting.push_back(Waiting {
            id,
            event,
            attempts: 0,
        });
    }

    fn claim(&mut self, now: Duration) -> Claim {
        let paused_until = self.paused_until;
        let ready_at = |lane: &Lane| lane.not_before.max(paused_until);
        let free = self.lanes.values_mut().filter(|lane| !lane.under_way);
        let mut soonest: Option<Duration> = None;
        let mut oldest: Option<(u64, &mut Lane)> = None;
        for lane in free {
            let Some(head) = lane.waiting.front().map(|w| w.id) else {
                continue;
            };
            if ready_at(lane) > now {
                soonest = Some(soonest.map_or(ready_at(lane), |t| t.min(ready_at(lane))));
            } else if oldest.as_ref().is_none_or(|(id, _)| head < *id) {
                oldest = Some((head, lane));
            }
        }
        if let Some((_, lane)) = oldest
            && let Some(head) = lane.waiting.front()
        {
            lane.under_way = true;
            return Claim::Event(Claimed {
                id: head.id,
                event: head.event.clone(),
                attempts: head.attempts,
            });
        }
        soonest.map_or(Claim::Nothing, Claim::NotBefore)
    }

    fn settle(&mut self, claimed: &Claimed, settlement: Settlement) {
        let Some(place) = self.lanes.get_index_of(&claimed.event.stream) else {
            return;
        };
        let lane = &mut self.lanes[place];
        let is_head = lane.waiting.front().is_some_and(|w| w.id == claimed.id);
        if !(lane.under_way && is_head) {
            return;
        }
        lane.under_way = false;
        match settlement {
            Settlement::Done => {
                lane.not_before = Duration::ZERO;
                let done = lane.waiting.pop_front();
                self.forget(place, done);
            }
            Settlement::Again(when) | Settlement::Pause(when) => {
                lane.not_before = when;
                if let Some(head) = lane.waiting.front_mut() {
                    head.attempts += 1;
                }
                if let Settlement::Pause(until) = settlement {
                    self.paused_until = self.paused_until.max(until);
                }
            }
        }
    }

    /// Drops the oldest event that is not under way; false if there is none.
    fn drop_oldest(&mut self) -> bool {
        let candidate = |lane: &Lane| {
            let at = usize::from(lane.under_way);
            lane.waiting.get(at).map(|w| (w.id, at))
        };
        let oldest = self
            .lanes
            .values()
            .enumerate()
            .filter_map(|(place, lane)| candidate(lane).map(|(id, at)| (id, place, at)))
            .min();
        let Some((_, place, at)) = oldest else {
            return false;
        };
        let lane = &mut self.lanes[place];
        if at == 0 {
            lane.not_before = Duration::ZERO;
        }
        let dropped = lane.waiting.remove(at);
        self.forget(place, dropped);
        true
    }

    /// Takes an event that left its lane off the books, and the lane if it is empty.
    fn forget(&mut self, place: usize, left: Option<Waiting>) {
        if let Some(left) = left {
            self.events -= 1;
            self.bytes -= left.event.request.size();
        }
        if self.lanes[place].waiting.is_empty() {
            self.lanes.swap_remove_index(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{AddressPolicy, Request};

    fn backlog(events: usize, overflow: Overflow) -> MemoryBacklog {
        MemoryBacklog::new(Capacity {
            events,
            overflow,
            ..Capacity::default()
        })
    }

    fn event(stream: &str, name: &str) -> Event {
        let url = format!("http://h/{name}");
        Event {
            stream: stream.into(),
            request: Arc::new(Request::new("POST", &url, AddressPolicy::Any).unwrap()),
        }
    }

    fn put(backlog: &MemoryBacklog, stream: &str, name: &str) -> Result<usize, PutError> {
        backlog.put(event(stream, name))
    }

    /// The event to send at a time, if there is one.
    fn claim(backlog: &MemoryBacklog, seconds: u64) -> Option<Claimed> {
        match backlog.claim(Duration::from_secs(seconds)) {
            Claim::Event(claimed) => Some(claimed),
            _ => None,
        }
    }

    fn name(claimed: &Claimed) -> &str {
        &claimed.event.request.url.path()[1..]
    }

    fn names(backlog: &MemoryBacklog) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(claimed) = claim(backlog, 0) {
            names.push(name(&claimed).to_owned());
            backlog.settle(&claimed, Settlement::Done);
        }
        names
    }

    #[test]
    fn a_stream_keeps_its_order_and_does_not_hold_up_others() {
        let backlog = backlog(10, Overflow::Refuse);
        for (stream, name) in [("a", "a1"), ("a", "a2"), ("b", "b1")] {
            put(&backlog, stream, name).unwrap();
        }
        let a1 = claim(&backlog, 0).unwrap();
        assert_eq!((name(&a1), a1.attempts), ("a1", 0));
        let b1 = claim(&backlog, 0).unwrap();
        assert_eq!(name(&b1), "b1");
        assert!(claim(&backlog, 0).is_none(), "a2 waits for a1");

        backlog.settle(&a1, Settlement::Again(Duration::from_secs(5)));
        backlog.settle(&b1, Settlement::Done);
        assert!(matches!(
            backlog.claim(Duration::from_secs(4)),
            Claim::NotBefore(t) if t == Duration::from_secs(5)
        ));
        let again = claim(&backlog, 5).unwrap();
        assert_eq!((name(&again), again.attempts), ("a1", 1));
        backlog.settle(&again, Settlement::Done);
        assert_eq!(names(&backlog), ["a2"]);
        assert!(backlog.is_empty() && matches!(backlog.claim(Duration::ZERO), Claim::Nothing));
    }

    #[test]
    fn a_pause_holds_up_every_stream() {
        let backlog = backlog(10, Overflow::Refuse);
        put(&backlog, "a", "a1").unwrap();
        put(&backlog, "b", "b1").unwrap();
        let a1 = claim(&backlog, 0).unwrap();
        backlog.settle(&a1, Settlement::Pause(Duration::from_secs(9)));
        assert!(claim(&backlog, 8).is_none());
        assert_eq!(name(&claim(&backlog, 9).unwrap()), "a1");
        assert_eq!(name(&claim(&backlog, 9).unwrap()), "b1");
    }

    #[test]
    fn beyond_the_bounds_the_named_policy_decides() {
        let refuse = backlog(2, Overflow::Refuse);
        assert_eq!(put(&refuse, "a", "1"), Ok(0));
        assert_eq!(put(&refuse, "a", "2"), Ok(0));
        assert_eq!(put(&refuse, "a", "3"), Err(PutError::Full));
        assert_eq!(names(&refuse), ["1", "2"]);

        let oldest = backlog(2, Overflow::DropOldest);
        put(&oldest, "a", "1").unwrap();
        put(&oldest, "b", "2").unwrap();
        let one = claim(&oldest, 0).unwrap();
        assert_eq!(put(&oldest, "a", "3"), Ok(1), "2 goes: 1 is under way");
        oldest.settle(&one, Settlement::Done);
        assert_eq!(names(&oldest), ["3"]);

        let tiny = MemoryBacklog::new(Capacity {
            bytes: 10,
            overflow: Overflow::Block,
            ..Capacity::default()
        });
        assert_eq!(put(&tiny, "a", "1"), Err(PutError::Full), "can never fit");
    }

    #[test]
    fn who_blocks_goes_on_when_there_is_room_or_it_closes() {
        let backlog = Arc::new(backlog(1, Overflow::Block));
        put(&backlog, "a", "1").unwrap();
        let waiting = |name: &'static str| {
            let backlog = backlog.clone();
            std::thread::spawn(move || put(&backlog, "a", name))
        };
        let second = waiting("2");
        let one = claim(&backlog, 0).unwrap();
        backlog.settle(&one, Settlement::Done);
        assert_eq!(second.join().unwrap(), Ok(0));
        let third = waiting("3");
        backlog.close();
        assert_eq!(third.join().unwrap(), Err(PutError::Closed));
        assert_eq!(backlog.discard(), 1);
    }

    #[test]
    fn only_an_empty_backlog_retires() {
        let backlog = backlog(1, Overflow::Refuse);
        put(&backlog, "a", "1").unwrap();
        assert!(!backlog.retire());
        names(&backlog);
        assert!(backlog.retire());
        assert_eq!(put(&backlog, "a", "2"), Err(PutError::Retired));
    }
}
