//! Broken downloads, refusals, ids and names that lead elsewhere, offline mode, the gateway.

use std::fs;
use std::sync::Barrier;
use std::time::Duration;

use millrace::models::ModelError;
use millrace::models::error::FileTrouble;
use serde_json::json;

use crate::model_platform::{Manner, Route, fixture, md5_of, package};
use crate::{DAY, SHAPES, Site};

#[test]
fn content_with_another_md5_never_becomes_visible() {
    let site = Site::new();
    site.platform
        .answer(Route::File, "weights.onnx", Manner::Corrupt, 1);
    let error = site.error("tiny/1");
    assert_eq!(error.status(), 500);
    let ModelError::Download { file, trouble, .. } = &error else {
        panic!("{error}");
    };
    let FileTrouble::Checksum { wanted, found } = trouble else {
        panic!("{error}");
    };
    assert_eq!(file, "weights.onnx");
    assert_eq!(wanted, &md5_of(&fixture(SHAPES).join("weights.onnx")));
    assert!(error.to_string().contains(found.as_str()));
    assert!(!site.path("shared-blobs").join(wanted).exists());
    assert!(
        !site
            .path("shared-blobs")
            .join(format!("{wanted}.partial"))
            .exists()
    );
    assert!(site.store().cached().is_empty());
    site.store().detector("tiny/1").unwrap();
    // What is damaged on the disk is found when the package is put together again.
    let blob = site.path("shared-blobs").join(wanted);
    fs::write(&blob, b"damaged").unwrap();
    site.clock.advance(DAY);
    site.store().detector("tiny/1").unwrap();
    assert_eq!(&md5_of(&blob), wanted);
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let site = Site::new();
    site.platform
        .answer(Route::File, "weights.onnx", Manner::Cut(100_000), 2);
    site.store().detector("tiny/1").unwrap();
    let asked = site.platform.asked();
    let ranges: Vec<Option<&str>> = asked
        .iter()
        .filter(|a| a.route == Some(Route::File) && a.target.contains("weights.onnx"))
        .map(|a| a.headers.get("range").map(String::as_str))
        .collect();
    assert_eq!(ranges, [None, Some("bytes=100000-"), Some("bytes=200000-")]);
}

#[test]
fn a_download_goes_on_in_the_next_process() {
    let site = Site::new();
    site.platform
        .answer(Route::File, "weights.onnx", Manner::Cut(100_000), 1);
    site.platform
        .answer(Route::File, "weights.onnx", Manner::Status(503), 100);
    let error = site.error("tiny/1");
    assert_eq!(error.status(), 502);
    assert!(!error.to_string().contains("s3cret"), "{error}");
    site.platform.answer_well();
    site.platform.forget();
    site.store().detector("tiny/1").unwrap();
    let asked = site.platform.asked();
    let file = asked.iter().find(|a| a.route == Some(Route::File)).unwrap();
    assert_eq!(file.headers["range"], "bytes=100000-");
    assert_eq!(site.platform.counts(), [0, 1, 0, 3, 3]);
    // What was left may be of something else; then a fresh copy counts.
    let blob = site
        .path("shared-blobs")
        .join(md5_of(&fixture(SHAPES).join("weights.onnx")));
    fs::rename(&blob, blob.with_extension("partial")).unwrap();
    fs::write(blob.with_extension("partial"), vec![7; 50_000]).unwrap();
    site.store().detector("tiny/1").unwrap();
    assert!(blob.is_file() && !blob.with_extension("partial").exists());
}

#[test]
fn processes_and_threads_at_once_download_once() {
    let site = Site::new();
    site.platform.answer(
        Route::File,
        "weights.onnx",
        Manner::Slowly(Duration::from_millis(300)),
        1,
    );
    let (one, other) = (site.store(), site.store());
    let start = Barrier::new(6);
    std::thread::scope(|scope| {
        for n in 0..6 {
            let (store, start) = (if n % 2 == 0 { &one } else { &other }, &start);
            scope.spawn(move || {
                start.wait();
                store.detector("tiny/1").unwrap();
            });
        }
    });
    let [stat, weights, _, _, files] = site.platform.counts();
    assert!(stat <= 2 && weights <= 2, "one of each a process");
    assert_eq!(files, 3);
}

#[test]
fn what_the_platform_says_becomes_a_status() {
    let mut site = Site::new();
    let mut told = Vec::new();
    for (route, status, wanted) in [
        (Route::Stat, 401, 401),
        (Route::Stat, 402, 402),
        (Route::Stat, 403, 403),
        (Route::Stat, 404, 404),
        (Route::Stat, 423, 423),
        (Route::Stat, 429, 502),
        (Route::Stat, 500, 502),
        (Route::Stat, 503, 502),
        (Route::Weights, 401, 401),
        (Route::Weights, 402, 402),
        (Route::Weights, 403, 403),
        (Route::Weights, 404, 404),
        (Route::Weights, 423, 423),
        (Route::Weights, 500, 500),
        (Route::Weights, 429, 500),
        (Route::Weights, 503, 500),
    ] {
        site.platform.answer_well();
        site.platform.answer(route, "", Manner::Status(status), 3);
        let error = site.error("tiny/1");
        assert_eq!(error.status(), wanted, "{route:?} {status}: {error}");
        assert_eq!(error.platform_status(), Some(status));
        assert!(error.client_message().is_some());
        told.push(error.to_string());
    }
    let [stat, weights, ..] = site.platform.counts();
    // The metadata of the first answer that came are kept; 429 and 503 were asked for three times.
    assert_eq!((stat, weights), (9, 6 + 2 * 3));
    assert_eq!(site.error("nope/1").status(), 404);
    site.platform.refuse();
    let error = site.error("tiny/9");
    assert_eq!(error.status(), 503);
    told.push(error.to_string());
    assert!(told.iter().all(|text| !text.contains("K1")), "{told:?}");
}

#[test]
fn no_id_leads_out_of_the_cache() {
    let site = Site::new();
    for id in [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a/b/c",
        "a\\..\\b",
        "",
        "models-cache/x",
    ] {
        assert_eq!(site.error(id).status(), 400, "{id}");
        assert!(!site.store().remove(id));
    }
    assert_eq!(site.platform.counts(), [0; 5]);
    let whole = package("good", &fixture(SHAPES));
    let mut package_id = whole.clone();
    package_id["packageId"] = "../../outside".into();
    let mut handle = whole.clone();
    handle["packageFiles"][1]["fileHandle"] = "../../../outside".into();
    for bad in [package_id, handle] {
        let pages = vec![vec![bad]];
        site.platform
            .publish_as("bad/1", &fixture(SHAPES), "object-detection", pages);
        let error = site.error("bad/1");
        assert!(matches!(error, ModelError::NoPackage { .. }), "{error}");
        assert_eq!(error.status(), 500);
    }
    assert_eq!(site.platform.counts()[4], 0);
    assert!(!site.path("outside").exists());
}

#[test]
fn packages_of_all_pages_are_tried_in_order() {
    let site = Site::new();
    let mut broken = package("broken", &fixture(SHAPES));
    broken["packageFiles"][0]["md5Hash"] = "0".repeat(32).into();
    let trt = json!({"packageId": "trt", "packageManifest": {"type": "trt-model-package-v1"}});
    let pages = vec![vec![trt, broken], vec![package("good", &fixture(SHAPES))]];
    site.platform
        .publish_as("many/1", &fixture(SHAPES), "object-detection", pages);
    let store = site.store();
    store.detector("many/1").unwrap();
    assert_eq!(site.platform.counts()[1], 2);
    assert_eq!(store.registry_rows()[0].package_id.as_deref(), Some("good"));
}

#[test]
fn models_of_other_tasks_are_refused_before_they_are_downloaded() {
    let site = Site::new();
    let pages = vec![vec![package("p", &fixture(SHAPES))]];
    site.platform
        .publish_as("seg/1", &fixture(SHAPES), "instance-segmentation", pages);
    let error = site.error("seg/1");
    assert!(matches!(error, ModelError::WrongTask { .. }), "{error}");
    let error = site.store().preload("seg/1").unwrap_err();
    assert!(
        matches!(error, ModelError::UnsupportedTask { .. }),
        "{error}"
    );
    assert_eq!(error.status(), 501);
    assert_eq!(site.platform.counts(), [1, 0, 0, 0, 0]);
}

#[test]
fn offline_mode_asks_nothing() {
    let site = Site::new();
    let offline = || {
        let mut settings = site.settings();
        settings.offline = true;
        settings.api_key = None;
        site.store_with(settings)
    };
    let error = offline().detector("tiny/1").unwrap_err();
    assert_eq!(error.status(), 503);
    assert!(error.to_string().contains("offline"), "{error}");
    assert_eq!(site.platform.counts(), [0; 5]);
    site.store().detector("tiny/1").unwrap();
    site.platform.forget();
    site.clock.advance(7 * DAY);
    offline().detector("tiny/1").unwrap();
    // Even without the note of what was chosen.
    fs::remove_dir_all(site.path("auto-resolution-cache")).unwrap();
    offline().detector("tiny/1").unwrap();
    assert_eq!(site.platform.counts(), [0; 5]);
}

#[test]
fn requests_go_through_the_gateway() {
    let site = Site::new();
    let mut settings = site.settings();
    settings.platform.gateway = Some(site.platform.url());
    site.store_with(settings).detector("tiny/1").unwrap();
    assert_eq!(site.platform.counts(), [1, 1, 0, 3, 3]);
    assert!(site.platform.asked().iter().all(|asked| asked.proxied));
}

#[test]
fn short_names_are_asked_for_by_what_they_mean() {
    let site = Site::new();
    site.platform.publish("coco/3", SHAPES);
    let store = site.store();
    store.detector("yolov8n-640").unwrap();
    store.detector("coco/3").unwrap();
    assert_eq!(site.platform.counts(), [1, 1, 0, 3, 3]);
    let rows = store.registry_rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].model_id.as_str(), &*rows[0].request_aliases),
        ("coco/3", &["yolov8n-640".to_owned()][..])
    );
    assert!(store.unload("coco/3") && store.registry_rows().is_empty());
}
