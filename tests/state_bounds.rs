//! What blocks remember stays bounded, whatever comes and goes: identities on one video, and videos.
//!
//! Every block of the registry runs on frames whose objects are all new; the bytes that are alive after
//! the first two thirds of the frames must not grow in the last. `MILLRACE_FRAMES=100000` is the long form.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/allocations.rs"]
mod allocations;
#[allow(dead_code)]
#[path = "../benches/blocks/scene.rs"]
mod scene;

use std::sync::Arc;

use millrace::blocks::trackers::byte_track::{ByteTrack, Settings};
use millrace::blocks::{BlockSpec, Role, Services, registry};
use millrace::clock::ManualClock;
use millrace::engine::{Engine, RuntimeInput, RuntimeInputs};
use millrace::plan::Plan;
use millrace::values::deserialise::InputOptions;
use millrace::values::serialise::OutputOptions;
use millrace::values::{Detections, Image, Timestamp, Value, VideoMetadata};
use scene::Scene;

/// Frames of one video: new objects on each, more in two thirds of them than a block remembers.
const FRAMES: i64 = 5_000;
const OBJECTS: usize = 10;
/// Videos, more in two thirds of them than a block remembers.
const VIDEOS: i64 = 1_650;
/// Frames after which a block that remembers nothing more holds what it ever will.
const SETTLED: i64 = 40;
const TRIAL: i64 = 400;
/// Bytes by which what is alive may differ for other reasons: texts of another length.
const SLACK: i64 = 256;

fn frames() -> i64 {
    std::env::var("MILLRACE_FRAMES").map_or(FRAMES, |n| n.parse().unwrap())
}

/// Identifier of a video.
fn name(number: i64) -> String {
    format!("video {number:06}")
}

/// Inputs of which only image and boxes change from frame to frame.
struct Frames {
    inputs: RuntimeInputs,
    image: Image,
    boxes: Arc<Detections>,
}

impl Frames {
    fn new() -> Self {
        let scene = Scene {
            size: [32, 24],
            objects: OBJECTS,
            churn: 0,
            masks: false,
        };
        let inputs = scene.inputs("a", 1).unwrap();
        let value = |name: &str| match &inputs[name] {
            RuntimeInput::Value(value) => value.clone(),
            RuntimeInput::Json(_) => panic!("{name} is a value"),
        };
        Self {
            image: value("image").as_image().unwrap().clone(),
            boxes: value("objects").as_detections().unwrap().clone(),
            inputs,
        }
    }

    /// Frame `number` of a video: boxes with new track ids where nothing was on the frame before.
    fn frame(&mut self, video: &str, number: i64) -> &RuntimeInputs {
        let facts = Arc::new(VideoMetadata {
            frame_number: number,
            fps: Some(25.0),
            comes_from_video_file: Some(true),
            ..VideoMetadata::synthetic(video.into(), Timestamp::from_unix_micros(number * 40_000))
        });
        let mut boxes = (*self.boxes).clone();
        let count = boxes.len() as i64;
        boxes.tracker_id = Some(Arc::new((number * count..(number + 1) * count).collect()));
        // All inside the zones of `steps.json`.
        let (dx, dy) = (200 + number * 311 % 500, 150 + number * 173 % 300);
        let (dx, dy) = (dx as f64, dy as f64);
        let moved = |b: &[f64; 4]| [b[0] + dx, b[1] + dy, b[2] + dx, b[3] + dy];
        boxes.xyxy = Arc::new(self.boxes.xyxy.iter().map(moved).collect());
        let image = self.image.with_video(Some(facts.clone()));
        for (name, value) in [
            ("image", image.into()),
            ("video", Value::Video(facts)),
            ("objects", boxes.into()),
            ("number", number.into()),
        ] {
            self.inputs[name] = RuntimeInput::Value(value);
        }
        &self.inputs
    }
}

/// A block at work in an engine, and what was alive before it.
struct Trial {
    engine: Engine,
    frames: Frames,
    before: i64,
}

impl Trial {
    fn new(spec: &'static BlockSpec) -> Option<Self> {
        Self::with(spec, false, Services::default())
    }

    /// An engine that shows all that the block tells, at a moment that does not pass.
    fn showing(spec: &'static BlockSpec) -> Option<Self> {
        let services = Services {
            clock: Arc::new(ManualClock::default()),
            ..Services::default()
        };
        Self::with(spec, true, services)
    }

    fn with(spec: &'static BlockSpec, outputs: bool, services: Services) -> Option<Self> {
        let mut definition = scene::definition(spec).unwrap()?;
        // Lost tracks would be most of the work and none of the matter.
        for (field, value) in [
            ("lost_track_buffer", 4),
            ("stale_frames", 2),
            ("flush_interval", 2),
        ] {
            if spec.field_index(field).is_some() {
                definition["steps"][0][field] = value.into();
            }
        }
        if outputs && spec.role != Role::FlowControl {
            let step = definition["steps"][0]["name"].as_str().unwrap();
            let all = format!("$steps.{step}.*");
            definition["outputs"] =
                serde_json::json!([{"type": "JsonField", "name": "all", "selector": all}]);
        }
        let frames = Frames::new();
        let before = allocations::live();
        let plan = Arc::new(Plan::compile(&definition).unwrap());
        let engine = Engine::new(plan, services, InputOptions::default());
        Some(Self {
            engine: engine.unwrap(),
            frames,
            before,
        })
    }

    /// Bytes alive after a frame. That a block fails on such a frame is its right.
    fn run(&mut self, video: &str, number: i64) -> i64 {
        let inputs = self.frames.frame(video, number);
        drop(self.engine.execute(inputs));
        allocations::live() - self.before
    }

    /// Whether the block holds more and more at first.
    fn grows(mut self) -> bool {
        let peak = |trial: &mut Self, from: i64, to: i64, name: &dyn Fn(i64) -> String| {
            let bytes = (from..to).map(|n| trial.run(&name(n), n));
            bytes.max().unwrap_or(0)
        };
        let one = |_: i64| name(0);
        let early = peak(&mut self, 1, SETTLED, &one);
        let late = peak(&mut self, SETTLED, TRIAL, &one);
        let many = peak(&mut self, TRIAL, TRIAL + SETTLED, &name);
        late > early + SLACK || many > late + SLACK
    }

    /// The most bytes alive in the first two thirds and in the last third of so many frames.
    fn parts(&mut self, count: i64, video: impl Fn(i64) -> String) -> (i64, i64) {
        let mut most = (0, 0);
        for number in 1..=count {
            let bytes = self.run(&video(number), number);
            let part = if number <= count / 3 * 2 {
                &mut most.0
            } else {
                &mut most.1
            };
            *part = bytes.max(*part);
        }
        most
    }
}

/// Checks every second block, from the given one on; says which remember anything.
fn check(from: usize) -> Vec<&'static str> {
    let mut remembering = Vec::new();
    for spec in registry::all().skip(from).step_by(2) {
        let Some(trial) = Trial::new(spec) else {
            continue;
        };
        if !trial.grows() {
            continue;
        }
        remembering.push(spec.type_id());
        let mut fresh = Trial::new(spec).unwrap();
        let identities = fresh.parts(frames(), |_| name(0));
        drop(fresh);
        let mut fresh = Trial::new(spec).unwrap();
        let videos = fresh.parts(VIDEOS, name);
        println!("{}: {identities:?} {videos:?} bytes", spec.type_id());
        for (what, (first, second)) in [("identities", identities), ("videos", videos)] {
            assert!(
                second <= first + first / 8 + 4096,
                "{}: {what} take {first} bytes at first and {second} later",
                spec.type_id()
            );
        }
    }
    remembering
}

#[test]
fn what_is_remembered_stays_bounded() {
    let (one, other) = std::thread::scope(|scope| {
        let one = scope.spawn(|| check(0));
        let other = scope.spawn(|| check(1));
        (one.join(), other.join())
    });
    let all = [one.unwrap(), other.unwrap()].concat();
    // The test sees state at all: the blocks that everybody knows to have some are among them.
    for name in [
        "byte_tracker@v3",
        "time_in_zone@v3",
        "velocity@v1",
        "line_counter@v2",
    ] {
        let name = format!("roboflow_core/{name}");
        assert!(all.contains(&name.as_str()), "{name} is not among {all:?}");
    }
}

/// Boxes that walk steadily, so that after some frames no track starts or ends.
fn walking(count: usize, t: i64) -> Vec<[f64; 4]> {
    let corner = |i: usize| {
        (
            40.0 * (i % 15) as f64 + 0.3 * t as f64,
            50.0 * (i / 15) as f64,
        )
    };
    let corners = (0..count).map(corner);
    corners.map(|(x, y)| [x, y, x + 30.0, y + 40.0]).collect()
}

#[test]
fn a_tracker_in_steady_state_allocates_nothing() {
    let mut tracker = ByteTrack::new(Settings {
        activation: 0.25,
        matching: 0.8,
        consecutive: 1,
        patience: 30,
    });
    let mut ids = Vec::new();
    for t in 0..60 {
        let boxes = walking(60, t);
        let before = allocations::made();
        tracker.update(&boxes, &[0.9; 60], &mut ids);
        assert!(t < 10 || allocations::made() == before, "on frame {t}");
        assert!(ids.iter().all(Option::is_some));
    }
}

/// A frame of a tracker block makes its outputs and nothing for each track: as many allocations for
/// many boxes as for few.
#[test]
fn no_tracker_block_allocates_by_the_box() {
    for spec in registry::all()
        .filter(|s| s.type_id().contains("/trackers_") || s.type_id().contains("/byte_tracker"))
    {
        let per_frame = |count: usize| {
            let mut trial = Trial::new(spec).unwrap();
            let rows: Vec<usize> = (0..count).map(|i| i % OBJECTS).collect();
            let mut model = trial.frames.boxes.take(&rows);
            let mut most = 0;
            for t in 1..40 {
                trial.frames.frame("a", t);
                model.xyxy = Arc::new(walking(count, t));
                model.confidence = Some(Arc::new(vec![0.9; count]));
                let boxes = Value::from(model.clone());
                trial.frames.inputs["objects"] = RuntimeInput::Value(boxes);
                let before = allocations::made();
                trial.engine.execute(&trial.frames.inputs).unwrap();
                if t > 20 {
                    most = most.max(allocations::made() - before);
                }
            }
            most
        };
        let (few, many) = (per_frame(10), per_frame(60));
        assert!(
            many <= few + 8,
            "{}: {few} and {many} allocations",
            spec.type_id()
        );
    }
}

/// Outputs of a block on a frame, with what is made up at random taken for equal.
fn shown(engine: &mut Engine, inputs: &RuntimeInputs) -> String {
    let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    let time = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?";
    let random = regex::Regex::new(&format!("{uuid}|{time}")).unwrap();
    let options = OutputOptions::new(Timestamp::from_unix_micros(0));
    let text = match engine.run(inputs, &options) {
        Ok(outputs) => serde_json::to_string(&outputs).unwrap(),
        Err(error) => error.to_string(),
    };
    random.replace_all(&text, "*").into_owned()
}

/// What a block says of itself holds: one that is stateless gives on each frame what a new one would,
/// whatever frames of whatever videos came before.
#[test]
fn stateless_blocks_do_what_new_ones_would() {
    let mut differing = Vec::new();
    let mut tried = 0;
    let scene = Scene {
        size: [64, 48],
        objects: OBJECTS,
        churn: 1,
        masks: false,
    };
    for spec in registry::all() {
        let Some(mut old) = Trial::showing(spec) else {
            continue;
        };
        let mut differs = false;
        for number in [1, 2, 3, 5, 8, 8, 4] {
            let mut fresh = Trial::showing(spec).unwrap();
            let inputs = scene.inputs(&name(number % 2), number).unwrap();
            differs |= shown(&mut old.engine, &inputs) != shown(&mut fresh.engine, &inputs);
        }
        tried += usize::from(spec.stateless);
        assert!(
            !(spec.stateless && differs),
            "{} says that it is stateless, and remembers",
            spec.type_id()
        );
        if differs {
            differing.push(spec.type_id());
        }
    }
    assert!(tried >= 60, "only {tried} stateless blocks");
    // The test sees state: blocks that everybody knows to have some differ.
    for block in ["byte_tracker@v3", "velocity@v1", "heatmap_visualization@v1"] {
        let block = format!("roboflow_core/{block}");
        assert!(differing.contains(&&*block), "{block}: {differing:?}");
    }
}

/// Sinks, models of time and whatever keeps something per stream never say that they are stateless.
#[test]
fn what_acts_outside_is_not_stateless() {
    for spec in registry::all().filter(|spec| spec.stateless) {
        assert!(spec.role != Role::Sink, "{}", spec.type_id());
    }
    assert!(registry::all().any(|spec| spec.stateless && spec.role == Role::Model));
}
