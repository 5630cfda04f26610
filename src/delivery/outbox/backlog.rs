//! The backlog of one receiver, as its side of the outbox.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bodies::LARGE;
use super::database::{self, Change};
use super::front::{Front, Unwritten};
use super::{Core, Durability, IN_MEMORY, lock, record, with_body};
use crate::delivery::backlog::lanes::{Lanes, Pick, Picked, Waiting};
use crate::delivery::backlog::{
    Asker, Backlog, Claim, Claimed, Event, Overflow, PutError, Settlement,
};
use crate::delivery::request::Request;

/// Most bytes of events that the database has not taken yet.
const UNWRITTEN: usize = 64 << 20;
/// How often who waits for room looks for it.
const LOOK: Duration = Duration::from_millis(50);
/// Wait before an event is read again that could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Events of one receiver in an outbox.
pub(in crate::delivery) struct Handle {
    core: Arc<Core>,
    receiver: Arc<str>,
    lanes: Arc<Mutex<Lanes>>,
}

/// An event on its way in.
struct Incoming {
    event: Event,
    asker: Option<Asker>,
    kept: Unwritten,
}

/// Why an event was not written.
enum NoRoom {
    /// The limit of the outbox.
    Limit,
    /// The disk.
    Disk,
}

impl Handle {
    pub(super) fn new(core: Arc<Core>, receiver: Arc<str>) -> Self {
        let lanes = core.lanes(&receiver);
        Self {
            core,
            receiver,
            lanes,
        }
    }

    /// Brings an event into the form in which it is kept. A large body goes to its file.
    fn incoming(&self, event: Event, asker: Option<Asker>) -> Incoming {
        let body = &event.request.body;
        let file = if body.len() > LARGE {
            match self.core.bodies.keep(body) {
                Ok(hash) => Some(hash),
                Err(error) => {
                    // The journal takes the whole event then, or has the same trouble.
                    self.core.front().failures += 1;
                    tracing::debug!(%error, "a large body could not be written beside the outbox");
                    None
                }
            }
        } else {
            None
        };
        let since = self.core.now();
        let record = record::encode(&event, since, file.as_ref());
        let beside = file.map_or(0, |_| body.len());
        Incoming {
            kept: Unwritten {
                receiver: self.receiver.clone(),
                stream: event.stream.clone(),
                key: event.request.key().into(),
                since,
                size: record.len() + beside,
                file,
                record: record.into(),
                durable: false,
            },
            event,
            asker,
        }
    }

    /// Writes an event to the journal, or says why not. `volatile` takes it without.
    fn write(&self, front: &mut Front, new: &Incoming, volatile: bool) -> Result<bool, NoRoom> {
        let core = &self.core;
        let bytes = core.bytes.load(Ordering::Relaxed);
        if bytes.saturating_add(new.kept.size as u64) > core.settings.bytes {
            return Err(NoRoom::Limit);
        }
        if front.unwritten_bytes + new.kept.record.len() > UNWRITTEN {
            return Err(NoRoom::Disk);
        }
        // The room that is left is the database's, which can make more of it.
        if front.database_trouble.is_some() {
            return if volatile {
                Ok(false)
            } else {
                Err(NoRoom::Disk)
            };
        }
        match front.journal.append(front.next_id, &new.kept.record) {
            Ok(()) => Ok(true),
            Err(error) => {
                front.failures += 1;
                if front.journal_trouble.is_none() {
                    tracing::error!(
                        outbox = %core.place.folder.display(), %error, policy = ?core.settings.overflow,
                        "the disk takes no events; the policy applies"
                    );
                }
                front.journal_trouble = Some(error.to_string());
                if volatile {
                    Ok(false)
                } else {
                    Err(NoRoom::Disk)
                }
            }
        }
    }

    /// Makes an event wait that was written. Returns its number.
    fn admit(&self, front: &mut Front, new: Incoming, durable: bool) -> Result<u64, PutError> {
        let core = &self.core;
        let Incoming { event, asker, kept } = new;
        let mut lanes = self.lanes();
        if lanes.retired {
            return Err(PutError::Retired);
        }
        let id = front.next_id;
        if let Some(hash) = kept.file {
            front.files.insert(id, hash);
        }
        let stays = core.in_memory.load(Ordering::Relaxed) + kept.size <= IN_MEMORY;
        if stays {
            core.in_memory.fetch_add(kept.size, Ordering::Relaxed);
        }
        core.bytes.fetch_add(kept.size as u64, Ordering::Relaxed);
        let asker = asker.and_then(|asker| {
            let Some(reason) = lanes.held(&event.stream, core.clock.monotonic()) else {
                return Some(asker);
            };
            asker.tell_behind(&reason);
            None
        });
        let waiting = Waiting {
            id,
            size: kept.size,
            attempts: 0,
            since: kept.since,
            request: stays.then_some(event.request),
            asker,
        };
        lanes.push(&event.stream, waiting);
        drop(lanes);
        front.add(id, Unwritten { durable, ..kept });
        if front.idle {
            core.work.notify_one();
        }
        Ok(id)
    }

    /// Waits until an event is on the disk; takes it back if the disk does not take it and the
    /// policy is to refuse.
    fn until_on_disk(&self, stream: &str, id: u64) -> Result<(), PutError> {
        let core = &self.core;
        let mut front = core.front();
        front.urgent = true;
        core.work.notify_one();
        while front.written < id {
            if front.stop {
                return Ok(());
            }
            if front.database_trouble.is_some() && core.settings.overflow == Overflow::Refuse {
                let Some(taken) = self.lanes().remove(stream, id) else {
                    return Ok(());
                };
                core.left(&taken);
                front.change(id, Change::Delete);
                return Err(PutError::Storage);
            }
            front = core
                .done
                .wait_timeout(front, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(())
    }

    /// The request of an event that goes next: out of memory, the front or the database.
    fn request(&self, picked: &Picked) -> Result<Option<Arc<Request>>, String> {
        if let Some(request) = &picked.request {
            return Ok(Some(request.clone()));
        }
        let core = &self.core;
        let unwritten = core
            .front()
            .unwritten
            .get(&picked.id)
            .map(|e| e.record.clone());
        let stored;
        let bytes: &[u8] = match &unwritten {
            Some(bytes) => bytes,
            None => {
                let reader = lock(&core.reader);
                let reader = reader.as_ref().ok_or("the database is being replaced")?;
                match database::record(reader, picked.id).map_err(|e| e.to_string())? {
                    Some(bytes) => {
                        stored = bytes;
                        &stored
                    }
                    None => return Ok(None),
                }
            }
        };
        let record = record::decode(bytes).map_err(|e| e.to_string())?;
        let request = with_body(record, |hash| core.bodies.read(hash))?;
        Ok(Some(Arc::new(request)))
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        lock(&self.lanes)
    }

    /// Brings the end of an attempt on the books.
    fn settle_as(&self, stream: &str, id: u64, settlement: Settlement, error: Option<&str>) {
        let core = &self.core;
        let mut front = core.front();
        let delivered = settlement == Settlement::Done;
        let gone = front.doomed.remove(&id);
        let settlement = if gone { Settlement::Done } else { settlement };
        let mut lanes = self.lanes();
        let attempts = lanes.attempts(stream, id).unwrap_or(0) + 1;
        let done = lanes.settle(stream, id, settlement, error);
        let waits = lanes.holds(stream, id);
        drop(lanes);
        let error = error.map(Arc::from);
        match (settlement, done) {
            (Settlement::Again(when) | Settlement::Pause(when), _) if waits => {
                let wait = when.saturating_sub(core.clock.monotonic());
                let next = core.now() + i64::try_from(wait.as_millis()).unwrap_or(0);
                front.totals.retried += 1;
                front.change(
                    id,
                    Change::Again {
                        attempts,
                        next,
                        error,
                    },
                );
            }
            (Settlement::GivenUp, Some(event)) => {
                core.left(&event);
                front.totals.dead += 1;
                front.dead += 1;
                front.change(id, Change::Dead { attempts, error });
            }
            (_, Some(event)) => {
                core.left(&event);
                if delivered && !gone {
                    front.totals.delivered += 1;
                }
                front.change(id, Change::Delete);
            }
            _ => {}
        }
        if front.idle {
            core.work.notify_one();
        }
        drop(front);
        core.done.notify_all();
    }
}

impl Backlog for Handle {
    fn put(&self, event: Event, asker: Option<Asker>) -> Result<usize, PutError> {
        let new = self.incoming(event, asker);
        let (stream, file) = (new.event.stream.clone(), new.kept.file);
        let put = self.put_in(new);
        if let (Err(_), Some(hash)) = (&put, file) {
            self.core.bodies.release(&hash);
        }
        let (id, dropped) = put?;
        if self.core.settings.durability == Durability::Power {
            self.until_on_disk(&stream, id)?;
        }
        Ok(dropped)
    }

    fn claim(&self, now: Duration) -> Claim {
        loop {
            // A statement of its own, so that the lanes are free while the event is read.
            let pick = self.lanes().claim(now);
            let picked = match pick {
                Pick::Event(picked) => picked,
                Pick::NotBefore(when) => return Claim::NotBefore(when),
                Pick::Nothing => return Claim::Nothing,
            };
            let (stream, id) = (picked.stream.clone(), picked.id);
            match self.request(&picked) {
                Ok(Some(request)) => {
                    return Claim::Event(Claimed {
                        id,
                        event: Event { stream, request },
                        attempts: picked.attempts,
                        asker: picked.asker,
                    });
                }
                Ok(None) => {
                    // Somebody else took it away.
                    self.core.front().doomed.insert(id);
                    self.settle_as(&stream, id, Settlement::Done, None);
                }
                Err(why) if picked.attempts < 3 => {
                    self.settle_as(&stream, id, Settlement::Again(now + READ_AGAIN), Some(&why));
                }
                Err(why) => {
                    tracing::error!(event = id, error = why, "an event cannot be read back");
                    self.settle_as(&stream, id, Settlement::GivenUp, Some(&why));
                }
            }
        }
    }

    fn settle(&self, claimed: &Claimed, settlement: Settlement, error: Option<&str>) {
        self.settle_as(&claimed.event.stream, claimed.id, settlement, error);
    }

    fn durable(&self) -> bool {
        true
    }

    fn retire(&self) -> bool {
        let _front = self.core.front();
        let mut receivers = self.core.receivers();
        let mut lanes = self.lanes();
        lanes.retired = lanes.len() == 0;
        if lanes.retired {
            receivers.remove(&self.receiver);
        }
        lanes.retired
    }

    fn close(&self) {
        self.core.front().closed = true;
        self.core.done.notify_all();
    }

    fn discard(&self) -> usize {
        0
    }

    fn len(&self) -> usize {
        self.lanes().len()
    }
}

impl Handle {
    /// Writes an event and makes it wait; returns its number and how many older ones went for it.
    fn put_in(&self, new: Incoming) -> Result<(u64, usize), PutError> {
        let core = &self.core;
        let policy = core.settings.overflow;
        let mut dropped = 0;
        let mut front = core.front();
        loop {
            if front.closed {
                return Err(PutError::Closed);
            }
            if self.lanes().retired {
                return Err(PutError::Retired);
            }
            let volatile = policy == Overflow::DropOldest;
            let no_room = match self.write(&mut front, &new, volatile) {
                Ok(durable) => return Ok((self.admit(&mut front, new, durable)?, dropped)),
                Err(no_room) => no_room,
            };
            let never =
                new.kept.size as u64 > core.settings.bytes || new.kept.record.len() > UNWRITTEN;
            match (policy, &no_room) {
                (_, NoRoom::Limit) if never => return Err(PutError::Full),
                (Overflow::Refuse, NoRoom::Limit) => return Err(PutError::Full),
                (Overflow::Refuse, NoRoom::Disk) => return Err(PutError::Storage),
                (Overflow::DropOldest, NoRoom::Limit) if core.drop_oldest(&mut front) => {
                    dropped += 1
                }
                (Overflow::DropOldest, NoRoom::Limit) => return Err(PutError::Full),
                (Overflow::DropOldest, NoRoom::Disk) if core.drop_unwritten(&mut front) => {
                    dropped += 1;
                }
                (Overflow::DropOldest, NoRoom::Disk) => return Err(PutError::Storage),
                (Overflow::Block, _) => {
                    front = core
                        .done
                        .wait_timeout(front, LOOK)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
            }
        }
    }
}

impl Core {
    /// Drops the oldest event of all receivers; false if there is none.
    fn drop_oldest(&self, front: &mut Front) -> bool {
        let oldest = {
            let receivers = self.receivers();
            let all = receivers.values().filter_map(|lanes| {
                let id = lock(lanes).oldest()?;
                Some((id, lanes.clone()))
            });
            all.min_by_key(|(id, _)| *id)
        };
        let dropped = oldest.and_then(|(_, lanes)| lock(&lanes).drop_oldest());
        let Some(event) = dropped else { return false };
        self.dropped(front, &event);
        true
    }

    /// Drops the oldest event that the database has not taken; false if there is none.
    fn drop_unwritten(&self, front: &mut Front) -> bool {
        let found = front.unwritten.iter().find_map(|(id, event)| {
            let lanes = self.receivers().get(&event.receiver).cloned()?;
            let taken = lock(&lanes).remove(&event.stream, *id)?;
            Some((*id, taken))
        });
        let Some((id, event)) = found else {
            return false;
        };
        self.dropped(front, &event);
        front.take_back(id);
        true
    }

    /// Brings on the books that an event was dropped.
    pub(super) fn dropped(&self, front: &mut Front, event: &Waiting) {
        self.left(event);
        front.totals.dropped += 1;
        front.change(event.id, Change::Delete);
    }
}
