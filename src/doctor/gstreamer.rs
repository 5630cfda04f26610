//! Whether GStreamer has every element that millrace uses, and what it can decode.
//!
//! An element counts as there if its plug-in can be loaded: the registry remembers plug-ins whose
//! libraries are gone.

use std::collections::BTreeSet;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::finding::listed;
use super::{Check, Circumstances, Finding};
use crate::clock::Clock;
use crate::outputs::rtsp;
use crate::sources::gst::{init, package_of_element};

/// Elements that every source needs.
const CORE: &[&str] = &[
    "appsink",
    "appsrc",
    "capsfilter",
    "decodebin",
    "fakesink",
    "filesink",
    "uridecodebin",
    "uridecodebin3",
    "videoconvert",
    "videoflip",
    "videotestsrc",
];

/// Elements that cameras and containers of recorded files need.
const SOURCES: &[&str] = &[
    "avidemux",
    "h264parse",
    "h265parse",
    "hlsdemux2",
    "matroskademux",
    "multipartdemux",
    "qtdemux",
    "rtph264depay",
    "rtph265depay",
    "rtpjpegdepay",
    "rtpmp4vdepay",
    "rtpvp8depay",
    "rtpvp9depay",
    "rtspsrc",
    "souphttpsrc",
    "srtsrc",
    "tsdemux",
    "udpsrc",
    "v4l2src",
];

/// Elements that write films.
const FILM: &[&str] = &["x264enc", "mp4mux"];

/// Elements that sessions over WebRTC need: the connection and its channels, and tracks in VP8 and
/// H.264. Some of them `webrtcbin` makes by itself.
const WEBRTC: &[&str] = &[
    "dtlssrtpdec",
    "dtlssrtpenc",
    "nicesink",
    "nicesrc",
    "rtpbin",
    "rtph264depay",
    "rtph264pay",
    "rtpvp8depay",
    "rtpvp8pay",
    "sctpdec",
    "sctpenc",
    "srtpdec",
    "srtpenc",
    "vp8enc",
    "webrtcbin",
    "x264enc",
];

/// Elements that pictures over RTSP need, besides an encoder.
const RTSP_OUTPUT: &[&str] = &[
    "h264parse",
    "multiudpsink",
    "rtpbin",
    "rtph264pay",
    "udpsrc",
];

/// A video codec: its name, its media type, and the decoder that RTSP sources take.
struct Codec {
    name: &'static str,
    media: &'static str,
    rtsp: Option<&'static str>,
    /// The decoder to install where there is none.
    usual: &'static str,
}

const CODECS: &[Codec] = &[
    Codec {
        name: "H.264",
        media: "video/x-h264",
        rtsp: Some("avdec_h264"),
        usual: "avdec_h264",
    },
    Codec {
        name: "H.265",
        media: "video/x-h265",
        rtsp: Some("avdec_h265"),
        usual: "avdec_h265",
    },
    Codec {
        name: "VP8",
        media: "video/x-vp8",
        rtsp: Some("vp8dec"),
        usual: "vp8dec",
    },
    Codec {
        name: "VP9",
        media: "video/x-vp9",
        rtsp: Some("vp9dec"),
        usual: "vp9dec",
    },
    Codec {
        name: "AV1",
        media: "video/x-av1",
        rtsp: None,
        usual: "av1dec",
    },
    Codec {
        name: "MJPEG",
        media: "image/jpeg",
        rtsp: Some("jpegdec"),
        usual: "jpegdec",
    },
];

pub(super) fn check(_: &Circumstances, _: &dyn Clock) -> Vec<Finding> {
    if let Err(error) = init() {
        let remedy = "install GStreamer: `sudo apt-get install libgstreamer1.0-0 \
                      gstreamer1.0-plugins-base`";
        return vec![Finding::fault(Check::GStreamer, error.to_string(), remedy)];
    }
    vec![elements(), decoders(), encoder(), webrtc(), rtsp_output()]
}

fn is_there(element: &str) -> bool {
    gst::ElementFactory::find(element).is_some_and(|factory| factory.load().is_ok())
}

fn missing(elements: &[&'static str]) -> Vec<&'static str> {
    elements.iter().copied().filter(|e| !is_there(e)).collect()
}

/// The Debian package of an element, also of those that GStreamer plugs in by itself.
fn package(element: &str) -> &'static str {
    match element {
        "capsfilter" | "fakesink" | "filesink" => "libgstreamer1.0-0",
        "avidemux" => "gstreamer1.0-plugins-good",
        "tsdemux" => "gstreamer1.0-plugins-bad",
        other => package_of_element(other),
    }
}

fn install(elements: &[&str]) -> String {
    let packages: BTreeSet<&str> = elements.iter().map(|e| package(e)).collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    let mut remedy = format!("`sudo apt-get install {}`", packages.join(" "));
    if std::env::var_os("GST_PLUGIN_SYSTEM_PATH").is_some()
        || std::env::var_os("GST_PLUGIN_SYSTEM_PATH_1_0").is_some()
    {
        remedy += ", and unset GST_PLUGIN_SYSTEM_PATH, which hides installed plug-ins";
    }
    remedy
}

fn elements() -> Finding {
    let all: Vec<&str> = CORE.iter().chain(SOURCES).copied().collect();
    let missing = missing(&all);
    let version = gst::version_string();
    if missing.is_empty() {
        let evidence = format!("{version} with all {} elements", all.len() + FILM.len());
        return Finding::ok(Check::GStreamer, evidence);
    }
    let evidence = format!("{version} lacks {}", listed(&missing, 12));
    Finding::fault(Check::GStreamer, evidence, install(&missing))
}

fn decoders() -> Finding {
    let mut have = Vec::new();
    let mut lack = Vec::new();
    let mut needed = Vec::new();
    for codec in CODECS {
        let found = decoders_of(codec.media);
        let rtsp = codec.rtsp.filter(|decoder| !is_there(decoder));
        match (found.is_empty(), rtsp) {
            (true, _) => {
                lack.push(format!("no decoder for {}", codec.name));
                needed.push(codec.usual);
            }
            (false, Some(decoder)) => {
                lack.push(format!("no {decoder} for {} over RTSP", codec.name));
                needed.push(decoder);
            }
            (false, None) => {}
        }
        if let Some(first) = found.first() {
            have.push(format!("{} {first}", codec.name));
        }
    }
    let have = listed(&have, CODECS.len());
    if lack.is_empty() {
        return Finding::ok(Check::Decoders, have);
    }
    let mut evidence = listed(&lack, CODECS.len());
    if !have.is_empty() {
        evidence += &format!("; there are {have}");
    }
    Finding::fault(Check::Decoders, evidence, install(&needed))
}

/// The decoders of a media type that can be loaded, in the order in which they are tried.
fn decoders_of(media: &str) -> Vec<String> {
    let kind = gst::ElementFactoryType::DECODER | gst::ElementFactoryType::MEDIA_ANY;
    // Pictures with transparency have decoders of their own.
    let caps = gst::Caps::builder(media)
        .field("codec-alpha", false)
        .build();
    let factories = gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL);
    let mut found: Vec<gst::ElementFactory> = factories
        .into_iter()
        .filter(|factory| factory.can_sink_any_caps(&caps))
        .collect();
    found.sort_by_key(|factory| std::cmp::Reverse(factory.rank()));
    found
        .into_iter()
        .filter(|factory| factory.load().is_ok())
        .map(|factory| factory.name().to_string())
        .collect()
}

fn encoder() -> Finding {
    let missing = missing(FILM);
    if missing.is_empty() {
        return Finding::ok(Check::Encoder, listed(FILM, FILM.len()));
    }
    let evidence = format!("films cannot be written without {}", listed(&missing, 4));
    Finding::fault(Check::Encoder, evidence, install(&missing))
}

fn webrtc() -> Finding {
    let missing = missing(WEBRTC);
    if missing.is_empty() {
        return Finding::ok(Check::Webrtc, format!("all {} elements", WEBRTC.len()));
    }
    // Clients choose the codec, and most offer VP8 first.
    let what = match missing[..] {
        ["x264enc"] => "sessions over WebRTC have no track in H.264",
        ["vp8enc"] => "sessions over WebRTC have no track in VP8",
        _ => "no session over WebRTC can be had",
    };
    let evidence = format!("{what} without {}", listed(&missing, WEBRTC.len()));
    Finding::fault(Check::Webrtc, evidence, install(&missing))
}

fn rtsp_output() -> Finding {
    let mut missing = missing(RTSP_OUTPUT);
    let encoder = rtsp::encoder();
    if encoder.is_none() {
        // The one that needs no graphics card.
        missing.push("x264enc");
    }
    match (encoder, &missing[..]) {
        (Some(encoder), []) => Finding::ok(Check::RtspOutput, format!("encoded by {encoder}")),
        _ => {
            let evidence = format!(
                "no picture can be sent over RTSP without {}",
                listed(&missing, RTSP_OUTPUT.len() + 1)
            );
            Finding::fault(Check::RtspOutput, evidence, install(&missing))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn this_machine_has_everything() {
        init().unwrap();
        for found in [elements(), decoders(), encoder(), webrtc(), rtsp_output()] {
            assert_eq!(found.verdict, Verdict::Ok, "{found:?}");
        }
        assert!(decoders().evidence.contains("H.264 "));
    }

    #[test]
    fn packages_are_named_once() {
        let remedy = install(&["x264enc", "rtspsrc", "qtdemux"]);
        assert!(
            remedy.contains("install gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly`"),
            "{remedy}"
        );
    }

    #[test]
    fn what_webrtc_needs_is_in_debian_packages_that_set_up_installs() {
        let setup = include_str!("../../scripts/setup.sh");
        for element in WEBRTC.iter().chain(RTSP_OUTPUT) {
            assert!(setup.contains(package(element)), "{element}");
        }
        let named = [package("nicesrc"), package("sctpenc"), package("rtpbin")];
        assert_eq!(
            named,
            [
                "gstreamer1.0-nice",
                "gstreamer1.0-plugins-bad",
                "gstreamer1.0-plugins-good"
            ]
        );
    }
}
