//! What has not reached the database yet: new events and what became of older ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::bodies::Hash;
use super::database::{Batch, Change, Contents, Insert, Totals};
use super::journal::Journal;
use super::record::{self, Body};

/// Bytes of new events in one transaction: it has to find room in the log of the database.
const BATCH: usize = 1 << 20;
/// What became of events, so many in one transaction.
const CHANGES: usize = 10_000;

/// The side of an outbox that events come in at. Events get their numbers here.
pub(super) struct Front {
    pub journal: Journal,
    pub next_id: u64,
    /// Events that are not in the database, by number.
    pub unwritten: BTreeMap<u64, Unwritten>,
    /// Their bytes.
    pub unwritten_bytes: usize,
    /// What became of events since the last batch.
    pub changes: HashMap<u64, Change>,
    /// Large bodies of events.
    pub files: HashMap<u64, Hash>,
    /// Events under way that somebody else took away.
    pub doomed: HashSet<u64>,
    /// Events up to this number are in the database or done with.
    pub written: u64,
    pub totals: Totals,
    /// Events that were given up and are kept.
    pub dead: u64,
    /// Why the journal could not be written last time.
    pub journal_trouble: Option<String>,
    /// The same for the database.
    pub database_trouble: Option<String>,
    /// How often the disk did not take something.
    pub failures: u64,
    pub closed: bool,
    pub stop: bool,
    /// Whether the thread that writes waits to be told.
    pub idle: bool,
    /// Whether somebody waits for the batch.
    pub urgent: bool,
}

/// An event that is not in the database.
#[derive(Clone, Debug)]
pub(super) struct Unwritten {
    pub receiver: Arc<str>,
    pub stream: Arc<str>,
    pub key: Arc<str>,
    pub since: i64,
    pub size: usize,
    pub file: Option<Hash>,
    pub record: Arc<[u8]>,
    /// Whether the journal has it.
    pub durable: bool,
}

impl Unwritten {
    /// An event out of the journal.
    pub(super) fn read(bytes: Vec<u8>) -> Option<Self> {
        let read = record::decode(&bytes).ok()?;
        let (file, beside) = match read.body {
            Body::Here(_) => (None, 0),
            Body::File { hash, length } => (Some(hash), length),
        };
        Some(Self {
            receiver: read.request.receiver().into(),
            stream: read.stream,
            key: read.request.key().into(),
            since: read.since,
            size: bytes.len() + usize::try_from(beside).unwrap_or(usize::MAX),
            file,
            record: bytes.into(),
            durable: true,
        })
    }
}

impl Front {
    pub(super) fn new(journal: Journal, contents: &Contents) -> Self {
        let newest = contents.rows.last().map_or(0, |row| row.id);
        Self {
            journal,
            next_id: newest.max(contents.mark) + 1,
            unwritten: BTreeMap::new(),
            unwritten_bytes: 0,
            changes: HashMap::new(),
            files: HashMap::new(),
            doomed: HashSet::new(),
            written: contents.mark,
            totals: contents.totals,
            dead: 0,
            journal_trouble: None,
            database_trouble: None,
            failures: 0,
            closed: false,
            stop: false,
            idle: false,
            urgent: false,
        }
    }

    /// Notes a new event of this number.
    pub(super) fn add(&mut self, id: u64, event: Unwritten) {
        self.next_id = self.next_id.max(id + 1);
        self.unwritten_bytes += event.record.len();
        self.unwritten.insert(id, event);
    }

    /// Takes an event out again that is not in the database.
    pub(super) fn take_back(&mut self, id: u64) -> Option<Unwritten> {
        let event = self.unwritten.remove(&id)?;
        self.unwritten_bytes -= event.record.len();
        Some(event)
    }

    /// Notes what became of an event.
    pub(super) fn change(&mut self, id: u64, change: Change) {
        self.changes.insert(id, change);
    }

    /// Whether there is something to write.
    pub(super) fn has_work(&self) -> bool {
        !self.changes.is_empty() || !self.unwritten.is_empty()
    }

    /// What is to be written now: the oldest new events, and what became of events up to those. New
    /// events stay on the books until they are written.
    pub(super) fn batch(&mut self) -> Batch {
        self.journal.turn();
        self.urgent = false;
        let (mut bytes, mut mark, mut inserts) = (0, self.next_id - 1, Vec::new());
        for (id, event) in &self.unwritten {
            if bytes > BATCH {
                mark = id - 1;
                break;
            }
            if self.changes.get(id) != Some(&Change::Delete) {
                bytes += event.record.len();
                inserts.push(insert(*id, event));
            }
        }
        let changes = self.changes.extract_if(|id, _| *id <= mark).take(CHANGES);
        Batch {
            changes: changes.collect(),
            inserts,
            mark,
            totals: self.totals,
        }
    }

    /// Puts back what could not be written; what happened meanwhile is newer.
    pub(super) fn put_back(&mut self, batch: Batch) {
        for (id, change) in batch.changes {
            self.changes.entry(id).or_insert(change);
        }
    }

    /// Takes off the books what was written; hands it out, for it takes time to let go of.
    pub(super) fn written(&mut self, mark: u64) -> BTreeMap<u64, Unwritten> {
        let newer = self.unwritten.split_off(&(mark + 1));
        let written = std::mem::replace(&mut self.unwritten, newer);
        let bytes: usize = written.values().map(|event| event.record.len()).sum();
        self.unwritten_bytes -= bytes;
        self.written = mark;
        written
    }

    /// What is wrong with the disk, if something is.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.journal_trouble
            .as_deref()
            .or(self.database_trouble.as_deref())
    }
}

fn insert(id: u64, event: &Unwritten) -> Insert {
    Insert {
        id,
        receiver: event.receiver.clone(),
        stream: event.stream.clone(),
        key: event.key.clone(),
        since: event.since,
        size: event.size,
        file: event.file,
        record: event.record.clone(),
    }
}
