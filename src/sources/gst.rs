//! GStreamer as the rest of the module needs it: started once, elements made with an error that
//! names the package to install, and its errors put into [`SourceError`]s.

use std::sync::OnceLock;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;

use super::{LostReason, SourceError, SourceUri};
use crate::redact::{Redacted, scrub};

/// Starts GStreamer; further calls cost nothing.
pub(crate) fn init() -> Result<(), SourceError> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            gst::init().map_err(|e| e.to_string())?;
            prefer_reference_decoders();
            quieten();
            Ok(())
        })
        .clone()
        .map_err(|reason| SourceError::Host { reason })
}

/// The reference decodes JPEG with FFmpeg, whose pixels differ from libjpeg's by one level.
fn prefer_reference_decoders() {
    if let Some(decoder) = gst::Registry::get().lookup_feature("avdec_mjpeg") {
        decoder.set_rank(gst::Rank::PRIMARY + 1);
    }
}

/// GStreamer 1.22 complains about its own `rtspsrc` each time a connection fails; that goes to the log
/// for developers instead of standard error.
fn quieten() {
    let levels = glib::LogLevels::all();
    glib::log_set_handler(Some("GStreamer"), levels, false, false, |_, _, message| {
        tracing::debug!("gstreamer: {}", scrub(message));
    });
}

/// Makes an element.
pub(crate) fn make(factory: &str, name: &Redacted) -> Result<gst::Element, SourceError> {
    gst::ElementFactory::make(factory)
        .build()
        .map_err(|_| missing(format!("the GStreamer element {factory}"), factory, name))
}

/// The error for an element that is not installed.
pub(crate) fn missing(what: String, factory: &str, name: &Redacted) -> SourceError {
    SourceError::Missing {
        source_name: name.clone(),
        what,
        package: package_of_element(factory).to_owned(),
    }
}

/// The Debian package that has an element.
pub(crate) fn package_of_element(factory: &str) -> &'static str {
    match factory {
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "multipartdemux" | "qtdemux" | "matroskademux" | "rtspsrc" | "mp4mux" | "v4l2src"
        | "jpegdec" | "souphttpsrc" | "udpsrc" | "multiudpsink" | "hlsdemux2" | "videoflip"
        | "vp8dec" | "vp8enc" | "vp9dec" => "gstreamer1.0-plugins-good",
        "h264parse" | "h265parse" | "av1dec" | "srtsrc" | "tsdemux" | "webrtcbin"
        | "dtlssrtpdec" | "dtlssrtpenc" | "sctpdec" | "sctpenc" | "srtpdec" | "srtpenc" => {
            "gstreamer1.0-plugins-bad"
        }
        "nicesink" | "nicesrc" => "gstreamer1.0-nice",
        _ if factory.starts_with("avdec_") => "gstreamer1.0-libav",
        _ if factory.starts_with("rtp") => "gstreamer1.0-plugins-good",
        _ => "gstreamer1.0-plugins-base",
    }
}

/// The Debian package that decodes a media type, where that is known.
fn package_of_media(media: &str) -> &'static str {
    match media {
        "video/x-av1" | "video/x-h266" => "gstreamer1.0-plugins-bad",
        "video/x-vp8" | "video/x-vp9" | "image/jpeg" => "gstreamer1.0-plugins-good",
        "video/x-theora" => "gstreamer1.0-plugins-base",
        _ => "gstreamer1.0-libav",
    }
}

/// The codec named by a `missing-plugin` message, as an error.
pub(crate) fn missing_plugin(message: &gst::MessageRef, name: &Redacted) -> Option<SourceError> {
    let structure = message
        .structure()
        .filter(|s| s.name() == "missing-plugin")?;
    let what = structure.get::<String>("name").ok()?;
    let media = structure
        .get::<gst::Caps>("detail")
        .ok()
        .and_then(|caps| Some(caps.structure(0)?.name().to_string()));
    if media.as_deref().is_some_and(|m| m.starts_with("audio/")) {
        return None;
    }
    Some(SourceError::Missing {
        source_name: name.clone(),
        what,
        package: package_of_media(media.as_deref().unwrap_or_default()).to_owned(),
    })
}

/// What is known about a source when an error comes.
pub(crate) struct Situation<'a> {
    /// The source.
    pub uri: &'a SourceUri,
    /// Its name in errors.
    pub name: &'a Redacted,
    /// Whether its frames come live.
    pub live: bool,
    /// Frames given on this connection.
    pub frames: i64,
}

/// Puts an error of GStreamer into the words of this module.
pub(crate) fn classify(error: &glib::Error, debug: &str, at: &Situation<'_>) -> SourceError {
    let source_name = at.name.clone();
    let reason = reason_of(error, debug);
    let network = !matches!(at.uri, SourceUri::File(_) | SourceUri::Pattern(_));
    if let Some(kind) = error.kind::<gst::ResourceError>() {
        use gst::ResourceError as R;
        return match kind {
            R::NotFound => SourceError::NotFound {
                source_name,
                reason,
                may_appear: at.uri.is_live(),
            },
            R::NotAuthorized => SourceError::Unauthorized { source_name },
            R::Busy => SourceError::Busy { source_name },
            _ if debug.contains("certificate") => SourceError::Certificate {
                source_name,
                reason,
            },
            _ if network && says_unauthorized(debug) => SourceError::Unauthorized { source_name },
            _ => broken(at, reason),
        };
    }
    if refuses_transport(error) {
        let reason = "it does not offer this way of transport".to_owned();
        return SourceError::Refused {
            source_name,
            reason,
        };
    }
    let no_video = error.matches(gst::StreamError::TypeNotFound)
        || error.matches(gst::StreamError::WrongType)
        || lacks_video(error, debug);
    if no_video && at.frames == 0 {
        return SourceError::NotVideo {
            source_name,
            reason,
        };
    }
    broken(at, reason)
}

/// A source that cannot be read any further, or never could.
fn broken(at: &Situation<'_>, reason: String) -> SourceError {
    let source_name = at.name.clone();
    match (at.live, at.uri) {
        (true, _) if at.frames > 0 => SourceError::Lost {
            source_name,
            reason: LostReason::Failed(reason),
        },
        (true, _) => SourceError::Refused {
            source_name,
            reason,
        },
        (false, SourceUri::Http(_)) if at.frames == 0 => SourceError::Refused {
            source_name,
            reason,
        },
        (false, _) => SourceError::Corrupt {
            source_name,
            frames: at.frames,
            reason,
        },
    }
}

fn says_unauthorized(debug: &str) -> bool {
    debug.contains("Unauthorized") || debug.contains("(401)") || debug.contains("(403)")
}

/// Whether an RTSP server has the stream, but not over TCP or not over UDP.
pub(crate) fn refuses_transport(error: &glib::Error) -> bool {
    error.message().contains("transport protocols")
}

/// Whether the streams were found, and none is a video. A codec of a video that is missing was
/// announced before by a message of its own ([`missing_plugin`]).
fn lacks_video(error: &glib::Error, debug: &str) -> bool {
    debug.contains("not-linked")
        || error.matches(gst::CoreError::MissingPlugin)
        || error.matches(gst::StreamError::CodecNotFound)
}

/// GStreamer's message as one clause, and instead of its catch-all texts what they stand for.
fn reason_of(error: &glib::Error, debug: &str) -> String {
    if lacks_video(error, debug) {
        return "it has no video stream".to_owned();
    }
    let details = debug.lines().skip(1).collect::<Vec<_>>().join(" ");
    let text = match error.message() {
        "Internal data stream error." => "reading failed",
        text if text.starts_with("Could not open resource for") && !details.is_empty() => &details,
        text => text,
    };
    clause(text)
}

/// A message as one clause: no address with secrets, lower case, no full stop.
pub(crate) fn clause(text: &str) -> String {
    let text = scrub(text.trim_end_matches("(Generic error)"));
    let text = text.trim().trim_end_matches('.');
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().collect::<String>() + chars.as_str(),
        None => "no reason given".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_codecs_name_their_package() {
        init().unwrap();
        let message = |media: &str| {
            let caps = gst::Caps::new_empty_simple(media);
            gst::message::Element::new(
                gst::Structure::builder("missing-plugin")
                    .field("type", "decoder")
                    .field("detail", caps)
                    .field("name", "Some decoder")
                    .build(),
            )
        };
        let name = Redacted::new("clip.mp4");
        let shown = |media: &str| missing_plugin(&message(media), &name).map(|e| e.to_string());
        assert_eq!(
            shown("video/x-h264").unwrap(),
            "clip.mp4: Some decoder is missing on this machine; install gstreamer1.0-libav"
        );
        assert!(shown("video/x-av1").unwrap().ends_with("plugins-bad"));
        assert_eq!(shown("audio/mpeg"), None);
    }

    #[test]
    fn messages_of_gstreamer_lose_their_secrets() {
        init().unwrap();
        let uri: SourceUri = "rtsp://u:pw@cam/x".parse().unwrap();
        let at = Situation {
            uri: &uri,
            name: &uri.redacted(),
            live: true,
            frames: 0,
        };
        let error = glib::Error::new(
            gst::ResourceError::OpenRead,
            "Could not open rtsp://u:pw@cam/x.",
        );
        let error = classify(&error, "", &at);
        assert_eq!(
            error.to_string(),
            "rtsp://***@cam/x: cannot connect (could not open rtsp://***@cam/x)"
        );
        assert!(error.retry());
    }
}
