//! What the threads of one source have in common: its decoder thread, its supervisor, and whoever
//! takes the frames.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::decoder::Decoders;
use super::decoding::DecodeTimes;
use super::figures::{Condition, Loss, Losses};
use super::queue::EventQueue;
use super::timing::{RateMeter, Thinner, Timeline};
use super::{Drops, PictureFormat, SourceError, SourceSpec, SourceUri, decoder};
use crate::clock::Clock;
use crate::redact::Redacted;
use crate::values::Timestamp;

/// Encoded frames after which a decoder should have given one.
const SWALLOWED: u64 = 25;

/// What a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// No frame yet.
    Connecting,
    /// Frames come.
    Running,
    /// Frames came or were expected, and the connection is gone; the next attempt is due.
    Lost,
    /// The last frame was given.
    Ended,
    /// The source gave up.
    Failed,
    /// The source was closed.
    Closed,
}

/// What is known about a source from its first frame on.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceInfo {
    /// What the pictures look like.
    pub format: PictureFormat,
    /// Whether the frames come from a recorded file.
    pub recorded: bool,
    /// Number of frames of a file of known length.
    pub total_frames: Option<i64>,
    /// Whether the file lists its frames, so that their number is exact; else it is duration times
    /// rate.
    pub frames_listed: bool,
    /// When the first frame of a file was taken: its time of change less its length, which is what
    /// the reference goes by.
    pub created: Option<Timestamp>,
}

/// Counters and state of a source at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceStats {
    /// What the source is doing.
    pub state: SourceState,
    /// Frames decoded.
    pub frames: i64,
    /// Frames handed on.
    pub delivered: u64,
    /// Frames that were not handed on.
    pub drops: Drops,
    /// Frames that the decoder patched up.
    pub damaged: u64,
    /// Times the source came back.
    pub reconnects: u64,
    /// Attempts since the source last gave a frame.
    pub failed_attempts: u32,
    /// The last error, also after the source came back.
    pub last_error: Option<SourceError>,
    /// Frames per second as they come out of the decoder.
    pub measured_fps: Option<f64>,
    /// Frames per second as the camera sends them; `None` for test pictures and raw cameras, which
    /// have no decoder.
    pub camera_fps: Option<f64>,
    /// Encoded frames that came.
    pub units: u64,
    /// Encoded frames that came before the first key frame of a connection and were not decoded.
    pub skipped_units: u64,
    /// Times the source was lost, by cause.
    pub losses: Losses,
    /// GStreamer's name of the decoder at work.
    pub decoder: Option<String>,
    /// Time since the last frame came.
    pub silent_for: Option<Duration>,
    /// What is known since the first frame.
    pub info: Option<SourceInfo>,
}

impl SourceStats {
    /// What an operator sees of the state.
    pub fn condition(&self) -> Condition {
        Condition::of(self)
    }
}

/// See the module documentation.
pub(crate) struct Shared {
    /// The settings.
    pub spec: SourceSpec,
    /// Identifier of the stream.
    pub identifier: Arc<str>,
    /// Name in errors and logs.
    pub name: Redacted,
    /// The way to the one who takes the frames.
    pub queue: EventQueue,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Decoders that failed, and the one at work.
    pub decoders: Decoders,
    /// When the units in the decoder went in.
    pub decoding: DecodeTimes,
    progress: Mutex<Progress>,
    changed: Condvar,
    live: AtomicBool,
    opened: Instant,
    active_at: AtomicU64,
    /// Frames of the present connection.
    pub connection_frames: AtomicU64,
    /// Encoded frames of the present connection.
    pub connection_units: AtomicU64,
}

/// What changes with frames and connections.
pub(crate) struct Progress {
    pub state: SourceState,
    pub info: Option<SourceInfo>,
    pub frames: i64,
    pub damaged: u64,
    pub reconnects: u64,
    pub failed_attempts: u32,
    pub last_error: Option<SourceError>,
    pub last_arrival: Option<Duration>,
    pub lost_at: Option<Duration>,
    pub units: u64,
    pub skipped_units: u64,
    pub losses: Losses,
    pub timeline: Timeline,
    pub meter: RateMeter,
    pub unit_meter: RateMeter,
    pub thinner: Option<Thinner>,
}

impl Shared {
    /// The common part of a source that was not connected yet.
    pub(crate) fn new(
        spec: SourceSpec,
        identifier: Arc<str>,
        name: Redacted,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let live = spec.uri.is_live();
        let queue = EventQueue::new(spec.policy(live), clock.clone());
        Self {
            queue,
            identifier,
            name,
            clock,
            decoders: Decoders::default(),
            decoding: DecodeTimes::default(),
            progress: Mutex::new(Progress {
                state: SourceState::Connecting,
                info: None,
                frames: 0,
                damaged: 0,
                reconnects: 0,
                failed_attempts: 0,
                last_error: None,
                last_arrival: None,
                lost_at: None,
                units: 0,
                skipped_units: 0,
                losses: Losses::default(),
                timeline: Timeline::new(live),
                meter: RateMeter::default(),
                unit_meter: RateMeter::default(),
                thinner: spec.max_fps.map(Thinner::new),
            }),
            changed: Condvar::new(),
            live: AtomicBool::new(live),
            opened: Instant::now(),
            active_at: AtomicU64::new(0),
            connection_frames: AtomicU64::new(0),
            connection_units: AtomicU64::new(0),
            spec,
        }
    }

    /// What changes with frames and connections.
    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the state and tells those who wait for it.
    pub(crate) fn set_state(&self, state: SourceState) {
        let mut progress = self.progress();
        if progress.state != SourceState::Closed {
            progress.state = state;
        }
        drop(progress);
        self.changed.notify_all();
    }

    /// Whether the source was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.progress().state == SourceState::Closed
    }

    /// Whether frames come by themselves.
    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Relaxed)
    }

    /// Settles whether the source is live, and with it the queue.
    pub(crate) fn settle(&self, live: bool) {
        self.live.store(live, Ordering::Relaxed);
        let staleness = self.spec.staleness.filter(|_| live);
        self.queue.set_policy(self.spec.policy(live), staleness);
    }

    /// Notes that the decoder is at work.
    pub(crate) fn touch(&self) {
        let now = self.opened.elapsed().as_millis() as u64;
        self.active_at.store(now, Ordering::Relaxed);
    }

    /// Time since the decoder was last at work; none while it waits for frames to be taken.
    pub(crate) fn idle(&self) -> Duration {
        if self.queue.producer_waits() {
            self.touch();
        }
        let active = Duration::from_millis(self.active_at.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(active)
    }

    /// Counts an encoded frame.
    pub(crate) fn note_unit(&self) {
        let now = self.clock.monotonic();
        self.connection_units.fetch_add(1, Ordering::Relaxed);
        let mut progress = self.progress();
        progress.units += 1;
        progress.unit_meter.tick(now);
    }

    /// Counts an encoded frame that is not decoded.
    pub(crate) fn note_skipped_unit(&self) {
        self.progress().skipped_units += 1;
    }

    /// A new connection begins.
    pub(crate) fn connect_anew(&self) {
        self.connection_frames.store(0, Ordering::Relaxed);
        self.connection_units.store(0, Ordering::Relaxed);
        self.progress().unit_meter.reset();
        self.touch();
    }

    /// Frames of the present connection.
    pub(crate) fn frames_of_connection(&self) -> i64 {
        self.connection_frames.load(Ordering::Relaxed) as i64
    }

    /// Whether the decoder gets what it needs and gives nothing.
    pub(crate) fn decoder_swallows(&self) -> bool {
        self.connection_units.load(Ordering::Relaxed) >= SWALLOWED
            && self.frames_of_connection() == 0
    }

    /// Gives a decoder up that failed; false if there is nothing to take instead.
    pub(crate) fn give_up_decoder(&self, name: &str) -> bool {
        let given_up = self.decoders.give_up(name);
        if given_up {
            if matches!(self.spec.uri, SourceUri::Http(_)) {
                decoder::rank_last(name);
            }
            tracing::warn!(stream = %self.identifier, decoder = name, "the decoder failed; the next one is taken");
        }
        given_up
    }

    /// Notes a failed attempt, or a loss; true for the first since the last frame.
    pub(crate) fn note_failure(&self, error: &SourceError) -> bool {
        let now = self.clock.monotonic();
        let mut progress = self.progress();
        progress.failed_attempts += 1;
        progress.last_error = Some(error.clone());
        let first = progress.lost_at.is_none();
        if first {
            progress.lost_at = Some(now);
            progress.losses.count_one(Loss::of(error));
        }
        first
    }

    /// Waits until the first frame came, the source ended, or time is up.
    pub(crate) fn wait_ready(&self, timeout: Duration) -> MutexGuard<'_, Progress> {
        self.changed
            .wait_timeout_while(self.progress(), timeout, |progress| {
                progress.info.is_none()
                    && matches!(progress.state, SourceState::Connecting | SourceState::Lost)
            })
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Counters and state now.
    pub(crate) fn stats(&self) -> SourceStats {
        let (delivered, drops) = self.queue.counts();
        let now = self.clock.monotonic();
        let progress = self.progress();
        SourceStats {
            state: progress.state,
            frames: progress.frames,
            delivered,
            drops,
            damaged: progress.damaged,
            reconnects: progress.reconnects,
            failed_attempts: progress.failed_attempts,
            last_error: progress.last_error.clone(),
            measured_fps: progress.meter.rate(),
            camera_fps: progress.unit_meter.rate(),
            units: progress.units,
            skipped_units: progress.skipped_units,
            losses: progress.losses,
            decoder: self.decoders.in_use(),
            silent_for: progress.last_arrival.map(|at| now.saturating_sub(at)),
            info: progress.info.clone(),
        }
    }
}
