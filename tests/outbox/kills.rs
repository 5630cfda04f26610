//! `kill -9` at random points while events are made for a receiver that fails a third of them.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::receiver::{Receiver, Reply};
use super::{again, dispatcher, event, integrity};

const STREAMS: u64 = 8;
/// Events a second.
const RATE: u64 = 200;
/// Name of the variable that tells [`makes_events_until_it_is_killed`] to do so.
const MAKER: &str = "OUTBOX_MAKER";
const MAKER_TEST: &str = "kills::makes_events_until_it_is_killed";

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// The other process: posts events and notes each in a file once `post` has answered.
#[test]
fn makes_events_until_it_is_killed() {
    let Ok(told) = std::env::var(MAKER) else {
        return;
    };
    let [folder, url, life] = told.split('|').collect::<Vec<_>>().try_into().unwrap();
    let dispatcher = dispatcher(&Path::new(folder).join("outbox"));
    // The one before may be dying still, with the lock in its hands.
    let started = Instant::now();
    while let Err(error) = dispatcher_ready(&dispatcher) {
        assert!(started.elapsed() < Duration::from_secs(10), "{error}");
    }
    let mut noted = std::fs::File::options()
        .append(true)
        .create(true)
        .open(Path::new(folder).join("acknowledged"))
        .unwrap();
    println!("ready");
    let start = Instant::now();
    for n in 0..=u64::MAX {
        let due = Duration::from_micros(n * 1_000_000 / RATE);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let stream = n % STREAMS;
        // Numbers grow within a stream, from one life to the next too.
        let number = life.parse::<u64>().unwrap() * 1_000_000 + n;
        let body = format!("{stream} {number} {}", "x".repeat(1000));
        let event = event(url, &format!("camera {stream}"), body);
        dispatcher.post(event).unwrap();
        noted
            .write_all(format!("{stream} {number}\n").as_bytes())
            .unwrap();
    }
}

fn dispatcher_ready(
    dispatcher: &millrace::delivery::Dispatcher,
) -> Result<(), millrace::delivery::outbox::OutboxError> {
    dispatcher.resume().map(drop)
}

#[test]
fn nothing_is_lost_by_kill_9() {
    let kills: u64 = std::env::var("OUTBOX_KILLS").map_or(10, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let thirds: Vec<Reply> = (0..400_000)
        .map(|_| {
            Reply::status(if random.next().is_multiple_of(3) {
                503
            } else {
                200
            })
        })
        .collect();
    let receiver = Receiver::start(thirds.clone(), Reply::status(200));
    let url = receiver.url("/events");
    for life in 1..=kills {
        let told = format!("{}|{url}|{life}", folder.path().display());
        let mut maker = again(MAKER_TEST, MAKER, &told);
        let mut maker = maker.stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(150 + random.next() % 700));
        assert!(
            maker.try_wait().unwrap().is_none(),
            "the maker ended by itself"
        );
        maker.kill().unwrap();
        maker.wait().unwrap();
    }
    // What the last one left behind goes out now.
    let outbox = folder.path().join("outbox");
    let last = dispatcher(&outbox);
    last.resume().unwrap();
    let end = Instant::now() + Duration::from_secs(120);
    while last.counts().waiting > 0 {
        assert!(
            Instant::now() < end,
            "{} events still wait",
            last.counts().waiting
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    last.close(Duration::from_secs(20));
    drop(last);

    let acknowledged = std::fs::read_to_string(folder.path().join("acknowledged")).unwrap();
    // The reply to a request is the one at its place in the list.
    let received = receiver.received();
    assert!(received.len() < thirds.len());
    let mut keys: HashMap<String, String> = HashMap::new();
    let mut newest: HashMap<String, u64> = HashMap::new();
    let (mut taken, mut refused, mut twice) = (0, 0, 0);
    for (request, reply) in received.iter().zip(&thirds) {
        let mut words = request.text().split(' ');
        let (stream, number) = (words.next().unwrap(), words.next().unwrap());
        let name = format!("{stream} {number}");
        let key = request.header("idempotency-key").to_owned();
        let known = keys.entry(name.clone()).or_insert_with(|| key.clone());
        assert_eq!(*known, key, "{name} came under another key");
        if reply.status != 200 {
            refused += 1;
            continue;
        }
        let number: u64 = number.parse().unwrap();
        let before = newest.entry(stream.to_owned()).or_insert(0);
        taken += 1;
        if number > *before {
            *before = number;
        } else {
            twice += 1;
        }
    }
    // Order: the first time that each event was taken, numbers only grow.
    let mut first: HashSet<String> = HashSet::new();
    let mut newest: HashMap<String, u64> = HashMap::new();
    for (request, reply) in received.iter().zip(&thirds) {
        let mut words = request.text().split(' ');
        let (stream, number) = (words.next().unwrap(), words.next().unwrap());
        if reply.status != 200 || !first.insert(format!("{stream} {number}")) {
            continue;
        }
        let number: u64 = number.parse().unwrap();
        let before = newest.insert(stream.to_owned(), number).unwrap_or(0);
        assert!(before < number, "stream {stream}: {number} after {before}");
    }
    let lost = acknowledged
        .lines()
        .filter(|line| !first.contains(*line))
        .count();
    println!(
        "{kills} kills: {} events acknowledged, {} received, {lost} lost; {taken} requests taken, \
         {refused} refused, {twice} duplicates, all under the key of the first",
        acknowledged.lines().count(),
        first.len(),
    );
    assert_eq!(lost, 0);
    assert!(acknowledged.lines().count() as u64 > kills * 10);
    assert_eq!(integrity(&outbox), "ok");
}
