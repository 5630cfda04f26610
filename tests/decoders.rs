//! Decoders that break while they work: the next one is taken, and nobody notices but the log.
//!
//! The broken decoder is FFmpeg's in a box that fails on command, registered in this process with the
//! rank of a decoder in hardware.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer::subclass::prelude::*;
use millrace::sources::{Event, Frame, QueuePolicy, Source, SourceSpec};
use support::clips::{SHAPES, number_in_picture};
use support::rtsp_server::{CameraClip, RtspServer, Setup};

const NAME: &str = "hardwareh264dec";
const SOON: Duration = Duration::from_secs(20);
/// Frames after which the decoder says that it failed.
static FAILS_AFTER: AtomicU32 = AtomicU32::new(u32::MAX);
/// Frames after which the decoder gives nothing any more.
static SWALLOWS_AFTER: AtomicU32 = AtomicU32::new(u32::MAX);
/// Times a broken decoder was made.
static MADE: AtomicU32 = AtomicU32::new(0);

mod broken {
    use super::*;

    /// See the description of the file.
    #[derive(Default)]
    pub struct Broken;

    #[glib::object_subclass]
    impl ObjectSubclass for Broken {
        const NAME: &'static str = "BrokenDecoder";
        type Type = super::Broken;
        type ParentType = gst::Bin;
    }

    impl ObjectImpl for Broken {
        fn constructed(&self) {
            self.parent_constructed();
            MADE.fetch_add(1, Ordering::SeqCst);
            let bin = self.obj();
            let decoder = gst::ElementFactory::make("avdec_h264").build().unwrap();
            bin.add(&decoder).unwrap();
            for (name, template) in [("sink", "sink"), ("src", "src")] {
                let inner = decoder.static_pad(name).unwrap();
                let template = bin.pad_template(template).unwrap();
                let pad = gst::GhostPad::builder_from_template_with_target(&template, &inner)
                    .unwrap()
                    .name(name)
                    .build();
                bin.add_pad(&pad).unwrap();
            }
            let given = AtomicU32::new(0);
            let weak = bin.downgrade();
            let decoded = decoder.static_pad("src").unwrap();
            decoded.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                let given = given.fetch_add(1, Ordering::SeqCst);
                let Some(bin) = weak.upgrade() else {
                    return gst::PadProbeReturn::Drop;
                };
                if given == FAILS_AFTER.load(Ordering::SeqCst) {
                    gst::element_error!(bin, gst::StreamError::Decode, ["the chip is gone"]);
                }
                let most = FAILS_AFTER
                    .load(Ordering::SeqCst)
                    .min(SWALLOWS_AFTER.load(Ordering::SeqCst));
                match given >= most {
                    true => gst::PadProbeReturn::Drop,
                    false => gst::PadProbeReturn::Ok,
                }
            });
        }
    }

    impl GstObjectImpl for Broken {}

    impl ElementImpl for Broken {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static DATA: std::sync::LazyLock<gst::subclass::ElementMetadata> =
                std::sync::LazyLock::new(|| {
                    gst::subclass::ElementMetadata::new(
                        "Broken decoder",
                        "Codec/Decoder/Video/Hardware",
                        "Decodes H.264 until it fails",
                        "millrace",
                    )
                });
            Some(&*DATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: std::sync::LazyLock<Vec<gst::PadTemplate>> =
                std::sync::LazyLock::new(|| {
                    let sink = gst::Caps::builder("video/x-h264")
                        .field("alignment", "au")
                        .field("stream-format", gst::List::new(["avc", "byte-stream"]))
                        .build();
                    let src = gst::Caps::new_empty_simple("video/x-raw");
                    let always = gst::PadPresence::Always;
                    vec![
                        gst::PadTemplate::new("sink", gst::PadDirection::Sink, always, &sink)
                            .unwrap(),
                        gst::PadTemplate::new("src", gst::PadDirection::Src, always, &src).unwrap(),
                    ]
                });
            TEMPLATES.as_ref()
        }
    }

    impl BinImpl for Broken {}
}

glib::wrapper! {
    pub struct Broken(ObjectSubclass<broken::Broken>)
        @extends gst::Bin, gst::Element, gst::Object,
        @implements gst::ChildProxy;
}

/// Has the next decoder break like this; the tests of this file take turns.
fn break_decoder(fails: u32, swallows: u32) -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    static REGISTERED: std::sync::Once = std::sync::Once::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    REGISTERED.call_once(|| {
        gst::init().unwrap();
        let rank = gst::Rank::PRIMARY + 100;
        gst::Element::register(None, NAME, rank, Broken::static_type()).unwrap();
    });
    FAILS_AFTER.store(fails, Ordering::SeqCst);
    SWALLOWS_AFTER.store(swallows, Ordering::SeqCst);
    MADE.store(0, Ordering::SeqCst);
    turn
}

fn spec(uri: &str) -> SourceSpec {
    let mut spec = SourceSpec::new(uri.parse().unwrap());
    spec.reconnect.connect = Duration::from_secs(3);
    spec
}

/// Frames until there are so many or the end; losses are no part of it.
fn take(source: &Source, most: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    while frames.len() < most {
        match source.next(SOON).unwrap().unwrap() {
            Event::Frame(frame) => frames.push(frame),
            Event::Ended(_) => break,
            other => panic!("{other:?}"),
        }
    }
    frames
}

fn made() -> u32 {
    MADE.load(Ordering::SeqCst)
}

#[test]
fn a_camera_goes_on_with_the_next_decoder() {
    let _turn = break_decoder(10, u32::MAX);
    let camera = RtspServer::start(CameraClip::shapes(), Setup::default());
    let mut live = spec(&camera.url());
    live.queue = Some(QueuePolicy::DropOldest { capacity: 64 });
    let source = Source::open(live).unwrap();
    let frames = take(&source, 40);
    assert!(frames.windows(2).all(|f| f[1].number == f[0].number + 1));
    let stats = source.stats();
    assert_eq!((made(), stats.losses.total(), stats.reconnects), (1, 0, 0));
    assert_eq!(stats.decoder.as_deref(), Some("avdec_h264"));
}

#[test]
fn a_decoder_that_gives_nothing_is_given_up_too() {
    let _turn = break_decoder(u32::MAX, 0);
    let camera = RtspServer::start(CameraClip::shapes(), Setup::default());
    let source = Source::open(spec(&camera.url())).unwrap();
    take(&source, 5);
    assert_eq!((made(), source.stats().losses.total()), (1, 0));
}

#[test]
fn a_file_gives_every_frame_once_although_its_decoder_fails() {
    let _turn = break_decoder(100, u32::MAX);
    let source = Source::open(spec(SHAPES)).unwrap();
    let frames = take(&source, 1000);
    assert_eq!(made(), 1);
    let shown: Vec<u32> = frames
        .iter()
        .map(|frame| number_in_picture(frame.image.pixels()))
        .collect();
    assert_eq!(shown, (0..300).collect::<Vec<u32>>());
    let numbers: Vec<i64> = frames.iter().map(|frame| frame.number).collect();
    assert_eq!(numbers, (1..=300).collect::<Vec<i64>>());
    assert!(frames.windows(2).all(|f| f[1].time > f[0].time));
}

#[test]
fn a_decoder_that_works_is_kept() {
    let _turn = break_decoder(u32::MAX, u32::MAX);
    let source = Source::open(spec(SHAPES)).unwrap();
    assert_eq!(take(&source, 1000).len(), 300);
    assert_eq!(made(), 1);
}
