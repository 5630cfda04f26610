//! Definitions in files: single ones, those of a watched folder, those of the local editor.
//!
//! A file is looked at rather than waited for: time of change, size and inode are compared, which
//! works on every file system (network shares, mounts of container hosts, links that are replaced as
//! a whole) and costs microseconds. A file that changed so lately that the next change could carry
//! the same time is read again. Broken content counts only once it had time to be written to its
//! end.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::answer::{Answer, unwrap_file};
use super::disk;
use super::stamp::Source;
use crate::clock::Clock;

/// Time after a change within which another one may carry the same time.
const UNSETTLED: Duration = Duration::from_secs(1);
/// Time after a change that a writer has to come to the end.
const WRITING: Duration = Duration::from_millis(400);
/// Largest file that is read.
const MAX_FILE: u64 = 32 << 20;

/// What a look at a file found.
#[derive(Debug, PartialEq)]
pub(crate) enum Look<T> {
    /// Nothing new.
    Same,
    /// Content that was read now; it may equal the old one.
    Read(T),
    /// The file is missing or holds something else than it should, and why.
    Failed(String),
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Mark {
    inode: u64,
    size: u64,
    changed: (i64, i64),
    status_changed: (i64, i64),
}

impl Mark {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
            status_changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// A definition's file that is looked at from time to time.
#[derive(Debug)]
pub(super) struct WatchedFile {
    file: Watched,
    source: Source,
}

impl WatchedFile {
    pub(super) fn new(path: PathBuf, source: Source) -> Self {
        Self {
            file: Watched::new(path),
            source,
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// Looks at the file and reads it if it may have changed.
    pub(super) fn look(&mut self, clock: &dyn Clock) -> Look<Answer> {
        self.file.look(clock, unwrap_file)
    }
}

/// A file of any content that is looked at from time to time.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    /// State when the file was last read, and whether it can be trusted.
    seen: Option<(Mark, bool)>,
}

impl Watched {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Looks at the file and, if it may have changed, reads it as `parse` does.
    pub(crate) fn look<T>(
        &mut self,
        clock: &dyn Clock,
        parse: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Look<T> {
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) => {
                self.seen = None;
                return Look::Failed(missing(&error));
            }
        };
        let mark = Mark::of(&metadata);
        if self.seen == Some((mark, true)) {
            return Look::Same;
        }
        let since = metadata.modified().map_or(f64::MAX, |changed| {
            clock.now().unix_seconds() - disk::timestamp(changed).unix_seconds()
        });
        self.seen = Some((mark, since > UNSETTLED.as_secs_f64()));
        match read(&self.path, &metadata).and_then(|body| parse(&body)) {
            Ok(content) => Look::Read(content),
            Err(_) if (0.0..WRITING.as_secs_f64()).contains(&since) => Look::Same,
            Err(reason) => Look::Failed(reason),
        }
    }
}

fn missing(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "the file is not there; check its name".into(),
        _ => format!("the file cannot be read: {error}"),
    }
}

fn read(path: &Path, metadata: &Metadata) -> Result<Vec<u8>, String> {
    if !metadata.is_file() {
        return Err("it is no regular file".into());
    }
    if metadata.len() > MAX_FILE {
        return Err(format!("it is longer than {MAX_FILE} bytes"));
    }
    fs::read(path).map_err(|e| missing(&e))
}

/// The file of a definition in a watched folder.
///
/// # Errors
/// If the name could lead out of the folder.
pub(super) fn in_folder(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let harmless = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(harmless) {
        return Err("a name may have letters, digits, `-`, `_`, `.` and blanks only".into());
    }
    Ok(folder.join(format!("{name}.json")))
}

/// The names of the definitions in a folder, sorted.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(folder)?
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let name = name.strip_suffix(".json")?;
            in_folder(folder, name).ok().map(|_| name.to_owned())
        })
        .collect();
    names.sort();
    Ok(names)
}

/// Whether the local editor could have saved a definition under this id.
pub(super) fn is_local_id(id: &str) -> bool {
    !id.is_empty()
        && id
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::*;
    use crate::clock::SystemClock;

    fn write(path: &Path, text: &str, ago: Duration) {
        fs::write(path, text).unwrap();
        let file = fs::File::options().append(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - ago).unwrap();
    }

    fn version(look: Look<Answer>) -> String {
        match look {
            Look::Read(answer) => answer.definition["version"].as_str().unwrap().to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_change_is_seen_whatever_the_clock_of_the_file_system_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let clock = SystemClock::default();
        let mut file = WatchedFile::new(path.clone(), Source::File);
        assert!(matches!(file.look(&clock), Look::Failed(_)));
        let old = Duration::from_secs(60);
        write(&path, "{\"version\": \"1\"}", old);
        assert_eq!(version(file.look(&clock)), "1");
        assert_eq!(file.look(&clock), Look::Same);
        write(&path, "{\"version\": \"2\"}", Duration::ZERO);
        assert_eq!(version(file.look(&clock)), "2");
        assert_eq!(version(file.look(&clock)), "2", "read again: too young");
        write(&path, "{\"version\": \"3\"}", old * 2);
        assert_eq!(version(file.look(&clock)), "3", "a file set back in time");
        fs::remove_file(&path).unwrap();
        assert!(matches!(file.look(&clock), Look::Failed(_)));
        write(&path, "{\"version\": \"3\"}", old * 2);
        assert_eq!(version(file.look(&clock)), "3");
    }

    #[test]
    fn half_a_file_is_waited_for_and_a_broken_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let clock = SystemClock::default();
        let mut file = WatchedFile::new(path.clone(), Source::File);
        write(&path, "{\"version\": ", Duration::ZERO);
        assert_eq!(file.look(&clock), Look::Same);
        write(&path, "{\"version\": ", WRITING * 2);
        assert!(matches!(file.look(&clock), Look::Failed(r) if r.contains("not JSON")));
    }

    #[test]
    fn names_stay_in_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.json", "a b.json", ".hidden.json", "c.txt"] {
            fs::write(folder.path().join(name), json!({}).to_string()).unwrap();
        }
        assert_eq!(names(folder.path()).unwrap(), ["a b", "b"]);
        for name in ["", "..", "../a", "a/b", ".a", "a\\b", "a\0"] {
            assert!(in_folder(folder.path(), name).is_err(), "{name}");
        }
        assert!(is_local_id("A_b-1") && is_local_id("żółw"));
        assert!(!is_local_id("") && !is_local_id("my flow") && !is_local_id("../x"));
    }
}
