//! Writes a label beside each detection.
//!
//! # Inputs and outputs
//! `image`, `predictions`, a palette for the label's ground, what the label says (`text`), where
//! (`text_position`) and how it looks → `image`. Version 2 can scale the letters with the image.
//!
//! # State
//! None.
//!
//! # Edge cases
//! No detections leave the image as it is. `text` may at run time name any column of the detections.
//! A label may leave the image or cover another. Run-length masks are decoded for
//! `CENTER_OF_MASS` only.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, StepProblem};
use crate::blocks::{Field, output};
use crate::definition::step::Step;
use crate::imaging::Canvas;
use crate::values::kind;

use super::common::labels::{self, Style};
use super::common::{self, fields};

const ABOUT: &str = "Writes a label beside each detection.";

/// `roboflow_core/label_visualization@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/label_visualization@v1", "LabelVisualization"],
    fields: FIELDS_V1,
    build: |_, _| Ok(Box::new(Label { can_fit: false })),
    ..COMMON
};

/// `roboflow_core/label_visualization@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/label_visualization@v2"],
    fields: FIELDS_V2,
    build: |_, _| Ok(Box::new(Label { can_fit: true })),
    ..COMMON
};

const COMMON: BlockSpec = BlockSpec {
    name: "Label Visualization",
    family: Family::Visualization,
    stateless: true,
    about: ABOUT,
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(check),
    ..BlockSpec::DEFAULT
};

const FIELDS_V1: &[Field] = fields::colored![
    fields::PREDICTIONS;
    labels::TEXT,
    labels::TEXT_POSITION,
    labels::TEXT_COLOR,
    labels::TEXT_SCALE,
    labels::TEXT_THICKNESS,
    labels::TEXT_PADDING,
    labels::BORDER_RADIUS,
];

const FIELDS_V2: &[Field] = fields::colored![
    fields::PREDICTIONS;
    labels::TEXT,
    labels::TEXT_POSITION,
    labels::TEXT_COLOR,
    labels::TEXT_SIZE_MODE,
    labels::TEXT_SCALE,
    labels::TEXT_THICKNESS,
    labels::TEXT_PADDING,
    labels::BORDER_RADIUS,
];

fn check(step: &Step) -> Vec<StepProblem> {
    let mut problems = common::palette_problems(step);
    problems.extend(common::color_problem(step, "text_color"));
    problems
}

struct Label {
    /// Whether the block has the field `text_size_mode`.
    can_fit: bool,
}

impl Block for Label {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let detections = inputs.detections("predictions")?;
        let mut style = Style::of(inputs)?;
        if self.can_fit && inputs.text("text_size_mode")? == "Automatic" {
            style = style.fitted_to(image);
        }
        if detections.is_empty() {
            return common::unchanged(image);
        }
        common::drawn(image, |pixels| {
            labels::draw_all(&mut Canvas::new(pixels)?, detections, inputs, &style)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, draw_five, five, image_of, run, scene};
    use super::*;
    use crate::values::{Image, Matrix, Value};

    #[test]
    fn labels_are_drawn_as_recorded() {
        let fields = [("text_scale", 0.4.into()), ("text_padding", 3i64.into())];
        assert_picture(&draw_five(&V1, &fields), "visualizations/label.png");
        assert_picture(&draw_five(&V2, &fields), "visualizations/label.png");
        let by_track = [&fields[..], &[("color_axis", "TRACK".into())]].concat();
        assert_picture(
            &draw_five(&V1, &by_track),
            "visualizations/label_by_track.png",
        );
        let fields = [("text_scale", 0.5.into()), ("border_radius", 6i64.into())];
        assert_picture(&draw_five(&V1, &fields), "visualizations/label_round.png");
    }

    #[test]
    fn automatic_size_follows_the_shorter_side() {
        let style = Style {
            color: crate::imaging::Color::WHITE,
            scale: 1.0,
            thickness: 1,
            padding: 10,
            radius: 0,
        };
        let image = |w, h| Image::new(Matrix::filled(w, h, &[0]), "image".into());
        let scale = |w, h, scale| Style { scale, ..style }.fitted_to(&image(w, h)).scale;
        assert!((scale(1280, 720, 1.0) - 0.6667).abs() < 1e-4);
        assert_eq!(scale(3840, 2160, 2.0), 4.0);
        assert_eq!(scale(200, 150, 1.0), 0.3);
    }

    #[test]
    fn gray_images_stay_gray_and_unknown_texts_are_errors() {
        let gray = Image::new(Matrix::filled(200, 150, &[9]), "image".into());
        let mut fields = vec![
            ("image", Value::from(gray)),
            ("predictions", five().into()),
            ("text_scale", 0.5.into()),
        ];
        let drawn = image_of(run(&V1, &fields));
        assert_eq!(drawn.channels(), 1);
        assert!(drawn.pixels().data.contains(&255));
        fields[0].1 = scene().into();
        fields.push(("text", "Weight".into()));
        assert!(run(&V1, &fields).is_err());
    }
}
