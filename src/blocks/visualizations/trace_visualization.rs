//! Draws the way that each tracked object has come.
//!
//! # Inputs and outputs
//! `image`, tracked `predictions`, a palette, `position` (the point of the box that is followed),
//! `trace_length` in frames, `thickness` → `image`.
//!
//! # State
//! Per stream: the points of the last `trace_length` frames that had any. A change of `position`
//! or `trace_length` begins anew.
//!
//! # Edge cases
//! An object is drawn from its second point on, and only while it is seen. Rows with track −1 leave
//! no points. Rows without track ids are an error, an empty set is not.

use std::collections::VecDeque;

use serde_json::Value as Json;

use crate::blocks::state::PerStream;
use crate::blocks::{Block, BlockError, BlockSpec, Context, Inputs, Output, StepProblem};
use crate::definition::step::Step;
use crate::geometry::Anchor;
use crate::imaging::{Pixel, pixels, trunc};
use crate::values::Detections;

use super::common::{self, fields};

/// `roboflow_core/trace_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/trace_visualization@v1"],
    name: "Trace Visualization",
    about: "Draws the way that each tracked object has come.",
    fields: fields::colored![
        fields::PREDICTIONS;
        fields::position("position", "\"CENTER\""),
        fields::integer("trace_length", "30").about("Frames to remember, at least 1."),
        fields::integer("thickness", "1").about("Thickness of the line, at least 1."),
    ],
    check: Some(check),
    build: |_, _| Ok(Box::<Trace>::default()),
    stateless: false,
    ..common::COLORED
};

fn check(step: &Step) -> Vec<StepProblem> {
    let mut problems = Vec::new();
    for field in ["trace_length", "thickness"] {
        let value = step.literal(field).and_then(Json::as_i64);
        if value.is_some_and(|v| v < 1) {
            problems.push(StepProblem {
                field: Some(field),
                message: format!("{field} cannot be lower than 1"),
            });
        }
    }
    problems
}

#[derive(Default)]
struct Trace {
    streams: PerStream<History>,
}

/// Points of one stream, oldest first.
#[derive(Debug, Default)]
struct History {
    position: Option<Anchor>,
    length: i64,
    frame: i64,
    points: VecDeque<Point>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    frame: i64,
    track: i64,
    at: Pixel,
}

impl History {
    /// Adds the points of a frame and drops those that are too old.
    fn add(&mut self, detections: &Detections, position: Anchor) -> Result<(), BlockError> {
        let tracks = detections
            .tracker_id
            .as_deref()
            .map_or(&[][..], Vec::as_slice);
        for (row, &track) in tracks.iter().enumerate().filter(|(_, t)| **t != -1) {
            // The reference keeps 32-bit floats.
            let at = position
                .of(detections, row)?
                .map(|v| trunc(f64::from(v as f32)));
            let frame = self.frame;
            self.points.push_back(Point { frame, track, at });
        }
        let mut frames: Vec<i64> = self.points.iter().map(|p| p.frame).collect();
        frames.dedup();
        if frames.len() as i64 > self.length {
            let oldest = self.frame - self.length + 1;
            while self.points.front().is_some_and(|p| p.frame < oldest) {
                self.points.pop_front();
            }
        }
        self.frame += 1;
        Ok(())
    }
}

impl Block for Trace {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let detections = inputs.detections("predictions")?;
        let position = Anchor::parse(inputs.text("position")?)?;
        let length = inputs.int("trace_length")?;
        let thickness = inputs.int("thickness")?;
        if length < 1 || thickness < 1 {
            return Err(BlockError::Input(
                "fields `trace_length` and `thickness` cannot be lower than 1".into(),
            ));
        }
        if detections.tracker_id.is_none() && !detections.is_empty() {
            return Err(BlockError::failed(
                "the detections have no track ids: put a tracker before this step",
            ));
        }
        let history = self.streams.get(image.video_identifier(), History::default);
        if history.position != Some(position) || history.length != length {
            *history = History {
                position: Some(position),
                length,
                ..History::default()
            };
        }
        history.add(detections, position)?;
        common::each_row(inputs, |canvas, detections, row, color| {
            let Some(&track) = detections.tracker_id.as_ref().and_then(|t| t.get(row)) else {
                return Ok(());
            };
            let points = history.points.iter().filter(|p| p.track == track);
            let way: Vec<Pixel> = points.map(|p| p.at).collect();
            if way.len() > 1 {
                canvas.polyline(&way, false, color, pixels(thickness))?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::common::testing::{
        assert_picture, five, image_of, run, run_again, scene, services, step,
    };
    use super::*;
    use crate::values::{Image, Timestamp, Value, VideoMetadata};

    fn on(stream: &str) -> Image {
        let video = VideoMetadata::synthetic(stream.into(), Timestamp::from_unix_micros(0));
        scene().with_video(Some(Arc::new(video)))
    }

    fn frame(image: Image, centers: &[[f64; 2]]) -> Vec<(&'static str, Value)> {
        let detections = Detections {
            xyxy: Arc::new(
                centers
                    .iter()
                    .map(|[x, y]| [x - 10.0, y - 10.0, x + 10.0, y + 10.0])
                    .collect(),
            ),
            class_id: Some(Arc::new((0..centers.len() as i64).collect())),
            tracker_id: Some(Arc::new(vec![1, 7][..centers.len()].to_vec())),
            ..Detections::default()
        };
        vec![("image", image.into()), ("predictions", detections.into())]
    }

    #[test]
    fn the_way_grows_as_recorded() {
        let (made, _) = step(&BLOCK, &[]);
        let mut block = (BLOCK.build)(&made, &services()).unwrap();
        let mut show = |centers: &[[f64; 2]]| {
            let fields = frame(on("cam"), centers);
            image_of(run_again(&BLOCK, block.as_mut(), &fields))
        };
        let first = show(&[[38.0, 46.0], [164.0, 105.0]]);
        assert_picture(first.pixels(), "visualizations/scene.png");
        let second = show(&[[56.0, 52.0], [148.0, 100.0]]);
        assert_picture(second.pixels(), "visualizations/trace_2.png");
    }

    #[test]
    fn old_points_go_and_streams_do_not_mix() {
        let mut history = History {
            length: 2,
            ..History::default()
        };
        for _ in 0..5 {
            history.add(&five(), Anchor::CENTER).unwrap();
        }
        assert_eq!(history.points.len(), 8);
        assert!(history.points.iter().all(|p| p.track != -1));

        let (made, _) = step(&BLOCK, &[]);
        let mut block = (BLOCK.build)(&made, &services()).unwrap();
        for (stream, x) in [("north", 30.0), ("south", 90.0)] {
            let fields = frame(on(stream), &[[x, 40.0]]);
            let drawn = image_of(run_again(&BLOCK, block.as_mut(), &fields));
            assert_picture(drawn.pixels(), "visualizations/scene.png");
        }
    }

    #[test]
    fn missing_ids_are_an_error_only_where_there_are_rows() {
        let mut detections = five();
        detections.tracker_id = None;
        let none = detections.take(&[]);
        let run = |d: Detections| {
            run(
                &BLOCK,
                &[("image", scene().into()), ("predictions", d.into())],
            )
        };
        assert!(run(detections).is_err());
        assert!(run(none).is_ok());
    }
}
