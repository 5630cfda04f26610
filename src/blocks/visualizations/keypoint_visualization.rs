//! Draws key points: their connections, the points, or their numbers.
//!
//! # Inputs and outputs
//! `image`, `predictions` with key points, `annotator_type` (`edge`, `vertex`, `vertex_label`),
//! colours and sizes, `edges` (pairs of point numbers, counted from 1) → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Points are put in the slot of their class id where the ids allow it. Points at the origin and
//! those that are not finite are passed over; confidence is not looked at. Without `edges` a
//! skeleton is chosen by the number of points (17 or 33), else nothing is drawn. A pair outside the
//! points is an error. No detections leave the image as it is.

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::imaging::canvas::FILLED;
use crate::imaging::{Canvas, Color, Pixel, pixels, text_size, trunc};
use crate::values::detections::column;
use crate::values::{Detections, Value, kind};

use super::common::{self, fields};

/// For which way of drawing a field of labels matters.
const WITH_LABELS: &str = r#"{"relevant_for": {"annotator_type": {"values": ["vertex_label"]}}}"#;

/// `roboflow_core/keypoint_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/keypoint_visualization@v1",
        "KeypointVisualization",
    ],
    name: "Keypoint Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Draws key points: their connections, the points or their numbers.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        Field::required("predictions", &[Ty::Selector(&[kind::KEYPOINT_DETECTION])])
            .about("Detections to draw."),
        Field::optional(
            "annotator_type",
            &[Ty::OneOf(&["edge", "vertex", "vertex_label"])],
            "\"edge\"",
        )
        .about("What to draw.")
        .always_visible(),
        fields::color("color", "\"#A351FB\""),
        fields::color("text_color", "\"black\"").extra(WITH_LABELS),
        fields::number("text_scale", "0.5")
            .about("Size of the numbers.")
            .extra(WITH_LABELS),
        fields::integer("text_thickness", "1")
            .about("Thickness of the numbers.")
            .extra(WITH_LABELS),
        fields::integer("text_padding", "10")
            .about("Space around the numbers, pixels.")
            .extra(WITH_LABELS),
        fields::integer("thickness", "2")
            .about("Thickness of the connections.")
            .extra(r#"{"relevant_for": {"annotator_type": {"values": ["edge"]}}}"#),
        fields::integer("radius", "10")
            .about("Radius of the points, or of the corners of labels.")
            .extra(
                r#"{"relevant_for": {"annotator_type": {"values": ["vertex", "vertex_label"]}}}"#,
            ),
        Field::optional(
            "edges",
            &[Ty::List(&[Ty::Any]), Ty::Selector(&[kind::LIST_OF_VALUES])],
            "null",
        )
        .about("Pairs of points to connect, counted from 1."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    engine: ">=1.2.0,<2.0.0",
    literal_check: Some(|step| {
        ["color", "text_color"]
            .into_iter()
            .filter_map(|field| common::color_problem(step, field))
            .collect()
    }),
    build: |_, _| Ok(Box::new(Keypoint)),
    ..BlockSpec::DEFAULT
};

/// Connections of the 17 points of a person, counted from 1.
const PERSON: &[[usize; 2]] = &[
    [1, 2],
    [1, 3],
    [2, 3],
    [2, 4],
    [3, 5],
    [6, 12],
    [6, 7],
    [6, 8],
    [7, 13],
    [7, 9],
    [8, 10],
    [9, 11],
    [12, 13],
    [14, 12],
    [15, 13],
    [16, 14],
    [17, 15],
];

/// Connections of the 33 points of a pose, counted from 1.
const POSE: &[[usize; 2]] = &[
    [1, 2],
    [1, 5],
    [2, 3],
    [3, 4],
    [4, 8],
    [5, 6],
    [6, 7],
    [7, 9],
    [10, 11],
    [12, 13],
    [12, 14],
    [12, 24],
    [13, 15],
    [13, 25],
    [14, 16],
    [15, 17],
    [16, 18],
    [15, 19],
    [16, 22],
    [17, 19],
    [17, 21],
    [17, 23],
    [18, 20],
    [19, 21],
    [24, 25],
    [24, 26],
    [25, 27],
    [26, 28],
    [27, 29],
    [28, 30],
    [28, 32],
    [29, 31],
    [29, 33],
    [30, 32],
    [31, 33],
];

/// Names of the 17 points of a person by class id.
const PERSON_NAMES: [&str; 17] = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
];

/// Slots beyond which points stay where they are: per box, and in all.
const MAX_SLOTS: (usize, usize) = (1024, 1_000_000);

struct Keypoint;

impl Block for Keypoint {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let detections = inputs.detections("predictions")?;
        let color = Color::parse(inputs.text("color")?)?;
        let radius = pixels(inputs.int("radius")?);
        let what = inputs.text("annotator_type")?;
        let label = Label {
            color,
            text_color: Color::parse(inputs.text("text_color")?)?,
            scale: inputs.float("text_scale")?,
            thickness: pixels(inputs.int("text_thickness")?),
            padding: pixels(inputs.int("text_padding")?),
            radius,
        };
        if detections.is_empty() {
            return common::unchanged(image);
        }
        let slots = slots(detections)?;
        let count = slots.first().map_or(0, Vec::len);
        let edges = match what {
            "edge" => edges(inputs.value("edges"), count)?,
            _ => Vec::new(),
        };
        let thickness = pixels(inputs.int("thickness")?);
        common::drawn(image, |pixels| {
            let mut canvas = Canvas::new(pixels)?;
            for points in &slots {
                match what {
                    "edge" => {
                        for [a, b] in &edges {
                            if let (Some(from), Some(to)) = (points[*a], points[*b]) {
                                canvas.line(from, to, color, thickness)?;
                            }
                        }
                    }
                    "vertex" => {
                        for center in points.iter().flatten() {
                            canvas.circle(*center, radius, color, FILLED)?;
                        }
                    }
                    _ => {
                        for (slot, center) in points.iter().enumerate() {
                            if let Some(center) = center {
                                label.draw(&mut canvas, slot, *center)?;
                            }
                        }
                    }
                }
            }
            Ok(())
        })
    }
}

/// How numbers look.
struct Label {
    color: Color,
    text_color: Color,
    scale: f64,
    thickness: i32,
    padding: i32,
    radius: i32,
}

impl Label {
    fn draw(&self, canvas: &mut Canvas<'_>, slot: usize, [x, y]: Pixel) -> opencv::Result<()> {
        let text = slot.to_string();
        let [w, h] = text_size(&text, self.scale, self.thickness)?;
        let (left, top, right, bottom) = (x - w / 2, y - h / 2, x + w / 2, y + h / 2);
        let p = self.padding;
        let (from, to) = ([left - p, top - p], [right + p, bottom + p]);
        canvas.rounded_rectangle(from, to, self.radius, self.color)?;
        let at = [left, bottom];
        canvas.text(&text, at, self.scale, self.text_color, self.thickness)
    }
}

/// The points of each row by slot; `None` for those that are not to be drawn.
fn slots(detections: &Detections) -> Result<Vec<Vec<Option<Pixel>>>, BlockError> {
    let missing = |name: &str| {
        BlockError::failed(format!(
            "the detections have no column `{name}`: feed this step key point detections"
        ))
    };
    let cells = detections
        .column(column::KEYPOINTS_XY)
        .ok_or_else(|| missing(column::KEYPOINTS_XY))?;
    let mut rows = Vec::with_capacity(cells.len());
    for cell in cells {
        rows.push(common::points(cell).ok_or_else(|| missing(column::KEYPOINTS_XY))?);
    }
    let visible = |[x, y]: [f64; 2]| {
        let shown = x.is_finite() && y.is_finite() && !(x.abs() <= 1e-8 && y.abs() <= 1e-8);
        shown.then(|| [trunc(x), trunc(y)])
    };
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let Some((ids, count)) = slot_ids(detections, &rows, longest) else {
        let padded = rows.into_iter().map(|points| {
            let mut slots: Vec<_> = points.into_iter().map(visible).collect();
            slots.resize(longest, None);
            slots
        });
        return Ok(padded.collect());
    };
    let mut all = vec![vec![None; count]; rows.len()];
    for ((slots, points), ids) in all.iter_mut().zip(&rows).zip(ids) {
        for (&point, id) in points.iter().zip(ids) {
            if let Some(id) = id {
                slots[id] = visible(point);
            }
        }
    }
    Ok(all)
}

/// Per row and point the class id as a slot (`None` for padding) and the number of slots; `None`
/// if points cannot be put in slots by their ids.
fn slot_ids(
    detections: &Detections,
    rows: &[Vec<[f64; 2]>],
    longest: usize,
) -> Option<(Vec<Vec<Option<usize>>>, usize)> {
    let ids = detections.column(column::KEYPOINTS_CLASS_ID)?;
    let names = detections.column(column::KEYPOINTS_CLASS_NAME)?;
    let (mut all, mut most, mut is_person) = (Vec::with_capacity(rows.len()), None, true);
    for ((points, ids), names) in rows.iter().zip(ids).zip(names) {
        let (ids, names) = (numbers(ids)?, names.as_slice()?);
        let mut slots = Vec::with_capacity(points.len());
        for (id, name) in ids.into_iter().zip(names).take(points.len()) {
            let name = name.as_str().unwrap_or_default();
            if name.is_empty() {
                slots.push(None);
                continue;
            }
            let id = usize::try_from(id).ok()?;
            most = most.max(Some(id));
            is_person &= PERSON_NAMES.get(id) == Some(&name);
            slots.push(Some(id));
        }
        all.push(slots);
    }
    let mut count = longest.max(most? + 1);
    if is_person {
        count = count.max(PERSON_NAMES.len());
    }
    let (per_box, in_all) = MAX_SLOTS;
    (count <= per_box && count * rows.len() <= in_all).then_some((all, count))
}

fn numbers(value: &Value) -> Option<Vec<i64>> {
    match value {
        Value::Array(array) => Some(array.data.iter().map(|&id| id as i64).collect()),
        _ => value.as_slice()?.iter().map(Value::as_i64).collect(),
    }
}

/// Pairs of slots, counted from 0: those given, else those of a known skeleton.
fn edges(given: &Value, count: usize) -> Result<Vec<[usize; 2]>, BlockError> {
    let from_one = |pair: &[usize; 2]| [pair[0] - 1, pair[1] - 1];
    let entries = match given.as_slice() {
        Some(entries) if !entries.is_empty() => entries,
        _ => {
            let known = match count {
                17 => PERSON,
                33 => POSE,
                _ => &[],
            };
            return Ok(known.iter().map(from_one).collect());
        }
    };
    let wrong = |entry: &Value| {
        BlockError::failed(format!(
            "edges must be pairs of point numbers from 1 to {count}, got {}",
            crate::values::python::repr(entry)
        ))
    };
    let pair = |entry: &Value| {
        let number = |v: &Value| {
            let n = usize::try_from(v.as_i64()?).ok()?;
            (1..=count).contains(&n).then_some(n)
        };
        match entry.as_slice()? {
            [a, b] => Some(from_one(&[number(a)?, number(b)?])),
            _ => None,
        }
    };
    entries
        .iter()
        .map(|entry| pair(entry).ok_or_else(|| wrong(entry)))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::common::testing::{assert_picture, draw, run, scene};
    use super::*;

    fn fish() -> Detections {
        let mut d = Detections {
            xyxy: Arc::new(vec![[55.0, 40.0, 145.0, 100.0]]),
            ..Detections::default()
        };
        let columns = [
            (
                column::KEYPOINTS_XY,
                json!([[60, 70], [140, 70], [100, 45], [100, 95], [72, 64]]),
            ),
            (column::KEYPOINTS_CLASS_ID, json!([0, 1, 2, 3, 4])),
            (
                column::KEYPOINTS_CLASS_NAME,
                json!(["tip", "tail", "left fin", "right fin", "eye"]),
            ),
        ];
        for (name, value) in columns {
            d.set_column(name, vec![Value::from_json(&value)]);
        }
        d
    }

    #[test]
    fn points_without_a_known_skeleton_have_no_connections() {
        assert_picture(&draw(&BLOCK, fish(), &[]), "visualizations/scene.png");
        let vertex = [
            ("annotator_type", "vertex".into()),
            ("radius", 4i64.into()),
            ("color", "RED".into()),
        ];
        let drawn = draw(&BLOCK, fish(), &vertex);
        assert_picture(&drawn, "visualizations/keypoint_vertex.png");
    }

    #[test]
    fn a_person_is_recognised_by_the_names_of_the_points() {
        let mut d = fish();
        d.set_column(
            column::KEYPOINTS_CLASS_NAME,
            vec![Value::from_json(&json!([
                "nose",
                "left_eye",
                "right_eye",
                "left_ear",
                "right_ear"
            ]))],
        );
        assert_eq!(slots(&d).unwrap()[0].len(), 17);
        assert_eq!(edges(&Value::None, 17).unwrap().len(), 17);
        assert_eq!(slots(&fish()).unwrap()[0].len(), 5);
    }

    #[test]
    fn points_go_to_the_slot_of_their_id_and_padding_goes_nowhere() {
        let mut d = fish();
        d.set_column(
            column::KEYPOINTS_CLASS_ID,
            vec![Value::from_json(&json!([6, 1, 2, 3, 0]))],
        );
        d.set_column(
            column::KEYPOINTS_CLASS_NAME,
            vec![Value::from_json(&json!(["a", "b", "c", "d", ""]))],
        );
        let slots = slots(&d).unwrap().remove(0);
        assert_eq!(slots.len(), 7);
        assert_eq!(slots[6], Some([60, 70]));
        assert_eq!(slots[0], None);
    }

    #[test]
    fn pairs_are_counted_from_one() {
        let pairs = |v: serde_json::Value| edges(&Value::from_json(&v), 5);
        assert_eq!(pairs(json!([[1, 5]])), Ok(vec![[0, 4]]));
        assert!(pairs(json!([[0, 1]])).is_err());
        assert!(pairs(json!([[1, 6]])).is_err());
        assert!(pairs(json!([[1]])).is_err());
        let fields = [
            ("image", scene().into()),
            (
                "predictions",
                crate::values::Detections {
                    xyxy: Arc::new(vec![[0.0; 4]]),
                    ..Default::default()
                }
                .into(),
            ),
        ];
        assert!(run(&BLOCK, &fields).is_err());
    }
}
