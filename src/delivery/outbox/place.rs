//! The folder of an outbox, and who owns it.
//!
//! One process at a time delivers what is in an outbox; it holds a lock on the file `lock`, which
//! the kernel takes away with the process, however it ends.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, flock};
use rustix::io::Errno;

use super::OutboxError;

const LOCK: &str = "lock";
const RESERVE: &str = "reserve";
/// Room that is kept for the work that makes room: the log of the database grows to 4 MiB and a
/// batch before it is brought in, and the database by as much then.
const RESERVED: u64 = 8 << 20;
/// Outboxes side by side at the default place.
const PLACES: u32 = 16;

/// A folder that this process owns.
#[derive(Debug)]
pub(super) struct Place {
    pub folder: PathBuf,
    lock: File,
}

impl Place {
    /// Makes the folder if it is not there and takes it into possession.
    ///
    /// # Errors
    /// If another process has it, or it cannot be written.
    pub(super) fn take(folder: &Path) -> Result<Self, OutboxError> {
        let failed = |error: io::Error| OutboxError::Folder {
            path: folder.to_owned(),
            reason: error.to_string(),
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(folder).map_err(failed)?;
        let mut options = File::options();
        options.read(true).write(true).create(true).mode(0o600);
        let lock = options.truncate(false).open(folder.join(LOCK));
        let mut lock = lock.map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut process = String::new();
                let _ = lock.read_to_string(&mut process);
                return Err(OutboxError::InUse {
                    path: folder.to_owned(),
                    process: process.trim().to_owned(),
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        // Who holds it, for the one who finds it held; a full disk must not keep it from its owner.
        let _ = lock
            .set_len(0)
            .and_then(|()| write!(lock, "{}", std::process::id()));
        Ok(Self {
            folder: folder.to_owned(),
            lock,
        })
    }

    /// Keeps some room on the disk for bad times. A file system that cannot set room aside does
    /// without.
    ///
    /// # Errors
    /// If the disk has no such room, or cannot be written.
    pub(super) fn take_reserve(&self) -> io::Result<()> {
        let path = self.folder.join(RESERVE);
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path)?;
        if file.metadata()?.len() == RESERVED {
            return Ok(());
        }
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, RESERVED) {
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => {
                self.give_reserve();
                Err(error.into())
            }
        }
    }

    /// Gives that room to the database.
    pub(super) fn give_reserve(&self) {
        // There may be none, or the disk may be read-only.
        let _ = std::fs::remove_file(self.folder.join(RESERVE));
    }

    /// Lets another process have it.
    pub(super) fn release(&self) {
        if let Err(error) = flock(&self.lock, FlockOperation::Unlock) {
            tracing::debug!(%error, "the lock goes with the process");
        }
    }

    /// Takes the folder, or the first of `folder-2`, `folder-3` … that no other process has.
    pub(super) fn take_first_free(folder: &Path) -> Result<Self, OutboxError> {
        let mut taken = Self::take(folder);
        for n in 2..=PLACES {
            if !matches!(taken, Err(OutboxError::InUse { .. })) {
                break;
            }
            let mut name = folder.as_os_str().to_owned();
            name.push(format!("-{n}"));
            taken = Self::take(Path::new(&name));
        }
        taken
    }
}

/// Makes a file if it is not there, and keeps others from reading it: requests hold secrets. The
/// folder may be one that everybody reads.
pub(super) fn keep_private(path: &Path) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path)?;
    match file.metadata()?.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => file.set_permissions(Permissions::from_mode(0o600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/outbox");
        let first = Place::take(&path).unwrap();
        let text = Place::take(&path).unwrap_err().to_string();
        let process = std::process::id().to_string();
        assert!(
            text.contains("in use by process") && text.contains(&process),
            "{text}"
        );
        let second = Place::take_first_free(&path).unwrap();
        assert!(second.folder.ends_with("outbox-2"));
        drop(first);
        assert!(
            Place::take_first_free(&path)
                .unwrap()
                .folder
                .ends_with("outbox")
        );
    }
}
