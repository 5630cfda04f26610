//! Four cameras give three times what the model manages: results stay young, and every frame that was
//! not run is counted with its cause.
//!
//! The short form takes a quarter of a minute; `MILLRACE_OVERLOAD=180 cargo test --release --test
//! overload -- --nocapture` runs for so many seconds.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/awake.rs"]
mod awake;
#[path = "support/processors.rs"]
mod processors;
#[path = "support/streams.rs"]
mod streams;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use millrace::blocks::Services;
use millrace::clock::Clock;
use millrace::models::{ModelStore, RuntimeSettings};
use millrace::plan::Plan;
use millrace::sources::SourceSpec;
use millrace::streams::{Snapshot, Stream};
use millrace::values::{Image, Matrix, Timestamp};
use processors::Processors;
use serde_json::{Value as Json, json};

const CAMERAS: usize = 4;
const FPS: f64 = 30.0;
const MODEL: &str = "coco-nano/2";
/// Results of the first seconds are not looked at: the models' first runs are slow.
const WARM_UP: Duration = Duration::from_secs(2);

fn seconds() -> u64 {
    let wanted = std::env::var("MILLRACE_OVERLOAD").ok();
    wanted.and_then(|s| s.parse().ok()).unwrap_or(12)
}

/// The age of a frame is time in which the process was run.
struct Awake;

impl Clock for Awake {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(self.monotonic().as_micros() as i64)
    }

    fn monotonic(&self) -> Duration {
        awake::awake()
    }
}

fn services() -> Services {
    let services = Services {
        clock: Arc::new(Awake),
        ..Services::default()
    };
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models");
    let runtime = RuntimeSettings {
        threads: 1,
        ..RuntimeSettings::default()
    };
    let models = ModelStore::open(folder, runtime, services.clock.clone()).unwrap();
    Services {
        models: Arc::new(models),
        ..services
    }
}

/// Time of one run: the median of some, on the machine as it is.
fn inference(services: &Services) -> Duration {
    let detector = services.models.detector(MODEL).unwrap();
    let picture = Image::new(Matrix::filled(640, 360, &[90, 90, 90]), "warm-up".into());
    let prepared = detector.prepare(&[picture]).unwrap();
    let run = |_| {
        let began = Instant::now();
        detector.infer(&prepared).unwrap();
        began.elapsed()
    };
    quantile(&(0..20).map(run).collect::<Vec<_>>(), 0.5)
}

/// The model, so many times that the machine manages a third of what the cameras give, or less.
fn definition(times: usize) -> Json {
    let step = |i: usize| {
        json!({"type": "roboflow_core/roboflow_object_detection_model@v2", "name": format!("model_{i}"),
               "images": "$inputs.image", "model_id": MODEL, "confidence": 0.4})
    };
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": (0..times).map(step).collect::<Vec<_>>(),
        "outputs": [{"type": "JsonField", "name": "found", "selector": "$steps.model_0.predictions"}],
    })
}

fn start(services: &Services, definition: &Json) -> Stream {
    let uri = format!("videotestsrc://?size=640x360&fps={FPS}&pattern=ball");
    let spec = SourceSpec::new(uri.parse().unwrap());
    let plan = Arc::new(Plan::compile(definition).unwrap());
    streams::start(services, definition, plan, spec)
}

/// Ages of the results of a stream when they came, after the warm-up, and its figures at the end.
fn play(stream: Stream, began: Instant) -> (Vec<(Duration, Duration)>, Snapshot) {
    let mut ages = Vec::new();
    let figures = stream.figures().clone();
    for result in stream.results() {
        result.run.unwrap();
        ages.push((began.elapsed(), result.latency));
    }
    stream.join();
    ages.retain(|(at, _)| *at > WARM_UP);
    (ages, figures.snapshot())
}

fn quantile(ages: &[Duration], part: f64) -> Duration {
    let mut sorted = ages.to_vec();
    sorted.sort();
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

#[test]
fn results_stay_young_and_every_drop_has_its_cause() {
    let services = services();
    let one = inference(&services);
    let third = CAMERAS as f64 * FPS / 3.0;
    let times = (1.0 / third / one.as_secs_f64()).ceil().max(1.0) as usize;
    let definition = definition(times);
    let before = services.models.detector(MODEL).unwrap().weights().batches();

    let processors = Processors::now();
    let began = Instant::now();
    let streams: Vec<Stream> = (0..CAMERAS)
        .map(|_| start(&services, &definition))
        .collect();
    let controls: Vec<_> = streams.iter().map(Stream::control).collect();
    let players: Vec<_> = streams
        .into_iter()
        .map(|stream| thread::spawn(move || play(stream, began)))
        .collect();
    thread::sleep(WARM_UP + Duration::from_secs(seconds()));
    controls.iter().for_each(|control| control.stop());
    let played: Vec<_> = players.into_iter().map(|p| p.join().unwrap()).collect();

    let starved = Processors::now().starved_since(processors);
    let weights = services.models.detector(MODEL).unwrap().weights().clone();
    let batches = weights.batches().since(&before);
    let each = batches.running / batches.images as u32;
    let inference = each * times as u32;
    println!(
        "{CAMERAS} cameras at {FPS} fps, {MODEL} {times} times: {:.1} ms of inference a frame, {:.2} images a run",
        inference.as_secs_f64() * 1e3,
        batches.fill()
    );
    let mut all = Vec::new();
    for (ages, figures) in &played {
        let plain: Vec<Duration> = ages.iter().map(|(_, age)| *age).collect();
        println!(
            "  {:5.1} fps, age p50 {:3} ms, p95 {:3} ms, p99 {:3} ms, of {} frames {} results, dropped {:?}",
            plain.len() as f64 / seconds() as f64,
            quantile(&plain, 0.5).as_millis(),
            quantile(&plain, 0.95).as_millis(),
            quantile(&plain, 0.99).as_millis(),
            figures.frames,
            figures.results,
            figures.dropped
        );
        // What is missing at the end was in the queue or in flight when the stream was stopped.
        let dropped: u64 = figures.dropped.values().sum();
        let missing = figures.frames - (figures.results + dropped) as i64;
        assert!((0..=3).contains(&missing), "{missing} frames not counted");
        assert!(figures.results < figures.frames as u64 / 2, "no overload");
        assert!(figures.dropped["overtaken"] > 0, "{:?}", figures.dropped);
        all.extend(ages.iter().copied());
    }
    let counts = played.iter().map(|(ages, _)| ages.len());
    let (least, most) = (counts.clone().min().unwrap(), counts.max().unwrap());
    assert!(least * 10 >= most * 7, "unfair: {least} to {most} results");

    all.sort();
    let ages: Vec<Duration> = all.iter().map(|(_, age)| *age).collect();
    let p99 = quantile(&ages, 0.99);
    let limit = Duration::from_millis(500) + inference;
    println!(
        "  all: p99 {} ms of {} ms, on a machine of which others left 1/{starved:.2}",
        p99.as_millis(),
        limit.as_millis()
    );
    // What is reported holds without others; a test may run beside other work.
    let is_measured = std::env::var_os("MILLRACE_OVERLOAD").is_some();
    let bound = limit.mul_f64(if is_measured { 1.0 } else { starved });
    assert!(p99 <= bound, "p99 {p99:?}, not {bound:?}");
    let parts: Vec<Duration> = ages
        .chunks(ages.len().div_ceil(3))
        .map(|part| quantile(part, 0.5))
        .collect();
    println!("  medians of the thirds: {parts:?}");
    assert!(
        parts[2] <= parts[0] * 2 + Duration::from_millis(100),
        "ages grow: {parts:?}"
    );
}
