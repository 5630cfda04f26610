//! A window that shows pictures as they come.
//!
//! The window is GStreamer's (`autovideosink`), so it needs a display. Pictures are shown when they
//! arrive, without a clock; one that finds the window busy is skipped, so a slow display never holds
//! a stream up.

use gstreamer as gst;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use crate::values::Image;

/// Why there is no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// The machine has no display.
    #[error(
        "no display to show the preview on (neither DISPLAY nor WAYLAND_DISPLAY is set); leave --preview out, or use --video"
    )]
    NoDisplay,
    /// GStreamer refused.
    #[error("the preview window failed: {0}")]
    Failed(String),
}

/// An open window.
pub struct Window {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    size: (usize, usize),
}

impl Window {
    /// Opens a window.
    ///
    /// # Errors
    /// Without a display, or if GStreamer lacks an element.
    pub fn open() -> Result<Self, WindowError> {
        let display = ["DISPLAY", "WAYLAND_DISPLAY"];
        if display
            .iter()
            .all(|name| std::env::var_os(name).is_none_or(|v| v.is_empty()))
        {
            return Err(WindowError::NoDisplay);
        }
        let window = |e: &dyn std::fmt::Display| WindowError::Failed(e.to_string());
        gst::init().map_err(|e| window(&e))?;
        let pipeline = gst::Pipeline::new();
        let source = gst_app::AppSrc::builder()
            .is_live(true)
            .format(gst::Format::Time)
            .max_buffers(1)
            .build();
        source.set_leaky_type(gst_app::AppLeakyType::Downstream);
        let make = |name: &str| {
            gst::ElementFactory::make(name)
                .build()
                .map_err(|e| window(&e))
        };
        let convert = make("videoconvert")?;
        let sink = make("autovideosink")?;
        sink.set_property("sync", false);
        pipeline
            .add_many([source.upcast_ref(), &convert, &sink])
            .map_err(|e| window(&e))?;
        gst::Element::link_many([source.upcast_ref(), &convert, &sink]).map_err(|e| window(&e))?;
        pipeline
            .set_state(gst::State::Playing)
            .map_err(|e| window(&e))?;
        Ok(Self {
            pipeline,
            source,
            size: (0, 0),
        })
    }

    /// Shows a picture.
    ///
    /// # Errors
    /// If the window was closed or the display went away.
    pub fn show(&mut self, picture: &Image) -> Result<(), WindowError> {
        let failed = self
            .pipeline
            .bus()
            .and_then(|bus| bus.pop_filtered(&[gst::MessageType::Error]));
        if let Some(gst::MessageView::Error(error)) = failed.as_ref().map(|message| message.view())
        {
            return Err(WindowError::Failed(error.error().to_string()));
        }
        let pixels = picture.bgr();
        let wrong = |what: &str| WindowError::Failed(what.to_owned());
        let size = (pixels.width, pixels.height);
        let info = gst_video::VideoInfo::builder(
            gst_video::VideoFormat::Bgr,
            size.0 as u32,
            size.1 as u32,
        )
        .build()
        .map_err(|_| wrong("the picture has no size"))?;
        if size != self.size {
            self.source.set_caps(info.to_caps().ok().as_ref());
            self.size = size;
        }
        let mut buffer = gst::Buffer::with_size(info.size()).map_err(|_| wrong("no memory"))?;
        {
            let buffer = buffer
                .get_mut()
                .ok_or_else(|| wrong("a new buffer is shared"))?;
            let mut rows = buffer.map_writable().map_err(|_| wrong("no memory"))?;
            let (stride, row) = (info.stride()[0] as usize, pixels.width * 3);
            for (to, from) in rows.chunks_mut(stride).zip(pixels.data.chunks_exact(row)) {
                to[..row].copy_from_slice(from);
            }
        }
        self.source
            .push_buffer(buffer)
            .map_err(|e| WindowError::Failed(e.to_string()))?;
        Ok(())
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // Nothing is left to do if the display is gone.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
