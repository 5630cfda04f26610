//! What is answered when the platform answers, refuses, fails, is slow, talks nonsense or is gone.

use std::sync::Arc;
use std::time::Duration;

use millrace::clock::Clock;
use millrace::definitions::{
    DefinitionError, DefinitionKey, DefinitionStore, Demand, Fetched, Outcome,
};

use crate::awake::awake;
use crate::bench::{Bench, SECRET, definition};
use crate::platform::{Manner, body_of};

/// Timeout of requests to the platform in tests that wait for it.
const TIMEOUT: Duration = Duration::from_millis(300);

/// Every way of failing that tells nothing about the definition: what the platform does, what the
/// error says, which status a client gets.
fn failures() -> Vec<(Manner, &'static str, u16)> {
    let status = |status| Manner::Status(status, None);
    let body = |text: &str| Manner::Body(text.as_bytes().to_vec());
    vec![
        (status(500), "answered 500", 502),
        (status(502), "answered 502", 502),
        (status(503), "answered 503", 502),
        (status(429), "answered 429", 502),
        (status(418), "answered 418", 502),
        (status(304), "answered 304", 502),
        (Manner::Hang, "did not answer within 0.3 s", 504),
        (Manner::Drop, "cannot be reached", 503),
        (Manner::Half, "cannot be reached", 503),
        (body("<html>sign in</html>"), "not JSON", 502),
        (body(""), "not JSON", 502),
        (body("{\"status\": \"ok\"}"), "no `workflow`", 502),
        (
            body("{\"workflow\": {\"config\": {\"specification\": {}}}}"),
            "`config` is no text",
            502,
        ),
        (
            body("{\"workflow\": {\"config\": \"{}\"}}"),
            "no object `specification`",
            502,
        ),
    ]
}

#[test]
fn fresh() {
    let bench = Bench::new("fresh");
    bench.publish("v1");
    let store = bench.store();
    let first = bench.get(&store).unwrap();
    assert_eq!(bench.said(&first), ("v1".into(), "platform", false));
    assert_eq!(first.platform_id.as_deref(), Some("969e67665164f8d339c8"));
    bench.publish("v2");
    bench.clock.advance(Duration::from_secs(890));
    let second = bench.get(&store).unwrap();
    assert_eq!(bench.said(&second), ("v1".into(), "platform", false));
    assert_eq!(second.stamp.age(bench.clock.now()).as_secs(), 890);
    let asked = bench.platform.asked();
    assert_eq!(asked.len(), 1, "the second answer is from memory");
    assert_eq!(
        asked[0].target,
        format!("/ws/workflows/fresh?api_key={SECRET}")
    );
    assert_eq!(asked[0].headers["x-roboflow-inference-version"], "1.8.3");
    assert_eq!(asked[0].headers["x-allow-chunked"], "true");
    let [copy] = &bench.copies()[..] else {
        panic!("one disk copy: {:?}", bench.copies());
    };
    assert_eq!(std::fs::read(copy).unwrap(), body_of(&definition("v1")));
    let log = bench.log();
    assert!(
        log.contains("INFO") && log.contains("definition fetched"),
        "{log}"
    );
    assert!(log.contains(&first.stamp.hash.to_string()), "{log}");
}

#[test]
fn expired() {
    let bench = Bench::new("expired");
    bench.publish("v1");
    let store = bench.store();
    let first = bench.get(&store).unwrap();
    bench.expire();
    let same = bench.get(&store).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first.definition, &same.definition));
    assert_eq!(same.stamp.age(bench.clock.now()).as_secs(), 0, "confirmed");
    bench.publish("v2");
    bench.expire();
    let second = bench.get(&store).unwrap();
    assert_eq!(bench.said(&second), ("v2".into(), "platform", false));
    assert_eq!(bench.platform.count(), 3);
    assert!(
        bench.log().contains("definition changed"),
        "{}",
        bench.log()
    );
}

#[test]
fn use_cache_false_asks_and_everybody_gets_what_it_brings() {
    let bench = Bench::new("forced");
    bench.publish("v1");
    let store = bench.store();
    bench.get(&store).unwrap();
    bench.publish("v2");
    let forced = bench.get_fresh(&store).unwrap();
    assert_eq!(bench.said(&forced), ("v2".into(), "platform", false));
    let plain = bench.get(&store).unwrap();
    assert_eq!(bench.said(&plain), ("v2".into(), "platform", false));
    assert_eq!(bench.platform.count(), 2);
    let copy = &bench.copies()[0];
    assert_eq!(std::fs::read(copy).unwrap(), body_of(&definition("v2")));
}

/// What the platform has, with this version. A busy machine may let the short time of the store run out:
/// then it is asked again.
fn fetch(bench: &Bench, store: &DefinitionStore, version: &str) -> Arc<Fetched> {
    let mut tries = (0..20).filter_map(|_| bench.get_fresh(store).ok());
    let is_it = |got: &Arc<Fetched>| got.stamp.version.as_deref() == Some(version);
    tries.find(is_it).expect("an answer in time")
}

#[test]
fn failures_with_a_definition_in_memory() {
    for (manner, says, _) in failures() {
        let bench = Bench::new("fails-memory");
        bench.publish("v1");
        let store = bench.store_with(|s| s.platform.timeout = TIMEOUT);
        fetch(&bench, &store, "v1");
        bench.publish("v2");
        bench.platform.answer(manner.clone());
        bench.expire();
        let kept = bench.get(&store).unwrap();
        assert_eq!(
            bench.said(&kept),
            ("v1".into(), "platform", true),
            "{manner:?}"
        );
        assert!(kept.stamp.age(bench.clock.now()).as_secs() >= 900);
        let error = kept.stamp.last_error.as_ref().unwrap();
        assert!(
            error.message.contains(says),
            "{manner:?}: {}",
            error.message
        );
        let start = awake();
        bench.get(&store).unwrap();
        assert!(awake() - start < TIMEOUT / 2, "nobody waits while it fails");
        let row = &store.freshness()[0];
        assert_eq!(row.last_outcome, Some(Outcome::Kept));
        assert!(row.next_refresh.is_some() && row.failures >= 1);
        let log = bench.log();
        let line = log
            .lines()
            .rfind(|l| l.contains(says))
            .unwrap_or_else(|| panic!("{says}: {log}"));
        assert!(
            line.contains("WARN") && line.contains("the known one goes on"),
            "{line}"
        );
        bench.platform.answer(Manner::Well);
        let back = fetch(&bench, &store, "v2");
        assert_eq!(bench.said(&back), ("v2".into(), "platform", false));
        assert_eq!(back.stamp.last_error, None);
        assert!(bench.log().contains("can be had again"));
    }
}

#[test]
fn failures_with_a_disk_copy_only() {
    for (manner, says, _) in failures() {
        let bench = Bench::new("fails-disk");
        bench.publish("v1");
        bench.get(&bench.store()).unwrap();
        bench.platform.answer(manner.clone());
        bench.clock.advance(Duration::from_secs(100));
        for demand in [Demand::Cached, Demand::Fresh] {
            let store = bench.store_with(|s| s.platform.timeout = TIMEOUT);
            let copy = store.get_blocking(&bench.key(), demand).unwrap();
            assert_eq!(bench.said(&copy), ("v1".into(), "disk", true), "{manner:?}");
            let age = copy.stamp.age(bench.clock.now()).as_secs();
            assert!((99..=102).contains(&age), "{age}");
            let error = copy.stamp.last_error.as_ref().unwrap();
            assert!(error.message.contains(says), "{}", error.message);
            let row = &store.freshness()[0];
            assert_eq!(row.last_outcome, Some(Outcome::FromDisk));
        }
        let log = bench.log();
        assert!(
            log.contains(says) && log.contains("taken from the disk copy"),
            "{log}"
        );
    }
}

#[test]
fn failures_with_nothing() {
    for (manner, says, status) in failures() {
        let bench = Bench::new("fails-nothing");
        bench.publish("v1");
        bench.platform.answer(manner.clone());
        let store = bench.store_with(|s| s.platform.timeout = TIMEOUT);
        for demand in [Demand::Cached, Demand::Fresh] {
            let error = store.get_blocking(&bench.key(), demand).unwrap_err();
            assert!(error.to_string().contains(says), "{manner:?}: {error}");
            assert_eq!(error.status(), status, "{manner:?}");
            assert_eq!(error.origin(), "platform");
        }
        assert!(bench.copies().is_empty(), "nothing bad is kept");
        assert!(bench.log().contains("definition not fetched"));
        bench.platform.answer(Manner::Well);
        let first = bench.get(&store).unwrap();
        assert_eq!(
            bench.said(&first),
            ("v1".into(), "platform", false),
            "errors are not kept"
        );
    }
}

#[test]
fn nobody_listens() {
    let mut bench = Bench::new("refused");
    bench.publish("v1");
    let store = bench.store();
    bench.get(&store).unwrap();
    bench.platform.refuse();
    let error = bench
        .get(&bench.store_with(|s| s.disk = false))
        .unwrap_err();
    assert_eq!(error.status(), 503);
    let copy = bench.get(&bench.store()).unwrap();
    assert_eq!(bench.said(&copy), ("v1".into(), "disk", true));
    let forced = bench.get_fresh(&store).unwrap();
    assert_eq!(
        bench.said(&forced),
        ("v1".into(), "disk", true),
        "it says so"
    );
    let plain = bench.get(&store).unwrap();
    assert_eq!(
        bench.said(&plain),
        ("v1".into(), "platform", false),
        "within its time"
    );
    assert!(plain.stamp.last_error.is_some());
    bench.platform.listen();
    bench.publish("v2");
    let back = bench.get_fresh(&store).unwrap();
    assert_eq!(bench.said(&back), ("v2".into(), "platform", false));
}

#[test]
fn without_disk_copies_a_forced_request_gets_memory_and_is_told() {
    let bench = Bench::new("no-disk");
    bench.publish("v1");
    let store = bench.store_with(|s| s.disk = false);
    bench.get(&store).unwrap();
    assert!(bench.copies().is_empty());
    bench.platform.answer(Manner::Status(500, None));
    let forced = bench.get_fresh(&store).unwrap();
    assert_eq!(bench.said(&forced), ("v1".into(), "platform", true));
    let plain = bench.get(&store).unwrap();
    assert_eq!(bench.said(&plain), ("v1".into(), "platform", false));
}

#[test]
fn refusals_are_answers_and_what_runs_goes_on() {
    for (status, says) in [
        (401, "check the API key"),
        (402, "no credits left"),
        (403, "has the scopes"),
        (404, "check the workspace, the workflow id"),
        (423, "paused"),
    ] {
        let bench = Bench::new("refusals");
        bench.publish("v1");
        let store = bench.store();
        bench.get(&store).unwrap();
        bench.platform.answer(Manner::Status(status, None));
        bench.expire();
        let kept = bench.get(&store).unwrap();
        assert_eq!(bench.said(&kept), ("v1".into(), "platform", true));
        let error = kept.stamp.last_error.as_ref().unwrap();
        assert!(error.message.contains(says), "{}", error.message);
        assert!(error.message.contains(&status.to_string()));
        let row = store.freshness().remove(0);
        assert_eq!(row.last_outcome, Some(Outcome::Kept));
        assert_eq!(row.last_error.as_ref(), Some(error));
        let forced = bench.get_fresh(&store).unwrap_err();
        assert_eq!(forced.status(), status, "{forced}");
        // A copy on the disk is no right to run it.
        let error = bench.get(&bench.store()).unwrap_err();
        assert_eq!(error.status(), status);
        let log = bench.log();
        assert!(log.contains("WARN") && log.contains(says), "{log}");
    }
}

#[test]
fn offline_mode_asks_nobody() {
    let bench = Bench::new("offline");
    bench.publish("v1");
    bench.get(&bench.store()).unwrap();
    let store = bench.store_with(|s| s.offline = true);
    let with_key = bench.get(&store).unwrap();
    assert_eq!(bench.said(&with_key), ("v1".into(), "disk", true));
    let no_key = DefinitionKey::workflow("ws", "offline", None, None);
    let store = bench.store_with(|s| s.offline = true);
    let without_key = store.get_blocking(&no_key, Demand::Fresh).unwrap();
    assert_eq!(bench.said(&without_key), ("v1".into(), "disk", true));
    let unknown = DefinitionKey::workflow("ws", "never-seen", None, None);
    let error = store.get_blocking(&unknown, Demand::Cached).unwrap_err();
    assert_eq!(error.status(), 503);
    assert_eq!(bench.platform.count(), 1, "the one that warmed it");
    assert!(bench.log().contains("offline mode"), "{}", bench.log());
}

#[test]
fn a_damaged_disk_copy_is_no_copy_and_is_mended() {
    let bench = Bench::new("damaged");
    bench.publish("v1");
    bench.get(&bench.store()).unwrap();
    let copy = bench.copies().remove(0);
    let whole = std::fs::read(&copy).unwrap();
    for damage in [&whole[..whole.len() / 2], b"", b"\0\0\0\0", b"{}"] {
        std::fs::write(&copy, damage).unwrap();
        bench.platform.answer(Manner::Status(500, None));
        let store = bench.store();
        assert_eq!(bench.get(&store).unwrap_err().status(), 502);
        assert!(bench.log().contains("cannot be used"), "{}", bench.log());
        bench.platform.answer(Manner::Well);
        bench.get(&store).unwrap();
        assert_eq!(std::fs::read(&copy).unwrap(), whole);
    }
}

#[test]
fn a_copy_that_was_damaged_while_nothing_changed_is_mended_too() {
    let bench = Bench::new("damaged-same");
    bench.publish("v1");
    bench.platform.with_etags();
    let store = bench.store();
    bench.get(&store).unwrap();
    let copy = bench.copies().remove(0);
    std::fs::write(&copy, b"{").unwrap();
    bench.expire();
    bench.get(&store).unwrap();
    assert_eq!(std::fs::read(&copy).unwrap(), body_of(&definition("v1")));
}

#[test]
fn a_disk_that_takes_nothing_fails_no_request() {
    let bench = Bench::new("full-disk");
    bench.publish("v1");
    std::fs::write(bench.root.path().join("workflow"), b"no folder").unwrap();
    let store = bench.store();
    let fetched = bench.get(&store).unwrap();
    assert_eq!(bench.said(&fetched), ("v1".into(), "platform", false));
    assert!(store.freshness()[0].disk_error.is_some());
    assert!(
        bench.log().contains("disk copy was not written"),
        "{}",
        bench.log()
    );
}

#[test]
fn requests_that_could_have_a_copy_do_not_wait_for_a_slow_platform() {
    let bench = Bench::new("patience");
    bench.publish("v1");
    bench.get(&bench.store()).unwrap();
    bench.platform.answer(Manner::Hang);
    let patience = Duration::from_millis(200);
    let store = bench.store_with(|s| s.patience = patience);
    let start = awake();
    let copy = bench.get(&store).unwrap();
    assert_eq!(bench.said(&copy), ("v1".into(), "disk", true));
    let waited = awake() - start;
    assert!(waited < patience * 4, "{waited:?}");
    let start = awake();
    bench.get(&store).unwrap();
    assert!(
        awake() - start < patience / 2,
        "the next ones do not wait at all"
    );
}

#[test]
fn pinned_versions_are_their_own() {
    let bench = Bench::new("pinned");
    bench.publish("v2");
    bench.platform.publish("ws/pinned@ver-7", &definition("v1"));
    let store = bench.store();
    let pinned = DefinitionKey::workflow("ws", "pinned", Some("ver-7"), None);
    let fetched = store.get_blocking(&pinned, Demand::Cached).unwrap();
    assert_eq!(fetched.stamp.version.as_deref(), Some("ver-7"));
    assert_eq!(*fetched.definition, definition("v1"));
    assert_eq!(bench.said(&bench.get(&store).unwrap()).0, "v2");
    let error = store.get_blocking(
        &DefinitionKey::workflow("", "x", None, None),
        Demand::Cached,
    );
    assert!(matches!(error, Err(DefinitionError::Name { .. })));
}
