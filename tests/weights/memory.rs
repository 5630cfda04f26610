//! Loads beside each other, limits, loading ahead.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millrace::definitions::ApiKey;
use millrace::models::{Download, ModelError, ModelStore};

use crate::model_platform::{Manner, Route, fixture};
use crate::{SHAPES, Site};

#[test]
fn a_slow_model_holds_up_no_other() {
    let site = Site::new();
    site.platform.publish("slow/1", "coco-fast-352");
    let free = Arc::new(AtomicBool::new(false));
    let held = Manner::Once(free.clone());
    site.platform
        .answer(Route::File, "slow%2F1/weights.onnx", held, 1);
    let store = site.store();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| store.detector("slow/1").map(drop));
        let under_way = |d: &Download| &*d.file == "weights.onnx" && d.total.is_some();
        while !store.downloads().iter().any(under_way) {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "a download is under way"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        let download = &store.downloads()[0];
        assert_eq!((&*download.model, download.done), ("slow/1", 0));
        store.detector("tiny/1").unwrap();
        assert!(!slow.is_finished(), "the other one is still under way");
        free.store(true, Ordering::SeqCst);
        slow.join().unwrap().unwrap();
    });
    assert!(store.downloads().is_empty());
}

#[test]
fn a_request_waits_for_another_ones_load_only_so_long() {
    let site = Site::new();
    let free = Arc::new(AtomicBool::new(false));
    let held = Manner::Once(free.clone());
    site.platform.answer(Route::Stat, "", held, 1);
    let mut settings = site.settings();
    settings.load_patience = Duration::from_millis(100);
    let store = site.store_with(settings);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| store.detector("tiny/1").map(drop));
        while site.platform.counts()[0] == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let error = store.detector("tiny/1").unwrap_err();
        assert!(matches!(error, ModelError::Busy { .. }), "{error}");
        assert_eq!(error.status(), 503);
        // Who loads ahead waits longer than that.
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            free.store(true, Ordering::SeqCst);
        });
        store.preload("tiny/1").unwrap();
        first.join().unwrap().unwrap();
    });
}

#[test]
fn models_used_least_recently_go() {
    let site = Site::new();
    for id in ["a/1", "b/1", "c/1", "d/1"] {
        site.platform.publish(id, SHAPES);
    }
    let loaded = |store: &ModelStore| -> Vec<String> {
        let mut ids: Vec<String> = store
            .registry_rows()
            .into_iter()
            .map(|r| r.model_id)
            .collect();
        ids.sort();
        ids
    };
    let mut settings = site.settings();
    settings.limits.models = 3;
    settings.limits.pinned = vec!["a/1".into()];
    let store = site.store_with(settings);
    for id in ["a/1", "b/1", "c/1"] {
        store.detector(id).unwrap();
    }
    let held = store.detector("b/1").unwrap();
    store.detector("d/1").unwrap();
    // `a/1` is pinned and `b/1` in use, so only `c/1` goes.
    assert_eq!(loaded(&store), ["a/1", "b/1", "d/1"]);
    drop(held);
    let mut settings = site.settings();
    settings.limits.models = 1;
    let store = site.store_with(settings);
    store.detector("a/1").unwrap();
    store.detector("b/1").unwrap();
    assert_eq!(loaded(&store), ["b/1"]);
}

#[test]
fn models_go_when_their_weights_take_too_many_bytes() {
    let site = Site::new();
    site.platform.publish("big/1", "coco-fast-352");
    let mut settings = site.settings();
    let big = fs::metadata(fixture("coco-fast-352").join("weights.onnx"))
        .unwrap()
        .len();
    settings.limits.bytes = Some(big + 1000);
    let store = site.store_with(settings);
    let held = store.detector("tiny/1").unwrap();
    store.detector("big/1").unwrap();
    assert_eq!(store.registry_rows().len(), 2, "one is in use");
    drop(held);
    store.unload("big/1");
    store.detector("big/1").unwrap();
    let rows = store.registry_rows();
    assert_eq!((rows.len(), rows[0].model_id.as_str()), (1, "big/1"));
    // A model that was given up comes back from the cache.
    site.platform.forget();
    store.detector("tiny/1").unwrap();
    assert_eq!(site.platform.counts(), [0; 5]);
}

#[test]
fn models_are_loaded_ahead() {
    let site = Site::new();
    site.platform.publish("tiny/2", SHAPES);
    let mut settings = site.settings();
    settings.preload = ["tiny/1", "nope/1", "tiny/2"].map(str::to_owned).to_vec();
    settings.preload_key = Some(ApiKey::new("PRE"));
    let free = Arc::new(AtomicBool::new(false));
    let held = Manner::Once(free.clone());
    site.platform.answer(Route::Stat, "tiny%2F2", held, 1);
    let store = site.store_with(settings);
    store.start_preload_of_settings();
    assert!(!store.preloading().is_done());
    free.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while !store.preloading().is_done() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
    let told = store.preloading();
    assert_eq!(told.loaded, ["tiny/1", "tiny/2"]);
    assert_eq!(
        (told.failed[0].0.as_str(), told.failed[0].1.status()),
        ("nope/1", 404)
    );
    assert_eq!(store.registry_rows().len(), 2);
    let keys = site
        .platform
        .asked()
        .into_iter()
        .filter_map(|a| a.headers.get("authorization").cloned());
    assert!(
        keys.collect::<Vec<_>>()
            .iter()
            .all(|key| key == "Bearer PRE")
    );
}
