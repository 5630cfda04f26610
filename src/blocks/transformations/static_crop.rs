//! Cuts the same rectangle out of every image.
//!
//! # Inputs and outputs
//! `images`, `x_center`, `y_center`, `width`, `height` (pixels, or shares of the image for the
//! relative block) → `crops`.
//!
//! # State
//! The identifier of the crop, one per stream for as long as the step lives: blocks behind the crop
//! that remember a stream thus see one stream.
//!
//! # Edge cases
//! The absolute block limits the rectangle to the image. The relative block does not: negative
//! corners count from the far edge, as in a Python slice. A crop without pixels is an empty
//! element.

use std::sync::Arc;

use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::imaging;
use crate::row;
use crate::values::detections::new_id;
use crate::values::{Image, Value, kind};

const IMAGES: Field = Field::required("images", &[Ty::Selector(&[kind::IMAGE])])
    .alias("image")
    .about("Images to cut from.");

const fn length(name: &'static str) -> Field {
    Field::required(
        name,
        &[Ty::IntAbove(0, i64::MAX), Ty::Selector(&[kind::INTEGER])],
    )
    .about("In pixels.")
}

const SHARE: &[Ty] = &[
    Ty::FloatIn(Bounds::within(0.0, 1.0)),
    Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
];

const fn share(name: &'static str) -> Field {
    Field::required(name, SHARE).about("As a share of the image.")
}

const COMMON: BlockSpec = BlockSpec {
    family: Family::Transformation,
    about: "Cuts the same rectangle out of every image.",
    outputs: &[output("crops", &[kind::IMAGE])],
    batch: &["images"],
    ..BlockSpec::DEFAULT
};

/// `roboflow_core/absolute_static_crop@v1`
pub static ABSOLUTE: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/absolute_static_crop@v1",
        "AbsoluteStaticCrop",
    ],
    name: "Absolute Static Crop",
    fields: &[
        IMAGES,
        length("x_center"),
        length("y_center"),
        length("width"),
        length("height"),
    ],
    build: |_, _| Ok(Box::new(StaticCrop::new(false))),
    ..COMMON
};

/// `roboflow_core/relative_statoic_crop@v1` (spelled so)
pub static RELATIVE: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/relative_statoic_crop@v1",
        "RelativeStaticCrop",
    ],
    name: "Relative Static Crop",
    fields: &[
        IMAGES,
        share("x_center"),
        share("y_center"),
        share("width"),
        share("height"),
    ],
    build: |_, _| Ok(Box::new(StaticCrop::new(true))),
    ..COMMON
};

struct StaticCrop {
    relative: bool,
    ids: PerStream<Arc<str>>,
}

impl StaticCrop {
    fn new(relative: bool) -> Self {
        Self {
            relative,
            ids: PerStream::default(),
        }
    }

    fn crop(&mut self, image: &Image, [xc, yc, width, height]: [f64; 4]) -> Value {
        let (w, h) = (image.width(), image.height());
        let (x, y, columns, rows) = if self.relative {
            let (across, down) = (w as f64, h as f64);
            let (x1, x2) = span(
                (xc * across).round_ties_even(),
                (width * across).round_ties_even(),
            );
            let (y1, y2) = span(
                (yc * down).round_ties_even(),
                (height * down).round_ties_even(),
            );
            (x1, y1, imaging::slice(x1, x2, w), imaging::slice(y1, y2, h))
        } else {
            let inside = |at: i32, n: usize| (at.max(0) as usize).min(n);
            let ((x1, x2), (y1, y2)) = (span(xc, width), span(yc, height));
            let columns = inside(x1, w)..inside(x2, w);
            let rows = inside(y1, h)..inside(y2, h);
            (columns.start as i32, rows.start as i32, columns, rows)
        };
        if columns.is_empty() || rows.is_empty() {
            return Value::None;
        }
        let pixels = image
            .pixels()
            .cut(columns.start, rows.start, columns.len(), rows.len());
        let kind = if self.relative {
            "relative"
        } else {
            "absolute"
        };
        let id = self
            .ids
            .get(image.video_identifier(), || {
                format!("{kind}_static_crop.{}", new_id()).into()
            })
            .clone();
        image.cropped(pixels, id, x.into(), y.into(), true).into()
    }
}

/// First and last of `length` pixels around a centre.
fn span(center: f64, length: f64) -> (i32, i32) {
    let from = (center - length / 2.0).round_ties_even();
    (from as i32, (from + length) as i32)
}

impl Block for StaticCrop {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let mut sides = [0.0; 4];
        for (side, name) in sides
            .iter_mut()
            .zip(["x_center", "y_center", "width", "height"])
        {
            *side = if self.relative {
                inputs.float(name)?
            } else {
                inputs.int(name)? as f64
            };
        }
        let images = inputs.images("images")?;
        let rows = images
            .into_iter()
            .map(|image| row![self.crop(image, sides)]);
        Ok(Output::Many(rows.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::visualizations::common::testing::{run_again, services, step};
    use crate::values::{Batch, Matrix, Timestamp, VideoMetadata};

    fn wall() -> Image {
        let now = Timestamp::from_unix_micros(0);
        let video = VideoMetadata::synthetic("wall".into(), now);
        Image::new(Matrix::filled(200, 150, &[5]), "image".into()).with_video(Some(Arc::new(video)))
    }

    /// Crops of the same image, one per set of sides.
    fn crops(spec: &'static BlockSpec, sides: &[[Value; 4]]) -> Vec<Value> {
        let batch = Batch {
            indices: vec![smallvec::smallvec![0]],
            items: vec![wall().into()],
        };
        let fields = |[x, y, w, h]: [Value; 4]| {
            vec![
                ("images", Value::Batch(Arc::new(batch.clone()))),
                ("x_center", x),
                ("y_center", y),
                ("width", w),
                ("height", h),
            ]
        };
        let (made, _) = step(spec, &fields(sides[0].clone()));
        let mut block = (spec.build)(&made, &services()).unwrap();
        sides
            .iter()
            .map(
                |s| match run_again(spec, block.as_mut(), &fields(s.clone())) {
                    Ok(Output::Many(rows)) => rows[0][0].clone(),
                    other => panic!("{other:?}"),
                },
            )
            .collect()
    }

    fn place(crop: &Value) -> Option<[i64; 4]> {
        let image = crop.as_image()?;
        let (x, y) = (image.parent().x, image.parent().y);
        Some([x, y, image.width() as i64, image.height() as i64])
    }

    #[test]
    fn absolute_rectangles_are_limited_to_the_image() {
        let sides = [
            [100, 70, 61, 40],
            [190, 140, 60, 50],
            [5, 4, 40, 31],
            [400, 400, 20, 20],
        ];
        let got = crops(&ABSOLUTE, &sides.map(|s: [i64; 4]| s.map(Value::from)));
        let places: Vec<_> = got.iter().map(place).collect();
        assert_eq!(
            places,
            [
                Some([70, 50, 61, 40]),
                Some([160, 115, 40, 35]),
                Some([0, 0, 25, 19]),
                None
            ]
        );
    }

    #[test]
    fn relative_rectangles_follow_python_slices() {
        let sides = [
            [0.5, 0.47, 0.333, 0.251],
            [0.9, 0.9, 0.4, 0.3],
            [0.1, 0.5, 0.3, 0.3],
            [0.5, 0.5, 0.0, 0.3],
        ];
        let got = crops(&RELATIVE, &sides.map(|s: [f64; 4]| s.map(Value::from)));
        let places: Vec<_> = got.iter().map(place).collect();
        assert_eq!(
            places,
            [Some([66, 51, 67, 38]), Some([140, 112, 60, 38]), None, None]
        );
    }

    #[test]
    fn the_stream_behind_a_crop_keeps_its_name() {
        let side = [50i64, 50, 20, 20].map(Value::from);
        let got = crops(&ABSOLUTE, &[side.clone(), side]);
        let names: Vec<_> = got
            .iter()
            .map(|c| c.as_image().unwrap().video_identifier().clone())
            .collect();
        assert_eq!(names[0], names[1]);
        let prefix = "wall | crop: absolute_static_crop.";
        assert!(names[0].starts_with(prefix) && names[0].len() == prefix.len() + 36);
    }
}
