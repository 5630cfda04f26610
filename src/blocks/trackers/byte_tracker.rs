//! Gives the same id to the same object on successive frames, by ByteTrack.
//!
//! # Inputs and outputs
//! `detections` of one frame (of `metadata` or `image`) → `tracked_detections`: the rows that belong
//! to an active track, in their order, unchanged but for `tracker_id`. v3 also parts them into
//! `new_instances` and `already_seen_instances`.
//!
//! # State
//! Per video one tracker, set up on its first frame with that frame's parameters; v3 also the ids
//! seen, `instances_cache_size` at most.
//!
//! # Edge cases
//! A frame without boxes counts as a frame. Without an active track the result is empty and has lost
//! its columns. A video without a frame rate fails in v1; in v2 and v3 its lost tracks are forgotten
//! after two frames. Boxes without confidence fail.
//!
//! # Parity
//! `video_byte_tracker_*`, the golden pipelines in `fixtures/video`, specification 7.1.

use std::sync::Arc;

use super::byte_track::{ByteTrack, Settings};
use super::instances::SeenIds;
use super::tracking::{self, NUMBER, SHARE};
use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Row, Ty, output,
};
use crate::row;
use crate::values::{Detections, Value, VideoMetadata, kind};

const DETECTIONS: Field = Field::required(
    "detections",
    &[Ty::Selector(&[
        kind::OBJECT_DETECTION,
        kind::INSTANCE_SEGMENTATION,
    ])],
)
.about("Boxes of the frame.");
const ACTIVATION: Field = Field::optional("track_activation_threshold", SHARE, "0.25")
    .about("Confidence from which a box counts as certain; a new track needs 0.1 more.");
const BUFFER: Field = Field::optional("lost_track_buffer", NUMBER, "30")
    .about("Frames (at 30 a second) for which a lost track is remembered.");
const MATCHING: Field = Field::optional("minimum_matching_threshold", SHARE, "0.8")
    .about("Greatest cost, 1 - overlap times confidence, at which a box continues a track.");
const CONSECUTIVE: Field = Field::optional("minimum_consecutive_frames", NUMBER, "1")
    .about("Matches in a row after which a track counts.");
const TRACKED: &[kind::Kind] = &[kind::OBJECT_DETECTION];

/// The fields of versions 1 and 2, which learn of the video in different ways.
const fn fields(video: Field) -> [Field; 6] {
    [video, DETECTIONS, ACTIVATION, BUFFER, MATCHING, CONSECUTIVE]
}

/// `roboflow_core/byte_tracker@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/byte_tracker@v1"],
    fields: &fields(
        Field::required("metadata", &[Ty::Selector(&[kind::VIDEO_METADATA])])
            .about("Which video and frame the boxes belong to."),
    ),
    build: |_, _| Ok(Box::new(ByteTracker::new(Version::V1))),
    ..MODEL
};

/// `roboflow_core/byte_tracker@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/byte_tracker@v2"],
    fields: &fields(Field::required("image", &[Ty::InputImage]).about("The frame.")),
    build: |_, _| Ok(Box::new(ByteTracker::new(Version::V2))),
    ..MODEL
};

/// `roboflow_core/byte_tracker@v3`
pub static V3: BlockSpec = BlockSpec {
    types: &["roboflow_core/byte_tracker@v3"],
    fields: &[
        tracking::IMAGE,
        Field::required(
            "detections",
            &[Ty::Selector(&[
                kind::OBJECT_DETECTION,
                kind::KEYPOINT_DETECTION,
                kind::INSTANCE_SEGMENTATION,
            ])],
        )
        .about("Boxes of the frame."),
        ACTIVATION,
        BUFFER,
        MATCHING,
        CONSECUTIVE,
        tracking::CACHE,
    ],
    outputs: &[
        output("tracked_detections", TRACKED),
        output("new_instances", TRACKED),
        output("already_seen_instances", TRACKED),
    ],
    build: |_, _| Ok(Box::new(ByteTracker::new(Version::V3))),
    ..MODEL
};

const MODEL: BlockSpec = BlockSpec {
    name: "Byte Tracker",
    family: Family::Transformation,
    about: "Follows boxes from frame to frame by ByteTrack and gives them track ids.",
    outputs: &[output("tracked_detections", TRACKED)],
    ..BlockSpec::DEFAULT
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
    V3,
}

struct ByteTracker {
    version: Version,
    streams: PerStream<Stream>,
}

/// What is known of one video.
struct Stream {
    tracker: ByteTrack,
    seen: SeenIds,
    ids: Vec<Option<i64>>,
}

impl ByteTracker {
    fn new(version: Version) -> Self {
        Self {
            version,
            streams: PerStream::default(),
        }
    }
}

impl Block for ByteTracker {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let version = self.version;
        let source = if version == Version::V1 {
            "metadata"
        } else {
            "image"
        };
        let video = inputs.video(source, cx)?;
        let detections = inputs.detections("detections")?;
        if version == Version::V1 && frame_rate(&video) == 0.0 {
            return Err(BlockError::failed(
                "the video metadata have no frame rate (fps), which this version needs: \
                 set `fps`, or use byte_tracker@v3",
            ));
        }
        let stream = self.streams.try_get(&video.video_identifier, || {
            Stream::new(inputs, &video, version)
        })?;
        let tracked = stream.track(detections)?;
        Ok(Output::One(stream.row(tracked, version)))
    }
}

impl Stream {
    fn new(
        inputs: &Inputs<'_>,
        video: &VideoMetadata,
        version: Version,
    ) -> Result<Self, BlockError> {
        let fps = frame_rate(video);
        if fps == 0.0 {
            tracing::warn!(
                video = %video.video_identifier,
                "no frame rate: the tracker forgets lost objects after two frames"
            );
        }
        let buffer = inputs.int("lost_track_buffer")?;
        let settings = Settings {
            activation: inputs.float("track_activation_threshold")?,
            matching: inputs.float("minimum_matching_threshold")?,
            consecutive: inputs.int("minimum_consecutive_frames")?,
            patience: (fps / 30.0 * buffer as f64) as i64,
        };
        let memory = match version {
            Version::V3 => inputs.int("instances_cache_size")?,
            Version::V1 | Version::V2 => 0,
        };
        Ok(Self {
            tracker: ByteTrack::new(settings),
            seen: SeenIds::new(memory),
            ids: Vec::new(),
        })
    }

    /// The rows that belong to an active track.
    fn track(&mut self, detections: &Detections) -> Result<Detections, BlockError> {
        let confidence = match &detections.confidence {
            Some(confidence) => confidence.as_slice(),
            None if detections.is_empty() => &[],
            None => {
                return Err(BlockError::failed(
                    "field `detections` has boxes without confidence, which tracking needs",
                ));
            }
        };
        let ids = &mut self.ids;
        if !self.tracker.update(&detections.xyxy, confidence, ids) {
            return Ok(Detections::empty());
        }
        let mut kept = detections.filter(|row| ids[row].is_some());
        kept.tracker_id = Some(Arc::new(ids.iter().flatten().copied().collect()));
        Ok(kept)
    }

    fn row(&mut self, tracked: Detections, version: Version) -> Row {
        if version != Version::V3 {
            return row![tracked];
        }
        let (new, seen) = self.seen.split(&tracked);
        row![Value::detections(tracked), new, seen]
    }
}

/// Declared frames per second, 0 if unknown.
fn frame_rate(video: &VideoMetadata) -> f64 {
    video.fps.unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes, frame, ids, video};
    use crate::blocks::trackers::tracking::scene;
    use serde_json::json;

    /// Ids of the objects A and B on the frames of the scene of specification 7.1.2.
    fn seen_in_scene(bench: &mut Bench, fps: Option<f64>) -> Vec<(Option<i64>, Option<i64>)> {
        let mut seen = Vec::new();
        for f in 0..10 {
            let rows = scene::rows(f);
            let image = frame("a", i64::from(f), fps);
            let out = bench
                .run(&[("image", image), ("detections", boxes(&rows).into())])
                .unwrap();
            let tracked = out[0].as_detections().unwrap();
            let id_at = |y: f64| {
                let row = tracked.xyxy.iter().position(|b| b[1] == y)?;
                Some(tracked.tracker_id.as_ref().unwrap()[row])
            };
            assert_eq!(id_at(300.0), None);
            seen.push((id_at(20.0), id_at(30.0)));
        }
        seen
    }

    #[test]
    fn ids_survive_gaps_and_doubtful_boxes() {
        let seen = seen_in_scene(&mut Bench::new(&V3, &[]), Some(30.0));
        for (f, &(a, b)) in seen.iter().enumerate() {
            assert_eq!(a, (![4, 5].contains(&f)).then_some(1), "A on {f}");
            assert_eq!(b, (f != 7).then_some(2), "B on {f}");
        }
    }

    #[test]
    fn a_track_may_have_to_prove_itself_first() {
        let mut bench = Bench::new(&V3, &[("minimum_consecutive_frames", json!(2))]);
        let seen = seen_in_scene(&mut bench, Some(30.0));
        assert_eq!(seen[0], (None, None));
        assert_eq!(seen[1], (Some(1), Some(2)));
    }

    /// Without a frame rate a lost object keeps its id for two frames only.
    #[test]
    fn patience_follows_the_frame_rate() {
        let still = [10.0, 10.0, 50.0, 90.0];
        for (fps, gap, id) in [(None, 2, 1), (None, 3, 2), (Some(30.0), 31, 1)] {
            let mut bench = Bench::new(&V2, &[]);
            let mut last = Vec::new();
            let mut number = 0;
            let mut see = |rows: &[([f64; 4], f64)]| {
                number += 1;
                let image = frame("a", number, fps);
                let row = bench.run(&[("image", image), ("detections", boxes(rows).into())]);
                ids(&row.unwrap()[0])
            };
            see(&[(still, 0.9)]);
            (0..gap).for_each(|_| assert!(see(&[]).is_empty()));
            for _ in 0..2 {
                last = see(&[(still, 0.9)]);
            }
            assert_eq!(last, [id], "fps {fps:?}, gap {gap}");
        }
    }

    #[test]
    fn version_1_needs_a_frame_rate() {
        let mut bench = Bench::new(&V1, &[]);
        let empty = Value::detections(Detections::empty());
        for (fps, fine) in [(None, false), (Some(0.0), false), (Some(5.0), true)] {
            let metadata = Value::Video(Arc::new(video("a", 1, fps)));
            let result = bench.run(&[("metadata", metadata), ("detections", empty.clone())]);
            assert_eq!(result.is_ok(), fine, "{fps:?}");
        }
    }

    #[test]
    fn each_video_has_its_own_ids_and_memory_of_them() {
        let mut bench = Bench::new(&V3, &[]);
        let rows: Value = boxes(&[([0.0, 0.0, 20.0, 20.0], 0.9)]).into();
        for (name, number, new) in [("a", 1, 1), ("b", 1, 1), ("a", 2, 0)] {
            let image = frame(name, number, Some(30.0));
            let out = bench
                .run(&[("image", image), ("detections", rows.clone())])
                .unwrap();
            assert_eq!(ids(&out[0]), [1]);
            assert_eq!(ids(&out[1]).len(), new);
            assert_eq!(ids(&out[2]).len(), 1 - new);
        }
    }
}
