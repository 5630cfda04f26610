//! `millrace bench streams`: more and more cameras on one process.
//!
//! Cameras are added and stay, so that what a further one costs is the difference between two rows.
//! Each row is taken over the same time, after a warm-up.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use serde_json::{Value as Json, json};

use super::cameras::{Cameras, Scene};
use super::{clip, process};
use crate::cli::{HostArgs, LoadError, REFUSED, host, load_definition};
use crate::definitions::DefinitionStamp;
use crate::plan::Plan;
use crate::streams::warm;

/// Arguments of `millrace bench streams`.
#[derive(Debug, Args)]
#[command(
    after_help = "Cameras play a clip at its own pace and drop what is not taken, as live cameras do; each has a \
stream of its own. Columns: frames that the cameras gave and that were run, per second; dropped frames; time from \
decoder to result; images that a run of the models had on average; processor cores in use; memory of the process, \
and of each camera more than in the row above.\n\
Exit code: 0 measured, 1 frames failed, 2 refused before anything ran."
)]
pub struct StreamsArgs {
    /// Definition to run; without one, objects of --model are detected, and without that, edges are
    /// smoothed out.
    definition: Option<PathBuf>,
    /// Model of the built-in definition.
    #[arg(long, value_name = "ID", conflicts_with = "definition")]
    model: Option<String>,
    /// Clip that the cameras play; without one, a moving ball of 640x360 pixels is filmed first.
    #[arg(long, value_name = "FILE")]
    clip: Option<PathBuf>,
    /// Most frames per second of a camera.
    #[arg(long, default_value_t = 15, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    fps: u32,
    /// Numbers of cameras, growing.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,2,4,8,16,32",
        value_name = "N,N"
    )]
    cameras: Vec<usize>,
    /// Time over which a row is taken.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Time before it, in which new cameras start.
    #[arg(long, default_value_t = 3, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=600))]
    warm_up: u64,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{0}")]
    Refused(String),
}

/// One number of cameras.
struct Row {
    cameras: usize,
    offered_fps: f64,
    processed_fps: f64,
    dropped: u64,
    p50_ms: f64,
    p99_ms: f64,
    /// Images of a run; `None` if no model ran.
    fill: Option<f64>,
    largest: usize,
    cores: Option<f64>,
    threads: Option<usize>,
    memory: Option<u64>,
    /// Bytes of each camera more than in the row before.
    further: Option<f64>,
    trouble: Option<String>,
}

pub(super) fn run(args: &StreamsArgs) -> ExitCode {
    match measure(args) {
        Ok(rows) => {
            if args.json {
                let rows: Vec<Json> = rows.iter().map(Row::to_json).collect();
                say!(
                    "{:#}",
                    json!({"fps": args.fps, "seconds": args.seconds, "rows": rows})
                );
            }
            let troubles = rows.iter().filter_map(|row| row.trouble.as_ref());
            match troubles.inspect(|t| eprintln!("error: {t}")).count() {
                0 => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(REFUSED)
        }
    }
}

fn measure(args: &StreamsArgs) -> Result<Vec<Row>, BenchError> {
    if args.cameras.is_empty() || !args.cameras.is_sorted_by(|a, b| a < b) || args.cameras[0] == 0 {
        let text = "--cameras: give growing numbers from 1, such as 1,2,4";
        return Err(BenchError::Refused(text.into()));
    }
    let folder = Folder::new()?;
    let scene = scene(args, &folder)?;
    let (services, clock) = (scene.services.clone(), scene.services.clock.clone());
    let mut cameras = Cameras::new(scene);
    let mut rows: Vec<Row> = Vec::new();
    if !args.json {
        say!("{}", heads());
    }
    for &count in &args.cameras {
        cameras.grow_to(count).map_err(BenchError::Refused)?;
        thread::sleep(Duration::from_secs(args.warm_up));
        cameras.results();
        let began = clock.monotonic();
        let (counts, batches) = (cameras.counts(), services.models.batches());
        let processor = process::processor_time();
        thread::sleep(Duration::from_secs(args.seconds));
        let results = cameras.results();
        let span = clock.monotonic().saturating_sub(began).as_secs_f64();
        let after = cameras.counts();
        let batches = services.models.batches().since(&batches);
        let processor = process::processor_time().zip(processor);
        let memory = process::memory();
        let dropped = |counts: &super::cameras::Counts| counts.dropped.values().sum::<u64>();
        let row = Row {
            cameras: count,
            offered_fps: (after.frames - counts.frames) as f64 / span,
            processed_fps: (after.results - counts.results) as f64 / span,
            dropped: dropped(&after) - dropped(&counts),
            p50_ms: results.latency_ms(0.5),
            p99_ms: results.latency_ms(0.99),
            fill: (batches.runs > 0).then(|| batches.fill()),
            largest: batches.largest,
            cores: processor.map(|(now, then)| (now - then).as_secs_f64() / span),
            threads: process::threads(),
            memory,
            further: rows.last().and_then(|last| {
                let grown = memory? as f64 - last.memory? as f64;
                Some(grown / (count - last.cameras) as f64)
            }),
            trouble: results.trouble(),
        };
        if !args.json {
            say!("{}", row.line());
        }
        rows.push(row);
    }
    cameras.stop();
    Ok(rows)
}

/// What every camera plays and runs, with its models warm.
fn scene(args: &StreamsArgs, folder: &Folder) -> Result<Scene, BenchError> {
    let refused = |why: &dyn std::fmt::Display| BenchError::Refused(why.to_string());
    let services = host::services_in_foreground(&args.host)?;
    let definition = match &args.definition {
        Some(path) => load_definition(path)?,
        None => built_in(args.model.as_deref()),
    };
    let plan = Arc::new(Plan::compile(&definition).map_err(LoadError::from)?);
    let image_input = plan.image_inputs().next();
    let image_input = image_input.map(|input| input.name.to_string());
    let clip = match &args.clip {
        Some(path) => path.clone(),
        None => {
            let path = folder.0.join("clip.mp4");
            let all = (args.warm_up + args.seconds + 2) * args.cameras.len() as u64;
            let frames = u32::try_from(all * u64::from(args.fps)).unwrap_or(u32::MAX);
            clip::write(&path, args.fps, frames).map_err(|e| refused(&e))?;
            path
        }
    };
    warm(&plan, &Default::default(), &services).map_err(|e| refused(&e))?;
    Ok(Scene {
        clip,
        fps: f64::from(args.fps),
        stamp: DefinitionStamp::inline(&definition, services.clock.now()),
        image_input: image_input
            .ok_or_else(|| refused(&"the definition has no image input to feed frames to"))?,
        plan,
        services,
    })
}

/// Detection with a model, or a little work on the picture.
fn built_in(model: Option<&str>) -> Json {
    let (steps, selector) = match model {
        Some(model) => (
            json!([{"type": "roboflow_core/roboflow_object_detection_model@v2", "name": "model",
                "images": "$inputs.image", "model_id": model, "confidence": 0.4}]),
            "$steps.model.predictions",
        ),
        None => (
            json!([
                {"type": "roboflow_core/convert_grayscale@v1", "name": "gray", "image": "$inputs.image"},
                {"type": "roboflow_core/image_blur@v1", "name": "blur", "image": "$steps.gray.image",
                 "blur_type": "gaussian", "kernel_size": 5},
            ]),
            "$steps.blur.image",
        ),
    };
    json!({
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": steps,
        "outputs": [{"type": "JsonField", "name": "result", "selector": selector}],
    })
}

/// A folder of this process that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, BenchError> {
        let path = std::env::temp_dir().join(format!("millrace-bench-{}", std::process::id()));
        let made = std::fs::create_dir_all(&path);
        made.map_err(|e| BenchError::Refused(format!("cannot make {}: {e}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(folder = %self.0.display(), %error, "a temporary folder stays");
        }
    }
}

const MIB: f64 = (1 << 20) as f64;

fn heads() -> String {
    "CAMERAS  OFFERED/s  RUN/s  DROPPED  p50 ms  p99 ms  BATCH  CORES  THREADS  MEMORY MiB  MiB MORE EACH"
        .into()
}

impl Row {
    fn line(&self) -> String {
        let number = |number: Option<f64>, digits: usize| {
            number.map_or_else(|| "-".to_owned(), |n| format!("{n:.digits$}"))
        };
        format!(
            "{:>7}  {:>9.1}  {:>5.1}  {:>7}  {:>6.1}  {:>6.1}  {:>5}  {:>5}  {:>7}  {:>10}  {:>13}",
            self.cameras,
            self.offered_fps,
            self.processed_fps,
            self.dropped,
            self.p50_ms,
            self.p99_ms,
            number(self.fill, 2),
            number(self.cores, 2),
            number(self.threads.map(|n| n as f64), 0),
            number(self.memory.map(|n| n as f64 / MIB), 1),
            number(self.further.map(|n| n / MIB), 1),
        )
    }

    fn to_json(&self) -> Json {
        json!({
            "cameras": self.cameras,
            "offered_fps": self.offered_fps,
            "processed_fps": self.processed_fps,
            "dropped": self.dropped,
            "latency_ms": {"p50": self.p50_ms, "p99": self.p99_ms},
            "batch": {"fill": self.fill, "largest": self.largest},
            "cores": self.cores,
            "threads": self.threads,
            "memory_bytes": self.memory,
            "memory_bytes_per_further_camera": self.further,
            "problem": self.trouble,
        })
    }
}
