//! Definitions in files: the watched folder, single files, those of the local editor.

use std::path::Path;
use std::time::{Duration, Instant};

use millrace::clock::Clock;
use millrace::definitions::{DefinitionKey, DefinitionStore, Demand, Fetched, Refresher};
use serde_json::json;

use crate::bench::{Bench, definition, log_of};

/// Time within which a changed file reaches those who run it.
const NOTICED: Duration = Duration::from_secs(1);

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

fn get(store: &DefinitionStore, key: &DefinitionKey) -> std::sync::Arc<Fetched> {
    store.get_blocking(key, Demand::Cached).unwrap()
}

#[test]
fn a_changed_file_is_told_within_a_second() {
    let bench = Bench::new("folder");
    let folder = bench.root.path().join("pipelines");
    std::fs::create_dir(&folder).unwrap();
    write(&folder, "one.json", &definition("v0").to_string());
    let store = bench.store_with(|s| s.folder = Some(folder.clone()));
    let _refresher = Refresher::start(&store);
    assert_eq!(store.folder_names().unwrap(), ["one"]);
    let key = DefinitionKey::folder("one");
    let first = get(&store, &key);
    assert_eq!(bench.said(&first), ("v0".into(), "folder", false));
    let subscription = store.subscribe(&key, Some(first.stamp.hash)).unwrap();
    let mut longest = Duration::ZERO;
    for round in 1..=6 {
        let version = format!("v{round}");
        let text = definition(&version).to_string();
        let changed = Instant::now();
        if round % 2 == 0 {
            // As editors save: a new file in the place of the old one, of the same length.
            write(&folder, ".one.json.swp", &text);
            std::fs::rename(folder.join(".one.json.swp"), folder.join("one.json")).unwrap();
        } else {
            write(&folder, "one.json", &text);
        }
        let told = subscription.changes().recv_timeout(NOTICED).unwrap();
        longest = longest.max(changed.elapsed());
        assert_eq!(bench.said(&told), (version, "folder", false));
    }
    println!("longest time from a changed file to its subscriber: {longest:?}");
    assert_eq!(bench.platform.count(), 0);
}

#[test]
fn a_broken_or_missing_file_changes_nothing_and_is_told() {
    let bench = Bench::new("broken-folder");
    let folder = bench.root.path().join("pipelines");
    std::fs::create_dir(&folder).unwrap();
    write(&folder, "broken.json", &definition("v1").to_string());
    let store = bench.store_with(|s| s.folder = Some(folder.clone()));
    let key = DefinitionKey::folder("broken");
    let first = get(&store, &key);
    let subscription = store.subscribe(&key, Some(first.stamp.hash)).unwrap();
    let _refresher = Refresher::start(&store);
    let trouble = |says: &str| {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let latest = subscription.latest().unwrap();
            let error = latest.stamp.last_error.clone();
            if error.is_some_and(|e| e.message.contains(says)) {
                assert_eq!(bench.said(&latest), ("v1".into(), "folder", true));
                return;
            }
            assert!(Instant::now() < end, "{says}: {:?}", latest.stamp);
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    write(
        &folder,
        "broken.json",
        "{\"version\": \"1.0\", \"steps\": [",
    );
    trouble("not JSON");
    std::fs::remove_file(folder.join("broken.json")).unwrap();
    trouble("not there");
    assert!(subscription.changes().try_recv().is_err());
    assert!(store.freshness()[0].failures > 0);
    write(&folder, "broken.json", &definition("v1").to_string());
    std::thread::sleep(NOTICED);
    let latest = subscription.latest().unwrap();
    assert_eq!(
        bench.said(&latest),
        ("v1".into(), "folder", false),
        "the same again"
    );
    assert!(subscription.changes().try_recv().is_err());
}

#[test]
fn a_request_sees_the_file_as_it_is() {
    let bench = Bench::new("single-file");
    let path = bench.root.path().join("x.json");
    let store = bench.store();
    let key = DefinitionKey::file(&path);
    let error = store.get_blocking(&key, Demand::Cached).unwrap_err();
    assert!(error.to_string().contains("not there"), "{error}");
    assert_eq!((error.status(), error.origin()), (500, "definition"));
    for version in ["v1", "v2", "v3"] {
        std::fs::write(&path, definition(version).to_string()).unwrap();
        assert_eq!(
            bench.said(&get(&store, &key)),
            (version.into(), "file", false)
        );
    }
    let fetched = get(&store, &key);
    assert!(
        std::sync::Arc::ptr_eq(&fetched, &get(&store, &key)),
        "nothing new"
    );
}

#[test]
fn definitions_of_the_local_editor_are_seen_at_once() {
    let bench = Bench::new("local");
    let folder = bench.root.path().join("workflow/local");
    std::fs::create_dir_all(&folder).unwrap();
    let name = "ed54c07aa2db418e03d02837d018b02817211559c46e2d963ed6861b7e17a419.json";
    let store = bench.store();
    let key = DefinitionKey::workflow("local", "my-flow", None, None);
    for version in ["v1", "v2"] {
        let config = json!({"specification": definition(version), "preset": {}}).to_string();
        let saved = json!({"id": "my-flow", "name": "My flow", "config": config});
        write(&folder, name, &saved.to_string());
        assert_eq!(bench.said(&get(&store, &key)).0, version);
    }
    for id in ["other", "../x", "", "my flow"] {
        let key = DefinitionKey::workflow("local", id, None, None);
        let error = store.get_blocking(&key, Demand::Cached).unwrap_err();
        assert_eq!(
            (error.status(), error.client_message()),
            (500, "Internal error.")
        );
    }
    assert_eq!(bench.platform.count(), 0);
}

#[test]
fn memory_is_bounded_and_keeps_what_somebody_runs() {
    let bench = Bench::new("bounded");
    let folder = bench.root.path().join("pipelines");
    std::fs::create_dir(&folder).unwrap();
    let store = bench.store_with(|s| s.folder = Some(folder.clone()));
    let name = |i: usize| format!("definition-{i}");
    let text = definition("v1").to_string();
    let running = DefinitionKey::folder(&name(0));
    let _subscription = store.subscribe(&running, None).unwrap();
    for i in 0..1200 {
        write(&folder, &format!("{}.json", name(i)), &text);
        get(&store, &DefinitionKey::folder(&name(i)));
        let missing = DefinitionKey::folder(&format!("missing-{i}"));
        assert!(store.get_blocking(&missing, Demand::Cached).is_err());
        bench.clock.advance(Duration::from_millis(1));
    }
    let rows = store.freshness();
    assert!(
        (1000..=1024).contains(&rows.len()),
        "{} entries",
        rows.len()
    );
    assert!(rows.iter().all(|row| !row.id.starts_with("missing")));
    assert!(
        rows.iter().any(|row| row.id == name(0)),
        "it is subscribed to"
    );
    assert!(
        !rows.iter().any(|row| row.id == name(1)),
        "the oldest go first"
    );
}

#[test]
fn names_do_not_lead_out_of_the_folder() {
    let bench = Bench::new("names");
    let folder = bench.root.path().join("pipelines");
    std::fs::create_dir(&folder).unwrap();
    write(
        bench.root.path(),
        "outside.json",
        &definition("v1").to_string(),
    );
    let store = bench.store_with(|s| s.folder = Some(folder));
    for name in ["../outside", "/etc/passwd", "", ".."] {
        let key = DefinitionKey::folder(name);
        assert!(store.get_blocking(&key, Demand::Cached).is_err(), "{name}");
    }
    let unnamed = bench.store();
    let error = unnamed.get_blocking(&DefinitionKey::folder("x"), Demand::Cached);
    assert!(error.unwrap_err().to_string().contains("no folder"));
    assert!(store.freshness().is_empty());
    assert!(log_of("names").is_empty());
    assert!(bench.clock.now().is_zoned());
}
