//! Events that wait in memory.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::lanes::{Lanes, Pick, Waiting};
use super::{Asker, Backlog, Capacity, Claim, Claimed, Event, Overflow, PutError, Settlement};

/// A backlog in memory: what waits is lost when the process dies.
#[derive(Debug)]
pub struct MemoryBacklog {
    capacity: Capacity,
    books: Mutex<Books>,
    /// Told when room is made or the backlog closes.
    room: Condvar,
}

#[derive(Debug, Default)]
struct Books {
    lanes: Lanes,
    next_id: u64,
    closed: bool,
}

impl MemoryBacklog {
    /// An empty backlog.
    pub fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            books: Mutex::default(),
            room: Condvar::new(),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fits(&self, lanes: &Lanes, size: usize) -> bool {
        lanes.len() < self.capacity.events && lanes.bytes() + size <= self.capacity.bytes
    }
}

impl Backlog for MemoryBacklog {
    fn put(&self, event: Event, asker: Option<Asker>) -> Result<usize, PutError> {
        let size = event.request.size();
        let mut books = self.books();
        let mut dropped = 0;
        loop {
            if books.closed {
                return Err(PutError::Closed);
            }
            if books.lanes.retired {
                return Err(PutError::Retired);
            }
            if self.fits(&books.lanes, size) {
                break;
            }
            let could_fit = size <= self.capacity.bytes && self.capacity.events > 0;
            match self.capacity.overflow {
                _ if !could_fit => return Err(PutError::Full),
                Overflow::Refuse => return Err(PutError::Full),
                Overflow::DropOldest if books.lanes.drop_oldest().is_some() => dropped += 1,
                Overflow::DropOldest => return Err(PutError::Full),
                Overflow::Block => {
                    books = self
                        .room
                        .wait(books)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        let id = books.next_id;
        books.next_id += 1;
        let waiting = Waiting {
            id,
            size,
            attempts: 0,
            since: 0,
            request: Some(event.request),
            asker,
        };
        books.lanes.push(&event.stream, waiting);
        Ok(dropped)
    }

    fn claim(&self, now: Duration) -> Claim {
        match self.books().lanes.claim(now) {
            Pick::Nothing => Claim::Nothing,
            Pick::NotBefore(when) => Claim::NotBefore(when),
            Pick::Event(picked) => match picked.request {
                Some(request) => Claim::Event(Claimed {
                    id: picked.id,
                    event: Event {
                        stream: picked.stream,
                        request,
                    },
                    attempts: picked.attempts,
                    asker: picked.asker,
                }),
                None => Claim::Nothing,
            },
        }
    }

    fn settle(&self, claimed: &Claimed, settlement: Settlement, error: Option<&str>) {
        let stream = &claimed.event.stream;
        let mut books = self.books();
        let done = books.lanes.settle(stream, claimed.id, settlement, error);
        drop(books);
        if done.is_some() {
            self.room.notify_all();
        }
    }

    fn retire(&self) -> bool {
        let lanes = &mut self.books().lanes;
        lanes.retired = lanes.len() == 0;
        lanes.retired
    }

    fn close(&self) {
        self.books().closed = true;
        self.room.notify_all();
    }

    fn discard(&self) -> usize {
        self.books().lanes.clear()
    }

    fn len(&self) -> usize {
        self.books().lanes.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
        backlog.put(event(stream, name), None)
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
            backlog.settle(&claimed, Settlement::Done, None);
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

        backlog.settle(&a1, Settlement::Again(Duration::from_secs(5)), None);
        backlog.settle(&b1, Settlement::Done, None);
        assert!(matches!(
            backlog.claim(Duration::from_secs(4)),
            Claim::NotBefore(t) if t == Duration::from_secs(5)
        ));
        let again = claim(&backlog, 5).unwrap();
        assert_eq!((name(&again), again.attempts), ("a1", 1));
        backlog.settle(&again, Settlement::Done, None);
        assert_eq!(names(&backlog), ["a2"]);
        assert!(backlog.is_empty() && matches!(backlog.claim(Duration::ZERO), Claim::Nothing));
    }

    #[test]
    fn a_pause_holds_up_every_stream() {
        let backlog = backlog(10, Overflow::Refuse);
        put(&backlog, "a", "a1").unwrap();
        put(&backlog, "b", "b1").unwrap();
        let a1 = claim(&backlog, 0).unwrap();
        backlog.settle(&a1, Settlement::Pause(Duration::from_secs(9)), None);
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
        oldest.settle(&one, Settlement::Done, None);
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
        backlog.settle(&one, Settlement::Done, None);
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
