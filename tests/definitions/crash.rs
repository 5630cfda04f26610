//! `kill -9` while disk copies are being written: what is found afterwards is whole, old or new.
//!
//! The writer is this test binary once more, in a mode that only writes. `MILLRACE_KILLS` sets how
//! often it is killed (40; the bar is 200).

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use millrace::definitions::disk::DiskCache;
use millrace::definitions::{DefinitionKey, PlatformKey};
use serde_json::{Value as Json, json};

use crate::bench::Bench;
use crate::platform::body_of;

const FOLDER: &str = "MILLRACE_TEST_WRITER";
/// Written by the writer before each number that reached the disk.
const DONE: &str = "written ";

fn key() -> PlatformKey {
    PlatformKey::new("ws", "crash", None, None)
}

/// A definition of some 400 kB that says how often it was written before.
fn numbered(number: u64) -> Json {
    let note = format!("{number:08} ").repeat(45_000);
    json!({"version": number.to_string(), "inputs": [], "steps": [], "outputs": [], "note": note})
}

/// Not a test: the writer. It ends by being killed.
#[test]
#[ignore = "a mode of the test below"]
fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let cache = DiskCache::new(PathBuf::from(folder), false, false);
    let start = cache.read(&key()).unwrap().map_or(0, |copy| {
        let version = copy.answer.definition["version"].as_str().unwrap();
        version.parse().unwrap()
    });
    for number in start + 1..=u64::MAX {
        cache.write(&key(), &body_of(&numbered(number))).unwrap();
        println!("{DONE}{number}");
    }
}

fn start_writer(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["crash::writer", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets the writer write for this long after its first copy, kills it, and says which number it
/// knew to be written.
fn write_and_kill(folder: &Path, after: Duration) -> u64 {
    let mut writer = start_writer(folder);
    let mut numbers = BufReader::new(writer.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix(DONE)?.parse().ok());
    let first = numbers.next().expect("the writer ended by itself");
    std::thread::sleep(after);
    writer.kill().unwrap();
    writer.wait().unwrap();
    numbers.last().unwrap_or(first)
}

#[test]
fn a_killed_writer_leaves_a_whole_copy() {
    let kills: u32 = std::env::var("MILLRACE_KILLS").map_or(40, |n| n.parse().unwrap());
    let mut bench = Bench::new("crash");
    bench.platform.refuse();
    let mut half_written = 0;
    for kill in 0..kills {
        let micros = u64::from(uuid::Uuid::new_v4().as_fields().0) % 20_000;
        let written = write_and_kill(bench.root.path(), Duration::from_micros(micros));
        let leftovers = bench
            .copies()
            .iter()
            .filter(|path| path.extension().is_some_and(|e| e == "tmp"))
            .count();
        half_written += usize::from(leftovers > half_written);
        // A start: a new store, and a platform that cannot be reached.
        let store = bench.store();
        let key = DefinitionKey::Platform(key());
        let fetched = store.get_blocking(&key, Default::default()).unwrap();
        let version = fetched.stamp.version.clone().unwrap();
        let number: u64 = version.parse().unwrap();
        assert!(
            (written..=written + 1).contains(&number),
            "kill {kill}: {number} is on the disk, {written} was written"
        );
        assert_eq!(
            *fetched.definition,
            numbered(number),
            "kill {kill}: not whole"
        );
    }
    println!("{kills} kills, {half_written} of them in the middle of a copy; each copy was whole");
}
