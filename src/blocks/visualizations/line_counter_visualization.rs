//! Draws a counting line and the counts of both directions.
//!
//! # Inputs and outputs
//! `image`, `zone` (two points; further ones are ignored), the line's `color`, `thickness` and
//! `opacity`, `count_in` and `count_out` → `image`.
//!
//! # State
//! None: a change of any field takes effect at once.
//!
//! # Edge cases
//! The line brightens the image (`line * opacity + image`). The text stands centred on the first
//! point, black on white. Gray images stay gray.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::imaging::blend::{Ground, overlay};
use crate::imaging::canvas::FILLED;
use crate::imaging::{Canvas, Color, Pixel, pixels, text_size};
use crate::values::{Value, kind};

use super::common::{self, fields};

/// `roboflow_core/line_counter_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/line_counter_visualization@v1"],
    name: "Line Counter Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Draws a counting line with the counts of both directions.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::points("zone").about("The two ends of the line."),
        fields::color("color", "\"#5bb573\""),
        fields::integer("thickness", "2").about("Thickness of the line."),
        fields::integer("text_thickness", "1").about("Thickness of the letters."),
        fields::number("text_scale", "1.0").about("Size of the letters."),
        fields::integer("count_in", "0")
            .about("Number of objects that went in.")
            .always_visible(),
        fields::integer("count_out", "0")
            .about("Number of objects that went out.")
            .always_visible(),
        fields::share("opacity", "0.3").about("Strength of the line."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(|step| common::color_problem(step, "color").into_iter().collect()),
    build: |_, _| Ok(Box::new(LineCounter)),
    ..BlockSpec::DEFAULT
};

struct LineCounter;

impl Block for LineCounter {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let [from, to] = ends(inputs.list("zone")?)?;
        let color = Color::parse(inputs.text("color")?)?;
        let thickness = pixels(inputs.int("thickness")?);
        let opacity = inputs.float("opacity")?;
        let text = format!(
            "in: {}, out: {}",
            inputs.int("count_in")?,
            inputs.int("count_out")?
        );
        let scale = inputs.float("text_scale")?;
        let text_thickness = pixels(inputs.int("text_thickness")?);
        common::drawn(image, |pixels| {
            let margin = thickness.saturating_add(2);
            if let Some(region) = common::region_around(&[from, to], margin, pixels.size()) {
                overlay(pixels, region, Ground::Black, opacity, |canvas| {
                    canvas.line(from, to, color, thickness)
                })?;
            }
            let [w, h] = text_size(&text, scale, text_thickness)?;
            let [x, y] = [from[0] - w / 2, from[1] - h / 2];
            let mut canvas = Canvas::new(pixels)?;
            canvas.rectangle([x, y], [x + w, y + h], Color::WHITE, FILLED)?;
            let below = [x, from[1] + h / 2];
            canvas.text(&text, below, scale, Color::BLACK, text_thickness)?;
            Ok(())
        })
    }
}

/// The first two points of a zone.
fn ends(zone: &[Value]) -> Result<[Pixel; 2], BlockError> {
    let end = |i: usize| {
        let point = zone.get(i)?.as_slice()?;
        let at = |axis: usize| point.get(axis)?.as_i64().map(pixels);
        Some([at(0)?, at(1)?])
    };
    match (end(0), end(1)) {
        (Some(from), Some(to)) => Ok([from, to]),
        _ => Err(BlockError::failed(
            "zone must begin with two points of two whole numbers each",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::common::testing::{assert_picture, image_of, run, scene};
    use super::*;
    use crate::values::{Image, Matrix};

    fn zone() -> Value {
        Value::from_json(&json!([[100, 110], [185, 40], [3, 3]]))
    }

    #[test]
    fn line_and_counts_are_drawn_as_recorded() {
        let draw = |more: &[(&'static str, Value)]| {
            let mut fields = vec![("image", scene().into()), ("zone", zone())];
            fields.extend(more.iter().cloned());
            (**image_of(run(&BLOCK, &fields)).pixels()).clone()
        };
        let counts = [
            ("count_in", 12i64.into()),
            ("count_out", 3i64.into()),
            ("text_scale", 0.5.into()),
        ];
        assert_picture(&draw(&counts), "visualizations/line_counter_counts.png");
        let styled = [
            ("color", "RED".into()),
            ("thickness", 8i64.into()),
            ("opacity", 1.0.into()),
            ("text_thickness", 2i64.into()),
            ("text_scale", 0.6.into()),
        ];
        assert_picture(&draw(&styled), "visualizations/line_counter_styled.png");
    }

    #[test]
    fn a_line_outside_the_image_leaves_only_the_text() {
        let gray = Image::new(Matrix::filled(60, 40, &[50]), "image".into());
        let fields = [
            ("image", gray.into()),
            ("zone", Value::from_json(&json!([[-50, -50], [-10, -90]]))),
        ];
        let drawn = image_of(run(&BLOCK, &fields));
        assert!(drawn.pixels().data[20 * 60..].iter().all(|&p| p == 50));
    }

    #[test]
    fn one_point_is_no_line() {
        for wrong in [
            json!([[1, 2]]),
            json!([[1, 2], [3]]),
            json!([[1.5, 2], [3, 4]]),
        ] {
            let fields = [
                ("image", scene().into()),
                ("zone", Value::from_json(&wrong)),
            ];
            assert!(run(&BLOCK, &fields).is_err(), "{wrong}");
        }
    }
}
