//! The phases of a session and what ends each of them, without threads and without a clock.
//!
//! ```text
//! Connecting ──► Uploading ──► Running ──► Draining ──► Over
//!      └──────── (no upload) ────┘ └── peer gone, stopped ──┘
//! ```
//!
//! Every phase has a limit: the client connects, and an upload goes on, within the time for
//! connecting; the session runs for its own time at most; what is left is sent within
//! [`FAREWELL`], and the client has [`PATIENCE`] to close after that.

use std::time::Duration;

/// How long the last message may take to leave.
pub const FAREWELL: Duration = Duration::from_secs(2);
/// The same for a session that was told to end: it is gone within two seconds.
pub const CURT: Duration = Duration::from_millis(300);
/// How long frames wait for a channel of results once the client is connected.
pub const CHANNEL: Duration = Duration::from_secs(5);
/// How long a client that has everything may take to close.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The client does not talk yet.
    Connecting,
    /// The video comes in.
    Uploading,
    /// Frames are run.
    Running,
    /// No frame comes any more; the client is told and closes.
    Draining,
    /// The session is over.
    Over,
}

impl Phase {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Uploading => "uploading",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Over => "over",
        }
    }
}

/// Why a session stops running frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The source ended.
    Complete,
    /// Its time is up.
    Timeout,
    /// The client never connected.
    NeverConnected,
    /// The upload stopped.
    UploadStalled,
    /// The client closed the connection, or is gone.
    PeerGone,
    /// It was told to end.
    Stopped,
    /// Something failed.
    Failed,
}

impl Why {
    /// `termination_reason` of the last message. The name of the time-out is the reference's.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Complete => None,
            Self::Timeout => Some("timeout_reached"),
            Self::NeverConnected => Some("never_connected"),
            Self::UploadStalled => Some("upload_stalled"),
            Self::PeerGone => Some("peer_gone"),
            Self::Stopped => Some("terminated"),
            Self::Failed => Some("failed"),
        }
    }

    /// Whether the client is still there to be told.
    fn can_be_told(self) -> bool {
        !matches!(self, Self::PeerGone | Self::NeverConnected)
    }
}

/// What happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The connection stands.
    Connected,
    /// The channel of results is open.
    ChannelOpen,
    /// A piece of the upload came.
    UploadGrew,
    /// The upload is complete.
    Uploaded,
    /// No frame comes any more, or shall.
    Finish(Why),
    /// The last message is sent, or cannot be.
    Told,
    /// The client is gone.
    PeerGone,
}

/// The life of one session.
#[derive(Clone, Debug)]
pub struct Life {
    phase: Phase,
    why: Option<Why>,
    /// Since when the client is connected.
    connected: Option<Duration>,
    channel: bool,
    needs_channel: bool,
    needs_upload: bool,
    told: bool,
    /// When it entered its phase, or made progress in it.
    since: Duration,
    connect: Duration,
    until: Option<Duration>,
}

impl Life {
    /// A session that begins at `now`. It waits `connect` for its client; `until` is when its time
    /// is up.
    pub fn new(now: Duration, connect: Duration, until: Option<Duration>) -> Self {
        Self {
            phase: Phase::Connecting,
            why: None,
            connected: None,
            channel: false,
            needs_channel: false,
            needs_upload: false,
            told: false,
            since: now,
            connect,
            until,
        }
    }

    /// The client will open a channel for results; frames wait for it.
    pub fn with_channel(mut self, offered: bool) -> Self {
        self.needs_channel = offered;
        self
    }

    /// The client will upload a video.
    pub fn with_upload(mut self, upload: bool) -> Self {
        self.needs_upload = upload;
        self
    }

    /// What it is doing.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Why it no longer runs.
    pub fn why(&self) -> Option<Why> {
        self.why
    }

    /// Takes note of what happened at `now`.
    pub fn note(&mut self, happening: Happening, now: Duration) {
        match happening {
            Happening::Connected => {
                self.connected.get_or_insert(now);
            }
            // A channel that is open has a connection below it.
            Happening::ChannelOpen => {
                self.connected.get_or_insert(now);
                self.channel = true;
            }
            Happening::UploadGrew if self.phase == Phase::Uploading => self.since = now,
            Happening::UploadGrew => {}
            Happening::Uploaded => self.needs_upload = false,
            Happening::Finish(why) => return self.finish(why, now),
            Happening::Told if self.phase == Phase::Draining && !self.told => {
                (self.told, self.since) = (true, now);
                return;
            }
            Happening::Told => {}
            Happening::PeerGone => {
                self.finish(Why::PeerGone, now);
                return self.enter(Phase::Over, now);
            }
        }
        self.advance(now);
    }

    fn advance(&mut self, now: Duration) {
        let alone = |since: Duration| now.saturating_sub(since) >= CHANNEL;
        let ready = self
            .connected
            .is_some_and(|since| self.channel || !self.needs_channel || alone(since));
        match self.phase {
            Phase::Connecting if ready && self.needs_upload => self.enter(Phase::Uploading, now),
            Phase::Connecting if ready => self.enter(Phase::Running, now),
            Phase::Uploading if !self.needs_upload => self.enter(Phase::Running, now),
            _ => {}
        }
    }

    /// Ends the phase whose limit has passed.
    pub fn look(&mut self, now: Duration) {
        self.advance(now);
        let waited = now.saturating_sub(self.since);
        let out_of_time = self.until.is_some_and(|until| now >= until);
        match self.phase {
            Phase::Connecting if waited >= self.connect => self.finish(Why::NeverConnected, now),
            Phase::Connecting | Phase::Uploading | Phase::Running if out_of_time => {
                self.finish(Why::Timeout, now);
            }
            Phase::Uploading if waited >= self.connect => self.finish(Why::UploadStalled, now),
            Phase::Draining => {
                let patience = match (self.told, self.why) {
                    (false, Some(Why::Stopped)) => CURT,
                    (false, _) => FAREWELL,
                    // Who is cut off has nothing left to do.
                    (true, Some(Why::Complete)) => PATIENCE,
                    (true, _) => Duration::ZERO,
                };
                if waited >= patience {
                    self.enter(Phase::Over, now);
                }
            }
            _ => {}
        }
    }

    fn finish(&mut self, why: Why, now: Duration) {
        if matches!(self.phase, Phase::Draining | Phase::Over) {
            return;
        }
        self.why = Some(why);
        let told = self.connected.is_some() && why.can_be_told();
        self.enter(if told { Phase::Draining } else { Phase::Over }, now);
    }

    fn enter(&mut self, phase: Phase, now: Duration) {
        (self.phase, self.since) = (phase, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn life() -> Life {
        let until = Some(SECOND * 100);
        Life::new(Duration::ZERO, SECOND * 7, until).with_channel(true)
    }

    #[test]
    fn frames_run_once_client_and_channel_are_there() {
        let mut life = life();
        life.note(Happening::Connected, SECOND);
        assert_eq!(life.phase(), Phase::Connecting);
        life.note(Happening::ChannelOpen, SECOND);
        assert_eq!(life.phase(), Phase::Running);
        // A client may bring channels of another kind only.
        let mut other = self::life();
        other.note(Happening::Connected, SECOND);
        other.look(SECOND + CHANNEL);
        assert_eq!(other.phase(), Phase::Running);
        let mut without = Life::new(Duration::ZERO, SECOND, None);
        without.note(Happening::Connected, SECOND);
        assert_eq!(without.phase(), Phase::Running);
    }

    #[test]
    fn an_upload_is_waited_for_while_it_goes_on() {
        let mut life = life().with_upload(true);
        life.note(Happening::ChannelOpen, SECOND);
        assert_eq!(life.phase(), Phase::Uploading);
        for second in 2..10 {
            life.note(Happening::UploadGrew, SECOND * second);
            life.look(SECOND * second);
        }
        assert_eq!(life.phase(), Phase::Uploading);
        let mut stalled = life.clone();
        stalled.look(SECOND * 16);
        assert_eq!(stalled.why(), Some(Why::UploadStalled));
        assert_eq!(stalled.phase(), Phase::Draining);
        life.note(Happening::Uploaded, SECOND * 10);
        assert_eq!(life.phase(), Phase::Running);
        // A quick client may be done before the connection is said to stand.
        let mut quick = self::life().with_upload(true);
        quick.note(Happening::Uploaded, SECOND);
        quick.note(Happening::ChannelOpen, SECOND);
        assert_eq!(quick.phase(), Phase::Running);
    }

    #[test]
    fn a_client_that_never_comes_is_not_waited_for_long() {
        let mut life = life();
        life.look(SECOND * 6);
        assert_eq!(life.phase(), Phase::Connecting);
        life.look(SECOND * 7);
        assert_eq!(
            (life.phase(), life.why()),
            (Phase::Over, Some(Why::NeverConnected))
        );
    }

    #[test]
    fn the_end_is_told_and_the_client_has_a_while_to_close() {
        let mut life = life();
        life.note(Happening::ChannelOpen, SECOND);
        life.note(Happening::Finish(Why::Complete), SECOND * 2);
        assert_eq!(life.phase(), Phase::Draining);
        let mut deaf = life.clone();
        deaf.look(SECOND * 2 + FAREWELL);
        assert_eq!(deaf.phase(), Phase::Over);
        life.note(Happening::Told, SECOND * 3);
        life.look(SECOND * 2 + FAREWELL);
        assert_eq!(life.phase(), Phase::Draining);
        life.look(SECOND * 3 + PATIENCE);
        assert_eq!(
            (life.phase(), life.why()),
            (Phase::Over, Some(Why::Complete))
        );
    }

    #[test]
    fn time_out_and_stop_are_told_and_then_over_at_once() {
        for why in [Why::Timeout, Why::Stopped] {
            let mut life = life();
            life.note(Happening::ChannelOpen, SECOND);
            match why {
                Why::Timeout => life.look(SECOND * 100),
                _ => life.note(Happening::Finish(why), SECOND * 100),
            }
            assert_eq!((life.phase(), life.why()), (Phase::Draining, Some(why)));
            life.note(Happening::Told, SECOND * 100);
            life.look(SECOND * 100);
            assert_eq!(life.phase(), Phase::Over);
        }
        assert_eq!(Why::Timeout.reason(), Some("timeout_reached"));
        assert_eq!(Why::Complete.reason(), None);
    }

    #[test]
    fn a_client_that_goes_ends_every_phase_and_the_first_reason_stays() {
        let mut life = life();
        life.note(Happening::PeerGone, SECOND);
        assert_eq!(
            (life.phase(), life.why()),
            (Phase::Over, Some(Why::PeerGone))
        );
        let mut done = self::life();
        done.note(Happening::ChannelOpen, SECOND);
        done.note(Happening::Finish(Why::Complete), SECOND);
        done.note(Happening::PeerGone, SECOND);
        assert_eq!(
            (done.phase(), done.why()),
            (Phase::Over, Some(Why::Complete))
        );
    }
}
