//! Stores on the packages of the fixtures and on copies of them that are broken or changed.

use std::sync::Barrier;
use std::time::Duration;

use super::slot::FAILURE_LASTS;
use super::*;
use crate::clock::ManualClock;
use crate::models::runtime::Provider;

fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models")
}

fn open(folder: &Path) -> (ModelStore, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let settings = RuntimeSettings::default();
    (
        ModelStore::open(folder, settings, clock.clone()).unwrap(),
        clock,
    )
}

/// A folder with a copy of the small package of shapes, under the name `shapes`.
fn copy() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("shapes");
    std::fs::create_dir(&package).unwrap();
    for file in std::fs::read_dir(packages().join("shapes-det-320")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), package.join(file.file_name())).unwrap();
    }
    folder
}

#[test]
fn a_store_without_models_knows_none() {
    let store = ModelStore::default();
    let error = store.detector("coco-nano/2").unwrap_err();
    assert_eq!(error.status(), 404);
    assert!(error.to_string().contains("MILLRACE_MODELS"), "{error}");
    assert!(store.list().is_empty());
    assert_eq!(store.folder(), None);
}

#[test]
fn an_unknown_model_is_named_with_the_folder_searched() {
    let (store, _) = open(&packages());
    for id in ["no-such-project/1", "../models/coco-fast-352", "/etc", ""] {
        let error = store.detector(id).unwrap_err();
        assert!(matches!(error, ModelError::Unknown { .. }), "{id}: {error}");
        assert!(error.to_string().contains("fixtures/models"), "{error}");
    }
}

#[test]
fn a_model_of_another_task_is_refused_before_its_weights_are_read() {
    let folder = copy();
    let package = folder.path().join("shapes");
    let config = r#"{"model_architecture": "resnet", "task_type": "classification",
        "backend_type": "onnx"}"#;
    std::fs::write(package.join(Package::MARK), config).unwrap();
    std::fs::remove_file(package.join("weights.onnx")).unwrap();
    let (store, _) = open(folder.path());
    let error = store.detector("shapes").unwrap_err();
    assert_eq!(error.status(), 400);
    assert!(
        error
            .to_string()
            .contains("classification, not object-detection"),
        "{error}"
    );
    assert!(
        store
            .preload("shapes")
            .unwrap_err()
            .to_string()
            .contains("cannot be run yet")
    );
}

#[test]
fn concurrent_first_requests_load_once() {
    let (store, _) = open(&packages());
    let start = Barrier::new(8);
    let models: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    store.detector("shapes/1").unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(models.iter().all(|model| Arc::ptr_eq(model, &models[0])));
}

#[test]
fn ids_of_one_package_share_its_weights() {
    let (store, _) = open(&packages());
    let two = store.detector("coco-nano/2").unwrap();
    let ninety = store.detector("coco-nano/90").unwrap();
    let alias = store.detector("yolov8s-640").unwrap();
    assert!(Arc::ptr_eq(two.weights(), ninety.weights()));
    assert!(Arc::ptr_eq(two.weights(), alias.weights()));
    assert!(!Arc::ptr_eq(&two, &ninety));
}

#[test]
fn short_names_mean_their_models() {
    let (store, _) = open(&packages());
    // Not in the registry itself, unlike `yolov8n-640`.
    let short = store.detector("rfdetr-small").unwrap();
    let long = store.detector("coco/39").unwrap();
    assert!(Arc::ptr_eq(short.weights(), long.weights()));
    assert_eq!(&**short.id(), "rfdetr-small");
}

#[test]
fn facts_of_a_model_tell_what_is_in_memory() {
    let folder = copy();
    let (store, clock) = open(folder.path());
    let before = store.list().remove(0);
    assert_eq!((&*before.id, &*before.task), ("shapes", "object-detection"));
    assert_eq!(&*before.architecture, "yolov8");
    assert_eq!((before.loaded_since, before.provider), (None, None));
    let known = "461bbc2503501a3015978eba4b1d276b991ee32bd9704ffd8f98900732c1a7a8";
    assert_eq!(before.sha256.as_deref(), Some(known));
    clock.advance(Duration::from_secs(5));
    store.detector("shapes").unwrap();
    clock.advance(Duration::from_secs(60));
    let loaded = store.info("shapes").unwrap();
    assert_eq!(loaded.loaded_since.map(|t| t.unix_seconds()), Some(5.0));
    assert_eq!(loaded.sha256, before.sha256);
    assert_eq!(loaded.size, before.size);
    assert!(!loaded.changed_on_disk);
    // Another file on disk changes nothing of what is in memory, and shows.
    std::fs::write(folder.path().join("shapes/weights.onnx"), "other").unwrap();
    let changed = store.info("shapes").unwrap();
    assert_eq!(changed.sha256, before.sha256);
    assert!(changed.changed_on_disk);
    assert!(store.unload("shapes") && !store.unload("shapes"));
    assert_eq!(store.info("shapes").unwrap().size, Some(5));
}

#[test]
fn a_failure_lasts_two_seconds() {
    let folder = copy();
    let weights = folder.path().join("shapes/weights.onnx");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..1000]).unwrap();
    let (store, clock) = open(folder.path());
    let error = store.detector("shapes").unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ModelError::Package { .. }), "{text}");
    assert!(text.contains("shapes/weights.onnx"), "{text}");
    std::fs::write(&weights, whole).unwrap();
    assert_eq!(store.detector("shapes").unwrap_err(), error);
    clock.advance(FAILURE_LASTS);
    assert!(store.detector("shapes").is_ok());
}

#[test]
fn a_package_that_contradicts_its_graph_is_named() {
    let folder = copy();
    let path = folder.path().join("shapes/inference_config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("320", "640")).unwrap();
    // This graph takes any batch but one size only.
    let (store, _) = open(folder.path());
    let text = store.detector("shapes").unwrap_err().to_string();
    assert!(
        text.contains("inference_config.json") && text.contains("320x320"),
        "{text}"
    );
}

#[test]
fn what_is_added_later_is_found() {
    let folder = copy();
    let (store, _) = open(folder.path());
    assert!(store.detector("project/1").is_err());
    let registry = r#"{"project/1": {"package": "shapes"}}"#;
    std::fs::write(folder.path().join("registry.json"), registry).unwrap();
    assert!(store.detector("project/1").is_ok());
    std::fs::write(folder.path().join("registry.json"), "{").unwrap();
    assert!(store.detector("project/2").is_err());
    assert!(
        store.detector("project/1").is_ok(),
        "a broken registry changes nothing"
    );
}

#[test]
fn a_broken_package_shows_in_the_list() {
    let folder = copy();
    std::fs::write(folder.path().join("shapes").join(Package::MARK), "{").unwrap();
    let (store, _) = open(folder.path());
    let list = store.list();
    assert!(
        matches!(list[0].problem, Some(ModelError::Package { .. })),
        "{list:?}"
    );
}

#[test]
fn a_provider_that_is_not_there_is_told() {
    let clock = Arc::new(ManualClock::default());
    let settings = RuntimeSettings {
        providers: vec![Provider::Cuda, Provider::Cpu],
        ..RuntimeSettings::default()
    };
    let store = ModelStore::open(packages(), settings, clock).unwrap();
    store.detector("shapes/1").unwrap();
    let info = store.info("shapes/1").unwrap();
    assert_eq!(info.provider, Some(Provider::Cpu));
    assert!(info.fallbacks[0].contains("cuda"), "{info:?}");
}
