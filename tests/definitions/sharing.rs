//! Many who ask at once, several API keys, and what must not be shown.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use millrace::clock::Clock;
use millrace::definitions::{ApiKey, DefinitionKey, Demand};

use crate::bench::{Bench, SECRET, definition, files, whole_log};
use crate::platform::Manner;

const CROWD: usize = 200;

#[test]
fn two_hundred_first_requests_make_one_fetch() {
    let bench = Bench::new("crowd");
    bench.publish("v1");
    bench
        .platform
        .answer(Manner::Slowly(Duration::from_millis(300)));
    let store = bench.store();
    let start = Barrier::new(CROWD);
    std::thread::scope(|scope| {
        for _ in 0..CROWD {
            scope.spawn(|| {
                start.wait();
                let fetched = bench.get(&store).unwrap();
                assert_eq!(bench.said(&fetched), ("v1".into(), "platform", false));
            });
        }
    });
    assert_eq!(bench.platform.count(), 1);
}

#[test]
fn requests_of_another_runtime_share_the_fetch_too() {
    let bench = Bench::new("async-crowd");
    bench.publish("v1");
    bench
        .platform
        .answer(Manner::Slowly(Duration::from_millis(200)));
    let store = Arc::new(bench.store());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let crowd: Vec<_> = (0..CROWD)
            .map(|_| {
                let (store, key) = (store.clone(), bench.key());
                tokio::spawn(async move { store.get(&key, Demand::Cached).await })
            })
            .collect();
        for one in crowd {
            assert_eq!(
                one.await.unwrap().unwrap().stamp.version.as_deref(),
                Some("v1")
            );
        }
    });
    assert_eq!(bench.platform.count(), 1);
}

#[test]
fn forced_requests_share_a_fetch_that_left_after_they_asked() {
    let bench = Bench::new("forced-crowd");
    bench.publish("v1");
    let store = bench.store();
    bench.get(&store).unwrap();
    bench
        .platform
        .answer(Manner::Slowly(Duration::from_millis(300)));
    std::thread::scope(|scope| {
        let early = scope.spawn(|| bench.get_fresh(&store).unwrap());
        while bench.platform.count() < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        // The early one is under way and will bring v1, or v2 by luck; these must get v2.
        bench.publish("v2");
        let late: Vec<_> = (0..CROWD)
            .map(|_| scope.spawn(|| bench.get_fresh(&store).unwrap()))
            .collect();
        for one in late {
            assert_eq!(bench.said(&one.join().unwrap()).0, "v2");
        }
        early.join().unwrap();
    });
    assert_eq!(bench.platform.count(), 3, "one early, one for the crowd");
}

#[test]
fn callers_that_go_away_do_not_stop_the_fetch() {
    let bench = Bench::new("impatient");
    bench.publish("v1");
    bench
        .platform
        .answer(Manner::Slowly(Duration::from_millis(200)));
    let store = bench.store();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let key = bench.key();
        let get = store.get(&key, Demand::Cached);
        let gone = tokio::time::timeout(Duration::from_millis(20), get).await;
        assert!(gone.is_err());
    });
    bench.get(&store).unwrap();
    assert_eq!(bench.platform.count(), 1);
}

#[test]
fn api_keys_do_not_share_unless_told_to() {
    let bench = Bench::new("tenants");
    bench.publish("v1");
    let key = |k| DefinitionKey::workflow("ws", "tenants", None, Some(ApiKey::new(k)));
    let store = bench.store();
    store.get_blocking(&key("K1"), Demand::Cached).unwrap();
    bench.publish("v2");
    let other = store.get_blocking(&key("K2"), Demand::Cached).unwrap();
    assert_eq!(bench.said(&other).0, "v2");
    assert_eq!(bench.copies().len(), 2);
    assert_eq!(store.keys("ws/tenants").len(), 2);
    let shared = bench.store_with(|s| s.single_tenant = true);
    shared.get_blocking(&key("K1"), Demand::Cached).unwrap();
    let before = bench.platform.count();
    shared.get_blocking(&key("K2"), Demand::Cached).unwrap();
    assert_eq!(bench.platform.count(), before);
    assert_eq!(bench.copies().len(), 3);
}

#[test]
fn a_refused_key_takes_nothing_from_those_who_share_with_it() {
    let bench = Bench::new("shared-refused");
    bench.publish("v1");
    let store = bench.store_with(|s| s.single_tenant = true);
    bench.get(&store).unwrap();
    bench.platform.answer(Manner::Status(401, None));
    let wrong = DefinitionKey::workflow("ws", "shared-refused", None, Some(ApiKey::new("wrong")));
    let refused = store.get_blocking(&wrong, Demand::Fresh).unwrap_err();
    assert_eq!(refused.status(), 401);
    assert_eq!(
        store.keys("ws/shared-refused"),
        [bench.key()],
        "the key that worked"
    );
}

#[test]
fn requests_without_a_key_get_the_servers_own() {
    let bench = Bench::new("own-key");
    bench.publish("v1");
    let store = bench.store_with(|s| s.api_key = Some(ApiKey::new("OWN")));
    let key = DefinitionKey::workflow("ws", "own-key", None, None);
    store.get_blocking(&key, Demand::Cached).unwrap();
    let asked = bench.platform.asked();
    assert!(asked[0].target.ends_with("?api_key=OWN"), "{asked:?}");
    assert!(store.disk_copy(&key).unwrap().is_some());
}

#[test]
fn conditional_requests_confirm_without_a_body() {
    let bench = Bench::new("conditional");
    bench.publish("v1");
    bench.platform.with_etags();
    let store = bench.store();
    let first = bench.get(&store).unwrap();
    bench.expire();
    let second = bench.get(&store).unwrap();
    assert_eq!(bench.said(&second), ("v1".into(), "platform", false));
    assert!(Arc::ptr_eq(&first.definition, &second.definition));
    assert_eq!(second.platform_id, first.platform_id);
    assert_eq!(second.stamp.age(bench.clock.now()).as_secs(), 0);
    let asked = bench.platform.asked();
    assert!(!asked[0].headers.contains_key("if-none-match"));
    assert!(asked[1].headers.contains_key("if-none-match"));
    let copy = store.disk_copy(&bench.key()).unwrap().unwrap();
    let behind = second.stamp.fetched_at.unix_seconds() - copy.written_at.unix_seconds();
    assert!(
        behind.abs() < 1.0,
        "the copy is as young as its confirmation: {behind}"
    );
    bench.publish("v2");
    bench.expire();
    assert_eq!(bench.said(&bench.get(&store).unwrap()).0, "v2");
    bench.get_fresh(&store).unwrap();
    let asked = bench.platform.asked();
    assert!(
        !asked[3].headers.contains_key("if-none-match"),
        "forced: the whole"
    );
}

#[test]
fn a_copy_that_another_process_fetched_later_is_taken() {
    let bench = Bench::new("siblings");
    bench.publish("v1");
    let (ours, theirs) = (bench.store(), bench.store());
    bench.get(&ours).unwrap();
    bench.publish("v2");
    std::thread::sleep(Duration::from_millis(20));
    bench.get(&theirs).unwrap();
    bench.platform.answer(Manner::Status(503, None));
    bench.expire();
    let fetched = bench.get(&ours).unwrap();
    assert_eq!(bench.said(&fetched), ("v2".into(), "disk", true));
}

#[test]
fn the_api_key_is_shown_nowhere() {
    let mut bench = Bench::new("secrecy");
    bench.publish("v1");
    let store = bench.store();
    let fetched = bench.get(&store).unwrap();
    let mut shown = format!(
        "{store:?} {:?} {fetched:?} {:?}",
        bench.key(),
        bench.settings()
    );
    for manner in [
        Manner::Status(401, None),
        Manner::Status(
            302,
            Some(("Location", format!("/elsewhere?api_key={SECRET}"))),
        ),
        Manner::Drop,
        Manner::Body(b"x".to_vec()),
    ] {
        bench.platform.answer(manner);
        match bench.get_fresh(&store) {
            Ok(fetched) => shown += &format!("{:?}", fetched.stamp),
            Err(error) => shown += &format!("{error} {error:?} {}", error.client_message()),
        }
    }
    bench.platform.refuse();
    shown += &format!("{:?}", bench.get_fresh(&store).unwrap().stamp);
    for row in store.freshness() {
        shown += &format!("{row:?} {}", row.to_json(bench.clock.now()));
    }
    for file in files(bench.root.path()) {
        shown += &file.display().to_string();
        shown += &std::fs::read_to_string(&file).unwrap();
    }
    assert!(!shown.contains(SECRET), "{shown}");
    let log = whole_log();
    let told: Vec<&str> = log.lines().filter(|l| l.contains(SECRET)).collect();
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(*fetched.definition, definition("v1"));
}
