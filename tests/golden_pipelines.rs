//! Whole pipelines on recorded clips, frame by frame against what the reference's video pipeline
//! answered: same boxes and classes, the same identities, the same counts.

#[path = "support/streams.rs"]
mod streams;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace::blocks::Services;
use millrace::engine::Run;
use millrace::models::{ModelStore, RuntimeSettings};
use millrace::plan::Plan;
use millrace::sources::SourceSpec;
use millrace::values::{Detections, Value};
use serde_json::{Value as Json, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Runs a definition on a clip; answers the outputs of each frame by name.
fn run_clip(definition: &Json, clip: &str) -> Vec<HashMap<String, Value>> {
    let mut services = Services::default();
    let models = ModelStore::open(
        fixtures().join("models"),
        RuntimeSettings::default(),
        services.clock.clone(),
    );
    services.models = Arc::new(models.expect("the fixture models open"));
    let plan = Arc::new(Plan::compile(definition).expect("a sound definition"));
    let path = fixtures().join("video").join(clip);
    let uri = path
        .to_str()
        .expect("a plain path")
        .parse()
        .expect("a source");
    let stream = streams::start(&services, definition, plan.clone(), SourceSpec::new(uri));
    let mut frames = Vec::new();
    for result in stream.results() {
        let run: Run = result.run.expect("the workflow runs");
        let object = run.produced(&plan).remove(0);
        frames.push(
            object
                .into_iter()
                .map(|p| (p.name.to_string(), p.value))
                .collect(),
        );
    }
    frames
}

fn golden(name: &str) -> Vec<Json> {
    let text =
        std::fs::read_to_string(fixtures().join("golden").join(name)).expect("recorded answers");
    let whole: Json = serde_json::from_str(&text).expect("JSON");
    whole["frames"].as_array().expect("frames").clone()
}

/// Pairs the recorded boxes with ours; answers for each recorded one the row of ours.
fn pair(frame: usize, what: &str, want: &[Json], got: &Detections) -> Vec<usize> {
    assert_eq!(
        want.len(),
        got.len(),
        "frame {frame}, {what}: number of boxes"
    );
    let mut left: Vec<usize> = (0..got.len()).collect();
    want.iter()
        .map(|w| {
            let corners: Vec<f64> = w["box"]
                .as_array()
                .expect("a box")
                .iter()
                .filter_map(Json::as_f64)
                .collect();
            let off = |row: usize| -> f64 {
                (0..4)
                    .map(|i| (corners[i] - got.xyxy[row][i]).abs())
                    .fold(0.0, f64::max)
            };
            let at = (0..left.len())
                .min_by(|&a, &b| off(left[a]).total_cmp(&off(left[b])))
                .expect("one is left");
            let row = left.remove(at);
            assert!(
                off(row) <= 1.0,
                "frame {frame}, {what}: {corners:?} is {} px off",
                off(row)
            );
            assert_eq!(
                w["class"].as_str(),
                got.class_name(row).map(|n| &**n),
                "frame {frame}, {what}"
            );
            row
        })
        .collect()
}

fn detections<'a>(outputs: &'a HashMap<String, Value>, name: &str) -> &'a Arc<Detections> {
    outputs[name].as_detections().expect("detections")
}

/// Compares a whole clip; answers the last counts.
fn compare(definition: &Json, clip: &str, recorded: &str) -> (i64, i64) {
    let want = golden(recorded);
    let got = run_clip(definition, clip);
    assert_eq!(want.len(), got.len(), "number of frames");
    let mut ours_of: HashMap<i64, i64> = HashMap::new();
    let mut theirs_of: HashMap<i64, i64> = HashMap::new();
    let mut counts = (0, 0);
    for (i, (want, got)) in want.iter().zip(&got).enumerate() {
        let list = |name: &str| want[name].as_array().map(Vec::as_slice).unwrap_or_default();
        pair(
            i,
            "detections",
            list("detections"),
            detections(got, "detections"),
        );
        let tracked = detections(got, "tracked");
        let rows = pair(i, "tracked", list("tracked"), tracked);
        for (w, row) in list("tracked").iter().zip(rows) {
            let theirs = w["tracker_id"].as_i64().expect("a track");
            let ours = tracked.tracker_id.as_ref().expect("tracks")[row];
            assert_eq!(
                *ours_of.entry(theirs).or_insert(ours),
                ours,
                "frame {i}: identity {theirs}"
            );
            assert_eq!(
                *theirs_of.entry(ours).or_insert(theirs),
                theirs,
                "frame {i}: identity {ours}"
            );
        }
        if want.get("timed").is_some() {
            let timed = detections(got, "timed");
            let rows = pair(i, "timed", list("timed"), timed);
            for (w, row) in list("timed").iter().zip(rows) {
                let theirs = w["time_in_zone"].as_f64().expect("seconds");
                let ours = timed
                    .cell("time_in_zone", row)
                    .and_then(Value::as_f64)
                    .expect("seconds");
                assert!(
                    (theirs - ours).abs() < 1e-3,
                    "frame {i}: {ours} s in the zone, want {theirs}"
                );
            }
        }
        let count = |name: &str| got[name].as_i64().expect("a count");
        assert_eq!(
            (want["in"].as_i64(), want["out"].as_i64()),
            (Some(count("in")), Some(count("out"))),
            "frame {i}"
        );
        counts = (count("in"), count("out"));
    }
    counts
}

fn outputs(names: &[(&str, &str)]) -> Json {
    names
        .iter()
        .map(|(name, selector)| json!({"type": "JsonField", "name": name, "selector": selector}))
        .collect()
}

fn model(id: &str, confidence: f64) -> Json {
    json!({"type": "roboflow_core/roboflow_object_detection_model@v2", "name": "model", "images": "$inputs.image",
           "model_id": id, "confidence": confidence})
}

fn tracker() -> Json {
    json!({"type": "roboflow_core/byte_tracker@v3", "name": "track", "image": "$inputs.image",
           "detections": "$steps.model.predictions"})
}

fn line(end: i64) -> Json {
    json!({"type": "roboflow_core/line_counter@v2", "name": "line", "image": "$inputs.image",
           "detections": "$steps.track.tracked_detections", "line_segment": [[320, 0], [320, end]]})
}

#[test]
fn pedestrians_keep_their_identities_and_are_counted() {
    let mut person = model("coco-nano/2", 0.3);
    person["class_filter"] = json!(["person"]);
    let definition = json!({
        "version": "1.0",
        "inputs": [{"type": "InferenceImage", "name": "image"}],
        "steps": [person, tracker(), line(480),
            {"type": "roboflow_core/time_in_zone@v3", "name": "zone", "image": "$inputs.image",
             "detections": "$steps.track.tracked_detections",
             "zone": [[60, 160], [420, 160], [420, 330], [60, 330]]}],
        "outputs": outputs(&[("in", "$steps.line.count_in"), ("out", "$steps.line.count_out"),
            ("detections", "$steps.model.predictions"), ("tracked", "$steps.track.tracked_detections"),
            ("timed", "$steps.zone.timed_detections")]),
    });
    let counts = compare(
        &definition,
        "pedestrians_640x480_10fps.mp4",
        "pipeline_pedestrians-track.json",
    );
    assert_eq!(counts, (4, 7));
}

#[test]
fn shapes_keep_their_identities_and_are_counted() {
    let definition = json!({
        "version": "1.0",
        "inputs": [{"type": "InferenceImage", "name": "image"}],
        "steps": [model("shapes/1", 0.4), tracker(), line(360)],
        "outputs": outputs(&[("in", "$steps.line.count_in"), ("out", "$steps.line.count_out"),
            ("detections", "$steps.model.predictions"), ("tracked", "$steps.track.tracked_detections")]),
    });
    assert_eq!(
        compare(
            &definition,
            "shapes_a_640x360_25fps.mp4",
            "pipeline_shapes-line.json"
        ),
        (3, 4)
    );
}
