//! One stream's trouble is no other's; starved, hung and dead are told apart; a hung stream is
//! started anew, so many times and no more.

use super::*;
use crate::blocks::testing::shut;
use crate::fleet::{Condition, Phase};

/// Whether a frame is on its way through a pipeline.
fn is_busy(fleet: &Fleet, id: &str) -> bool {
    own(fleet, id)["figures"]["in_flight"] != 0
}

#[test]
fn a_panicking_block_and_a_stuck_one_do_not_touch_the_others() {
    let fleet = fleet();
    shut("isolation", true);
    let well = fleet.initialise(spec(CAMERA, echo())).unwrap();
    let panics = Wanted::Inline(definition("Panic", "x").into());
    let panicking = fleet.initialise(spec(CAMERA, panics)).unwrap();
    let stuck = Wanted::Inline(definition("Gate", "isolation").into());
    let stuck = fleet.initialise(spec(CAMERA, stuck)).unwrap();
    until("failures", || results(&fleet, &panicking) > 12);
    // Of what its camera shows; a busy machine shows fewer.
    let shown = || own(&fleet, &well)["sources"][0]["frames"].as_u64().unwrap();
    let before = (shown(), results(&fleet, &well));
    until("a second of the healthy stream", || {
        shown() >= before.0 + 25
    });
    let (shown, ran) = (shown() - before.0, results(&fleet, &well) - before.1);
    assert!(
        ran as f64 > 0.6 * shown as f64,
        "the healthy stream gave {ran} results of {shown} frames"
    );
    assert_eq!(own(&fleet, &well)["errors"], 0);
    let result = fleet.consume(&panicking, &[]).unwrap().unwrap();
    assert_eq!(result.outputs, [Json::Null]);
    assert_eq!(result.error.unwrap()["error_type"], "StepExecutionError");
    assert_eq!(
        result.definition["source"], "inline",
        "failed results are stamped too"
    );
    let of = |id: &str| {
        fleet
            .health()
            .into_iter()
            .find(|h| h.id == id)
            .unwrap()
            .condition
    };
    assert!(matches!(of(&panicking), Condition::Failing { .. }));
    assert_eq!(of(&well), Condition::Well);
    shut("isolation", false);
    until("the stuck stream", || results(&fleet, &stuck) > 2);
}

#[test]
fn a_hung_stream_is_started_anew_and_given_up_in_the_end() {
    let settings = Settings {
        restarts: 2,
        ..Settings::default()
    };
    let (fleet, clock) = fleet_and_clock(settings);
    shut("hung", true);
    let wanted = Wanted::Inline(definition("Gate", "hung").into());
    let id = fleet.initialise(spec(CAMERA, wanted)).unwrap();
    let condition = || fleet.health().remove(0).condition;
    until("a stuck frame", || is_busy(&fleet, &id));
    clock.advance(10);
    until("hanging", || matches!(condition(), Condition::Hung { .. }));
    assert_eq!(fleet.health_json()["status"], "degraded");
    clock.advance(20);
    until("a restart", || fleet.health()[0].restarts == 1);
    // The second life finds the gate open.
    shut("hung", false);
    until_results(&fleet, &id);
    assert_eq!(condition(), Condition::Well);
    let updates = fleet.status(&id).unwrap()["video_source_status_updates"].to_string();
    assert!(updates.contains("PIPELINE_RESTARTED"), "{updates}");
    shut("hung", true);
    until("giving up", || {
        if is_busy(&fleet, &id) {
            clock.advance(1);
        }
        fleet.phase(&id).unwrap() == Phase::Failed
    });
    let Condition::Dead { reason } = condition() else {
        panic!("{:?}", condition());
    };
    assert!(reason.contains("started anew 2 times"), "{reason}");
    assert_eq!(fleet.health()[0].restarts, 2);
    shut("hung", false);
}

#[test]
fn a_hung_file_is_not_played_twice() {
    let settings = Settings {
        restart: Duration::from_millis(500),
        ..Settings::default()
    };
    let fleet = fleet_with(settings);
    shut("hung file", true);
    let wanted = Wanted::Inline(definition("Gate", "hung file").into());
    let id = fleet.initialise(spec(CLIP, wanted)).unwrap();
    until("giving up", || fleet.phase(&id).unwrap() == Phase::Failed);
    shut("hung file", false);
    let problem = own(&fleet, &id)["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("recorded file"), "{problem}");
}

#[test]
fn no_frames_is_starved_and_neither_hung_nor_dead() {
    let (fleet, clock) = fleet_and_clock(Settings::default());
    let uri = format!("rtsp://127.0.0.1:{}/cam", closed_port());
    fleet.initialise(spec(&uri, echo())).unwrap();
    let condition = || fleet.health().remove(0).condition;
    let is_starved = || {
        matches!(
            condition(),
            Condition::Starved {
                reason: Some(_),
                ..
            }
        )
    };
    clock.advance(6);
    until("starving", is_starved);
    // Longer than after which one with frames would hang.
    clock.advance(15);
    until("starving still", is_starved);
    let json = fleet.health_json();
    assert_eq!(json["streams"][0]["condition"], "starved");
    assert_eq!(json["streams"][0]["sources"], json!([0]));
}

#[test]
fn a_kept_pipeline_is_tried_until_its_file_appears() {
    let settings = Settings {
        retry: (Duration::from_millis(50), Duration::from_millis(200)),
        ..Settings::default()
    };
    let fleet = fleet_with(settings);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later.mp4");
    let id = fleet.keep(spec(path.to_str().unwrap(), echo())).unwrap();
    until("a problem", || own(&fleet, &id)["problem"].is_string());
    std::fs::copy(CLIP, &path).unwrap();
    until_results(&fleet, &id);
    assert_eq!(own(&fleet, &id)["problem"], Json::Null);
}
