//! Requests of a cold and a warm model, the layout on the disk, keys, age.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millrace::definitions::ApiKey;
use millrace::models::Source;
use serde_json::{Value as Json, json};

use crate::model_platform::{Manner, Route, fixture, md5_of};
use crate::{DAY, SHAPES, Site, names_in, source};

#[test]
fn a_cold_model_is_asked_for_once_and_a_warm_one_never() {
    let site = Site::new();
    let store = site.store();
    store.detector("tiny/1").unwrap();
    assert_eq!(site.platform.counts(), [1, 1, 0, 3, 3]);
    assert_eq!(source(&store, "tiny/1"), Source::Platform);
    for asked in site.platform.asked() {
        let of_model = matches!(asked.route, Some(Route::Stat | Route::Weights));
        let key = asked.headers.get("authorization").map(String::as_str);
        assert_eq!(key, of_model.then_some("Bearer K1"), "{asked:?}");
        let version = asked.headers.contains_key("x-roboflow-inference-version");
        assert_eq!(version, asked.route == Some(Route::Stat), "{asked:?}");
    }
    // Another process on the same cache, and another model with the same files.
    site.platform.forget();
    let again = site.store();
    again.detector("tiny/1").unwrap();
    assert_eq!(site.platform.counts(), [0; 5]);
    assert_eq!(source(&again, "tiny/1"), Source::Cache);
    site.platform.publish("tiny/2", SHAPES);
    let other = again.detector("tiny/2").unwrap();
    assert_eq!(site.platform.counts(), [1, 1, 0, 0, 0]);
    let first = again.detector("tiny/1").unwrap();
    assert!(Arc::ptr_eq(other.weights(), first.weights()));
    let row = again.registry_rows().remove(0);
    assert_eq!((row.model_id.as_str(), row.batch_size), ("tiny/1", None));
    assert_eq!((row.input_height, row.version.as_deref()), (320, Some("1")));
    assert_eq!(row.size, 256_248);
}

#[test]
fn the_cache_has_the_layout_of_the_reference() {
    let site = Site::new();
    site.store().detector("tiny/1").unwrap();
    let names = ["class_names.txt", "inference_config.json", "weights.onnx"];
    let mut blobs: Vec<String> = names.map(|n| md5_of(&fixture(SHAPES).join(n))).to_vec();
    blobs.sort();
    assert_eq!(names_in(&site.path("shared-blobs")), blobs);
    for name in names {
        let link = site.package().join(name);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let blob = site.path("shared-blobs").join(md5_of(&link));
        assert_eq!(
            fs::canonicalize(&link).unwrap(),
            fs::canonicalize(blob).unwrap()
        );
    }
    let read =
        |path: PathBuf| -> Json { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let config = read(site.package().join("model_config.json"));
    assert_eq!(config["model_architecture"], "yolov8");
    assert_eq!(config["canonical_model_id"], "tiny/1");
    let kind = read(site.path("tiny/1/model_type.json"));
    assert_eq!(kind["project_task_type"], "object-detection");
    assert_eq!(kind["model_type"], "yolov8");
    let entries = names_in(&site.path("auto-resolution-cache"));
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].len(), 64 + ".json".len());
    let entry = read(site.path("auto-resolution-cache").join(&entries[0]));
    assert_eq!(entry["model_package_id"], "shapesdet320");
    assert_eq!(entry["resolved_files"].as_array().unwrap().len(), 7);
    assert!(!entry.to_string().contains("K1"), "{entry}");
}

/// What the reference leaves: absolute links, a complete manifest, an entry with a name of its own.
fn written_by_the_reference(site: &Site, created_at: &str) {
    let cache = fs::canonicalize(site.cache.path()).unwrap();
    let folder = cache.join("models-cache/v2-tiny-1-6222e97db93d864a9bba14d5c5b4cad1/pkgonnxtiny1");
    let blobs = cache.join("shared-blobs");
    for folder in [
        &folder,
        &blobs,
        &cache.join("tiny/1"),
        &cache.join("auto-resolution-cache"),
    ] {
        fs::create_dir_all(folder).unwrap();
    }
    let mut files = Vec::new();
    for name in ["weights.onnx", "class_names.txt", "inference_config.json"] {
        let from = fixture(SHAPES).join(name);
        let blob = blobs.join(md5_of(&from));
        fs::copy(&from, &blob).unwrap();
        symlink(&blob, folder.join(name)).unwrap();
        files.extend([blob, folder.join(name)]);
    }
    let manifest = json!({"offline_manifest_version": 4, "model_architecture": "yolov8",
        "task_type": "object-detection", "backend_type": "onnx", "model_features": null,
        "trusted_source": true, "model_dependencies": null, "recommended_parameters":
        {"confidence": 0.25, "per_class_confidence": null}, "quantization": "fp32",
        "canonical_model_id": "tiny/1", "package_artifacts": [], "model_id": "tiny/1"});
    fs::write(folder.join("model_config.json"), manifest.to_string()).unwrap();
    let credential = {
        use sha2::{Digest, Sha256};
        hex::encode(Sha256::digest(br#"{"api_key": "K1"}"#))
    };
    let entry = json!({"model_id": "tiny/1", "cache_model_id": "tiny/1",
        "canonical_model_id": "tiny/1", "cache_attribution_version": 2,
        "credential_hash": credential, "model_package_id": "pkgonnxtiny1", "resolved_files": files,
        "model_architecture": "yolov8", "task_type": "object-detection", "backend_type": "onnx",
        "created_at": created_at, "trusted_source": true});
    let name = format!("auto-resolution-cache/{}.json", "5".repeat(64));
    fs::write(cache.join(name), entry.to_string()).unwrap();
    let kind = json!({"project_task_type": "object-detection", "model_type": "yolov8",
        "model_id": "tiny/1"});
    fs::write(cache.join("tiny/1/model_type.json"), kind.to_string()).unwrap();
}

#[test]
fn a_cache_that_the_reference_filled_is_used_without_a_request() {
    let site = Site::new();
    site.clock.advance(Duration::from_secs(1_700_000_000));
    // 1,699,999,000 s is 2023-11-14T21:56:40 UTC; an hour zone more or less stays within a day.
    written_by_the_reference(&site, "2023-11-14T21:56:40.000000");
    let store = site.store();
    store.detector("tiny/1").unwrap();
    assert_eq!(site.platform.counts(), [0; 5]);
    assert_eq!(source(&store, "tiny/1"), Source::Cache);
    assert_eq!(store.cached().len(), 1);
    assert_eq!(
        store.cached()[0].package_id.as_deref(),
        Some("pkgonnxtiny1")
    );
}

#[test]
fn after_a_day_the_platform_is_asked_and_the_cache_stands_in() {
    let mut site = Site::new();
    site.store().detector("tiny/1").unwrap();
    site.platform.forget();
    site.clock.advance(DAY);
    site.platform
        .answer(Route::Weights, "", Manner::Status(503), 3);
    let store = site.store();
    store.detector("tiny/1").unwrap();
    assert_eq!(site.platform.counts(), [0, 3, 0, 0, 0]);
    assert_eq!(source(&store, "tiny/1"), Source::Cache);
    // A refusal is an answer.
    site.platform
        .answer(Route::Weights, "", Manner::Status(403), 1);
    assert_eq!(site.error("tiny/1").status(), 403);
    // An answer makes it good for another day, and nothing is downloaded.
    site.platform.forget();
    site.store().detector("tiny/1").unwrap();
    site.store().detector("tiny/1").unwrap();
    assert_eq!(site.platform.counts(), [0, 1, 0, 0, 0]);
    site.platform.refuse();
    site.clock.advance(2 * DAY);
    site.store().detector("tiny/1").unwrap();
}

#[test]
fn a_choice_holds_for_the_key_that_made_it() {
    let site = Site::new();
    site.store().detector("tiny/1").unwrap();
    site.platform.forget();
    let store = site.store();
    let other = ApiKey::new("K2");
    store.detector_for("tiny/1", Some(&other)).unwrap();
    assert_eq!(site.platform.counts(), [0, 1, 0, 0, 0]);
    let asked = site.platform.asked();
    assert_eq!(asked[0].headers["authorization"], "Bearer K2");
    // In memory it is anybody's, and the word `local` is no key.
    store.detector("tiny/1").unwrap();
    let local = ApiKey::new("local");
    site.store().detector_for("tiny/1", Some(&local)).unwrap();
    let asked = site.platform.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].headers.get("authorization"), None);
}

#[test]
fn a_refused_key_does_not_speak_for_another() {
    let site = Site::new();
    site.platform
        .answer(Route::Stat, "", Manner::Status(401), 1);
    let store = site.store();
    let wrong = ApiKey::new("wrong");
    let error = store.detector_for("tiny/1", Some(&wrong)).unwrap_err();
    assert_eq!(error.status(), 401);
    assert_eq!(
        store.detector_for("tiny/1", Some(&wrong)).unwrap_err(),
        error
    );
    assert_eq!(site.platform.counts()[0], 1, "remembered for two seconds");
    store.detector("tiny/1").unwrap();
}
