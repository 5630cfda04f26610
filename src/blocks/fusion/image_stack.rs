//! Keeps the last pictures of a video as JPEG.
//!
//! # Inputs and outputs
//! `image`, made smaller to fit `resolution_width` × `resolution_height` → `frames`, the last
//! `stack_size` pictures, newest first, and `frames_count`. With `clear` it begins anew.
//!
//! # State
//! Per video, the pictures.
//!
//! # Edge cases
//! A stack made smaller keeps its oldest pictures. Sizes that come from parameters are brought into
//! their ranges, literals outside them refused.

use std::collections::VecDeque;
use std::sync::Arc;

use opencv::imgproc::INTER_AREA;

use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::imaging;
use crate::row;
use crate::values::codec::encode_jpeg;
use crate::values::{Image, Value, kind};

const QUALITY: u8 = 75;

/// Fields with the ranges of their numbers.
const RANGES: [(&str, i64, i64); 3] = [
    ("stack_size", 1, 64),
    ("resolution_width", 64, 1920),
    ("resolution_height", 64, 1080),
];

/// `roboflow_core/image_stack@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/image_stack@v1"],
    name: "Image Stack",
    family: Family::Fusion,
    about: "Keeps the last pictures of a video as JPEG.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])]).about("The picture."),
        Field::optional("stack_size", NUMBER, "10").about("How many pictures are kept."),
        Field::optional("resolution_width", NUMBER, "1920").about("Greatest width."),
        Field::optional("resolution_height", NUMBER, "1080").about("Greatest height."),
        Field::optional(
            "clear",
            &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])],
            "false",
        )
        .about("Whether the stack is emptied first."),
    ],
    outputs: &[
        output("frames", &[kind::LIST_OF_VALUES]),
        output("frames_count", &[kind::INTEGER]),
    ],
    check: Some(check),
    build: |_, _| Ok(Box::<ImageStack>::default()),
    ..BlockSpec::DEFAULT
};

const NUMBER: &[Ty] = &[Ty::Int, Ty::Selector(&[kind::INTEGER])];

fn check(step: &Step) -> Vec<StepProblem> {
    let outside = |(name, low, high): &(&'static str, i64, i64)| {
        let number = step.literal(name).and_then(|v| v.as_i64());
        let wrong = number.filter(|n| !(*low..=*high).contains(n));
        wrong.map(|n| StepProblem {
            field: Some(name),
            message: format!("must be between {low} and {high}, got {n}"),
        })
    };
    RANGES.iter().filter_map(outside).collect()
}

#[derive(Default)]
struct ImageStack {
    videos: PerStream<VecDeque<Value>>,
}

impl Block for ImageStack {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let number =
            |(name, low, high): (&str, i64, i64)| Ok(inputs.int(name)?.clamp(low, high) as usize);
        let [size, width, height]: [Result<usize, BlockError>; 3] = RANGES.map(number);
        let (size, width, height) = (size?, width?, height?);
        let newest = jpeg(image, width, height)?;
        let stack = self.videos.get(image.video_identifier(), VecDeque::new);
        if inputs.flag("clear")? {
            stack.clear();
        }
        while stack.len() > size {
            stack.pop_front();
        }
        stack.push_front(newest);
        stack.truncate(size);
        let frames: Vec<Value> = stack.iter().cloned().collect();
        let count = frames.len();
        Ok(Output::One(row![frames, count]))
    }
}

/// The picture as JPEG, no larger than the given size.
fn jpeg(image: &Image, width: usize, height: usize) -> Result<Value, BlockError> {
    let pixels = image.pixels();
    let (w, h) = (pixels.width as f64, pixels.height as f64);
    let scale = (width as f64 / w).min(height as f64 / h);
    let failed =
        |why: &dyn std::fmt::Display| BlockError::failed(format!("no JPEG of the image: {why}"));
    let bytes = match scale < 1.0 {
        true => {
            let (w, h) = ((w * scale) as usize, (h * scale) as usize);
            let smaller = imaging::resized(pixels, w.max(1), h.max(1), INTER_AREA)?;
            encode_jpeg(&smaller, QUALITY)
        }
        false => encode_jpeg(pixels, QUALITY),
    };
    Ok(Value::Bytes(Arc::from(bytes.map_err(|e| failed(&e))?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::Bench;
    use crate::values::codec::decode_image;
    use crate::values::{Matrix, Timestamp, VideoMetadata};
    use serde_json::json;

    fn frame(video: &str, gray: u8) -> Value {
        let image = Image::new(Matrix::filled(160, 120, &[gray; 3]), "image".into());
        let video = VideoMetadata::synthetic(video.into(), Timestamp::from_unix_micros(0));
        image.with_video(Some(Arc::new(video))).into()
    }

    /// Brightness of the pictures in the stack.
    fn feed(bench: &mut Bench, more: &[(&str, Value)]) -> Vec<u8> {
        let row = bench.run(more).unwrap();
        let frames = row[0].as_slice().unwrap();
        assert_eq!(row[1].as_i64(), Some(frames.len() as i64));
        let gray = |frame: &Value| match frame {
            Value::Bytes(bytes) => decode_image(bytes, 1 << 20).unwrap().data[0],
            other => panic!("{other:?}"),
        };
        frames.iter().map(gray).collect()
    }

    #[test]
    fn the_newest_come_first_per_video() {
        let mut bench = Bench::new(&BLOCK, &[("stack_size", json!(2))]);
        assert_eq!(feed(&mut bench, &[("image", frame("a", 10))]), [10]);
        assert_eq!(feed(&mut bench, &[("image", frame("a", 20))]), [20, 10]);
        assert_eq!(feed(&mut bench, &[("image", frame("b", 70))]), [70]);
        assert_eq!(feed(&mut bench, &[("image", frame("a", 30))]), [30, 20]);
        let anew = [("image", frame("a", 40)), ("clear", true.into())];
        assert_eq!(feed(&mut bench, &anew), [40]);
    }

    #[test]
    fn a_smaller_stack_keeps_the_oldest() {
        let mut bench = Bench::new(&BLOCK, &[]);
        for gray in [10, 20, 30] {
            feed(&mut bench, &[("image", frame("a", gray))]);
        }
        let smaller = [("image", frame("a", 40)), ("stack_size", Value::Int(2))];
        assert_eq!(feed(&mut bench, &smaller), [40, 20]);
    }

    #[test]
    fn large_pictures_are_made_smaller() {
        let fields = [
            ("resolution_width", json!(80)),
            ("resolution_height", json!(90)),
        ];
        let row = Bench::new(&BLOCK, &fields)
            .run(&[("image", frame("a", 9))])
            .unwrap();
        match &row[0].as_slice().unwrap()[0] {
            Value::Bytes(bytes) => {
                assert_eq!(decode_image(bytes, 1 << 20).unwrap().size(), [80, 60])
            }
            other => panic!("{other:?}"),
        }
    }
}
