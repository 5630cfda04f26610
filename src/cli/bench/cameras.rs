//! The cameras of a benchmark: clips that play at their own pace as a camera does, each with a stream
//! of its own, and what came out of all of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::blocks::Services;
use crate::definitions::DefinitionStamp;
use crate::engine::{Engine, RuntimeInputs};
use crate::plan::Plan;
use crate::sources::{QueuePolicy, Source, SourceSpec, SourceUri};
use crate::streams::{Control, Figures, Replacement, Stream, StreamSpec};
use crate::values::deserialise::InputOptions;

/// What every camera plays and runs.
#[derive(Clone)]
pub(super) struct Scene {
    pub clip: PathBuf,
    pub fps: f64,
    pub plan: Arc<Plan>,
    pub stamp: DefinitionStamp,
    pub image_input: String,
    pub services: Services,
}

/// What came out of all cameras since the last look.
pub(super) struct Results {
    /// Time from decoder to result, in microseconds.
    latency: Histogram<u32>,
    errors: u64,
    last_error: Option<String>,
}

/// Sums over all cameras and all time.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub frames: u64,
    pub results: u64,
    pub dropped: BTreeMap<&'static str, u64>,
}

/// Cameras at work.
pub(super) struct Cameras {
    scene: Scene,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

struct Shared {
    results: Mutex<Results>,
    figures: Mutex<Vec<Arc<Figures>>>,
    controls: Mutex<Vec<Control>>,
    stop: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Results {
    fn new() -> Self {
        // Microseconds up to a minute with two digits.
        let latency = Histogram::new_with_bounds(1, 60_000_000, 2)
            .unwrap_or_else(|_| unreachable!("the bounds are valid"));
        Self {
            latency,
            errors: 0,
            last_error: None,
        }
    }

    /// The time that this part of the results is younger than, in milliseconds.
    pub(super) fn latency_ms(&self, part: f64) -> f64 {
        self.latency.value_at_quantile(part) as f64 / 1e3
    }

    /// Why frames had no results, if some had none.
    pub(super) fn trouble(&self) -> Option<String> {
        let error = self.last_error.as_ref()?;
        Some(format!("{} frames failed: {error}", self.errors))
    }
}

impl Cameras {
    /// None yet.
    pub(super) fn new(scene: Scene) -> Self {
        Self {
            scene,
            threads: Vec::new(),
            shared: Arc::new(Shared {
                results: Mutex::new(Results::new()),
                figures: Mutex::default(),
                controls: Mutex::default(),
                stop: AtomicBool::new(false),
            }),
        }
    }

    /// Adds cameras up to so many.
    ///
    /// # Errors
    /// If one cannot be started.
    pub(super) fn grow_to(&mut self, count: usize) -> Result<(), String> {
        while self.threads.len() < count {
            let (scene, shared) = (self.scene.clone(), self.shared.clone());
            let stream = start(&scene, &shared)?;
            let number = self.threads.len();
            let thread = thread::Builder::new()
                .name(format!("camera {number}"))
                .spawn(move || play(stream, &scene, &shared))
                .map_err(|e| format!("the machine refuses a thread: {e}"))?;
            self.threads.push(thread);
        }
        Ok(())
    }

    /// Results since the last call.
    pub(super) fn results(&self) -> Results {
        std::mem::replace(&mut *lock(&self.shared.results), Results::new())
    }

    /// Sums so far.
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for figures in lock(&self.shared.figures).iter() {
            let snapshot = figures.snapshot();
            counts.frames += snapshot.frames.max(0) as u64;
            counts.results += snapshot.results;
            for (cause, count) in snapshot.dropped {
                *counts.dropped.entry(cause).or_default() += count;
            }
        }
        counts
    }

    /// Stops all.
    pub(super) fn stop(self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        lock(&self.shared.controls).iter().for_each(Control::stop);
        for thread in self.threads {
            // A camera runs behind typed errors and does not panic.
            let _ = thread.join();
        }
    }
}

fn start(scene: &Scene, shared: &Shared) -> Result<Stream, String> {
    let spec = SourceSpec {
        realtime: true,
        max_fps: Some(scene.fps),
        queue: Some(QueuePolicy::LIVE),
        ..SourceSpec::new(SourceUri::File(scene.clip.clone()))
    };
    let clock = scene.services.clock.clone();
    let source = Source::open_with_clock(spec, clock.clone()).map_err(|e| e.to_string())?;
    let options = InputOptions::default();
    let engine = Engine::new(scene.plan.clone(), scene.services.clone(), options);
    let stream = Stream::start(StreamSpec {
        source,
        definition: Replacement {
            engine: engine.map_err(|e| e.to_string())?,
            provenance: scene.stamp.clone().into(),
            image_input: scene.image_input.clone(),
        },
        parameters: RuntimeInputs::new(),
        clock,
    })
    .map_err(|e| format!("the machine refuses a thread: {e}"))?;
    lock(&shared.figures).push(stream.figures().clone());
    lock(&shared.controls).push(stream.control());
    Ok(stream)
}

/// Plays the clip over and over.
fn play(mut stream: Stream, scene: &Scene, shared: &Shared) {
    loop {
        for result in stream.results() {
            let mut results = lock(&shared.results);
            let micros = result.latency.min(Duration::from_secs(60)).as_micros() as u64;
            results.latency.saturating_record(micros);
            if let Err(error) = result.run {
                results.errors += 1;
                results.last_error = Some(error.to_string());
            }
        }
        stream.join();
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        stream = match start(scene, shared) {
            Ok(stream) => stream,
            Err(error) => {
                lock(&shared.results).errors += 1;
                lock(&shared.results).last_error = Some(error);
                return;
            }
        };
        if shared.stop.load(Ordering::Relaxed) {
            stream.control().stop();
        }
    }
}
