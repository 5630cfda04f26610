//! What the `trackers_*` blocks have in common: a tracker per video, set up on its first frame; ids
//! from 0 on, per step and video; rows without an id left out; rows parted by whether their id is new.
//!
//! A video without a frame rate counts as one of 30 frames a second.

use std::sync::Arc;

use super::byte_track::MAX_LOST;
use super::instances::SeenIds;
use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, OutputSpec, Ty, output,
};
use crate::row;
use crate::values::{Detections, Image, Value, VideoMetadata, kind};

const BOXES: &[kind::Kind] = &[
    kind::OBJECT_DETECTION,
    kind::INSTANCE_SEGMENTATION,
    kind::KEYPOINT_DETECTION,
    kind::RLE_INSTANCE_SEGMENTATION,
];
/// A share from 0 to 1.
pub(super) const SHARE: &[Ty] = &[
    Ty::Float,
    Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
    Ty::Null,
];
/// A whole number.
pub(super) const NUMBER: &[Ty] = &[Ty::Int, Ty::Selector(&[kind::INTEGER]), Ty::Null];
/// A switch.
pub(super) const FLAG: &[Ty] = &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])];

pub(super) const IMAGE: Field =
    Field::required("image", &[Ty::Selector(&[kind::IMAGE])]).about("The frame.");
pub(super) const DETECTIONS: Field =
    Field::required("detections", &[Ty::Selector(BOXES)]).about("Boxes of the frame.");
pub(super) const BUFFER: Field = Field::optional("lost_track_buffer", NUMBER, "30")
    .about("Frames (at 30 a second) for which a lost track is remembered.")
    .always_visible();
pub(super) const HIGH_CONFIDENCE: Field = Field::optional("high_conf_det_threshold", SHARE, "0.6")
    .about("Confidence from which a box counts as certain.");
pub(super) const CACHE: Field = Field::optional("instances_cache_size", &[Ty::Int], "16384")
    .about("Ids remembered to tell new tracks from known ones.");

/// A field for the matches in a row after which a track counts.
pub(super) const fn consecutive(default: &'static str) -> Field {
    Field::optional("minimum_consecutive_frames", NUMBER, default)
        .about("Matches in a row after which a track counts.")
        .always_visible()
}

/// A field for the least confidence of a box that starts a track.
pub(super) const fn activation(default: &'static str) -> Field {
    Field::optional("track_activation_threshold", SHARE, default)
        .about("Least confidence of a box that starts a track.")
}

const OUTPUTS: &[OutputSpec] = &[
    output("tracked_detections", BOXES),
    output("new_instances", BOXES),
    output("already_seen_instances", BOXES),
];

/// What the specs of all four blocks share.
pub(super) const MODEL: BlockSpec = BlockSpec {
    family: Family::Transformation,
    outputs: OUTPUTS,
    ..BlockSpec::DEFAULT
};

/// The boxes of one frame.
pub(super) struct Frame<'a> {
    /// The picture.
    pub(super) image: &'a Image,
    /// Corners of each row.
    pub(super) boxes: &'a [[f64; 4]],
    confidences: Option<&'a [f64]>,
}

impl Frame<'_> {
    /// Confidence of a row; `missing` if the rows have none.
    pub(super) fn confidence(&self, row: usize, missing: f64) -> f64 {
        self.confidences.map_or(missing, |c| c[row])
    }
}

/// A tracking algorithm at work on one video.
pub(super) trait Tracker: Send + Sized + 'static {
    /// A tracker with the parameters of its first frame.
    fn new(inputs: &Inputs<'_>, rate: Rate) -> Result<Self, BlockError>;

    /// Takes the next frame and writes down the rows that have an id, in order.
    fn update(&mut self, frame: &Frame<'_>, reported: &mut Vec<(usize, i64)>);
}

/// Frames per second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate(f64);

impl Rate {
    fn of(video: &VideoMetadata) -> Self {
        match video.fps {
            Some(fps) if fps != 0.0 => Self(fps),
            _ => {
                tracing::warn!(
                    video = %video.video_identifier,
                    "no frame rate: the tracker takes it for 30 frames a second"
                );
                Self(30.0)
            }
        }
    }

    /// Frames of this video that take as long as `buffer` frames at 30 a second.
    pub(super) fn frames(self, buffer: i64) -> i64 {
        (self.0 / 30.0 * buffer as f64) as i64
    }
}

/// What SORT, ByteTrack and OC-SORT are all set to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Overlap below which a box does not continue a track.
    pub(super) least_overlap: f32,
    /// Matches in a row after which a track counts.
    pub(super) consecutive: i64,
    /// Frames that a lost track is remembered.
    pub(super) patience: i64,
}

impl Rules {
    /// The rules of a tracker's first frame.
    pub(super) fn of(inputs: &Inputs<'_>, rate: Rate) -> Result<Self, BlockError> {
        Ok(Self {
            least_overlap: inputs.float("minimum_iou_threshold")? as f32,
            consecutive: inputs.int("minimum_consecutive_frames")?,
            patience: rate.frames(inputs.int("lost_track_buffer")?),
        })
    }
}

/// Forgets the lost tracks that were started first, if there are more than [`MAX_LOST`]: how long a track
/// is remembered follows from numbers of the definition and the video, which may be any.
pub(super) fn bound_lost<T>(tracks: &mut Vec<T>, since: impl Fn(&T) -> i64) {
    let lost = tracks.iter().filter(|track| since(track) > 0).count();
    let mut over = lost.saturating_sub(MAX_LOST);
    if over == 0 {
        return;
    }
    tracks.retain(|track| {
        let goes = over > 0 && since(track) > 0;
        over -= usize::from(goes);
        !goes
    });
}

/// A field for [`Rules::least_overlap`].
pub(super) const fn least_overlap(default: &'static str) -> Field {
    Field::optional("minimum_iou_threshold", SHARE, default)
        .about("Least overlap at which a box continues a track.")
        .always_visible()
}

/// Ids in order, from 0.
#[derive(Debug, Default)]
pub(super) struct Ids(i64);

impl Ids {
    /// The id of a track, given now if it has none.
    pub(super) fn of(&mut self, id: &mut Option<i64>) -> i64 {
        *id.get_or_insert_with(|| {
            self.0 += 1;
            self.0 - 1
        })
    }
}

/// A block that runs a tracker per video.
pub(super) struct TrackerBlock<T> {
    streams: PerStream<Stream<T>>,
}

struct Stream<T> {
    tracker: T,
    seen: SeenIds,
    reported: Vec<(usize, i64)>,
}

impl<T: Tracker> TrackerBlock<T> {
    /// A block that has seen nothing.
    pub(super) fn boxed() -> Box<dyn Block> {
        Box::new(Self {
            streams: PerStream::default(),
        })
    }
}

impl<T: Tracker> Block for TrackerBlock<T> {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let video = inputs.video("image", cx)?;
        let detections = inputs.detections("detections")?;
        let stream = self.streams.try_get(&video.video_identifier, || {
            Ok::<_, BlockError>(Stream {
                tracker: T::new(inputs, Rate::of(&video))?,
                seen: SeenIds::new(inputs.int("instances_cache_size")?),
                reported: Vec::new(),
            })
        })?;
        let frame = Frame {
            image,
            boxes: &detections.xyxy,
            confidences: detections.confidence.as_deref().map(Vec::as_slice),
        };
        stream.reported.clear();
        stream.tracker.update(&frame, &mut stream.reported);
        let tracked = pick(detections, &stream.reported);
        let (new, seen) = stream.seen.split(&tracked);
        Ok(Output::One(row![Value::detections(tracked), new, seen]))
    }
}

/// These rows with these ids.
fn pick(detections: &Arc<Detections>, reported: &[(usize, i64)]) -> Detections {
    if detections.is_empty() {
        return Detections::empty();
    }
    let all_in_order = reported.len() == detections.len()
        && reported.iter().enumerate().all(|(i, &(row, _))| i == row);
    let mut picked = if all_in_order {
        (**detections).clone()
    } else {
        let rows: Vec<usize> = reported.iter().map(|&(row, _)| row).collect();
        detections.take(&rows)
    };
    picked.tracker_id = Some(Arc::new(reported.iter().map(|&(_, id)| id).collect()));
    picked
}

/// The scene of specification 7.1.2, for the tests of all trackers.
#[cfg(test)]
pub(super) mod scene {
    use crate::blocks::BlockSpec;
    use crate::blocks::bench::{Bench, boxes, frame};

    /// The boxes of a frame: A until and from the gap, B but for one frame, something doubtful once.
    pub(in crate::blocks::trackers) fn rows(f: i32) -> Vec<([f64; 4], f64)> {
        let x = f64::from(f);
        let mut rows = Vec::new();
        if ![4, 5].contains(&f) {
            rows.push(([10.0 + 12.0 * x, 20.0, 50.0 + 12.0 * x, 80.0], 0.9));
        }
        if f != 7 {
            let confidence = if [3, 6].contains(&f) { 0.4 } else { 0.8 };
            rows.push((
                [200.0 - 10.0 * x, 30.0, 240.0 - 10.0 * x, 100.0],
                confidence,
            ));
        }
        if f == 2 {
            rows.push(([400.0, 300.0, 420.0, 330.0], 0.3));
        }
        rows
    }

    /// Ids of the objects A and B (a dot if not reported), frame by frame.
    pub(in crate::blocks::trackers) fn ids(spec: &'static BlockSpec) -> String {
        let mut bench = Bench::new(spec, &[]);
        let mut frames = Vec::new();
        for f in 0..10 {
            let rows = rows(f);
            let fields = [
                ("image", frame("a", i64::from(f), Some(30.0))),
                ("detections", boxes(&rows).into()),
            ];
            let out = bench.run(&fields).unwrap();
            let tracked = out[0].as_detections().unwrap();
            let id_at = |y: f64| {
                let row = tracked.xyxy.iter().position(|b| b[1] == y);
                let ids = tracked.tracker_id.as_ref().unwrap();
                row.map_or(".".to_owned(), |row| ids[row].to_string())
            };
            assert_eq!(id_at(300.0), ".");
            frames.push(format!("{}/{}", id_at(20.0), id_at(30.0)));
        }
        frames.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes, frame, ids};
    use crate::blocks::trackers::{
        trackers_botsort, trackers_bytetrack, trackers_ocsort, trackers_sort,
    };
    use serde_json::json;

    /// Ids of one still object and those of them that are new, on frame `number` of a video.
    fn see(bench: &mut Bench, video: &str, number: i64, rows: Detections) -> [Vec<i64>; 2] {
        let image = frame(video, number, Some(30.0));
        let row = bench.run(&[("image", image), ("detections", rows.into())]);
        let row = row.unwrap();
        [ids(&row[0]), ids(&row[1])]
    }

    fn still() -> Detections {
        boxes(&[([10.0, 10.0, 50.0, 90.0], 0.9)])
    }

    #[test]
    fn each_video_has_ids_of_its_own_and_each_is_new_once() {
        for spec in [
            &trackers_sort::BLOCK,
            &trackers_bytetrack::BLOCK,
            &trackers_ocsort::BLOCK,
            &trackers_botsort::BLOCK,
        ] {
            let mut bench = Bench::new(spec, &[("minimum_consecutive_frames", json!(1))]);
            for (video, number, seen, new) in [
                ("a", 1, vec![], vec![]),
                ("a", 2, vec![0], vec![0]),
                ("b", 1, vec![], vec![]),
                ("b", 2, vec![0], vec![0]),
                ("a", 3, vec![0], vec![]),
            ] {
                let found = see(&mut bench, video, number, still());
                assert_eq!(found, [seen, new], "{spec:?} {video} {number}");
            }
        }
    }

    #[test]
    fn boxes_without_confidence_are_certain_to_all_but_bytetrack() {
        for (spec, reported) in [
            (&trackers_sort::BLOCK, vec![0]),
            (&trackers_ocsort::BLOCK, vec![0]),
            (&trackers_botsort::BLOCK, vec![0]),
            (&trackers_bytetrack::BLOCK, vec![]),
        ] {
            let mut bench = Bench::new(spec, &[]);
            let mut last = Vec::new();
            for number in 1..=4 {
                let mut rows = still();
                rows.confidence = None;
                [last, _] = see(&mut bench, "a", number, rows);
            }
            assert_eq!(last, reported, "{spec:?}");
        }
    }

    #[test]
    fn of_too_many_lost_tracks_those_started_first_are_forgotten() {
        // Every third is in sight.
        let mut tracks: Vec<usize> = (0..3 * MAX_LOST).collect();
        let since = |track: &usize| i64::from(!track.is_multiple_of(3));
        bound_lost(&mut tracks, since);
        let lost: Vec<usize> = tracks.iter().copied().filter(|t| t % 3 != 0).collect();
        assert_eq!(lost.len(), MAX_LOST);
        assert_eq!(tracks.len(), 2 * MAX_LOST);
        assert_eq!((tracks[1], lost[0]), (3, 3 * MAX_LOST / 2 + 1));
        let before = tracks.clone();
        bound_lost(&mut tracks, since);
        assert_eq!(tracks, before);
    }
}
