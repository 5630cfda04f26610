//! Films: pictures encoded as H.264 into an MP4 file.
//!
//! [`VideoWriter::write`] shares the pixels with the encoder (a picture with an odd side is copied,
//! its last column or row repeated: H.264 has no odd sizes) and waits only while the encoder is
//! behind, never longer than [`VideoOptions::patience`]. The file is playable at any time up to its
//! last fragment, also after a crash; [`VideoWriter::finish`] makes it an ordinary MP4. Colours are
//! BT.601 in limited range and say so. A file that exists is overwritten; one without a single
//! picture is removed.
//!
//! [`series`] cuts a film into files by time or size.

mod error;
mod pipeline;
pub mod series;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::VideoError;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use crate::sources::gst::init;
use crate::values::Matrix;

/// Pictures that may wait for the encoder.
const WAITING: u64 = 4;
/// How often a waiting writer looks.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(2);
/// How long a writer that is dropped without [`VideoWriter::finish`] tries to end its file.
const LAST_TRY: Duration = Duration::from_secs(2);

/// How a film is encoded.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoOptions {
    /// Pictures per second: their distance in [`VideoWriter::write`], and what players are told.
    pub fps: f64,
    /// Constant quality, 0 (lossless) to 50; lower is better and larger.
    pub quantizer: u32,
    /// Threads of the encoder, 0 for as many as it likes.
    pub threads: u32,
    /// What a crash can lose at most.
    pub fragment: Duration,
    /// How long the encoder may make no progress.
    pub patience: Duration,
}

impl VideoOptions {
    /// The usual settings at this rate.
    pub fn new(fps: f64) -> Self {
        Self {
            fps,
            quantizer: 23,
            threads: 2,
            fragment: Duration::from_secs(1),
            patience: Duration::from_secs(10),
        }
    }
}

/// A finished film.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoSummary {
    /// Pictures written.
    pub frames: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Time from the first picture to the end of the last.
    pub duration: Duration,
}

/// A film being written; see the module documentation.
pub struct VideoWriter {
    path: PathBuf,
    width: usize,
    height: usize,
    options: VideoOptions,
    rate: gst::Fraction,
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    bus: gst::Bus,
    frames: u64,
    end: Duration,
    last: Option<Duration>,
    over: bool,
}

impl VideoWriter {
    /// Starts a film of pictures of this size.
    pub fn create(
        path: &Path,
        width: usize,
        height: usize,
        options: VideoOptions,
    ) -> Result<Self, VideoError> {
        let wrong = |reason: &str| VideoError::Option {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        if !(1..=16384).contains(&width) || !(1..=16384).contains(&height) {
            return Err(wrong("a picture has 1 to 16384 pixels each way"));
        }
        if !(0.01..=1000.0).contains(&options.fps) {
            return Err(wrong("a film has 0.01 to 1000 pictures per second"));
        }
        init().map_err(|error| VideoError::Failed {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        // The system's own words for a path that cannot be written are better than GStreamer's.
        if let Err(error) = std::fs::File::create(path) {
            return Err(VideoError::Open {
                path: path.to_owned(),
                reason: error.to_string().to_lowercase(),
            });
        }
        let rate = fraction(options.fps);
        let (even_width, even_height) = (width.next_multiple_of(2), height.next_multiple_of(2));
        let (pipeline, source) = pipeline::build(path, even_width, even_height, rate, &options)?;
        let bus = pipeline.bus().ok_or_else(|| wrong("it has no bus"))?;
        let writer = Self {
            path: path.to_owned(),
            width,
            height,
            options,
            rate,
            pipeline,
            source,
            bus,
            frames: 0,
            end: Duration::ZERO,
            last: None,
            over: false,
        };
        match writer.pipeline.set_state(gst::State::Playing) {
            Ok(_) => Ok(writer),
            Err(error) => Err(writer.heard().unwrap_or_else(|| VideoError::Failed {
                path: path.to_owned(),
                reason: error.to_string(),
            })),
        }
    }

    /// Writes the next picture, one period after the one before.
    pub fn write(&mut self, picture: &Arc<Matrix>) -> Result<(), VideoError> {
        let time = self.period() * self.frames as f64;
        self.write_at(picture, Duration::from_secs_f64(time))
    }

    /// Writes a picture to be shown at `time` from the start of the film. Times grow; one that does
    /// not is moved behind the one before.
    pub fn write_at(&mut self, picture: &Arc<Matrix>, time: Duration) -> Result<(), VideoError> {
        if (picture.width, picture.height, picture.channels) != (self.width, self.height, 3) {
            let form = |w, h, c| format!("{w}x{h} pixels in {c} channels");
            return Err(VideoError::Picture {
                path: self.path.clone(),
                expected: form(self.width, self.height, 3),
                got: form(picture.width, picture.height, picture.channels),
            });
        }
        let time = match self.last {
            Some(last) => time.max(last + Duration::from_millis(1)),
            None => time,
        };
        let period = Duration::from_secs_f64(self.period());
        let mut buffer = shared_buffer(&even(picture));
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::try_from(time).ok());
            buffer.set_duration(gst::ClockTime::try_from(period).ok());
        }
        self.wait_for_room()?;
        self.source
            .push_buffer(buffer)
            .map_err(|flow| self.heard().unwrap_or_else(|| self.failed(&flow)))?;
        self.frames += 1;
        self.last = Some(time);
        self.end = time + period;
        Ok(())
    }

    /// Pictures taken so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Writes what is left and ends the file.
    pub fn finish(mut self) -> Result<VideoSummary, VideoError> {
        self.end_file(self.options.patience)?;
        let bytes = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        Ok(VideoSummary {
            frames: self.frames,
            bytes,
            duration: self.end,
        })
    }

    fn period(&self) -> f64 {
        f64::from(self.rate.denom()) / f64::from(self.rate.numer())
    }

    /// Waits until the encoder takes another picture.
    fn wait_for_room(&self) -> Result<(), VideoError> {
        let start = Instant::now();
        if let Some(error) = self.heard() {
            return Err(error);
        }
        while self.source.current_level_buffers() >= WAITING {
            if let Some(error) = self.listen(LOOK) {
                return Err(error);
            }
            if start.elapsed() >= self.options.patience {
                return Err(self.stalled(self.options.patience));
            }
        }
        Ok(())
    }

    /// Ends the stream and waits until everything is in the file, while there is progress.
    fn end_file(&mut self, patience: Duration) -> Result<(), VideoError> {
        self.over = true;
        let ended = if self.frames == 0 {
            Ok(())
        } else {
            self.drain(patience)
        };
        let stopped = self.pipeline.set_state(gst::State::Null);
        if self.frames == 0 && self.path.is_file() {
            let _ = std::fs::remove_file(&self.path);
        }
        ended?;
        stopped.map_err(|error| self.failed(&error)).map(|_| ())
    }

    fn drain(&self, patience: Duration) -> Result<(), VideoError> {
        let sent = self.source.end_of_stream();
        if let Some(error) = self.heard() {
            return Err(error);
        }
        sent.map_err(|flow| self.failed(&flow))?;
        let (mut level, mut since) = (self.source.current_level_buffers(), Instant::now());
        loop {
            match self.message(gst::ClockTime::from_mseconds(20)) {
                Some(Ok(())) => return Ok(()),
                Some(Err(error)) => return Err(error),
                None => {}
            }
            let now = self.source.current_level_buffers();
            if now != level {
                (level, since) = (now, Instant::now());
            }
            if since.elapsed() >= patience {
                return Err(self.stalled(patience));
            }
        }
    }

    /// An error that was already reported.
    fn heard(&self) -> Option<VideoError> {
        self.listen(gst::ClockTime::ZERO)
    }

    fn listen(&self, wait: gst::ClockTime) -> Option<VideoError> {
        self.message(wait)?.err()
    }

    /// The next message that matters: the end of the file, or an error.
    fn message(&self, wait: gst::ClockTime) -> Option<Result<(), VideoError>> {
        let kinds = [gst::MessageType::Error, gst::MessageType::Eos];
        let message = self.bus.timed_pop_filtered(wait, &kinds)?;
        match message.view() {
            gst::MessageView::Error(error) => Some(Err(self.classify(&error.error()))),
            _ => Some(Ok(())),
        }
    }

    fn classify(&self, error: &gst::glib::Error) -> VideoError {
        let path = self.path.clone();
        let reason = error.message().trim_end_matches('.').to_lowercase();
        match error.kind::<gst::ResourceError>() {
            Some(gst::ResourceError::NoSpaceLeft) => VideoError::DiskFull { path },
            Some(gst::ResourceError::OpenWrite | gst::ResourceError::NotFound) => {
                VideoError::Open { path, reason }
            }
            _ => VideoError::Failed { path, reason },
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> VideoError {
        VideoError::Failed {
            path: self.path.clone(),
            reason: error.to_string().to_lowercase(),
        }
    }

    fn stalled(&self, waited: Duration) -> VideoError {
        VideoError::Stalled {
            path: self.path.clone(),
            waited,
        }
    }
}

impl Drop for VideoWriter {
    fn drop(&mut self) {
        if !self.over
            && let Err(error) = self.end_file(LAST_TRY)
        {
            tracing::warn!("{error}");
        }
    }
}

impl std::fmt::Debug for VideoWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VideoWriter({:?}, {} frames)", self.path, self.frames)
    }
}

/// The rate as a fraction; the rates of NTSC, which are written with two or three digits, exactly.
fn fraction(fps: f64) -> gst::Fraction {
    let ntsc = fps * 1.001;
    if (fps - fps.round()).abs() > 1e-3 && (ntsc - ntsc.round()).abs() < 2e-3 {
        return gst::Fraction::new(ntsc.round() as i32 * 1000, 1001);
    }
    gst::Fraction::approximate_f64(fps).unwrap_or_else(|| gst::Fraction::new(25, 1))
}

/// The picture with even sides, the last column and row repeated where needed.
pub(crate) fn even(picture: &Arc<Matrix>) -> Arc<Matrix> {
    let (width, height) = (picture.width, picture.height);
    if width.is_multiple_of(2) && height.is_multiple_of(2) {
        return picture.clone();
    }
    let (even_width, even_height) = (width.next_multiple_of(2), height.next_multiple_of(2));
    let mut data = Vec::with_capacity(even_width * even_height * 3);
    for y in 0..even_height {
        let start = y.min(height - 1) * width * 3;
        let row = &picture.data[start..start + width * 3];
        data.extend_from_slice(row);
        if even_width > width {
            data.extend_from_slice(&row[row.len() - 3..]);
        }
    }
    Arc::new(Matrix {
        width: even_width,
        height: even_height,
        channels: 3,
        data,
    })
}

/// A buffer over the picture's own memory. Rows whose length is no multiple of 4 are described, or
/// GStreamer would take them for padded ones and show black.
pub(crate) fn shared_buffer(picture: &Arc<Matrix>) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(Shared(picture.clone()));
    let stride = picture.width * 3;
    if !stride.is_multiple_of(4)
        && let Some(buffer) = buffer.get_mut()
    {
        let described = gst_video::VideoMeta::add_full(
            buffer,
            gst_video::VideoFrameFlags::empty(),
            gst_video::VideoFormat::Bgr,
            picture.width as u32,
            picture.height as u32,
            &[0],
            &[stride as i32],
        );
        if let Err(error) = described {
            tracing::warn!(%error, "a picture could not be described to the encoder");
        }
    }
    buffer
}

/// A picture's bytes as GStreamer takes them.
struct Shared(Arc<Matrix>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_shared_with_the_encoder() {
        init().unwrap();
        for width in [64, 66] {
            let picture = Arc::new(Matrix::filled(width, 4, &[1, 2, 3]));
            let buffer = shared_buffer(&even(&picture));
            assert_eq!(Arc::strong_count(&picture), 2);
            let mapped = buffer.map_readable().unwrap();
            assert_eq!(mapped.as_ptr(), picture.data.as_ptr());
            let described = buffer.meta::<gst_video::VideoMeta>();
            assert_eq!(
                described.map(|m| m.stride()[0]),
                (width == 66).then_some(198)
            );
        }
    }

    #[test]
    fn odd_sides_repeat_the_last_pixels() {
        let picture = Matrix::new(1, 1, 3, vec![1, 2, 3]).unwrap();
        let even = even(&Arc::new(picture));
        assert_eq!((even.width, even.height), (2, 2));
        assert_eq!(even.data, [1, 2, 3].repeat(4));
    }

    #[test]
    fn rates_become_fractions() {
        init().unwrap();
        let cases = [
            (25.0, (25, 1)),
            (12.5, (25, 2)),
            (29.97, (30000, 1001)),
            (23.976, (24000, 1001)),
            (59.94, (60000, 1001)),
            (0.1, (1, 10)),
        ];
        for (fps, (numer, denom)) in cases {
            let rate = fraction(fps);
            assert_eq!((rate.numer(), rate.denom()), (numer, denom), "{fps}");
        }
    }
}
