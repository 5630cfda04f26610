//! Locks between processes, as the reference's library takes them: an exclusive `flock` on a file
//! beside what is written. The file stays when the lock is released.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// How often a taken lock is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct FileLock(#[allow(dead_code)] File);

impl FileLock {
    /// Takes the lock unless somebody has it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        // A holder may have removed the file before it let go; then the lock is on nothing.
        let (held, there) = (file.metadata()?, fs::metadata(path));
        let same = there.is_ok_and(|t| (t.dev(), t.ino()) == (held.dev(), held.ino()));
        Ok(same.then_some(Self(file)))
    }

    /// Waits for the lock; `None` if for so long somebody had it and `headway` did not change.
    ///
    /// # Errors
    /// Those of the file system.
    pub async fn take(
        path: &Path,
        patience: Duration,
        headway: impl Fn() -> u64,
    ) -> io::Result<Option<Self>> {
        let (mut waited, mut last) = (Duration::ZERO, headway());
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(Some(lock));
            }
            let now = headway();
            if now != last {
                (waited, last) = (Duration::ZERO, now);
            }
            if waited >= patience {
                return Ok(None);
            }
            tokio::time::sleep(PAUSE).await;
            waited += PAUSE;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_holds_it_and_waiting_ends_without_headway() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".a.lock");
        let held = FileLock::try_take(&path).unwrap().unwrap();
        assert!(FileLock::try_take(&path).unwrap().is_none());
        let none = FileLock::take(&path, Duration::from_millis(60), || 0).await;
        assert!(none.unwrap().is_none());
        // As long as the holder gets on, one waits.
        let ticks = AtomicU64::new(0);
        let headway = || ticks.fetch_add(1, Ordering::Relaxed).min(6);
        let wait = FileLock::take(&path, Duration::from_millis(100), headway);
        assert!(wait.await.unwrap().is_none());
        assert!(ticks.load(Ordering::Relaxed) > 6);
        drop(held);
        assert!(FileLock::try_take(&path).unwrap().is_some());
    }
}
