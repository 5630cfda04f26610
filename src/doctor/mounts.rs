//! On what kind of file system a path lies, from the text of `/proc/self/mountinfo`.

use std::path::{Path, PathBuf};

/// What a folder's content outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// It is on a disk.
    Disk,
    /// It is in the writable layer of a container, and goes with it.
    Layer,
    /// It is in memory, and goes with the next start.
    Memory,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub place: PathBuf,
    pub kind: String,
    pub read_only: bool,
}

impl Mount {
    pub fn lasting(&self) -> Lasting {
        match self.kind.as_str() {
            "overlay" | "aufs" | "fuse-overlayfs" | "fuse.fuse-overlayfs" => Lasting::Layer,
            "tmpfs" | "ramfs" | "rootfs" => Lasting::Memory,
            _ => Lasting::Disk,
        }
    }
}

/// The mount that a path lies on: of those that contain it the innermost, of those the last.
pub(super) fn of(table: &str, path: &Path) -> Option<Mount> {
    let mut found: Option<Mount> = None;
    for mount in table.lines().filter_map(parse) {
        let depth = |mount: &Mount| mount.place.components().count();
        let inner = found.as_ref().is_none_or(|f| depth(f) <= depth(&mount));
        if path.starts_with(&mount.place) && inner {
            found = Some(mount);
        }
    }
    found
}

/// `36 35 98:0 /root /place rw,noatime master:1 - ext4 /dev/sda rw`.
fn parse(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let mut front = front.split(' ');
    let place = unescape(front.nth(4)?);
    let mut options = front.next()?.split(',');
    let mut back = back.split(' ');
    let kind = back.next()?.to_owned();
    let mut super_options = back.nth(1).unwrap_or_default().split(',');
    Some(Mount {
        place: place.into(),
        kind,
        read_only: options.any(|o| o == "ro") || super_options.any(|o| o == "ro"),
    })
}

/// Blanks and backslashes stand in the table as `\040` and the like.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let octal = (*first == b'\\')
            .then(|| std::str::from_utf8(after.get(..3)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b
23 22 0:21 / /tmp rw,nosuid - tmpfs tmpfs rw,size=64m
24 22 8:1 /vol /var/cache/my\\040models rw,relatime shared:5 - ext4 /dev/sda1 rw
25 22 8:1 /ro /data ro,relatime - ext4 /dev/sda1 rw
26 25 8:2 / /data ro,relatime - xfs /dev/sdb1 rw
not a line
";

    fn at(path: &str) -> Mount {
        of(TABLE, Path::new(path)).unwrap()
    }

    #[test]
    fn the_innermost_mount_counts() {
        assert_eq!(at("/var/cache").lasting(), Lasting::Layer);
        assert_eq!(at("/tmp/cache").lasting(), Lasting::Memory);
        assert_eq!(at("/tmpfiles").lasting(), Lasting::Layer);
        assert_eq!(at("/var/cache/my models/x").lasting(), Lasting::Disk);
    }

    #[test]
    fn of_two_mounts_on_one_place_the_later_one_shows() {
        assert_eq!(
            (at("/data/x").kind.as_str(), at("/data").read_only),
            ("xfs", true)
        );
        assert_eq!(of("", Path::new("/")), None);
    }
}
