//! What a frame costs: decoding, colour conversion, the model, the whole people-counting pipeline,
//! one light step of the engine, and the memory of it all, measured in one run.
//!
//! `cargo bench --bench pipeline [-- CLIP]`. Every figure is a median of several passes over the
//! same clip; the ratios compare passes of this run only.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millrace::blocks::Services;
use millrace::definitions::DefinitionStamp;
use millrace::engine::{Engine, RuntimeInput, RuntimeInputs};
use millrace::models::{Confidence, DetectParams, ModelStore, RuntimeSettings};
use millrace::plan::Plan;
use millrace::sources::{Event, Frame, Source, SourceSpec};
use millrace::streams::{Replacement, Reporter, Stream, StreamSpec};
use millrace::telemetry::{Settings, Tracer};
use millrace::values::deserialise::InputOptions;
use millrace::values::serialise::OutputOptions;
use millrace::values::{Image, Timestamp};
use serde_json::{Value as Json, json};

const PASSES: usize = 3;
/// Argument of the process that measures memory.
const ONLY_FULL: &str = "--only-full-pipeline";
/// Argument that leaves everything out but the stages.
const ONLY_STAGES: &str = "--only-stages";
const MODEL: &str = "coco-nano/2";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn main() -> Result<()> {
    // SAFETY: no other thread exists yet.
    #[allow(unsafe_code)]
    unsafe {
        millrace::models::runtime::disable_telemetry();
    }
    let clip = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let clip = clip.map_or_else(
        || root().join("fixtures/video/pedestrians_640x480_10fps.mp4"),
        PathBuf::from,
    );
    let mut services = Services::default();
    let models = ModelStore::open(
        root().join("fixtures/models"),
        RuntimeSettings::default(),
        services.clock.clone(),
    )?;
    services.models = Arc::new(models);
    if std::env::args().any(|a| a == ONLY_STAGES) {
        return stages();
    }
    if std::env::args().any(|a| a == ONLY_FULL) {
        full_pipeline(&services, &clip)?;
        println!("{}", peak_memory()?);
        return Ok(());
    }
    println!(
        "{} cores, model {MODEL} on {} thread(s), {}",
        cores(),
        RuntimeSettings::default().threads,
        clip.display()
    );

    let frames = decode(&clip)?.1;
    let count = frames.len();
    ensure!(count > 0, "the clip has no frames");
    let decode_only = median(|| Ok(decode(&clip)?.0))?;
    row("decode only", count, decode_only);
    let with_bgr = median(|| {
        let started = Instant::now();
        each_frame(&clip, |frame| {
            std::hint::black_box(frame.image.pixels().data.len());
        })?;
        Ok(started.elapsed())
    })?;
    row("decode + BGR", count, with_bgr);

    let session = session_only(&services, &frames)?;
    row("model session alone", count, session);
    let model = model_only(&services, &frames)?;
    row("model with pre- and post-processing", count, model);
    let full = median(|| full_pipeline(&services, &clip))?;
    row("full people counting, results as JSON", count, full);
    println!(
        "ratio full / model session alone: {:.2}",
        ratio(session, full)
    );
    println!(
        "ratio full / model with pre- and post-processing: {:.2}",
        ratio(model, full)
    );

    let step = light_step()?;
    println!(
        "engine, chain of 10 light steps: {:.2} µs per step",
        step.as_secs_f64() * 1e6
    );
    stages()?;
    println!(
        "peak memory of the full pipeline alone: {} MiB",
        memory_of_full_pipeline(&clip)?
    );
    Ok(())
}

/// Throughput of a heavy stage and of light ones with one worker and with two, and of light ones while
/// their frames are traced for a collector that is not there.
fn stages() -> Result<()> {
    let heavy = heavy_definition()?;
    for workers in 1..=2 {
        let time = median(|| play_pattern(&heavy, 150, workers, None))?;
        row(&format!("heavy stage, {workers} worker(s)"), 150, time);
    }
    let light = blurs(1);
    for workers in 1..=2 {
        let time = median(|| play_pattern(&light, 3000, workers, None))?;
        row(&format!("light stage, {workers} worker(s)"), 3000, time);
    }
    let clock = Services::default().clock;
    for ratio in ["0", "1"] {
        let look = |name: &str| (name == "OTEL_TRACES_SAMPLER_ARG").then(|| ratio.to_owned());
        let sampler = |name: &str| match name {
            "OTEL_TRACES_SAMPLER" => Some("traceidratio".to_owned()),
            other => look(other),
        };
        let settings = Settings::from_env(sampler, Some("http://127.0.0.1:9"))?;
        let tracer = Tracer::start(settings, clock.clone())?;
        let time = median(|| play_pattern(&light, 3000, 1, tracer.clone()))?;
        row(&format!("light stage, share of {ratio} traced"), 3000, time);
    }
    Ok(())
}

/// So many steps that blur, one after the other, of pictures of 64×48 pixels or more.
fn blurs(count: usize) -> Json {
    let step = |i: usize| {
        let image = match i {
            0 => "$inputs.image".to_owned(),
            _ => format!("$steps.s{}.image", i - 1),
        };
        json!({"type": "roboflow_core/image_blur@v1", "name": format!("s{i}"), "image": image,
               "blur_type": "median", "kernel_size": if count > 1 { 9 } else { 3 }})
    };
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": (0..count).map(step).collect::<Vec<_>>(),
        "outputs": [{"type": "JsonField", "name": "o", "selector": format!("$steps.s{}.image", count - 1)}],
    })
}

/// As many blurs as take 20 ms on this machine.
fn heavy_definition() -> Result<Json> {
    let few = 8;
    let plan = Arc::new(Plan::compile(&blurs(few))?);
    let mut engine = Engine::new(plan, Services::default(), InputOptions::default())?;
    let picture = Image::new(
        millrace::values::Matrix::filled(320, 240, &[90, 90, 90]),
        "bench".into(),
    );
    let batch = millrace::values::Value::list(vec![millrace::values::Value::Image(picture)]);
    let inputs = RuntimeInputs::from_iter([("image".to_owned(), RuntimeInput::Value(batch))]);
    let one = median(|| {
        let started = Instant::now();
        engine.execute(&inputs)?;
        Ok(started.elapsed() / few as u32)
    })?;
    let count = (0.020 / one.as_secs_f64()).ceil().clamp(2.0, 200.0) as usize;
    println!("heavy stage: {count} blurs of {one:?} each");
    Ok(blurs(count))
}

/// Plays test pictures as fast as they are taken.
fn play_pattern(
    definition: &Json,
    frames: usize,
    workers: usize,
    tracer: Option<Arc<Tracer>>,
) -> Result<Duration> {
    let services = Services {
        stage_workers: std::num::NonZeroUsize::new(workers),
        tracer,
        ..Services::default()
    };
    let size = if frames > 1000 { "64x48" } else { "320x240" };
    let uri = format!("videotestsrc://?size={size}&fps=1000&frames={frames}");
    let source = Source::open_with_clock(SourceSpec::new(uri.parse()?), services.clock.clone())?;
    let plan = Arc::new(Plan::compile(definition)?);
    let engine = Engine::new(plan, services.clone(), InputOptions::default())?;
    let stamp = DefinitionStamp::inline(definition, services.clock.now());
    let started = Instant::now();
    let stream = Stream::start(StreamSpec {
        source,
        definition: Replacement {
            engine,
            provenance: stamp.into(),
            image_input: "image".into(),
        },
        parameters: RuntimeInputs::new(),
        clock: services.clock.clone(),
    })?;
    let results = stream.results().iter().count();
    let time = started.elapsed();
    stream.join();
    ensure!(results == frames, "{results} of {frames} results");
    Ok(time)
}

/// Peak memory of a process of its own that runs only the full pipeline.
fn memory_of_full_pipeline(clip: &Path) -> Result<u64> {
    let output = std::process::Command::new(std::env::current_exe()?)
        .arg(clip)
        .arg(ONLY_FULL)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .trim()
        .parse::<u64>()
        .with_context(|| format!("no number: {text}"))?
        / 1024)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn row(what: &str, frames: usize, time: Duration) {
    let per_frame = time.as_secs_f64() / frames as f64;
    println!(
        "{what:40} {:8.2} ms/frame {:8.1} fps",
        per_frame * 1e3,
        1.0 / per_frame
    );
}

fn ratio(reference: Duration, measured: Duration) -> f64 {
    reference.as_secs_f64() / measured.as_secs_f64()
}

fn median(mut pass: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let mut times = (0..PASSES).map(|_| pass()).collect::<Result<Vec<_>>>()?;
    times.sort();
    Ok(times[PASSES / 2])
}

fn open(clip: &Path) -> Result<Source> {
    let uri = clip.to_str().context("a plain path")?.parse()?;
    Ok(Source::open(SourceSpec::new(uri))?)
}

fn each_frame(clip: &Path, mut take: impl FnMut(Frame)) -> Result<()> {
    let source = open(clip)?;
    loop {
        match source
            .next(Duration::from_secs(5))?
            .context("no frame in 5 s")?
        {
            Event::Frame(frame) => take(frame),
            Event::Ended(_) => return Ok(()),
            _ => {}
        }
    }
}

/// Decodes a clip; the time it took and its pictures in BGR.
fn decode(clip: &Path) -> Result<(Duration, Vec<Image>)> {
    let started = Instant::now();
    let mut kept = Vec::new();
    each_frame(clip, |frame| kept.push(frame.image))?;
    let time = started.elapsed();
    let pictures = kept
        .iter()
        .map(|image| image.with_pixels(image.to_owned_bgr()))
        .collect();
    Ok((time, pictures))
}

fn params() -> DetectParams {
    DetectParams {
        confidence: Confidence::Value(0.3),
        ..DetectParams::default()
    }
}

fn model_only(services: &Services, frames: &[Image]) -> Result<Duration> {
    let detector = services.models.detector(MODEL)?;
    median(|| {
        let started = Instant::now();
        for frame in frames {
            std::hint::black_box(detector.detect(std::slice::from_ref(frame), &params())?);
        }
        Ok(started.elapsed())
    })
}

fn session_only(services: &Services, frames: &[Image]) -> Result<Duration> {
    let detector = services.models.detector(MODEL)?;
    let prepared = detector.prepare(&frames[..1])?;
    for _ in 0..10 {
        detector.infer(&prepared)?;
    }
    median(|| {
        let started = Instant::now();
        for _ in frames {
            std::hint::black_box(detector.infer(&prepared)?);
        }
        Ok(started.elapsed())
    })
}

fn full_pipeline(services: &Services, clip: &Path) -> Result<Duration> {
    let text = std::fs::read_to_string(root().join("pipelines/people-crossing-a-line.json"))?;
    let definition: Json = serde_json::from_str(&text)?;
    let plan = Arc::new(Plan::compile(&definition)?);
    let engine = Engine::new(plan, services.clone(), InputOptions::default())?;
    let now = services.clock.now();
    let stamp = DefinitionStamp::inline(&definition, now);
    let reporter = Reporter::new(OutputOptions::new(now), false);
    let started = Instant::now();
    let stream = Stream::start(StreamSpec {
        source: open(clip)?,
        definition: Replacement {
            engine,
            provenance: stamp.into(),
            image_input: "image".into(),
        },
        parameters: RuntimeInputs::new(),
        clock: services.clock.clone(),
    })?;
    let mut written = 0;
    for result in stream.results() {
        written += reporter.report(&result, now, None).json.to_string().len();
    }
    ensure!(written > 0, "no results");
    stream.join();
    Ok(started.elapsed())
}

/// Time per step of a chain in which each step counts, rounds or compares what the last one gave.
fn light_step() -> Result<Duration> {
    let steps: Vec<Json> = (0..10)
        .map(|i| {
            let data = if i == 0 { "$inputs.boxes".to_owned() } else { format!("$steps.s{}.output", i - 1) };
            let operation = if i == 0 { json!({"type": "SequenceLength"}) } else { json!({"type": "Multiply", "other": 1}) };
            json!({"type": "roboflow_core/property_definition@v1", "name": format!("s{i}"), "data": data, "operations": [operation]})
        })
        .collect();
    let definition = json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowBatchInput", "name": "boxes", "kind": ["list_of_values"]}],
        "steps": steps,
        "outputs": [{"type": "JsonField", "name": "o", "selector": "$steps.s9.output"}],
    });
    let plan = Arc::new(Plan::compile(&definition)?);
    let mut engine = Engine::new(plan, Services::default(), InputOptions::default())?;
    let inputs =
        RuntimeInputs::from_iter([("boxes".to_owned(), RuntimeInput::Json(json!([[1, 2, 3]])))]);
    let rounds = 2000u32;
    for _ in 0..rounds {
        engine.execute(&inputs)?;
    }
    let started = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(engine.execute(&inputs)?);
    }
    let outputs = engine.run(&inputs, &OutputOptions::new(Timestamp::from_unix_micros(0)))?;
    ensure!(
        outputs[0]["o"] == json!(3),
        "the chain computes {:?}",
        outputs[0]["o"]
    );
    Ok(started.elapsed() / (rounds * 10))
}

/// Peak resident memory of this process in KiB.
fn peak_memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|l| l.starts_with("VmHWM"))
        .context("no VmHWM")?;
    let number = line.split_whitespace().nth(1).context("no number")?;
    Ok(number.parse()?)
}
