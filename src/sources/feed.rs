//! The decoder thread's part: takes each sample out of the appsink, numbers and times it, and puts it
//! into the queue.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Local};
use crossbeam_channel::Sender;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;
use gstreamer_video as gst_video;

use super::frame::{self, Frame, PictureFormat};
use super::health::Health;
use super::queue::{DropCause, Event};
use super::shared::{Progress, Shared, SourceInfo, SourceState};
use super::supervisor::Signal;
use super::{SourceError, SourceUri, mp4, supervisor};
use crate::values::{Timestamp, VideoMetadata};

/// Takes the samples of one connection.
pub(crate) struct Feeder {
    shared: Arc<Shared>,
    format: Option<(gst::Caps, gst_video::VideoInfo, PictureFormat)>,
    running: bool,
    health: Health,
    signals: Sender<Signal>,
    retired: Arc<AtomicBool>,
    /// Frames of a file that were given before it had to be opened again.
    given: i64,
}

impl Feeder {
    /// For a new connection, until `retired` is set. What is wrong with its frames goes to `signals`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        signals: Sender<Signal>,
        retired: Arc<AtomicBool>,
    ) -> Self {
        let progress = shared.progress();
        let recorded = progress.info.as_ref().is_some_and(|info| info.recorded);
        let given = if recorded { progress.frames } else { 0 };
        drop(progress);
        Self {
            health: Health::new(shared.spec.reconnect.silence),
            shared,
            format: None,
            running: false,
            signals,
            retired,
            given,
        }
    }

    /// Takes the sample that the appsink announced.
    pub(crate) fn take(
        &mut self,
        sink: &gst_app::AppSink,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Flushing)?;
        if self.retired.load(Ordering::Relaxed) {
            return Err(gst::FlowError::Flushing);
        }
        self.shared.touch();
        if self.given > 0 {
            self.given -= 1;
            return Ok(gst::FlowSuccess::Ok);
        }
        self.shared
            .connection_frames
            .fetch_add(1, Ordering::Relaxed);
        let accepted = match self.frame(sink, &sample)? {
            Some(frame) => self.shared.queue.push_frame(frame),
            None => true,
        };
        self.shared.touch();
        if accepted {
            Ok(gst::FlowSuccess::Ok)
        } else {
            Err(gst::FlowError::Flushing)
        }
    }

    /// The frame in a sample; `None` if it is dropped.
    fn frame(
        &mut self,
        sink: &gst_app::AppSink,
        sample: &gst::Sample,
    ) -> Result<Option<Frame>, gst::FlowError> {
        let changed = self.read_format(sample)?;
        let Some((_, info, format)) = &self.format else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let shared = self.shared.clone();
        if !self.running {
            self.running = true;
            begin(&shared, sink, format);
        }
        if changed {
            announce(&shared, format);
        }
        let Some(buffer) = sample.buffer_owned() else {
            shared.queue.count_drop(DropCause::Unreadable);
            return Ok(None);
        };
        let damaged = buffer.flags().contains(gst::BufferFlags::CORRUPTED);
        let mut running = running_time(sample, &buffer);
        if shared.is_live() {
            let arrived = shared.clock.monotonic();
            if let Some(reason) = self.health.note(running, damaged, arrived) {
                let source_name = shared.name.clone();
                let _ = self.signals.try_send(Signal::Fault(SourceError::Lost {
                    source_name,
                    reason,
                }));
            }
            running = running.filter(|_| !self.health.is_stuck());
        }
        let pts = buffer.pts();
        let decoding = pts.and_then(|pts| {
            let now = shared.clock.monotonic();
            shared.decoding.leave(pts.nseconds(), now)
        });
        let stamp = self.stamp(running, format, damaged);
        if !stamp.kept {
            shared.queue.count_drop(DropCause::Thinned);
            return Ok(None);
        }
        let video = stamp.video;
        let Some(image) = frame::picture(buffer, info, format.full_range, video.clone()) else {
            shared.queue.count_drop(DropCause::Unreadable);
            return Ok(None);
        };
        Ok(Some(Frame {
            image,
            number: video.frame_number,
            video,
            time: stamp.time,
            arrived: stamp.arrived,
            arrived_at: stamp.arrived_at,
            damaged,
            decoding,
        }))
    }

    /// Reads the caps of a sample; true if they changed.
    fn read_format(&mut self, sample: &gst::Sample) -> Result<bool, gst::FlowError> {
        let caps = sample.caps_owned().ok_or(gst::FlowError::NotNegotiated)?;
        if self.format.as_ref().is_some_and(|(old, ..)| *old == caps) {
            return Ok(false);
        }
        let info =
            gst_video::VideoInfo::from_caps(&caps).map_err(|_| gst::FlowError::NotNegotiated)?;
        let format = PictureFormat::of(&info);
        self.format = Some((caps, info, format));
        Ok(true)
    }

    /// Numbers and times a frame.
    fn stamp(&self, running: Option<Duration>, format: &PictureFormat, damaged: bool) -> Stamp {
        let shared = &self.shared;
        let (arrived, now) = (shared.clock.monotonic(), shared.clock.now());
        let arrived_at = local_time(now.unix_seconds());
        let period = format.period();
        let mut progress = shared.progress();
        progress.frames += 1;
        progress.damaged += u64::from(damaged);
        progress.last_arrival = Some(arrived);
        progress.meter.tick(arrived);
        let time = progress.timeline.place(running, arrived, period);
        let kept = match &mut progress.thinner {
            Some(thinner) => thinner.keep(time, period),
            None => true,
        };
        let video = metadata(shared, &progress, format, time, arrived_at);
        Stamp {
            kept,
            time,
            arrived,
            arrived_at,
            video: Arc::new(video),
        }
    }
}

/// Number and times of a frame.
struct Stamp {
    kept: bool,
    time: Duration,
    arrived: Duration,
    arrived_at: Timestamp,
    video: Arc<VideoMetadata>,
}

/// What the workflow is told about a frame: for recorded files the time at which it was taken by the
/// reference's rule, for live sources the time at which it came.
fn metadata(
    shared: &Shared,
    progress: &Progress,
    format: &PictureFormat,
    time: Duration,
    arrived_at: Timestamp,
) -> VideoMetadata {
    let info = progress.info.as_ref();
    let recorded = info.is_some_and(|i| i.recorded);
    let measured = match recorded {
        true => format.fps,
        false => progress.meter.rate(),
    };
    let offset = match format.fps {
        Some(fps) => (progress.frames - 1) as f64 / fps,
        None => time.as_secs_f64(),
    };
    VideoMetadata {
        video_identifier: shared.identifier.clone(),
        frame_number: progress.frames,
        frame_timestamp: match info.and_then(|i| i.created) {
            Some(created) => later(created, offset),
            None => arrived_at,
        },
        fps: format.fps.or(measured),
        measured_fps: measured,
        comes_from_video_file: Some(recorded),
        total_frames: info.and_then(|i| i.total_frames),
    }
}

/// The first frame of a connection has come: the source runs, and what it is is known.
fn begin(shared: &Shared, sink: &gst_app::AppSink, format: &PictureFormat) {
    let now = shared.clock.monotonic();
    let mut progress = shared.progress();
    if progress.info.is_none() {
        let info = discover(shared, sink, format);
        shared.settle(!info.recorded && !is_finite_pattern(&shared.spec.uri));
        progress.timeline.set_live(shared.is_live());
        progress.info = Some(info);
    }
    progress.timeline.reconnect();
    progress.meter.reset();
    let attempts = std::mem::take(&mut progress.failed_attempts);
    let lost_at = progress.lost_at.take();
    if lost_at.is_some() {
        progress.reconnects += 1;
    }
    drop(progress);
    if let Some(lost_at) = lost_at {
        let outage = now.saturating_sub(lost_at);
        supervisor::log_recovery(shared, attempts, outage);
        shared
            .queue
            .push_notice(Event::Recovered { attempts, outage });
    }
    shared.set_state(SourceState::Running);
}

/// Tells of a new format, unless it is the one that is known.
fn announce(shared: &Shared, format: &PictureFormat) {
    let mut progress = shared.progress();
    let Some(info) = progress.info.as_mut().filter(|i| i.format != *format) else {
        return;
    };
    info.format = format.clone();
    drop(progress);
    shared.queue.push_notice(Event::Changed(format.clone()));
}

fn is_finite_pattern(uri: &SourceUri) -> bool {
    matches!(uri, SourceUri::Pattern(pattern) if !pattern.live)
}

/// Finds out at the first frame what the source is.
fn discover(shared: &Shared, sink: &gst_app::AppSink, format: &PictureFormat) -> SourceInfo {
    let uri = &shared.spec.uri;
    let duration = match uri {
        SourceUri::File(_) | SourceUri::Http(_) => sink
            .query_duration::<gst::ClockTime>()
            .filter(|d| !d.is_zero())
            .map(Duration::from),
        _ => None,
    };
    let recorded = matches!(uri, SourceUri::File(_)) || duration.is_some();
    let listed = match uri {
        SourceUri::File(path) => mp4::video_track(path).and_then(|track| track.frames),
        _ => None,
    };
    let total_frames = listed.or_else(|| {
        let (length, fps) = duration.zip(format.fps)?;
        Some((length.as_secs_f64() * fps).round() as i64).filter(|total| *total > 0)
    });
    let length = match total_frames.zip(format.fps) {
        Some((total, fps)) => total as f64 / fps,
        None => duration.unwrap_or_default().as_secs_f64(),
    };
    let changed = match uri {
        SourceUri::File(path) => changed_at(path),
        _ => None,
    };
    let changed = changed.unwrap_or_else(|| shared.clock.now().unix_seconds());
    SourceInfo {
        format: format.clone(),
        recorded,
        total_frames,
        frames_listed: listed.is_some(),
        created: recorded.then(|| local_time(changed - length)),
    }
}

/// Time of a file's last change, Unix seconds.
fn changed_at(path: &Path) -> Option<f64> {
    let changed: SystemTime = path.metadata().ok()?.modified().ok()?;
    let since = changed.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64())
}

/// A time as the reference writes it: in the machine's time zone, without saying so.
fn local_time(unix_seconds: f64) -> Timestamp {
    let micros = (unix_seconds * 1e6).round() as i64;
    let utc = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    Timestamp::naive(utc.with_timezone(&Local).naive_local())
}

fn later(time: Timestamp, seconds: f64) -> Timestamp {
    let micros = chrono::Duration::microseconds((seconds * 1e6).round() as i64);
    Timestamp::naive(time.local() + micros)
}

fn running_time(sample: &gst::Sample, buffer: &gst::BufferRef) -> Option<Duration> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let running = segment.to_running_time(buffer.pts()?)?;
    Some(running.into())
}
