//! Which tracks of a client are agreed on, and what becomes of those that nobody asked for.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_webrtc as gst_webrtc;

use super::film::make;
use super::offer::Payload;

/// Streams of packets that are told apart in a session; a browser has up to three for a track. Each
/// has a buffer and a thread, and a client chooses how many it sends.
const MOST_STREAMS: u32 = 32;

/// Bounds how many streams of packets a client may send; further ones are thrown away.
pub(super) fn bound_streams(bin: &gst::Element) {
    let rtp = bin
        .downcast_ref::<gst::Bin>()
        .and_then(|b| b.by_name("rtpbin"));
    match rtp.filter(|rtp| rtp.find_property("max-streams").is_some()) {
        Some(rtp) => rtp.set_property("max-streams", MOST_STREAMS),
        None => tracing::debug!("this release of GStreamer bounds no streams"),
    }
}

/// The packets of a payload.
pub(super) fn caps_of(payload: Payload) -> gst::Caps {
    gst::Caps::builder("application/x-rtp")
        .field("media", "video")
        .field("encoding-name", payload.codec.name())
        .field("payload", i32::from(payload.number))
        .field("clock-rate", 90_000i32)
        .build()
}

/// Has the answer name this codec for video, and no sound at all.
pub(super) fn agree_on(bin: &gst::Element, payload: Option<Payload>) {
    bin.connect("on-new-transceiver", false, move |args| {
        let transceiver = args
            .get(1)?
            .get::<gst_webrtc::WebRTCRTPTransceiver>()
            .ok()?;
        match (transceiver.kind(), payload) {
            (gst_webrtc::WebRTCKind::Audio, _) => {
                let none = gst_webrtc::WebRTCRTPTransceiverDirection::Inactive;
                transceiver.set_property("direction", none);
            }
            (_, Some(payload)) => {
                transceiver.set_property("codec-preferences", caps_of(payload));
            }
            _ => {}
        }
        None
    });
}

/// Whether a pad gives packets of video.
pub(super) fn is_video(pad: &gst::Pad) -> bool {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let media = caps
        .structure(0)
        .and_then(|s| s.get::<String>("media").ok());
    media.as_deref() == Some("video")
}

/// Gives a pad that nobody asked for a sink that throws everything away: without one the connection
/// would break.
pub(super) fn swallow(pipeline: &gst::Pipeline, pad: &gst::Pad) {
    let linked = make("fakesink")
        .map_err(|e| e.to_string())
        .and_then(|sink| {
            sink.set_property("async", false);
            sink.set_property("sync", false);
            pipeline.add(&sink).map_err(|e| e.to_string())?;
            sink.sync_state_with_parent().map_err(|e| e.to_string())?;
            let entry = sink.static_pad("sink").ok_or("a sink has no pad")?;
            pad.link(&entry).map(drop).map_err(|e| e.to_string())
        });
    if let Err(error) = linked {
        tracing::warn!(error, "a track that is not needed could not be put aside");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_send_as_many_streams_as_it_likes() {
        crate::sources::gst::init().unwrap();
        let bin = make("webrtcbin").unwrap();
        bound_streams(&bin);
        let rtp = bin.downcast_ref::<gst::Bin>().unwrap().by_name("rtpbin");
        let most = rtp.unwrap().property::<u32>("max-streams");
        assert_eq!(most, MOST_STREAMS);
    }
}
