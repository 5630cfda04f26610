//! A new definition reaches running streams without losing a frame or a tracker id.
//!
//! Four streams play the same clip while definitions are swapped under them: a drawing parameter, a
//! zone, an added step, a removed step, another model id. Every frame must come out once and in order,
//! and counts and identities must be those of a run without any swap.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use millrace::blocks::Services;
use millrace::definitions::DefinitionStamp;
use millrace::engine::{Engine, RuntimeInputs};
use millrace::models::{ModelStore, RuntimeSettings};
use millrace::plan::Plan;
use millrace::sources::{Source, SourceSpec};
use millrace::streams::{Replacement, Stream, StreamSpec};
use millrace::values::Value;
use millrace::values::deserialise::InputOptions;
use serde_json::{Value as Json, json};

const STREAMS: usize = 4;
/// Frames between two swaps: the last of 50 comes well before the end of the clip.
const BETWEEN: usize = 5;
/// Longest wait for a few frames, or for a swap.
const PATIENCE: Duration = Duration::from_secs(60);

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The definition number `k`: always the same detections, tracks and counts, something else changed.
fn definition(k: usize) -> Json {
    let model = if k % 5 == 4 { "shapes/2" } else { "shapes/1" };
    let mut steps = vec![
        json!({"type": "roboflow_core/roboflow_object_detection_model@v2", "name": "model", "images": "$inputs.image",
               "model_id": model, "confidence": 0.4}),
        json!({"type": "roboflow_core/byte_tracker@v3", "name": "track", "image": "$inputs.image",
               "detections": "$steps.model.predictions"}),
        json!({"type": "roboflow_core/line_counter@v2", "name": "line", "image": "$inputs.image",
               "detections": "$steps.track.tracked_detections", "line_segment": [[320, 0], [320, 360]]}),
        json!({"type": "roboflow_core/bounding_box_visualization@v1", "name": "boxes", "image": "$inputs.image",
               "predictions": "$steps.track.tracked_detections", "thickness": 1 + k % 5}),
        json!({"type": "roboflow_core/time_in_zone@v3", "name": "zone", "image": "$inputs.image",
               "detections": "$steps.track.tracked_detections",
               "zone": [[0, 0], [100 + k % 3, 0], [100, 300], [0, 300]]}),
    ];
    if k % 2 == 1 {
        steps.push(
            json!({"type": "roboflow_core/property_definition@v1", "name": "count",
            "data": "$steps.track.tracked_detections", "operations": [{"type": "SequenceLength"}]}),
        );
    }
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": steps,
        "outputs": [
            {"type": "JsonField", "name": "in", "selector": "$steps.line.count_in"},
            {"type": "JsonField", "name": "out", "selector": "$steps.line.count_out"},
            {"type": "JsonField", "name": "tracked", "selector": "$steps.track.tracked_detections"},
        ],
    })
}

fn replacement(services: &Services, k: usize) -> Replacement {
    let plan = Arc::new(Plan::compile(&definition(k)).unwrap());
    let stamp = DefinitionStamp::inline(&definition(k), services.clock.now());
    services.models.preload("shapes/2").unwrap();
    let engine = Engine::new(plan, services.clone(), InputOptions::default()).unwrap();
    Replacement {
        engine,
        provenance: stamp.into(),
        image_input: "image".into(),
    }
}

/// What a frame gave: number, counts, track ids.
type Row = (i64, i64, i64, Vec<i64>);

struct Played {
    rows: Vec<Row>,
    generations: usize,
}

/// Plays a stream to its end; before each swap it says that it is there, and waits.
fn play(stream: Stream, swaps: usize, there: &Sender<()>, goes_on: &Receiver<()>) -> Played {
    let mut played = Played {
        rows: Vec::new(),
        generations: 0,
    };
    let mut last_hash = None;
    for result in stream.results() {
        if last_hash.replace(result.generation.provenance.hash())
            != Some(result.generation.provenance.hash())
        {
            played.generations += 1;
        }
        let run = result.run.unwrap();
        let object = run.produced(&result.generation.plan).remove(0);
        let value = |name: &str| {
            object
                .iter()
                .find(|p| **p.name == *name)
                .unwrap()
                .value
                .clone()
        };
        let ids = match value("tracked") {
            Value::Detections(d) => d
                .tracker_id
                .as_ref()
                .map(|ids| ids.to_vec())
                .unwrap_or_default(),
            _ => panic!("no tracks"),
        };
        let count = |name: &str| value(name).as_i64().unwrap();
        played
            .rows
            .push((result.frame.number, count("in"), count("out"), ids));
        let seen = played.rows.len();
        if seen.is_multiple_of(BETWEEN) && seen / BETWEEN <= swaps {
            there.send(()).unwrap();
            goes_on.recv().unwrap();
        }
    }
    stream.join();
    played
}

fn run(services: &Services, streams: usize, swaps: usize) -> Vec<Played> {
    let mut players = Vec::new();
    let mut led = Vec::new();
    for i in 0..streams {
        let path = fixtures().join("video/shapes_a_640x360_25fps.mp4");
        let mut spec = SourceSpec::new(path.to_str().unwrap().parse().unwrap());
        spec.video_identifier = Some(format!("swap{swaps}-{i}").into());
        let stream = Stream::start(StreamSpec {
            source: Source::open(spec).unwrap(),
            definition: replacement(services, 0),
            parameters: RuntimeInputs::new(),
            clock: services.clock.clone(),
        })
        .unwrap();
        let ((there, comes), (go_on, goes_on)) = (bounded(1), bounded(1));
        led.push((stream.control(), stream.figures().clone(), comes, go_on));
        players.push(thread::spawn(move || play(stream, swaps, &there, &goes_on)));
    }
    for k in 1..=swaps {
        for (control, figures, comes, _) in &led {
            comes.recv_timeout(PATIENCE).unwrap();
            let until = Instant::now() + PATIENCE;
            while figures.snapshot().swaps + 1 < k as u64 {
                assert!(Instant::now() < until, "swap {k} is not made");
                thread::sleep(Duration::from_millis(1));
            }
            control.swap(replacement(services, k)).unwrap();
        }
        led.iter().for_each(|(.., go_on)| go_on.send(()).unwrap());
    }
    players.into_iter().map(|p| p.join().unwrap()).collect()
}

#[test]
fn swaps_lose_no_frame_and_no_identity() {
    let mut services = Services::default();
    let models = ModelStore::open(
        fixtures().join("models"),
        RuntimeSettings::default(),
        services.clock.clone(),
    );
    services.models = Arc::new(models.unwrap());
    let still = run(&services, 1, 0);
    let swapped = run(&services, STREAMS, 50);
    let want: Vec<i64> = (1..=300).collect();
    for played in still.iter().chain(&swapped) {
        let numbers: Vec<i64> = played.rows.iter().map(|r| r.0).collect();
        assert_eq!(numbers, want, "every frame once, in order");
        assert_eq!(played.rows, still[0].rows, "counts and identities");
    }
    assert_eq!(still[0].rows[299].1..=still[0].rows[299].2, 3..=4);
    let generations: usize = swapped.iter().map(|p| p.generations - 1).sum();
    println!("{STREAMS} streams, {generations} swaps seen: 0 frames lost");
    assert!(
        generations >= STREAMS * 40,
        "only {generations} swaps were seen"
    );
}
