//! The head of an RTSP pipeline: the server's first video stream, unpacked and decoded by elements
//! that are ours to choose.
//!
//! Pads of `rtspsrc` come and go (a new transport, a new stream), so decoder and unpacker are made
//! when a pad appears and replaced when the next one does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::Sender;
use gstreamer as gst;
use gstreamer::prelude::*;

use super::chain::internal;
use super::gst::make;
use super::shared::Shared;
use super::supervisor::Signal;
use super::{Address, RtspTransport, SourceError, decoder, tls};

/// Microseconds without an answer of the server after which a connection counts as dead.
const TCP_TIMEOUT: u64 = 5_000_000;

/// Puts `rtspsrc` into the pipeline; the decoded stream goes to `entry`. What is returned becomes true
/// when the server names a video stream.
pub(crate) fn head(
    pipeline: &gst::Pipeline,
    entry: &gst::Pad,
    address: &Address,
    shared: &Arc<Shared>,
    udp: bool,
    signals: &Sender<Signal>,
) -> Result<Arc<AtomicBool>, SourceError> {
    let (spec, name) = (&shared.spec, &shared.name);
    let source = make("rtspsrc", name)?;
    let tunnelled = spec.rtsp.transport == RtspTransport::Http;
    // The scheme is how `rtspsrc` is told to go through HTTP.
    let location = match address.location().split_once("://") {
        Some((scheme, rest)) if tunnelled => {
            let scheme = if scheme == "rtsps" { "rtspsh" } else { "rtsph" };
            format!("{scheme}://{rest}")
        }
        _ => address.location().to_owned(),
    };
    source.set_property("location", location);
    if let Some((user, password)) = address.credentials() {
        source.set_property("user-id", user);
        source.set_property("user-pw", password);
    }
    let protocols = match (tunnelled, udp, address.is_encrypted()) {
        (true, ..) => "http+tcp",
        (false, true, false) => "udp+udp-mcast",
        (false, true, true) => "tls+udp+udp-mcast",
        (false, false, false) => "tcp",
        (false, false, true) => "tls+tcp",
    };
    source.set_property_from_str("protocols", protocols);
    source.set_property("latency", spec.rtsp.latency.as_millis() as u32);
    source.set_property("tcp-timeout", TCP_TIMEOUT);
    tls::guard_rtsp(&source, spec, name, signals)?;
    let offered = choose_video(&source);
    pipeline.add(&source).map_err(internal)?;

    let decoding = Mutex::new(Vec::new());
    let (pipeline, entry) = (pipeline.downgrade(), entry.downgrade());
    let (shared, signals) = (shared.clone(), signals.clone());
    source.connect_pad_added(move |_, pad| {
        let (Some(pipeline), Some(entry)) = (pipeline.upgrade(), entry.upgrade()) else {
            return;
        };
        let mut decoding = decoding
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for old in decoding.drain(..) {
            let _ = gst::Element::set_state(&old, gst::State::Null);
            let _ = pipeline.remove(&old);
        }
        match decode(&pipeline, &entry, pad, &shared) {
            Ok(elements) => *decoding = elements,
            Err(error) => {
                let _ = signals.try_send(Signal::Fault(error));
            }
        }
    });
    Ok(offered)
}

/// Takes the first video stream of several; tells whether there was one.
fn choose_video(source: &gst::Element) -> Arc<AtomicBool> {
    let offered = Arc::new(AtomicBool::new(false));
    let taken = offered.clone();
    source.connect("select-stream", false, move |args| {
        let caps = args.get(2).and_then(|v| v.get::<gst::Caps>().ok());
        let video = caps.is_some_and(|caps| {
            let media = caps
                .structure(0)
                .and_then(|s| s.get::<String>("media").ok());
            media.as_deref() == Some("video")
        });
        Some((video && !taken.swap(true, Ordering::Relaxed)).to_value())
    });
    offered
}

/// Links unpacker and decoder between a pad that gives RTP packets and `entry`. The unpacker is the
/// first of the elements.
pub(crate) fn decode(
    pipeline: &gst::Pipeline,
    entry: &gst::Pad,
    pad: &gst::Pad,
    shared: &Arc<Shared>,
) -> Result<Vec<gst::Element>, SourceError> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let encoding = caps
        .structure(0)
        .and_then(|s| s.get::<String>("encoding-name").ok())
        .unwrap_or_default();
    let au = |media| gst::Caps::builder(media).field("alignment", "au");
    // There are decoders for pictures that one can see through, and for no others.
    let opaque = |media| {
        gst::Caps::builder(media)
            .field("codec-alpha", false)
            .build()
    };
    let (unpacker, unpacked) = match encoding.to_ascii_uppercase().as_str() {
        "H264" => ("rtph264depay", au("video/x-h264").build()),
        "H265" => ("rtph265depay", au("video/x-h265").build()),
        "JPEG" => ("rtpjpegdepay", gst::Caps::new_empty_simple("image/jpeg")),
        "MP4V-ES" => {
            let caps = gst::Caps::builder("video/mpeg").field("mpegversion", 4i32);
            ("rtpmp4vdepay", caps.field("systemstream", false).build())
        }
        "VP8" => ("rtpvp8depay", opaque("video/x-vp8")),
        "VP9" => ("rtpvp9depay", opaque("video/x-vp9")),
        _ => {
            return Err(SourceError::NotVideo {
                source_name: shared.name.clone(),
                reason: format!("a stream in {encoding:?}, which cannot be decoded"),
            });
        }
    };
    let unpacker = make(unpacker, &shared.name)?;
    let mut elements = vec![unpacker.clone()];
    pipeline.add(&unpacker).map_err(internal)?;
    elements.extend(decoder::make_decoder(pipeline, &unpacked, shared)?);
    let (Some(first), Some(last)) = (elements.get(1), elements.last()) else {
        return Err(internal("no decoder was made"));
    };
    unpacker.link(first).map_err(internal)?;
    let decoded = last
        .static_pad("src")
        .ok_or_else(|| internal("decoder has no source pad"))?;
    decoded.link(entry).map_err(internal)?;
    for element in elements.iter().rev() {
        element.sync_state_with_parent().map_err(internal)?;
    }
    let sink = unpacker
        .static_pad("sink")
        .ok_or_else(|| internal("unpacker has no sink pad"))?;
    pad.link(&sink).map_err(internal)?;
    Ok(elements)
}
