//! Files of JSON Lines: one JSON value a line.
//!
//! Lines are buffered and reach the file in whole groups, so that a reader that follows the file
//! sees whole lines soon and a busy stream does not pay for a system call a line. A group ends
//! after [`GROUP_LINES`] lines, when its first line is older than [`GROUP_AGE`] at the next write,
//! at [`JsonLines::flush`], and when the writer is dropped (errors are lost then: call
//! [`JsonLines::finish`]).
//!
//! With a [`Rotation`] a file that would grow over its size is put aside as `name.1`, those before it
//! become `name.2` and so on, and the oldest goes. A group is never parted, so every file holds
//! whole lines, and is larger than its size only where one group is.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

/// Lines of a group.
pub const GROUP_LINES: usize = 64;
/// Age of the first line of a group beyond which the group ends.
pub const GROUP_AGE: Duration = Duration::from_millis(500);

/// Why a line could not be written.
#[derive(Debug, thiserror::Error)]
pub enum JsonLinesError {
    /// The file could not be made.
    #[error("cannot create {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file could not be written to; lines of the group may be missing.
    #[error("cannot write to {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The full file could not be put aside; it goes on growing until that can be done.
    #[error("cannot put {} aside: {source}", path.display())]
    Rotate {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The value has no form in JSON.
    #[error("cannot write line {line} of {} as JSON: {source}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// How large a file becomes, and how many older ones stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a file.
    pub bytes: u64,
    /// Files that stay besides the one that is written.
    pub keep: usize,
}

impl Rotation {
    /// Puts a file aside, and takes the oldest away.
    fn apply(self, path: &Path) -> std::io::Result<()> {
        let aside = |number: usize| {
            let mut name = OsString::from(path);
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let absent_is_fine = |done: std::io::Result<()>| match done {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done,
        };
        for number in (1..self.keep).rev() {
            absent_is_fine(std::fs::rename(aside(number), aside(number + 1)))?;
        }
        absent_is_fine(match self.keep {
            0 => std::fs::remove_file(path),
            _ => std::fs::rename(path, aside(1)),
        })
    }
}

/// Writes a file of JSON Lines.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
    /// Bytes in the file.
    size: u64,
    rotation: Option<Rotation>,
    /// Whole lines that are not in the file yet.
    group: Vec<u8>,
    waiting: usize,
    group_start: Instant,
    lines: u64,
}

impl JsonLines {
    /// A new file in place of any that is there; its folder is made too.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, JsonLinesError> {
        let mut options = OpenOptions::new();
        Self::open(path.into(), options.write(true).create(true).truncate(true))
    }

    /// The file with new lines behind those that it has.
    pub fn append(path: impl Into<PathBuf>) -> Result<Self, JsonLinesError> {
        Self::open(path.into(), OpenOptions::new().append(true).create(true))
    }

    fn open(path: PathBuf, options: &OpenOptions) -> Result<Self, JsonLinesError> {
        let made = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder),
            _ => Ok(()),
        };
        let opened = made.and_then(|()| {
            let file = options.open(&path)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        });
        match opened {
            Ok((file, size)) => Ok(Self {
                path,
                file,
                size,
                rotation: None,
                group: Vec::new(),
                waiting: 0,
                group_start: Instant::now(),
                lines: 0,
            }),
            Err(source) => Err(JsonLinesError::Create { path, source }),
        }
    }

    /// The same with a bounded size, of all files too.
    #[must_use]
    pub fn rotated(mut self, rotation: Option<Rotation>) -> Self {
        self.rotation = rotation;
        self
    }

    /// Adds a line.
    pub fn write<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonLinesError> {
        if self.waiting == 0 {
            self.group_start = Instant::now();
        }
        let before = self.group.len();
        if let Err(source) = serde_json::to_writer(&mut self.group, value) {
            self.group.truncate(before);
            return Err(JsonLinesError::Value {
                path: self.path.clone(),
                line: self.lines + 1,
                source,
            });
        }
        self.group.push(b'\n');
        self.waiting += 1;
        self.lines += 1;
        if self.waiting >= GROUP_LINES || self.group_start.elapsed() >= GROUP_AGE {
            self.flush()?;
        }
        Ok(())
    }

    /// Ends the group: every line so far is in the file. After an error the lines of the group are
    /// given up, so that a full disk does not turn into a full memory.
    pub fn flush(&mut self) -> Result<(), JsonLinesError> {
        let rotated = self.rotate();
        let written = self.file.write_all(&self.group);
        self.size = match (&written, self.file.metadata()) {
            // What a full disk did not take counts for nothing: else the files that are put aside would be
            // ever shorter, and those with results would go.
            (Err(_), Ok(file)) => file.len(),
            _ => self.size + self.group.len() as u64,
        };
        self.group.clear();
        self.waiting = 0;
        written.map_err(|source| JsonLinesError::Write {
            path: self.path.clone(),
            source,
        })?;
        rotated.map_err(|source| JsonLinesError::Rotate {
            path: self.path.clone(),
            source,
        })
    }

    /// Begins a new file if the group finds no room in this one.
    fn rotate(&mut self) -> std::io::Result<()> {
        let Some(rotation) = self.rotation else {
            return Ok(());
        };
        if self.size == 0 || self.size + self.group.len() as u64 <= rotation.bytes {
            return Ok(());
        }
        rotation.apply(&self.path)?;
        let mut options = OpenOptions::new();
        self.file = options.append(true).create(true).open(&self.path)?;
        self.size = 0;
        Ok(())
    }

    /// Ends the file and returns the number of its new lines.
    pub fn finish(mut self) -> Result<u64, JsonLinesError> {
        self.flush()?;
        Ok(self.lines)
    }

    /// Lines added so far.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for JsonLines {
    fn drop(&mut self) {
        if let Err(error) = self.flush() {
            tracing::warn!(%error, "lines lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_reach_the_file_in_groups() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/results.jsonl");
        let read = || std::fs::read_to_string(&path).unwrap();
        let mut lines = JsonLines::create(&path).unwrap();
        for i in 0..GROUP_LINES - 1 {
            lines.write(&json!({"frame": i, "name": "a\nb"})).unwrap();
        }
        assert_eq!(read(), "");
        lines.write(&json!({"last": true})).unwrap();
        assert_eq!(read().lines().count(), GROUP_LINES);
        assert!(read().starts_with("{\"frame\":0,\"name\":\"a\\nb\"}\n"));
        lines.write(&json!(1)).unwrap();
        lines.flush().unwrap();
        assert!(read().ends_with("{\"last\":true}\n1\n"));
        assert_eq!(lines.finish().unwrap(), GROUP_LINES as u64 + 1);

        JsonLines::append(&path).unwrap().write(&json!(2)).unwrap();
        assert!(read().ends_with("1\n2\n"), "dropping writes what is left");
    }

    fn files(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let rotation = |keep| Some(Rotation { bytes: 30, keep });
        let lines = JsonLines::append(&path).unwrap();
        let mut lines = lines.rotated(rotation(2));
        // Ten bytes each: three to a file.
        for number in 10..21 {
            lines.write(&json!({"n": number + 90})).unwrap();
            lines.flush().unwrap();
        }
        lines.finish().unwrap();
        assert_eq!(files(folder.path()), ["a.jsonl", "a.jsonl.1", "a.jsonl.2"]);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let numbers = |from: u32| -> String {
            let lines = (from..from + 3).filter(|n| *n < 111);
            lines.map(|n| format!("{{\"n\":{n}}}\n")).collect()
        };
        assert_eq!(read("a.jsonl"), numbers(109));
        assert_eq!(read("a.jsonl.1"), numbers(106));
        assert_eq!(read("a.jsonl.2"), numbers(103));

        // A file that was there counts, and nothing older needs to stay.
        let mut lines = JsonLines::append(&path).unwrap().rotated(rotation(0));
        for number in 111..113 {
            lines.write(&json!({"n": number})).unwrap();
            lines.flush().unwrap();
        }
        lines.finish().unwrap();
        assert_eq!(read("a.jsonl"), "{\"n\":112}\n");
        assert_eq!(files(folder.path()).len(), 3);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn lines_that_found_no_room_on_the_disk_put_no_file_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let lines = JsonLines::append(&path).unwrap();
        let mut lines = lines.rotated(Some(Rotation { bytes: 8, keep: 2 }));
        for _ in 0..5 {
            lines.write("lost").unwrap();
            assert!(matches!(lines.flush(), Err(JsonLinesError::Write { .. })));
        }
        assert_eq!(files(folder.path()), ["a.jsonl"]);
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_loses_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::create_dir_all(folder.path().join("a.jsonl.1/in the way")).unwrap();
        let lines = JsonLines::append(&path).unwrap();
        let mut lines = lines.rotated(Some(Rotation { bytes: 1, keep: 1 }));
        lines.write("one").unwrap();
        lines.flush().unwrap();
        lines.write("two").unwrap();
        let error = lines.flush().unwrap_err().to_string();
        assert!(error.starts_with("cannot put "), "{error}");
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "\"one\"\n\"two\"\n"
        );
    }

    #[test]
    fn errors_name_the_file() {
        let full = JsonLines::append("/dev/full");
        let mut full = full.unwrap();
        full.write(&json!(1)).unwrap();
        let error = full.flush().unwrap_err().to_string();
        assert!(error.starts_with("cannot write to /dev/full: "), "{error}");
        let error = JsonLines::create("/dev/null/x").unwrap_err().to_string();
        assert!(error.starts_with("cannot create /dev/null/x: "), "{error}");
    }

    #[test]
    fn a_value_without_a_form_in_json_leaves_no_half_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut lines = JsonLines::create(folder.path().join("a")).unwrap();
        let bad = std::collections::HashMap::from([((1, 2), "tuple key")]);
        assert!(lines.write(&bad).is_err());
        lines.write("good").unwrap();
        let path = lines.path().to_owned();
        assert_eq!(lines.finish().unwrap(), 1);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "\"good\"\n");
    }
}
