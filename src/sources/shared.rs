//! What the threads of one source have in common: its decoder thread, its supervisor, and whoever
//! takes the frames.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::queue::EventQueue;
use super::timing::{RateMeter, Thinner, Timeline};
use super::{Drops, PictureFormat, SourceError, SourceSpec};
use crate::clock::Clock;
use crate::redact::Redacted;
use crate::values::Timestamp;

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
    /// Frames per second as they arrive.
    pub measured_fps: Option<f64>,
    /// Time since the last frame came.
    pub silent_for: Option<Duration>,
    /// What is known since the first frame.
    pub info: Option<SourceInfo>,
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
    progress: Mutex<Progress>,
    changed: Condvar,
    live: AtomicBool,
    opened: Instant,
    active_at: AtomicU64,
    /// Frames of the present connection.
    pub connection_frames: AtomicU64,
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
    pub timeline: Timeline,
    pub meter: RateMeter,
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
                timeline: Timeline::new(live),
                meter: RateMeter::default(),
                thinner: spec.max_fps.map(Thinner::new),
            }),
            changed: Condvar::new(),
            live: AtomicBool::new(live),
            opened: Instant::now(),
            active_at: AtomicU64::new(0),
            connection_frames: AtomicU64::new(0),
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
            silent_for: progress.last_arrival.map(|at| now.saturating_sub(at)),
            info: progress.info.clone(),
        }
    }
}

/// Names of open sources, so that a name made up for a new one is not yet taken.
static NAMES: Mutex<BTreeMap<Arc<str>, usize>> = Mutex::new(BTreeMap::new());

/// A name in use; free again when dropped.
#[derive(Debug)]
pub(crate) struct Name(Arc<str>);

impl Name {
    /// The given name as it is, or one made from `base` that no open source has.
    pub(crate) fn take(given: Option<Arc<str>>, base: &str) -> Self {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        let name = given.unwrap_or_else(|| {
            let free = |name: &String| !names.contains_key(name.as_str());
            let numbered = (2u32..).map(|n| format!("{base}#{n}"));
            std::iter::once(base.to_owned())
                .chain(numbered)
                .find(free)
                .unwrap_or_else(|| base.to_owned())
                .into()
        });
        *names.entry(name.clone()).or_default() += 1;
        Self(name)
    }

    /// The name.
    pub(crate) fn get(&self) -> &Arc<str> {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = names.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                names.remove(&self.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_names_are_unique_and_given_ones_stay() {
        let first = Name::take(None, "yard.mp4");
        let second = Name::take(None, "yard.mp4");
        assert_eq!(&**first.get(), "yard.mp4");
        assert_eq!(&**second.get(), "yard.mp4#2");
        let given = Name::take(Some("yard.mp4".into()), "x");
        assert_eq!(given.get(), first.get());
        drop(first);
        assert_eq!(&**Name::take(None, "yard.mp4").get(), "yard.mp4#3");
        drop(given);
        assert_eq!(&**Name::take(None, "yard.mp4").get(), "yard.mp4");
    }
}
