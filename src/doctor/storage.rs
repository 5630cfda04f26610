//! Where definitions are kept: whether copies can be written, outlive the container, have room, and
//! are whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Finding, Subject};
use crate::definitions::Answer;

/// Space below which copies and models soon cannot be written.
const TOO_LITTLE: u64 = 100 << 20;
/// Share of a volume below which its filling up is worth knowing.
const SCARCE: f64 = 0.1;

/// Space of a volume, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size.
    pub total: u64,
    /// What is left for this user.
    pub free: u64,
}

/// The space of the volume that a folder is on.
pub fn space_of(folder: &Path) -> io::Result<Space> {
    let volume = rustix::fs::statvfs(folder)?;
    Ok(Space {
        total: volume.f_blocks * volume.f_frsize,
        free: volume.f_bavail * volume.f_frsize,
    })
}

/// Whether this process is in a container.
pub fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|mark| Path::new(mark).exists())
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// The folder, or what of the way to it is already there.
fn nearest(folder: &Path) -> PathBuf {
    let here = folder.ancestors().find(|f| f.exists());
    here.map_or_else(|| PathBuf::from("/"), Path::to_owned)
}

/// Whether `MODEL_CACHE_DIR` can be written, by writing.
pub fn writable(subject: &Subject) -> Finding {
    const CHECK: &str = "cache writable";
    let folder = &subject.settings.cache_dir;
    let shown = folder.display();
    if !subject.settings.disk {
        let evidence = "USE_FILE_CACHE_FOR_WORKFLOWS_DEFINITIONS is false: no copies are kept, so nothing runs without the platform";
        return Finding::note(CHECK, evidence);
    }
    let there = nearest(folder);
    let probe = there.join(format!(
        ".millrace-doctor.{}",
        uuid::Uuid::new_v4().simple()
    ));
    let written = if there.is_dir() {
        File::create_new(&probe)
            .and_then(|mut f| f.write_all(b"doctor").and_then(|()| f.sync_all()))
    } else {
        Err(io::Error::other(format!(
            "{} is no folder",
            there.display()
        )))
    };
    // Nothing is there if it could not be made.
    let _ = fs::remove_file(&probe);
    match written {
        Ok(()) if there == *folder => Finding::sound(CHECK, format!("{shown} can be written")),
        Ok(()) => Finding::sound(CHECK, format!("{shown} is not there yet and can be made")),
        Err(error) => Finding::wrong(
            CHECK,
            format!(
                "{shown} cannot be written: {error}; without copies nothing starts when the platform is away"
            ),
            format!(
                "sudo mkdir -p {shown} && sudo chown $(id -u) {shown}   (or set MODEL_CACHE_DIR to a folder that can be written)"
            ),
        ),
    }
}

/// Whether what is kept outlives the container and the machine's next start.
pub fn volume(subject: &Subject) -> Finding {
    const CHECK: &str = "cache volume";
    let folder = &subject.settings.cache_dir;
    let shown = folder.display();
    let table = match fs::read_to_string(&subject.mounts) {
        Ok(table) => table,
        Err(error) => {
            let evidence = format!("{} cannot be read: {error}", subject.mounts.display());
            return Finding::skipped(CHECK, evidence);
        }
    };
    let there = nearest(folder);
    let there = fs::canonicalize(&there).unwrap_or(there);
    let Some(mount) = mount_of(&table, &there) else {
        return Finding::skipped(CHECK, format!("no mount is known for {shown}"));
    };
    let evidence = format!("{shown} is on {} ({})", mount.point, mount.kind);
    let mend = if subject.container {
        format!("docker run -v millrace-cache:{shown} …   (a named volume outlives its containers)")
    } else {
        "export MODEL_CACHE_DIR=/var/lib/millrace   (a folder on a disk)".into()
    };
    if mount.read_only {
        return Finding::wrong(CHECK, format!("{evidence}, which is read-only"), mend);
    }
    match mount.kind.as_str() {
        "tmpfs" | "ramfs" => {
            let why = "memory: copies and models are gone with the next start";
            Finding::wrong(CHECK, format!("{evidence}, which is {why}"), mend)
        }
        "overlay" | "aufs" | "fuse-overlayfs" if subject.container => {
            let why = "the container's own layer: copies and models are gone when it is made anew";
            Finding::wrong(CHECK, format!("{evidence}, which is {why}"), mend)
        }
        _ => Finding::sound(CHECK, evidence),
    }
}

/// A mount.
#[derive(Debug, PartialEq)]
struct Mount {
    point: String,
    kind: String,
    read_only: bool,
}

/// The mount that a path is on, from a table such as `/proc/self/mountinfo`.
fn mount_of(table: &str, path: &Path) -> Option<Mount> {
    let mounts = table.lines().filter_map(|line| {
        let (place, device) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(4);
        let point = unescape(place.next()?);
        let read_only = |options: &str| options.split(',').any(|o| o == "ro");
        let here = read_only(place.next()?);
        let mut device = device.split(' ');
        let kind = device.next()?.to_owned();
        let whole = device.nth(1).is_some_and(read_only);
        Some(Mount {
            point,
            kind,
            read_only: here || whole,
        })
    });
    // Of mounts at one point the last one is on top.
    mounts
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| Path::new(&mount.point).components().count())
}

/// Blanks and the like stand as `\040` in the table.
fn unescape(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (code, c)| text.replace(code, c))
}

/// How full the volume is.
pub fn space(subject: &Subject) -> Finding {
    const CHECK: &str = "cache space";
    let folder = &subject.settings.cache_dir;
    let space = match (subject.space)(&nearest(folder)) {
        Ok(space) => space,
        Err(error) => {
            let evidence = format!(
                "the volume of {} cannot be measured: {error}",
                folder.display()
            );
            return Finding::skipped(CHECK, evidence);
        }
    };
    let share = space.free as f64 / space.total.max(1) as f64;
    let evidence = format!(
        "{} of {} free ({:.0} %) on the volume of {}",
        size(space.free),
        size(space.total),
        share * 100.0,
        folder.display()
    );
    if space.free < TOO_LITTLE {
        let mend = format!(
            "du -xh --max-depth=2 {} | sort -h   (shows what to remove)",
            folder.display()
        );
        return Finding::wrong(CHECK, evidence, mend);
    }
    if share < SCARCE {
        return Finding::note(CHECK, evidence);
    }
    Finding::sound(CHECK, evidence)
}

/// Bytes as people write them.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Whether every disk copy is whole.
pub fn copies(subject: &Subject) -> Finding {
    const CHECK: &str = "disk copies";
    let folder = subject.settings.cache_dir.join("workflow");
    let mut whole = 0;
    let mut damaged = Vec::new();
    for path in files_below(&folder) {
        if path.extension().is_none_or(|e| e != "json") || in_local(&folder, &path) {
            continue;
        }
        let read = fs::read(&path).map_err(|e| e.to_string());
        match read.and_then(|body| Answer::parse(&body)) {
            Ok(_) => whole += 1,
            Err(reason) => damaged.push((path, reason)),
        }
    }
    if damaged.is_empty() {
        let evidence = match whole {
            0 => format!("no copies in {} yet", folder.display()),
            n => format!("{n} in {}, all whole", folder.display()),
        };
        return Finding::sound(CHECK, evidence);
    }
    let lines: Vec<String> = damaged
        .iter()
        .map(|(path, reason)| format!("{} is damaged: {reason}", path.display()))
        .collect();
    let names: Vec<String> = damaged
        .iter()
        .map(|(path, _)| format!("'{}'", path.display()))
        .collect();
    let mend = format!("rm {}   (the next fetch writes it anew)", names.join(" "));
    Finding::wrong(CHECK, lines.join("\n"), mend)
}

/// Files of the local editor have another form.
fn in_local(folder: &Path, path: &Path) -> bool {
    path.parent() == Some(&folder.join("local"))
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:5 / /dev rw,nosuid - devtmpfs udev rw
41 22 0:40 / /tmp rw,nosuid - tmpfs tmpfs rw
42 22 8:1 / /data\\040disk ro,relatime - xfs /dev/sda1 ro
43 22 8:2 / /tmp/cache rw - xfs /dev/sda2 rw
";

    #[test]
    fn the_longest_mount_counts() {
        let kind = |path: &str| mount_of(TABLE, Path::new(path)).map(|m| (m.kind, m.read_only));
        assert_eq!(kind("/var/lib"), Some(("ext4".into(), false)));
        assert_eq!(kind("/tmp/x"), Some(("tmpfs".into(), false)));
        assert_eq!(kind("/tmp/cache/workflow"), Some(("xfs".into(), false)));
        assert_eq!(kind("/tmp/cachex"), Some(("tmpfs".into(), false)));
        assert_eq!(kind("/data disk/a"), Some(("xfs".into(), true)));
        assert_eq!(mount_of("", Path::new("/")), None);
    }

    #[test]
    fn sizes_are_written_as_people_do() {
        assert_eq!(size(12_300), "12 kB");
        assert_eq!(size(4_200_000), "4.2 MB");
        assert_eq!(size(64_100_000_000), "64.1 GB");
    }

    #[test]
    fn this_volume_can_be_measured() {
        let space = space_of(Path::new("/")).unwrap();
        assert!(space.total > 0 && space.free <= space.total);
    }
}
