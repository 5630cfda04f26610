//! A video file that a client uploads chunk by chunk.
//!
//! Chunks go to disk as they come, so memory holds only those that overtook others
//! ([`OVERTAKING`]). The file is nobody else's to read, has a bounded size, takes its bytes out of a
//! [`Budget`] that all uploads share, and is deleted with the [`Upload`].

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::message::{BadMessage, upload_chunk};

/// Chunks that may wait for one before them.
pub const OVERTAKING: usize = 64;
/// Longest message that is taken; one of a standard client has 48 KiB.
const LONGEST: usize = 1 << 20;

/// Bytes that all uploads may take together.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    /// Nothing used of so many bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
        }
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    // Newer compilers call it `try_update`, which the oldest supported one does not know.
    #[allow(deprecated)]
    fn take(&self, bytes: u64) -> bool {
        let add = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .is_ok()
    }
}

/// Why an upload is given up.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum UploadError {
    /// A message is no chunk.
    #[error("a chunk of the video cannot be read: {0}")]
    Chunk(#[from] BadMessage),
    /// The numbers of a chunk contradict themselves or those before.
    #[error("chunk {index} of {total} does not belong to this video")]
    Numbers {
        /// Its index.
        index: u32,
        /// The number of chunks that it tells.
        total: u32,
    },
    /// Too many chunks came before one that is missing.
    #[error("chunk {missing} of the video is missing and {OVERTAKING} after it have come")]
    Missing {
        /// The index.
        missing: u32,
    },
    /// The file is too large.
    #[error("the video is larger than {limit} bytes; MILLRACE_WEBRTC_UPLOAD_MIB allows more")]
    TooLarge {
        /// How large it may be.
        limit: u64,
    },
    /// The uploads together are too large.
    #[error("uploaded videos fill the room that is set aside for them; try again later")]
    NoRoom,
    /// The disk refuses it.
    #[error("the video cannot be stored: {0}")]
    Disk(String),
}

/// An upload under way or complete; see the module documentation.
#[derive(Debug)]
pub struct Upload {
    path: PathBuf,
    file: Option<File>,
    limit: u64,
    budget: Arc<Budget>,
    bytes: u64,
    /// Index of the chunk that is written next, and the number of all.
    next: u32,
    total: Option<u32>,
    waiting: BTreeMap<u32, Vec<u8>>,
    waiting_bytes: u64,
}

impl Upload {
    /// Creates an empty file of this name in `folder`.
    ///
    /// # Errors
    /// If the disk refuses it.
    pub fn create(
        folder: &Path,
        name: &str,
        limit: u64,
        budget: Arc<Budget>,
    ) -> Result<Self, UploadError> {
        let path = folder.join(format!("millrace-webrtc-{name}.video"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(disk)?;
        Ok(Self {
            path,
            file: Some(file),
            limit,
            budget,
            bytes: 0,
            next: 0,
            total: None,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
        })
    }

    /// Where the video lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a message; true if the file is complete with it. What comes after that is ignored.
    ///
    /// # Errors
    /// The upload cannot go on.
    pub fn take(&mut self, message: &[u8]) -> Result<bool, UploadError> {
        if self.file.is_none() {
            return Ok(true);
        }
        if message.len() > LONGEST {
            return Err(BadMessage::Long(message.len()).into());
        }
        let (index, total, data) = upload_chunk(message)?;
        let known = *self.total.get_or_insert(total);
        if total != known || index >= total {
            return Err(UploadError::Numbers { index, total });
        }
        if index > self.next {
            return self.put_aside(index, data).map(|()| false);
        }
        if index == self.next {
            self.write(data)?;
            while let Some(data) = self.waiting.remove(&self.next) {
                self.waiting_bytes -= data.len() as u64;
                self.write(&data)?;
            }
        }
        if self.next < known {
            return Ok(false);
        }
        if let Some(mut file) = self.file.take() {
            file.flush().map_err(disk)?;
        }
        Ok(true)
    }

    fn put_aside(&mut self, index: u32, data: &[u8]) -> Result<(), UploadError> {
        if self.waiting.contains_key(&index) {
            return Ok(());
        }
        if self.waiting.len() >= OVERTAKING {
            return Err(UploadError::Missing { missing: self.next });
        }
        self.waiting_bytes += data.len() as u64;
        if self.bytes + self.waiting_bytes > self.limit {
            return Err(UploadError::TooLarge { limit: self.limit });
        }
        self.waiting.insert(index, data.to_vec());
        Ok(())
    }

    fn write(&mut self, data: &[u8]) -> Result<(), UploadError> {
        let size = data.len() as u64;
        if self.bytes + size > self.limit {
            return Err(UploadError::TooLarge { limit: self.limit });
        }
        if !self.budget.take(size) {
            return Err(UploadError::NoRoom);
        }
        self.bytes += size;
        self.next += 1;
        match &mut self.file {
            Some(file) => file.write_all(data).map_err(disk),
            None => Ok(()),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "an uploaded video cannot be deleted");
        }
    }
}

fn disk(error: std::io::Error) -> UploadError {
    UploadError::Disk(error.to_string().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(index: u32, total: u32, data: &[u8]) -> Vec<u8> {
        [&index.to_le_bytes()[..], &total.to_le_bytes(), data].concat()
    }

    fn upload(folder: &Path, limit: u64, budget: u64) -> (Upload, Arc<Budget>) {
        let budget = Arc::new(Budget::new(budget));
        let upload = Upload::create(folder, "a", limit, budget.clone()).unwrap();
        (upload, budget)
    }

    #[test]
    fn chunks_in_any_order_make_the_file_and_it_goes_with_its_upload() {
        let folder = tempfile::tempdir().unwrap();
        let (mut upload, budget) = upload(folder.path(), 100, 100);
        for (index, done) in [(2, false), (0, false), (0, false), (3, false), (1, true)] {
            let data = [b'a' + index as u8; 4];
            assert_eq!(upload.take(&chunk(index, 4, &data)), Ok(done), "{index}");
        }
        assert_eq!(upload.take(&chunk(0, 4, b"more")), Ok(true));
        let path = upload.path().to_owned();
        assert_eq!(std::fs::read(&path).unwrap(), b"aaaabbbbccccdddd");
        assert_eq!(budget.used(), 16);
        drop(upload);
        assert!(!path.exists());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn size_room_and_order_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let (mut small, _) = upload(folder.path(), 5, 100);
        assert_eq!(small.take(&chunk(0, 9, b"abc")), Ok(false));
        let refused = small.take(&chunk(1, 9, b"abc"));
        assert_eq!(refused, Err(UploadError::TooLarge { limit: 5 }));
        drop(small);
        let (mut crowded, _) = upload(folder.path(), 100, 5);
        assert_eq!(crowded.take(&chunk(0, 9, b"abc")), Ok(false));
        assert_eq!(crowded.take(&chunk(1, 9, b"abc")), Err(UploadError::NoRoom));
        drop(crowded);
        let (mut holed, _) = upload(folder.path(), 1_000_000, 1_000_000);
        for index in 1..=OVERTAKING as u32 {
            assert_eq!(holed.take(&chunk(index, 500, b"x")), Ok(false));
        }
        let refused = holed.take(&chunk(400, 500, b"x"));
        assert_eq!(refused, Err(UploadError::Missing { missing: 0 }));
    }

    #[test]
    fn numbers_that_contradict_each_other_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mut upload, _) = upload(folder.path(), 100, 100);
        assert!(upload.take(&chunk(0, 0, b"")).is_err());
        drop(upload);
        let (mut upload, _) = self::upload(folder.path(), 100, 100);
        assert_eq!(upload.take(&chunk(0, 3, b"x")), Ok(false));
        for (index, total) in [(1, 4), (3, 3), (u32::MAX, 3)] {
            let refused = upload.take(&chunk(index, total, b"x"));
            assert_eq!(refused, Err(UploadError::Numbers { index, total }));
        }
    }
}
