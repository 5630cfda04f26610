//! From a decoder's buffer to a [`Frame`], without copying its planes.
//!
//! Planar 4:2:0 and 4:2:2 with 8 bits stay in the decoder's memory, mapped for as long as anybody
//! holds the image. What comes in another format was converted by GStreamer before: 10 bits to 8,
//! 4:4:4 and RGB to BGR rows, and those are copied into rows without padding.

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer_video as gst_video;
use gstreamer_video::prelude::*;

use crate::values::image::{Origin, Planes, YuvFrame, YuvLayout};
use crate::values::{Image, Matrix, Timestamp, VideoMetadata};

/// A frame of a source.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The picture with its video metadata, named by the video identifier. Its decoder planes are
    /// behind [`Image::planes`].
    pub image: Image,
    /// The video metadata.
    pub video: Arc<VideoMetadata>,
    /// Number of the frame, from 1; counts the frames that were dropped too and goes on over
    /// reconnects.
    pub number: i64,
    /// Time in the stream since the first frame; grows from frame to frame, over reconnects too.
    pub time: Duration,
    /// When the frame came out of the decoder, by the clock's [`monotonic`](crate::clock::Clock)
    /// time.
    pub arrived: Duration,
    /// The same moment by the clock on the wall.
    pub arrived_at: Timestamp,
    /// Whether packets were missing and the decoder patched the picture up.
    pub damaged: bool,
    /// How long the decoder had it; `None` for test pictures and raw cameras, which have no decoder.
    pub decoding: Option<Duration>,
}

impl Frame {
    /// The picture under another name, such as the workflow input that it goes to.
    pub fn image_named(&self, id: Arc<str>) -> Image {
        let origin = Arc::new(Origin::whole(id, self.image.width(), self.image.height()));
        self.image.with_origins(origin.clone(), origin)
    }
}

/// What the pictures of a stream look like.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureFormat {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Declared frames per second.
    pub fps: Option<f64>,
    /// GStreamer's name of the pixel format.
    pub pixels: String,
    /// Whether luma spans 0–255 (else 16–235).
    pub full_range: bool,
}

impl PictureFormat {
    /// The format that caps describe.
    pub(crate) fn of(info: &gst_video::VideoInfo) -> Self {
        let fps = info.fps();
        let declared = f64::from(fps.numer()) / f64::from(fps.denom());
        Self {
            width: info.width() as usize,
            height: info.height() as usize,
            fps: (declared.is_finite() && declared > 0.0).then_some(declared),
            pixels: info.format().to_str().to_string(),
            full_range: info.colorimetry().range() == gst_video::VideoColorRange::Range0_255,
        }
    }

    /// Time between two frames at the declared rate, 40 ms if there is none.
    pub(crate) fn period(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.fps.unwrap_or(25.0).clamp(0.001, 100_000.0))
    }
}

/// Formats that are taken as they are, in the order in which GStreamer may choose.
pub(crate) const PIXEL_FORMATS: [gst_video::VideoFormat; 4] = [
    gst_video::VideoFormat::I420,
    gst_video::VideoFormat::Nv12,
    gst_video::VideoFormat::Y42b,
    gst_video::VideoFormat::Bgr,
];

/// The picture in a buffer; `None` if the buffer is smaller than its format says.
pub(crate) fn picture(
    buffer: gst::Buffer,
    info: &gst_video::VideoInfo,
    full_range: bool,
    video: Arc<VideoMetadata>,
) -> Option<Image> {
    use gst_video::VideoFormat as F;
    let mapped = gst_video::VideoFrame::from_buffer_readable(buffer, info).ok()?;
    let id = video.video_identifier.clone();
    let layout = match info.format() {
        F::I420 => YuvLayout::I420,
        F::Nv12 => YuvLayout::Nv12,
        F::Y42b => YuvLayout::I422,
        F::Bgr => {
            let image = Image::new(bgr_rows(&mapped)?, id);
            return Some(image.with_video(Some(video)));
        }
        _ => return None,
    };
    let frame = YuvFrame {
        width: info.width() as usize,
        height: info.height() as usize,
        layout,
        full_range,
        planes: Box::new(MappedPlanes::new(mapped)?),
    };
    Some(Image::from_frame(frame, id, video))
}

/// A mapped buffer of the decoder, all of whose planes hold the rows that its format promises.
struct MappedPlanes {
    mapped: gst_video::VideoFrame<gst_video::video_frame::Readable>,
}

impl MappedPlanes {
    fn new(mapped: gst_video::VideoFrame<gst_video::video_frame::Readable>) -> Option<Self> {
        let format = mapped.format_info();
        let strides = mapped.plane_stride().iter().zip(format.pixel_stride());
        for (plane, (stride, sample)) in strides.enumerate().take(mapped.n_planes() as usize) {
            let rows = format.scale_height(plane as u8, mapped.height()) as usize;
            let samples = format.scale_width(plane as u8, mapped.width()) as usize;
            let row = samples * usize::try_from(*sample).ok()?;
            let stride = usize::try_from(*stride).ok()?;
            let bytes = mapped.plane_data(plane as u32).ok()?.len();
            if rows == 0 || stride < row || bytes < (rows - 1) * stride + row {
                return None;
            }
        }
        Some(Self { mapped })
    }
}

impl Planes for MappedPlanes {
    fn plane(&self, i: usize) -> (&[u8], usize) {
        let bytes = self.mapped.plane_data(i as u32).unwrap_or_default();
        let stride = self.mapped.plane_stride().get(i).copied().unwrap_or(0);
        (bytes, stride.max(0) as usize)
    }
}

fn bgr_rows(mapped: &gst_video::VideoFrame<gst_video::video_frame::Readable>) -> Option<Matrix> {
    let (width, height) = (mapped.width() as usize, mapped.height() as usize);
    let stride = usize::try_from(mapped.plane_stride()[0]).ok()?;
    let bytes = mapped.plane_data(0).ok()?;
    let mut data = Vec::with_capacity(width * height * 3);
    for row in 0..height {
        data.extend_from_slice(bytes.get(row * stride..row * stride + width * 3)?);
    }
    Matrix::new(width, height, 3, data)
}
