//! The workers of a stage: one, and more while the stage is the one that holds its stream up.
//!
//! A stage is cut into parts: steps whose blocks remember nothing, and steps that must see the rounds
//! in order. Each worker takes a round through the whole stage, with blocks of its own for parts of
//! the first kind; parts of the second are shared and passed in the order of the rounds, and so is the
//! way out. A worker holds one round, so a stage has no more rounds than workers.
//!
//! Another worker is added when the stage is heavy, never waits for rounds, and its parts without
//! order take most of its time; all streams of the process share as many of those as there are cores.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use super::handoff::Handoff;
use super::item::{Item, Miss};
use super::pipeline::Common;
use super::turnstile::{Passage, Turnstile};
use crate::engine::{Run, Stage, StepTime};
use crate::models::Claim;
use crate::sources::DropCause;

/// Time of a round in the parts without order from which on another worker is worth a thread.
const HEAVY: f64 = 0.004;
/// Share of its time that a saturated stage waits for rounds, or for room behind it, at most.
const IDLE: f64 = 0.25;
/// Rounds over which a worker looks before it says that the stage needs another.
const ROUNDS: u32 = 12;
/// Weight of the newest round in the averages.
const NEWEST: f64 = 0.2;
/// Workers of a model stage: one prepares images while the other runs the graph.
const OF_A_MODEL: usize = 2;

/// Workers beyond the first ones, in the whole process.
static EXTRA: Pool = Pool(AtomicUsize::new(0));

/// Most workers of a stage, unless a stream says otherwise: one for each core, four at most.
pub fn stage_workers() -> usize {
    cores().min(4)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Counts further workers.
struct Pool(AtomicUsize);

/// The right to be a further worker.
struct Extra(&'static Pool);

impl Pool {
    /// One more, if there is room for it.
    // Newer compilers call it `try_update`, which the oldest supported one does not know.
    #[allow(deprecated)]
    fn take(&'static self, most: usize) -> Option<Extra> {
        let room = cores().max(most.saturating_sub(1));
        let more = |taken: usize| (taken < room).then_some(taken + 1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Extra(self))
    }
}

impl Drop for Extra {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Kept blocks and where they come from: position in the new plan, position in the old.
pub(super) type Adoption = (Arc<Handoff>, HashMap<usize, usize>);

/// Steps that see the rounds in order.
struct Ordered {
    stage: Stage,
    adopt: Option<Adoption>,
}

/// A part of the stage for one worker.
enum Part {
    /// Steps that remember nothing, with blocks of the worker's own.
    Free(Stage),
    /// Steps that see the rounds in order, by number.
    Ordered(usize),
}

/// What the workers of a stage share.
pub(super) struct Crew {
    name: String,
    is_model: bool,
    input: Receiver<Item>,
    out: Sender<Item>,
    ordered: Vec<Mutex<Ordered>>,
    /// One for each part with order, and one for the way out.
    turnstiles: Vec<Turnstile>,
    workers: AtomicUsize,
    most: usize,
    handoff: Arc<Handoff>,
    common: Common,
}

/// How a stage is connected.
pub(super) struct Place {
    pub input: Receiver<Item>,
    pub out: Sender<Item>,
    pub adopt: Option<Adoption>,
    pub handoff: Arc<Handoff>,
}

impl Crew {
    /// Starts the first worker of a stage. `gathers` tells that no round is ever dropped, so that a
    /// model may work ahead.
    pub(super) fn start(
        stage: Stage,
        place: Place,
        gathers: bool,
        common: &Common,
    ) -> std::io::Result<()> {
        let (name, is_model) = (stage.name(), stage.is_model());
        let mut ordered = Vec::new();
        let mut adopt = place.adopt;
        let parts: Vec<Part> = stage
            .into_parts()
            .into_iter()
            .map(|part| match part.is_stateless() {
                true => Part::Free(part),
                false => {
                    let own: Vec<usize> = part.steps().collect();
                    let adopt = adopt.as_mut().map(|(from, kept)| {
                        let kept = own.iter().filter_map(|at| Some((*at, kept.remove(at)?)));
                        (from.clone(), kept.collect())
                    });
                    ordered.push(Mutex::new(Ordered { stage: part, adopt }));
                    Part::Ordered(ordered.len() - 1)
                }
            })
            .collect();
        let has_free = parts.iter().any(|part| matches!(part, Part::Free(_)));
        let most = match (has_free, is_model) {
            (false, _) => 1,
            (true, true) if !gathers => 1,
            (true, true) => common.workers.min(OF_A_MODEL),
            (true, false) => common.workers,
        };
        let crew = Arc::new(Self {
            name,
            is_model,
            input: place.input,
            out: place.out,
            turnstiles: (0..=ordered.len()).map(|_| Turnstile::default()).collect(),
            ordered,
            workers: AtomicUsize::new(1),
            most,
            handoff: place.handoff,
            common: common.clone(),
        });
        crew.clone().spawn(parts, None)
    }

    fn spawn(self: Arc<Self>, parts: Vec<Part>, extra: Option<Extra>) -> std::io::Result<()> {
        let common = self.common.clone();
        let worker = Worker {
            crew: self,
            parts,
            load: Load::default(),
            _extra: extra,
        };
        common.spawn("stage", move || worker.run())?;
        Ok(())
    }

    /// Adds a worker that has the same parts.
    fn grow(self: &Arc<Self>, parts: &[Part]) {
        let Some(extra) = EXTRA.take(self.most) else {
            return;
        };
        let before = self.workers.fetch_add(1, Ordering::Relaxed);
        let own = parts.iter().map(|part| match part {
            Part::Free(stage) => Some(Part::Free(stage.replica()?)),
            Part::Ordered(at) => Some(Part::Ordered(*at)),
        });
        let own: Option<Vec<Part>> = own.collect();
        let started = own
            .filter(|_| before < self.most)
            .map(|own| self.clone().spawn(own, Some(extra)));
        match started {
            Some(Ok(())) => {
                self.common.flow.set_workers(&self.name, before + 1);
                tracing::debug!(stream = %self.common.id, stage = self.name, workers = before + 1, "a stage has another worker");
            }
            Some(Err(error)) => {
                self.workers.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(stream = %self.common.id, stage = self.name, %error, "the machine refuses a thread; the stage goes on with fewer");
            }
            None => {
                self.workers.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Runs one of the parts that see the rounds in order.
    fn run_ordered(&self, at: usize, run: &mut Result<Run, Miss>, steps: &mut Vec<StepTime>) {
        if let (Some(ordered), Ok(_)) = (self.ordered.get(at), &run) {
            let mut ordered = ordered.lock().unwrap_or_else(PoisonError::into_inner);
            ordered.adopt_kept_blocks();
            run_stage(&mut ordered.stage, run, steps);
        }
    }
}

fn run_stage(stage: &mut Stage, run: &mut Result<Run, Miss>, steps: &mut Vec<StepTime>) {
    let Ok(inner) = run else {
        return;
    };
    let ran = stage.run(inner);
    steps.append(&mut inner.take_steps());
    if let Err(error) = ran {
        *run = Err(error.into());
    }
}

impl Ordered {
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

impl Drop for Crew {
    /// The last worker has ended: the blocks go to the definition that keeps them.
    fn drop(&mut self) {
        let mut blocks = Vec::new();
        for ordered in self.ordered.drain(..) {
            let mut ordered = ordered.into_inner().unwrap_or_else(PoisonError::into_inner);
            // A definition that never saw a frame still passes on what it was handed.
            ordered.adopt_kept_blocks();
            blocks.extend(ordered.stage.into_blocks());
        }
        self.handoff.deposit(blocks);
    }
}

/// Average times of a worker in seconds.
#[derive(Debug, Default)]
struct Load {
    rounds: u32,
    free: f64,
    ordered: f64,
    idle: f64,
}

impl Load {
    fn note(&mut self, free: Duration, ordered: Duration, idle: Duration) {
        let weight = if self.rounds == 0 { 1.0 } else { NEWEST };
        let blend = |old: &mut f64, new: Duration| *old += weight * (new.as_secs_f64() - *old);
        blend(&mut self.free, free);
        blend(&mut self.ordered, ordered);
        blend(&mut self.idle, idle);
        self.rounds = self.rounds.saturating_add(1);
    }

    /// Whether another worker beside so many would speed the stage up.
    fn wants_another(&self, workers: usize) -> bool {
        let whole = self.free + self.ordered;
        self.rounds >= ROUNDS
            && self.free >= HEAVY
            && self.idle <= IDLE * whole
            && self.ordered * workers as f64 * 1.1 < whole
    }
}

struct Worker {
    crew: Arc<Crew>,
    parts: Vec<Part>,
    load: Load,
    _extra: Option<Extra>,
}

impl Worker {
    fn run(mut self) {
        let crew = self.crew.clone();
        let clock = crew.common.clock.clone();
        let mut ready = clock.monotonic();
        while let Ok(mut item) = crew.input.recv() {
            let began = clock.monotonic();
            let mut passage = Passage::new(&crew.turnstiles, item.sequence);
            let (free, ordered) = self.work_on(&mut item, &mut passage);
            passage.enter();
            let done = clock.monotonic();
            if crew.out.send(item).is_err() {
                break;
            }
            drop(passage);
            let now = clock.monotonic();
            if crew.most > 1 {
                let idle = began.saturating_sub(ready) + now.saturating_sub(done);
                self.load.note(free, ordered, idle);
                let workers = crew.workers.load(Ordering::Relaxed);
                if workers < crew.most && self.load.wants_another(workers) {
                    self.load.rounds = 0;
                    crew.grow(&self.parts);
                }
            }
            ready = now;
        }
    }

    /// Takes a round through the parts; the times in those without and with order.
    fn work_on(&mut self, item: &mut Item, passage: &mut Passage<'_>) -> (Duration, Duration) {
        let crew = &self.crew;
        let clock = &*crew.common.clock;
        let began = clock.monotonic();
        let claim = prepare(crew, item, began);
        let ran = item.run.is_ok();
        let (mut free, mut ordered) = (Duration::ZERO, Duration::ZERO);
        let mut at = began;
        let mut steps = Vec::new();
        for part in &mut self.parts {
            match part {
                Part::Free(stage) => {
                    run_stage(stage, &mut item.run, &mut steps);
                    let now = clock.monotonic();
                    free += now.saturating_sub(std::mem::replace(&mut at, now));
                }
                Part::Ordered(number) => {
                    passage.enter();
                    at = clock.monotonic();
                    crew.run_ordered(*number, &mut item.run, &mut steps);
                    let now = clock.monotonic();
                    ordered += now.saturating_sub(std::mem::replace(&mut at, now));
                    passage.leave();
                }
            }
        }
        if ran {
            finish(crew, item, claim.as_deref(), free + ordered);
            tell(crew, item, claim.as_deref(), began, &steps);
        }
        (free, ordered)
    }
}

/// Drops a round that got too old, and sets its turn at the models of the stage.
fn prepare(crew: &Crew, item: &mut Item, now: Duration) -> Option<Arc<Claim>> {
    if item.run.is_ok() && item.age.is_stale(now) {
        item.run = Err(Miss::Stale);
    }
    let run = item.run.as_mut().ok()?;
    if item.trace.is_some() {
        run.observe_steps();
    }
    let claim = crew
        .is_model
        .then(|| Arc::new(Claim::new(crew.common.id.clone(), item.age.left(now))));
    run.set_claim(claim.clone());
    claim
}

/// Notes what the stage did on a round in so much time.
fn finish(crew: &Crew, item: &mut Item, claim: Option<&Claim>, time: Duration) {
    let common = &crew.common;
    let waited = claim.map(Claim::waited).unwrap_or_default();
    item.age.worked += time.saturating_sub(waited);
    match crew.is_model {
        true => item.spent.inference += time,
        false => item.spent.steps += time,
    }
    if claim.is_some_and(Claim::is_missed) {
        item.run = Err(Miss::Stale);
    } else {
        common.figures.stage(&crew.name, time, waited);
        common.flow.note(&crew.name, time);
    }
}

/// Tells the trace of a round, if it has one, of the stage and its steps.
fn tell(crew: &Crew, item: &mut Item, claim: Option<&Claim>, began: Duration, steps: &[StepTime]) {
    let Some(trace) = &mut item.trace else {
        return;
    };
    let error = match &item.run {
        Ok(_) => None,
        Err(Miss::Failed(error)) => Some(error.to_string()),
        Err(Miss::Stale) => Some(format!("dropped: {}", DropCause::Stale.name())),
    };
    let times = (began, crew.common.clock.monotonic());
    let waited = claim.map(Claim::waited).unwrap_or_default();
    trace.stage(&crew.name, crew.is_model, times, waited, error);
    for step in steps {
        if let Some(planned) = item.generation.plan.steps.get(step.at) {
            let (name, block) = (&planned.step.name, planned.step.spec.type_id());
            trace.step(name, block, (step.began, step.ended), step.failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(free: u64, ordered: u64, idle: u64) -> Load {
        let mut load = Load::default();
        let ms = Duration::from_millis;
        (0..ROUNDS).for_each(|_| load.note(ms(free), ms(ordered), ms(idle)));
        load
    }

    #[test]
    fn only_a_heavy_stage_that_holds_its_stream_up_gets_workers() {
        assert!(load(20, 0, 1).wants_another(1));
        assert!(load(20, 0, 1).wants_another(3));
        assert!(!load(1, 0, 0).wants_another(1), "light");
        assert!(!load(20, 0, 30).wants_another(1), "it waits for rounds");
        assert!(load(20, 10, 0).wants_another(2));
        assert!(!load(20, 10, 0).wants_another(3), "the order holds it up");
        let mut young = Load::default();
        young.note(Duration::from_millis(50), Duration::ZERO, Duration::ZERO);
        assert!(!young.wants_another(1), "the first rounds are slow");
    }

    #[test]
    fn there_are_so_many_further_workers_and_no_more() {
        static POOL: Pool = Pool(AtomicUsize::new(0));
        let most = cores() + 3;
        let taken: Vec<Extra> = std::iter::from_fn(|| POOL.take(most)).take(64).collect();
        assert_eq!(taken.len(), most - 1);
        assert!(POOL.take(1).is_none());
        drop(taken);
        assert!(POOL.take(1).is_some());
    }
}
