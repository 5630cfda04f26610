//! Streams that are no RTSP over TCP: HTTP around it, HLS, and transport streams in packets.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use millrace::sources::{Event, RtspTransport, Source, SourceError, SourceSpec};

use super::support::awake::awake;
use super::support::clips::{SHAPES, number_in_luma};
use super::support::http_camera::{Answer, HttpCamera};
use super::support::rtsp_server::{CameraClip, RtspServer, Setup};
use super::{frames, next, next_frame, open, spec};

/// A pipeline that sends, until dropped.
struct Sender(gst::Element);

impl Sender {
    /// Sends the clip as a transport stream, a key frame every 10 frames, at its own speed.
    fn start(to: &str) -> Self {
        gst::init().unwrap();
        let pipeline = gst::parse::launch(&format!(
            "filesrc location={SHAPES} ! qtdemux ! avdec_h264 ! x264enc tune=zerolatency \
             key-int-max=10 speed-preset=ultrafast ! h264parse config-interval=-1 ! \
             mpegtsmux alignment=7 ! {to}"
        ))
        .unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        Self(pipeline)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.set_state(gst::State::Null).unwrap();
    }
}

fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

fn impatient(url: &str) -> SourceSpec {
    let mut spec = spec(url);
    spec.reconnect.silence = Duration::from_millis(800);
    spec.reconnect.initial = Duration::from_millis(100);
    spec
}

/// Longest time from the sender's start, or a server's return, to the first good frame.
const BACK: Duration = Duration::from_secs(2);

/// Why the source is lost, which it soon has to be.
fn until_lost(source: &Source) -> SourceError {
    loop {
        match next(source).unwrap() {
            Event::Lost { error, .. } => return error,
            Event::Frame(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The source gives good frames soon.
fn comes_back(source: &Source, within: Duration) {
    let began = awake();
    next_frame(source);
    let took = awake() - began;
    println!("the first frame came after {took:?}");
    assert!(took <= within, "{took:?}");
    shows_the_clip(source);
}

fn shows_the_clip(source: &Source) {
    for _ in 0..5 {
        let frame = next_frame(source);
        assert!(number_in_luma(frame.image.planes().unwrap()) < 300);
        assert_eq!(frame.video.comes_from_video_file, Some(false));
    }
}

#[test]
fn rtsp_goes_through_http() {
    let camera = RtspServer::start(CameraClip::shapes(), Setup::default());
    let mut spec = spec(&camera.url());
    spec.rtsp.transport = RtspTransport::Http;
    shows_the_clip(&Source::open(spec).unwrap());
}

#[test]
fn a_transport_stream_comes_over_udp_and_comes_back() {
    let port = free_udp_port();
    let to = format!("udpsink host=127.0.0.1 port={port}");
    let source = Source::open(impatient(&format!("udp://127.0.0.1:{port}"))).unwrap();
    for _ in 0..3 {
        let sender = Sender::start(&to);
        comes_back(&source, BACK);
        drop(sender);
        let error = until_lost(&source);
        assert!(matches!(error, SourceError::Lost { .. }), "{error:?}");
    }
    let stats = source.stats();
    assert_eq!(
        (stats.losses.total(), stats.reconnects),
        (3, 2),
        "{stats:?}"
    );
}

#[test]
fn a_transport_stream_comes_over_srt_with_a_passphrase_that_is_never_shown() {
    let port = free_udp_port();
    let sender = |words: &str| {
        let to = "srtsink wait-for-connection=false";
        Sender::start(&format!(
            "{to} uri=\"srt://127.0.0.1:{port}?mode=listener&passphrase={words}\""
        ))
    };
    let url = format!("srt://127.0.0.1:{port}?passphrase=hunter2hunter2");
    let spec = impatient(&url);
    assert!(!format!("{spec:?} {}", spec.uri).contains("hunter2"));
    let sending = sender("hunter2hunter2");
    let source = Source::open(spec).unwrap();
    shows_the_clip(&source);
    drop(sending);
    let error = until_lost(&source);
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let _sending = sender("hunter2hunter2");
    comes_back(&source, BACK);
}

/// The clip in 12 segments of a second.
fn segments() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    super::make_clip(&format!(
        "filesrc location={SHAPES} ! qtdemux ! avdec_h264 ! x264enc tune=zerolatency key-int-max=25 \
         speed-preset=ultrafast option-string=scenecut=0 ! h264parse ! splitmuxsink muxer=mpegtsmux \
         max-size-time=1000000000 location={}/%d.ts",
        folder.path().display()
    ));
    assert_eq!(folder.path().read_dir().unwrap().count(), 12);
    folder
}

#[test]
fn a_playlist_with_an_end_is_a_recorded_file() {
    let folder = segments();
    let server = HttpCamera::start(Answer::Hls {
        folder: folder.path().to_owned(),
        segments: 12,
        since: None,
        away: Arc::default(),
    });
    let (frames, end) = frames(&open(&server.url("http", "clip.m3u8")));
    assert_eq!(end.unwrap().warning(), None);
    let shown: Vec<u32> = frames
        .iter()
        .map(|frame| number_in_luma(frame.image.planes().unwrap()))
        .collect();
    assert_eq!(shown, (0..300).collect::<Vec<u32>>());
    assert_eq!(frames[0].video.comes_from_video_file, Some(true));
}

#[test]
fn a_playlist_without_an_end_is_live() {
    let folder = segments();
    let server = HttpCamera::start(Answer::Hls {
        folder: folder.path().to_owned(),
        segments: 12,
        since: Some(Instant::now()),
        away: Arc::default(),
    });
    shows_the_clip(&open(&server.url("http", "live.m3u8")));
}

/// A server of a playlist answers with errors for a while: the source is lost, and comes back by
/// itself, with the newest segments.
#[test]
fn a_live_playlist_that_goes_away_comes_back() {
    let folder = segments();
    let away = Arc::new(AtomicBool::new(false));
    let server = HttpCamera::start(Answer::Hls {
        folder: folder.path().to_owned(),
        segments: 12,
        since: Some(Instant::now()),
        away: away.clone(),
    });
    let source = Source::open(impatient(&server.url("http", "live.m3u8"))).unwrap();
    shows_the_clip(&source);
    let before = next_frame(&source).number;
    away.store(true, Ordering::SeqCst);
    until_lost(&source);
    away.store(false, Ordering::SeqCst);
    comes_back(&source, BACK);
    assert!(next_frame(&source).number > before);
}
