//! The threads of a stream: an entry, a chain of stages, a collector of results.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::canary::{self, Comparable};
use super::handoff::Handoff;
use super::{
    CanaryReport, Command, End, Figures, FrameResult, Generation, Replacement, Stream, StreamSpec,
};
use crate::clock::Clock;
use crate::definition::error::WorkflowError;
use crate::engine::{Assembler, Run, RuntimeInput, RuntimeInputs, Stage};
use crate::plan::PlanDifference;
use crate::sources::{Event, Frame, Source};
use crate::values::Value;

/// Frames that wait before a stage. One keeps both sides of a hop busy; more only adds latency.
const WAITING: usize = 1;
/// How long the entry waits for a frame before it looks whether it should stop.
const TURN: Duration = Duration::from_millis(100);
/// Swaps that may wait for the results of the definitions before them.
const SWAPS: usize = 16;

/// A frame between stages.
struct Item {
    frame: Frame,
    generation: Arc<Generation>,
    run: Result<Run, WorkflowError>,
}

/// What all threads of a stream share.
#[derive(Clone)]
struct Common {
    id: Arc<str>,
    /// Where the collector shows results while a canary runs.
    watch: Arc<Mutex<Option<Sender<Comparable>>>>,
    figures: Arc<Figures>,
    clock: Arc<dyn Clock>,
}

impl Common {
    fn watch(&self) -> MutexGuard<'_, Option<Sender<Comparable>>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn<T: Send + 'static>(
        &self,
        what: &str,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<JoinHandle<T>> {
        thread::Builder::new()
            .name(format!("{what}:{}", self.id))
            .spawn(run)
    }
}

pub(super) fn start(spec: StreamSpec) -> std::io::Result<Stream> {
    let StreamSpec {
        source,
        definition,
        parameters,
        clock,
    } = spec;
    let common = Common {
        id: source.video_identifier().clone(),
        watch: Arc::default(),
        figures: Arc::new(Figures::default()),
        clock,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let (commands, commands_due) = bounded(SWAPS);
    let (chains, chains_due) = bounded(SWAPS);
    let (chain, assembler, generation) = Chain::start(definition, None, &common, &chains)?;
    let entry = Entry {
        source,
        assembler,
        parameters,
        generation,
        chain,
        commands: commands_due,
        canary: None,
        chains,
        common: common.clone(),
        stop: stop.clone(),
    };
    let entry = common.spawn("entry", move || entry.run())?;
    let (out, results) = bounded::<FrameResult>(WAITING);
    let collecting = common.clone();
    let collector = common.spawn("results", move || collect(&chains_due, &out, &collecting))?;
    Ok(Stream {
        results,
        figures: common.figures,
        stop,
        commands,
        entry,
        collector,
    })
}

/// The way into the stages of one definition.
struct Chain {
    input: Sender<Item>,
    handoff: Arc<Handoff>,
}

impl Chain {
    /// Starts the stages of a definition. Those of `previous` hand their blocks over. The results
    /// are announced to the collector behind `chains`.
    fn start(
        definition: Replacement,
        previous: Option<(&Self, &Generation)>,
        common: &Common,
        chains: &Sender<Receiver<Item>>,
    ) -> std::io::Result<(Self, Assembler, Arc<Generation>)> {
        let Replacement {
            engine,
            stamp,
            image_input,
        } = definition;
        let plan = engine.plan().clone();
        let (assembler, stages) = engine.into_stages();
        let kept = previous.map(|(_, old)| PlanDifference::between(&old.plan, &plan).kept);
        let handoff = Arc::new(Handoff::new(stages.len()));
        common
            .figures
            .stages(stages.iter().map(Stage::name).collect());
        let (input, mut next) = bounded::<Item>(WAITING);
        for stage in stages {
            let (out, following) = bounded::<Item>(WAITING);
            let worker = Worker {
                name: stage.name(),
                adopt: previous.zip(kept.as_ref()).map(|((chain, _), kept)| {
                    let own = stage.steps().filter_map(|at| Some((at, *kept.get(&at)?)));
                    (chain.handoff.clone(), own.collect())
                }),
                stage,
                input: std::mem::replace(&mut next, following),
                out,
                handoff: handoff.clone(),
                common: common.clone(),
            };
            common.spawn("stage", move || worker.run())?;
        }
        // The collector is gone only if nobody takes results any more; then the stream ends anyway.
        let _ = chains.send(next);
        let generation = Arc::new(Generation {
            plan,
            stamp,
            image_input,
        });
        Ok((Self { input, handoff }, assembler, generation))
    }
}

/// The way in: frames become runs.
struct Entry {
    source: Source,
    assembler: Assembler,
    parameters: RuntimeInputs,
    generation: Arc<Generation>,
    chain: Chain,
    commands: Receiver<Command>,
    canary: Option<Canary>,
    chains: Sender<Receiver<Item>>,
    common: Common,
    stop: Arc<AtomicBool>,
}

impl Entry {
    fn run(mut self) -> End {
        let end = self.pump();
        self.common.figures.source(self.source.stats());
        self.source.close();
        end
    }

    fn pump(&mut self) -> End {
        let mut told = Duration::ZERO;
        while !self.stop.load(Ordering::Relaxed) {
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Swap(replacement) => self.swap(replacement),
                    Command::Canary {
                        replacement,
                        frames,
                        report,
                    } => {
                        self.canary = self.start_canary(replacement, frames, report);
                    }
                }
            }
            let event = match self.source.next(TURN) {
                Ok(event) => event,
                Err(error) => return End::Failed(error),
            };
            let stream = self.common.id.clone();
            match event {
                None => {}
                Some(Event::Frame(frame)) => match self.feed(frame) {
                    true => {}
                    false => return End::Stopped,
                },
                Some(Event::Changed(format)) => {
                    tracing::info!(%stream, ?format, "pictures changed")
                }
                Some(Event::Lost(error)) => {
                    tracing::warn!(%stream, %error, "source lost; trying again")
                }
                Some(Event::Recovered { attempts, outage }) => {
                    tracing::warn!(%stream, attempts, ?outage, "source is back");
                }
                Some(Event::Ended(ending)) => return End::Source(ending.warning()),
            }
            let now = self.common.clock.monotonic();
            if now.saturating_sub(told) >= TURN {
                self.common.figures.source(self.source.stats());
                told = now;
            }
        }
        End::Stopped
    }

    /// Hands a frame to the first stage; false if nobody takes results any more.
    fn feed(&mut self, frame: Frame) -> bool {
        self.feed_canary(&frame);
        let name = &self.generation.image_input;
        let batch = Value::list(vec![Value::Image(frame.image_named(name.as_str().into()))]);
        self.parameters
            .insert(name.clone(), RuntimeInput::Value(batch));
        let run = self.assembler.assemble(&self.parameters);
        let generation = self.generation.clone();
        self.chain
            .input
            .send(Item {
                frame,
                generation,
                run,
            })
            .is_ok()
    }

    /// Moves the stream over to another definition. Frames in flight finish on the old one.
    fn swap(&mut self, replacement: Replacement) {
        let previous = Some((&self.chain, &*self.generation));
        match Chain::start(replacement, previous, &self.common, &self.chains) {
            Ok((chain, assembler, generation)) => {
                self.parameters.shift_remove(&self.generation.image_input);
                // Dropping the old way in ends the old stages behind their last frame.
                self.chain = chain;
                self.assembler = assembler;
                self.generation = generation;
                self.common.figures.swapped();
            }
            Err(error) => {
                tracing::error!(stream = %self.common.id, %error, "the machine refuses a thread; the old definition goes on");
            }
        }
    }
}

/// The thread of a stage.
struct Worker {
    name: String,
    stage: Stage,
    /// Where kept blocks come from, and which: position in the new plan, position in the old.
    adopt: Option<(Arc<Handoff>, HashMap<usize, usize>)>,
    input: Receiver<Item>,
    out: Sender<Item>,
    handoff: Arc<Handoff>,
    common: Common,
}

impl Worker {
    fn run(mut self) {
        while let Ok(mut item) = self.input.recv() {
            self.adopt_kept_blocks();
            if let Ok(run) = &mut item.run {
                let started = self.common.clock.monotonic();
                let outcome = self.stage.run(run);
                let time = self.common.clock.monotonic().saturating_sub(started);
                self.common.figures.stage(&self.name, time);
                if let Err(error) = outcome {
                    item.run = Err(error);
                }
            }
            if self.out.send(item).is_err() {
                break;
            }
        }
        // A definition that never saw a frame still passes on what it was handed.
        self.adopt_kept_blocks();
        self.handoff.deposit(self.stage.into_blocks());
    }

    fn adopt_kept_blocks(&mut self) {
        let Some((from, kept)) = self.adopt.take() else {
            return;
        };
        for (at, was) in kept {
            if let Some(block) = from.take(was) {
                self.stage.replace_block(at, block);
            }
        }
    }
}

fn collect(chains: &Receiver<Receiver<Item>>, out: &Sender<FrameResult>, common: &Common) {
    for chain in chains {
        for Item {
            frame,
            generation,
            run,
        } in chain
        {
            let latency = common.clock.monotonic().saturating_sub(frame.arrived);
            common
                .figures
                .result(run.is_err(), latency, generation.stamp.hash);
            let result = FrameResult {
                frame,
                generation,
                run,
                latency,
            };
            // The result is written as JSON for the comparison, so the lock is given back before.
            let watch = common.watch().clone();
            if let Some(watch) = watch {
                // A comparison that is behind misses a frame, the stream does not.
                let _ = watch.try_send(Comparable::of_result(&result));
            }
            if out.send(result).is_err() {
                return;
            }
        }
    }
}

/// A definition that runs beside the stream's own.
struct Canary {
    input: Sender<Item>,
    assembler: Assembler,
    generation: Arc<Generation>,
    left: u64,
    skipped: Sender<u64>,
}

/// Results of the stream that wait to be compared.
const COMPARISONS: usize = 4096;

impl Entry {
    fn start_canary(
        &self,
        replacement: Replacement,
        frames: u64,
        report: Sender<CanaryReport>,
    ) -> Option<Canary> {
        let shadow = Common {
            figures: Arc::default(),
            ..self.common.clone()
        };
        let (chains, outputs) = bounded(1);
        let started = Chain::start(replacement, None, &shadow, &chains);
        let (chain, assembler, generation) = started
            .inspect_err(|error| tracing::error!(%error, "no canary: the machine refuses a thread"))
            .ok()?;
        let outputs: Receiver<Item> = outputs.recv().ok()?;
        let (old, old_side) = bounded(COMPARISONS);
        let (new, new_side) = bounded(COMPARISONS);
        let (skipped, skips) = crossbeam_channel::unbounded();
        let convert = move || {
            for item in outputs {
                let run = item.run.as_ref().map_err(ToString::to_string);
                if new
                    .send(Comparable::new(item.frame.number, &item.generation, run))
                    .is_err()
                {
                    return;
                }
            }
        };
        let watched = self.common.clone();
        let compare = move || {
            canary::compare(&old_side, &new_side, &skips, &report);
            watched.watch().take();
        };
        let threads = shadow
            .spawn("canary", convert)
            .and_then(|_| shadow.spawn("compare", compare));
        threads
            .inspect_err(|error| tracing::error!(%error, "no canary: the machine refuses a thread"))
            .ok()?;
        *self.common.watch() = Some(old);
        Some(Canary {
            input: chain.input,
            assembler,
            generation,
            left: frames,
            skipped,
        })
    }

    /// Hands a frame to the canary too, if one runs; it ends after its last frame.
    fn feed_canary(&mut self, frame: &Frame) {
        let Some(canary) = &mut self.canary else {
            return;
        };
        let name = &canary.generation.image_input;
        let batch = Value::list(vec![Value::Image(frame.image_named(name.as_str().into()))]);
        let mut parameters = self.parameters.clone();
        parameters.insert(name.clone(), RuntimeInput::Value(batch));
        let run = canary.assembler.assemble(&parameters);
        let item = Item {
            frame: frame.clone(),
            generation: canary.generation.clone(),
            run,
        };
        let waits = frame.video.comes_from_video_file == Some(true);
        let taken = if waits {
            canary.input.send(item).is_ok()
        } else {
            canary.input.try_send(item).is_ok()
        };
        if !taken {
            // Nobody counts any more if the comparison is over.
            let _ = canary.skipped.send(1);
        }
        canary.left = canary.left.saturating_sub(1);
        if canary.left == 0 {
            self.canary = None;
        }
    }
}
