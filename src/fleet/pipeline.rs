//! A pipeline of the fleet: what everybody who deals with it shares. Its thread is in
//! [`super::runner`].

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde_json::json;

use super::error::FleetError;
use super::results::Results;
use super::spec::PipelineSpec;
use super::stop::Stop;
use super::updates::{Severity, Teller, Updates, WireState};
use super::{Host, Settings};
use crate::blocks::Services;
use crate::clock::Clock;
use crate::definitions::Provenance;
use crate::outputs::{Conduct, Outputs};
use crate::sources::{Event, Source, SourceError, SourceSpec, SourceUri};
use crate::streams::{Control, Figures, FrameResult, Inlet, Notice, Observer};

/// Frames over which the latencies of a status are taken.
const LATENCIES: usize = 64;

/// What a pipeline is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waits for its definition, or until it is tried again.
    Waiting,
    /// Its models are being loaded.
    Loading,
    /// Its stream runs: connecting, with frames, or reconnecting.
    Running,
    /// Its sources ended.
    Ended,
    /// It was given up.
    Failed,
}

impl Phase {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Loading => "loading",
            Self::Running => "running",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing comes any more.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Failed)
    }
}

/// A source of a pipeline.
pub(super) struct Camera {
    pub number: usize,
    pub spec: SourceSpec,
    /// The source while the stream runs, and its last one after that.
    pub source: Option<Arc<Source>>,
    /// The state that was told last.
    pub shown: WireState,
    pub completed: u64,
    pub last_frame: Option<i64>,
    pub last_completed: Option<Duration>,
    /// Waiting and whole latency of the last frames.
    pub latencies: VecDeque<(Duration, Duration)>,
}

impl Camera {
    fn new(number: usize, spec: SourceSpec) -> Self {
        Self {
            number,
            spec,
            source: None,
            shown: WireState::NotStarted,
            completed: 0,
            last_frame: None,
            last_completed: None,
            latencies: VecDeque::new(),
        }
    }

    /// The address for reports: no user, no password, no query.
    pub(super) fn reference(&self) -> String {
        shown(&self.spec.uri)
    }
}

/// An address without user, password and query.
pub(super) fn shown(uri: &SourceUri) -> String {
    let text = uri.redacted().to_string().replace("***@", "");
    match uri {
        SourceUri::File(_) => text,
        _ => text.split('?').next().unwrap_or_default().to_owned(),
    }
}

/// What changes while a pipeline lives.
pub(super) struct State {
    pub phase: Phase,
    /// Since when it is in that phase.
    pub since: Duration,
    pub paused: bool,
    /// Why it waits or failed, or what is wrong with the file that ended.
    pub problem: Option<String>,
    pub cameras: Vec<Camera>,
    next_number: usize,
    pub control: Option<Control>,
    pub figures: Option<Arc<Figures>>,
    /// The definition of the newest result, else the one that was loaded.
    pub provenance: Option<Provenance>,
    /// When a result last came, or nothing was under way.
    pub alive_at: Duration,
    pub last_consumed: Option<Duration>,
    /// When hung streams were started anew.
    pub restarts: Vec<Duration>,
    /// Failed rounds in a row.
    pub failing: u64,
    pub last_error: Option<String>,
}

/// See the module documentation.
pub(super) struct Pipeline {
    pub id: Arc<str>,
    pub spec: PipelineSpec,
    pub host: Arc<Host>,
    /// Services of its engines; the cache in them is its own.
    pub services: Services,
    pub results: Results,
    pub outputs: Outputs,
    pub updates: Updates,
    pub stop: Stop,
    pub started: Duration,
    gone: Mutex<Option<Receiver<Infallible>>>,
    state: Mutex<State>,
}

impl Pipeline {
    pub(super) fn new(id: Arc<str>, spec: PipelineSpec, host: Arc<Host>) -> Self {
        let now = host.services.clock.monotonic();
        let sources = spec.sources.iter().cloned().enumerate();
        let cameras: Vec<Camera> = sources.map(|(n, source)| Camera::new(n, source)).collect();
        let most_bytes = host.settings.results_bytes;
        let services = Services {
            cache: Arc::default(),
            disable_sinks: spec.disable_sinks || host.services.disable_sinks,
            stage_workers: spec.stage_workers.or(host.services.stage_workers),
            ..host.services.clone()
        };
        let conduct = Conduct {
            dispatcher: services.dispatcher.clone(),
            models: services.models.clone(),
            clock: services.clock.clone(),
            rtsp: host.rtsp.get().cloned(),
            strict: false,
        };
        Self {
            outputs: Outputs::new(id.clone(), &spec.outputs, conduct),
            id,
            services,
            results: Results::new(spec.results, spec.results_policy, most_bytes),
            updates: Updates::default(),
            stop: Stop::new(),
            started: now,
            gone: Mutex::default(),
            state: Mutex::new(State {
                phase: Phase::Waiting,
                since: now,
                paused: false,
                problem: None,
                next_number: cameras.len(),
                cameras,
                control: None,
                figures: None,
                provenance: None,
                alive_at: now,
                last_consumed: None,
                restarts: Vec::new(),
                failing: 0,
                last_error: None,
            }),
            spec,
            host,
        }
    }

    /// State is changed in whole steps, so a panic of another thread leaves nothing half done.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.host.services.clock
    }

    pub(super) fn now(&self) -> Duration {
        self.clock().monotonic()
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.host.settings
    }

    /// Goes to a phase, unless it was told to stop.
    pub(super) fn enter(&self, phase: Phase, problem: Option<String>) {
        if self.stop.is_told() {
            return;
        }
        let now = self.now();
        let mut state = self.state();
        if state.phase != phase {
            state.since = now;
        }
        state.phase = phase;
        state.problem = problem;
        state.alive_at = now;
    }

    /// Notes an update of the pipeline as a whole.
    pub(super) fn note(&self, severity: Severity, event: &str, payload: serde_json::Value) {
        self.updates
            .note(self.clock(), severity, event, Teller::Pipeline, payload);
    }

    /// Notes an error that ends or disturbs the pipeline.
    pub(super) fn note_error(&self, kind: &str, message: &str, context: &str) {
        let payload =
            json!({"error_type": kind, "error_message": message, "error_context": context});
        self.note(Severity::Error, "INFERENCE_ERROR", payload);
    }

    /// Tells of sources that went to another state.
    pub(super) fn look_at_sources(&self) {
        let mut moves = Vec::new();
        let mut state = self.state();
        let paused = state.paused;
        for camera in &mut state.cameras {
            let Some(source) = &camera.source else {
                continue;
            };
            let now = WireState::of(source.stats().state, paused, source.is_live());
            if now == camera.shown {
                continue;
            }
            if camera.shown == WireState::NotStarted && now != WireState::Initialising {
                moves.push((camera.number, camera.shown, WireState::Initialising));
                camera.shown = WireState::Initialising;
            }
            moves.push((camera.number, camera.shown, now));
            camera.shown = now;
        }
        drop(state);
        for (number, from, to) in moves {
            self.updates.moved(self.clock(), number, from, to);
        }
    }

    /// Sets up and opens a source.
    pub(super) fn open(&self, spec: &SourceSpec, alone: bool) -> Result<Arc<Source>, SourceError> {
        let mut spec = spec.clone();
        self.spec.buffering.apply(&mut spec);
        if alone && spec.uri.is_live() {
            spec.max_fps = self.spec.max_fps.map(|fps| fps.max(0.01));
        }
        Source::open_with_clock(spec, self.host.services.clock.clone()).map(Arc::new)
    }

    /// The pace for the sources that there are. A live source that is alone thins itself.
    pub(super) fn pace(&self, cameras: &[Camera]) -> crate::streams::Pace {
        let mut pace = self.spec.pace(cameras.len());
        if matches!(cameras, [only] if only.spec.uri.is_live()) {
            pace.interval = None;
        }
        pace
    }

    /// Takes in what a result tells.
    pub(super) fn took(&self, result: &FrameResult) {
        let now = self.now();
        let mut state = self.state();
        state.alive_at = now;
        state.provenance = Some(result.generation.provenance.clone());
        let first = std::iter::once((result.source, &result.frame));
        let others = result.others.iter().map(|(source, frame)| (*source, frame));
        for (number, frame) in first.chain(others) {
            let Some(camera) = state.cameras.iter_mut().find(|c| c.number == number) else {
                continue;
            };
            camera.completed += 1;
            camera.last_frame = Some(frame.number);
            camera.last_completed = Some(now);
            if camera.latencies.len() == LATENCIES {
                camera.latencies.pop_front();
            }
            camera.latencies.push_back((result.waited, result.latency));
        }
        let begins = match &result.run {
            Ok(_) => {
                state.failing = 0;
                None
            }
            Err(error) => {
                state.failing += 1;
                state.last_error = Some(error.to_string());
                (state.failing == 1).then_some(error)
            }
        };
        drop(state);
        if let Some(error) = begins {
            tracing::warn!(pipeline = %self.id, %error, "a step failed");
            self.note_error(error.class.name(), &error.message, "inference_thread");
        }
    }

    /// Tells its thread to stop; does not wait for it.
    pub(super) fn tell_stop(&self) {
        self.stop.tell();
        self.results.close();
        self.outputs.release();
    }

    /// Where the end of its thread is seen.
    pub(super) fn watch_end(&self, gone: Receiver<Infallible>) {
        *self.gone.lock().unwrap_or_else(PoisonError::into_inner) = Some(gone);
    }

    /// Waits for the end of its thread; false if it did not come in time.
    pub(super) fn wait_end(&self, patience: Duration) -> bool {
        let gone = self
            .gone
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        gone.is_none_or(|gone| {
            gone.recv_timeout(patience) == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
        })
    }

    fn refused(&self, state: &State, what: &'static str) -> FleetError {
        FleetError::State {
            id: self.id.to_string(),
            state: match state.paused {
                true => "paused",
                false => state.phase.name(),
            },
            what,
        }
    }

    /// Pauses it or lets it go on.
    ///
    /// # Errors
    /// If it does not run, or already is as it is told to be.
    pub(super) fn pause(&self, paused: bool) -> Result<(), FleetError> {
        let what = if paused { "pause" } else { "resume" };
        let now = self.now();
        let mut state = self.state();
        if state.phase != Phase::Running || state.paused == paused {
            return Err(self.refused(&state, what));
        }
        state.paused = paused;
        state.alive_at = now;
        if let Some(control) = &state.control {
            control.pause(paused);
        }
        drop(state);
        self.look_at_sources();
        Ok(())
    }

    /// Adds a source. Answers its number.
    ///
    /// # Errors
    /// If it cannot be opened, or the pipeline is over.
    pub(super) fn add_source(&self, spec: SourceSpec) -> Result<usize, FleetError> {
        let mut state = self.state();
        if state.phase.is_over() {
            return Err(self.refused(&state, "take a source"));
        }
        let number = state.next_number;
        let mut spec = spec;
        spec.video_identifier
            .get_or_insert_with(|| number.to_string().into());
        state.next_number += 1;
        state.cameras.push(Camera::new(number, spec));
        drop(state);
        if let Err(error) = self.connect_added() {
            self.state().cameras.retain(|c| c.number != number);
            return Err(error.into());
        }
        Ok(number)
    }

    /// Opens the sources that were added since the stream was started, and hands them to it.
    pub(super) fn connect_added(&self) -> Result<(), SourceError> {
        let mut state = self.state();
        let Some(control) = state.control.clone() else {
            return Ok(());
        };
        let pace = self.pace(&state.cameras);
        let mut added = Vec::new();
        for camera in state.cameras.iter_mut().filter(|c| c.source.is_none()) {
            let source = self.open(&camera.spec, false)?;
            camera.source = Some(source.clone());
            added.push(Inlet {
                number: camera.number,
                source,
            });
        }
        drop(state);
        for inlet in added {
            // A stream that has ended meanwhile takes none, and that is seen elsewhere.
            let _ = control.add(inlet, pace);
        }
        self.look_at_sources();
        Ok(())
    }

    /// Gives it these sources: adds those that it has not, then takes the others away.
    ///
    /// # Errors
    /// See [`Self::add_source`].
    pub(super) fn set_sources(&self, wanted: &[SourceSpec]) -> Result<(), FleetError> {
        let state = self.state();
        let has = |spec: &SourceSpec| state.cameras.iter().any(|c| c.spec == *spec);
        let new: Vec<SourceSpec> = wanted.iter().filter(|s| !has(s)).cloned().collect();
        let gone = state.cameras.iter().filter(|c| !wanted.contains(&c.spec));
        let gone: Vec<usize> = gone.map(|camera| camera.number).collect();
        drop(state);
        for source in new {
            self.add_source(source)?;
        }
        gone.into_iter()
            .try_for_each(|number| self.remove_source(number))
    }

    /// Takes a source away.
    ///
    /// # Errors
    /// If there is none of this number, or it is the last.
    pub(super) fn remove_source(&self, number: usize) -> Result<(), FleetError> {
        let id = || self.id.to_string();
        let mut state = self.state();
        let Some(at) = state.cameras.iter().position(|c| c.number == number) else {
            return Err(FleetError::NoSource { id: id(), number });
        };
        if state.cameras.len() == 1 {
            return Err(FleetError::LastSource { id: id(), number });
        }
        let camera = state.cameras.remove(at);
        let pace = self.pace(&state.cameras);
        let control = state.control.clone();
        drop(state);
        let moved = (camera.shown, WireState::Ended);
        self.updates.moved(self.clock(), number, moved.0, moved.1);
        if let Some(source) = camera.source {
            // The stream sees that it is closed, and goes on without it.
            source.close();
        }
        if let Some(control) = control {
            let _ = control.set_pace(pace);
        }
        Ok(())
    }
}

impl Observer for Pipeline {
    fn notice(&self, number: usize, notice: Notice<'_>) {
        let failed = match notice {
            Notice::Event(Event::Lost { error, .. }) => Some((Severity::Warning, error)),
            Notice::Failed(error) => Some((Severity::Error, error)),
            Notice::Event(_) => None,
        };
        let failed = failed.filter(|(_, error)| !matches!(error, SourceError::Closed { .. }));
        if let Some((severity, error)) = failed {
            let payload = json!({
                "source_id": number,
                "error_type": "SourceConnectionError",
                "error_message": error.to_string(),
                "error_context": "video_source",
            });
            self.updates.note(
                self.clock(),
                severity,
                "SOURCE_ERROR",
                Teller::Source,
                payload,
            );
        }
        self.look_at_sources();
    }
}
