//! What becomes of a damaged database: it is set aside, and a new one goes on with what can still be
//! read of it.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{Contents, Database, DatabaseError, Result};
use crate::delivery::outbox::Durability;

impl Database {
    /// Sets the damaged file aside and starts a new one with what can be read of the old.
    pub(super) fn replace(
        path: &Path,
        durability: Durability,
        reason: &str,
    ) -> Result<(Self, Contents)> {
        let aside = set_aside(path).map_err(|e| DatabaseError::Storage(e.to_string()))?;
        let mut database = Self::connect(path, durability)?;
        let saved = database.salvage(&aside);
        tracing::error!(
            damaged = %aside.display(), reason, saved,
            "the outbox was damaged: it is set aside and a new one goes on with what could be read"
        );
        let contents = database.contents()?;
        database.version = database.data_version()?;
        Ok((database, contents))
    }

    /// As [`Self::replace`], in the place of this one.
    pub(in crate::delivery::outbox) fn restart(&mut self, reason: &str) -> Result<()> {
        let (fresh, _) = Self::replace(&self.path.clone(), self.durability, reason)?;
        *self = fresh;
        Ok(())
    }

    /// Copies the rows that can be read, from the oldest on, then from the newest back.
    fn salvage(&mut self, from: &Path) -> usize {
        let mut saved = 0;
        for order in ["ASC", "DESC"] {
            saved += self.salvage_in_order(from, order).unwrap_or_else(|error| {
                tracing::debug!(%error, order, "the damaged outbox can be read no further");
                0
            });
        }
        saved
    }

    fn salvage_in_order(&mut self, from: &Path, order: &str) -> Result<usize> {
        let old = Connection::open(from)?;
        let columns =
            "id, receiver, stream, key, dead, attempts, since, size, next, error, file, record";
        let mut read = old.prepare(&format!("SELECT {columns} FROM events ORDER BY id {order}"))?;
        let mut rows = read.query([])?;
        let transaction = self.connection.transaction()?;
        let mut saved = 0;
        {
            let mut write = transaction.prepare(&format!(
                "INSERT OR IGNORE INTO events ({columns}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
            ))?;
            while let Ok(Some(row)) = rows.next() {
                let values: rusqlite::Result<Vec<rusqlite::types::Value>> =
                    (0..12).map(|i| row.get(i)).collect();
                let Ok(values) = values else { break };
                match write.execute(rusqlite::params_from_iter(values)) {
                    Ok(added) => saved += added,
                    Err(_) => break,
                }
            }
        }
        transaction.commit()?;
        Ok(saved)
    }
}

/// Renames the files of a database; returns the new name of the main one.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let named = |n: u32, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}{suffix}"));
        PathBuf::from(name)
    };
    let n = (1..).find(|n| !named(*n, "").exists()).unwrap_or(1);
    for suffix in ["-wal", "-shm"] {
        let mut from = path.as_os_str().to_owned();
        from.push(suffix);
        if Path::new(&from).exists() {
            std::fs::rename(from, named(n, suffix))?;
        }
    }
    std::fs::rename(path, named(n, ""))?;
    Ok(named(n, ""))
}
