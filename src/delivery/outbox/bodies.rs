//! Large bodies, each once, in files named by their SHA-256.
//!
//! A body is written to a file beside its place and renamed, so that a file of the right name is
//! whole. Events are counted per file; with the last one the file goes. Files that no event names
//! are removed when the outbox is opened.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Bodies up to this size are kept in the database.
pub(super) const LARGE: usize = 32 * 1024;

/// SHA-256 of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Hash(pub [u8; 32]);

impl Hash {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hash that a file of this name stands for.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut hash = [0; 32];
        hex::decode_to_slice(name, &mut hash).ok()?;
        Some(Self(hash))
    }
}

impl std::fmt::Display for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The folder of large bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    folder: PathBuf,
    /// Whether files are brought to the disk before anybody relies on them.
    synced: bool,
    /// How many events name each file.
    users: Mutex<HashMap<Hash, usize>>,
}

impl Bodies {
    /// Bodies in this folder, named by events so many times each. Other files are removed.
    pub(super) fn open(
        folder: PathBuf,
        synced: bool,
        users: HashMap<Hash, usize>,
    ) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let hash = name.to_str().and_then(Hash::parse);
            if hash.is_none_or(|hash| !users.contains_key(&hash)) {
                // One that stays is in nobody's way and is tried again with the next start.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(Self {
            folder,
            synced,
            users: Mutex::new(users),
        })
    }

    /// Keeps a body for one more event.
    pub(super) fn keep(&self, body: &[u8]) -> io::Result<Hash> {
        let hash = Hash::of(body);
        let mut users = self.users();
        let path = self.path(&hash);
        if !users.contains_key(&hash) || !path.exists() {
            self.write(&path, body)?;
        }
        *users.entry(hash).or_default() += 1;
        Ok(hash)
    }

    /// One event fewer needs the body.
    pub(super) fn release(&self, hash: &Hash) {
        let mut users = self.users();
        let Some(count) = users.get_mut(hash) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            users.remove(hash);
            if let Err(error) = fs::remove_file(self.path(hash)) {
                tracing::debug!(%hash, %error, "the body of a finished event stays until the next start");
            }
        }
    }

    /// Reads a body back.
    pub(super) fn read(&self, hash: &Hash) -> io::Result<Bytes> {
        read(&self.folder, hash)
    }

    /// Bytes of all bodies.
    pub(super) fn files(&self) -> usize {
        self.users().len()
    }

    fn users(&self) -> MutexGuard<'_, HashMap<Hash, usize>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, hash: &Hash) -> PathBuf {
        self.folder.join(hash.to_string())
    }

    fn write(&self, path: &Path, body: &[u8]) -> io::Result<()> {
        let unfinished = path.with_extension("new");
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&unfinished).and_then(|mut file| {
            file.write_all(body)?;
            if self.synced {
                file.sync_all()?;
            }
            fs::rename(&unfinished, path)
        });
        if written.is_err() {
            // What is left of the attempt goes with the next start at the latest.
            let _ = fs::remove_file(&unfinished);
        } else if self.synced {
            File::open(&self.folder)?.sync_all()?;
        }
        written
    }
}

/// Reads a body out of a folder of bodies.
pub(super) fn read(folder: &Path, hash: &Hash) -> io::Result<Bytes> {
    let bytes = fs::read(folder.join(hash.to_string()))?;
    if Hash::of(&bytes) != *hash {
        let wrong = "the file of the body was changed";
        return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_body_is_there_once_for_as_long_as_an_event_needs_it() {
        let folder = tempfile::tempdir().unwrap();
        let bodies = Bodies::open(folder.path().into(), false, HashMap::new()).unwrap();
        let hash = bodies.keep(b"picture").unwrap();
        assert_eq!(bodies.keep(b"picture").unwrap(), hash);
        assert_eq!(names(folder.path()), [hash.to_string()]);
        bodies.release(&hash);
        assert_eq!(&bodies.read(&hash).unwrap()[..], b"picture");
        bodies.release(&hash);
        assert!(names(folder.path()).is_empty() && bodies.read(&hash).is_err());
        bodies.release(&hash);
    }

    #[test]
    fn what_nobody_needs_goes_with_the_start_and_changed_files_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Hash::of(b"kept");
        let lost = Hash::of(b"lost");
        for (hash, body) in [(kept, "kept"), (lost, "lost")] {
            fs::write(folder.path().join(hash.to_string()), body).unwrap();
        }
        fs::write(folder.path().join("x.new"), "half").unwrap();
        let users = HashMap::from([(kept, 1)]);
        let bodies = Bodies::open(folder.path().into(), true, users).unwrap();
        assert_eq!(names(folder.path()), [kept.to_string()]);
        fs::write(folder.path().join(kept.to_string()), "changed").unwrap();
        assert!(bodies.read(&kept).is_err());
    }
}
