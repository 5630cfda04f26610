//! The threads of a stream behind its entry: a chain of stages, a collector of results.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::canary::Comparable;
use super::collector::collect;
use super::crew::{Crew, Place, stage_workers};
use super::entry::Entry;
use super::figures::StageKind;
use super::flow::Flow;
use super::handoff::Handoff;
use super::intake::{Notice, Observer};
use super::item::Item;
use super::{Control, Figures, FrameResult, Generation, Replacement, RoundsSpec, Stream};
use crate::clock::Clock;
use crate::engine::Assembler;
use crate::plan::PlanDifference;
use crate::sources::Event;
use crate::telemetry::Tracer;

/// Frames that wait before a stage. One keeps both sides of a hop busy; more only adds latency.
const WAITING: usize = 1;
/// How long the entry waits for a frame before it looks whether it should stop.
pub(super) const TURN: Duration = Duration::from_millis(100);
/// Swaps that may wait for the results of the definitions before them.
const SWAPS: usize = 16;

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
    /// Most workers of a stage.
    pub workers: usize,
    pub tracer: Option<Arc<Tracer>>,
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
            Notice::Event(Event::Lost { error, reconnect }) => {
                tracing::warn!(%stream, source = number, "{error}; {reconnect}");
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
    let services = definition.engine.services();
    let gathers = !intake.keeps_newest();
    let (alive, gone) = bounded(0);
    let common = Common {
        id: name.unwrap_or_else(|| intake.name()),
        watch: Arc::default(),
        figures: Arc::new(Figures::new(clock.clone())),
        flow: Arc::default(),
        clock,
        observer,
        workers: services
            .stage_workers
            .map_or_else(stage_workers, NonZeroUsize::get),
        tracer: services.tracer.clone(),
        _alive: alive,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let paused = Arc::new(AtomicBool::new(false));
    let (commands, commands_due) = bounded(SWAPS);
    let (chains, chains_due) = bounded(SWAPS);
    let (chain, assembler, generation) = Chain::start(definition, None, gathers, &common, &chains)?;
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
    /// Number of the next round.
    pub number: u64,
    handoff: Arc<Handoff>,
}

impl Chain {
    /// The number of a round that is handed in now.
    pub(super) fn next(&mut self) -> u64 {
        let number = self.number;
        self.number += 1;
        number
    }

    /// Starts the stages of a definition. Those of `previous` hand their blocks over. `gathers` tells
    /// that no source drops frames. The results are announced to the collector behind `chains`.
    pub(super) fn start(
        definition: Replacement,
        previous: Option<(&Self, &Generation)>,
        gathers: bool,
        common: &Common,
        chains: &Sender<Receiver<Item>>,
    ) -> std::io::Result<(Self, Assembler, Arc<Generation>)> {
        let Replacement {
            mut engine,
            provenance,
            image_input,
        } = definition;
        engine.name_definition(provenance.on_requests(None));
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
            let place = Place {
                input: std::mem::replace(&mut next, following),
                out,
                adopt: previous
                    .zip(kept.as_ref())
                    .map(|((chain, _), kept)| (chain.handoff.clone(), kept.clone())),
                handoff: handoff.clone(),
            };
            Crew::start(stage, place, gathers, common)?;
        }
        // The collector is gone only if nobody takes results any more; then the stream ends anyway.
        let _ = chains.send(next);
        let generation = Arc::new(Generation {
            plan,
            provenance,
            image_input,
            elements: OnceLock::new(),
        });
        let chain = Self {
            input,
            number: 0,
            handoff,
        };
        Ok((chain, assembler, generation))
    }
}
