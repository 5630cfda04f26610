//! Puts an icon on detections, or at a fixed place.
//!
//! # Inputs and outputs
//! `image`, `icon`, `mode`; `dynamic`: `predictions` and `position`; `static`: `x_position` and
//! `y_position`; `icon_width` and `icon_height` → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The icon keeps its proportions within its size. It is transparent where it says so, if it came
//! in as base64 without a `data:` prefix; from elsewhere it is opaque. Negative places count from
//! the far edge. A `position` of `null` and missing predictions draw nothing. Gray images become
//! colour images.

use opencv::imgproc::INTER_LINEAR;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::geometry::Anchor;
use crate::imaging::blend::paste;
use crate::imaging::{self, Pixel, pixels, trunc};
use crate::values::base64_text::decode_base64;
use crate::values::{Image, Matrix, kind};

use super::common::{self, fields};

const PLACE: &[Ty] = &[Ty::Int, Ty::Selector(&[kind::INTEGER]), Ty::Null];

/// `roboflow_core/icon_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/icon_visualization@v1", "IconVisualization"],
    name: "Icon Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Puts an icon on detections, or at a fixed place.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        Field::required("icon", &[Ty::Selector(&[kind::IMAGE])])
            .about("The icon.")
            .extra(r#"{"always_visible": true, "order": 3}"#),
        Field::optional(
            "mode",
            &[
                Ty::OneOf(&["static", "dynamic"]),
                Ty::Selector(&[kind::STRING]),
            ],
            "\"dynamic\"",
        )
        .about("Whether it follows detections.")
        .extra(r#"{"always_visible": true, "order": 1}"#),
        Field::optional(
            "predictions",
            &[
                Ty::Selector(&[
                    kind::OBJECT_DETECTION,
                    kind::INSTANCE_SEGMENTATION,
                    kind::RLE_INSTANCE_SEGMENTATION,
                    kind::KEYPOINT_DETECTION,
                ]),
                Ty::Null,
            ],
            "null",
        )
        .about("Detections to mark (dynamic).")
        .extra(
            r#"{
                "order": 4,
                "relevant_for": {"mode": {"required": true, "values": ["dynamic"]}}
            }"#,
        ),
        fields::integer("icon_width", "64")
            .about("Width of the icon, pixels.")
            .always_visible(),
        fields::integer("icon_height", "64")
            .about("Height of the icon, pixels.")
            .always_visible(),
        Field::optional(
            "position",
            &[
                Ty::OneOf(crate::geometry::anchor::NAMES),
                Ty::Selector(&[kind::STRING]),
                Ty::Null,
            ],
            "\"TOP_CENTER\"",
        )
        .about("Place on the box (dynamic).")
        .extra(r#"{"relevant_for": {"mode": {"required": false, "values": ["dynamic"]}}}"#),
        Field::optional("x_position", PLACE, "10")
            .about("Left edge, pixels (static).")
            .extra(r#"{"relevant_for": {"mode": {"required": true, "values": ["static"]}}}"#),
        Field::optional("y_position", PLACE, "10")
            .about("Top edge, pixels (static).")
            .extra(r#"{"relevant_for": {"mode": {"required": true, "values": ["static"]}}}"#),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    check: Some(check),
    build: |_, _| Ok(Box::new(Icon)),
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    let without = step.literal("predictions").is_some_and(|p| p.is_null());
    if without && step.text("mode") == Some("dynamic") {
        vec![StepProblem {
            field: Some("predictions"),
            message: "the mode dynamic needs predictions".into(),
        }]
    } else {
        Vec::new()
    }
}

struct Icon;

impl Block for Icon {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let size = [
            pixels(inputs.int("icon_width")?),
            pixels(inputs.int("icon_height")?),
        ];
        if size.iter().any(|&side| !(1..=MAX_SIDE).contains(&side)) {
            return Err(BlockError::failed(format!(
                "icon_width and icon_height must be from 1 to {MAX_SIDE}"
            )));
        }
        let places = if inputs.text("mode")? == "static" {
            let at = [inputs.int("x_position")?, inputs.int("y_position")?].map(pixels);
            vec![fixed(at, size, [image.width(), image.height()])]
        } else {
            on_detections(inputs, size)?
        };
        if places.is_empty() {
            return common::unchanged(image);
        }
        let icon = fitted(&with_alpha(inputs.image("icon")?), size)?;
        common::drawn(&common::in_color(image), |pixels| {
            for place in places {
                lay(pixels, &icon, place);
            }
            Ok(())
        })
    }
}

/// Longest side of an icon.
const MAX_SIDE: i32 = 1 << 13;

/// Top left corner of an icon at a fixed place; odd sizes lie a pixel further up and left.
fn fixed(at: Pixel, size: Pixel, image: [usize; 2]) -> Pixel {
    [0, 1].map(|axis| {
        let edge = if at[axis] < 0 {
            image[axis] as i32 + at[axis] - size[axis]
        } else {
            at[axis]
        };
        corner(edge + size[axis] / 2, size[axis])
    })
}

/// First pixel of a side of an icon around its middle.
fn corner(middle: i32, side: i32) -> i32 {
    trunc(f64::from(middle) - f64::from(side) / 2.0)
}

/// Top left corners of the icons of all detections.
fn on_detections(inputs: &Inputs<'_>, size: Pixel) -> Result<Vec<Pixel>, BlockError> {
    let detections = inputs.optional("predictions", Inputs::detections)?;
    let name = inputs.optional("position", Inputs::text)?;
    let (Some(detections), Some(name)) = (detections, name) else {
        return Ok(Vec::new());
    };
    let anchor = Anchor::parse(name)?;
    let mut places = Vec::with_capacity(detections.len());
    for row in 0..detections.len() {
        let [x, y] = common::pixel_at(anchor, detections, row)?;
        places.push([corner(x, size[0]), corner(y, size[1])]);
    }
    Ok(places)
}

/// The icon in four channels: transparent where the text it came in by says so, else opaque.
fn with_alpha(icon: &Image) -> Matrix {
    let text = icon.entered_as().filter(|text| !text.starts_with("data:"));
    let decoded = text
        .and_then(|text| decode_base64(text).ok())
        .and_then(|bytes| image::load_from_memory(&bytes).ok())
        .filter(|decoded| decoded.color().has_alpha())
        .map(|decoded| decoded.to_rgba8())
        .filter(|d| [d.width() as usize, d.height() as usize] == [icon.width(), icon.height()]);
    let data = match decoded {
        Some(decoded) => decoded
            .pixels()
            .flat_map(|p| [p[2], p[1], p[0], p[3]])
            .collect(),
        None => {
            let opaque = icon.bgr();
            opaque
                .data
                .chunks_exact(3)
                .flat_map(|p| [p[0], p[1], p[2], 255])
                .collect()
        }
    };
    Matrix {
        width: icon.width(),
        height: icon.height(),
        channels: 4,
        data,
    }
}

/// The icon within a size, its proportions kept, transparent around.
fn fitted(icon: &Matrix, [width, height]: Pixel) -> opencv::Result<Matrix> {
    let (w, h) = (f64::from(width), f64::from(height));
    let proportion = icon.width as f64 / icon.height as f64;
    let [inner_w, inner_h] = if proportion >= w / h {
        [width as usize, ((w / proportion) as usize).max(1)]
    } else {
        [((h * proportion) as usize).max(1), height as usize]
    };
    let inner = imaging::resized(icon, inner_w, inner_h, INTER_LINEAR)?;
    let (width, height) = (width as usize, height as usize);
    let mut fitted = Matrix::filled(width, height, &[0; 4]);
    let region = [
        (width - inner_w) / 2,
        (height - inner_h) / 2,
        inner_w,
        inner_h,
    ];
    paste(&mut fitted, region, &inner);
    Ok(fitted)
}

/// Lays the icon over the pixels; what leaves the image is cut off.
fn lay(pixels: &mut Matrix, icon: &Matrix, [x, y]: Pixel) {
    let corners = [x, y, x + icon.width as i32, y + icon.height as i32];
    let Some([left, top, width, height]) = imaging::clipped(corners, pixels.width, pixels.height)
    else {
        return;
    };
    let (dx, dy) = ((left as i32 - x) as usize, (top as i32 - y) as usize);
    for row in 0..height {
        let start = ((top + row) * pixels.width + left) * 3;
        let line = pixels.data[start..start + width * 3].chunks_exact_mut(3);
        let from = ((dy + row) * icon.width + dx) * 4;
        for (pixel, over) in line.zip(icon.data[from..].chunks_exact(4)) {
            let alpha = f32::from(over[3]) / 255.0;
            for (value, &color) in pixel.iter_mut().zip(over) {
                *value = (f32::from(*value) * (1.0 - alpha) + f32::from(color) * alpha) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, image_of, masked, run, scene};
    use super::*;
    use crate::values::Value;
    use crate::values::base64_text::encode_base64;

    fn icon() -> Image {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/blocks/visualizations/icon.png"
        );
        let bytes = std::fs::read(path).unwrap();
        let pixels = super::super::common::testing::picture("visualizations/icon.png");
        Image::new(pixels, "icon".into()).with_entered_as(encode_base64(&bytes).into())
    }

    fn put(fields: &[(&'static str, Value)]) -> Result<Output, BlockError> {
        let mut all = vec![
            ("image", scene().into()),
            ("icon", icon().into()),
            ("predictions", masked().into()),
        ];
        all.extend(fields.iter().cloned());
        run(&BLOCK, &all)
    }

    #[test]
    fn icons_are_put_as_recorded() {
        let got = image_of(put(&[]));
        assert_picture(got.pixels(), "visualizations/icon_default.png");
        let still = image_of(put(&[("mode", "static".into())]));
        assert_picture(still.pixels(), "visualizations/icon_static.png");
    }

    #[test]
    fn negative_places_count_from_the_far_edge() {
        assert_eq!(fixed([-10, 10], [20, 20], [200, 150]), [170, 10]);
        assert_eq!(fixed([10, 10], [21, 20], [200, 150]), [9, 10]);
    }

    #[test]
    fn nothing_to_follow_draws_nothing() {
        for none in [("predictions", Value::None), ("position", Value::None)] {
            let mut fields = vec![
                ("image", scene().into()),
                ("icon", icon().into()),
                ("predictions", masked().into()),
            ];
            fields.retain(|f| f.0 != none.0);
            fields.push(none);
            let got = image_of(run(&BLOCK, &fields));
            assert_picture(got.pixels(), "visualizations/scene.png");
        }
        assert!(put(&[("icon_width", 0i64.into())]).is_err());
    }
}
