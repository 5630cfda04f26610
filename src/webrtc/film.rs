//! Pictures as a video track to the client: encoded in a codec that it offered, in its own time.
//!
//! RTP time stamps follow the times that pictures are given, to within a tick, so that a client finds
//! the message on a picture by its time. A picture with an odd side loses nothing: its last column or
//! row is repeated, because the encoders take even sizes only.

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::WebrtcError;
use super::offer::{Codec, Payload};
use crate::delivery::video::{even, shared_buffer};
use crate::sources::gst::package_of_element;
use crate::values::Matrix;

/// Pictures that may wait for the encoder.
const WAITING: u64 = 2;
/// Longest distance of two key frames, pictures. Clients ask for one when they need it.
const BETWEEN_KEYS: i32 = 120;
/// Bits for a pixel of a picture at [`RATE`] pictures a second.
const BITS: f64 = 0.12;
/// Pictures a second that the bit rate is reckoned with.
const RATE: f64 = 30.0;

/// See the module documentation.
pub struct Film {
    source: gst_app::AppSrc,
    encoder: gst::Element,
    codec: Codec,
    size: (usize, usize),
    /// Time in the pipeline of the first picture.
    base: Option<gst::ClockTime>,
    last: Option<gst::ClockTime>,
}

impl Film {
    /// Puts source, encoder and payloader into the pipeline; answers the pad that gives the packets.
    ///
    /// # Errors
    /// If an element is not installed.
    pub fn build(
        pipeline: &gst::Pipeline,
        payload: Payload,
    ) -> Result<(Self, gst::Pad), WebrtcError> {
        let source = gst_app::AppSrc::builder()
            .format(gst::Format::Time)
            .is_live(true)
            .max_buffers(WAITING)
            .build();
        let convert = make("videoconvert")?;
        convert.set_property("n-threads", 1u32);
        let planar = gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("colorimetry", "bt601")
            .build();
        let (encoder, after) = encoder(payload.codec)?;
        let payloader = match payload.codec {
            Codec::Vp8 => {
                let payloader = make("rtpvp8pay")?;
                payloader.set_property_from_str("picture-id-mode", "15-bit");
                payloader
            }
            Codec::H264 => {
                let payloader = make("rtph264pay")?;
                payloader.set_property("config-interval", -1i32);
                payloader.set_property_from_str("aggregate-mode", "zero-latency");
                payloader
            }
        };
        payloader.set_property("pt", u32::from(payload.number));
        payloader.set_property("mtu", 1_200u32);
        let elements = [
            source.upcast_ref(),
            &convert,
            &filter(&planar)?,
            &encoder,
            &filter(&after)?,
            &payloader,
        ];
        pipeline
            .add_many(elements)
            .and_then(|()| gst::Element::link_many(elements))
            .map_err(WebrtcError::host)?;
        let pad = payloader
            .static_pad("src")
            .ok_or_else(|| WebrtcError::host("the payloader has no pad"))?;
        let film = Self {
            source,
            encoder,
            codec: payload.codec,
            size: (0, 0),
            base: None,
            last: None,
        };
        Ok((film, pad))
    }

    /// Whether the encoder keeps up.
    pub fn has_room(&self) -> bool {
        self.source.current_level_buffers() < WAITING
    }

    /// Shows a picture at `time` after the first one. Times grow; one that does not is moved behind
    /// the one before.
    ///
    /// # Errors
    /// If the pipeline does not run any more.
    pub fn push(&mut self, picture: &Arc<Matrix>, time: Duration) -> Result<(), gst::FlowError> {
        let picture = even(picture);
        if self.size != (picture.width, picture.height) {
            self.resize(picture.width, picture.height)?;
        }
        let base = match self.base {
            Some(base) => base,
            None => *self
                .base
                .insert(self.source.current_running_time().unwrap_or_default()),
        };
        let time = gst::ClockTime::try_from(time).unwrap_or_default();
        let after = self
            .last
            .map(|last| last + gst::ClockTime::from_mseconds(1));
        let time = (base + time).max(after.unwrap_or_default());
        self.last = Some(time);
        let mut buffer = shared_buffer(&picture);
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(time);
        }
        self.source.push_buffer(buffer).map(drop)
    }

    fn resize(&mut self, width: usize, height: usize) -> Result<(), gst::FlowError> {
        let format = gst_video::VideoFormat::Bgr;
        let caps = gst_video::VideoInfo::builder(format, width as u32, height as u32)
            .fps(gst::Fraction::new(0, 1))
            .build()
            .and_then(|info| info.to_caps())
            .map_err(|_| gst::FlowError::NotNegotiated)?;
        self.source.set_caps(Some(&caps));
        let bits = (width * height) as f64 * RATE * BITS;
        let bits = bits.clamp(300_000.0, 6_000_000.0);
        match self.codec {
            Codec::Vp8 => self.encoder.set_property("target-bitrate", bits as i32),
            // In kilobits.
            Codec::H264 => self.encoder.set_property("bitrate", (bits / 1e3) as u32),
        }
        self.size = (width, height);
        Ok(())
    }
}

/// The encoder, and what comes out of it.
fn encoder(codec: Codec) -> Result<(gst::Element, gst::Caps), WebrtcError> {
    match codec {
        Codec::Vp8 => {
            let encoder = make("vp8enc")?;
            // As fast as it can be, as WebRTC needs it.
            encoder.set_property("deadline", 1i64);
            encoder.set_property("cpu-used", 8i32);
            encoder.set_property("threads", 2i32);
            encoder.set_property("lag-in-frames", 0i32);
            encoder.set_property("keyframe-max-dist", BETWEEN_KEYS);
            encoder.set_property_from_str("end-usage", "cbr");
            encoder.set_property_from_str("error-resilient", "default");
            // Without a rate of pictures the encoder would reckon with nanoseconds.
            encoder.set_property("timebase", gst::Fraction::new(1, 90_000));
            Ok((encoder, gst::Caps::new_empty_simple("video/x-vp8")))
        }
        Codec::H264 => {
            let encoder = make("x264enc")?;
            encoder.set_property_from_str("tune", "zerolatency");
            encoder.set_property_from_str("speed-preset", "ultrafast");
            encoder.set_property("key-int-max", BETWEEN_KEYS as u32);
            encoder.set_property("threads", 2u32);
            let caps = gst::Caps::builder("video/x-h264")
                .field("profile", "constrained-baseline")
                .build();
            Ok((encoder, caps))
        }
    }
}

fn filter(caps: &gst::Caps) -> Result<gst::Element, WebrtcError> {
    let filter = make("capsfilter")?;
    filter.set_property("caps", caps);
    Ok(filter)
}

/// Makes an element.
pub(super) fn make(element: &str) -> Result<gst::Element, WebrtcError> {
    gst::ElementFactory::make(element).build().map_err(|_| {
        let package = package_of_element(element);
        WebrtcError::host(format!(
            "the GStreamer element {element} is missing; install {package}"
        ))
    })
}
