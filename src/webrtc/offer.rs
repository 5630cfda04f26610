//! What a client offers, checked before GStreamer sees it.
//!
//! An offer is refused that is too long, that is no SDP, or whose sections lack what a connection
//! needs: an identifier, ICE credentials, a fingerprint. Everything else is left to the negotiation.

use gstreamer_sdp as gst_sdp;

use super::WebrtcError;

/// Longest offer, in bytes. One of a browser with all its codecs has some 10 KiB.
const LONGEST: usize = 128 * 1024;
/// Most media sections.
const SECTIONS: u32 = 16;

/// A codec for video that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// VP8 (RFC 7741).
    Vp8,
    /// H.264 in packetization mode 1 (RFC 6184).
    H264,
}

impl Codec {
    /// Name in SDP and in GStreamer's caps.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vp8 => "VP8",
            Self::H264 => "H264",
        }
    }
}

/// A codec as it was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The codec.
    pub codec: Codec,
    /// Its number in RTP packets.
    pub number: u8,
}

/// The first video section of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Video {
    /// The client's first codec that is spoken here.
    pub payload: Option<Payload>,
    /// Whether the client sends.
    pub sends: bool,
    /// Whether the client receives.
    pub receives: bool,
}

/// An offer that may be answered.
#[derive(Debug)]
pub struct Offer {
    /// As GStreamer takes it.
    pub sdp: gst_sdp::SDPMessage,
    /// Its video.
    pub video: Option<Video>,
    /// Whether it has data channels.
    pub data: bool,
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`WebrtcError::Offer`], saying what is wrong with it.
    pub fn read(text: &str) -> Result<Self, WebrtcError> {
        if text.len() > LONGEST {
            let reason = format!("it has {} bytes; {LONGEST} are taken", text.len());
            return Err(WebrtcError::offer(reason));
        }
        let plain = |c: char| !c.is_control() || matches!(c, '\r' | '\n' | '\t');
        if !text.starts_with("v=0") || !text.chars().all(plain) {
            return Err(WebrtcError::offer("it is no SDP"));
        }
        let sdp = gst_sdp::SDPMessage::parse_buffer(text.as_bytes())
            .map_err(|_| WebrtcError::offer("it is no SDP"))?;
        let sections = sdp.medias_len();
        if !(1..=SECTIONS).contains(&sections) {
            let reason = format!("it has {sections} media sections; 1 to {SECTIONS} are taken");
            return Err(WebrtcError::offer(reason));
        }
        let mut offer = Self {
            sdp: sdp.clone(),
            video: None,
            data: false,
        };
        let mut any = false;
        for at in 0..sections {
            let Some(media) = sdp.media(at) else {
                continue;
            };
            if media.port() == 0 {
                continue;
            }
            check(&sdp, media, at)?;
            any = true;
            match media.media() {
                Some("video") if offer.video.is_none() => offer.video = Some(Video::read(media)),
                Some("application") => offer.data |= is_channel(media),
                _ => {}
            }
        }
        match any {
            true => Ok(offer),
            false => Err(WebrtcError::offer(
                "all its media sections are switched off",
            )),
        }
    }
}

/// Checks that a section has what a connection needs; bundled sections may leave it to the first one.
fn check(
    sdp: &gst_sdp::SDPMessageRef,
    media: &gst_sdp::SDPMediaRef,
    at: u32,
) -> Result<(), WebrtcError> {
    let bundled = sdp
        .attribute_val("group")
        .is_some_and(|g| g.starts_with("BUNDLE"));
    let has = |name: &str| {
        let own = media
            .attribute_val(name)
            .or_else(|| sdp.attribute_val(name));
        own.is_some_and(|value| !value.is_empty())
    };
    if media.attribute_val("mid").is_none_or(str::is_empty) {
        let reason = format!("media section {at} has no a=mid");
        return Err(WebrtcError::offer(reason));
    }
    for name in ["ice-ufrag", "ice-pwd", "fingerprint"] {
        let elsewhere = bundled && at > 0;
        if !has(name) && !elsewhere {
            let reason = format!("media section {at} has no a={name}");
            return Err(WebrtcError::offer(reason));
        }
    }
    Ok(())
}

fn is_channel(media: &gst_sdp::SDPMediaRef) -> bool {
    media.proto().is_some_and(|proto| proto.ends_with("SCTP"))
        || media.format(0) == Some("webrtc-datachannel")
}

impl Video {
    fn read(media: &gst_sdp::SDPMediaRef) -> Self {
        let says = |name: &str| media.attribute_val(name).is_some();
        let (only_sends, only_receives) = (says("sendonly"), says("recvonly"));
        let neither = says("inactive");
        Self {
            payload: payloads(media).next(),
            sends: !only_receives && !neither,
            receives: !only_sends && !neither,
        }
    }
}

/// The codecs of a section that are spoken here, in the client's order.
fn payloads(media: &gst_sdp::SDPMediaRef) -> impl Iterator<Item = Payload> {
    let value = move |kind: &'static str, number: &str| {
        let own = format!("{number} ");
        media.attributes().find_map(move |attribute| {
            let value = (attribute.key() == kind).then(|| attribute.value())??;
            value.strip_prefix(&own).map(str::to_owned)
        })
    };
    media.formats().filter_map(move |number| {
        let map = value("rtpmap", number)?;
        let codec = match map.split('/').next()?.to_ascii_uppercase().as_str() {
            "VP8" => Codec::Vp8,
            "H264" => {
                let parameters = value("fmtp", number).unwrap_or_default();
                parameters
                    .contains("packetization-mode=1")
                    .then_some(Codec::H264)?
            }
            _ => return None,
        };
        let number = number.parse().ok()?;
        Some(Payload { codec, number })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str =
        "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 00:11\r\n";

    fn offer(sections: &str) -> Result<Offer, WebrtcError> {
        crate::sources::gst::init().unwrap();
        Offer::read(&format!(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{sections}"
        ))
    }

    fn video(lines: &str) -> String {
        format!("m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n{lines}")
    }

    #[test]
    fn the_clients_first_codec_that_is_spoken_is_taken() {
        let lines = "a=rtpmap:96 AV1/90000\r\na=rtpmap:97 H264/90000\r\na=fmtp:97 packetization-mode=0\r\n\
                     a=rtpmap:98 H264/90000\r\na=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1\r\n\
                     a=rtpmap:99 VP8/90000\r\na=recvonly\r\n";
        let read = offer(&video(&format!("{lines}{CREDENTIALS}"))).unwrap();
        let want = Video {
            payload: Some(Payload {
                codec: Codec::H264,
                number: 98,
            }),
            sends: false,
            receives: true,
        };
        assert_eq!(read.video, Some(want));
        assert!(!read.data);
    }

    #[test]
    fn channels_are_seen_and_sections_without_codecs_have_none() {
        let channel = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sctp-port:5000\r\n";
        let read = offer(&format!("{}{CREDENTIALS}{channel}{CREDENTIALS}", video(""))).unwrap();
        assert!(read.data);
        let video = read.video.unwrap();
        assert_eq!(video.payload, None);
        assert!(video.sends && video.receives);
    }

    #[test]
    fn what_no_connection_can_be_made_of_is_refused() {
        crate::sources::gst::init().unwrap();
        let refused = |text: &str| match Offer::read(text) {
            Err(WebrtcError::Offer { reason }) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(""), "it is no SDP");
        assert_eq!(refused("garbage"), "it is no SDP");
        assert_eq!(refused("v=0\0"), "it is no SDP");
        assert!(refused(&"v=0\r\n".repeat(40_000)).contains("bytes"));
        let of = |sections: &str| match offer(sections) {
            Err(WebrtcError::Offer { reason }) => reason,
            other => panic!("{other:?}"),
        };
        assert!(of("").contains("0 media sections"));
        assert_eq!(of(&video("")), "media section 0 has no a=ice-ufrag");
        let without = CREDENTIALS.replace("ice-pwd", "ice-xyz");
        assert_eq!(of(&video(&without)), "media section 0 has no a=ice-pwd");
        let nameless = video(CREDENTIALS).replace("a=mid:0\r\n", "");
        assert_eq!(of(&nameless), "media section 0 has no a=mid");
        let off = video(CREDENTIALS).replace("m=video 9", "m=video 0");
        assert!(of(&off).contains("switched off"));
    }
}
