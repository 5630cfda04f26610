//! Shows where two models agree and differ.
//!
//! # Inputs and outputs
//! `image`, `predictions_a` with `color_a`, `predictions_b` with `color_b`, `background_color`,
//! `opacity` → `image`: what both found keeps its pixels, what one found takes that one's colour,
//! the rest that of the background.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Dense masks count before boxes; run-length masks are not decoded, their boxes count. Negative
//! corners count from the far edge, as in a Python slice. Gray images become colour images.

use std::sync::Arc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::imaging::blend::{copy_masked, tinted};
use crate::imaging::{Canvas, Color};
use crate::row;
use crate::values::{Detections, Mask, Matrix, kind};

use super::common::{self, fields, masks};

const BOXES: &[Ty] = &[Ty::Selector(&[
    kind::OBJECT_DETECTION,
    kind::INSTANCE_SEGMENTATION,
    kind::RLE_INSTANCE_SEGMENTATION,
    kind::KEYPOINT_DETECTION,
])];

/// `roboflow_core/model_comparison_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/model_comparison_visualization@v1"],
    name: "Model Comparison Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Shows where two models agree and differ.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        Field::required("predictions_a", BOXES).about("Detections of the first model."),
        fields::color("color_a", "\"GREEN\""),
        Field::required("predictions_b", BOXES).about("Detections of the second model."),
        fields::color("color_b", "\"RED\""),
        fields::color("background_color", "\"BLACK\""),
        fields::share("opacity", "0.7").about("Strength of the colours."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(|step| {
        ["color_a", "color_b", "background_color"]
            .into_iter()
            .filter_map(|field| common::color_problem(step, field))
            .collect()
    }),
    build: |_, _| Ok(Box::new(ModelComparison)),
    ..BlockSpec::DEFAULT
};

struct ModelComparison;

impl Block for ModelComparison {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let color = |field: &str| Ok::<_, BlockError>(Color::parse(inputs.text(field)?)?);
        let (color_a, color_b) = (color("color_a")?, color("color_b")?);
        let background = color("background_color")?;
        let opacity = inputs.float("opacity")?;
        let before = image.bgr();
        let a = covered(inputs.detections("predictions_a")?, &before)?;
        let b = covered(inputs.detections("predictions_b")?, &before)?;
        let mut pixels = tinted(&before, background, opacity)?;
        copy_masked(&mut pixels, &tinted(&before, color_a, opacity)?, &a)?;
        copy_masked(&mut pixels, &tinted(&before, color_b, opacity)?, &b)?;
        copy_masked(&mut pixels, &before, &common_to(&a, &b))?;
        Ok(Output::One(row![image.with_pixels(pixels)]))
    }
}

/// All pixels that a set of detections covers.
fn covered(detections: &Detections, image: &Matrix) -> Result<Mask, BlockError> {
    let parts = match &detections.masks {
        Some(masks) => masks.clone(),
        None => Arc::new(masks::of_boxes(detections, image.width, image.height)),
    };
    masks::check_size(&parts, image)?;
    let mut all = Matrix::filled(image.width, image.height, &[0]);
    let mut canvas = Canvas::new(&mut all)?;
    for part in parts.iter() {
        canvas.mask(part, Color::WHITE)?;
    }
    drop(canvas);
    Ok(Mask::from_dense(image.width, image.height, &all.data))
}

/// The pixels of both masks, which have one size.
fn common_to(a: &Mask, b: &Mask) -> Mask {
    let [x, y, width, height] = a.window();
    let other = b.cut(x as i64, y as i64, width, height).to_dense();
    let both: Vec<u8> = a
        .window_bits()
        .iter()
        .zip(other)
        .map(|(a, b)| a & b)
        .collect();
    Mask::from_window(a.width(), a.height(), a.window(), &both)
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, five, image_of, run, scene};
    use super::*;
    use crate::values::{Image, Value};

    fn boxes(rows: &[[f64; 4]]) -> Detections {
        let corners = |[x, y, w, h]: &[f64; 4]| {
            let (left, top) = (x - w / 2.0, y - h / 2.0);
            [left, top, left + w, top + h]
        };
        Detections {
            xyxy: Arc::new(rows.iter().map(corners).collect()),
            ..Detections::default()
        }
    }

    #[test]
    fn differences_are_shown_as_recorded() {
        let b = boxes(&[[60.0, 75.0, 60.0, 60.0], [120.0, 62.0, 48.0, 46.0]]);
        let fields: [(&str, Value); 3] = [
            ("image", scene().into()),
            ("predictions_a", five().take(&[0, 1, 2, 3]).into()),
            ("predictions_b", b.into()),
        ];
        let got = image_of(run(&BLOCK, &fields));
        assert_picture(got.pixels(), "visualizations/model_comparison.png");
    }

    #[test]
    fn the_four_cases_on_gray() {
        let gray = Image::new(Matrix::filled(40, 10, &[60]), "image".into());
        let fields: [(&str, Value); 3] = [
            ("image", gray.into()),
            ("predictions_a", boxes(&[[10.0, 5.0, 20.0, 10.0]]).into()),
            ("predictions_b", boxes(&[[20.0, 5.0, 20.0, 10.0]]).into()),
        ];
        let got = image_of(run(&BLOCK, &fields));
        let at = |x: usize| &got.pixels().data[x * 3..x * 3 + 3];
        assert_eq!(at(5), [18, 196, 18]);
        assert_eq!(at(15), [60, 60, 60]);
        assert_eq!(at(25), [18, 18, 196]);
        assert_eq!(at(35), [18, 18, 18]);
    }
}
