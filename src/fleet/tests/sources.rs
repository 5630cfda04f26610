//! Several sources in one pipeline: rounds, sources that come and go.

use super::*;
use crate::fleet::{FleetError, Phase, ResultsPolicy};

fn several(uris: &[&str]) -> PipelineSpec {
    let sources = uris.iter().enumerate().map(|(i, uri)| {
        let mut source = source(uri);
        source.video_identifier = Some(i.to_string().into());
        source
    });
    PipelineSpec::new(sources.collect(), echo())
}

#[test]
fn files_go_in_rounds_and_not_a_frame_is_left_out() {
    let fleet = fleet();
    let pattern = |frames| format!("videotestsrc://?size=64x48&frames={frames}");
    let mut spec = several(&[&pattern(20), &pattern(12)]);
    spec.results = 100;
    let id = fleet.initialise(spec).unwrap();
    until("the end", || fleet.phase(&id).unwrap() == Phase::Ended);
    let mut rounds = Vec::new();
    while let Some(result) = fleet.consume(&id, &[]).unwrap() {
        assert_eq!(result.outputs.len(), 2);
        let image = &result.outputs[0]["image"]["video_metadata"];
        assert_eq!(image["video_identifier"], "0");
        let number = |i: usize| result.frames_metadata[i]["frame_id"].as_i64();
        assert_eq!(result.outputs[1].is_null(), number(1).is_none());
        rounds.push((number(0), number(1)));
    }
    let want: Vec<_> = (1..=20)
        .map(|n| (Some(n), (n <= 12).then_some(n)))
        .collect();
    assert_eq!(rounds, want);
}

#[test]
fn a_camera_that_is_away_does_not_hold_the_others() {
    let fleet = fleet();
    let away = format!("rtsp://127.0.0.1:{}/cam", closed_port());
    let id = fleet.initialise(several(&[&away, CAMERA])).unwrap();
    until_results(&fleet, &id);
    let result = fleet.consume(&id, &["image".into()]).unwrap().unwrap();
    assert_eq!(result.outputs, [Json::Null, json!({"o": "x"})]);
    assert_eq!(result.frames_metadata[0], Json::Null);
    assert_eq!(result.frames_metadata[1]["source_id"], 1);
    let fps = || {
        own(&fleet, &id)["figures"]["processed_fps"]
            .as_f64()
            .unwrap()
    };
    until("the rate of the camera", || fps() > 15.0);
}

#[test]
fn sources_come_and_go_while_it_runs() {
    let fleet = fleet();
    let mut spec = several(&[CAMERA]);
    spec.results = 10_000;
    let id = fleet.initialise(spec).unwrap();
    until_results(&fleet, &id);
    let added = fleet.add_source(&id, source(CAMERA)).unwrap();
    assert_eq!(added, 1);
    let completed = |number: usize| {
        let status = fleet.status(&id).unwrap();
        let rows = status["completion_statistics"]["sources"]
            .as_array()
            .unwrap()
            .clone();
        let row = rows.iter().find(|row| row["source_id"] == number);
        row.and_then(|row| row["completed_frames"].as_u64())
    };
    until("frames of the new source", || completed(1) > Some(3));
    fleet.remove_source(&id, 0).unwrap();
    assert_eq!(completed(0), None);
    let so_far = completed(1).unwrap();
    until("more frames", || completed(1).unwrap() > so_far + 5);
    let mut last = None;
    while let Some(result) = fleet.consume(&id, &["image".into()]).unwrap() {
        last = Some(result);
    }
    let last = last.unwrap();
    assert_eq!(last.frames_metadata.len(), 1, "{last:?}");
    assert_eq!(last.frames_metadata[0]["source_id"], 1);
    assert!(matches!(
        fleet.remove_source(&id, 1),
        Err(FleetError::LastSource { .. })
    ));
    assert!(matches!(
        fleet.remove_source(&id, 0),
        Err(FleetError::NoSource { .. })
    ));
    assert!(matches!(
        fleet.add_source(&id, source("/absent.mp4")),
        Err(FleetError::Source(_))
    ));
    assert_eq!(
        fleet.add_source(&id, source(CAMERA)).unwrap(),
        3,
        "no number twice"
    );
}

#[test]
fn the_rate_is_kept_and_files_are_slowed_down_not_thinned() {
    let fleet = fleet();
    let mut spec = spec("videotestsrc://?size=64x48&frames=20", echo());
    spec.max_fps = Some(20.0);
    spec.results_policy = ResultsPolicy::DropOldest;
    let began = Instant::now();
    let id = fleet.initialise(spec).unwrap();
    until("the end", || fleet.phase(&id).unwrap() == Phase::Ended);
    assert!(
        began.elapsed() >= Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(own(&fleet, &id)["results"]["waiting"], 20);
}
