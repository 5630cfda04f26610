//! The refresher: ahead of expiry, without anybody waiting, gently while the platform fails.

use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use millrace::clock::Clock;
use millrace::definition::DefinitionHash;
use millrace::definitions::{Outcome, Refresher, Refusal};

use crate::awake::awake;
use crate::bench::{Bench, definition};
use crate::platform::Manner;

const SHORT: Duration = Duration::from_millis(1500);

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}

#[test]
fn no_request_waits_and_a_publication_is_there_within_the_time_to_live_and_a_second() {
    let bench = Bench::new("ahead");
    bench.publish("v0");
    let store = bench.store_with(|s| s.ttl = SHORT);
    bench.get(&store).unwrap();
    let _refresher = Refresher::start(&store);
    let subscription = store.subscribe(&bench.key(), None).unwrap();
    let first = subscription.changes().recv().unwrap();
    assert_eq!(bench.said(&first).0, "v0");
    bench
        .platform
        .answer(Manner::Slowly(Duration::from_millis(150)));
    let mut longest = Duration::ZERO;
    for version in ["v1", "v2"] {
        bench.publish(version);
        let published = awake();
        while subscription.latest().unwrap().stamp.version.as_deref() != Some(version) {
            let asked = awake();
            let fetched = bench.get(&store).unwrap();
            longest = longest.max(awake() - asked);
            assert!(!bench.said(&fetched).2, "never stale");
            assert!(
                awake() - published < SHORT + Duration::from_secs(1),
                "{version} is late"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        let changed = subscription.changes().recv_timeout(Duration::from_secs(1));
        assert_eq!(bench.said(&changed.unwrap()).0, version);
    }
    assert!(
        longest < Duration::from_millis(100),
        "a request waited {longest:?}"
    );
    println!("longest wait of a request over two refreshes: {longest:?}");
}

#[test]
fn the_same_content_is_no_change_and_gets_younger() {
    let bench = Bench::new("same");
    bench.publish("v1");
    let store = bench.store_with(|s| s.ttl = SHORT);
    let first = bench.get(&store).unwrap();
    let hash = first.stamp.hash;
    let _refresher = Refresher::start(&store);
    let subscription = store.subscribe(&bench.key(), Some(hash)).unwrap();
    until("two refreshes", || bench.platform.count() >= 3);
    let told = subscription
        .changes()
        .recv_timeout(Duration::from_millis(50));
    assert_eq!(told.unwrap_err(), RecvTimeoutError::Timeout);
    let latest = subscription.latest().unwrap();
    assert!(latest.stamp.fetched_at.unix_seconds() > first.stamp.fetched_at.unix_seconds());
    let row = &store.freshness()[0];
    assert_eq!(
        (row.subscribers, row.last_outcome),
        (1, Some(Outcome::Unchanged))
    );
    drop(subscription);
    assert_eq!(store.freshness()[0].subscribers, 0);
}

#[test]
fn a_subscriber_gets_the_newest_of_several_changes() {
    let bench = Bench::new("newest");
    bench.publish("v1");
    let store = bench.store();
    let subscription = store.subscribe(&bench.key(), None).unwrap();
    for version in ["v1", "v2", "v3"] {
        bench.publish(version);
        store.refresh_now(&bench.key()).unwrap();
    }
    let told = subscription.changes().recv().unwrap();
    assert_eq!(bench.said(&told).0, "v3");
    assert!(subscription.changes().try_recv().is_err());
}

#[test]
fn a_subscription_fetches_what_nobody_asked_for_yet() {
    let bench = Bench::new("first-by-subscription");
    let store = bench.store();
    let _refresher = Refresher::start(&store);
    let subscription = store.subscribe(&bench.key(), None).unwrap();
    until("an attempt", || bench.platform.count() > 0);
    until("its outcome", || {
        store.freshness()[0].last_outcome == Some(Outcome::Failed)
    });
    bench.publish("v1");
    store.refresh_now(&bench.key()).unwrap();
    let told = subscription.changes().recv_timeout(Duration::from_secs(1));
    assert_eq!(bench.said(&told.unwrap()).0, "v1");
}

#[test]
fn a_failing_platform_is_asked_ever_more_rarely_and_found_again() {
    let bench = Bench::new("failing");
    bench.publish("v1");
    let store = bench.store_with(|s| s.ttl = Duration::from_secs(4));
    bench.get(&store).unwrap();
    let _refresher = Refresher::start(&store);
    let subscription = store.subscribe(&bench.key(), None).unwrap();
    bench.platform.answer(Manner::Status(503, None));
    let before = bench.platform.count();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(9) {
        assert_eq!(bench.said(&bench.get(&store).unwrap()).0, "v1");
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = bench.platform.count() - before;
    // From 3.2–3.8 s on, at waits of 0.5–1, 1–2, 2–4 and 2–4 s.
    assert!((2..=6).contains(&asked), "asked {asked} times in 9 s");
    let row = store.freshness().remove(0);
    assert_eq!(row.failures as usize, asked);
    assert!(row.stamp.unwrap().stale(bench.clock.now()));
    bench.publish("v2");
    bench.platform.answer(Manner::Well);
    let _ = subscription.changes().try_recv();
    let back = subscription.changes().recv_timeout(Duration::from_secs(5));
    assert_eq!(bench.said(&back.unwrap()), ("v2".into(), "platform", false));
    assert_eq!(store.freshness()[0].failures, 0);
    let warnings = bench.log().matches("answered 503").count();
    assert_eq!(
        warnings,
        2,
        "once when it began, once when it ended: {}",
        bench.log()
    );
}

#[test]
fn the_platform_may_ask_for_a_longer_wait() {
    let bench = Bench::new("retry-after");
    bench.publish("v1");
    let store = bench.store();
    bench.get(&store).unwrap();
    let asked = Some(("Retry-After", "120".to_owned()));
    bench.platform.answer(Manner::Status(429, asked));
    bench.get_fresh(&store).unwrap();
    let row = store.freshness().remove(0);
    let wait = row.next_refresh.unwrap().unix_seconds() - bench.clock.now().unix_seconds();
    assert!((118.0..=120.0).contains(&wait), "{wait}");
}

#[test]
fn what_nobody_asks_for_is_refreshed_no_more_and_forgotten() {
    let bench = Bench::new("idle");
    bench.publish("v1");
    let store = bench.store();
    bench.get(&store).unwrap();
    let _refresher = Refresher::start(&store);
    bench.clock.advance(Duration::from_secs(880));
    until("a refresh ahead of expiry", || bench.platform.count() == 2);
    bench.clock.advance(Duration::from_secs(4 * 900));
    until("oblivion", || store.freshness().is_empty());
    assert_eq!(bench.platform.count(), 2);
    assert_eq!(bench.said(&bench.get(&store).unwrap()).0, "v1");
}

#[test]
fn the_table_of_freshness_says_it_all() {
    let bench = Bench::new("table-of-freshness");
    bench.publish("v1");
    let store = bench.store();
    let fetched = bench.get(&store).unwrap();
    let refusal = Refusal {
        hash: DefinitionHash::of(&definition("v2")),
        reason: "model `x/1` is unknown".into(),
        at: bench.clock.now(),
    };
    store.note_refusal(&bench.key(), Some(refusal));
    let row = store.freshness().remove(0).to_json(bench.clock.now());
    assert_eq!(row["id"], "ws/table-of-freshness");
    assert_eq!(row["tenant"].as_str().unwrap().len(), 8);
    assert_eq!(row["definition"]["hash"], fetched.stamp.hash.to_string());
    assert_eq!(row["definition"]["source"], "platform");
    assert_eq!(row["last_outcome"], "changed");
    assert_eq!(row["refused"]["reason"], "model `x/1` is unknown");
    assert_eq!(row["failures"], 0);
    for (time, from, to) in [("expires", 890.0, 900.0), ("next_refresh", 710.0, 855.1)] {
        let at = row[time].as_str().unwrap();
        let at = chrono::DateTime::parse_from_rfc3339(at).unwrap();
        let ahead = at.timestamp_micros() as f64 / 1e6 - bench.clock.now().unix_seconds();
        assert!((from..=to).contains(&ahead), "{time} in {ahead} s");
    }
    bench.publish("v2");
    bench.get_fresh(&store).unwrap();
    let row = store.freshness().remove(0);
    assert_eq!(row.refused, None, "another content is another matter");
}
