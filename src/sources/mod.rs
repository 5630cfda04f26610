//! Where frames come from: recorded files, RTSP and HTTP cameras, attached cameras, test pictures.
//!
//! The contract of every [`Source`]:
//! - **Frames** are numbered from 1, in the order of the stream, over all its connections; a number
//!   that is missing at the receiver was dropped, and its drop is counted with its cause.
//! - **Times** grow from frame to frame and count outages at their real length. The metadata of a
//!   recorded frame tell when it was taken (time of the file), those of a live frame when it came.
//! - **Recorded files** wait for the one who takes the frames and skip none. **Live sources** hold
//!   the newest frame only, and none that is older than the staleness budget.
//! - [`Event::Lost`]: a live source stopped, was silent too long, gave nothing but damaged frames, or
//!   its time stamps stood still; its supervisor brings it back, and [`Event::Recovered`] says so. The
//!   end of a live stream is a loss.
//! - **Waits between attempts** double from [`Reconnect::initial`] to [`Reconnect::max`]. Meanwhile
//!   the port of the source is looked at ([`Reconnect::probe`]): one that answers again is tried at
//!   once, and while it answers no wait is longer than a second, so that a camera that is back gives
//!   frames within two. Only wrong passwords, which lock accounts, have the long waits after ten tries.
//! - **A connection begins with a key frame**; what comes before is not decoded.
//! - [`Event::Ended`]: the last frame was given; a file that gave fewer than it promised has a
//!   [`Ending::warning`]. An `Err` of [`Source::next`] is final too.
//! - **Nothing waits for ever**: [`Source::next`] has its time-out, a silent or stalled source is
//!   found out, and [`Source::close`] returns within two seconds in any state.
//!
//! Pictures stay in the decoder's memory until somebody asks for BGR ([`crate::values::Image`]).

mod address;
mod backoff;
mod chain;
mod decoder;
mod decoding;
mod error;
mod feed;
mod figures;
mod frame;
pub(crate) mod gst;
mod health;
mod inflow;
mod mp4;
mod name;
mod outage;
mod probe;
mod queue;
mod rtsp;
mod running;
mod shared;
mod spec;
mod supervisor;
mod timing;
mod tls;
mod uri;
mod verdict;

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

pub use address::Address;
pub use error::{ErrorOrigin, LostReason, SourceError};
pub use figures::{Condition, Loss, Losses};
pub use frame::{Frame, PictureFormat};
pub use inflow::Inflow;
pub use queue::{DropCause, Drops, Ending, Event};
pub use shared::{SourceInfo, SourceState, SourceStats};
pub use spec::{DecoderOptions, QueuePolicy, Reconnect, RtspOptions, RtspTransport, SourceSpec};
pub use tls::{Fingerprint, TlsOptions};
pub use uri::{CameraFormat, CameraUri, PatternUri, SourceUri};

use crate::clock::{Clock, SystemClock};
use crate::redact::Redacted;
use name::Name;
use queue::Popped;
use shared::Shared;
use supervisor::{Signal, Supervisor};

/// How long [`Source::close`] waits for the pipeline to go. One that takes longer goes by itself.
const CLOSING: Duration = Duration::from_millis(1500);

/// An open source; see the module documentation. Dropping it closes it.
pub struct Source {
    shared: Arc<Shared>,
    signals: Sender<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
    _name: Name,
}

impl Source {
    /// Opens a source and returns at once; the connection is made in the background. Fails only on
    /// what can be seen without connecting: impossible settings, a file or device that is not there.
    pub fn open(spec: SourceSpec) -> Result<Self, SourceError> {
        Self::open_with_clock(spec, Arc::new(SystemClock::default()))
    }

    /// [`Source::open`] with the clock that stamps the frames.
    pub fn open_with_clock(spec: SourceSpec, clock: Arc<dyn Clock>) -> Result<Self, SourceError> {
        spec.check()?;
        let source_name = spec.uri.redacted();
        look_at(&spec.uri, &source_name)?;
        gst::init()?;
        let name = Name::take(spec.video_identifier.clone(), &spec.uri.name());
        let identifier = name.get().clone();
        let shared = Arc::new(Shared::new(spec, identifier, source_name, clock));
        let (signals, received) = crossbeam_channel::bounded(64);
        let supervisor = Supervisor::new(shared.clone(), signals.clone(), received);
        let thread = std::thread::Builder::new()
            .name(format!("source:{}", shared.identifier))
            .spawn(move || supervisor.guarded_run())
            .map_err(chain::internal)?;
        Ok(Self {
            shared,
            signals,
            thread: Mutex::new(Some(thread)),
            _name: name,
        })
    }

    /// Identifier of the stream.
    pub fn video_identifier(&self) -> &Arc<str> {
        &self.shared.identifier
    }

    /// The address in a form that can be shown.
    pub fn name(&self) -> &Redacted {
        &self.shared.name
    }

    /// Takes the next event, waiting for it for `timeout` at most; `None` if none came. An error is
    /// final: the source gives nothing more.
    pub fn next(&self, timeout: Duration) -> Result<Option<Event>, SourceError> {
        match self.shared.queue.pop(timeout) {
            Popped::Event(event) => Ok(Some(event)),
            Popped::Nothing => Ok(None),
            Popped::Failed(error) => Err(error),
            Popped::Closed => Err(self.closed()),
        }
    }

    /// Waits for the first frame, without taking it. When time is up, the error is that of the last
    /// attempt, and the attempts go on.
    pub fn ready(&self, timeout: Duration) -> Result<SourceInfo, SourceError> {
        let progress = self.shared.wait_ready(timeout);
        if progress.state == SourceState::Closed {
            return Err(self.closed());
        }
        match (&progress.info, &progress.last_error) {
            (Some(info), _) => Ok(info.clone()),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err(SourceError::NoFrame {
                source_name: self.shared.name.clone(),
                waited: timeout,
            }),
        }
    }

    /// Whether frames come by themselves; of an HTTP address it is known from its first frame on.
    pub fn is_live(&self) -> bool {
        self.shared.is_live()
    }

    /// Whether frames that nobody takes are dropped, so that the newest is held; else the source waits.
    pub fn keeps_newest(&self) -> bool {
        let policy = self.shared.spec.policy(self.is_live());
        matches!(policy, QueuePolicy::DropOldest { .. })
    }

    /// Age above which its frames are not worth anything any more; `None` for what is recorded.
    pub fn staleness(&self) -> Option<Duration> {
        self.shared.spec.staleness.filter(|_| self.is_live())
    }

    /// Counters and state now.
    pub fn stats(&self) -> SourceStats {
        self.shared.stats()
    }

    /// Closes the source: whoever waits in [`Source::next`] is let go, frames not taken are dropped,
    /// the connection is shut down. Returns within two seconds in any state.
    pub fn close(&self) {
        self.shared.set_state(SourceState::Closed);
        self.shared.queue.close();
        let deadline = Instant::now() + CLOSING;
        let _ = self.signals.send_deadline(Signal::Close, deadline);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(thread) = thread else {
            return;
        };
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                tracing::warn!(stream = %self.shared.identifier, "the pipeline takes long to close and is left to itself");
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = thread.join();
    }

    fn closed(&self) -> SourceError {
        SourceError::Closed {
            source_name: self.shared.name.clone(),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Source({}: {})",
            self.shared.identifier, self.shared.name
        )
    }
}

/// What can be said about a source without connecting.
fn look_at(uri: &SourceUri, name: &Redacted) -> Result<(), SourceError> {
    let SourceUri::File(path) = uri else {
        return Ok(());
    };
    let reason = match unusable_file(path) {
        None => return Ok(()),
        Some(reason) => reason,
    };
    Err(match path.exists() {
        true => SourceError::NotVideo {
            source_name: name.clone(),
            reason,
        },
        false => SourceError::NotFound {
            source_name: name.clone(),
            reason,
            may_appear: false,
        },
    })
}

/// Why a path is no readable file. Nothing but an ordinary file is opened: a pipe would wait for its
/// writer.
fn unusable_file(path: &Path) -> Option<String> {
    let words = |error: std::io::Error| error.to_string().to_lowercase();
    match path.metadata() {
        Err(error) => Some(words(error)),
        Ok(file) if file.is_dir() => Some("it is a directory".to_owned()),
        Ok(file) if !file.is_file() => Some("it is no ordinary file".to_owned()),
        Ok(file) if file.len() == 0 => Some("it is empty".to_owned()),
        Ok(_) => File::open(path).err().map(words),
    }
}
