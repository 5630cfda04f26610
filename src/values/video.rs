//! Facts about one frame of a video: which stream, which frame, when, how fast.

use std::sync::Arc;

use super::Timestamp;

/// Where a frame stands in its video (engine specification 10.2).
#[derive(Clone, Debug, PartialEq)]
pub struct VideoMetadata {
    /// Opaque identifier of the stream; the key of all per-stream state.
    pub video_identifier: Arc<str>,
    /// Number of the frame; real sources count from 1.
    pub frame_number: i64,
    /// When the frame was taken.
    pub frame_timestamp: Timestamp,
    /// Declared frames per second.
    pub fps: Option<f64>,
    /// Frames per second as measured live.
    pub measured_fps: Option<f64>,
    /// Whether the frame comes from a recorded file; `None` if not known.
    pub comes_from_video_file: Option<bool>,
    /// Number of frames of a file of known length.
    pub total_frames: Option<i64>,
}

impl VideoMetadata {
    /// What an image without metadata is taken to have: frame 0, the time of the call, 30 fps.
    pub fn synthetic(identifier: Arc<str>, now: Timestamp) -> Self {
        Self {
            video_identifier: identifier,
            frame_number: 0,
            frame_timestamp: now,
            fps: Some(30.0),
            measured_fps: None,
            comes_from_video_file: None,
            total_frames: None,
        }
    }

    /// The time of the frame by the file's own clock, `frame_number / fps` in seconds, for frames
    /// of a file with a usable rate; else `None`, and the block clock is `frame_timestamp`.
    pub fn file_seconds(&self) -> Option<f64> {
        match (self.comes_from_video_file, self.fps) {
            (Some(true), Some(fps)) if fps != 0.0 => Some(self.frame_number as f64 / fps),
            _ => None,
        }
    }

    /// Seconds by which blocks measure time on this frame: the file's clock where there is one
    /// (see [`Self::file_seconds`]), else the frame's timestamp in Unix seconds.
    pub fn block_seconds(&self) -> f64 {
        self.file_seconds()
            .unwrap_or_else(|| self.frame_timestamp.unix_seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The block clock of `blocks-video.md` 0.4.
    #[test]
    fn files_go_by_frame_numbers_and_everything_else_by_timestamps() {
        let taken = Timestamp::from_unix_micros(5_500_000);
        let mut video = VideoMetadata::synthetic("a".into(), taken);
        video.frame_number = 60;
        for (from_file, fps, seconds) in [
            (Some(true), Some(30.0), 2.0),
            (Some(true), Some(0.0), 5.5),
            (Some(true), None, 5.5),
            (Some(false), Some(30.0), 5.5),
            (None, Some(30.0), 5.5),
        ] {
            video.comes_from_video_file = from_file;
            video.fps = fps;
            assert_eq!(video.block_seconds(), seconds, "{from_file:?} {fps:?}");
        }
    }
}
