//! The events of an outbox in SQLite: one row an event, written in batches by one thread.
//!
//! The file is in WAL mode, so that others (`millrace outbox`) may read and change rows at the same
//! time; what they changed they note in `touched`. `figures` holds what is counted over the life of
//! the outbox, and `mark`: events up to that number are no longer taken from the journal.

mod damage;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row as SqlRow, params};

use super::bodies::Hash;
use super::place::keep_private;
use super::{Durability, OutboxError};

/// Name of the file.
pub(super) const FILE: &str = "outbox.db";
/// Identifies the file as one of ours ("mlro").
const APPLICATION: i64 = 0x6d6c_726f;
/// Version of the tables below.
const SCHEMA: i64 = 1;
/// How long a writer waits for another process.
const BUSY: Duration = Duration::from_secs(5);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY,
    receiver TEXT NOT NULL,
    stream TEXT NOT NULL,
    key TEXT NOT NULL,
    dead INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    since INTEGER NOT NULL,
    size INTEGER NOT NULL,
    next INTEGER,
    error TEXT,
    file BLOB,
    record BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS dead_events ON events (id) WHERE dead = 1;
CREATE INDEX IF NOT EXISTS events_with_files ON events (file) WHERE file IS NOT NULL;
CREATE TABLE IF NOT EXISTS touched (id INTEGER PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS figures (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
";

/// What the books say about an event; its bytes are read when they are needed.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub id: u64,
    pub receiver: Arc<str>,
    pub stream: Arc<str>,
    pub dead: bool,
    pub attempts: u32,
    pub since: i64,
    pub size: usize,
    pub file: Option<Hash>,
}

/// An event that is not in the database yet.
#[derive(Clone, Debug)]
pub(super) struct Insert {
    pub id: u64,
    pub receiver: Arc<str>,
    pub stream: Arc<str>,
    pub key: Arc<str>,
    pub since: i64,
    pub size: usize,
    pub file: Option<Hash>,
    pub record: Arc<[u8]>,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is gone.
    Delete,
    /// It waits for another attempt.
    Again {
        attempts: u32,
        next: i64,
        error: Option<Arc<str>>,
    },
    /// It was given up and is kept for somebody to look at.
    Dead {
        attempts: u32,
        error: Option<Arc<str>>,
    },
}

/// Counted over the life of the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub delivered: u64,
    pub retried: u64,
    pub dead: u64,
    pub dropped: u64,
}

impl Totals {
    fn named(&self) -> [(&'static str, u64); 4] {
        [
            ("delivered", self.delivered),
            ("retried", self.retried),
            ("dead", self.dead),
            ("dropped", self.dropped),
        ]
    }
}

/// What is written in one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub inserts: Vec<Insert>,
    pub changes: HashMap<u64, Change>,
    /// Events up to this number are in the database or done with.
    pub mark: u64,
    pub totals: Totals,
}

/// Why the database did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    /// The file is damaged or no database.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The disk is full, read-only or fails.
    #[error("{0}")]
    Storage(String),
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(text),
            _ => Self::Storage(text),
        }
    }
}

type Result<T> = std::result::Result<T, DatabaseError>;

/// The database, for the one process that owns the outbox.
pub(super) struct Database {
    pub(super) connection: Connection,
    path: PathBuf,
    durability: Durability,
    version: i64,
}

/// What an outbox starts with.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub rows: Vec<Row>,
    pub mark: u64,
    pub totals: Totals,
}

impl Database {
    /// Opens the database of a folder, or makes it. A damaged one is set aside, what can still be
    /// read of it is taken over, and a new one takes its place.
    pub(super) fn open(
        folder: &Path,
        durability: Durability,
    ) -> std::result::Result<(Self, Contents), OutboxError> {
        let path = folder.join(FILE);
        let failed = |error: DatabaseError| OutboxError::Database {
            path: path.clone(),
            reason: error.to_string(),
        };
        match Self::open_checked(&path, durability) {
            Ok(opened) => Ok(opened),
            Err(DatabaseError::Damaged(reason)) => {
                Self::replace(&path, durability, &reason).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn open_checked(path: &Path, durability: Durability) -> Result<(Self, Contents)> {
        let mut database = Self::connect(path, durability)?;
        let verdict: String =
            database
                .connection
                .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(DatabaseError::Damaged(verdict));
        }
        database.connection.execute("DELETE FROM touched", [])?;
        let contents = database.contents()?;
        database.version = database.data_version()?;
        Ok((database, contents))
    }

    fn connect(path: &Path, durability: Durability) -> Result<Self> {
        // What SQLite puts beside the file gets its permissions.
        if let Err(error) = keep_private(path) {
            tracing::warn!(path = %path.display(), %error, "others may be able to read the outbox");
        }
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        // Has an effect only on a file without tables, before its first page is written.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let synchronous = match durability {
            Durability::Process => "NORMAL",
            Durability::Power => "FULL",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        let application: i64 =
            connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let schema: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if (application, schema) != (APPLICATION, SCHEMA) {
            let tables: i64 =
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            if tables > 0 {
                let wrong = format!("not an outbox of this version (schema {schema})");
                return Err(DatabaseError::Damaged(wrong));
            }
            connection.execute_batch(TABLES)?;
            connection.pragma_update(None, "application_id", APPLICATION)?;
            connection.pragma_update(None, "user_version", SCHEMA)?;
        }
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self {
            connection,
            path: path.to_owned(),
            durability,
            version: 0,
        })
    }

    fn contents(&self) -> Result<Contents> {
        let mut statement = self.connection.prepare(
            "SELECT id, receiver, stream, dead, attempts, since, size, file FROM events ORDER BY id",
        )?;
        let mut names = Names::default();
        let mut found = statement.query([])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            rows.push(read_row(row, &mut names)?);
        }
        let figure = |name: &str| -> Result<u64> {
            let value: Option<i64> = self
                .connection
                .query_row("SELECT value FROM figures WHERE name = ?", [name], |r| {
                    r.get(0)
                })
                .optional()?;
            Ok(value.map_or(0, i64::cast_unsigned))
        };
        Ok(Contents {
            rows,
            mark: figure("mark")?,
            totals: Totals {
                delivered: figure("delivered")?,
                retried: figure("retried")?,
                dead: figure("dead")?,
                dropped: figure("dropped")?,
            },
        })
    }

    /// Writes a batch, all of it or nothing.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO events \
                 (id, receiver, stream, key, since, size, file, record, dead, attempts, next, error) \
                 VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            )?;
            for new in &batch.inserts {
                let (dead, attempts, next, error) = match batch.changes.get(&new.id) {
                    Some(Change::Delete) => continue,
                    Some(Change::Again {
                        attempts,
                        next,
                        error,
                    }) => (false, *attempts, Some(*next), error.as_deref()),
                    Some(Change::Dead { attempts, error }) => {
                        (true, *attempts, None, error.as_deref())
                    }
                    None => (false, 0, None, None),
                };
                insert.execute(params![
                    new.id.cast_signed(),
                    &*new.receiver,
                    &*new.stream,
                    &*new.key,
                    new.since,
                    new.size as i64,
                    new.file.as_ref().map(|hash| &hash.0[..]),
                    &new.record[..],
                    dead,
                    attempts,
                    next,
                    error,
                ])?;
            }
            let mut delete = transaction.prepare_cached("DELETE FROM events WHERE id = ?")?;
            let mut update = transaction.prepare_cached(
                "UPDATE events SET dead = ?, attempts = ?, next = ?, error = ? WHERE id = ?",
            )?;
            let known = |id: &u64| batch.inserts.binary_search_by_key(id, |i| i.id).is_ok();
            for (id, change) in batch.changes.iter().filter(|(id, _)| !known(id)) {
                let id = id.cast_signed();
                match change {
                    Change::Delete => delete.execute([id])?,
                    Change::Again {
                        attempts,
                        next,
                        error,
                    } => update.execute(params![false, attempts, next, error.as_deref(), id])?,
                    Change::Dead { attempts, error } => update.execute(params![
                        true,
                        attempts,
                        None::<i64>,
                        error.as_deref(),
                        id
                    ])?,
                };
            }
            let mut figure =
                transaction.prepare_cached("INSERT OR REPLACE INTO figures VALUES (?, ?)")?;
            for (name, value) in [("mark", batch.mark)]
                .into_iter()
                .chain(batch.totals.named())
            {
                figure.execute(params![name, value.cast_signed()])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// The events that somebody else changed since the last call: their rows, or none if they are
    /// gone.
    pub(super) fn touched(&mut self) -> Result<Vec<(u64, Option<Row>)>> {
        let version = self.data_version()?;
        if version == self.version {
            return Ok(Vec::new());
        }
        self.version = version;
        let transaction = self.connection.transaction()?;
        let mut found = Vec::new();
        {
            let mut ids = transaction.prepare_cached("SELECT id FROM touched ORDER BY id")?;
            let mut row = transaction.prepare_cached(
                "SELECT id, receiver, stream, dead, attempts, since, size, file \
                 FROM events WHERE id = ?",
            )?;
            let mut names = Names::default();
            let touched: rusqlite::Result<Vec<i64>> = ids.query_map([], |r| r.get(0))?.collect();
            for id in touched? {
                let row = row
                    .query_row([id], |r| read_row(r, &mut names))
                    .optional()?;
                found.push((id.cast_unsigned(), row));
            }
        }
        if !found.is_empty() {
            transaction.execute("DELETE FROM touched", [])?;
        }
        transaction.commit()?;
        Ok(found)
    }

    /// The given-up events that have to go so that the newer ones take no more than so many bytes and
    /// none is older than `since`.
    pub(super) fn trim_dead(&mut self, bytes: u64, since: i64) -> Result<Vec<u64>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, size, since FROM events WHERE dead = 1 ORDER BY id DESC")?;
        let mut rows = statement.query([])?;
        let (mut sum, mut gone) = (0u64, Vec::new());
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            sum = sum.saturating_add(row.get::<_, i64>(1)?.max(0).cast_unsigned());
            if sum > bytes || row.get::<_, i64>(2)? < since {
                gone.push(id.cast_unsigned());
            }
        }
        Ok(gone)
    }

    /// Events that were given up.
    pub(super) fn dead(&self) -> Result<u64> {
        let count = "SELECT count(*) FROM events WHERE dead = 1";
        let dead: i64 = self.connection.query_row(count, [], |row| row.get(0))?;
        Ok(dead.cast_unsigned())
    }

    /// Numbers of all events.
    pub(super) fn ids(&self) -> Result<HashSet<u64>> {
        let mut statement = self.connection.prepare("SELECT id FROM events")?;
        let ids = statement.query_map([], |row| row.get::<_, i64>(0))?;
        let ids: rusqlite::Result<HashSet<u64>> =
            ids.map(|id| id.map(i64::cast_unsigned)).collect();
        Ok(ids?)
    }

    /// Gives room in the file system back where that is possible: what the log holds goes into the
    /// database, and pages that nothing uses are cut off.
    pub(super) fn shrink(&self) -> Result<()> {
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        self.connection.query_row(checkpoint, [], |_| Ok(()))?;
        self.connection.execute_batch("PRAGMA incremental_vacuum")?;
        Ok(())
    }

    fn data_version(&self) -> Result<i64> {
        let version = self
            .connection
            .pragma_query_value(None, "data_version", |row| row.get(0))?;
        Ok(version)
    }
}

/// Texts that many rows share, each once.
#[derive(Default)]
struct Names(HashMap<String, Arc<str>>);

impl Names {
    fn get(&mut self, name: String) -> Arc<str> {
        if let Some(known) = self.0.get(&name) {
            return known.clone();
        }
        let shared: Arc<str> = name.as_str().into();
        self.0.insert(name, shared.clone());
        shared
    }
}

fn read_row(row: &SqlRow<'_>, names: &mut Names) -> rusqlite::Result<Row> {
    Ok(Row {
        id: row.get::<_, i64>(0)?.cast_unsigned(),
        receiver: names.get(row.get(1)?),
        stream: names.get(row.get(2)?),
        dead: row.get(3)?,
        attempts: row.get(4)?,
        since: row.get(5)?,
        size: usize::try_from(row.get::<_, i64>(6)?).unwrap_or(0),
        file: hash(row.get(7)?),
    })
}

fn hash(bytes: Option<Vec<u8>>) -> Option<Hash> {
    bytes?.try_into().ok().map(Hash)
}

/// Reads the bytes of an event; none if there is no such event.
pub(super) fn record(connection: &Connection, id: u64) -> Result<Option<Vec<u8>>> {
    let mut statement = connection.prepare_cached("SELECT record FROM events WHERE id = ?")?;
    let found = statement.query_row([id.cast_signed()], |row| row.get(0));
    Ok(found.optional()?)
}

/// A connection that reads beside the one that writes.
pub(super) fn reader(folder: &Path) -> Result<Connection> {
    let connection = Connection::open(folder.join(FILE))?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}
