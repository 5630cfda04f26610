//! The threads of a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::{End, Figures, FrameResult, Stream, StreamSpec};
use crate::clock::Clock;
use crate::definition::error::WorkflowError;
use crate::engine::{Assembler, Run, RuntimeInput, RuntimeInputs, Stage};
use crate::sources::{Event, Frame, Source};
use crate::values::Value;

/// Frames that wait before a stage. One keeps both sides of a hop busy; more only adds latency.
const WAITING: usize = 1;
/// How long the entry waits for a frame before it looks whether it should stop.
const TURN: Duration = Duration::from_millis(100);

/// A frame between stages.
struct Item {
    frame: Frame,
    run: Result<Run, WorkflowError>,
}

pub(super) fn start(spec: StreamSpec) -> std::io::Result<Stream> {
    let StreamSpec {
        source,
        engine,
        parameters,
        image_input,
        clock,
    } = spec;
    let plan = engine.plan().clone();
    let (assembler, stages) = engine.into_stages();
    let figures = Arc::new(Figures::new(stages.iter().map(Stage::name).collect()));
    let stop = Arc::new(AtomicBool::new(false));
    let id = source.video_identifier().clone();
    let named = |what: &str| thread::Builder::new().name(format!("{what}:{id}"));

    let (first, mut next) = bounded::<Item>(WAITING);
    let entry = Entry {
        source,
        assembler,
        parameters,
        image_input,
        figures: figures.clone(),
        stop: stop.clone(),
        clock: clock.clone(),
        out: first,
    };
    let entry = named("entry").spawn(move || entry.run())?;
    let mut threads = Vec::with_capacity(stages.len() + 1);
    for (at, stage) in stages.into_iter().enumerate() {
        let (out, following) = bounded::<Item>(WAITING);
        let input = std::mem::replace(&mut next, following);
        let (figures, clock) = (figures.clone(), clock.clone());
        threads.push(
            named("stage").spawn(move || run_stage(at, stage, &input, &out, &figures, &*clock))?,
        );
    }
    let (out, results) = bounded::<FrameResult>(WAITING);
    let finish_figures = figures.clone();
    threads.push(named("results").spawn(move || finish(&next, &out, &finish_figures, &*clock))?);
    Ok(Stream {
        plan,
        results,
        figures,
        stop,
        entry,
        stages: threads,
    })
}

/// The way in: frames become runs.
struct Entry {
    source: Source,
    assembler: Assembler,
    parameters: RuntimeInputs,
    image_input: String,
    figures: Arc<Figures>,
    stop: Arc<AtomicBool>,
    clock: Arc<dyn Clock>,
    out: Sender<Item>,
}

impl Entry {
    fn run(mut self) -> End {
        let end = self.pump();
        self.figures.source(self.source.stats());
        self.source.close();
        end
    }

    fn pump(&mut self) -> End {
        let name: Arc<str> = self.image_input.as_str().into();
        let mut told = Duration::ZERO;
        while !self.stop.load(Ordering::Relaxed) {
            let event = match self.source.next(TURN) {
                Ok(event) => event,
                Err(error) => return End::Failed(error),
            };
            match event {
                None => {}
                Some(Event::Frame(frame)) => {
                    let image = frame.image_named(name.clone());
                    let batch = Value::list(vec![Value::Image(image)]);
                    self.parameters
                        .insert(self.image_input.clone(), RuntimeInput::Value(batch));
                    let run = self.assembler.assemble(&self.parameters);
                    if self.out.send(Item { frame, run }).is_err() {
                        return End::Stopped;
                    }
                }
                Some(Event::Changed(format)) => {
                    tracing::info!(stream = %self.source.video_identifier(), ?format, "pictures changed");
                }
                Some(Event::Lost(error)) => {
                    tracing::warn!(stream = %self.source.video_identifier(), %error, "source lost; trying again");
                }
                Some(Event::Recovered { attempts, outage }) => {
                    tracing::warn!(stream = %self.source.video_identifier(), attempts, ?outage, "source is back");
                }
                Some(Event::Ended(ending)) => return End::Source(ending.warning()),
            }
            let now = self.clock.monotonic();
            if now.saturating_sub(told) >= TURN {
                self.figures.source(self.source.stats());
                told = now;
            }
        }
        End::Stopped
    }
}

fn run_stage(
    at: usize,
    mut stage: Stage,
    input: &Receiver<Item>,
    out: &Sender<Item>,
    figures: &Figures,
    clock: &dyn Clock,
) {
    for mut item in input {
        if let Ok(run) = &mut item.run {
            let started = clock.monotonic();
            let outcome = stage.run(run);
            figures.stage(at, clock.monotonic().saturating_sub(started));
            if let Err(error) = outcome {
                item.run = Err(error);
            }
        }
        if out.send(item).is_err() {
            return;
        }
    }
}

fn finish(input: &Receiver<Item>, out: &Sender<FrameResult>, figures: &Figures, clock: &dyn Clock) {
    for Item { frame, run } in input {
        let latency = clock.monotonic().saturating_sub(frame.arrived);
        figures.result(run.is_err(), latency);
        if out
            .send(FrameResult {
                frame,
                run,
                latency,
            })
            .is_err()
        {
            return;
        }
    }
}
