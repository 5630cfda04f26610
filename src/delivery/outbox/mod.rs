//! Events that outlive the process: a folder that one process owns and delivers from.
//!
//! An event takes this way. [`Handle`] (a receiver's [`Backlog`](super::backlog::Backlog)) writes it
//! to the journal, one `write` to a file, before `put` answers: from then on the end of the process,
//! however sudden, does not lose it. It waits in memory for its turn. A thread of its own brings
//! what the journal holds into an SQLite database, a batch in one transaction, so that thousands of
//! events a second cost the threads that make them a few microseconds each; an event that was
//! delivered before its turn came is not written there at all. With [`Durability::Power`] `put`
//! waits until the transaction is on the disk, so that events outlive the machine's power too.
//!
//! After a start everything in journal and database is taken up. An event whose delivery was not
//! noted before the end is sent again, under the same idempotency key: at least once, in the order
//! of its stream. Large bodies are files beside the database, each once. Beyond the limits the
//! named policy decides, as it does when the disk takes no more: `Refuse` refuses new events,
//! `DropOldest` keeps new ones in memory and drops the oldest, `Block` waits.

mod backlog;
mod bodies;
mod database;
mod front;
mod journal;
mod place;
mod record;
mod report;
pub mod view;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::backlog::Overflow;
use super::backlog::lanes::{Lanes, Waiting};
use crate::clock::Clock;
use bodies::{Bodies, Hash};
use database::{Contents, Database, Row};
use front::{Front, Unwritten};
use journal::Journal;
use place::Place;
use record::Body;

pub(super) use backlog::Handle;
pub use report::OutboxFigures;

/// Bytes of events whose requests are kept in memory while they wait.
const IN_MEMORY: usize = 64 << 20;

/// What an acknowledged event outlives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    /// The end of the process, also by `kill -9`.
    #[default]
    Process,
    /// A loss of power too; every event then waits for the disk.
    Power,
}

impl Durability {
    /// Name in arguments and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Power => "power",
        }
    }
}

/// How an outbox behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxSettings {
    /// Its folder.
    pub folder: PathBuf,
    /// Whether another folder beside it may be taken if another process has this one.
    pub or_beside: bool,
    /// Most bytes of events that wait.
    pub bytes: u64,
    /// Longest time for which an event is kept.
    pub age: Duration,
    /// What happens beyond the limits, and when the disk takes no more.
    pub overflow: Overflow,
    /// What an acknowledged event outlives.
    pub durability: Durability,
}

impl OutboxSettings {
    /// Settings with their defaults for a folder: 1 GiB, 7 days, the oldest make room.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            or_beside: false,
            bytes: 1 << 30,
            age: Duration::from_secs(7 * 24 * 3600),
            overflow: Overflow::DropOldest,
            durability: Durability::Process,
        }
    }
}

/// Why an outbox cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// Another process delivers from it.
    #[error(
        "the outbox {} is in use by process {process}; stop that one, or name another folder with --outbox", path.display()
    )]
    InUse {
        /// Its folder.
        path: PathBuf,
        /// Number of the process.
        process: String,
    },
    /// The folder cannot be made or written.
    #[error(
        "the outbox {} cannot be written: {reason}; name another folder with --outbox, or go without with --no-outbox", path.display()
    )]
    Folder {
        /// Its folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The database cannot be opened.
    #[error("the outbox {} cannot be opened: {reason}; name another folder with --outbox, or go without with --no-outbox", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no outbox in the folder.
    #[error("there is no outbox in {}; name its folder with --outbox", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// No event of this number.
    #[error("the outbox has no event {0}; `millrace outbox list` shows them")]
    NoEvent(u64),
    /// An event cannot be read back.
    #[error("event {0} cannot be read back: {1}")]
    Unreadable(u64, String),
}

/// An outbox that this process owns. Dropping it brings everything to rest first.
pub struct Outbox {
    core: Arc<Core>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What the threads of an outbox share.
struct Core {
    place: Place,
    settings: OutboxSettings,
    clock: Arc<dyn Clock>,
    bodies: Bodies,
    front: Mutex<Front>,
    /// Told when there is something to write.
    work: Condvar,
    /// Told when something was written or went.
    done: Condvar,
    /// Reads events that are not in memory.
    reader: Mutex<Option<Connection>>,
    receivers: Mutex<HashMap<Arc<str>, Arc<Mutex<Lanes>>>>,
    /// Bytes of the events that wait.
    bytes: AtomicU64,
    /// Bytes of those whose requests are in memory.
    in_memory: AtomicUsize,
    /// Events that became too old.
    aged: AtomicU64,
}

impl Outbox {
    /// Takes a folder into possession and takes up what is in it.
    ///
    /// # Errors
    /// If another process has it, or it cannot be written or read.
    pub fn open(settings: OutboxSettings, clock: Arc<dyn Clock>) -> Result<Self, OutboxError> {
        let place = if settings.or_beside {
            Place::take_first_free(&settings.folder)?
        } else {
            Place::take(&settings.folder)?
        };
        let folder = place.folder.clone();
        let failed = |error: std::io::Error| OutboxError::Folder {
            path: folder.clone(),
            reason: error.to_string(),
        };
        let (database, contents) = Database::open(&folder, settings.durability)?;
        let (journal, mut entries) = Journal::open(&folder).map_err(failed)?;
        entries.retain(|entry| entry.id > contents.mark);
        let fresh: Vec<(u64, Unwritten)> = entries
            .into_iter()
            .filter_map(|entry| Some((entry.id, Unwritten::read(entry.record)?)))
            .collect();
        let users = users(&contents.rows, &fresh);
        let synced = settings.durability == Durability::Power;
        let bodies = Bodies::open(folder.join("bodies"), synced, users).map_err(failed)?;
        let reader = database::reader(&folder).map_err(|error| OutboxError::Database {
            path: folder.clone(),
            reason: error.to_string(),
        })?;
        let core = Arc::new(Core {
            place,
            settings,
            clock,
            bodies,
            front: Mutex::new(Front::new(journal, &contents)),
            work: Condvar::new(),
            done: Condvar::new(),
            reader: Mutex::new(Some(reader)),
            receivers: Mutex::default(),
            bytes: AtomicU64::new(0),
            in_memory: AtomicUsize::new(0),
            aged: AtomicU64::new(0),
        });
        if let Err(error) = core.place.take_reserve() {
            tracing::error!(outbox = %folder.display(), %error, "the disk of the outbox is full");
            core.front().database_trouble = Some(error.to_string());
        }
        core.take_up(contents, fresh);
        let thread = writer::start(core.clone(), database).map_err(failed)?;
        Ok(Self {
            core,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.core.place.folder
    }

    /// The backlog of a receiver.
    pub(super) fn handle(&self, receiver: &Arc<str>) -> Handle {
        Handle::new(self.core.clone(), receiver.clone())
    }

    /// Receivers for which events wait.
    pub(super) fn receivers(&self) -> Vec<Arc<str>> {
        let receivers = self.core.receivers();
        let waiting = receivers.iter().filter(|(_, lanes)| lock(lanes).len() > 0);
        waiting.map(|(name, _)| name.clone()).collect()
    }

    /// Events that wait or are under way.
    pub(super) fn waiting(&self) -> usize {
        let receivers = self.core.receivers();
        receivers.values().map(|lanes| lock(lanes).len()).sum()
    }

    /// Events that became too old since the start.
    pub(super) fn aged(&self) -> u64 {
        self.core.aged.load(Ordering::Relaxed)
    }

    /// Takes no more events.
    pub(super) fn close(&self) {
        self.core.front().closed = true;
        self.core.done.notify_all();
    }

    /// Waits until everything is in the database, and ends the thread that writes.
    pub(super) fn rest(&self) {
        self.close();
        self.core.front().stop = true;
        self.core.work.notify_all();
        let thread = lock(&self.writer).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(
                "the thread that writes the outbox broke down; the journal has its events"
            );
        }
        self.core.place.release();
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.rest();
    }
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Outbox({})", self.folder().display())
    }
}

/// How many events name each large body.
fn users(rows: &[Row], fresh: &[(u64, Unwritten)]) -> HashMap<Hash, usize> {
    let mut users = HashMap::new();
    let rows = rows.iter().filter_map(|row| row.file);
    for hash in rows.chain(fresh.iter().filter_map(|(_, event)| event.file)) {
        *users.entry(hash).or_default() += 1;
    }
    users
}

impl Core {
    fn front(&self) -> MutexGuard<'_, Front> {
        lock(&self.front)
    }

    fn receivers(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Mutex<Lanes>>>> {
        lock(&self.receivers)
    }

    /// Milliseconds since 1970.
    fn now(&self) -> i64 {
        (self.clock.now().unix_seconds() * 1e3) as i64
    }

    /// The lanes of a receiver, made if they are new.
    fn lanes(&self, receiver: &Arc<str>) -> Arc<Mutex<Lanes>> {
        let mut receivers = self.receivers();
        if let Some(known) = receivers.get(receiver) {
            return known.clone();
        }
        let lanes = Arc::<Mutex<Lanes>>::default();
        receivers.insert(receiver.clone(), lanes.clone());
        lanes
    }

    /// Lets the events wait that were in the database and the journal.
    fn take_up(&self, contents: Contents, fresh: Vec<(u64, Unwritten)>) {
        let mut front = self.front();
        for row in contents.rows {
            if let Some(hash) = row.file {
                front.files.insert(row.id, hash);
            }
            if row.dead {
                front.dead += 1;
            } else {
                self.wait(
                    &row.receiver,
                    &row.stream,
                    row.id,
                    row.size,
                    row.attempts,
                    row.since,
                );
            }
        }
        for (id, event) in fresh {
            if let Some(hash) = event.file {
                front.files.insert(id, hash);
            }
            self.wait(
                &event.receiver,
                &event.stream,
                id,
                event.size,
                0,
                event.since,
            );
            front.add(id, event);
        }
    }

    /// Puts an event into its lane whose request is not in memory.
    fn wait(
        &self,
        receiver: &Arc<str>,
        stream: &Arc<str>,
        id: u64,
        size: usize,
        attempts: u32,
        since: i64,
    ) {
        let lanes = self.lanes(receiver);
        let event = Waiting {
            id,
            size,
            attempts,
            since,
            request: None,
            asker: None,
        };
        self.bytes.fetch_add(size as u64, Ordering::Relaxed);
        lock(&lanes).push(stream, event);
    }

    /// Takes an event off the books that left its lane.
    fn left(&self, event: &Waiting) {
        self.bytes.fetch_sub(event.size as u64, Ordering::Relaxed);
        if event.request.is_some() {
            self.in_memory.fetch_sub(event.size, Ordering::Relaxed);
        }
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the body of an event where it is in a file.
fn with_body(
    record: record::Record,
    read: impl FnOnce(&Hash) -> std::io::Result<bytes::Bytes>,
) -> Result<super::Request, String> {
    let mut request = record.request;
    if let Body::File { hash, .. } = &record.body {
        request.body = read(hash).map_err(|error| format!("its body: {error}"))?;
    }
    Ok(request)
}
