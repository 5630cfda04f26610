//! What giving memory back to the system costs: a stream of test pictures (1080p) with five drawing
//! steps, as glibc comes and as [`millrace::allocator`] sets it up, each in a process of its own.
//!
//! `cargo bench --bench allocator [-- WIDTHxHEIGHT]`. Rounds of the two alternate; each figure is the median of its
//! rounds. Faults are page faults without disk access; idle memory is that left after the stream.

use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use millrace::allocator;
use millrace::blocks::Services;
use millrace::definitions::DefinitionStamp;
use millrace::engine::{Engine, RuntimeInput, RuntimeInputs};
use millrace::plan::Plan;
use millrace::sources::{Source, SourceSpec};
use millrace::streams::{Replacement, Stream, StreamSpec};
use millrace::values::deserialise::InputOptions;
use serde_json::{Value as Json, json};

const ROUNDS: usize = 5;
const FRAMES: usize = 150;
/// Argument of the processes that measure.
const AS_IT_COMES: &str = "--as-it-comes";
const SET_UP: &str = "--set-up";

fn main() -> Result<()> {
    let has = |flag: &str| std::env::args().any(|a| a == flag);
    if has(AS_IT_COMES) || has(SET_UP) {
        if has(SET_UP) {
            allocator::set_up();
        }
        return measure();
    }
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (of, flag) in rounds.iter_mut().zip([AS_IT_COMES, SET_UP]) {
            let output = Command::new(std::env::current_exe()?)
                .args([flag, &size()])
                .output()?;
            let text = String::from_utf8(output.stdout)?;
            let figures: Vec<f64> =
                serde_json::from_str(text.trim()).with_context(|| format!("no figures: {text}"))?;
            of.push(figures);
        }
    }
    for (name, of) in ["glibc as it comes", "set up"].iter().zip(&rounds) {
        let median = |at: usize| {
            let mut values: Vec<f64> = of.iter().map(|figures| figures[at]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "{name:18} {:6.2} ms and {:6.0} faults a frame, {:4.0} MiB at most, {:4.0} MiB idle",
            median(0),
            median(1),
            median(2),
            median(3),
        );
    }
    Ok(())
}

/// Size of the pictures.
fn size() -> String {
    let given = std::env::args().skip(1).find(|a| {
        a.split_once('x')
            .is_some_and(|(w, h)| w.parse::<u32>().is_ok() && h.parse::<u32>().is_ok())
    });
    given.unwrap_or("1920x1080".into())
}

/// Prints milliseconds and faults a frame, and peak and idle memory in MiB.
fn measure() -> Result<()> {
    let faults = faults()?;
    let started = Instant::now();
    let frames = stream()?;
    let time = started.elapsed().as_secs_f64() * 1e3 / frames;
    let faults = (self::faults()? - faults) / frames;
    thread::sleep(Duration::from_millis(500));
    let (peak, idle) = (status("VmHWM")?, status("VmRSS")?);
    println!("{}", json!([time, faults, peak, idle]));
    Ok(())
}

fn definition() -> Json {
    let draw = |block: &str, name: &str, image: &str| {
        json!({"type": format!("roboflow_core/{block}@v1"), "name": name, "image": image,
            "predictions": "$inputs.boxes"})
    };
    json!({
        "version": "1.0",
        "inputs": [
            {"type": "WorkflowImage", "name": "image"},
            {"type": "WorkflowBatchInput", "name": "boxes", "kind": ["object_detection_prediction"]},
        ],
        "steps": [
            draw("bounding_box_visualization", "a", "$inputs.image"),
            draw("label_visualization", "b", "$steps.a.image"),
            draw("corner_visualization", "c", "$steps.b.image"),
            draw("blur_visualization", "d", "$steps.c.image"),
            draw("color_visualization", "e", "$steps.d.image"),
        ],
        "outputs": [{"type": "JsonField", "name": "picture", "selector": "$steps.e.image"}],
    })
}

fn boxes() -> Json {
    let boxes: Vec<Json> = (0..6)
        .map(|i| {
            json!({"x": 200 + 250 * i, "y": 500, "width": 180, "height": 300, "confidence": 0.9,
                "class": "person", "class_id": 0})
        })
        .collect();
    json!([{"image": {"width": 1920, "height": 1080}, "predictions": boxes}])
}

/// Runs a stream to its end; answers its frames.
fn stream() -> Result<f64> {
    let uri = format!(
        "videotestsrc://?size={}&fps=25&frames={FRAMES}&live=false",
        size()
    );
    let services = Services::default();
    let definition = definition();
    let plan = Arc::new(Plan::compile(&definition)?);
    let engine = Engine::new(plan, services.clone(), InputOptions::default())?;
    let parameters = [("boxes".to_owned(), RuntimeInput::Json(boxes()))];
    let stream = Stream::start(StreamSpec {
        source: Source::open(SourceSpec::new(uri.parse()?))?,
        definition: Replacement {
            engine,
            provenance: DefinitionStamp::inline(&definition, services.clock.now()).into(),
            image_input: "image".into(),
        },
        parameters: RuntimeInputs::from_iter(parameters),
        clock: services.clock.clone(),
    })?;
    let mut frames = 0.0;
    for result in stream.results() {
        result.run.as_ref().map_err(|e| anyhow::anyhow!("{e}"))?;
        frames += 1.0;
    }
    stream.join();
    ensure!(frames > 0.0, "no frames");
    Ok(frames)
}

/// Page faults of this process so far that needed no disk.
fn faults() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit(')').next().context("no name")?;
    let field = after_name.split_whitespace().nth(7).context("no field")?;
    Ok(field.parse()?)
}

/// A line of the kernel's figures, in MiB.
fn status(name: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|l| l.starts_with(name));
    let number = line.and_then(|l| l.split_whitespace().nth(1));
    Ok(number.context("no such line")?.parse::<f64>()? / 1024.0)
}
