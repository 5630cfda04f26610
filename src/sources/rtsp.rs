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

use super::chain::{internal, set_threads};
use super::gst::make;
use super::supervisor::Signal;
use super::uri::Address;
use super::{SourceError, SourceSpec};
use crate::redact::Redacted;

/// Microseconds without an answer of the server after which a connection counts as dead.
const TCP_TIMEOUT: u64 = 5_000_000;

/// Puts `rtspsrc` into the pipeline; the decoded stream goes to `entry`. What is returned becomes true
/// when the server names a video stream.
pub(crate) fn head(
    pipeline: &gst::Pipeline,
    entry: &gst::Pad,
    address: &Address,
    spec: &SourceSpec,
    udp: bool,
    name: &Redacted,
    signals: &Sender<Signal>,
) -> Result<Arc<AtomicBool>, SourceError> {
    let source = make("rtspsrc", name)?;
    source.set_property("location", address.location());
    if let Some((user, password)) = address.credentials() {
        source.set_property("user-id", user);
        source.set_property("user-pw", password);
    }
    source.set_property_from_str("protocols", if udp { "udp+udp-mcast" } else { "tcp" });
    source.set_property("latency", spec.rtsp.latency.as_millis() as u32);
    source.set_property("tcp-timeout", TCP_TIMEOUT);
    judge_certificates(&source, spec.check_certificate, name, signals);
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
    pipeline.add(&source).map_err(internal)?;

    let decoding = Mutex::new(Vec::new());
    let (pipeline, entry) = (pipeline.downgrade(), entry.downgrade());
    let (name, threads, signals) = (name.clone(), spec.decoder.threads, signals.clone());
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
        match decode(&pipeline, &entry, pad, threads, &name) {
            Ok(elements) => *decoding = elements,
            Err(error) => {
                let _ = signals.try_send(Signal::Fault(error));
            }
        }
    });
    Ok(offered)
}

/// Decides on certificates that nobody known here has signed.
fn judge_certificates(
    source: &gst::Element,
    check: bool,
    name: &Redacted,
    signals: &Sender<Signal>,
) {
    let (name, signals) = (name.clone(), signals.clone());
    source.connect("accept-certificate", false, move |_| {
        if check {
            let _ = signals.try_send(Signal::Fault(SourceError::Certificate {
                source_name: name.clone(),
                reason: "expired, for another host, or signed by nobody known here".to_owned(),
            }));
        }
        Some((!check).to_value())
    });
}

/// Links unpacker and decoder between a pad of `rtspsrc` and `entry`.
fn decode(
    pipeline: &gst::Pipeline,
    entry: &gst::Pad,
    pad: &gst::Pad,
    threads: u32,
    name: &Redacted,
) -> Result<Vec<gst::Element>, SourceError> {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let encoding = caps
        .structure(0)
        .and_then(|s| s.get::<String>("encoding-name").ok())
        .unwrap_or_default();
    let (unpacker, decoder) = match encoding.to_ascii_uppercase().as_str() {
        "H264" => ("rtph264depay", "avdec_h264"),
        "H265" => ("rtph265depay", "avdec_h265"),
        "JPEG" => ("rtpjpegdepay", "jpegdec"),
        "MP4V-ES" => ("rtpmp4vdepay", "avdec_mpeg4"),
        "VP8" => ("rtpvp8depay", "vp8dec"),
        "VP9" => ("rtpvp9depay", "vp9dec"),
        _ => {
            return Err(SourceError::NotVideo {
                source_name: name.clone(),
                reason: format!("a stream in {encoding:?}, which cannot be decoded"),
            });
        }
    };
    let (unpacker, decoder) = (make(unpacker, name)?, make(decoder, name)?);
    set_threads(&decoder, threads);
    pipeline.add_many([&unpacker, &decoder]).map_err(internal)?;
    unpacker.link(&decoder).map_err(internal)?;
    let decoded = decoder
        .static_pad("src")
        .ok_or_else(|| internal("decoder has no source pad"))?;
    decoded.link(entry).map_err(internal)?;
    for element in [&decoder, &unpacker] {
        element.sync_state_with_parent().map_err(internal)?;
    }
    let sink = unpacker
        .static_pad("sink")
        .ok_or_else(|| internal("unpacker has no sink pad"))?;
    pad.link(&sink).map_err(internal)?;
    Ok(vec![unpacker, decoder])
}
