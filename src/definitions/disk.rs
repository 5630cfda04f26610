//! Disk copies of the platform's answers, in the reference's layout below `MODEL_CACHE_DIR`.
//!
//! A copy is written to a file beside its place, brought to the disk, and renamed, so that a reader
//! sees the old or the new one whatever happens in between. The time of a copy's last change is when
//! the platform last gave or confirmed it. Reading follows no symbolic link below `workflow` and
//! takes regular files only. A damaged copy counts as none and stays where it is.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::answer::Answer;
use super::fingerprint;
use super::key::PlatformKey;
use crate::values::Timestamp;

/// Start of the names of files that are being written.
const UNFINISHED: &str = ".workflow.";
/// Age from which an unfinished file belongs to nobody any more.
const ABANDONED: Duration = Duration::from_secs(3600);
/// Largest copy that is read.
const MAX_COPY: u64 = 32 << 20;

/// A disk copy.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskCopy {
    /// What the platform answered.
    pub answer: Answer,
    /// When.
    pub written_at: Timestamp,
    /// The file.
    pub path: PathBuf,
}

/// A file that should be a disk copy and is not.
#[derive(Debug, thiserror::Error)]
#[error("the disk copy {} cannot be used: {reason}; it is replaced by the next answer of the platform", path.display())]
pub struct DamagedCopy {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// The folder of disk copies.
#[derive(Clone, Debug)]
pub struct DiskCache {
    root: PathBuf,
    single_tenant: bool,
    offline: bool,
}

impl DiskCache {
    /// Copies below this folder (`MODEL_CACHE_DIR`); with `single_tenant` all API keys share them,
    /// with `offline` those that online runs left are looked for too.
    pub fn new(root: impl Into<PathBuf>, single_tenant: bool, offline: bool) -> Self {
        Self {
            root: root.into(),
            single_tenant,
            offline,
        }
    }

    /// The place of a definition's copy.
    pub fn path(&self, key: &PlatformKey) -> PathBuf {
        self.root.join(key.disk_path(self.single_tenant))
    }

    /// Replaces the copy of a definition by this answer of the platform.
    ///
    /// # Errors
    /// Those of the file system. The old copy is then still there.
    pub fn write(&self, key: &PlatformKey, body: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder)?;
        let unfinished = folder.join(format!("{UNFINISHED}{}.tmp", uuid::Uuid::new_v4().simple()));
        let written =
            write_through(&unfinished, body).and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // What is left of the attempt is in nobody's way, so this may fail.
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        // Brings the new name to the disk too. Some file systems cannot; the copy is whole anyway.
        let _ = File::open(folder).and_then(|f| f.sync_all());
        Ok(())
    }

    /// Notes that the platform confirmed the copy of a definition at this time.
    pub fn confirm(&self, key: &PlatformKey, now: Timestamp) -> io::Result<()> {
        let seconds = Duration::try_from_secs_f64(now.unix_seconds()).unwrap_or_default();
        let file = File::options().append(true).open(self.path(key))?;
        file.set_modified(UNIX_EPOCH + seconds)
    }

    /// Removes what writers that were killed left behind.
    pub fn sweep(&self, key: &PlatformKey) {
        let path = self.path(key);
        let Some(Ok(entries)) = path.parent().map(fs::read_dir) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let unfinished = name
                .to_str()
                .is_some_and(|n| n.starts_with(UNFINISHED) && n.ends_with(".tmp"));
            let age = entry.metadata().and_then(|m| m.modified());
            let age = age.map(|t| SystemTime::now().duration_since(t).unwrap_or_default());
            if unfinished && age.is_ok_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The copy of a definition, if there is one.
    ///
    /// # Errors
    /// If the file is there but cannot be used.
    pub fn read(&self, key: &PlatformKey) -> Result<Option<DiskCopy>, DamagedCopy> {
        let mut damaged = None;
        for path in self.candidates(key) {
            match self.read_file(&path) {
                Ok(Some(copy)) => return Ok(Some(copy)),
                Ok(None) => {}
                Err(damage) => damaged = damaged.or(Some(damage)),
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// Where a copy may be, the best place first (section 2.4 of the server specification).
    fn candidates(&self, key: &PlatformKey) -> Vec<PathBuf> {
        let mut paths = vec![self.path(key)];
        if self.offline {
            match key.api_key() {
                Some(_) => paths.push(self.root.join(key.disk_path(false))),
                None => paths.extend(self.only_tenant(key)),
            }
        }
        if self.single_tenant && key.version().is_none() {
            let flat = |id: &str| {
                !id.is_empty()
                    && id
                        .bytes()
                        .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            };
            if flat(key.workspace()) && flat(key.workflow()) {
                let folder = self.root.join("workflow").join(key.workspace());
                paths.push(folder.join(format!("{}.json", key.workflow())));
            }
        }
        paths
    }

    /// The copy of the only API key that ever fetched the definition here.
    fn only_tenant(&self, key: &PlatformKey) -> Option<PathBuf> {
        let shared = self.root.join(fingerprint::disk_path(
            key.workspace(),
            key.workflow(),
            key.version(),
            Some("?"),
        ));
        let start = shared.file_name()?.to_str()?.strip_suffix("?.json")?;
        let entries = fs::read_dir(shared.parent()?).ok()?;
        let mut found: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| {
                let name = entry.file_name();
                name.to_str()
                    .and_then(|n| n.strip_prefix(start)?.strip_suffix(".json"))
                    .is_some_and(fingerprint::is_fingerprint)
            })
            .map(|entry| entry.path())
            .collect();
        if found.len() > 1 {
            tracing::warn!(
                id = %format_args!("{}/{}", key.workspace(), key.workflow()),
                copies = found.len(),
                "several API keys left a disk copy; bring the key that is meant"
            );
            return None;
        }
        found.pop()
    }

    fn read_file(&self, path: &Path) -> Result<Option<DiskCopy>, DamagedCopy> {
        let damage = |reason: String| DamagedCopy {
            path: path.to_owned(),
            reason,
        };
        let Some((body, modified)) = self.read_regular(path).map_err(damage)? else {
            return Ok(None);
        };
        let answer = Answer::parse(&body).map_err(damage)?;
        Ok(Some(DiskCopy {
            answer,
            written_at: timestamp(modified),
            path: path.to_owned(),
        }))
    }

    /// Content and time of a regular file that is reached without a symbolic link below `workflow`.
    fn read_regular(&self, path: &Path) -> Result<Option<(Vec<u8>, SystemTime)>, String> {
        let below = path.strip_prefix(&self.root).map_err(|e| e.to_string())?;
        let mut place = self.root.clone();
        for (depth, part) in below.components().enumerate() {
            let Component::Normal(part) = part else {
                return Err("it is outside of its folder".into());
            };
            place.push(part);
            match fs::symlink_metadata(&place) {
                Ok(found) if depth > 0 && found.is_symlink() => {
                    return Err(format!("{} is a symbolic link", place.display()));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.to_string()),
            }
        }
        let read = || -> io::Result<Result<(Vec<u8>, SystemTime), String>> {
            let metadata = fs::symlink_metadata(path)?;
            if !metadata.is_file() {
                return Ok(Err("it is no regular file".into()));
            }
            if metadata.len() > MAX_COPY {
                return Ok(Err(format!("it is longer than {MAX_COPY} bytes")));
            }
            let mut body = Vec::with_capacity(metadata.len() as usize);
            File::open(path)?.take(MAX_COPY).read_to_end(&mut body)?;
            Ok(Ok((body, metadata.modified()?)))
        };
        read().map_err(|e| e.to_string())?.map(Some)
    }
}

fn write_through(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).open(path)?;
    file.write_all(body)?;
    file.sync_all()
}

/// A time of the file system.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_micros(since.as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::definitions::ApiKey;

    fn body(tag: &str) -> Vec<u8> {
        let config = json!({"specification": {"version": tag}}).to_string();
        json!({"workflow": {"config": config, "id": "i"}, "status": "ok"})
            .to_string()
            .into()
    }

    fn key(api_key: Option<&str>) -> PlatformKey {
        PlatformKey::new("ws", "flow", None, api_key.map(ApiKey::new))
    }

    fn read(cache: &DiskCache, key: &PlatformKey) -> Option<String> {
        let copy = cache.read(key).unwrap()?;
        Some(copy.answer.definition["version"].as_str()?.to_owned())
    }

    #[test]
    fn a_copy_is_what_was_written_last_and_nothing_else_is_left() {
        let root = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(root.path(), false, false);
        let key = key(Some("K1"));
        assert_eq!(read(&cache, &key), None);
        cache.write(&key, &body("1")).unwrap();
        cache.write(&key, &body("2")).unwrap();
        assert_eq!(read(&cache, &key).as_deref(), Some("2"));
        let path = cache.path(&key);
        assert_eq!(fs::read(&path).unwrap(), body("2"), "as it came");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn another_key_has_another_copy_unless_all_share_one() {
        let root = tempfile::tempdir().unwrap();
        let own = DiskCache::new(root.path(), false, false);
        own.write(&key(Some("K1")), &body("1")).unwrap();
        assert_eq!(read(&own, &key(Some("K2"))), None);
        let shared = DiskCache::new(root.path(), true, false);
        assert_eq!(read(&shared, &key(Some("K1"))), None, "another mode");
        shared.write(&key(Some("K1")), &body("3")).unwrap();
        assert_eq!(read(&shared, &key(Some("K2"))).as_deref(), Some("3"));
    }

    #[test]
    fn offline_mode_finds_what_online_runs_left() {
        let root = tempfile::tempdir().unwrap();
        let online = DiskCache::new(root.path(), false, false);
        online.write(&key(Some("K1")), &body("1")).unwrap();
        let offline = DiskCache::new(root.path(), true, true);
        assert_eq!(read(&offline, &key(Some("K1"))).as_deref(), Some("1"));
        assert_eq!(read(&offline, &key(Some("K2"))), None);
        assert_eq!(
            read(&offline, &key(None)).as_deref(),
            Some("1"),
            "the only one"
        );
        online.write(&key(Some("K2")), &body("2")).unwrap();
        assert_eq!(read(&offline, &key(None)), None, "one of two");
    }

    #[test]
    fn the_flat_files_of_old_releases_are_read_in_single_tenant_mode() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("workflow/ws");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("flow.json"), body("0")).unwrap();
        let of = |single| read(&DiskCache::new(root.path(), single, false), &key(None));
        assert_eq!(of(true).as_deref(), Some("0"));
        assert_eq!(of(false), None);
    }

    #[test]
    fn damaged_copies_and_links_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(root.path(), false, false);
        let key = key(None);
        cache.write(&key, &body("1")).unwrap();
        let path = cache.path(&key);
        fs::write(&path, &body("1")[..40]).unwrap();
        assert!(cache.read(&key).unwrap_err().reason.contains("not JSON"));
        assert!(path.exists(), "a damaged copy stays");
        let elsewhere = root.path().join("elsewhere.json");
        fs::write(&elsewhere, body("9")).unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(cache.read(&key).unwrap_err().reason.contains("link"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(cache.read(&key).unwrap_err().reason.contains("regular"));
    }

    #[test]
    fn a_confirmation_is_the_time_of_the_file() {
        let root = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(root.path(), false, false);
        cache.write(&key(None), &body("1")).unwrap();
        let at = Timestamp::from_unix_micros(1_700_000_000_250_000);
        cache.confirm(&key(None), at).unwrap();
        let copy = cache.read(&key(None)).unwrap().unwrap();
        assert_eq!(copy.written_at, at);
    }

    #[test]
    fn leftovers_go_when_they_are_old() {
        let root = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(root.path(), false, false);
        cache.write(&key(None), &body("1")).unwrap();
        let folder = cache.path(&key(None)).parent().unwrap().to_owned();
        let (old, young) = (
            folder.join(".workflow.a.tmp"),
            folder.join(".workflow.b.tmp"),
        );
        fs::write(&young, b"{").unwrap();
        let file = File::create(&old).unwrap();
        file.set_modified(SystemTime::now() - 2 * ABANDONED)
            .unwrap();
        cache.sweep(&key(None));
        assert!(!old.exists() && young.exists());
        assert_eq!(read(&cache, &key(None)).as_deref(), Some("1"));
    }
}
