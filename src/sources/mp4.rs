//! What GStreamer does not tell about an MP4 or MOV file: the exact number of its frames, and whether
//! the picture is stored turned.
//!
//! Duration times rate is no number of frames when the sound is longer than the picture. Only the
//! index (`moov`) is read; files without one, or of another kind, give `None`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Largest index that is read; one of a day of video is about 20 MB.
const LARGEST_INDEX: u64 = 256 << 20;

/// The first video track of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VideoTrack {
    /// Frames in the index; `None` for a fragmented file, whose index lists none.
    pub frames: Option<i64>,
    /// Whether players turn the picture by a quarter or more.
    pub turned: bool,
}

/// Reads the first video track of an MP4 or MOV file.
pub(crate) fn video_track(path: &Path) -> Option<VideoTrack> {
    let mut file = File::open(path).ok()?;
    let index = read_index(&mut file)?;
    boxes(&index)
        .filter(|(kind, _)| *kind == b"trak")
        .find_map(|(_, track)| read_track(track))
}

/// The content of the `moov` box.
fn read_index(file: &mut File) -> Option<Vec<u8>> {
    let mut at = 0u64;
    loop {
        file.seek(SeekFrom::Start(at)).ok()?;
        let mut header = [0; 16];
        file.read_exact(&mut header[..8]).ok()?;
        let mut size = u64::from(be32(&header)?);
        let mut header_size = 8;
        if size == 1 {
            file.read_exact(&mut header[8..]).ok()?;
            size = u64::from_be_bytes(header[8..].try_into().ok()?);
            header_size = 16;
        }
        let content = size.checked_sub(header_size)?;
        if &header[4..8] == b"moov" {
            if content > LARGEST_INDEX {
                return None;
            }
            let mut index = Vec::new();
            file.take(content).read_to_end(&mut index).ok()?;
            return Some(index);
        }
        at = at.checked_add(size)?;
    }
}

fn read_track(track: &[u8]) -> Option<VideoTrack> {
    let media = child(track, b"mdia")?;
    if child(media, b"hdlr")?.get(8..12)? != b"vide" {
        return None;
    }
    let table = child(child(media, b"minf")?, b"stbl")?;
    let sizes = child(table, b"stsz").or_else(|| child(table, b"stz2"));
    let frames = sizes
        .and_then(|sizes| be32(sizes.get(8..)?))
        .filter(|count| *count > 0);
    Some(VideoTrack {
        frames: frames.map(i64::from),
        turned: child(track, b"tkhd").is_some_and(is_turned),
    })
}

/// Whether the matrix of a track header is not the upright one, `[1 0; 0 1]`.
fn is_turned(header: &[u8]) -> bool {
    let long_times = header.first() == Some(&1);
    let matrix = if long_times { 52 } else { 40 };
    let entry = |i: usize| header.get(matrix + 4 * i..).and_then(be32);
    match (entry(0), entry(1), entry(3), entry(4)) {
        (Some(a), Some(b), Some(c), Some(d)) => {
            b != 0 || c != 0 || (a as i32) < 0 || (d as i32) < 0
        }
        _ => false,
    }
}

fn child<'a>(parent: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(parent).find(|(k, _)| *k == kind).map(|(_, c)| c)
}

/// Kind and content of each box in a row of boxes; ends at the first that does not fit.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = be32(bytes)? as usize;
        let kind = bytes.get(4..8)?.try_into().ok()?;
        let content = bytes.get(8..size)?;
        bytes = &bytes[size..];
        Some((kind, content))
    })
}

fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIP: &str = "fixtures/video/person_640x360_10fps.mp4";

    #[test]
    fn the_index_has_the_number_of_frames() {
        let track = video_track(Path::new(CLIP)).unwrap();
        assert_eq!(
            track,
            VideoTrack {
                frames: Some(180),
                turned: false
            }
        );
    }

    #[test]
    fn a_turned_picture_is_seen_in_the_matrix() {
        let mut clip = std::fs::read(CLIP).unwrap();
        let header = clip.windows(4).position(|w| w == b"tkhd").unwrap() + 4;
        let quarter: [i32; 5] = [0, 65536, 0, -65536, 0];
        for (i, value) in quarter.iter().enumerate() {
            let at = header + 40 + 4 * i;
            clip[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("turned.mp4");
        std::fs::write(&path, clip).unwrap();
        assert!(video_track(&path).unwrap().turned);
    }

    #[test]
    fn other_files_and_cut_ones_have_no_track() {
        let dir = tempfile::tempdir().unwrap();
        let clip = std::fs::read(CLIP).unwrap();
        for (name, bytes) in [("text", &b"hello, this is text"[..]), ("cut", &clip[..500])] {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(video_track(&path), None, "{name}");
        }
    }
}
