//! Writes what a classifier found on the image.
//!
//! # Inputs and outputs
//! `image`, `predictions` of a classifier (one label or several), a palette, `text`, where and how
//! it is written → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Of a single label result the most confident class is written; of a multi-label result the
//! predicted classes, the most confident on top. Nothing found leaves the image as it is.

use std::sync::Arc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::geometry::Anchor;
use crate::geometry::anchor::ON_BOX;
use crate::imaging::Canvas;
use crate::values::{Detections, Dict, kind};

use super::common::labels::{self, Style};
use super::common::{self, Palette, fields};

const TEXT: &[Ty] = &[
    Ty::OneOf(&["Class", "Confidence", "Class and Confidence"]),
    Ty::InputParameter(&[kind::STRING]),
];

const POSITION: &[Ty] = &[Ty::OneOf(ON_BOX), Ty::InputParameter(&[kind::STRING])];

const INTEGER: &[Ty] = &[Ty::Int, Ty::InputParameter(&[kind::INTEGER])];

/// `roboflow_core/classification_label_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/classification_label_visualization@v1"],
    name: "Classification Label Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Writes what a classifier found on the image.",
    fields: fields::colored![
        Field::required("predictions", &[Ty::StepOutput(&[kind::CLASSIFICATION])])
            .about("Result of a classifier.");
        Field::optional("text", TEXT, "\"Class\"")
            .about("What to write.")
            .always_visible(),
        Field::optional("text_position", POSITION, "\"TOP_LEFT\"").about("Where to write it."),
        Field::optional(
            "text_color",
            &[Ty::Str, Ty::InputParameter(&[kind::STRING])],
            "\"WHITE\"",
        )
        .about("Colour of the letters."),
        Field::optional(
            "text_scale",
            &[Ty::Float, Ty::InputParameter(&[kind::FLOAT])],
            "1.0",
        )
        .about("Size of the letters."),
        Field::optional("text_thickness", INTEGER, "1").about("Thickness of the letters."),
        Field::optional("text_padding", INTEGER, "10").about("Space around the letters, pixels."),
        Field::optional("border_radius", INTEGER, "0").about("Radius of the corners, pixels."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(check),
    build: |_, _| Ok(Box::new(ClassificationLabel)),
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    let mut problems = common::palette_problems(step);
    problems.extend(common::color_problem(step, "text_color"));
    problems
}

struct ClassificationLabel;

/// One class to write.
#[derive(Clone, Debug, PartialEq)]
struct Class {
    name: String,
    id: i64,
    confidence: f64,
}

impl Block for ClassificationLabel {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let result = inputs.value("predictions").as_dict();
        let result = result.ok_or_else(|| wrong("it is no object"))?;
        let classes =
            found(result).ok_or_else(|| wrong("classes or their confidence are missing"))?;
        if classes.is_empty() {
            return common::unchanged(image);
        }
        let style = Style::of(inputs)?;
        let palette = Palette::of(inputs)?;
        let name = inputs.text("text_position")?;
        let position = Anchor::parse(name)?;
        let size = size_of(result).ok_or_else(|| wrong("the size of the image is missing"))?;
        let mut written = Vec::with_capacity(classes.len());
        for class in &classes {
            written.push((text(inputs.text("text")?, class)?, class.id));
        }
        if name.starts_with("BOTTOM") {
            written.reverse();
        }
        let boxes = Detections {
            xyxy: Arc::new(boxes(position, size, &written, &style)),
            ..Detections::default()
        };
        common::drawn(image, |pixels| {
            let mut canvas = Canvas::new(pixels)?;
            for (row, (text, id)) in written.iter().enumerate() {
                let id = match (palette.by_row(), palette.by_class()) {
                    (true, _) => row as i64,
                    (_, true) => *id,
                    // All labels belong to one track.
                    _ => 0,
                };
                let anchor = common::pixel_at(position, &boxes, row)?;
                let color = palette.by_id(id)?;
                labels::draw(&mut canvas, text, anchor, position, color, &style)?;
            }
            Ok(())
        })
    }
}

fn wrong(what: &str) -> BlockError {
    BlockError::failed(format!(
        "field `predictions` does not hold a classifier's result: {what}"
    ))
}

/// The classes to write, most confident first; `None` if the result is none.
fn found(result: &Dict) -> Option<Vec<Class>> {
    let predictions = result.get("predictions")?;
    if let Some(entries) = predictions.as_slice() {
        let mut best: Option<Class> = None;
        for entry in entries {
            let entry = entry.as_dict()?;
            let class = class(entry.get("class")?.as_str()?, entry)?;
            if best
                .as_ref()
                .is_none_or(|b| class.confidence > b.confidence)
            {
                best = Some(class);
            }
        }
        return Some(best.into_iter().collect());
    }
    let by_name = predictions.as_dict()?;
    let mut classes = Vec::new();
    for name in result.get("predicted_classes")?.as_slice()? {
        let name = name.as_str()?;
        classes.push(class(name, by_name.get(name)?.as_dict()?)?);
    }
    classes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    Some(classes)
}

fn class(name: &str, entry: &Dict) -> Option<Class> {
    Some(Class {
        name: name.into(),
        id: entry.get("class_id")?.as_i64()?,
        confidence: entry.get("confidence")?.as_f64()?,
    })
}

fn size_of(result: &Dict) -> Option<[f64; 2]> {
    let image = result.get("image")?.as_dict()?;
    Some([
        image.get("width")?.as_f64()?,
        image.get("height")?.as_f64()?,
    ])
}

fn text(kind: &str, class: &Class) -> Result<String, BlockError> {
    Ok(match kind {
        "Class" => class.name.clone(),
        "Confidence" => format!("{:.2}", class.confidence),
        "Class and Confidence" => format!("{} {:.2}", class.name, class.confidence),
        other => {
            return Err(BlockError::failed(format!(
                "invalid text `{other}`: use Class, Confidence or Class and Confidence"
            )));
        }
    })
}

/// Boxes whose anchors are the places of the labels.
fn boxes(
    position: Anchor,
    [w, h]: [f64; 2],
    labels: &[(String, i64)],
    style: &Style,
) -> Vec<[f64; 4]> {
    let padding = f64::from(style.padding);
    let step = 20.0 * style.scale + 2.0 * padding + 2.0 * f64::from(style.thickness) + 5.0;
    let n = labels.len() as f64;
    let longest = labels.iter().map(|(t, _)| t.chars().count()).max();
    let length = longest.unwrap_or(0) as f64 * 15.0 * style.scale + 2.0 * padding;
    let edge = length + 20.0 + 3.0 * (10.0 - padding).max(0.0);
    let (side, level) = match position {
        Anchor::Box(x, y) => (x, y),
        Anchor::CenterOfMass => (0, 0),
    };
    let row = |i: usize| {
        let i = i as f64;
        match level {
            -1 => [0.0, step + i * step, w, h],
            0 => {
                let rest = h - step * n;
                let top = (rest / 2.0).min(rest).max(0.0) + i * step;
                let (x1, x2) = match side {
                    -1 => (edge, w),
                    1 => (0.0, w - edge),
                    _ => (0.0, w),
                };
                [x1, top, x2, top + step]
            }
            _ => [0.0, 0.0, w, h - (step + i * step)],
        }
    };
    (0..labels.len()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::common::testing::{assert_picture, image_of, run, scene};
    use super::*;
    use crate::values::Value;

    fn write(result: serde_json::Value, more: &[(&'static str, Value)]) -> crate::values::Matrix {
        let mut fields = vec![
            ("image", scene().into()),
            ("predictions", Value::from_json(&result)),
        ];
        fields.extend(more.iter().cloned());
        (**image_of(run(&BLOCK, &fields)).pixels()).clone()
    }

    fn two_of_three() -> serde_json::Value {
        json!({
            "image": {"width": 200, "height": 150},
            "predictions": {
                "sun": {"confidence": 0.5, "class_id": 0},
                "sea": {"confidence": 0.92, "class_id": 1},
                "sand": {"confidence": 0.1, "class_id": 2}
            },
            "predicted_classes": ["sun", "sea"]
        })
    }

    #[test]
    fn labels_are_written_as_recorded() {
        let single = json!({
            "image": {"width": 200, "height": 150},
            "predictions": [
                {"class": "cat", "class_id": 2, "confidence": 0.21},
                {"class": "dog", "class_id": 5, "confidence": 0.655}
            ],
            "top": "dog",
            "confidence": 0.655
        });
        let drawn = write(single, &[]);
        assert_picture(&drawn, "visualizations/classification_label.png");
        for position in ["CENTER_LEFT", "BOTTOM_RIGHT"] {
            let fields = [
                ("text_scale", 0.5.into()),
                ("text_padding", 4i64.into()),
                ("text", "Class and Confidence".into()),
                ("text_position", position.into()),
            ];
            let name = position.to_lowercase();
            let file = format!("visualizations/classification_label_{name}.png");
            assert_picture(&write(two_of_three(), &fields), &file);
        }
    }

    #[test]
    fn nothing_found_leaves_the_image_as_it_is() {
        let mut none = two_of_three();
        none["predicted_classes"] = json!([]);
        assert_picture(&write(none, &[]), "visualizations/scene.png");
    }

    #[test]
    fn what_is_no_result_is_an_error() {
        for wrong in [
            json!({"top": "a"}),
            json!([1]),
            json!({"predictions": [{"class": "a"}]}),
        ] {
            let fields = [
                ("image", scene().into()),
                ("predictions", Value::from_json(&wrong)),
            ];
            assert!(run(&BLOCK, &fields).is_err());
        }
    }
}
