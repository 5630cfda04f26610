//! Where an event is written first: one `write` to a file, so that it outlives the process from
//! then on.
//!
//! Two files take turns. While events go to one, those of the other are brought into the database;
//! then that one is emptied. An entry is its length and checksum in front of the event's number and
//! bytes (all little-endian): an entry that was cut off by the end of the process is seen as such
//! and was never acknowledged.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

const NAMES: [&str; 2] = ["journal-a", "journal-b"];
/// Length and checksum.
const HEAD: usize = 12;
/// Largest entry that is believed when reading.
const LARGEST: usize = 256 << 20;

/// An entry read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub id: u64,
    pub record: Vec<u8>,
}

/// The two files.
#[derive(Debug)]
pub(super) struct Journal {
    segments: [Segment; 2],
    /// Which one is written.
    active: usize,
    frame: Vec<u8>,
}

/// A file that is not written now, on its way to being empty.
#[derive(Debug)]
pub(super) struct Emptying {
    at: usize,
    file: Arc<File>,
}

impl Emptying {
    /// Empties it; to be done while events go to the other one.
    pub(super) fn run(&self) -> io::Result<()> {
        self.file.set_len(0)
    }
}

#[derive(Debug)]
struct Segment {
    file: Arc<File>,
    length: u64,
    /// Number of its last event.
    last: u64,
}

impl Journal {
    /// Opens the journal of a folder and reads what is in it, oldest first.
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Vec<Entry>)> {
        let mut entries = Vec::new();
        let mut open = |name: &str| -> io::Result<Segment> {
            let mut options = File::options();
            options.read(true).write(true).create(true).mode(0o600);
            let file = options.truncate(false).open(folder.join(name))?;
            let (found, length) = read(&file)?;
            let last = found.last().map_or(0, |entry| entry.id);
            entries.extend(found);
            Ok(Segment {
                file: Arc::new(file),
                length,
                last,
            })
        };
        let segments = [open(NAMES[0])?, open(NAMES[1])?];
        entries.sort_by_key(|entry| entry.id);
        let journal = Self {
            segments,
            active: 0,
            frame: Vec::new(),
        };
        Ok((journal, entries))
    }

    /// Writes an entry; after an error nothing of it is there.
    pub(super) fn append(&mut self, id: u64, record: &[u8]) -> io::Result<()> {
        let frame = &mut self.frame;
        frame.clear();
        frame.extend_from_slice(&[0; HEAD]);
        frame.extend_from_slice(&id.to_le_bytes());
        frame.extend_from_slice(record);
        let length = u32::try_from(frame.len() - HEAD)
            .ok()
            .filter(|n| (*n as usize) < LARGEST)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "the event is too large"))?;
        let sum = checksum(&frame[HEAD..]);
        frame[..4].copy_from_slice(&length.to_le_bytes());
        frame[4..HEAD].copy_from_slice(&sum.to_le_bytes());
        let segment = &mut self.segments[self.active];
        if let Err(error) = segment.file.write_all_at(frame, segment.length) {
            // What was written in part is behind the end for the next entry; a reader stops there.
            let _ = segment.file.set_len(segment.length);
            return Err(error);
        }
        segment.length += frame.len() as u64;
        segment.last = id;
        Ok(())
    }

    /// Lets the other file be written if it is empty.
    pub(super) fn turn(&mut self) {
        let other = 1 - self.active;
        if self.segments[other].length == 0 && self.segments[self.active].length > 0 {
            self.active = other;
        }
    }

    /// Empties what has events up to this number only. The file that is written is emptied here, which
    /// happens at rest; the other one is handed out and stays unused until [`Self::emptied`].
    pub(super) fn empty(&mut self, up_to: u64) -> io::Result<Option<Emptying>> {
        let done = |segment: &Segment| segment.length > 0 && segment.last <= up_to;
        let active = &mut self.segments[self.active];
        if done(active) {
            active.file.set_len(0)?;
            active.length = 0;
        }
        let at = 1 - self.active;
        let other = &self.segments[at];
        Ok(done(other).then(|| Emptying {
            at,
            file: other.file.clone(),
        }))
    }

    /// The same with nobody else about: both files at once.
    pub(super) fn empty_both(&mut self, up_to: u64) -> io::Result<()> {
        if let Some(emptying) = self.empty(up_to)? {
            emptying.run()?;
            self.emptied(&emptying);
        }
        Ok(())
    }

    /// A file is empty that was handed out.
    pub(super) fn emptied(&mut self, emptying: &Emptying) {
        self.segments[emptying.at].length = 0;
    }
}

/// The whole entries at the start of a file, and their length.
fn read(file: &File) -> io::Result<(Vec<Entry>, u64)> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    let mut entries = Vec::new();
    let mut left = &bytes[..];
    while let Some((entry, rest)) = next(left) {
        entries.push(entry);
        left = rest;
    }
    if !left.is_empty() {
        tracing::debug!(
            bytes = left.len(),
            "the journal ends in an entry that was cut off"
        );
    }
    Ok((entries, (bytes.len() - left.len()) as u64))
}

fn next(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > LARGEST {
        return None;
    }
    let (body, rest) = rest.split_at_checked(length)?;
    if checksum(body) != u64::from_le_bytes(*sum) {
        return None;
    }
    let (id, record) = body.split_first_chunk::<8>()?;
    let entry = Entry {
        id: u64::from_le_bytes(*id),
        record: record.to_vec(),
    };
    Some((entry, rest))
}

/// FNV-1a over words of eight bytes (offset and prime of the 64-bit form): it has to tell a cut or
/// garbled entry, not an attacker's.
fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64 ^ bytes.len() as u64;
    let mut words = bytes.chunks_exact(8);
    let mut mix = |word: u64| {
        sum = (sum ^ word)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23)
    };
    for word in &mut words {
        mix(word.try_into().map_or(0, u64::from_le_bytes));
    }
    for byte in words.remainder() {
        mix(u64::from(*byte));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(folder: &Path) -> Vec<u64> {
        let (_, entries) = Journal::open(folder).unwrap();
        entries.iter().map(|e| e.id).collect()
    }

    #[test]
    fn what_was_written_is_read_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, entries) = Journal::open(folder.path()).unwrap();
        assert!(entries.is_empty());
        journal.append(1, b"one").unwrap();
        journal.turn();
        journal.append(2, b"").unwrap();
        let (_, entries) = Journal::open(folder.path()).unwrap();
        assert_eq!(
            entries[0],
            Entry {
                id: 1,
                record: b"one".to_vec()
            }
        );
        assert_eq!(
            entries[1],
            Entry {
                id: 2,
                record: Vec::new()
            }
        );

        journal.turn();
        journal.append(3, b"three").unwrap();
        assert_eq!(
            ids(folder.path()),
            [1, 2, 3],
            "a file with events takes no turn"
        );
        let first = journal.empty(1).unwrap().unwrap();
        journal.turn();
        journal.append(4, b"four").unwrap();
        first.run().unwrap();
        assert_eq!(ids(folder.path()), [2, 3, 4], "not written meanwhile");
        journal.emptied(&first);
        assert!(journal.empty(4).unwrap().is_none());
        assert!(ids(folder.path()).is_empty());
    }

    #[test]
    fn an_entry_that_was_cut_off_or_garbled_ends_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        journal.append(1, b"first event").unwrap();
        let whole = journal.segments[0].length;
        journal.append(2, b"second event").unwrap();
        let path = folder.path().join(NAMES[0]);
        let bytes = std::fs::read(&path).unwrap();
        for end in whole as usize..bytes.len() {
            std::fs::write(&path, &bytes[..end]).unwrap();
            assert_eq!(ids(folder.path()), [1], "cut at {end}");
        }
        for at in whole as usize..bytes.len() {
            let mut garbled = bytes.clone();
            garbled[at] ^= 0x10;
            std::fs::write(&path, &garbled).unwrap();
            assert_eq!(ids(folder.path()), [1], "garbled at {at}");
        }
        let (mut journal, _) = Journal::open(folder.path()).unwrap();
        journal.append(3, b"third event").unwrap();
        assert_eq!(
            ids(folder.path()),
            [1, 3],
            "the next one takes the place of the bad one"
        );
    }
}
