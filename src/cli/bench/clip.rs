//! The clip that the cameras of a benchmark play: a moving ball, H.264 in MP4.

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;

use crate::sources::gst::init;

/// Width and height.
pub(super) const SIZE: (u32, u32) = (640, 360);

/// Writes a clip.
///
/// # Errors
/// If GStreamer lacks an element or cannot write the file.
pub(super) fn write(path: &Path, fps: u32, frames: u32) -> Result<(), String> {
    init().map_err(|error| error.to_string())?;
    let (width, height) = SIZE;
    let description = format!(
        "videotestsrc num-buffers={frames} pattern=ball \
         ! video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 \
         ! x264enc speed-preset=veryfast bframes=0 threads=1 key-int-max={} \
         ! mp4mux ! filesink name=file",
        2 * fps
    );
    let pipeline = gst::parse::launch(&description).map_err(|error| error.to_string())?;
    let file = pipeline
        .downcast_ref::<gst::Bin>()
        .and_then(|bin| bin.by_name("file"))
        .ok_or("the pipeline has no file")?;
    file.set_property("location", path.to_string_lossy().as_ref());
    let written = play(&pipeline);
    let _ = pipeline.set_state(gst::State::Null);
    written
}

fn play(pipeline: &gst::Element) -> Result<(), String> {
    let bus = pipeline.bus().ok_or("the pipeline has no bus")?;
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|error| error.to_string())?;
    for message in bus.iter_timed(gst::ClockTime::NONE) {
        match message.view() {
            gst::MessageView::Eos(_) => return Ok(()),
            gst::MessageView::Error(error) => return Err(error.error().to_string()),
            _ => {}
        }
    }
    Err("the pipeline ended without a word".into())
}
