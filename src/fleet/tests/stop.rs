//! A pipeline is stopped within two seconds, whatever it is doing, and nothing of it stays.

use super::*;
use crate::blocks::testing::shut;
use crate::definitions::DefinitionKey;
use crate::fleet::{Phase, ResultsPolicy};
use crate::models::{ModelStore, RuntimeSettings};

/// Threads of this process that belong to a pipeline: their names end with its id, cut to what the
/// system keeps.
fn threads_of(id: &str) -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .filter(|name| {
            name.split_once(':')
                .is_some_and(|(_, of)| !of.is_empty() && id.starts_with(of))
        })
        .collect()
}

/// Terminates and checks that it took no longer than it may.
#[track_caller]
fn stop(fleet: &Fleet, id: &str) {
    terminate(fleet, id);
    assert!(fleet.list().is_empty());
    assert!(fleet.status(id).is_err());
}

/// The same, and the threads are gone with it.
#[track_caller]
fn stop_clean(fleet: &Fleet, id: &str) {
    stop(fleet, id);
    // The system takes a moment to let go of a thread whose work is done.
    let ended = awake();
    until("the end of the threads", || threads_of(id).is_empty());
    assert!(awake() - ended < STOPS);
}

fn named(name: &str, uri: &str, wanted: Wanted) -> PipelineSpec {
    let mut spec = spec(uri, wanted);
    spec.name = Some(name.to_owned());
    spec
}

#[test]
fn running() {
    let fleet = fleet();
    let id = fleet.initialise(named("sa", CAMERA, echo())).unwrap();
    until_results(&fleet, &id);
    assert!(!threads_of("sa").is_empty());
    stop_clean(&fleet, &id);
}

#[test]
fn running_on_a_file() {
    let fleet = fleet();
    let id = fleet.initialise(named("sb", CLIP, echo())).unwrap();
    stop_clean(&fleet, &id);
}

#[test]
fn connecting_to_a_camera_that_does_not_answer() {
    let fleet = fleet();
    let (_listener, port) = silent_port();
    let uri = format!("rtsp://127.0.0.1:{port}/cam");
    let id = fleet.initialise(named("sc", &uri, echo())).unwrap();
    until("connecting", || state_of(&fleet, &id, 0) == "INITIALISING");
    std::thread::sleep(Duration::from_millis(300));
    stop_clean(&fleet, &id);
}

#[test]
fn connecting_to_a_server_that_does_not_answer() {
    let fleet = fleet();
    let (_listener, port) = silent_port();
    let uri = format!("http://127.0.0.1:{port}/cam");
    let id = fleet.initialise(named("sd", &uri, echo())).unwrap();
    until("connecting", || state_of(&fleet, &id, 0) == "INITIALISING");
    std::thread::sleep(Duration::from_millis(300));
    stop(&fleet, &id);
}

#[test]
fn reconnecting() {
    let fleet = fleet();
    let uri = format!("rtsp://127.0.0.1:{}/cam", closed_port());
    let id = fleet.initialise(named("se", &uri, echo())).unwrap();
    until("reconnecting", || state_of(&fleet, &id, 0) == "RESTARTING");
    assert_eq!(fleet.phase(&id).unwrap(), Phase::Running);
    stop_clean(&fleet, &id);
}

#[test]
fn paused() {
    let fleet = fleet();
    for (id, uri) in [("sf", CAMERA), ("sg", CLIP)] {
        fleet.initialise(named(id, uri, echo())).unwrap();
        until_results(&fleet, id);
        fleet.pause(id).unwrap();
        stop_clean(&fleet, id);
    }
}

#[test]
fn with_a_full_queue_of_results() {
    let fleet = fleet();
    let mut spec = named("sh", CLIP, echo());
    spec.results = 2;
    spec.results_policy = ResultsPolicy::Wait;
    let id = fleet.initialise(spec).unwrap();
    until("a full queue", || {
        own(&fleet, &id)["results"]["waiting"] == 2
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(own(&fleet, &id)["results"]["waiting"], 2);
    assert_eq!(own(&fleet, &id)["health"]["condition"], "well");
    stop_clean(&fleet, &id);
}

#[test]
fn with_a_block_that_is_stuck() {
    let fleet = fleet();
    shut("stop-stuck", true);
    let wanted = Wanted::Inline(definition("Gate", "stop-stuck").into());
    let id = fleet.initialise(named("si", CAMERA, wanted)).unwrap();
    until("a stuck frame", || {
        own(&fleet, &id)["figures"]["in_flight"] != 0
    });
    stop(&fleet, &id);
    let left = threads_of("si");
    assert!(
        left.iter().all(|name| !name.starts_with("source:")),
        "{left:?}"
    );
    assert!(
        left.iter().any(|name| name.starts_with("stage:")),
        "{left:?}"
    );
    shut("stop-stuck", false);
    until("the end of the stuck thread", || {
        threads_of("si").is_empty()
    });
}

#[test]
fn waiting_for_the_definition() {
    let (_listener, port) = silent_port();
    let base = format!("http://127.0.0.1:{port}");
    let (fleet, _folder) = fleet_at(&base, Services::default(), Settings::default());
    let wanted = Wanted::Key(DefinitionKey::workflow("ws", "flow", None, None));
    let id = fleet.keep(named("sj", CAMERA, wanted)).unwrap();
    assert_eq!(fleet.phase(&id).unwrap(), Phase::Waiting);
    std::thread::sleep(Duration::from_millis(200));
    stop(&fleet, &id);
}

#[test]
fn waiting_to_be_tried_again() {
    let fleet = fleet();
    let wanted = Wanted::Key(DefinitionKey::folder("absent"));
    let id = fleet.keep(named("sk", CAMERA, wanted)).unwrap();
    until("a problem", || own(&fleet, &id)["problem"].is_string());
    assert_eq!(own(&fleet, &id)["state"], "waiting");
    stop_clean(&fleet, &id);
}

/// A folder of models in which the description of a package is a pipe that nobody writes to.
fn models_that_hang() -> tempfile::TempDir {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("slow");
    std::fs::create_dir(&package).unwrap();
    let pipe = package.join("model_config.json");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let registry = json!({"slow/1": {"package": "slow"}}).to_string();
    std::fs::write(folder.path().join("registry.json"), registry).unwrap();
    folder
}

#[test]
fn loading_a_model() {
    let folder = models_that_hang();
    let mut services = Services::default();
    let models = ModelStore::open(
        folder.path(),
        RuntimeSettings::default(),
        services.clock.clone(),
    );
    services.models = Arc::new(models.unwrap());
    let (fleet, _copies) = fleet_at("http://127.0.0.1:9", services, Settings::default());
    let wanted = json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [{
            "type": "roboflow_core/roboflow_object_detection_model@v2", "name": "model",
            "images": "$inputs.image", "model_id": "slow/1",
        }],
        "outputs": [{"type": "JsonField", "name": "o", "selector": "$steps.model.predictions"}],
    });
    let id = fleet
        .initialise(named("sl", CAMERA, Wanted::Inline(wanted.into())))
        .unwrap();
    until("loading", || fleet.phase(&id).unwrap() == Phase::Loading);
    std::thread::sleep(Duration::from_millis(200));
    stop(&fleet, &id);
    // A thread that has ended is listed until the kernel has tidied it up.
    until("the pipeline's own thread", || threads_of("sl").len() < 2);
    let left = threads_of("sl");
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].starts_with("load:"), "{left:?}");
    // The description comes too late; what was loaded is dropped, and its thread ends.
    std::fs::write(folder.path().join("slow/model_config.json"), "{}").unwrap();
    until("the end of the loading", || threads_of("sl").is_empty());
    assert!(fleet.list().is_empty());
}

#[test]
fn ended_and_failed() {
    let fleet = fleet();
    let short = "videotestsrc://?size=64x48&frames=3";
    fleet.initialise(named("sm", short, echo())).unwrap();
    until("the end", || fleet.phase("sm").unwrap() == Phase::Ended);
    stop_clean(&fleet, "sm");
    fleet
        .initialise(named("sn", "/absent.mp4", echo()))
        .unwrap();
    until("the failure", || {
        fleet.phase("sn").unwrap() == Phase::Failed
    });
    stop_clean(&fleet, "sn");
}

#[test]
fn a_whole_fleet_at_once() {
    let fleet = fleet();
    let (_listener, port) = silent_port();
    for i in 0..4 {
        let uri = format!("rtsp://127.0.0.1:{port}/{i}");
        fleet
            .initialise(named(&format!("so{i}"), &uri, echo()))
            .unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    let began = awake();
    drop(fleet);
    let took = awake() - began;
    assert!(took < STOPS, "it took {took:?}");
}
