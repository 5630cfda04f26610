//! The older protocol and its folders, removal, the command line.

use std::fs;

use millrace::models::{Confidence, DetectParams, Detector, Source};
use millrace::values::{Image, Matrix};
use serde_json::{Value as Json, json};

use crate::model_platform::fixture;
use crate::{DAY, SHAPES, Site, names_in, source};

/// A folder with the shapes model as the older protocol has it.
fn legacy_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["weights.onnx", "class_names.txt"] {
        fs::copy(fixture(SHAPES).join(name), folder.path().join(name)).unwrap();
    }
    let steps = json!({"auto-orient": {"enabled": true}, "resize": {"enabled": true, "width": 320,
        "height": 320, "format": "Fit (grey edges) in"}});
    let environment =
        json!({"PREPROCESSING": steps.to_string(), "BATCH_SIZE": 8, "RESOLUTION": 320});
    fs::write(
        folder.path().join("environment.json"),
        environment.to_string(),
    )
    .unwrap();
    folder
}

#[test]
fn the_older_protocol_fills_the_older_folders() {
    let mut site = Site::new();
    let files = legacy_folder();
    site.platform
        .publish_as("old/3", files.path(), "object-detection", Vec::new());
    let mut settings = site.settings();
    settings.packages = false;
    settings.device = "dev-1".into();
    let store = site.store_with(settings.clone());
    let old = store.detector("old/3").unwrap();
    assert_eq!(site.platform.counts(), [0, 0, 1, 0, 2]);
    let asked = site.platform.asked();
    let wanted = "/ort/old/3?nocache=true&device=dev-1&dynamic=true&api_key=K1";
    assert_eq!(asked[0].target, wanted);
    let names = [
        "class_names.txt",
        "environment.json",
        "model_type.json",
        "weights.onnx",
    ];
    assert_eq!(names_in(&site.path("old/3")), names);
    // The same network, described the other way, sees the same.
    let new = site.store().detector("tiny/1").unwrap();
    let inside = |n: usize| (200..380).contains(&(n % 640)) && (100..260).contains(&(n / 640));
    let colour = |n| if inside(n) { [0, 0, 220] } else { [30, 30, 30] };
    let pixels = Matrix::new(640, 480, 3, (0..640 * 480).flat_map(colour).collect()).unwrap();
    let image = Image::new(pixels, "test".into());
    let found = |model: &Detector| {
        let params = DetectParams {
            confidence: Confidence::Value(0.001),
            ..DetectParams::default()
        };
        let found = model
            .detect(std::slice::from_ref(&image), &params)
            .unwrap()
            .remove(0);
        (found.xyxy.to_vec(), found.confidence.unwrap().to_vec())
    };
    assert!(!found(&new).0.is_empty());
    assert_eq!(found(&old), found(&new));
    // Warm, it needs no platform, however old it is.
    site.platform.refuse();
    site.clock.advance(30 * DAY);
    let warm = site.store_with(settings.clone());
    warm.detector("old/3").unwrap();
    assert_eq!(source(&warm, "old/3"), Source::Cache);
    assert_eq!(warm.registry_rows()[0].batch_size, Some(8));
    assert!(warm.remove("old/3"));
    assert!(!site.path("old").exists() && site.path("tiny/1").exists());
    assert_eq!(warm.detector("old/3").unwrap_err().status(), 503);
}

#[test]
fn a_model_leaves_the_cache_whole_and_alone() {
    let site = Site::new();
    site.platform.publish("tiny/2", SHAPES);
    let store = site.store();
    store.detector("tiny/1").unwrap();
    store.detector("tiny/2").unwrap();
    assert_eq!(store.cached().len(), 2);
    assert_eq!(
        store.remove_from_cache("tiny/1").unwrap(),
        108,
        "only `model_type.json`: the files are shared"
    );
    store.preload("tiny/2").unwrap();
    assert_eq!(store.cached().len(), 1);
    assert!(store.remove_from_cache("tiny/2").unwrap() > 256_000);
    assert!(names_in(&site.path("shared-blobs")).is_empty());
    assert!(names_in(&site.path("auto-resolution-cache")).is_empty());
    assert!(!site.path("tiny").exists());
    // `model/remove` gives memory back and leaves the newer layout alone.
    store.detector("tiny/1").unwrap();
    assert!(store.remove("tiny/1") && !store.remove("tiny/1"));
    assert!(store.registry_rows().is_empty());
    assert_eq!(store.cached().len(), 1);
}

#[test]
fn the_command_line_pulls_lists_and_removes() {
    let site = Site::new();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_millrace"));
        let output = command
            .args(["models", "--json"])
            .args(args)
            .env("API_BASE_URL", site.platform.url().as_str())
            .env("ROBOFLOW_API_HOST", site.platform.url().as_str())
            .env("MODEL_CACHE_DIR", site.cache.path())
            .env_remove("MILLRACE_MODELS")
            .env_remove("OFFLINE_MODE")
            .output()
            .unwrap();
        let told: Json = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), told)
    };
    let (code, told) = run(&["pull", "tiny/1", "--api-key", "K1"]);
    assert_eq!((code, &told[0]["source"]), (0, &json!("platform")));
    assert_eq!(told[0]["sha256"].as_str().unwrap().len(), 64);
    let (code, told) = run(&["list"]);
    assert_eq!(
        (code, &told[0]["id"], &told[0]["source"]),
        (0, &json!("tiny/1"), &json!("cache"))
    );
    let (code, told) = run(&["remove", "tiny/1"]);
    assert_eq!(code, 0);
    assert!(told[0]["removed_bytes"].as_u64().unwrap() > 256_000);
    assert_eq!(run(&["list"]).1, json!([]));
    let (code, told) = run(&["pull", "nope/1"]);
    assert_eq!((code, &told[0]["status"]), (1, &json!(404)));
}
