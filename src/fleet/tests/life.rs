//! From the first call to the last: results, pausing, the end of a file, what is refused.

use super::*;
use crate::definitions::{DefinitionKey, Refresher};
use crate::fleet::{Condition, FleetError, Phase, ResultsPolicy};

/// Time in which the fleet has looked for what is to be removed.
const SWEPT: Duration = Duration::from_millis(400);

#[test]
fn results_outlive_the_file_and_then_it_is_gone() {
    let settings = Settings {
        drained: Duration::from_secs(60),
        linger: Duration::from_secs(600),
        ..Settings::default()
    };
    let (fleet, clock) = fleet_and_clock(settings);
    let id = fleet
        .initialise(spec("videotestsrc://?size=64x48&frames=10", echo()))
        .unwrap();
    until("the end", || fleet.phase(&id).unwrap() == Phase::Ended);
    clock.advance(90);
    std::thread::sleep(SWEPT);
    let excluded = ["image".to_owned()];
    for number in 1..=10 {
        let result = fleet.consume(&id, &excluded).unwrap().unwrap();
        assert_eq!(result.outputs, [json!({"o": "x"})]);
        assert_eq!(result.frames_metadata[0]["frame_id"], number);
        assert_eq!(result.frames_metadata[0]["source_id"], 0);
        assert_eq!(result.definition["source"], "inline");
        assert!(result.timing[0]["latency_ms"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(fleet.consume(&id, &[]).unwrap(), None);
    clock.advance(61);
    until("its removal", || fleet.list().is_empty());
    assert!(matches!(
        fleet.consume(&id, &[]),
        Err(FleetError::Unknown { .. })
    ));
    assert!(matches!(fleet.terminate(&id), Err(FleetError::Gone { .. })));
}

#[test]
fn not_one_result_is_lost_if_the_buffer_waits() {
    let fleet = fleet();
    let mut spec = spec("videotestsrc://?size=64x48&frames=60", echo());
    spec.results = 3;
    spec.results_policy = ResultsPolicy::Wait;
    let id = fleet.initialise(spec).unwrap();
    let mut numbers = Vec::new();
    until("all results", || {
        while let Some(result) = fleet.consume(&id, &["image".into()]).unwrap() {
            numbers.push(result.frames_metadata[0]["frame_id"].as_i64().unwrap());
        }
        numbers.len() == 60
    });
    assert_eq!(numbers, (1..=60).collect::<Vec<i64>>());
}

#[test]
fn the_oldest_results_go_if_nobody_takes_them() {
    let fleet = fleet();
    let mut spec = spec("videotestsrc://?size=64x48&frames=40", echo());
    spec.results = 4;
    let id = fleet.initialise(spec).unwrap();
    until("the end", || fleet.phase(&id).unwrap() == Phase::Ended);
    let told = own(&fleet, &id)["results"].clone();
    assert_eq!(told["waiting"], 4);
    assert_eq!(told["dropped_full"], 36);
    let first = fleet.consume(&id, &[]).unwrap().unwrap();
    assert_eq!(first.frames_metadata[0]["frame_id"], 37);
    assert_eq!(first.outputs[0]["image"]["type"], "base64");
    assert_eq!(
        first.outputs[0]["image"]["video_metadata"]["frame_number"],
        37
    );
}

#[test]
fn pictures_that_wait_are_bounded_in_bytes() {
    let settings = Settings {
        results_bytes: 64 * 48 * 3 * 5,
        ..Settings::default()
    };
    let fleet = fleet_with(settings);
    let id = fleet
        .initialise(spec("videotestsrc://?size=64x48&frames=40", echo()))
        .unwrap();
    until("the end", || fleet.phase(&id).unwrap() == Phase::Ended);
    let told = own(&fleet, &id)["results"].clone();
    assert_eq!(
        (&told["waiting"], &told["dropped_bytes"]),
        (&json!(5), &json!(35))
    );
}

#[test]
fn pausing_a_file_stops_its_reading_and_loses_nothing() {
    let fleet = fleet();
    let mut spec = spec(CLIP, echo());
    spec.max_fps = Some(50.0);
    spec.results = 400;
    spec.results_policy = ResultsPolicy::Wait;
    let id = fleet.initialise(spec).unwrap();
    until_results(&fleet, &id);
    fleet.pause(&id).unwrap();
    assert!(matches!(fleet.pause(&id), Err(FleetError::State { .. })));
    // At its pace it would read two dozen frames in the time that they have to stay as many.
    let read = || own(&fleet, &id)["sources"][0]["frames"].as_i64().unwrap();
    let before = at_rest("the end of the reading", read);
    assert!(before < 300, "it was read to its end while it paused");
    assert_eq!(state_of(&fleet, &id, 0), "PAUSED");
    assert_eq!(fleet.phase(&id).unwrap(), Phase::Running);
    fleet.resume(&id).unwrap();
    assert!(matches!(fleet.resume(&id), Err(FleetError::State { .. })));
    until("the end", || fleet.phase(&id).unwrap() == Phase::Ended);
    assert_eq!(
        own(&fleet, &id)["results"]["waiting"],
        300,
        "every frame has its result"
    );
}

#[test]
fn a_paused_camera_goes_on_with_what_it_shows_now() {
    let fleet = fleet();
    let id = fleet.initialise(spec(CAMERA, echo())).unwrap();
    until_results(&fleet, &id);
    fleet.pause(&id).unwrap();
    assert_eq!(state_of(&fleet, &id, 0), "MUTED");
    at_rest("the last results", || results(&fleet, &id));
    while fleet.consume(&id, &["image".into()]).unwrap().is_some() {}
    until("frames that nobody runs", || {
        own(&fleet, &id)["figures"]["dropped"]["paused"].as_u64() > Some(10)
    });
    assert_eq!(fleet.consume(&id, &[]).unwrap(), None);
    let shown = own(&fleet, &id)["sources"][0]["frames"].as_i64().unwrap();
    fleet.resume(&id).unwrap();
    let mut first = None;
    until("a result", || {
        first = fleet.consume(&id, &["image".into()]).unwrap();
        first.is_some()
    });
    let number = first.unwrap().frames_metadata[0]["frame_id"].as_i64();
    let number = number.unwrap();
    assert!(
        number > shown - 5,
        "frame {number} after {shown} were shown"
    );
}

#[test]
fn a_refused_initialise_leaves_nothing_behind() {
    let fleet = fleet();
    let bad = Wanted::Inline(json!({"version": "1.0", "inputs": [], "steps": [{"type": "no/such@v1", "name": "a"}], "outputs": []}).into());
    assert!(matches!(
        fleet.initialise(spec(CAMERA, bad)),
        Err(FleetError::Workflow(_))
    ));
    let absent = Wanted::Key(DefinitionKey::folder("absent"));
    assert!(matches!(
        fleet.initialise(spec(CAMERA, absent)),
        Err(FleetError::Definition(_))
    ));
    let refused = Wanted::Inline(
        json!({
            "version": "1.0", "inputs": [{"type": "WorkflowImage", "name": "image"}],
            "steps": [{"type": "Closing", "name": "refused"}],
            "outputs": [],
        })
        .into(),
    );
    assert!(matches!(
        fleet.initialise(spec(CAMERA, refused)),
        Err(FleetError::Workflow(_))
    ));
    assert!(fleet.list().is_empty());
}

#[test]
fn there_is_a_limit_for_clients_and_ended_ones_do_not_count() {
    let settings = Settings {
        max_pipelines: 1,
        ..Settings::default()
    };
    let fleet = fleet_with(settings);
    let first = fleet.initialise(spec(CAMERA, echo())).unwrap();
    assert!(matches!(
        fleet.initialise(spec(CAMERA, echo())),
        Err(FleetError::Full { limit: 1 })
    ));
    fleet.keep(spec(CAMERA, echo())).unwrap();
    fleet.terminate(&first).unwrap();
    let ends = fleet
        .initialise(spec("videotestsrc://?size=64x48&frames=1", echo()))
        .unwrap();
    until("the end", || fleet.phase(&ends).unwrap().is_over());
    fleet.initialise(spec(CAMERA, echo())).unwrap();
    assert_eq!(fleet.list().len(), 3);
}

#[test]
fn a_pipeline_that_nobody_consumes_ends_if_it_was_told_so() {
    let (fleet, clock) = fleet_and_clock(Settings::default());
    let mut spec = spec(CAMERA, echo());
    spec.consumption_timeout = Some(Duration::from_secs(20));
    let id = fleet.initialise(spec).unwrap();
    for _ in 0..3 {
        clock.advance(10);
        std::thread::sleep(SWEPT);
        let _ = fleet.consume(&id, &["image".into()]).unwrap();
    }
    assert_eq!(fleet.list().len(), 1);
    clock.advance(21);
    until("its removal", || fleet.list().is_empty());
}

#[test]
fn a_missing_file_is_told_in_the_status() {
    let fleet = fleet();
    let id = fleet.initialise(spec("/data/absent.mp4", echo())).unwrap();
    until("the failure", || fleet.phase(&id).unwrap() == Phase::Failed);
    until("the last update", || {
        let status = fleet.status(&id).unwrap();
        status["video_source_status_updates"]
            .as_array()
            .unwrap()
            .len()
            == 5
    });
    let status = fleet.status(&id).unwrap();
    let updates = status["video_source_status_updates"].as_array().unwrap();
    let events: Vec<&str> = updates
        .iter()
        .map(|u| u["event_type"].as_str().unwrap())
        .collect();
    // As recorded.
    let want = [
        "INFERENCE_THREAD_STARTED",
        "SOURCE_STATE_UPDATE",
        "SOURCE_STATE_UPDATE",
        "INFERENCE_ERROR",
        "INFERENCE_THREAD_FINISHED",
    ];
    assert_eq!(events, want);
    assert_eq!(updates[3]["payload"]["error_type"], "SourceConnectionError");
    let message = updates[3]["payload"]["error_message"].as_str().unwrap();
    let words = "Cannot connect to video source under reference: /data/absent.mp4";
    assert!(message.ends_with(words), "{message}");
    assert_eq!(status["sources_metadata"][0]["state"], "ERROR");
    assert_eq!(
        status["sources_metadata"][0]["source_properties"],
        Json::Null
    );
    assert!(matches!(
        fleet.health()[0].condition,
        Condition::Dead { .. }
    ));
}

#[test]
fn an_unreachable_camera_is_tried_on_and_shown_without_its_secrets() {
    let fleet = fleet();
    let uri = format!("rtsp://user:hunter2@127.0.0.1:{}/cam?x=1", closed_port());
    let id = fleet.initialise(spec(&uri, echo())).unwrap();
    let attempts = || {
        own(&fleet, &id)["sources"][0]["failed_attempts"]
            .as_u64()
            .unwrap_or(0)
    };
    until("several attempts", || attempts() >= 2);
    let status = fleet.status(&id).unwrap();
    assert_eq!(status["millrace"]["state"], "running");
    assert_eq!(status["sources_metadata"][0]["state"], "RESTARTING");
    let shown = status["sources_metadata"][0]["source_reference"]
        .as_str()
        .unwrap();
    assert!(
        shown.starts_with("rtsp://127.0.0.1:") && shown.ends_with("/cam"),
        "{shown}"
    );
    let whole = status.to_string();
    assert!(
        !whole.contains("hunter2") && whole.contains("SOURCE_ERROR"),
        "{whole}"
    );
}

#[test]
fn a_republished_definition_reaches_the_running_pipeline() {
    let (fleet, folder) = fleet_at(
        "http://127.0.0.1:9",
        Services::default(),
        Settings::default(),
    );
    let _refresher = Refresher::start(&fleet.host.store);
    let path = folder.path().join("flow.json");
    std::fs::write(&path, definition("Echo", "one").to_string()).unwrap();
    let wanted = Wanted::Key(DefinitionKey::folder("flow"));
    let mut spec = spec(CAMERA, wanted);
    spec.results = 10_000;
    let id = fleet.initialise(spec).unwrap();
    until_results(&fleet, &id);
    std::fs::write(&path, definition("Echo", "two").to_string()).unwrap();
    let mut seen: Vec<(String, String, i64)> = Vec::new();
    until("the new definition", || {
        while let Some(result) = fleet.consume(&id, &["image".into()]).unwrap() {
            seen.push((
                result.outputs[0]["o"].as_str().unwrap().to_owned(),
                result.definition["hash"].as_str().unwrap().to_owned(),
                result.frames_metadata[0]["frame_id"].as_i64().unwrap(),
            ));
        }
        seen.iter().filter(|(o, ..)| o == "two").count() > 3
    });
    assert!(seen.windows(2).all(|w| w[0].2 < w[1].2), "in order");
    let mut stamps: Vec<(&str, &str)> = seen.iter().map(|(o, h, _)| (&**o, &**h)).collect();
    stamps.dedup();
    assert_eq!(stamps.len(), 2, "{stamps:?}");
    assert_ne!(stamps[0].1, stamps[1].1);
}
