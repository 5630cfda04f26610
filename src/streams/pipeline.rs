//! The threads of a stream behind its entry: a chain of stages, a collector of results.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::canary::Comparable;
use super::entry::Entry;
use super::figures::StageKind;
use super::flow::{Flow, Permit};
use super::handoff::Handoff;
use super::intake::{Frames, Notice, Observer};
use super::{Control, Figures, FrameResult, Generation, Replacement, RoundsSpec, Stream};
use crate::clock::Clock;
use crate::definition::error::WorkflowError;
use crate::engine::{Assembler, Run, Stage};
use crate::plan::PlanDifference;
use crate::sources::Event;

/// Frames that wait before a stage. One keeps both sides of a hop busy; more only adds latency.
const WAITING: usize = 1;
/// How long the entry waits for a frame before it looks whether it should stop.
pub(super) const TURN: Duration = Duration::from_millis(100);
/// Swaps that may wait for the results of the definitions before them.
const SWAPS: usize = 16;

/// A round between stages.
pub(super) struct Item {
    pub frames: Frames,
    /// Numbers of the sources that the stream has.
    pub sources: Arc<[usize]>,
    /// When it was handed to the first stage.
    pub fed: Duration,
    pub generation: Arc<Generation>,
    pub run: Result<Run, WorkflowError>,
    /// Held until the result is taken over.
    pub permit: Permit,
}

/// What all threads of a stream share.
#[derive(Clone)]
pub(super) struct Common {
    pub id: Arc<str>,
    /// Where the collector shows results while a canary runs.
    pub watch: Arc<Mutex<Option<Sender<Comparable>>>>,
    pub figures: Arc<Figures>,
    pub flow: Arc<Flow>,
    pub clock: Arc<dyn Clock>,
    pub observer: Option<Arc<dyn Observer>>,
    /// Held by every thread, so that the end of the last one is seen.
    pub _alive: Sender<Infallible>,
}

impl Common {
    pub(super) fn watch(&self) -> MutexGuard<'_, Option<Sender<Comparable>>> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn spawn<T: Send + 'static>(
        &self,
        what: &str,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<JoinHandle<T>> {
        thread::Builder::new()
            .name(format!("{what}:{}", self.id))
            .spawn(run)
    }
}

impl Observer for Common {
    fn notice(&self, number: usize, notice: Notice<'_>) {
        let stream = &self.id;
        match notice {
            Notice::Event(Event::Changed(format)) => {
                tracing::info!(%stream, source = number, ?format, "pictures changed");
            }
            Notice::Event(Event::Lost(error)) => {
                tracing::warn!(%stream, source = number, %error, "source lost; trying again");
            }
            Notice::Event(Event::Recovered { attempts, outage }) => {
                tracing::warn!(%stream, source = number, attempts, ?outage, "source is back");
            }
            Notice::Event(Event::Frame(_) | Event::Ended(_)) | Notice::Failed(_) => {}
        }
        if let Some(observer) = &self.observer {
            observer.notice(number, notice);
        }
    }
}

pub(super) fn start(spec: RoundsSpec) -> std::io::Result<Stream> {
    let RoundsSpec {
        name,
        intake,
        definition,
        parameters,
        clock,
        observer,
    } = spec;
    let (alive, gone) = bounded(0);
    let common = Common {
        id: name.unwrap_or_else(|| intake.name()),
        watch: Arc::default(),
        figures: Arc::new(Figures::new(clock.clone())),
        flow: Arc::default(),
        clock,
        observer,
        _alive: alive,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let paused = Arc::new(AtomicBool::new(false));
    let (commands, commands_due) = bounded(SWAPS);
    let (chains, chains_due) = bounded(SWAPS);
    let (chain, assembler, generation) = Chain::start(definition, None, &common, &chains)?;
    let entry = Entry {
        intake,
        assembler,
        parameters,
        generation,
        chain,
        commands: commands_due,
        canary: None,
        chains,
        common: common.clone(),
        stop: stop.clone(),
        paused: paused.clone(),
    };
    let entry = common.spawn("entry", move || entry.run())?;
    let (out, results) = bounded::<FrameResult>(WAITING);
    let collecting = common.clone();
    let collector = common.spawn("results", move || collect(&chains_due, &out, &collecting))?;
    Ok(Stream {
        results,
        figures: common.figures,
        control: Control {
            stop,
            paused,
            commands,
        },
        entry,
        collector,
        gone,
    })
}

/// The way into the stages of one definition.
pub(super) struct Chain {
    pub input: Sender<Item>,
    handoff: Arc<Handoff>,
}

impl Chain {
    /// Starts the stages of a definition. Those of `previous` hand their blocks over. The results
    /// are announced to the collector behind `chains`.
    pub(super) fn start(
        definition: Replacement,
        previous: Option<(&Self, &Generation)>,
        common: &Common,
        chains: &Sender<Receiver<Item>>,
    ) -> std::io::Result<(Self, Assembler, Arc<Generation>)> {
        let Replacement {
            mut engine,
            provenance,
            image_input,
        } = definition;
        let stamp = provenance.stamp();
        engine.name_definition(stamp.to_json(stamp.fetched_at));
        let plan = engine.plan().clone();
        let (assembler, stages) = engine.into_stages();
        let kept = previous.map(|(_, old)| PlanDifference::between(&old.plan, &plan).kept);
        let handoff = Arc::new(Handoff::new(stages.len()));
        common.figures.stages(
            stages
                .iter()
                .map(|s| (s.name(), StageKind::of(s)))
                .collect(),
        );
        common.flow.stages(stages.iter().map(|s| (s.name(), 1)));
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
            provenance,
            image_input,
            elements: OnceLock::new(),
        });
        Ok((Self { input, handoff }, assembler, generation))
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
                self.common.flow.note(&self.name, time);
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
        for item in chain {
            let Some((result, permit)) = result(item, &*common.clock) else {
                continue;
            };
            common.figures.result(&result);
            // The result is written as JSON for the comparison, so the lock is given back before.
            let watch = common.watch().clone();
            if let Some(watch) = watch {
                // A comparison that is behind misses a frame, the stream does not.
                let _ = watch.try_send(Comparable::of_result(&result));
            }
            if out.send(result).is_err() {
                return;
            }
            drop(permit);
        }
    }
}

/// The result at the end of the stages.
fn result(item: Item, clock: &dyn Clock) -> Option<(FrameResult, Permit)> {
    let mut frames = item.frames.into_iter();
    let (source, frame) = frames.next()?;
    let result = FrameResult {
        latency: clock.monotonic().saturating_sub(frame.arrived),
        waited: item.fed.saturating_sub(frame.arrived),
        source,
        frame,
        others: frames.collect(),
        sources: item.sources,
        generation: item.generation,
        run: item.run,
    };
    Some((result, item.permit))
}
