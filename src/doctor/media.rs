//! Whether GStreamer has what reading and writing video needs.

use gstreamer as gst;

use super::{Finding, Subject};
use crate::sources::gst::{init, package_of_element};

/// An element of GStreamer and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// Name of its factory.
    pub factory: &'static str,
    /// What cannot be done without it.
    pub purpose: &'static str,
}

const fn element(factory: &'static str, purpose: &'static str) -> Element {
    Element { factory, purpose }
}

/// The elements that millrace uses.
pub const ELEMENTS: [Element; 14] = [
    element("uridecodebin", "reading files"),
    element("videoconvert", "reading pictures that are not 8-bit 4:2:0"),
    element("appsink", "reading anything"),
    element("qtdemux", "reading MP4"),
    element("matroskademux", "reading MKV and WebM"),
    element("rtspsrc", "RTSP cameras"),
    element("rtph264depay", "RTSP cameras with H.264"),
    element("rtph265depay", "RTSP cameras with H.265"),
    element("souphttpsrc", "HTTP cameras"),
    element("multipartdemux", "MJPEG cameras"),
    element("v4l2src", "cameras of this machine"),
    element("avdec_h264", "decoding H.264"),
    element("x264enc", "writing annotated video"),
    element("mp4mux", "writing annotated video"),
];

/// Decoders by codec, the preferred one first.
const DECODERS: [(&str, &[&str]); 6] = [
    (
        "H.264",
        &["avdec_h264", "openh264dec", "vah264dec", "nvh264dec"],
    ),
    (
        "H.265",
        &["avdec_h265", "libde265dec", "vah265dec", "nvh265dec"],
    ),
    ("MJPEG", &["avdec_mjpeg", "jpegdec"]),
    ("VP8", &["vp8dec", "avdec_vp8"]),
    ("VP9", &["vp9dec", "avdec_vp9"]),
    ("AV1", &["dav1ddec", "av1dec", "avdec_av1", "vaav1dec"]),
];

fn is_there(factory: &str) -> bool {
    gst::ElementFactory::find(factory).is_some()
}

/// Whether every element that is used is installed.
pub fn elements(subject: &Subject) -> Finding {
    const CHECK: &str = "GStreamer";
    if let Err(error) = init() {
        return Finding::wrong(CHECK, error.to_string(), "scripts/setup.sh");
    }
    let version = gst::version_string();
    let missing: Vec<&Element> = subject
        .elements
        .iter()
        .filter(|e| !is_there(e.factory))
        .collect();
    if missing.is_empty() {
        let evidence = format!(
            "{version}; all {} elements are there",
            subject.elements.len()
        );
        return Finding::sound(CHECK, evidence);
    }
    let lines: Vec<String> = missing
        .iter()
        .map(|e| format!("{} is missing, needed for {}", e.factory, e.purpose))
        .collect();
    let mut packages: Vec<&str> = missing
        .iter()
        .map(|e| package_of_element(e.factory))
        .collect();
    packages.sort_unstable();
    packages.dedup();
    Finding::wrong(
        CHECK,
        lines.join("\n"),
        format!("sudo apt-get install {}", packages.join(" ")),
    )
}

/// Which codecs can be decoded, and by what.
pub fn decoders(_: &Subject) -> Finding {
    const CHECK: &str = "decoders";
    if let Err(error) = init() {
        return Finding::skipped(CHECK, error.to_string());
    }
    let mut none = Vec::new();
    let mut told = Vec::new();
    for (codec, decoders) in DECODERS {
        match decoders.iter().find(|d| is_there(d)) {
            Some(decoder) => told.push(format!("{codec} {decoder}")),
            None => none.push(codec),
        }
    }
    let evidence = told.join(", ");
    match none.is_empty() {
        true => Finding::sound(CHECK, evidence),
        false => Finding::note(CHECK, format!("{evidence}; none for {}", none.join(", "))),
    }
}
