//! The thread of a session: waits for its client, runs the workflow on the frames, sends what comes
//! of them, and hears what the client says.
//!
//! A result is taken from the stream only when the client can get it: its acknowledgements let it
//! through, the results before it have left, and the encoder keeps up. Until then the stream is held,
//! and with it the source, by whose policy frames wait or are dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, never, select};
use serde_json::{Map, Value as Json, json};

use super::life::{Happening, Life, Phase, Why};
use super::message::{self, FrameFacts, TICKS};
use super::outputs::{self, DataOutput, StreamOutput};
use super::pacing::AckWindow;
use super::peer::{Peer, PeerEvent};
use super::pulse::{Pulse, Sign};
use super::record::{Host, Record};
use super::spec::{Feed, Program, SessionSpec};
use super::upload::Upload;
use crate::blocks::Services;
use crate::sources::{Source, SourceSpec, SourceUri};
use crate::streams::{
    End, FollowSpec, Followed, Follower, FrameResult, Replacement, Stream, StreamSpec,
};

/// How often a session looks around.
const TURN: Duration = Duration::from_millis(50);
/// How often it looks whether the encoder has room.
const SOON: Duration = Duration::from_millis(5);
/// How long the threads of its stream may take to end before they are left to themselves.
const ENDING: Duration = Duration::from_millis(1_000);
/// Share of the buffer that sessions in real time may fill: what waits there only gets older.
const REALTIME_SHARE: u64 = 32;
/// How long the last pictures on the track take to be seen.
const LAST_PICTURES: Duration = Duration::from_millis(300);

/// See the module documentation.
pub(super) struct Session {
    host: Arc<Host>,
    record: Arc<Record>,
    spec: SessionSpec,
    peer: Peer,
    program: Option<Program>,
    source: Option<Source>,
    /// The upload that is played; its file goes with it.
    upload: Option<Upload>,
    running: Option<(Stream, Option<Follower>)>,
    life: Life,
    pulse: Pulse,
    window: AckWindow,
    stream_output: Option<StreamOutput>,
    data_output: DataOutput,
    /// Messages that did not leave yet.
    waiting: VecDeque<Vec<u8>>,
    /// Results so far.
    sent: u64,
    /// Time of the first result.
    first: Option<Duration>,
    shown_at: Duration,
    pieces: u64,
    farewell: bool,
    told_to_stop: bool,
    /// Whether the log has a message that makes no sense.
    puzzled: bool,
}

impl Session {
    pub(super) fn new(
        host: Arc<Host>,
        record: Arc<Record>,
        spec: SessionSpec,
        peer: Peer,
        program: Program,
        source: Option<Source>,
        offers_channel: bool,
    ) -> Self {
        let now = host.services.clock.monotonic();
        let settings = &host.settings;
        let life = Life::new(now, settings.connect, spec.timeout.map(|time| now + time))
            .with_channel(offers_channel)
            .with_upload(spec.feed == Feed::Upload);
        Self {
            window: AckWindow::new(settings.ack_window, spec.realtime),
            // Without a track in the offer there is nowhere to show pictures.
            stream_output: spec.stream_output.clone().filter(|_| peer.film.is_some()),
            data_output: spec.data_output.clone(),
            life,
            pulse: Pulse::new(now, settings.silence),
            host,
            record,
            spec,
            peer,
            program: Some(program),
            source,
            upload: None,
            running: None,
            waiting: VecDeque::new(),
            sent: 0,
            first: None,
            shown_at: now,
            pieces: 0,
            farewell: false,
            told_to_stop: false,
            puzzled: false,
        }
    }

    fn now(&self) -> Duration {
        self.host.services.clock.monotonic()
    }

    fn note(&mut self, happening: Happening) {
        let now = self.now();
        self.life.note(happening, now);
    }

    pub(super) fn run(mut self) {
        while self.life.phase() != Phase::Over {
            self.turn();
        }
        let why = self.life.why();
        tracing::info!(session = %self.record.id, results = self.sent, ?why, "a WebRTC session is over");
        self.end_stream();
    }

    fn turn(&mut self) {
        let now = self.now();
        self.life.look(now);
        self.feel_pulse(now);
        self.record.set_phase(self.life.phase());
        if self.peer.pieces() != self.pieces {
            self.pieces = self.peer.pieces();
            self.note(Happening::UploadGrew);
        }
        match self.life.phase() {
            Phase::Running if self.running.is_none() => self.begin(),
            Phase::Draining => self.say_farewell(),
            _ => {}
        }
        self.flush();
        let nothing = never();
        let held = self.is_held();
        let results: Receiver<FrameResult> = match &self.running {
            Some((stream, _)) if self.life.phase() == Phase::Running && !held => {
                stream.results().clone()
            }
            _ => never(),
        };
        let stop = match self.told_to_stop {
            true => &nothing,
            false => self.record.stop.told(),
        };
        let encodes = self.peer.film.as_ref().is_some_and(|film| !film.has_room());
        let turn = match (encodes, held && self.peer.buffered() > 0) {
            (true, _) => SOON,
            (_, true) => self.host.settings.drain_delay,
            // The client's word wakes the session.
            _ => TURN,
        };
        select! {
            recv(results) -> result => match result {
                Ok(result) => self.take(&result),
                Err(_) => self.ended(),
            },
            recv(self.peer.events()) -> event => {
                if let Ok(event) = event {
                    self.hear(event);
                }
            }
            recv(stop) -> _ => {
                self.told_to_stop = true;
                self.note(Happening::Finish(Why::Stopped));
            }
            default(turn) => {}
        }
    }

    /// Looks whether the client is still there.
    fn feel_pulse(&mut self, now: Duration) {
        match self.pulse.look(self.peer.heard(), now) {
            Sign::Ask if self.peer.ask() => self.pulse.asked(),
            Sign::Well | Sign::Ask => {}
            Sign::Gone => self.hear(PeerEvent::Gone("the client answers no more")),
        }
    }

    /// Whether the next result has to wait.
    fn is_held(&self) -> bool {
        let film = self.peer.film.as_ref();
        !self.waiting.is_empty()
            || !self.window.lets(self.sent + 1)
            || self.peer.buffered() > self.most_buffered()
            || film.is_some_and(|film| !film.has_room())
    }

    /// Bytes that may wait in the channel before the next result.
    fn most_buffered(&self) -> u64 {
        let limit = self.host.settings.buffer_bytes;
        match self.spec.realtime {
            true => limit / REALTIME_SHARE,
            false => limit,
        }
    }

    /// Starts the stream.
    fn begin(&mut self) {
        if let Err(reason) = self.try_begin() {
            self.fail(&reason);
        }
    }

    fn try_begin(&mut self) -> Result<(), String> {
        let Some(program) = self.program.take() else {
            return Ok(());
        };
        let source = match self.source.take() {
            Some(source) => source,
            None => self.open_upload()?,
        };
        let follow = program.is_followed().then(|| FollowSpec {
            store: self.host.store.clone(),
            key: program.key.clone(),
            api_key: program.services.api_key.clone(),
            running: program.fetched.clone(),
            provenance: program.provenance.clone(),
            plan: program.engine.plan().clone(),
            parameters: self.spec.parameters.clone(),
            image_input: self.spec.image_input.clone(),
            canary: None,
        });
        let stream = Stream::start(StreamSpec {
            source,
            definition: Replacement {
                engine: program.engine,
                provenance: program.provenance,
                image_input: self.spec.image_input.clone(),
            },
            parameters: self.spec.parameters.clone(),
            clock: program.services.clock.clone(),
        })
        .map_err(|error| format!("the machine refuses a thread: {error}"))?;
        self.record.set_figures(stream.figures().clone());
        let follower = follow.and_then(|follow| self.follow(follow, &stream, program.services));
        self.running = Some((stream, follower));
        Ok(())
    }

    /// Has new content of the definition reach the stream.
    fn follow(&self, spec: FollowSpec, stream: &Stream, services: Services) -> Option<Follower> {
        match Follower::start(spec) {
            Ok(follower) => {
                follower.add(Followed {
                    name: self.record.id.to_string(),
                    control: stream.control(),
                    services,
                });
                Some(follower)
            }
            Err(error) => {
                tracing::error!(session = %self.record.id, "the definition is not followed: {error}");
                None
            }
        }
    }

    fn open_upload(&mut self) -> Result<Source, String> {
        let upload = self
            .peer
            .take_upload()
            .ok_or_else(|| "there is no video to play".to_owned())?;
        let mut spec = SourceSpec::new(SourceUri::File(upload.path().to_owned()));
        spec.video_identifier = Some(self.record.id.clone());
        spec.realtime = self.spec.realtime;
        self.upload = Some(upload);
        let clock = self.host.services.clock.clone();
        Source::open_with_clock(spec, clock).map_err(|error| error.to_string())
    }

    /// Hears what happens on the connection.
    fn hear(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Connected => self.note(Happening::Connected),
            PeerEvent::ChannelOpen => self.note(Happening::ChannelOpen),
            PeerEvent::Gone(how) => {
                tracing::debug!(session = %self.record.id, "{how}");
                self.note(Happening::PeerGone);
            }
            PeerEvent::ChannelClosed => {
                tracing::debug!(session = %self.record.id, "the client closed the channel of results");
                self.note(Happening::PeerGone);
            }
            PeerEvent::Text(text) => self.obey(&text),
            PeerEvent::Uploaded => self.note(Happening::Uploaded),
            PeerEvent::UploadFailed(error) => self.fail(&error.to_string()),
            PeerEvent::TrackFailed(error) => self.fail(&error.to_string()),
            // A client that closes takes the ground away under what is being sent.
            PeerEvent::Failed(reason) if self.life.phase() != Phase::Running => {
                tracing::debug!(session = %self.record.id, "{reason}");
            }
            PeerEvent::Failed(reason) => self.fail(&reason),
        }
    }

    /// Does what the client says.
    fn obey(&mut self, text: &str) {
        let control = match message::control(text) {
            Ok(control) => control,
            Err(error) => return self.be_puzzled(&format!("a message is left unheard: {error}")),
        };
        if let Some(frame) = control.ack {
            self.window.acknowledge(frame, self.sent);
        }
        if let Some(names) = control.stream_output {
            match self.stream_output.is_some() {
                true => self.stream_output = Some(StreamOutput::of_change(&names)),
                false => self.be_puzzled("it has no track on which an output could be shown"),
            }
        }
        if let Some(names) = control.data_output {
            self.data_output = DataOutput::of(Some(&names));
        }
    }

    /// Tells the log what the client gets wrong, the first time only: a client may go on for ever.
    fn be_puzzled(&mut self, by: &str) {
        match std::mem::replace(&mut self.puzzled, true) {
            false => tracing::warn!(session = %self.record.id, "{by}; further ones are not told"),
            true => tracing::debug!(session = %self.record.id, "{by}"),
        }
    }

    /// Sends a result.
    fn take(&mut self, result: &FrameResult) {
        self.sent += 1;
        self.record.count_result();
        let time = result.frame.time;
        let time = time.saturating_sub(*self.first.get_or_insert(time));
        let now = self.host.services.clock.now();
        let settings = &self.host.settings;
        let told = outputs::tell(
            result,
            self.stream_output.as_ref(),
            &self.data_output,
            settings.jpeg_quality,
            now,
        );
        let video = &result.frame.video;
        let declared = match self.spec.feed {
            Feed::Upload => video.fps,
            _ => self.spec.declared_fps,
        };
        let facts = FrameFacts {
            id: self.sent,
            received_at: result.frame.arrived_at,
            pts: ticks(time),
            declared_fps: declared,
            measured_fps: video.measured_fps,
            size: (result.frame.image.width(), result.frame.image.height()),
        };
        let own = Map::from_iter([
            (
                "definition".to_owned(),
                result.generation.provenance.to_json(now),
            ),
            ("frame_number".to_owned(), json!(video.frame_number)),
            (
                "latency_ms".to_owned(),
                json!((result.latency.as_secs_f64() * 1e5).round() / 100.0),
            ),
        ]);
        let has_data = self.data_output != DataOutput::Nothing;
        let message = message::frame(&facts, told.data, &told.errors, own);
        self.queue(self.sent, &message, has_data && self.host.settings.gzip);
        if let (Some(film), Some(picture)) = (&mut self.peer.film, told.picture) {
            if let Err(flow) = film.push(&picture.bgr(), time) {
                self.fail(&format!("the track broke off ({flow})"));
            }
            self.shown_at = self.now();
        }
        self.flush();
    }

    /// Puts a message among those that wait, if there is a channel for it.
    fn queue(&mut self, frame: u64, message: &Json, packed: bool) {
        if !self.peer.is_open() {
            return;
        }
        let mut bytes = message.to_string().into_bytes();
        if packed {
            bytes = message::gzip(&bytes);
        }
        self.waiting.extend(message::chunks(frame as u32, &bytes));
    }

    /// Hands waiting messages to the channel, as far as its buffer goes.
    fn flush(&mut self) {
        while !self.waiting.is_empty() && self.peer.buffered() <= self.host.settings.buffer_bytes {
            let Some(message) = self.waiting.pop_front() else {
                return;
            };
            if let Err(error) = self.peer.send(message) {
                tracing::debug!(session = %self.record.id, error, "the channel of results is closed");
                self.waiting.clear();
                return;
            }
        }
    }

    /// No result comes any more.
    fn ended(&mut self) {
        let Some((stream, follower)) = self.running.take() else {
            return;
        };
        if let Some(follower) = follower {
            follower.detach();
        }
        match stream.join() {
            End::Source(None) | End::Stopped => {}
            End::Source(Some(warning)) => self.tell_error(&warning),
            End::Failed(error) => return self.fail(&error.to_string()),
        }
        self.note(Happening::Finish(Why::Complete));
    }

    /// Something failed for good; the client is told as of a frame, which every client reads.
    fn fail(&mut self, reason: &str) {
        tracing::warn!(session = %self.record.id, "{reason}");
        self.tell_error(reason);
        self.note(Happening::Finish(Why::Failed));
    }

    fn tell_error(&mut self, reason: &str) {
        let facts = FrameFacts {
            id: self.sent + 1,
            received_at: self.host.services.clock.now(),
            pts: 0,
            declared_fps: None,
            measured_fps: None,
            size: (0, 0),
        };
        let message = message::frame(&facts, None, &[reason.to_owned()], Map::new());
        self.queue(self.sent + 1, &message, false);
    }

    /// Tells the client that nothing comes any more, once the last picture was seen.
    fn say_farewell(&mut self) {
        let why = self.life.why();
        let shown = self.now().saturating_sub(self.shown_at);
        let pictures = self.peer.film.is_some() && why == Some(Why::Complete);
        if !self.farewell && (!pictures || shown >= LAST_PICTURES) {
            self.farewell = true;
            if let Some((stream, _)) = &self.running {
                stream.control().stop();
            }
            let now = self.host.services.clock.now();
            let reason = why.and_then(Why::reason);
            let message = message::complete(self.sent, now, reason, &[]);
            // The number that follows the last frame's, and that of an error behind it.
            self.queue(self.sent + 2, &message, false);
            self.flush();
        }
        if self.farewell && self.waiting.is_empty() && self.peer.buffered() == 0 {
            self.note(Happening::Told);
        }
    }

    fn end_stream(&mut self) {
        let Some((stream, follower)) = self.running.take() else {
            return;
        };
        if let Some(follower) = follower {
            follower.detach();
        }
        if stream.end(ENDING).is_err() {
            tracing::error!(session = %self.record.id, "a thread of the stream is stuck in a block and is left to itself; it ends when the block returns");
        }
    }
}

/// A time in ticks of the RTP clock.
fn ticks(time: Duration) -> u64 {
    let ticks = time.as_nanos() * u128::from(TICKS) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_ticks_of_the_rtp_clock() {
        assert_eq!(ticks(Duration::ZERO), 0);
        assert_eq!(ticks(Duration::from_millis(40)), 3_600);
        assert_eq!(ticks(Duration::from_secs(3_600)), 324_000_000);
    }
}
