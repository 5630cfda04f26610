//! The one thread that looks after a source: starts its pipeline, watches it, and brings a live one
//! back.
//!
//! An attempt ends when the pipeline reports an error or its end, when nothing came for too long, or
//! when the source is closed. Every attempt has a pipeline of its own; the old one is shut down
//! before the next begins. A live source whose attempt failed is tried again if the error may pass,
//! or if the source has given frames before: then whatever it is now, it was right once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use gstreamer as gst;
use gstreamer::prelude::*;

use super::chain;
use super::gst::{Situation, classify, missing_plugin, refuses_transport};
use super::queue::{Ending, Event};
use super::running::{LOOK, Running};
use super::shared::{Shared, SourceState};
use super::timing::Backoff;
use super::{LostReason, RtspTransport, SourceError, SourceUri};
use crate::redact::scrub;

/// A connection that held for so long counts as a good one: the next outage starts with the shortest
/// wait again.
const STEADY: Duration = Duration::from_secs(5);

/// What wakes the supervisor.
pub(crate) enum Signal {
    /// A message of the pipeline.
    Bus(gst::Message),
    /// An error found while the pipeline was being completed.
    Fault(SourceError),
    /// The source is to be closed.
    Close,
}

/// How an attempt ended.
enum Outcome {
    Closed,
    Ended(Ending),
    Failed(SourceError),
}

/// Looks after one source; see the module documentation.
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    signals: Receiver<Signal>,
    sender: Sender<Signal>,
    backoff: Backoff,
    udp: bool,
}

impl Supervisor {
    /// The supervisor of a source.
    pub(crate) fn new(
        shared: Arc<Shared>,
        sender: Sender<Signal>,
        signals: Receiver<Signal>,
    ) -> Self {
        let reconnect = shared.spec.reconnect;
        let backoff = Backoff::new(reconnect.initial, reconnect.max, &shared.identifier);
        let udp = shared.spec.rtsp.transport == RtspTransport::Udp;
        Self {
            shared,
            signals,
            sender,
            backoff,
            udp,
        }
    }

    /// Runs until the source has ended, given up, or is closed. A panic in here ends the source too.
    pub(crate) fn guarded_run(self) {
        let shared = self.shared.clone();
        let run = std::panic::AssertUnwindSafe(|| self.run());
        if std::panic::catch_unwind(run).is_err() {
            let error = chain::internal("the supervisor of the source panicked");
            shared.set_state(SourceState::Failed);
            shared.queue.finish(Err(error));
        }
    }

    fn run(mut self) {
        loop {
            let began = Instant::now();
            if self.shared.is_closed() {
                return;
            }
            match self.attempt() {
                Outcome::Closed => return,
                Outcome::Ended(ending) => {
                    if let Some(warning) = ending.warning() {
                        tracing::warn!(source = %self.shared.name, stream = %self.shared.identifier, "{warning}");
                    }
                    self.shared.set_state(SourceState::Ended);
                    self.shared.queue.finish(Ok(ending));
                    return;
                }
                Outcome::Failed(error) => {
                    if began.elapsed() >= STEADY && self.frames() > 0 {
                        self.backoff.reset();
                    }
                    if !self.may_try_again(&error) {
                        return self.fail(error);
                    }
                    let attempts = self.shared.progress().failed_attempts;
                    let most = self.shared.spec.reconnect.attempts;
                    if most.is_some_and(|most| attempts >= most) {
                        let last = Box::new(error);
                        return self.fail(SourceError::GaveUp { attempts, last });
                    }
                    if self.pause() {
                        return;
                    }
                }
            }
        }
    }

    /// Frames of the present connection.
    fn frames(&self) -> i64 {
        self.shared.connection_frames.load(Ordering::Relaxed) as i64
    }

    fn fail(&self, error: SourceError) {
        tracing::error!(stream = %self.shared.identifier, "{error}");
        self.shared.progress().last_error = Some(error.clone());
        self.shared.set_state(SourceState::Failed);
        self.shared.queue.finish(Err(error));
    }

    fn may_try_again(&self, error: &SourceError) -> bool {
        self.shared.is_live() && (error.retry() || self.shared.progress().frames > 0)
    }

    /// Counts a failed attempt that is not the last, and tells of the first after a frame.
    fn note_failure(&self, error: &SourceError) {
        if !self.may_try_again(error) {
            return;
        }
        let shared = &self.shared;
        let mut progress = shared.progress();
        progress.failed_attempts += 1;
        progress.last_error = Some(error.clone());
        let attempts = progress.failed_attempts;
        let first = progress.lost_at.is_none();
        if first {
            progress.lost_at = Some(shared.clock.monotonic());
        }
        drop(progress);
        shared.set_state(SourceState::Lost);
        if first {
            tracing::warn!(stream = %shared.identifier, "{error}; trying again");
            shared.queue.push_notice(Event::Lost(error.clone()));
        } else {
            tracing::debug!(stream = %shared.identifier, attempts, "{error}; trying again");
        }
    }

    /// Waits before the next attempt; true if the source was closed meanwhile.
    fn pause(&mut self) -> bool {
        let until = Instant::now() + self.backoff.next();
        loop {
            match self.signals.recv_deadline(until) {
                Ok(Signal::Close) | Err(RecvTimeoutError::Disconnected) => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// One connection from start to end. A loss is told before the pipeline is shut down.
    fn attempt(&mut self) -> Outcome {
        self.shared.connection_frames.store(0, Ordering::Relaxed);
        self.shared.touch();
        let started = self.start();
        let outcome = match &started {
            Ok(running) => self.watch(running),
            Err(error) => Outcome::Failed(error.clone()),
        };
        if let Outcome::Failed(error) = &outcome {
            self.note_failure(error);
        }
        drop(started);
        while self.signals.try_recv().is_ok() {}
        if self.shared.is_closed() {
            return Outcome::Closed;
        }
        outcome
    }

    fn start(&mut self) -> Result<Running, SourceError> {
        let shared = self.shared.clone();
        let chain = chain::build(&shared.spec, &shared.name, self.udp, &self.sender)?;
        Running::start(chain, &shared, &self.sender).map_err(|reason| self.start_failure(reason))
    }

    /// The reason why a pipeline did not start, from the messages that it left.
    fn start_failure(&mut self, reason: String) -> SourceError {
        let mut watch = Watch::default();
        while let Ok(signal) = self.signals.try_recv() {
            match self.handle(signal, &mut watch, None) {
                Some(Outcome::Failed(error)) => return error,
                Some(Outcome::Closed) => return self.closed(),
                _ => {}
            }
        }
        chain::internal(reason)
    }

    fn closed(&self) -> SourceError {
        SourceError::Closed {
            source_name: self.shared.name.clone(),
        }
    }

    /// Waits for the end of a running pipeline.
    fn watch(&mut self, running: &Running) -> Outcome {
        let mut watch = Watch::default();
        loop {
            let patience = self.patience();
            let idle = self.shared.idle();
            if idle >= patience {
                return Outcome::Failed(self.silence(idle));
            }
            if self.frames() == 0
                && !self.shared.is_live()
                && let Some(error) = running.gave_up(idle, &self.shared.name)
            {
                return Outcome::Failed(error);
            }
            match self.signals.recv_timeout((patience - idle).min(LOOK)) {
                Ok(signal) => {
                    if let Some(outcome) = self.handle(signal, &mut watch, Some(running)) {
                        return outcome;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Outcome::Closed,
            }
        }
    }

    /// How long nothing may happen now.
    fn patience(&self) -> Duration {
        let spec = &self.shared.spec;
        match (self.shared.is_live(), self.frames()) {
            (true, 0) => spec.reconnect.connect,
            (true, _) => spec.reconnect.silence,
            (false, _) => spec.stall,
        }
    }

    fn silence(&self, waited: Duration) -> SourceError {
        let source_name = self.shared.name.clone();
        match (self.shared.is_live(), self.frames()) {
            (true, 0) => SourceError::NoFrame {
                source_name,
                waited,
            },
            (true, _) => SourceError::Lost {
                source_name,
                reason: LostReason::Silent(waited),
            },
            (false, frames) => SourceError::Stalled {
                source_name,
                frames,
                waited,
            },
        }
    }

    fn handle(
        &mut self,
        signal: Signal,
        watch: &mut Watch,
        running: Option<&Running>,
    ) -> Option<Outcome> {
        let message = match signal {
            Signal::Close => return Some(Outcome::Closed),
            Signal::Fault(error) => return Some(Outcome::Failed(error)),
            Signal::Bus(message) => message,
        };
        match message.view() {
            gst::MessageView::Error(error) => {
                let debug = error.debug().unwrap_or_default();
                let unheard = running.is_some_and(Running::offers_no_video);
                if refuses_transport(&error.error()) && unheard {
                    return Some(Outcome::Failed(SourceError::NotVideo {
                        source_name: self.shared.name.clone(),
                        reason: "it has no video stream".to_owned(),
                    }));
                }
                Some(Outcome::Failed(self.failure(&error.error(), &debug, watch)))
            }
            gst::MessageView::Warning(warning) => {
                watch.warned = Some(warning.error().message().to_owned());
                None
            }
            gst::MessageView::Eos(_) => Some(self.end_of_stream(watch)),
            gst::MessageView::Latency(_) => {
                if let Some(running) = running {
                    let _ = running.pipeline.recalculate_latency();
                }
                None
            }
            gst::MessageView::Element(_) => {
                watch.missing =
                    missing_plugin(&message, &self.shared.name).or(watch.missing.take());
                None
            }
            _ => None,
        }
    }

    /// What an error of the pipeline means.
    fn failure(
        &mut self,
        error: &gst::glib::Error,
        details: &str,
        watch: &mut Watch,
    ) -> SourceError {
        let transport = self.shared.spec.rtsp.transport;
        if matches!(self.shared.spec.uri, SourceUri::Rtsp(_))
            && transport == RtspTransport::Auto
            && refuses_transport(error)
        {
            self.udp = !self.udp;
        }
        if let Some(missing) = watch.missing.take() {
            return missing;
        }
        let situation = Situation {
            uri: &self.shared.spec.uri,
            name: &self.shared.name,
            live: self.shared.is_live(),
            frames: self.frames(),
        };
        tracing::debug!(stream = %self.shared.identifier, "gstreamer: {}", scrub(details));
        classify(error, details, &situation)
    }

    /// The end of a file, or a live stream that went away.
    fn end_of_stream(&self, watch: &mut Watch) -> Outcome {
        let source_name = self.shared.name.clone();
        let frames = self.frames();
        if let (Some(missing), 0) = (&watch.missing, frames) {
            return Outcome::Failed(missing.clone());
        }
        if self.shared.is_live() && !endless_by_choice(&self.shared.spec.uri) {
            let reason = match watch.warned.take() {
                Some(warning) => LostReason::Failed(scrub(&warning)),
                None => LostReason::Ended,
            };
            return Outcome::Failed(SourceError::Lost {
                source_name,
                reason,
            });
        }
        if frames == 0 {
            return Outcome::Failed(SourceError::Corrupt {
                source_name,
                frames,
                reason: "it ended without a single frame".to_owned(),
            });
        }
        let progress = self.shared.progress();
        let info = progress.info.as_ref();
        Outcome::Ended(Ending {
            frames: progress.frames,
            expected: info.and_then(|i| i.total_frames),
            listed: info.is_some_and(|i| i.frames_listed),
        })
    }
}

/// What was heard from a pipeline so far.
#[derive(Default)]
struct Watch {
    warned: Option<String>,
    missing: Option<SourceError>,
}

/// A live test picture with a number of frames really ends.
fn endless_by_choice(uri: &SourceUri) -> bool {
    matches!(uri, SourceUri::Pattern(pattern) if pattern.frames.is_some())
}

/// Logs that a source is back.
pub(crate) fn log_recovery(shared: &Shared, attempts: u32, outage: Duration) {
    tracing::info!(
        stream = %shared.identifier,
        attempts,
        outage_s = outage.as_secs_f64(),
        "frames again"
    );
}
