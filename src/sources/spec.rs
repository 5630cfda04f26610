//! What to open and how: the settings of one source.

use std::sync::Arc;
use std::time::Duration;

use super::{SourceError, SourceUri, TlsOptions};

/// One source to open. [`SourceSpec::new`] has the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSpec {
    /// Where the frames come from.
    pub uri: SourceUri,
    /// Identifier of the stream; without one, a name that is unique in the process is made from the
    /// address.
    pub video_identifier: Option<Arc<str>>,
    /// Whether a recorded file plays at its own speed instead of as fast as frames are taken.
    pub realtime: bool,
    /// Most frames per second to hand on; the others are dropped, evenly.
    pub max_fps: Option<f64>,
    /// What happens when frames are not taken; without one, [`QueuePolicy::FILE`] for recorded files
    /// and [`QueuePolicy::LIVE`] for the rest.
    pub queue: Option<QueuePolicy>,
    /// Age above which a waiting frame of a live source is dropped instead of handed on.
    pub staleness: Option<Duration>,
    /// The decoder.
    pub decoder: DecoderOptions,
    /// The RTSP connection.
    pub rtsp: RtspOptions,
    /// Whether certificates of `rtsps` and `https` sources are checked. Cameras usually sign their own.
    pub check_certificate: bool,
    /// Whether the redirects of `http` and `https` sources are followed.
    pub follow_redirects: bool,
    /// Which certificates of `rtsps` and `https` sources are trusted besides those that the machine
    /// trusts.
    pub tls: TlsOptions,
    /// When a live source counts as lost, and how it is brought back.
    pub reconnect: Reconnect,
    /// How long a recorded file may make no progress before it counts as stalled.
    pub stall: Duration,
}

/// What happens to frames that nobody takes in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueuePolicy {
    /// The source waits; no frame is lost.
    Wait {
        /// Frames held ready.
        capacity: usize,
    },
    /// The oldest waiting frame makes room for the newest.
    DropOldest {
        /// Frames held ready.
        capacity: usize,
    },
}

/// How frames are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderOptions {
    /// Threads of the decoder, 0 for as many as it likes. More than one adds latency.
    pub threads: u32,
}

/// How an RTSP stream is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtspOptions {
    /// The way of the packets.
    pub transport: RtspTransport,
    /// How long packets wait for those that were overtaken.
    pub latency: Duration,
}

/// The way of RTP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtspTransport {
    /// TCP, and UDP if the server refuses that.
    Auto,
    /// TCP only.
    Tcp,
    /// UDP only.
    Udp,
    /// TCP inside two HTTP connections, for ways that let only HTTP through.
    Http,
}

impl RtspTransport {
    /// Every way, the default first.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Tcp, Self::Udp, Self::Http];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
        }
    }
}

impl std::str::FromStr for RtspTransport {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let named = Self::ALL.into_iter().find(|t| t.name() == text);
        named.ok_or_else(|| SourceError::Option {
            option: "rtsp transport",
            reason: "it is auto, tcp, udp or http".to_owned(),
        })
    }
}

/// When a live source counts as lost, and how it is brought back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reconnect {
    /// Wait before the first new attempt; doubles with each one that fails, ±20 %.
    pub initial: Duration,
    /// Longest wait between attempts.
    pub max: Duration,
    /// Failed attempts in a row after which the source gives up; `None` never does.
    pub attempts: Option<u32>,
    /// Silence after which a running source counts as lost.
    pub silence: Duration,
    /// How long a new connection may take to its first frame.
    pub connect: Duration,
    /// How often a lost source is looked for during a wait, which ends early when its port answers
    /// ([`super`] says how early). `None` waits to the end each time.
    pub probe: Option<Duration>,
}

impl std::fmt::Display for Reconnect {
    /// What happens to a source that was lost.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let most = self.max.as_secs_f64();
        write!(f, "it is tried again until it is back")?;
        match (self.probe, self.attempts) {
            (_, Some(1)) => write!(f, ", once"),
            (_, Some(attempts)) => write!(f, ", {attempts} times at most"),
            (Some(_), None) => write!(
                f,
                ", at once when its port answers, else at least every {most} s"
            ),
            (None, None) => write!(f, ", at least every {most} s"),
        }
    }
}

impl QueuePolicy {
    /// For recorded files: four frames ahead, none lost.
    pub const FILE: Self = Self::Wait { capacity: 4 };
    /// For live sources: the newest frame only.
    pub const LIVE: Self = Self::DropOldest { capacity: 1 };

    /// Frames held ready.
    pub fn capacity(self) -> usize {
        match self {
            Self::Wait { capacity } | Self::DropOldest { capacity } => capacity,
        }
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            max: Duration::from_secs(30),
            attempts: None,
            silence: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            probe: Some(Duration::from_millis(500)),
        }
    }
}

impl SourceSpec {
    /// The source with the default settings.
    pub fn new(uri: SourceUri) -> Self {
        Self {
            uri,
            video_identifier: None,
            realtime: false,
            max_fps: None,
            queue: None,
            staleness: Some(Duration::from_millis(500)),
            decoder: DecoderOptions { threads: 1 },
            rtsp: RtspOptions {
                transport: RtspTransport::Auto,
                latency: Duration::from_millis(100),
            },
            check_certificate: true,
            follow_redirects: true,
            tls: TlsOptions::default(),
            reconnect: Reconnect::default(),
            stall: Duration::from_secs(30),
        }
    }

    /// The queue policy for a source that turned out to be live or recorded.
    pub(crate) fn policy(&self, live: bool) -> QueuePolicy {
        self.queue.unwrap_or(if live {
            QueuePolicy::LIVE
        } else {
            QueuePolicy::FILE
        })
    }

    /// Rejects settings that make no sense.
    pub(crate) fn check(&self) -> Result<(), SourceError> {
        let wrong = |option, reason: &str| {
            Err(SourceError::Option {
                option,
                reason: reason.to_owned(),
            })
        };
        if self
            .max_fps
            .is_some_and(|fps| !(fps.is_finite() && fps > 0.0))
        {
            return wrong("max_fps", "it is a number above 0");
        }
        if self.queue.is_some_and(|queue| queue.capacity() == 0) {
            return wrong("queue", "it holds at least one frame");
        }
        if self.reconnect.attempts == Some(0) {
            return wrong("attempts", "it is at least 1");
        }
        if self.tls.pin.is_some() && !matches!(self.uri, SourceUri::Rtsp(_)) {
            return wrong(
                "pin",
                "a certificate can be pinned for rtsps only; give its CA",
            );
        }
        if self.tls.ca.as_deref().is_some_and(|ca| !ca.is_file()) {
            return wrong("ca", "it is a PEM file with certificates");
        }
        if self.reconnect.probe.is_some_and(|every| every.is_zero()) {
            return wrong("reconnect.probe", "it is a time above 0");
        }
        let waits = [
            ("reconnect.initial", self.reconnect.initial),
            ("reconnect.silence", self.reconnect.silence),
            ("reconnect.connect", self.reconnect.connect),
            ("stall", self.stall),
        ];
        match waits.iter().find(|(_, wait)| wait.is_zero()) {
            Some((option, _)) => wrong(option, "it is a time above 0"),
            None => Ok(()),
        }
    }
}
