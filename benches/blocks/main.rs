//! What each block costs on a frame with many detections, and each tracker.
//!
//! `cargo bench --bench blocks [-- NAME …]`: all blocks of the registry but models and sinks, or those
//! whose type contains a name. A frame has 1280 x 720 pixels and 100 objects of 77 x 101 pixels with masks,
//! track ids and key points; each figure is the median over the frames of a clip, the best of several
//! passes, on one core, with the allocator as the program sets it up. The bars: at most 2 ms for a block, except where it warps, stitches or encodes
//! pixels; at most 0.5 ms for a tracker on 200 boxes a frame.

mod scene;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use millrace::allocator;
use millrace::blocks::{BlockSpec, Family, Services, registry};
use millrace::engine::{Engine, RuntimeInputs};
use millrace::plan::Plan;
use millrace::values::deserialise::InputOptions;
use scene::Scene;

const PASSES: usize = 5;
/// Longest time that the passes over one block take.
const PATIENCE: Duration = Duration::from_secs(2);
const BAR: Duration = Duration::from_millis(2);
const TRACKER_BAR: Duration = Duration::from_micros(500);

/// Blocks whose work is the pixels of the whole frame.
const PIXELS: &[&str] = &[
    "camera-calibration",
    "image_stack",
    "perspective_correction",
    "stitch_images",
];

const BUSY: Scene = Scene {
    size: [1280, 720],
    objects: 100,
    churn: 0,
    masks: true,
};

fn main() -> Result<()> {
    allocator::set_up();
    scene::check_steps(&registry::all().map(BlockSpec::type_id).collect::<Vec<_>>())?;
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let chosen =
        |spec: &&BlockSpec| wanted.is_empty() || wanted.iter().any(|w| spec.type_id().contains(w));
    let draws = |spec: &&BlockSpec| {
        matches!(
            spec.family,
            Family::Visualization | Family::ClassicalComputerVision | Family::Model
        )
    };
    let frames = clip(&BUSY)?;
    let all = || registry::all().filter(chosen);
    let works = table("blocks", &frames, all().filter(|s| !draws(s)))?;
    slowest(&works);
    let draws = table("drawing and filters", &frames, all().filter(draws))?;
    slowest(&draws);
    trackers(registry::all().filter(chosen))
}

/// The frames of a clip; blocks with memory see it again and again as one long video.
fn clip(scene: &Scene) -> Result<Vec<RuntimeInputs>> {
    (1..=scene::ROUND)
        .map(|number| scene.inputs("bench", number))
        .collect()
}

type Row = (&'static str, Duration);

fn table(
    title: &str,
    frames: &[RuntimeInputs],
    specs: impl Iterator<Item = &'static BlockSpec>,
) -> Result<Vec<Row>> {
    println!("{title}: 100 detections with masks, 1280 x 720");
    let mut rows = Vec::new();
    for spec in specs {
        let name = spec.type_id().trim_start_matches("roboflow_core/");
        let Some(time) = measure(spec, frames).with_context(|| format!("block {name}"))? else {
            continue;
        };
        println!("  {name:40} {:9.1} µs", time.as_secs_f64() * 1e6);
        rows.push((name, time));
    }
    rows.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    Ok(rows)
}

/// The median time of a frame, of the best pass; none for models and sinks.
fn measure(spec: &'static BlockSpec, frames: &[RuntimeInputs]) -> Result<Option<Duration>> {
    let Some(definition) = scene::definition(spec)? else {
        return Ok(None);
    };
    let plan = Arc::new(Plan::compile(&definition)?);
    let mut engine = Engine::new(plan, Services::default(), InputOptions::default())?;
    let mut best = Duration::MAX;
    let started = Instant::now();
    for _ in 0..PASSES {
        let mut times = Vec::with_capacity(frames.len());
        for inputs in frames {
            let before = Instant::now();
            black_box(engine.execute(black_box(inputs))?);
            times.push(before.elapsed());
        }
        times.sort();
        best = best.min(times[times.len() / 2]);
        if started.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(Some(best))
}

fn slowest(rows: &[Row]) {
    println!("the slowest ten");
    for (name, time) in rows.iter().take(10) {
        let base = name.split('@').next().unwrap_or(name);
        let verdict = match (*time > BAR, PIXELS.contains(&base)) {
            (false, _) => "",
            (true, true) => "pixels of the whole frame",
            (true, false) => "above 2 ms",
        };
        println!("  {name:40} {:9.3} ms  {verdict}", time.as_secs_f64() * 1e3);
    }
}

fn trackers(specs: impl Iterator<Item = &'static BlockSpec>) -> Result<()> {
    let crowd = Scene {
        objects: 200,
        masks: false,
        ..BUSY
    };
    let frames = clip(&crowd)?;
    println!("trackers: 200 boxes a frame");
    let follows = |s: &&BlockSpec| {
        ["/byte_tracker", "/trackers_"]
            .iter()
            .any(|n| s.type_id().contains(n))
    };
    for spec in specs.filter(follows) {
        let name = spec.type_id().trim_start_matches("roboflow_core/");
        if let Some(time) = measure(spec, &frames)? {
            let verdict = if time > TRACKER_BAR {
                "above 0.5 ms"
            } else {
                ""
            };
            println!("  {name:40} {:9.3} ms  {verdict}", time.as_secs_f64() * 1e3);
        }
    }
    Ok(())
}
