//! The first thread of a stream: takes rounds of frames, makes runs of them, and does what the stream
//! is told (swap, canary, pause, another source) between two rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};

use super::canary::{self, Comparable};
use super::figures::Spent;
use super::flow::Flow;
use super::intake::{Frames, Intake, Turn};
use super::item::{Age, Item, Miss};
use super::pipeline::{Chain, Common, TURN};
use super::{CanaryReport, Command, End, Generation, Replacement};
use crate::definition::document::InputType;
use crate::engine::{Assembler, RuntimeInput, RuntimeInputs};
use crate::telemetry::FrameTrace;
use crate::values::Value;

/// The way in: frames become runs.
pub(super) struct Entry {
    pub intake: Intake,
    pub assembler: Assembler,
    pub parameters: RuntimeInputs,
    pub generation: Arc<Generation>,
    pub chain: Chain,
    pub commands: Receiver<Command>,
    pub canary: Option<Canary>,
    pub chains: Sender<Receiver<Item>>,
    pub common: Common,
    pub stop: Arc<AtomicBool>,
    pub paused: Arc<AtomicBool>,
}

impl Entry {
    pub(super) fn run(mut self) -> End {
        let end = self.pump();
        self.common.figures.sources(self.intake.stats());
        self.intake.close();
        end
    }

    fn pump(&mut self) -> End {
        let mut told = Duration::ZERO;
        while !self.stop.load(Ordering::Relaxed) {
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
            match self.turn() {
                Turn::Nothing => {}
                Turn::Rest(time) => match self.commands.recv_timeout(time) {
                    Ok(command) => self.obey(command),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => std::thread::sleep(time),
                },
                Turn::Round(frames) => match self.feed(frames) {
                    true => {}
                    false => return End::Stopped,
                },
                Turn::Ended(end) => return end,
            }
            let now = self.common.clock.monotonic();
            if now.saturating_sub(told) >= TURN {
                self.common.figures.sources(self.intake.stats());
                told = now;
            }
        }
        End::Stopped
    }

    fn turn(&mut self) -> Turn {
        let common = &self.common;
        if !self.paused.load(Ordering::Relaxed) {
            if self.intake.keeps_newest() && !common.flow.wait(TURN) {
                return Turn::Nothing;
            }
            return self.intake.turn(TURN, &*common.clock, common);
        }
        let (passed, waited) = self.intake.pass(TURN, common);
        common.figures.passed(passed);
        match waited {
            true => Turn::Nothing,
            false => Turn::Rest(TURN),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Swap(replacement) => self.swap(replacement),
            Command::Canary {
                replacement,
                frames,
                report,
            } => self.canary = self.start_canary(replacement, frames, report),
            Command::Add(inlet, pace) => {
                self.intake.add(inlet);
                self.intake.set_pace(pace);
            }
            Command::Pace(pace) => self.intake.set_pace(pace),
        }
    }

    /// Hands a round to the first stage; false if nobody takes results any more or the stream was
    /// told to stop while the stage was busy.
    fn feed(&mut self, frames: Frames) -> bool {
        self.feed_canary(&frames);
        fill(&mut self.parameters, &self.generation, &frames);
        let run = self.assembler.assemble(&self.parameters);
        let fed = self.common.clock.monotonic();
        let budget = self.intake.staleness(&frames);
        let mut item = Item {
            trace: self.trace(&frames, fed),
            age: age(&frames, budget),
            spent: Spent::default(),
            frames,
            sources: self.intake.numbers().clone(),
            fed,
            sequence: self.chain.next(),
            generation: self.generation.clone(),
            run: run.map_err(Miss::from),
            permit: self.common.flow.enter(),
        };
        self.common.figures.fed();
        loop {
            match self.chain.input.send_timeout(item, TURN) {
                Ok(()) => return true,
                Err(SendTimeoutError::Timeout(_)) if self.stop.load(Ordering::Relaxed) => {
                    return false;
                }
                Err(SendTimeoutError::Timeout(back)) => {
                    self.common.figures.sources(self.intake.stats());
                    item = back;
                }
                Err(SendTimeoutError::Disconnected(_)) => return false,
            }
        }
    }

    /// The trace of a round, if it is sampled.
    fn trace(&self, frames: &Frames, fed: Duration) -> Option<Box<FrameTrace>> {
        let tracer = self.common.tracer.as_ref()?;
        let (_, frame) = frames.first()?;
        let mut trace = tracer.frame(frame.arrived)?;
        if let Some(time) = frame.decoding {
            trace.decoded(frame.arrived.saturating_sub(time), frame.arrived);
        }
        trace.waited(frame.arrived, fed);
        Some(trace)
    }

    /// Moves the stream over to another definition. Frames in flight finish on the old one.
    fn swap(&mut self, replacement: Replacement) {
        let previous = Some((&self.chain, &*self.generation));
        let gathers = !self.intake.keeps_newest();
        match Chain::start(replacement, previous, gathers, &self.common, &self.chains) {
            Ok((chain, assembler, generation)) => {
                clear(&mut self.parameters, &self.generation);
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

/// The age of a round, which is that of its newest frame.
fn age(frames: &Frames, budget: Option<Duration>) -> Age {
    let born = frames.iter().map(|(_, frame)| frame.arrived).max();
    Age {
        born: born.unwrap_or_default(),
        budget,
        worked: Duration::ZERO,
    }
}

/// Puts a round into the inputs: the frames into the image input, and their metadata into every
/// input for video metadata.
fn fill(parameters: &mut RuntimeInputs, generation: &Generation, frames: &Frames) {
    let name = &generation.image_input;
    let images = frames
        .iter()
        .enumerate()
        .map(|(i, (_, frame))| Value::Image(frame.image_named(generation.element(i))));
    let batch = Value::list(images.collect());
    parameters.insert(name.clone(), RuntimeInput::Value(batch));
    for input in metadata_inputs(generation) {
        let facts = frames
            .iter()
            .map(|(_, frame)| Value::Video(frame.video.clone()));
        let batch = Value::list(facts.collect());
        parameters.insert(input.to_owned(), RuntimeInput::Value(batch));
    }
}

/// Takes the inputs out that [`fill`] puts in.
fn clear(parameters: &mut RuntimeInputs, generation: &Generation) {
    parameters.shift_remove(&generation.image_input);
    for input in metadata_inputs(generation) {
        parameters.shift_remove(input);
    }
}

fn metadata_inputs(generation: &Generation) -> impl Iterator<Item = &str> {
    let inputs = generation.plan.inputs().iter();
    inputs
        .filter(|input| input.input_type == InputType::VideoMetadata)
        .map(|input| &*input.name)
}

/// A definition that runs beside the stream's own.
pub(super) struct Canary {
    chain: Chain,
    assembler: Assembler,
    generation: Arc<Generation>,
    left: u64,
    skipped: Sender<u64>,
    /// Its rounds are not those of the stream.
    flow: Arc<Flow>,
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
            flow: Arc::default(),
            tracer: None,
            ..self.common.clone()
        };
        let (chains, outputs) = bounded(1);
        let started = Chain::start(replacement, None, false, &shadow, &chains);
        let (chain, assembler, generation) = started
            .inspect_err(|error| tracing::error!(%error, "no canary: the machine refuses a thread"))
            .ok()?;
        let outputs: Receiver<Item> = outputs.recv().ok()?;
        let (old, old_side) = bounded(COMPARISONS);
        let (new, new_side) = bounded(COMPARISONS);
        let (skipped, skips) = crossbeam_channel::unbounded();
        let convert = move || {
            for item in outputs {
                let Some((_, frame)) = item.frames.first() else {
                    continue;
                };
                let run = match &item.run {
                    Ok(run) => Ok(run),
                    Err(Miss::Failed(error)) => Err(error.to_string()),
                    Err(Miss::Stale) => continue,
                };
                let comparable = Comparable::new(frame.number, &item.generation, run);
                if new.send(comparable).is_err() {
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
            chain,
            assembler,
            generation,
            left: frames,
            skipped,
            flow: shadow.flow.clone(),
        })
    }

    /// Hands a round to the canary too, if one runs; it ends after its last frame.
    fn feed_canary(&mut self, frames: &Frames) {
        let Some(canary) = &mut self.canary else {
            return;
        };
        let mut parameters = self.parameters.clone();
        fill(&mut parameters, &canary.generation, frames);
        let run = canary.assembler.assemble(&parameters);
        let item = Item {
            frames: frames.clone(),
            sources: self.intake.numbers().clone(),
            fed: self.common.clock.monotonic(),
            sequence: canary.chain.number,
            generation: canary.generation.clone(),
            run: run.map_err(Miss::from),
            age: age(frames, None),
            spent: Spent::default(),
            trace: None,
            permit: canary.flow.enter(),
        };
        let recorded = |(_, frame): &(usize, crate::sources::Frame)| {
            frame.video.comes_from_video_file == Some(true)
        };
        let taken = if frames.iter().all(recorded) {
            canary.chain.input.send(item).is_ok()
        } else {
            canary.chain.input.try_send(item).is_ok()
        };
        if taken {
            canary.chain.next();
        } else {
            // Nobody counts any more if the comparison is over.
            let _ = canary.skipped.send(1);
        }
        canary.left = canary.left.saturating_sub(1);
        if canary.left == 0 {
            self.canary = None;
        }
    }
}
