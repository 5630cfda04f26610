//! Whether the cache folder can be written, lies where it lasts, and has room.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::finding::bytes;
use super::mounts::{self, Lasting};
use super::{Check, Circumstances, Finding};
use crate::clock::Clock;

/// Room below which not even definitions are safe.
const NO_ROOM: u64 = 16 << 20;
/// Room below which the next model may not fit.
const LITTLE_ROOM: u64 = 1 << 30;

pub(super) fn check(at: &Circumstances, _: &dyn Clock) -> Vec<Finding> {
    let Ok(settings) = &at.settings else {
        let why = "the settings cannot be used";
        return [Check::CacheWritable, Check::CacheVolume, Check::CacheSpace]
            .map(|check| Finding::not_applicable(check, why))
            .to_vec();
    };
    let folder = std::path::absolute(&settings.cache_dir).unwrap_or(settings.cache_dir.clone());
    let existing = existing(&folder);
    let real = fs::canonicalize(&existing).unwrap_or(existing);
    vec![
        writable(&folder, &real),
        volume(&folder, &real, &at.mounts),
        space(&folder, room(&real)),
    ]
}

/// The folder itself, or the nearest one above it that exists.
fn existing(folder: &Path) -> PathBuf {
    folder
        .ancestors()
        .find(|path| path.symlink_metadata().is_ok())
        .unwrap_or(Path::new("/"))
        .to_owned()
}

fn writable(folder: &Path, existing: &Path) -> Finding {
    let shown = folder.display();
    if !existing.is_dir() {
        return Finding::fault(
            Check::CacheWritable,
            format!(
                "{shown} cannot be a folder: {} is a file",
                existing.display()
            ),
            format!(
                "remove {}, or set MODEL_CACHE_DIR to a folder",
                existing.display()
            ),
        );
    }
    let definitions = folder.join("workflow");
    let places = [existing, definitions.as_path()];
    let tried = places.iter().filter(|place| place.exists());
    for place in tried {
        if let Err(error) = try_to_write(place) {
            return refused(place, &error);
        }
    }
    Finding::ok(
        Check::CacheWritable,
        match folder.exists() {
            true => format!("{shown} can be written"),
            false => format!("{shown} does not exist and can be created"),
        },
    )
}

/// Writes a file, brings it to the disk, and removes it.
fn try_to_write(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".doctor.{}.tmp", uuid::Uuid::new_v4().simple()));
    let file = fs::File::options().write(true).create_new(true).open(&path);
    let written = file.and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    // If it could not be created there is nothing to remove.
    let _ = fs::remove_file(&path);
    written
}

fn refused(place: &Path, error: &io::Error) -> Finding {
    let shown = place.display();
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("free space: `du -xh {shown} | sort -h | tail` shows what is large")
        }
        io::ErrorKind::ReadOnlyFilesystem => format!(
            "mount it for writing (a container: `-v {shown}:{shown}` without `:ro`), or set MODEL_CACHE_DIR"
        ),
        _ => {
            format!("`sudo chown -R $(id -u) {shown}`, or set MODEL_CACHE_DIR to a folder of yours")
        }
    };
    Finding::fault(
        Check::CacheWritable,
        format!("{shown} cannot be written: {}", lower(error)),
        remedy,
    )
}

fn lower(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

fn volume(folder: &Path, real: &Path, table: &str) -> Finding {
    let Some(mount) = mounts::of(table, real) else {
        return Finding::not_applicable(Check::CacheVolume, "what is mounted where cannot be read");
    };
    let shown = folder.display();
    let on = format!("{shown} is on {} ({})", mount.place.display(), mount.kind);
    let remedy = format!(
        "give the container a volume: `docker run -v millrace-cache:{shown} …`, or set MODEL_CACHE_DIR to one that is mounted"
    );
    match mount.lasting() {
        Lasting::Disk => Finding::ok(Check::CacheVolume, on),
        Lasting::Layer => Finding::warning(
            Check::CacheVolume,
            format!("{on}: the layer of this container, and gone when it is created anew"),
            remedy,
        ),
        Lasting::Memory => Finding::warning(
            Check::CacheVolume,
            format!("{on}: memory, and gone at the next start"),
            format!("set MODEL_CACHE_DIR to a folder on a disk; {remedy}"),
        ),
    }
}

/// What is left of a file system.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Room {
    /// Bytes in all.
    size: u64,
    /// Bytes that may still be written.
    free: u64,
    /// Files in all; 0 where they are not counted.
    files: u64,
    /// Files that may still be created.
    free_files: u64,
}

fn room(path: &Path) -> io::Result<Room> {
    let found = rustix::fs::statvfs(path)?;
    Ok(Room {
        size: found.f_blocks.saturating_mul(found.f_frsize),
        free: found.f_bavail.saturating_mul(found.f_frsize),
        files: found.f_files,
        free_files: found.f_favail,
    })
}

fn space(folder: &Path, room: io::Result<Room>) -> Finding {
    let room = match room {
        Ok(room) => room,
        Err(error) => return Finding::not_applicable(Check::CacheSpace, lower(&error)),
    };
    let shown = folder.display();
    let full = 100.0 * (1.0 - room.free as f64 / room.size.max(1) as f64);
    let evidence = format!(
        "{} of {} are free at {shown} ({full:.0} % full)",
        bytes(room.free),
        bytes(room.size)
    );
    let remedy = format!(
        "free space (`du -xh {shown} | sort -h | tail` shows what is large), or set MODEL_CACHE_DIR to a larger volume"
    );
    if room.free < NO_ROOM {
        Finding::fault(Check::CacheSpace, evidence, remedy)
    } else if room.files > 0 && room.free_files == 0 {
        let evidence = format!("{evidence}, and no file can be created: no inodes are left");
        Finding::fault(
            Check::CacheSpace,
            evidence,
            "remove files that nobody needs; `df -i` shows the count",
        )
    } else if room.free < LITTLE_ROOM {
        Finding::warning(Check::CacheSpace, evidence, remedy)
    } else {
        Finding::ok(Check::CacheSpace, evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn room_is_judged_by_what_still_has_to_fit() {
        let of = |free, files, free_files| {
            let room = Room {
                size: 100 << 30,
                free,
                files,
                free_files,
            };
            space(Path::new("/c"), Ok(room)).verdict
        };
        assert_eq!(of(50 << 30, 100, 50), Verdict::Ok);
        assert_eq!(
            of(50 << 30, 0, 0),
            Verdict::Ok,
            "a file system without inodes"
        );
        assert_eq!(of(500 << 20, 100, 50), Verdict::Warning);
        assert_eq!(of(1 << 20, 100, 50), Verdict::Fault);
        assert_eq!(of(50 << 30, 100, 0), Verdict::Fault);
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_no_fault_and_stays_away() {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("a/b");
        let found = writable(&cache, &existing(&cache));
        assert_eq!(found.verdict, Verdict::Ok);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn each_refusal_has_its_own_remedy() {
        let remedy = |kind: io::ErrorKind| refused(Path::new("/c"), &kind.into()).remedy.unwrap();
        assert!(remedy(io::ErrorKind::StorageFull).contains("du -xh"));
        assert!(remedy(io::ErrorKind::ReadOnlyFilesystem).contains("without `:ro`"));
        assert!(remedy(io::ErrorKind::PermissionDenied).contains("chown"));
    }
}
