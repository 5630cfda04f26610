//! Writes a text on the image.
//!
//! # Inputs and outputs
//! `image`, `text` with places `{{ $parameters.name }}`, `text_parameters` by name, each changed by
//! its chain in `text_parameters_operations` if it has one, how the text looks and where it stands
//! → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! A place with an unknown name stays as it is. The box of the text is moved into the image; one
//! larger than the image begins at its edge. The colour `transparent`, or an opacity of 0, leaves
//! the ground out. Gray images stay gray.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use regex::{Captures, Regex};

use crate::blocks::query::{Chain, Params, step as query_step};
use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, StepProblem, Ty,
    output,
};
use crate::definition::step::Step;
use crate::imaging::blend::{Ground, overlay};
use crate::imaging::canvas::{FILLED, text_extent};
use crate::imaging::{self, Canvas, Color, Pixel, pixels, text_size};
use crate::values::python::to_str;
use crate::values::{Dict, Matrix, kind};

use super::common::{self, fields};

const ANCHORS: &[&str] = &[
    "center",
    "top_left",
    "top_center",
    "top_right",
    "bottom_left",
    "bottom_center",
    "bottom_right",
    "center_left",
    "center_right",
];

/// For which way of giving the place a field matters.
const ABSOLUTE: &str = r#"{"relevant_for": {"position_mode": {"values": ["absolute"]}}}"#;
const RELATIVE: &str = r#"{"relevant_for": {"position_mode": {"values": ["relative"]}}}"#;

/// `roboflow_core/text_display@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/text_display@v1"],
    name: "Text Display",
    family: Family::Visualization,
    stateless: true,
    about: "Writes a text, with values of the workflow in it, on the image.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])]).about("Image to write on."),
        Field::required("text", &[Ty::Str])
            .about("The text.")
            .extra(r#"{"always_visible": true, "multiline": true}"#),
        Field::optional(
            "text_parameters",
            &[Ty::Map(&[
                Ty::Selector(&[kind::WILDCARD]),
                Ty::Str,
                Ty::Int,
                Ty::Float,
                Ty::Bool,
            ])],
            "{}",
        )
        .about("Values to put in, by name.")
        .always_visible(),
        Field::optional(
            "text_parameters_operations",
            &[Ty::Map(&[Ty::Operations])],
            "{}",
        )
        .about("What is done to them first, by name."),
        fields::color("text_color", "\"WHITE\""),
        fields::color("background_color", "\"BLACK\""),
        fields::share("background_opacity", "1.0").about("Strength of the ground."),
        fields::number("font_scale", "1.0")
            .bounds(Bounds::within(0.1, 10.0))
            .about("Size of the letters."),
        fields::integer("font_thickness", "2")
            .bounds(Bounds::within(1.0, 10.0))
            .about("Thickness of the letters."),
        fields::integer("padding", "10")
            .bounds(Bounds::at_least(0.0))
            .about("Space around the letters, pixels."),
        Field::optional(
            "text_align",
            &[
                Ty::OneOf(&["left", "center", "right"]),
                Ty::Selector(&[kind::STRING]),
            ],
            "\"left\"",
        )
        .about("How lines stand to each other."),
        fields::integer("border_radius", "0")
            .bounds(Bounds::at_least(0.0))
            .about("Radius of the corners, pixels."),
        Field::optional(
            "position_mode",
            &[
                Ty::OneOf(&["absolute", "relative"]),
                Ty::Selector(&[kind::STRING]),
            ],
            "\"relative\"",
        )
        .about("Whether the place is given in pixels or by an anchor.")
        .always_visible(),
        fields::integer("position_x", "0")
            .about("Left edge, pixels (absolute).")
            .extra(ABSOLUTE),
        fields::integer("position_y", "0")
            .about("Top edge, pixels (absolute).")
            .extra(ABSOLUTE),
        Field::optional(
            "anchor",
            &[Ty::OneOf(ANCHORS), Ty::Selector(&[kind::STRING])],
            "\"top_left\"",
        )
        .about("Place in the image (relative).")
        .extra(RELATIVE),
        fields::integer("offset_x", "10")
            .about("Shift to the right, pixels (relative).")
            .extra(RELATIVE),
        fields::integer("offset_y", "10")
            .about("Shift downwards, pixels (relative).")
            .extra(RELATIVE),
        fields::COPY_IMAGE,
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    engine: ">=1.4.0,<2.0.0",
    literal_check: Some(check),
    build: |step, _| {
        Ok(Box::new(TextDisplay {
            prepare: query_step::chains(step, "text_parameters_operations")?,
        }))
    },
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    let ground = step.text("background_color").filter(|c| !is_clear(c));
    let ground = ground.and_then(|_| common::color_problem(step, "background_color"));
    let letters = common::color_problem(step, "text_color");
    letters.into_iter().chain(ground).collect()
}

fn is_clear(color: &str) -> bool {
    color.eq_ignore_ascii_case("transparent")
}

struct TextDisplay {
    prepare: Vec<(Arc<str>, Chain)>,
}

impl Block for TextDisplay {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let mut values: Dict = inputs
            .value("text_parameters")
            .as_dict()
            .cloned()
            .unwrap_or_default();
        for (name, chain) in &self.prepare {
            if let Some(value) = values.get_mut(name) {
                *value = chain.apply(std::mem::take(value), &Params::NONE, cx)?;
            }
        }
        let text = filled(inputs.text("text")?, &values);
        let look = Look::of(inputs)?;
        let layout = Layout::of(&text, &look)?;
        let at = place(inputs, [image.width(), image.height()], layout.size)?;
        common::drawn(image, |pixels| {
            look.draw_ground(pixels, at, layout.size)?;
            look.draw_lines(pixels, at, &layout)?;
            Ok(())
        })
    }
}

/// The text with the values in their places.
fn filled<'a>(text: &'a str, values: &Dict) -> Cow<'a, str> {
    static PLACE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\{\{\s*\$parameters\.(\w+)\s*\}\}").ok());
    let Some(place) = PLACE.as_ref() else {
        return text.into();
    };
    place.replace_all(text, |found: &Captures<'_>| {
        values
            .get(&found[1])
            .map_or_else(|| found[0].to_owned(), to_str)
    })
}

/// How the text looks.
struct Look<'a> {
    color: Color,
    /// Colour and opacity of the ground, if there is one.
    ground: Option<(Color, f64)>,
    scale: f64,
    thickness: i32,
    padding: i32,
    radius: i32,
    align: &'a str,
}

/// Lines with their widths, and the size of the whole.
struct Layout<'a> {
    lines: Vec<(&'a str, i32)>,
    widest: i32,
    /// Height of a line above its foot, and from one line to the next.
    ascent: i32,
    step: i32,
    size: Pixel,
}

impl<'a> Layout<'a> {
    fn of(text: &'a str, look: &Look<'_>) -> opencv::Result<Self> {
        let ([_, ascent], below) = text_extent("Ag", look.scale, look.thickness)?;
        let advance = ascent + below;
        let gap = ((0.25 * f64::from(advance)).round_ties_even() as i32).max(1);
        let mut lines = Vec::new();
        for line in text.split('\n') {
            let width = if line.trim().is_empty() {
                0
            } else {
                text_size(line, look.scale, look.thickness)?[0]
            };
            lines.push((line, width));
        }
        let widest = lines.iter().map(|l| l.1).max().unwrap_or(0);
        let n = lines.len() as i32;
        let height = n * advance + (n - 1) * gap + 2 * look.padding;
        Ok(Self {
            lines,
            widest,
            ascent,
            step: advance + gap,
            size: [widest + 2 * look.padding, height],
        })
    }
}

/// Top left corner of a box of a size, moved into the image.
fn place(inputs: &Inputs<'_>, image: [usize; 2], size: Pixel) -> Result<Pixel, BlockError> {
    let image = image.map(|n| n as i32);
    let wanted = if inputs.text("position_mode")? == "absolute" {
        [
            pixels(inputs.int("position_x")?),
            pixels(inputs.int("position_y")?),
        ]
    } else {
        let name = inputs.text("anchor")?.to_lowercase();
        if !ANCHORS.contains(&name.as_str()) {
            return Err(BlockError::failed(format!(
                "unknown anchor `{name}`: use one of {}",
                ANCHORS.join(", ")
            )));
        }
        let share = |low: &str, high: &str| match &name {
            n if n.contains(low) => 0.0,
            n if n.contains(high) => 1.0,
            _ => 0.5,
        };
        let part = |share: f64, n: i32| (share * f64::from(n)).round_ties_even() as i32;
        let (across, down) = (share("left", "right"), share("top", "bottom"));
        [
            part(across, image[0]) - part(across, size[0]) + pixels(inputs.int("offset_x")?),
            part(down, image[1]) - part(down, size[1]) + pixels(inputs.int("offset_y")?),
        ]
    };
    Ok([0, 1].map(|axis| wanted[axis].clamp(0, (image[axis] - size[axis]).max(0))))
}

impl<'a> Look<'a> {
    fn of(inputs: &Inputs<'a>) -> Result<Self, BlockError> {
        let ground = inputs.text("background_color")?;
        let opacity = inputs.float("background_opacity")?;
        let ground = if is_clear(ground) || opacity <= 0.0 {
            None
        } else {
            Some((Color::parse(ground)?, opacity))
        };
        Ok(Self {
            color: Color::parse(inputs.text("text_color")?)?,
            ground,
            scale: inputs.float("font_scale")?,
            thickness: pixels(inputs.int("font_thickness")?),
            padding: pixels(inputs.int("padding")?),
            radius: pixels(inputs.int("border_radius")?),
            align: inputs.text("text_align")?,
        })
    }

    fn draw_ground(&self, image: &mut Matrix, [x, y]: Pixel, [w, h]: Pixel) -> opencv::Result<()> {
        let corners = [x, y, x + w, y + h];
        let Some(region) = imaging::clipped(corners, image.width, image.height) else {
            return Ok(());
        };
        let Some((color, opacity)) = self.ground else {
            return Ok(());
        };
        let [x, y, w, h] = region.map(|n| n as i32);
        let (from, to) = ([x, y], [x + w - 1, y + h - 1]);
        if opacity >= 1.0 {
            return rounded(&mut Canvas::new(image)?, from, to, self.radius, color);
        }
        overlay(image, region, Ground::Image, opacity, |canvas| {
            rounded(canvas, from, to, self.radius, color)
        })
    }

    fn draw_lines(
        &self,
        image: &mut Matrix,
        [x, y]: Pixel,
        layout: &Layout<'_>,
    ) -> opencv::Result<()> {
        let (width, height) = (image.width as i32, image.height as i32);
        let mut canvas = Canvas::new(image)?;
        let mut top = y + self.padding;
        for (line, line_width) in &layout.lines {
            let rest = layout.widest - line_width;
            let shift = match self.align {
                "center" => rest / 2,
                "right" => rest,
                _ => 0,
            };
            let at = [x + self.padding + shift, top + layout.ascent];
            if !line.trim().is_empty() && at[1] > 0 && top < height && at[0] < width {
                canvas.text(line, at, self.scale, self.color, self.thickness)?;
            }
            top += layout.step;
        }
        Ok(())
    }
}

/// A filled rectangle with both corners in it and quarter circles of a radius at the corners.
fn rounded(
    canvas: &mut Canvas<'_>,
    [x1, y1]: Pixel,
    [x2, y2]: Pixel,
    radius: i32,
    color: Color,
) -> opencv::Result<()> {
    let r = radius.min((x2 - x1) / 2).min((y2 - y1) / 2);
    if r <= 0 {
        return canvas.rectangle([x1, y1], [x2, y2], color, FILLED);
    }
    canvas.rectangle([x1 + r, y1], [x2 - r, y2], color, FILLED)?;
    canvas.rectangle([x1, y1 + r], [x2, y2 - r], color, FILLED)?;
    for (center, start) in [
        ([x1 + r, y1 + r], 180.0),
        ([x2 - r, y1 + r], 270.0),
        ([x1 + r, y2 - r], 90.0),
        ([x2 - r, y2 - r], 0.0),
    ] {
        canvas.arc(center, [r, r], [start, start + 90.0], color, FILLED, false)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, image_of, run, scene};
    use super::*;
    use crate::values::Value;

    fn write(fields: &[(&'static str, Value)]) -> Result<Output, BlockError> {
        let mut all = vec![("image", scene().into())];
        all.extend(fields.iter().cloned());
        run(&BLOCK, &all)
    }

    fn small(text: &str) -> Vec<(&'static str, Value)> {
        vec![
            ("text", text.into()),
            ("font_scale", 0.5.into()),
            ("font_thickness", 1i64.into()),
            ("padding", 4i64.into()),
        ]
    }

    #[test]
    fn texts_are_written_as_recorded() {
        let lines = image_of(write(&small("one\ntwo is longer\n\nfour")));
        assert_picture(lines.pixels(), "visualizations/text_display_lines.png");
        let mut right = small("a\nlonger line\nmid one");
        right.extend([
            ("text_align", "right".into()),
            ("anchor", "center".into()),
            ("offset_x", 0i64.into()),
            ("offset_y", 0i64.into()),
        ]);
        let right = image_of(write(&right));
        assert_picture(right.pixels(), "visualizations/text_display_right.png");
        let mut round = small("both");
        round.extend([
            ("border_radius", 40i64.into()),
            ("background_opacity", 0.4.into()),
            ("background_color", "YELLOW".into()),
        ]);
        let round = image_of(write(&round));
        assert_picture(round.pixels(), "visualizations/text_display_round.png");
    }

    #[test]
    fn values_take_their_places() {
        let mut values = Dict::new();
        values.insert("n".into(), Value::Int(3));
        values.insert("who".into(), "A".into());
        let text = "{{ $parameters.n }} of {{$parameters.who}} {{ $parameters.x }}";
        assert_eq!(filled(text, &values), "3 of A {{ $parameters.x }}");
    }

    #[test]
    fn a_wrong_anchor_or_size_is_an_error() {
        let with = |field: &'static str, value: Value| {
            let mut fields = vec![("text", Value::from("a"))];
            fields.push((field, value));
            write(&fields)
        };
        assert!(with("anchor", "zz".into()).is_err());
        assert!(with("font_scale", 11.0.into()).is_err());
        assert!(with("background_color", "Transparent".into()).is_ok());
    }
}
