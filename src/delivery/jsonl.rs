//! Files of JSON Lines: one JSON value a line.
//!
//! Lines are buffered and reach the file in whole groups, so that a reader that follows the file
//! sees whole lines soon and a busy stream does not pay for a system call a line. A group ends
//! after [`GROUP_LINES`] lines, when its first line is older than [`GROUP_AGE`] at the next write,
//! at [`JsonLines::flush`], and when the writer is dropped (errors are lost then: call
//! [`JsonLines::finish`]).

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

/// Writes a file of JSON Lines.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
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
        match made.and_then(|()| options.open(&path)) {
            Ok(file) => Ok(Self {
                path,
                file,
                group: Vec::new(),
                waiting: 0,
                group_start: Instant::now(),
                lines: 0,
            }),
            Err(source) => Err(JsonLinesError::Create { path, source }),
        }
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
        let written = self.file.write_all(&self.group);
        self.group.clear();
        self.waiting = 0;
        written.map_err(|source| JsonLinesError::Write {
            path: self.path.clone(),
            source,
        })
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
