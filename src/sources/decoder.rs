//! Which decoder is taken, and what goes into it.
//!
//! Decoders are taken in the order of their GStreamer rank, so that a machine with VA-API, V4L2 or
//! NVDEC uses it. One that fails while it works is not taken again by the same source, which goes on
//! with the next (in the end FFmpeg's in software) as if nothing had been. A software decoder is
//! never given up: what it cannot read, nobody can.
//!
//! Before the first key frame of a connection nothing is decoded: pictures made from differences
//! alone are grey.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::SourceError;
use super::chain::internal;
use super::gst::missing;
use super::shared::Shared;

/// Decoders that need no hardware, besides FFmpeg's.
const SOFTWARE: &[&str] = &[
    "jpegdec",
    "vp8dec",
    "vp9dec",
    "openh264dec",
    "libde265dec",
    "av1dec",
    "dav1ddec",
];

/// Codecs whose pictures build on each other.
const WITH_KEY_FRAMES: &[&str] = &[
    "video/x-h264",
    "video/x-h265",
    "video/x-vp8",
    "video/x-vp9",
    "video/mpeg",
];

/// Decoders of one source that failed.
#[derive(Debug, Default)]
pub(crate) struct Decoders {
    failed: Mutex<BTreeSet<String>>,
    used: Mutex<Option<String>>,
}

impl Decoders {
    fn failed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self) -> MutexGuard<'_, Option<String>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the decoder at work.
    pub(crate) fn note_used(&self, name: &str) {
        *self.used() = Some(name.to_owned());
    }

    /// Name of the decoder at work.
    pub(crate) fn in_use(&self) -> Option<String> {
        self.used().clone()
    }

    /// Whether a decoder failed before.
    pub(crate) fn has_failed(&self, name: &str) -> bool {
        self.failed().contains(name)
    }

    /// Gives a decoder up; false if it is software or was given up before.
    pub(crate) fn give_up(&self, name: &str) -> bool {
        !is_software(name) && self.failed().insert(name.to_owned())
    }

    /// Decoders for a stream, the best first, without those that failed.
    pub(crate) fn candidates(&self, caps: &gst::Caps) -> Vec<gst::ElementFactory> {
        let kinds = gst::ElementFactoryType::DECODER
            | gst::ElementFactoryType::MEDIA_VIDEO
            | gst::ElementFactoryType::MEDIA_IMAGE;
        let mut found: Vec<_> =
            gst::ElementFactory::factories_with_type(kinds, gst::Rank::MARGINAL)
                .into_iter()
                .filter(|f| f.can_sink_any_caps(caps) && !self.has_failed(&f.name()))
                .collect();
        found.sort_by_key(|f| (std::cmp::Reverse(i32::from(f.rank())), f.name().to_string()));
        found
    }
}

/// Has no source choose a decoder any more. For `uridecodebin3`, which asks nobody which to take.
pub(crate) fn rank_last(name: &str) {
    if let Some(factory) = gst::ElementFactory::find(name) {
        factory.set_rank(gst::Rank::NONE);
    }
}

/// Whether a decoder needs nothing but a processor.
fn is_software(name: &str) -> bool {
    name.starts_with("avdec_") || SOFTWARE.contains(&name)
}

/// Whether an element decodes video.
pub(crate) fn is_decoder(element: &gst::Element) -> bool {
    let klass = element
        .factory()
        .and_then(|f| f.metadata("klass").map(str::to_owned));
    klass.is_some_and(|k| k.contains("Decoder/Video") || k.contains("Decoder/Image"))
}

/// The decoder that sent an error.
pub(crate) fn sender(message: &gst::Message) -> Option<String> {
    let element = message.src()?.downcast_ref::<gst::Element>()?;
    is_decoder(element).then(|| Some(element.factory()?.name().to_string()))?
}

/// The elements that turn `unpacked` streams of this media type into pictures, linked to each other
/// and in the pipeline, not started.
pub(crate) fn make_decoder(
    pipeline: &gst::Pipeline,
    unpacked: &gst::Caps,
    shared: &Arc<Shared>,
) -> Result<Vec<gst::Element>, SourceError> {
    let mut last = None;
    for factory in shared.decoders.candidates(unpacked) {
        let decoder = match factory.create().build() {
            Ok(decoder) => decoder,
            Err(error) => {
                last = Some(error.to_string());
                continue;
            }
        };
        tune(&decoder, shared);
        if decoder.find_property("output-corrupt").is_some() {
            decoder.set_property("output-corrupt", false);
        }
        let parser = match is_software(&factory.name()) {
            true => None,
            false => parser(unpacked),
        };
        let elements: Vec<_> = parser.into_iter().chain([decoder]).collect();
        pipeline.add_many(&elements).map_err(internal)?;
        gst::Element::link_many(&elements).map_err(internal)?;
        return Ok(elements);
    }
    let media = media_type(unpacked);
    if let Some(error) = last {
        tracing::debug!(%error, media, "no decoder can be made");
    }
    let usual = match media.as_str() {
        "image/jpeg" => "avdec_mjpeg".to_owned(),
        "video/mpeg" => "avdec_mpeg4".to_owned(),
        other => other.replace("video/x-", "avdec_"),
    };
    Err(missing(
        format!("a decoder of {media}"),
        &usual,
        &shared.name,
    ))
}

/// Sets a decoder up and watches what it is given.
pub(crate) fn tune(decoder: &gst::Element, shared: &Arc<Shared>) {
    set_threads(decoder, shared.spec.decoder.threads);
    if let Some(factory) = decoder.factory() {
        shared.decoders.note_used(&factory.name());
    }
    let Some(pad) = decoder.static_pad("sink") else {
        return;
    };
    let gate = Gate::new(shared.clone());
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        match &info.data {
            Some(gst::PadProbeData::Buffer(unit)) if !gate.lets(pad, unit) => {
                gst::PadProbeReturn::Drop
            }
            Some(gst::PadProbeData::Buffer(unit)) => {
                gate.note_entry(unit);
                gst::PadProbeReturn::Ok
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// Sets the number of threads of a decoder that lets one choose.
fn set_threads(decoder: &gst::Element, threads: u32) {
    if decoder.find_property("max-threads").is_some() {
        decoder.set_property_from_str("max-threads", &threads.to_string());
    }
}

/// The element that cuts a stream as decoders in hardware want it.
fn parser(unpacked: &gst::Caps) -> Option<gst::Element> {
    let name = match media_type(unpacked).as_str() {
        "video/x-h264" => "h264parse",
        "video/x-h265" => "h265parse",
        "video/x-vp9" => "vp9parse",
        "video/mpeg" => "mpeg4videoparse",
        _ => return None,
    };
    gst::ElementFactory::make(name).build().ok()
}

fn media_type(caps: &gst::Caps) -> String {
    let first = caps.structure(0);
    first.map_or_else(String::new, |s| s.name().to_string())
}

/// Holds a live stream back until its first key frame, and counts what the camera sends. A stream
/// that refreshes its pictures piece by piece never has one: it is let through after a while.
struct Gate {
    shared: Arc<Shared>,
    open: AtomicBool,
    patience: Duration,
    first: Mutex<Option<Instant>>,
}

impl Gate {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            open: AtomicBool::new(!shared.is_live()),
            patience: shared.spec.reconnect.connect / 2,
            shared,
            first: Mutex::new(None),
        }
    }

    /// A piece of the stream goes to the decoder.
    fn note_entry(&self, unit: &gst::BufferRef) {
        if let Some(stamp) = unit.pts() {
            let now = self.shared.clock.monotonic();
            self.shared.decoding.enter(stamp.nseconds(), now);
        }
    }

    /// Whether a piece of the stream goes to the decoder.
    fn lets(&self, pad: &gst::Pad, unit: &gst::BufferRef) -> bool {
        self.shared.note_unit();
        if self.open.load(Ordering::Relaxed) {
            return true;
        }
        let key = !unit.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let waited = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(Instant::now)
            .elapsed();
        let without = pad
            .current_caps()
            .is_some_and(|caps| !WITH_KEY_FRAMES.contains(&media_type(&caps).as_str()));
        let lets = key || without || waited >= self.patience;
        if lets {
            self.open.store(true, Ordering::Relaxed);
        } else {
            self.shared.note_skipped_unit();
        }
        lets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoders_come_by_rank_and_failed_ones_do_not_come_back() {
        super::super::gst::init().unwrap();
        let decoders = Decoders::default();
        let caps = gst::Caps::builder("video/x-h264")
            .field("alignment", "au")
            .field("stream-format", "byte-stream")
            .build();
        let found = decoders.candidates(&caps);
        let ranks: Vec<i32> = found.iter().map(|f| i32::from(f.rank())).collect();
        assert!(ranks.is_sorted_by(|a, b| a >= b), "{ranks:?}");
        assert!(found.iter().any(|f| f.name() == "avdec_h264"));
        assert!(!decoders.give_up("avdec_h264"), "software is kept");
        assert!(decoders.give_up("vah264dec"));
        assert!(!decoders.give_up("vah264dec"), "told once");
        assert!(decoders.has_failed("vah264dec"));
        let jpeg = decoders.candidates(&gst::Caps::new_empty_simple("image/jpeg"));
        assert_eq!(jpeg[0].name(), "avdec_mjpeg");
    }
}
