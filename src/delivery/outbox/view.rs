//! An outbox from outside: what waits, what was given up, and what is to become of it.
//!
//! Works beside the process that delivers, through the database: changes are noted in `touched`,
//! and that process follows within a second. If no process delivers, the folder is taken into
//! possession for as long as the view lasts, and what the journal holds is brought in first.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde_json::{Map, Value as Json, json};

use super::database::{self, Batch, Database, FILE};
use super::front::Front;
use super::journal::Journal;
use super::place::Place;
use super::report::time;
use super::{Durability, OutboxError, Unwritten, bodies, record, with_body};
use crate::delivery::Request;
use crate::redact::Redacted;

const BUSY: Duration = Duration::from_secs(5);
/// Headers whose values are shown.
const SHOWN: &[&str] = &["content-type", "idempotency-key", "x-millrace-definition"];

/// An outbox seen from outside.
pub struct View {
    connection: Connection,
    folder: PathBuf,
    /// Held if no other process delivers.
    place: Option<Place>,
}

/// Which events are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// These only; all if empty.
    pub ids: Vec<u64>,
    /// Given-up ones only.
    pub dead: bool,
    /// Those for this receiver (scheme, host and port) only.
    pub receiver: Option<String>,
    /// Those of this stream only.
    pub stream: Option<String>,
}

/// An event as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Its number.
    pub id: u64,
    /// Its idempotency key.
    pub key: String,
    /// Who is to receive it.
    pub receiver: String,
    /// Its stream.
    pub stream: String,
    /// Whether it was given up.
    pub dead: bool,
    /// Attempts made.
    pub attempts: u32,
    /// When it was put in, in milliseconds since 1970.
    pub since: i64,
    /// Its bytes.
    pub size: u64,
    /// When the next attempt is due, in milliseconds since 1970, if one failed.
    pub next: Option<i64>,
    /// What went wrong last.
    pub error: Option<String>,
}

impl Listed {
    /// The event for programs.
    pub fn to_json(&self) -> Json {
        json!({
            "id": self.id,
            "key": self.key,
            "receiver": self.receiver,
            "stream": self.stream,
            "state": if self.dead { "dead" } else { "queued" },
            "attempts": self.attempts,
            "queued_at": time(self.since),
            "bytes": self.size,
            "next_attempt_at": self.next.map(time),
            "last_error": self.error,
        })
    }
}

fn failed(folder: &Path) -> impl Fn(rusqlite::Error) -> OutboxError {
    let path = folder.join(FILE);
    move |error| OutboxError::Database {
        path: path.clone(),
        reason: error.to_string(),
    }
}

impl View {
    /// Opens the outbox of a folder.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub fn open(folder: &Path) -> Result<Self, OutboxError> {
        if !folder.join(FILE).is_file() {
            return Err(OutboxError::Missing {
                path: folder.to_owned(),
            });
        }
        let place = match Place::take(folder) {
            Ok(place) => {
                bring_in(folder)?;
                Some(place)
            }
            Err(OutboxError::InUse { .. }) => None,
            Err(error) => return Err(error),
        };
        let connection = Connection::open(folder.join(FILE)).map_err(failed(folder))?;
        connection.busy_timeout(BUSY).map_err(failed(folder))?;
        Ok(Self {
            connection,
            folder: folder.to_owned(),
            place,
        })
    }

    /// Whether a process delivers from it now.
    pub fn is_live(&self) -> bool {
        self.place.is_none()
    }

    /// The events meant, oldest first, at most so many.
    pub fn list(&self, selection: &Selection, limit: usize) -> Result<Vec<Listed>, OutboxError> {
        let (condition, values) = selection.condition();
        let query = format!(
            "SELECT id, key, receiver, stream, dead, attempts, since, size, next, error \
             FROM events WHERE {condition} ORDER BY id LIMIT {}",
            i64::try_from(limit).unwrap_or(i64::MAX)
        );
        let read = || -> rusqlite::Result<Vec<Listed>> {
            let mut statement = self.connection.prepare(&query)?;
            let rows = statement.query_map(params_from_iter(values), |row| {
                Ok(Listed {
                    id: row.get::<_, i64>(0)?.cast_unsigned(),
                    key: row.get(1)?,
                    receiver: row.get(2)?,
                    stream: row.get(3)?,
                    dead: row.get(4)?,
                    attempts: row.get(5)?,
                    since: row.get(6)?,
                    size: row.get::<_, i64>(7)?.cast_unsigned(),
                    next: row.get(8)?,
                    error: row.get(9)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(failed(&self.folder))
    }

    /// How many events wait, and how many were given up.
    pub fn counts(&self) -> Result<(u64, u64), OutboxError> {
        let count = "SELECT count(*), count(*) FILTER (WHERE dead = 1) FROM events";
        let counted = self.connection.query_row(count, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        });
        let (all, dead) = counted.map_err(failed(&self.folder))?;
        Ok(((all - dead).cast_unsigned(), dead.cast_unsigned()))
    }

    /// One event with its request. Headers that may be secrets and the secrets of the address are
    /// left out unless `secrets` asks for them.
    pub fn show(&self, id: u64, secrets: bool) -> Result<Json, OutboxError> {
        let selection = Selection {
            ids: vec![id],
            ..Selection::default()
        };
        let listed = self.list(&selection, 1)?.pop();
        let listed = listed.ok_or(OutboxError::NoEvent(id))?;
        self.export(&listed, secrets)
    }

    /// A listed event with its request.
    pub fn export(&self, listed: &Listed, secrets: bool) -> Result<Json, OutboxError> {
        let mut json = listed.to_json();
        let request = self.request(listed.id)?;
        json["method"] = request.method.as_str().into();
        json["url"] = if secrets {
            request.url.as_str().into()
        } else {
            request.redacted_url().to_string().into()
        };
        if secrets {
            json["receiver"] = request.receiver().into();
        }
        let headers: Map<String, Json> = request
            .headers
            .iter()
            .map(|(name, value)| {
                let shown = secrets || SHOWN.contains(&name.as_str());
                let text = if shown {
                    String::from_utf8_lossy(value.as_bytes()).into_owned()
                } else {
                    "***".into()
                };
                (name.to_string(), text.into())
            })
            .collect();
        json["headers"] = headers.into();
        match std::str::from_utf8(&request.body) {
            Ok(text) => json["body"] = text.into(),
            Err(_) => json["body_base64"] = STANDARD.encode(&request.body).into(),
        }
        Ok(json)
    }

    /// The request of an event.
    pub fn request(&self, id: u64) -> Result<Request, OutboxError> {
        let unreadable = |why: String| OutboxError::Unreadable(id, why);
        let bytes = database::record(&self.connection, id)
            .map_err(|error| unreadable(error.to_string()))?
            .ok_or(OutboxError::NoEvent(id))?;
        let record = record::decode(&bytes).map_err(|error| unreadable(error.to_string()))?;
        let bodies = self.folder.join("bodies");
        with_body(record, |hash| bodies::read(&bodies, hash)).map_err(unreadable)
    }

    /// Lets the events meant be sent now: those given up go back into their streams, those that
    /// wait for another attempt wait no longer. Returns how many those are.
    pub fn retry(&mut self, selection: &Selection) -> Result<usize, OutboxError> {
        self.change(
            selection,
            "UPDATE events SET dead = 0, attempts = 0, next = NULL",
        )
    }

    /// Takes the events meant away for good. Returns how many those are.
    pub fn drop(&mut self, selection: &Selection) -> Result<usize, OutboxError> {
        self.change(selection, "DELETE FROM events")
    }

    fn change(&mut self, selection: &Selection, what: &str) -> Result<usize, OutboxError> {
        let (condition, values) = selection.condition();
        let note = format!("INSERT OR IGNORE INTO touched SELECT id FROM events WHERE {condition}");
        let change = format!("{what} WHERE {condition}");
        let mut write = || -> rusqlite::Result<usize> {
            let immediate = rusqlite::TransactionBehavior::Immediate;
            let transaction = self.connection.transaction_with_behavior(immediate)?;
            transaction.execute(&note, params_from_iter(values.iter()))?;
            let changed = transaction.execute(&change, params_from_iter(values.iter()))?;
            transaction.commit()?;
            Ok(changed)
        };
        write().map_err(failed(&self.folder))
    }

    /// What was counted over the life of the outbox: delivered, retried, dead, dropped.
    pub fn totals(&self) -> Result<Json, OutboxError> {
        let mut totals = Map::new();
        for name in ["delivered", "retried", "dead", "dropped"] {
            let query = "SELECT value FROM figures WHERE name = ?";
            let value: Option<i64> = self
                .connection
                .query_row(query, [name], |row| row.get(0))
                .optional()
                .map_err(failed(&self.folder))?;
            totals.insert(format!("{name}_total"), value.unwrap_or(0).into());
        }
        Ok(totals.into())
    }

    /// A receiver's name, safe to show.
    pub fn shown_receiver(name: &str) -> String {
        Redacted::text(name).to_string()
    }
}

impl Selection {
    /// The condition in SQL, and its values.
    fn condition(&self) -> (String, Vec<String>) {
        let mut parts = vec!["1".to_owned()];
        let mut values = Vec::new();
        if !self.ids.is_empty() {
            let ids: Vec<String> = self
                .ids
                .iter()
                .map(|id| id.cast_signed().to_string())
                .collect();
            parts.push(format!("id IN ({})", ids.join(",")));
        }
        if self.dead {
            parts.push("dead = 1".to_owned());
        }
        for (column, value) in [("receiver", &self.receiver), ("stream", &self.stream)] {
            if let Some(value) = value {
                parts.push(format!("{column} = ?"));
                values.push(value.clone());
            }
        }
        (parts.join(" AND "), values)
    }
}

/// Brings what the journal holds into the database of an outbox that nobody delivers from.
fn bring_in(folder: &Path) -> Result<(), OutboxError> {
    let (mut database, contents) = Database::open(folder, Durability::Process)?;
    let unusable = |reason: String| OutboxError::Folder {
        path: folder.to_owned(),
        reason,
    };
    let (journal, entries) = Journal::open(folder).map_err(|e| unusable(e.to_string()))?;
    let mut front = Front::new(journal, &contents);
    for entry in entries.into_iter().filter(|entry| entry.id > contents.mark) {
        if let Some(event) = Unwritten::read(entry.record) {
            front.add(entry.id, event);
        }
    }
    while front.has_work() {
        let batch: Batch = front.batch();
        database
            .write(&batch)
            .map_err(|e| unusable(e.to_string()))?;
        front.written(batch.mark);
        let emptied = front.journal.empty_both(batch.mark);
        emptied.map_err(|e| unusable(e.to_string()))?;
    }
    Ok(())
}
