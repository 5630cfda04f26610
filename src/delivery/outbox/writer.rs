//! The thread that brings events into the database, and looks after what is there.
//!
//! It waits a moment after the first event, so that a batch comes together and what is delivered at
//! once never gets written. A batch that the disk does not take stays on the books and is tried
//! again; a damaged database is set aside and a new one goes on.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::bodies::Hash;
use super::database::{self, Batch, Change, Database, DatabaseError, Row};
use super::front::{Front, Unwritten};
use super::journal::Emptying;
use super::{Core, lock, record};
use crate::delivery::backlog::Event;
use crate::delivery::backlog::lanes::Waiting;

/// Wait for a batch to come together.
const GATHER: Duration = Duration::from_millis(20);
/// Bytes of a batch that is not waited for.
const ENOUGH: usize = 1 << 20;
/// Changes in one transaction when there is hardly any room.
const FEW: usize = 64;
/// How often it is looked whether somebody else changed something.
const LOOK: Duration = Duration::from_millis(250);
/// How often old events are looked for.
const EXPIRE: Duration = Duration::from_secs(1);
/// How often room is given back.
const TIDY: Duration = Duration::from_secs(60);
/// Wait after a batch that was not taken.
const AGAIN: Duration = Duration::from_millis(500);

/// Starts the thread.
pub(super) fn start(core: Arc<Core>, database: Database) -> io::Result<JoinHandle<()>> {
    let now = core.clock.monotonic();
    let writer = Writer {
        core,
        database,
        expired: now,
        tidied: now,
    };
    thread::Builder::new()
        .name("outbox".into())
        .spawn(move || writer.run())
}

struct Writer {
    core: Arc<Core>,
    database: Database,
    /// When old events were looked for.
    expired: Duration,
    /// When room was given back.
    tidied: Duration,
}

impl Writer {
    fn run(mut self) {
        loop {
            let stop = self.wait();
            let taken = self.cycle();
            if stop {
                return self.finish();
            }
            if !taken {
                self.sleep(AGAIN);
            }
            self.look_after();
        }
    }

    /// Waits until there is a batch to write, or something else to do. Says whether to stop.
    fn wait(&self) -> bool {
        let core = &self.core;
        let mut front = core.front();
        if !front.has_work() && !front.stop {
            front.idle = true;
            front = core
                .work
                .wait_timeout(front, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            front.idle = false;
        }
        if front.has_work() {
            let gather =
                |front: &mut Front| !front.urgent && !front.stop && front.unwritten_bytes < ENOUGH;
            front = core
                .work
                .wait_timeout_while(front, GATHER, gather)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        front.stop
    }

    fn sleep(&self, time: Duration) {
        let front = self.core.front();
        let _ = self.core.work.wait_timeout_while(front, time, |f| !f.stop);
    }

    /// Writes what there is to write; false if that failed.
    fn cycle(&mut self) -> bool {
        let (batch, before, troubled) = {
            let mut front = self.core.front();
            let troubled = front.trouble().is_some();
            if !front.has_work() && !troubled {
                return true;
            }
            (front.batch(), front.written, troubled)
        };
        let in_database =
            |(id, change): (&u64, &Change)| *id <= before || *change != Change::Delete;
        let needed = troubled || !batch.inserts.is_empty() || batch.changes.iter().any(in_database);
        let outcome = if needed {
            self.database.write(&batch)
        } else {
            Ok(())
        };
        match outcome {
            Ok(()) => {
                self.written(&batch, troubled);
                true
            }
            Err(error) => {
                let full = matches!(error, DatabaseError::Storage(_));
                self.failed(error);
                let batch = if full {
                    self.without_new_ones(batch, before)
                } else {
                    batch
                };
                self.core.front().put_back(batch);
                false
            }
        }
    }

    /// Writes of a batch what needs no room, so that what was delivered gives its room to others: a
    /// little at a time, for the log of the database needs some. Returns what is left to write.
    fn without_new_ones(&mut self, mut batch: Batch, before: u64) -> Batch {
        loop {
            let some = batch.changes.extract_if(|id, _| *id <= before).take(FEW);
            let some = Batch {
                inserts: Vec::new(),
                changes: some.collect(),
                mark: before,
                totals: batch.totals,
            };
            if some.changes.is_empty() {
                return batch;
            }
            let written = self.database.write(&some);
            let shrunk = self.database.shrink();
            if let Err(error) = written.and(shrunk) {
                tracing::debug!(%error, "the outbox cannot even be made smaller");
                batch.changes.extend(some.changes);
                return batch;
            }
            self.forget_bodies(&some);
        }
    }

    /// Takes off the books what was written. New events come in again only when there is room to
    /// spare: what little there is the database needs to make more.
    fn written(&self, batch: &Batch, troubled: bool) {
        let core = &self.core;
        let room = if troubled { self.take_room() } else { Ok(()) };
        let mut front = core.front();
        let written = front.written(batch.mark);
        let emptying = front.journal.empty(batch.mark);
        if troubled && room.is_ok() {
            front.journal_trouble = None;
            front.database_trouble = None;
            tracing::info!(outbox = %core.place.folder.display(), "the outbox is written again");
        }
        drop(front);
        drop(written);
        self.emptied(emptying);
        self.forget_bodies(batch);
        core.done.notify_all();
    }

    /// Empties a file of the journal while events go to the other one.
    fn emptied(&self, emptying: io::Result<Option<Emptying>>) {
        let outcome = emptying.and_then(|emptying| {
            if let Some(emptying) = emptying {
                emptying.run()?;
                self.core.front().journal.emptied(&emptying);
            }
            Ok(())
        });
        if let Err(error) = outcome {
            self.core.front().failures += 1;
            tracing::debug!(%error, "the journal could not be emptied");
        }
    }

    /// Takes the room back that is kept for bad times; what the database no longer needs may be what
    /// is missing.
    fn take_room(&self) -> io::Result<()> {
        let place = &self.core.place;
        place.take_reserve().or_else(|_| {
            if let Err(error) = self.database.shrink() {
                tracing::debug!(%error, "the outbox could not be made smaller");
            }
            place.take_reserve()
        })
    }

    /// Removes the large bodies that only events had which are gone.
    fn forget_bodies(&self, batch: &Batch) {
        let deleted = batch.changes.iter().filter(|(_, c)| **c == Change::Delete);
        let mut front = self.core.front();
        let bodies: Vec<Hash> = deleted
            .filter_map(|(id, _)| front.files.remove(id))
            .collect();
        drop(front);
        bodies
            .iter()
            .for_each(|hash| self.core.bodies.release(hash));
    }

    fn failed(&mut self, error: DatabaseError) {
        let outbox = self.core.place.folder.clone();
        let mut front = self.core.front();
        front.failures += 1;
        if front.database_trouble.is_none() {
            tracing::error!(
                outbox = %outbox.display(), %error, policy = ?self.core.settings.overflow,
                "the outbox cannot be written; events stay in the journal and in memory"
            );
        }
        front.database_trouble = Some(error.to_string());
        drop(front);
        self.core.done.notify_all();
        match error {
            DatabaseError::Damaged(reason) => self.replace(&reason),
            // What the log holds may be all that fills the disk.
            DatabaseError::Storage(_) => {
                self.core.place.give_reserve();
                if let Err(error) = self.database.shrink() {
                    tracing::debug!(%error, "the outbox could not be made smaller");
                }
            }
        }
    }

    /// Sets a damaged database aside. What is in memory goes to the new one; what is in neither is
    /// lost, and said to be.
    fn replace(&mut self, reason: &str) {
        let core = self.core.clone();
        *lock(&core.reader) = None;
        if let Err(error) = self.database.restart(reason) {
            tracing::error!(%error, "the damaged outbox could not be replaced");
        }
        *lock(&core.reader) = database::reader(&core.place.folder).ok();
        let known = match self.database.ids() {
            Ok(known) => known,
            Err(error) => return tracing::error!(%error, "the new outbox cannot be read"),
        };
        let lost = core.bring_back(&known);
        if lost > 0 {
            tracing::error!(
                events = lost,
                "events are lost: they were in the damaged outbox only"
            );
        }
    }

    /// What is due beside the batches.
    fn look_after(&mut self) {
        match self.database.touched() {
            Ok(touched) if touched.is_empty() => {}
            Ok(touched) => {
                self.core.follow(touched);
                let dead = self.database.dead();
                if let Ok(dead) = dead {
                    self.core.front().dead = dead;
                }
            }
            Err(error) => tracing::debug!(%error, "changes of others could not be read"),
        }
        let now = self.core.clock.monotonic();
        if now.saturating_sub(self.expired) >= EXPIRE {
            self.expired = now;
            self.core.expire();
        }
        if now.saturating_sub(self.tidied) >= TIDY {
            self.tidied = now;
            self.tidy();
        }
    }

    /// Takes old given-up events away and gives room back.
    fn tidy(&mut self) {
        let core = &self.core;
        let since = core.oldest_kept();
        let gone = self.database.trim_dead(core.settings.bytes / 4, since);
        let shrunk = self.database.shrink();
        match gone {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => {
                let mut front = core.front();
                front.dead = front.dead.saturating_sub(gone.len() as u64);
                for id in gone {
                    front.change(id, Change::Delete);
                }
            }
            Err(error) => tracing::debug!(%error, "given-up events could not be looked at"),
        }
        if let Err(error) = shrunk {
            tracing::debug!(%error, "the outbox could not be made smaller");
        }
    }

    /// The last batches, and the figures.
    fn finish(mut self) {
        while self.core.front().has_work() && self.cycle() {}
        let (last, volatile) = {
            let mut front = self.core.front();
            let volatile = front.unwritten.values().filter(|e| !e.durable).count();
            (front.batch(), volatile)
        };
        if let Err(error) = self.database.write(&last) {
            tracing::error!(%error, "the outbox could not be written at the end");
            if volatile > 0 {
                tracing::error!(
                    events = volatile,
                    "events are lost: the disk took them nowhere"
                );
            }
        } else {
            self.written(&last, false);
        }
        if let Err(error) = self.database.shrink() {
            tracing::debug!(%error, "the outbox could not be made smaller");
        }
    }
}

impl Core {
    /// Time from which on events are kept, in milliseconds since 1970.
    fn oldest_kept(&self) -> i64 {
        let age = i64::try_from(self.settings.age.as_millis()).unwrap_or(i64::MAX);
        self.now().saturating_sub(age)
    }

    /// Drops what is too old.
    fn expire(&self) {
        let since = self.oldest_kept();
        let mut front = self.front();
        let mut gone = 0;
        let all: Vec<_> = self.receivers().values().cloned().collect();
        for lanes in all {
            let next = || lock(&lanes).drop_older_than(since);
            while let Some(event) = next() {
                self.dropped(&mut front, &event);
                gone += 1;
            }
        }
        drop(front);
        if gone > 0 {
            self.aged.fetch_add(gone, Ordering::Relaxed);
            tracing::warn!(events = gone, age = ?self.settings.age, "events became too old and were dropped");
            self.done.notify_all();
        }
    }

    /// Does what somebody else did to events in the database.
    fn follow(&self, touched: Vec<(u64, Option<Row>)>) {
        let mut front = self.front();
        for (id, row) in touched {
            match row {
                None => self.taken_away(&mut front, id),
                Some(row) if row.dead => {}
                Some(row) => {
                    let lanes = self.lanes(&row.receiver);
                    let waits = lock(&lanes).holds(&row.stream, id);
                    if waits {
                        lock(&lanes).hurry();
                    } else {
                        self.wait(
                            &row.receiver,
                            &row.stream,
                            id,
                            row.size,
                            row.attempts,
                            row.since,
                        );
                    }
                }
            }
        }
    }

    fn taken_away(&self, front: &mut Front, id: u64) {
        let all: Vec<_> = self.receivers().values().cloned().collect();
        for lanes in all {
            let mut lanes = lock(&lanes);
            let Some(stream) = lanes.stream_of(id) else {
                continue;
            };
            match lanes.remove(&stream, id) {
                Some(event) => {
                    drop(lanes);
                    self.dropped(front, &event);
                }
                None => {
                    front.doomed.insert(id);
                }
            }
            return;
        }
        // One that was given up.
        front.change(id, Change::Delete);
    }

    /// After the loss of the database: writes anew what is in memory, and forgets what is nowhere.
    /// Returns how many events those were.
    fn bring_back(&self, known: &HashSet<u64>) -> usize {
        let mut front = self.front();
        let all: Vec<_> = self
            .receivers()
            .iter()
            .map(|(name, lanes)| (name.clone(), lanes.clone()))
            .collect();
        let mut lost = 0;
        for (receiver, lanes) in all {
            let missing: Vec<(Arc<str>, Waiting)> = lock(&lanes)
                .iter()
                .filter(|(_, e)| !known.contains(&e.id) && !front.unwritten.contains_key(&e.id))
                .map(|(stream, event)| (stream.clone(), event.clone()))
                .collect();
            for (stream, event) in missing {
                if let Some(request) = event.request {
                    let file = front.files.get(&event.id).copied();
                    let whole = Event {
                        stream: stream.clone(),
                        request: request.clone(),
                    };
                    let record = record::encode(&whole, event.since, file.as_ref());
                    let unwritten = Unwritten {
                        receiver: receiver.clone(),
                        stream,
                        key: request.key().into(),
                        since: event.since,
                        size: event.size,
                        file,
                        record: record.into(),
                        durable: false,
                    };
                    front.add(event.id, unwritten);
                } else if let Some(event) = lock(&lanes).remove(&stream, event.id) {
                    self.dropped(&mut front, &event);
                    lost += 1;
                }
            }
        }
        lost
    }
}
