//! The pipeline that encodes a film.

use std::fmt::Display;
use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::{VideoError, VideoOptions, WAITING};
use crate::sources::gst::package_of_element;

/// From pictures of this size to the file; not started.
pub(super) fn build(
    path: &Path,
    width: usize,
    height: usize,
    rate: gst::Fraction,
    options: &VideoOptions,
) -> Result<(gst::Pipeline, gst_app::AppSrc), VideoError> {
    let source = source(width, height, rate).map_err(|error| failed(path, &error))?;
    let convert = make("videoconvert", path)?;
    convert.set_property("n-threads", 1u32);
    let filter = make("capsfilter", path)?;
    let planar = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("colorimetry", "bt601")
        .build();
    filter.set_property("caps", &planar);
    let encoder = encoder(path, options)?;
    let muxer = make("mp4mux", path)?;
    let fragment = options.fragment.as_millis().max(1) as u32;
    muxer.set_property("fragment-duration", fragment);
    muxer.set_property_from_str("fragment-mode", "first-moov-then-finalise");
    let sink = make("filesink", path)?;
    sink.set_property("location", path.to_string_lossy().as_ref());
    let pipeline = gst::Pipeline::new();
    let elements = [
        source.upcast_ref(),
        &convert,
        &filter,
        &encoder,
        &muxer,
        &sink,
    ];
    pipeline
        .add_many(elements)
        .and_then(|()| gst::Element::link_many(elements))
        .map_err(|error| failed(path, &error))?;
    Ok((pipeline, source))
}

fn source(
    width: usize,
    height: usize,
    rate: gst::Fraction,
) -> Result<gst_app::AppSrc, gst::glib::BoolError> {
    let format = gst_video::VideoFormat::Bgr;
    let info = gst_video::VideoInfo::builder(format, width as u32, height as u32)
        .fps(rate)
        .build()?;
    Ok(gst_app::AppSrc::builder()
        .caps(&info.to_caps()?)
        .format(gst::Format::Time)
        .max_buffers(2 * WAITING)
        .build())
}

fn encoder(path: &Path, options: &VideoOptions) -> Result<gst::Element, VideoError> {
    let encoder = make("x264enc", path)?;
    encoder.set_property_from_str("speed-preset", "veryfast");
    encoder.set_property_from_str("pass", "qual");
    encoder.set_property("quantizer", options.quantizer.min(50));
    encoder.set_property("bframes", 0u32);
    encoder.set_property("threads", options.threads);
    let between_keys = (options.fps * options.fragment.as_secs_f64()).ceil();
    encoder.set_property("key-int-max", between_keys.max(1.0) as u32);
    Ok(encoder)
}

fn make(element: &str, path: &Path) -> Result<gst::Element, VideoError> {
    gst::ElementFactory::make(element)
        .build()
        .map_err(|_| VideoError::Missing {
            path: path.to_owned(),
            element: element.to_owned(),
            package: package_of_element(element).to_owned(),
        })
}

fn failed(path: &Path, error: &dyn Display) -> VideoError {
    VideoError::Failed {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}
