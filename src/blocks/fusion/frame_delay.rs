//! Gives back what a value was some frames ago.
//!
//! # Inputs and outputs
//! `data`, remembered under the number of the frame `image`, and `offset` ≤ 0 → `output`, the value
//! of the frame `offset` away or `default_value`, `is_available`, whether there was one, and
//! `reference_frame_number`, the number of this frame.
//!
//! # State
//! Per video, the values of the last frames: as many as the largest offset asked for, 256 at most.
//!
//! # Edge cases
//! Frames that were skipped are not available. Frame numbers that fall back mean that the video began
//! anew: what was remembered is forgotten. A still image is frame 0, so only offset 0 finds something.

use std::collections::BTreeMap;

use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::row;
use crate::values::{Value, kind};

const FARTHEST: i64 = -256;

/// `roboflow_core/frame_delay@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/frame_delay@v1",
        "FrameDelay",
        "roboflow_core/time_travel@v1",
        "TimeTravel",
    ],
    name: "Frame Delay",
    family: Family::Fusion,
    about: "Gives back what a value was some frames ago.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])])
            .about("The frame that the value belongs to."),
        Field::required(
            "data",
            &[Ty::Selector(&[
                kind::WILDCARD,
                kind::LIST_OF_VALUES,
                kind::IMAGE,
                kind::OBJECT_DETECTION,
                kind::INSTANCE_SEGMENTATION,
                kind::KEYPOINT_DETECTION,
            ])],
        )
        .about("The value."),
        Field::required("offset", &[Ty::Int, Ty::Selector(&[kind::INTEGER])])
            .about("How many frames back, as a negative number."),
        Field::optional(
            "default_value",
            &[Ty::Bool, Ty::Int, Ty::Float, Ty::Str, Ty::Null],
            "null",
        )
        .about("What to give if that frame is not there."),
    ],
    outputs: &[
        output("output", &[kind::WILDCARD]),
        output("is_available", &[kind::BOOLEAN]),
        output("reference_frame_number", &[kind::INTEGER]),
    ],
    check: Some(check),
    build: |_, _| Ok(Box::<FrameDelay>::default()),
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    let offset = step.literal("offset").and_then(|v| v.as_i64());
    let problem = offset.and_then(|n| within(n).err());
    let problem = problem.map(|message| StepProblem {
        field: Some("offset"),
        message,
    });
    problem.into_iter().collect()
}

fn within(offset: i64) -> Result<i64, String> {
    match offset {
        1.. => Err(format!(
            "`offset` must be 0 or less, got {offset}: the future is not known"
        )),
        ..FARTHEST => Err(format!(
            "`offset` must be at least {FARTHEST}, got {offset}: every frame in between stays in memory"
        )),
        _ => Ok(offset),
    }
}

#[derive(Default)]
struct FrameDelay {
    videos: PerStream<Frames>,
}

#[derive(Default)]
struct Frames {
    values: BTreeMap<i64, Value>,
    /// The largest offset asked for, without its sign.
    farthest: i64,
}

impl Block for FrameDelay {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let video = inputs.video("image", cx)?;
        let offset = offset(inputs.value("offset"))?;
        let frame = video.frame_number;
        let frames = self.videos.get(&video.video_identifier, Frames::default);
        if frames
            .values
            .last_key_value()
            .is_some_and(|(newest, _)| frame < *newest)
        {
            *frames = Frames::default();
        }
        frames.farthest = frames.farthest.max(-offset);
        frames.values.insert(frame, inputs.value("data").clone());
        let found = frames.values.get(&frame.saturating_add(offset)).cloned();
        let available = found.is_some();
        let oldest = frame.saturating_sub(frames.farthest);
        frames.values = frames.values.split_off(&oldest);
        let value = found.unwrap_or_else(|| inputs.value("default_value").clone());
        Ok(Output::One(row![value, available, frame]))
    }
}

/// The offset as Python's `int` makes one of the value.
fn offset(value: &Value) -> Result<i64, BlockError> {
    let whole = match value {
        Value::Str(text) => text.trim().parse().ok(),
        Value::Float(f) if f.is_finite() => Some(f.trunc() as i64),
        other => other.as_i64(),
    };
    let whole = whole.ok_or_else(|| {
        BlockError::failed(format!(
            "`offset` must be a whole number, got {}",
            value.type_name()
        ))
    })?;
    within(whole).map_err(BlockError::Failed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{Host, problems, values};
    use crate::values::{Timestamp, VideoMetadata, python};
    use serde_json::json;

    fn feed(block: &mut FrameDelay, video: &str, frame: i64, offset: Value) -> String {
        let metadata = VideoMetadata {
            frame_number: frame,
            ..VideoMetadata::synthetic(video.into(), Timestamp::from_unix_micros(0))
        };
        let given = [
            ("image", Value::Video(Arc::new(metadata))),
            ("data", format!("{video}{frame}").into()),
            ("offset", offset),
            ("default_value", Value::Int(-1)),
        ];
        let values = values(&BLOCK, &given);
        let host = Host::default();
        match block.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default())) {
            Ok(Output::One(row)) => python::to_str(&row[0]),
            Err(error) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn gaps_restarts_and_videos_are_told_apart() {
        // Recorded case frame_delay_streams_gaps_and_restarts.
        let mut block = FrameDelay::default();
        let mut at = |video, frame| feed(&mut block, video, frame, Value::Int(-2));
        assert_eq!((at("a", 1), at("b", 1)), ("-1".into(), "-1".into()));
        assert_eq!((at("a", 3), at("b", 3)), ("a1".into(), "b1".into()));
        assert_eq!((at("b", 4), at("a", 5)), ("-1".into(), "a3".into()));
        assert_eq!(
            (at("a", 4), at("a", 5), at("a", 6)),
            ("-1".into(), "-1".into(), "a4".into())
        );
        assert_eq!(at("b", 5), "b3");
    }

    #[test]
    fn a_larger_offset_later_keeps_more_from_then_on() {
        // Recorded case frame_delay_changing_offset.
        let mut block = FrameDelay::default();
        let offsets = [-1, -1, -1, -3, -3, -3, -3, -1, -3, 0];
        let found: Vec<String> = (1..)
            .zip(offsets)
            .map(|(frame, offset)| feed(&mut block, "", frame, Value::Int(offset)))
            .collect();
        assert_eq!(found, ["-1", "1", "2", "-1", "2", "3", "4", "7", "6", "10"]);
    }

    #[test]
    fn offsets_are_read_as_whole_numbers_of_the_past() {
        let mut block = FrameDelay::default();
        feed(&mut block, "a", 1, "-2".into());
        assert_eq!(feed(&mut block, "a", 2, Value::Float(-1.9)), "a1");
        assert!(feed(&mut block, "a", 3, Value::Int(1)).contains("0 or less"));
        assert!(feed(&mut block, "a", 3, "x".into()).contains("whole number"));
        let of = |offset: i64| {
            problems(
                &BLOCK,
                json!({"image": "$inputs.i", "data": "$inputs.v", "offset": offset}),
            )
        };
        assert!(of(-256).is_empty() && of(-257).len() == 1 && of(1).len() == 1);
    }
}
