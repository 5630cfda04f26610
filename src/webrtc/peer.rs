//! The connection to one client: GStreamer's `webrtcbin` in a pipeline of its own.
//!
//! [`Peer::answer`] takes an offer and waits a bounded time for the answer; after that the connection
//! lives by itself and tells the session what happens ([`PeerEvent`]). Callbacks run in threads of
//! GStreamer: they hold nothing of the pipeline strongly, wait for nothing, and write uploads to disk.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use gst_webrtc::{WebRTCDataChannel, WebRTCDataChannelState, WebRTCPeerConnectionState};
use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_webrtc as gst_webrtc;

use super::WebrtcError;
use super::film::{Film, make};
use super::ice::{self, IceServer};
use super::offer::{Offer, Payload};
use super::pulse::{Heard, Questions};
use super::track::{agree_on, bound_streams, caps_of, is_video, swallow};
use super::upload::{Upload, UploadError};
use crate::network::PlatformPlaces;
use crate::sources::{Inflow, SourceError};

/// How long each step of the negotiation may take.
const STEP: Duration = Duration::from_secs(15);
/// How long addresses are gathered; those that take longer are not told.
const GATHERING: Duration = Duration::from_secs(2);
/// How long the shut-down of the pipeline is waited for. One that takes longer goes by itself.
const SHUTDOWN: Duration = Duration::from_millis(400);
/// Events that may wait for the session.
const EVENTS: usize = 1_024;
/// How long packets wait for those that were overtaken, ms.
const LATENCY: u32 = 100;

/// What happens on a connection.
#[derive(Debug)]
pub enum PeerEvent {
    /// It stands.
    Connected,
    /// The client closed it or is gone.
    Gone(&'static str),
    /// The channel of results is open.
    ChannelOpen,
    /// The channel of results is closed.
    ChannelClosed,
    /// The client says something on the channel of results.
    Text(String),
    /// The upload is complete.
    Uploaded,
    /// The upload cannot go on.
    UploadFailed(UploadError),
    /// The client's track cannot be decoded.
    TrackFailed(SourceError),
    /// GStreamer failed.
    Failed(String),
}

/// What a connection is made for.
pub struct PeerSpec<'a> {
    /// The checked offer.
    pub offer: &'a Offer,
    /// Whether the client is to see pictures, if it takes a track.
    pub shows: bool,
    /// Where the client's track goes.
    pub inflow: Option<Inflow>,
    /// The upload, if one is to come.
    pub upload: Option<Upload>,
    /// Servers that help to connect.
    pub ice: &'a [IceServer],
    /// Where none of them may be.
    pub forbidden: Option<&'a PlatformPlaces>,
    /// First and last UDP port.
    pub ports: Option<(u16, u16)>,
}

/// What callbacks and session share.
struct Lines {
    events: Sender<PeerEvent>,
    /// The channel of results.
    channel: Mutex<Option<WebRTCDataChannel>>,
    upload: Mutex<Option<Upload>>,
    /// Messages of the upload so far.
    pieces: AtomicU64,
    inflow: Option<Inflow>,
}

impl Lines {
    fn channel(&self) -> MutexGuard<'_, Option<WebRTCDataChannel>> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upload(&self) -> MutexGuard<'_, Option<Upload>> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the session. Texts leave room for what matters more; acknowledgements are repeated by
    /// the next one.
    fn tell(&self, event: PeerEvent) {
        let talk = matches!(event, PeerEvent::Text(_));
        if talk && self.events.len() > EVENTS / 2 {
            return;
        }
        let _ = self.events.try_send(event);
    }
}

/// A connection; shut down when dropped.
pub struct Peer {
    pipeline: gst::Pipeline,
    questions: Questions,
    lines: Arc<Lines>,
    events: Receiver<PeerEvent>,
    /// The track to the client.
    pub film: Option<Film>,
    /// The answer to the offer, as SDP.
    pub answer: String,
}

impl Peer {
    /// Answers an offer.
    ///
    /// # Errors
    /// If the offer cannot be agreed to, or the machine lacks something.
    pub fn answer(spec: PeerSpec<'_>) -> Result<Self, WebrtcError> {
        crate::sources::gst::init().map_err(WebrtcError::host)?;
        let pipeline = gst::Pipeline::new();
        let bin = make("webrtcbin")?;
        bin.set_property_from_str("bundle-policy", "max-bundle");
        bin.set_property("latency", LATENCY);
        bound_streams(&bin);
        pipeline.add(&bin).map_err(WebrtcError::host)?;
        let (events, received) = bounded(EVENTS);
        let lines = Arc::new(Lines {
            events,
            channel: Mutex::default(),
            upload: Mutex::new(spec.upload),
            pieces: AtomicU64::new(0),
            inflow: spec.inflow,
        });
        let mut peer = Self {
            pipeline,
            questions: Questions::new(&bin),
            lines,
            events: received,
            film: None,
            answer: String::new(),
        };
        peer.listen(&bin);
        ice::set_up(&bin, spec.ice, spec.forbidden, spec.ports)?;
        let video = spec.offer.video;
        let payload = video.and_then(|video| video.payload);
        agree_on(&bin, payload);
        if let (Some(payload), true) = (payload, video.is_some_and(|video| video.receives))
            && spec.shows
        {
            peer.film = Some(peer.add_track(&bin, payload)?);
        }
        peer.pipeline
            .set_state(gst::State::Playing)
            .map_err(WebrtcError::host)?;
        if spec.offer.data {
            peer.questions.prepare(&bin);
        }
        peer.answer = negotiate(&bin, spec.offer)?;
        Ok(peer)
    }

    /// What happens on the connection.
    pub fn events(&self) -> &Receiver<PeerEvent> {
        &self.events
    }

    /// Messages of the upload so far.
    pub fn pieces(&self) -> u64 {
        self.lines.pieces.load(Ordering::Relaxed)
    }

    /// What came from the client so far.
    pub fn heard(&self) -> Heard {
        self.questions.heard()
    }

    /// Asks the client whether it is there; false if that cannot be done now ([`Questions::ask`]).
    pub fn ask(&self) -> bool {
        self.is_open() && self.questions.ask()
    }

    /// The complete upload.
    pub fn take_upload(&self) -> Option<Upload> {
        self.lines.upload().take()
    }

    /// Whether the channel of results is open.
    pub fn is_open(&self) -> bool {
        let channel = self.lines.channel();
        channel
            .as_ref()
            .is_some_and(|c| c.ready_state() == WebRTCDataChannelState::Open)
    }

    /// Bytes that the channel of results has not sent yet.
    pub fn buffered(&self) -> u64 {
        let channel = self.lines.channel();
        channel
            .as_ref()
            .map_or(0, WebRTCDataChannel::buffered_amount)
    }

    /// Sends a message on the channel of results.
    ///
    /// # Errors
    /// If the channel is not open.
    pub fn send(&self, message: Vec<u8>) -> Result<(), String> {
        let channel = self.lines.channel().clone();
        let channel = channel.ok_or_else(|| "the channel is not there".to_owned())?;
        let bytes = glib::Bytes::from_owned(message);
        channel
            .send_data_full(Some(&bytes))
            .map_err(|error| error.to_string())
    }

    fn add_track(&self, bin: &gst::Element, payload: Payload) -> Result<Film, WebrtcError> {
        let (film, packets) = Film::build(&self.pipeline, payload)?;
        let caps = caps_of(payload);
        let template = bin
            .pad_template("sink_%u")
            .ok_or_else(|| WebrtcError::host("webrtcbin has no sink pads"))?;
        let pad = bin
            .request_pad(&template, None, Some(&caps))
            .ok_or_else(|| WebrtcError::host("webrtcbin gives no sink pad"))?;
        packets.link(&pad).map_err(WebrtcError::host)?;
        let sender = pad.property::<gst_webrtc::WebRTCRTPTransceiver>("transceiver");
        sender.set_property("codec-preferences", &caps);
        sender.set_property("do-nack", true);
        Ok(film)
    }

    /// Has the callbacks tell what happens.
    fn listen(&self, bin: &gst::Element) {
        let lines = Arc::downgrade(&self.lines);
        bin.connect_notify(Some("connection-state"), move |bin, _| {
            let Some(lines) = lines.upgrade() else {
                return;
            };
            use WebRTCPeerConnectionState as State;
            match bin.property::<State>("connection-state") {
                State::Connected => lines.tell(PeerEvent::Connected),
                State::Failed => lines.tell(PeerEvent::Gone("the connection failed")),
                State::Closed => lines.tell(PeerEvent::Gone("the connection was closed")),
                _ => {}
            }
        });
        let lines = Arc::downgrade(&self.lines);
        bin.connect("on-data-channel", false, move |args| {
            let lines = lines.upgrade()?;
            let channel = args.get(1)?.get::<WebRTCDataChannel>().ok()?;
            match channel.label().as_deref() {
                Some("video_upload") => receive_upload(&channel, &lines),
                _ => serve_results(channel, &lines),
            }
            None
        });
        let (lines, pipeline) = (Arc::downgrade(&self.lines), self.pipeline.downgrade());
        let taken = AtomicBool::new(false);
        bin.connect_pad_added(move |_, pad| {
            let (Some(lines), Some(pipeline)) = (lines.upgrade(), pipeline.upgrade()) else {
                return;
            };
            if pad.direction() != gst::PadDirection::Src {
                return;
            }
            match &lines.inflow {
                Some(inflow) if is_video(pad) && !taken.swap(true, Ordering::Relaxed) => {
                    if let Err(error) = inflow.connect(&pipeline, pad) {
                        lines.tell(PeerEvent::TrackFailed(error));
                    }
                }
                _ => swallow(&pipeline, pad),
            }
        });
        if let Some(bus) = self.pipeline.bus() {
            let lines = Arc::downgrade(&self.lines);
            bus.set_sync_handler(move |_, message| {
                if let (gst::MessageView::Error(error), Some(lines)) =
                    (message.view(), lines.upgrade())
                {
                    let details = error.debug().unwrap_or_default();
                    tracing::debug!("WebRTC: {}: {details}", error.error());
                    lines.tell(match is_of_channels(message) {
                        // It breaks when the client closes: there is nobody to send to.
                        true => PeerEvent::Gone("the client closed its channels"),
                        false => PeerEvent::Failed(error.error().to_string()),
                    });
                }
                gst::BusSyncReply::Drop
            });
        }
    }
}

impl Drop for Peer {
    /// Shuts the pipeline down in a thread of its own, so that nothing in it can hold the session.
    fn drop(&mut self) {
        self.lines.channel().take();
        self.lines.upload().take();
        self.film = None;
        let (pipeline, lines) = (self.pipeline.clone(), self.lines.clone());
        let (done, finished) = bounded(1);
        let shut_down = move || {
            if let Err(error) = pipeline.set_state(gst::State::Null) {
                tracing::warn!(%error, "a WebRTC pipeline could not be shut down");
            }
            if let Some(bus) = pipeline.bus() {
                bus.unset_sync_handler();
            }
            if let Some(inflow) = &lines.inflow {
                inflow.end();
            }
            drop((pipeline, lines));
            let _ = done.send(());
        };
        let spawned = std::thread::Builder::new()
            .name("webrtc:shutdown".to_owned())
            .spawn(shut_down);
        match spawned {
            Ok(_) if finished.recv_timeout(SHUTDOWN).is_err() => {
                tracing::debug!("a WebRTC pipeline takes long to shut down and is left to itself");
            }
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "the machine refuses a thread to shut a pipeline down in");
            }
        }
    }
}

/// Whether a message comes from the part that sends what goes over data channels.
fn is_of_channels(message: &gst::MessageRef) -> bool {
    let factory = message
        .src()
        .and_then(|source| source.downcast_ref::<gst::Element>())
        .and_then(gst::Element::factory);
    factory.is_some_and(|factory| factory.name().starts_with("sctp"))
}

/// Takes the chunks of a video. A message of one byte asks whether anybody is there.
fn receive_upload(channel: &WebRTCDataChannel, lines: &Arc<Lines>) {
    let lines = Arc::downgrade(lines);
    channel.connect_on_message_data(move |channel, bytes| {
        let (Some(lines), Some(bytes)) = (lines.upgrade(), bytes) else {
            return;
        };
        lines.pieces.fetch_add(1, Ordering::Relaxed);
        if bytes.len() <= 1 {
            // Nobody is there any more if it cannot be sent.
            let _ = channel.send_data_full(Some(bytes));
            return;
        }
        let mut upload = lines.upload();
        let taken = match &mut *upload {
            Some(upload) => upload.take(bytes),
            None => return,
        };
        match taken {
            Ok(false) => {}
            Ok(true) => lines.tell(PeerEvent::Uploaded),
            Err(error) => {
                *upload = None;
                lines.tell(PeerEvent::UploadFailed(error));
            }
        }
    });
}

/// Takes a channel as the one for results: the first one stays it.
fn serve_results(channel: WebRTCDataChannel, lines: &Arc<Lines>) {
    let mut current = lines.channel();
    if current.is_some() {
        tracing::debug!("a client opened a second channel for results; it is left alone");
        return;
    }
    *current = Some(channel.clone());
    drop(current);
    let told = Arc::downgrade(lines);
    channel.connect_on_message_string(move |_, text| {
        if let (Some(lines), Some(text)) = (told.upgrade(), text) {
            lines.tell(PeerEvent::Text(text.to_owned()));
        }
    });
    let told = Arc::downgrade(lines);
    channel.connect_on_message_data(move |_, bytes| {
        if let (Some(lines), Some(bytes)) = (told.upgrade(), bytes)
            && let Ok(text) = std::str::from_utf8(bytes)
        {
            lines.tell(PeerEvent::Text(text.to_owned()));
        }
    });
    let told = Arc::downgrade(lines);
    channel.connect_ready_state_notify(move |channel| {
        let Some(lines) = told.upgrade() else {
            return;
        };
        match channel.ready_state() {
            WebRTCDataChannelState::Open => lines.tell(PeerEvent::ChannelOpen),
            WebRTCDataChannelState::Closing | WebRTCDataChannelState::Closed => {
                lines.tell(PeerEvent::ChannelClosed);
            }
            _ => {}
        }
    });
    // It may have opened before anybody listened.
    if channel.ready_state() == WebRTCDataChannelState::Open {
        lines.tell(PeerEvent::ChannelOpen);
    }
}

/// Takes the offer, and gives the answer with all addresses.
fn negotiate(bin: &gst::Element, offer: &Offer) -> Result<String, WebrtcError> {
    let kind = gst_webrtc::WebRTCSDPType::Offer;
    let remote = gst_webrtc::WebRTCSessionDescription::new(kind, offer.sdp.clone());
    let refused = |reason: String| WebrtcError::offer(reason);
    ask(|promise| bin.emit_by_name::<()>("set-remote-description", &[&remote, &promise]))
        .map_err(refused)?;
    let none = None::<gst::Structure>;
    let reply = ask(|promise| bin.emit_by_name::<()>("create-answer", &[&none, &promise]))
        .map_err(refused)?;
    let answer = reply
        .and_then(|reply| {
            reply
                .get::<gst_webrtc::WebRTCSessionDescription>("answer")
                .ok()
        })
        .ok_or_else(|| WebrtcError::host("GStreamer made no answer"))?;
    ask(|promise| bin.emit_by_name::<()>("set-local-description", &[&answer, &promise]))
        .map_err(WebrtcError::host)?;
    let gathered = Instant::now() + GATHERING;
    use gst_webrtc::WebRTCICEGatheringState as Gathering;
    while bin.property::<Gathering>("ice-gathering-state") != Gathering::Complete
        && Instant::now() < gathered
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    let local = bin
        .property::<Option<gst_webrtc::WebRTCSessionDescription>>("local-description")
        .unwrap_or(answer);
    local.sdp().as_text().map_err(WebrtcError::host)
}

/// Starts something that answers with a promise, and waits for it.
fn ask(start: impl FnOnce(gst::Promise)) -> Result<Option<gst::Structure>, String> {
    let (reply, replied) = bounded(1);
    start(gst::Promise::with_change_func(move |answer| {
        let answer = match answer {
            Ok(answer) => Ok(answer.map(ToOwned::to_owned)),
            Err(error) => Err(format!("the negotiation broke off ({error:?})")),
        };
        let _ = reply.send(answer);
    }));
    let answer = replied
        .recv_timeout(STEP)
        .map_err(|_| "the negotiation takes too long".to_owned())??;
    match &answer {
        Some(told) if told.has_field("error") => Err(told
            .get::<glib::Error>("error")
            .map_or_else(|_| "it is refused".to_owned(), |e| e.message().to_owned())),
        _ => Ok(answer),
    }
}
