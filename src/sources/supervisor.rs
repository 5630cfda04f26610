//! The one thread that looks after a source: starts its pipeline, watches it, and brings a live one
//! back.
//!
//! An attempt ends when the pipeline reports an error or its end, when nothing came for too long,
//! when what comes is no good, or when the source is closed. Every attempt has a pipeline of its own;
//! the old one is shut down before the next begins. A live source whose attempt failed is tried again
//! if the error may pass, or if the source has given frames before: then whatever it is now, it was
//! right once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use gstreamer as gst;

use super::outage::{Outage, Wake};
use super::queue::Event;
use super::running::{LOOK, Running};
use super::shared::{Shared, SourceState};
use super::verdict::{Listener, Outcome};
use super::{LostReason, RtspTransport, SourceError, chain};

/// A connection that held for so long counts as a good one: the next outage starts with the shortest
/// wait again.
const STEADY: Duration = Duration::from_secs(5);

/// What wakes the supervisor.
pub(crate) enum Signal {
    /// A message of the pipeline.
    Bus(gst::Message),
    /// An error found outside the messages of the pipeline.
    Fault(SourceError),
    /// Whether the source can be reached.
    Reach(Result<(), String>),
    /// The source is to be closed.
    Close,
}

/// Looks after one source; see the module documentation.
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    signals: Receiver<Signal>,
    sender: Sender<Signal>,
    outage: Outage,
    udp: bool,
    unreachable: Option<String>,
}

impl Supervisor {
    /// The supervisor of a source.
    pub(crate) fn new(
        shared: Arc<Shared>,
        sender: Sender<Signal>,
        signals: Receiver<Signal>,
    ) -> Self {
        let outage = Outage::new(&shared.spec, &shared.identifier);
        let udp = shared.spec.rtsp.transport == RtspTransport::Udp;
        Self {
            shared,
            signals,
            sender,
            outage,
            udp,
            unreachable: None,
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
                Outcome::OtherDecoder => {}
                Outcome::Ended(ending) => {
                    if let Some(warning) = ending.warning() {
                        tracing::warn!(source = %self.shared.name, stream = %self.shared.identifier, "{warning}");
                    }
                    self.shared.set_state(SourceState::Ended);
                    self.shared.queue.finish(Ok(ending));
                    return;
                }
                Outcome::Failed(error) => {
                    if began.elapsed() >= STEADY && self.shared.frames_of_connection() > 0 {
                        self.outage.over();
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
                    match self
                        .outage
                        .wait(&error, attempts, &self.signals, &self.sender)
                    {
                        Wake::Close => return,
                        Wake::Try => {}
                        Wake::Unreachable(reason) => self.unreachable = Some(reason),
                    }
                }
            }
        }
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
        let first = shared.note_failure(error);
        shared.set_state(SourceState::Lost);
        if first {
            // Who takes the events warns of it, and knows the stream.
            tracing::debug!(stream = %shared.identifier, "{error}; trying again");
            shared.queue.push_notice(Event::Lost {
                error: error.clone(),
                reconnect: shared.spec.reconnect,
            });
        } else {
            let attempts = shared.progress().failed_attempts;
            tracing::debug!(stream = %shared.identifier, attempts, "{error}; trying again");
        }
    }

    /// One connection from start to end. A loss is told before the pipeline is shut down.
    fn attempt(&mut self) -> Outcome {
        self.shared.connect_anew();
        let mut listener = Listener::new(self.shared.clone());
        let started = match self.unreachable.take() {
            Some(reason) => Err(SourceError::Refused {
                source_name: self.shared.name.clone(),
                reason,
            }),
            None => self.start(&mut listener),
        };
        let outcome = match &started {
            Ok(running) => self.watch(running, &mut listener),
            Err(error) => Outcome::Failed(error.clone()),
        };
        if let Outcome::Failed(error) = &outcome {
            self.note_failure(error);
        }
        drop(started);
        self.udp ^= listener.other_way;
        while self.signals.try_recv().is_ok() {}
        if self.shared.is_closed() {
            return Outcome::Closed;
        }
        outcome
    }

    fn start(&self, listener: &mut Listener) -> Result<Running, SourceError> {
        let chain = chain::build(&self.shared, self.udp, &self.sender)?;
        Running::start(chain, &self.shared, &self.sender)
            .map_err(|reason| self.start_failure(reason, listener))
    }

    /// The reason why a pipeline did not start, from the messages that it left.
    fn start_failure(&self, reason: String, listener: &mut Listener) -> SourceError {
        while let Ok(signal) = self.signals.try_recv() {
            match listener.hear(signal, None) {
                Some(Outcome::Failed(error)) => return error,
                Some(Outcome::Closed) => {
                    return SourceError::Closed {
                        source_name: self.shared.name.clone(),
                    };
                }
                _ => {}
            }
        }
        chain::internal(reason)
    }

    /// Waits for the end of a running pipeline.
    fn watch(&self, running: &Running, listener: &mut Listener) -> Outcome {
        loop {
            let patience = self.patience();
            let idle = self.shared.idle();
            if idle >= patience {
                return self.silence(idle);
            }
            if self.shared.frames_of_connection() == 0
                && !self.shared.is_live()
                && let Some(error) = running.gave_up(idle, &self.shared.name)
            {
                return Outcome::Failed(error);
            }
            match self.signals.recv_timeout((patience - idle).min(LOOK)) {
                Ok(signal) => {
                    if let Some(outcome) = listener.hear(signal, Some(running)) {
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
        match (self.shared.is_live(), self.shared.frames_of_connection()) {
            (true, 0) => spec.reconnect.connect,
            (true, _) => spec.reconnect.silence,
            (false, _) => spec.stall,
        }
    }

    /// What a silence means: a decoder that swallows what it gets, or a source that is gone.
    fn silence(&self, waited: Duration) -> Outcome {
        if self.shared.decoder_swallows()
            && let Some(name) = self.shared.decoders.in_use()
            && self.shared.give_up_decoder(&name)
        {
            return Outcome::OtherDecoder;
        }
        let source_name = self.shared.name.clone();
        let frames = self.shared.frames_of_connection();
        Outcome::Failed(match (self.shared.is_live(), frames) {
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
        })
    }
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
