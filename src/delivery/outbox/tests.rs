use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::HeaderValue;

use super::view::{Selection, View};
use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::delivery::backlog::{Backlog, Claim, Claimed, Event, PutError, Settlement};
use crate::delivery::request::{IDEMPOTENCY_KEY, Request};
use crate::delivery::{AddressPolicy, Overflow};

const RECEIVER: &str = "http://h";

fn event(stream: &str, name: &str, bytes: usize) -> Event {
    let json = HeaderValue::from_static("text/plain");
    let url = format!("http://h/{name}?secret=s3cret");
    let request = Request::new("POST", &url, AddressPolicy::Any)
        .unwrap()
        .body(json, vec![b'x'; bytes]);
    Event {
        stream: stream.into(),
        request: Arc::new(request),
    }
}

fn open(folder: &Path) -> Outbox {
    open_with(OutboxSettings::new(folder))
}

fn open_with(settings: OutboxSettings) -> Outbox {
    Outbox::open(settings, Arc::new(SystemClock::default())).unwrap()
}

fn handle(outbox: &Outbox) -> Handle {
    outbox.handle(&RECEIVER.into())
}

fn claim(backlog: &Handle) -> Option<Claimed> {
    match backlog.claim(Duration::from_secs(3600)) {
        Claim::Event(claimed) => Some(claimed),
        _ => None,
    }
}

fn name(claimed: &Claimed) -> String {
    claimed.event.request.url.path()[1..].to_owned()
}

fn key(claimed: &Claimed) -> String {
    let key = &claimed.event.request.headers[IDEMPOTENCY_KEY];
    key.to_str().unwrap().to_owned()
}

/// Delivers everything; names and keys in the order of delivery.
fn deliver(backlog: &Handle) -> Vec<(String, String)> {
    let mut delivered = Vec::new();
    while let Some(claimed) = claim(backlog) {
        delivered.push((name(&claimed), key(&claimed)));
        backlog.settle(&claimed, Settlement::Done, None);
    }
    delivered
}

fn names(backlog: &Handle) -> Vec<String> {
    deliver(backlog).into_iter().map(|(name, _)| name).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Ends an outbox as `kill -9` does: nothing is written any more, only the lock goes.
fn abandon(outbox: Outbox) {
    outbox.core.place.release();
    std::mem::forget(outbox);
}

fn copied(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("bodies")).unwrap();
    for inner in ["", "bodies"] {
        for entry in std::fs::read_dir(folder.join(inner)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let to = copy.path().join(inner).join(entry.file_name());
                std::fs::copy(entry.path(), to).unwrap();
            }
        }
    }
    copy
}

#[test]
fn an_event_that_was_put_in_is_there_whatever_becomes_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    let mut copies = Vec::new();
    for i in 0..30 {
        backlog
            .put(event("a", &format!("a{i}"), 100), None)
            .unwrap();
        backlog
            .put(event("b", &format!("b{i}"), 40_000), None)
            .unwrap();
        if i % 10 == 9 {
            // The bytes as the system has them now; no chance for the outbox to tidy up.
            copies.push((2 * (i + 1), copied(folder.path())));
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    let before = deliver(&backlog);
    assert_eq!(before.len(), 60);
    for (count, copy) in copies {
        let outbox = open(copy.path());
        let after = deliver(&handle(&outbox));
        assert_eq!(after, before[..count], "same keys, same order");
    }
}

#[test]
fn what_was_delivered_stays_delivered_and_the_rest_keeps_its_order_and_attempts() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    for i in 0..6 {
        backlog.put(event("a", &i.to_string(), 10), None).unwrap();
    }
    for _ in 0..2 {
        let claimed = claim(&backlog).unwrap();
        backlog.settle(&claimed, Settlement::Done, None);
    }
    let third = claim(&backlog).unwrap();
    backlog.settle(&third, Settlement::Again(Duration::ZERO), Some("503"));
    drop(backlog);
    drop(outbox);

    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    let again = claim(&backlog).unwrap();
    assert_eq!((name(&again), again.attempts), ("2".into(), 1));
    assert_eq!(key(&again), key(&third));
    backlog.settle(&again, Settlement::Done, None);
    backlog.put(event("a", "new", 10), None).unwrap();
    assert_eq!(names(&backlog), ["3", "4", "5", "new"]);
    let figures = outbox.figures();
    assert_eq!((figures.queued, figures.queued_bytes), (0, 0));
    assert_eq!((figures.delivered_total, figures.retried_total), (7, 1));
}

#[test]
fn beyond_the_limit_the_named_policy_decides() {
    let with = |overflow| {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = OutboxSettings::new(folder.path());
        (settings.bytes, settings.overflow) = (25_000, overflow);
        (open_with(settings), folder)
    };
    let fill = |backlog: &Handle| {
        for i in 0..2 {
            assert_eq!(backlog.put(event("a", &i.to_string(), 10_000), None), Ok(0));
        }
    };

    let (outbox, _folder) = with(Overflow::Refuse);
    let backlog = handle(&outbox);
    fill(&backlog);
    assert_eq!(
        backlog.put(event("a", "2", 10_000), None),
        Err(PutError::Full)
    );
    assert_eq!(names(&backlog), ["0", "1"]);

    let (outbox, _folder) = with(Overflow::DropOldest);
    let backlog = handle(&outbox);
    fill(&backlog);
    let other = outbox.handle(&"http://other".into());
    assert_eq!(
        other.put(event("b", "2", 10_000), None),
        Ok(1),
        "of any receiver"
    );
    assert_eq!(
        backlog.put(event("a", "3", 50_000), None),
        Err(PutError::Full)
    );
    assert_eq!(
        (names(&backlog), names(&other)),
        (vec!["1".into()], vec!["2".into()])
    );
    assert_eq!(outbox.figures().dropped_total, 1);

    let (outbox, _folder) = with(Overflow::Block);
    let backlog = Arc::new(handle(&outbox));
    fill(&backlog);
    let blocked = {
        let backlog = backlog.clone();
        std::thread::spawn(move || backlog.put(event("a", "2", 10_000), None))
    };
    std::thread::sleep(Duration::from_millis(100));
    assert!(!blocked.is_finished());
    let first = claim(&backlog).unwrap();
    backlog.settle(&first, Settlement::Done, None);
    assert_eq!(blocked.join().unwrap(), Ok(0));
    assert_eq!(names(&backlog), ["1", "2"]);
}

#[test]
fn events_that_are_too_old_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = OutboxSettings::new(folder.path());
    settings.age = Duration::from_secs(60);
    let clock = Arc::new(ManualClock::default());
    let outbox = Outbox::open(settings, clock.clone()).unwrap();
    let backlog = handle(&outbox);
    backlog.put(event("a", "old", 10), None).unwrap();
    clock.advance(Duration::from_secs(59));
    backlog.put(event("a", "young", 10), None).unwrap();
    assert_eq!(outbox.figures().oldest_age, Duration::from_secs(59));
    clock.advance(Duration::from_secs(2));
    until("the old event goes", || outbox.aged() == 1);
    assert_eq!(names(&backlog), ["young"]);
}

#[test]
fn a_large_body_is_kept_once_and_goes_with_its_last_event() {
    let folder = tempfile::tempdir().unwrap();
    let bodies = || {
        let entries = std::fs::read_dir(folder.path().join("bodies")).unwrap();
        entries.count()
    };
    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    for stream in ["a", "b", "c"] {
        backlog.put(event(stream, stream, 100_000), None).unwrap();
    }
    assert_eq!(bodies(), 1);
    until("the rows are written", || {
        outbox.core.front().unwritten.is_empty()
    });
    let size = std::fs::metadata(folder.path().join(database::FILE))
        .unwrap()
        .len();
    assert!(size < 100_000, "the database has no body: {size}");
    drop(backlog);
    drop(outbox);
    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    let first = claim(&backlog).unwrap();
    assert_eq!(first.event.request.body.len(), 100_000);
    backlog.settle(&first, Settlement::Done, None);
    assert_eq!(names(&backlog), ["b", "c"]);
    until("the body goes", || bodies() == 0);
}

#[test]
fn a_given_up_event_is_kept_until_somebody_decides() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    for name in ["0", "1", "2"] {
        backlog.put(event("a", name, 10), None).unwrap();
    }
    let first = claim(&backlog).unwrap();
    backlog.settle(&first, Settlement::GivenUp, Some("404 Not Found"));
    until("it is written", || !outbox.core.front().has_work());

    let mut view = View::open(folder.path()).unwrap();
    assert!(view.is_live());
    let dead = Selection {
        dead: true,
        ..Selection::default()
    };
    let listed = view.list(&dead, 10).unwrap();
    assert_eq!((listed.len(), listed[0].attempts), (1, 1));
    assert_eq!(listed[0].error.as_deref(), Some("404 Not Found"));
    assert_eq!(view.counts().unwrap(), (2, 1));
    let shown = view.show(listed[0].id, false).unwrap();
    assert_eq!(shown["url"], "http://h/0?secret=***");
    assert_eq!(shown["body"], "x".repeat(10));
    assert_eq!(
        view.show(listed[0].id, true).unwrap()["url"],
        "http://h/0?secret=s3cret"
    );

    let second = Selection {
        ids: vec![listed[0].id + 1],
        ..Selection::default()
    };
    assert_eq!(view.drop(&second), Ok(1));
    assert_eq!(view.retry(&dead), Ok(1));
    until("the running process follows", || {
        outbox.figures().queued == 2 && outbox.figures().dead == 0
    });
    assert_eq!(names(&backlog), ["0", "2"]);
    assert_eq!(view.show(99, false), Err(OutboxError::NoEvent(99)));
}

#[test]
fn what_is_taken_away_while_it_is_under_way_is_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    backlog.put(event("a", "0", 10), None).unwrap();
    backlog.put(event("a", "1", 10), None).unwrap();
    let first = claim(&backlog).unwrap();
    until("it is written", || !outbox.core.front().has_work());
    let mut view = View::open(folder.path()).unwrap();
    let it = Selection {
        ids: vec![first.id],
        ..Selection::default()
    };
    view.drop(&it).unwrap();
    until("it is noted", || {
        outbox.core.front().doomed.contains(&first.id)
    });
    backlog.settle(&first, Settlement::Again(Duration::ZERO), Some("503"));
    assert_eq!(names(&backlog), ["1"]);
}

#[test]
fn an_outbox_that_nobody_delivers_from_shows_what_its_journal_has() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    backlog.put(event("a", "0", 10), None).unwrap();
    let copy = copied(folder.path());
    let view = View::open(copy.path()).unwrap();
    assert!(!view.is_live());
    assert_eq!(view.counts().unwrap(), (1, 0));
    assert!(matches!(
        Outbox::open(
            OutboxSettings::new(copy.path()),
            Arc::new(SystemClock::default())
        ),
        Err(OutboxError::InUse { .. })
    ));
    drop(view);
    assert_eq!(names(&handle(&open(copy.path()))), ["0"]);
    let missing = View::open(&copy.path().join("none"));
    assert!(matches!(missing, Err(OutboxError::Missing { .. })));
}

#[test]
fn a_damaged_database_is_set_aside_and_what_can_be_read_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    for i in 0..300 {
        backlog
            .put(event("a", &i.to_string(), 2_000), None)
            .unwrap();
    }
    drop(backlog);
    drop(outbox);
    let file = folder.path().join(database::FILE);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40_000].fill(0xab);
    std::fs::write(&file, bytes).unwrap();

    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    backlog.put(event("a", "new", 10), None).unwrap();
    let names = names(&backlog);
    assert!(names.len() > 100 && names.len() < 300, "{}", names.len());
    assert_eq!(names.first().map(String::as_str), Some("0"));
    assert_eq!(names.last().map(String::as_str), Some("new"));
    assert!(folder.path().join("outbox.db.damaged-1").exists());

    drop(backlog);
    drop(outbox);
    std::fs::write(&file, "this was a database once").unwrap();
    let outbox = open(folder.path());
    assert_eq!(outbox.figures().queued, 0);
    assert!(folder.path().join("outbox.db.damaged-2").exists());
}

#[test]
fn a_database_damaged_while_it_is_used_loses_only_what_is_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    for i in 0..50 {
        backlog
            .put(event("a", &i.to_string(), 2_000), None)
            .unwrap();
    }
    until("it is written", || !outbox.core.front().has_work());
    let other = Connection::open(folder.path().join(database::FILE)).unwrap();
    let damage = "PRAGMA writable_schema = ON; \
                  UPDATE sqlite_schema SET rootpage = 4000000 WHERE name = 'events'; \
                  PRAGMA schema_version = 4711";
    other.execute_batch(damage).unwrap();
    drop(other);
    backlog.put(event("a", "after", 10), None).unwrap();
    until("it is set aside", || {
        folder.path().join("outbox.db.damaged-1").exists()
    });
    until("it goes on", || !outbox.core.front().has_work());
    drop(backlog);
    drop(outbox);
    let names = names(&handle(&open(folder.path())));
    assert_eq!(names.len(), 51, "requests in memory are written anew");
    assert_eq!(names.last().map(String::as_str), Some("after"));
}

#[test]
fn with_power_in_mind_an_event_is_in_the_database_when_it_is_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = OutboxSettings::new(folder.path());
    settings.durability = Durability::Power;
    let outbox = open_with(settings);
    let backlog = handle(&outbox);
    for i in 0..5 {
        backlog.put(event("a", &i.to_string(), 10), None).unwrap();
        let view = View::open(folder.path()).unwrap();
        assert_eq!(view.counts().unwrap().0, i + 1);
    }
}

#[test]
fn what_waits_longer_than_memory_reaches_comes_back_from_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    outbox
        .core
        .in_memory
        .store(IN_MEMORY, std::sync::atomic::Ordering::Relaxed);
    for i in 0..20 {
        backlog.put(event("a", &i.to_string(), 500), None).unwrap();
    }
    let first = claim(&backlog).unwrap();
    assert_eq!(name(&first), "0", "out of the front");
    backlog.settle(&first, Settlement::Done, None);
    until("it is written", || !outbox.core.front().has_work());
    assert_eq!(names(&backlog).len(), 19, "out of the database");
}

#[test]
fn receivers_without_events_leave_the_books() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = open(folder.path());
    let backlog = handle(&outbox);
    backlog.put(event("a", "0", 10), None).unwrap();
    assert_eq!(outbox.receivers(), [std::sync::Arc::<str>::from(RECEIVER)]);
    assert!(!backlog.retire());
    names(&backlog);
    assert!(backlog.retire() && outbox.receivers().is_empty());
    assert_eq!(
        backlog.put(event("a", "1", 10), None),
        Err(PutError::Retired)
    );
    assert_eq!(handle(&outbox).put(event("a", "1", 10), None), Ok(0));
    abandon(outbox);
    let names = names(&handle(&open(folder.path())));
    assert_eq!(names.last().map(String::as_str), Some("1"));
}

#[test]
fn nobody_else_may_read_what_waits() {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    // One of an older release.
    drop(open(path));
    let database = path.join(super::database::FILE);
    std::fs::set_permissions(&database, Permissions::from_mode(0o644)).unwrap();
    let outbox = open(path);
    let backlog = handle(&outbox);
    for bytes in [10, super::bodies::LARGE + 1] {
        backlog.put(event("a", "x", bytes), None).unwrap();
    }
    until("the events are in the database", || {
        path.join("outbox.db-wal").exists() && outbox.core.front().unwritten.is_empty()
    });
    let bodies = path.join("bodies");
    let files = [path, &bodies].map(|folder| std::fs::read_dir(folder).unwrap().flatten());
    let mut seen = 0;
    for file in files.into_iter().flatten() {
        let about = file.metadata().unwrap();
        if about.is_file() {
            assert_eq!(about.permissions().mode() & 0o077, 0, "{:?}", file.path());
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}
