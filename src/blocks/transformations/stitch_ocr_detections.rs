//! Reads characters found one by one as text.
//!
//! # Inputs and outputs
//! `predictions`, boxes whose class names are characters or words, `reading_direction` and, in
//! version 2, the algorithm (see [`lines`]) → `ocr_text`. Lines are parted by line breaks, columns by
//! spaces; characters by `delimiter`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The direction `auto` is decided by the first set of a batch, for all. No boxes give an empty text.

mod lines;

use lines::{Direction, Glyph};

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::row;
use crate::values::kind;

const PREDICTIONS: Field =
    Field::required("predictions", &[Ty::Selector(&[kind::OBJECT_DETECTION])])
        .about("The characters.");
const DIRECTION: Field = Field::required(
    "reading_direction",
    &[Ty::OneOf(&[
        "left_to_right",
        "right_to_left",
        "vertical_top_to_bottom",
        "vertical_bottom_to_top",
        "auto",
    ])],
)
.about("How the text runs.")
.extra(
    r#"{
                "values_metadata": {
                    "auto": {"name": "Auto"},
                    "left_to_right": {"name": "Left To Right"},
                    "right_to_left": {"name": "Right To Left"},
                    "vertical_bottom_to_top": {"name": "Bottom To Top (Vertical)"},
                    "vertical_top_to_bottom": {"name": "Top To Bottom (Vertical)"}
                }
            }"#,
);
const TOLERANCE: Field = Field::optional("tolerance", WHOLE, "10")
    .about("Pixels within which characters stand in one line.");
const DELIMITER: Field = Field::optional(
    "delimiter",
    &[Ty::Str, Ty::Selector(&[kind::STRING])],
    "\"\"",
)
.about("What stands between characters.");
const WHOLE: &[Ty] = &[Ty::Int, Ty::Selector(&[kind::INTEGER])];

/// `roboflow_core/stitch_ocr_detections@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/stitch_ocr_detections@v1"],
    fields: &[PREDICTIONS, DIRECTION, TOLERANCE, DELIMITER],
    build: |_, _| Ok(Box::new(StitchOcrDetections { first: true })),
    ..V2
};

/// `roboflow_core/stitch_ocr_detections@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/stitch_ocr_detections@v2"],
    name: "Stitch OCR Detections",
    family: Family::Transformation,
    stateless: true,
    about: "Reads characters found one by one as text.",
    fields: &[
        Field::required(
            "stitching_algorithm",
            &[Ty::OneOf(&["tolerance", "otsu", "collimate"])],
        )
        .about("How characters are put into lines and words.")
        .extra(
            r#"{
                "values_metadata": {
                    "collimate": {"name": "Collimate (Skewed Text)"},
                    "otsu": {"name": "Otsu Thresholding"},
                    "tolerance": {"name": "Tolerance-based"}
                }
            }"#,
        ),
        PREDICTIONS,
        DIRECTION,
        TOLERANCE.extra(
            r#"{
                "relevant_for": {"stitching_algorithm": {"values": ["tolerance"], "required": true}}
            }"#,
        ),
        DELIMITER,
        Field::optional(
            "otsu_threshold_multiplier",
            &[Ty::Float, Ty::Selector(&[kind::FLOAT])],
            "1.0",
        )
        .about("Factor on the gap that parts words.")
        .extra(
            r#"{
                "relevant_for": {"stitching_algorithm": {"required": true, "values": ["otsu"]}}
            }"#,
        ),
        Field::optional("collimate_tolerance", WHOLE, "10")
            .about("Pixels by which characters may leave their line.")
            .extra(
                r#"{
                "relevant_for": {"stitching_algorithm": {"required": true, "values": ["collimate"]}}
            }"#,
            ),
    ],
    outputs: &[output("ocr_text", &[kind::STRING])],
    batch: &["predictions"],
    engine: ">=1.0.0,<2.0.0",
    check: Some(check),
    build: |_, _| Ok(Box::new(StitchOcrDetections { first: false })),
    ..BlockSpec::DEFAULT
};

fn check(step: &Step) -> Vec<StepProblem> {
    let tolerance = step.literal("tolerance").and_then(|v| v.as_i64());
    let problem = tolerance.filter(|t| *t <= 0).map(|t| StepProblem {
        field: Some("tolerance"),
        message: format!("must be greater than 0, got {t}"),
    });
    problem.into_iter().collect()
}

struct StitchOcrDetections {
    /// Whether this is the first version, which knows one algorithm.
    first: bool,
}

impl Block for StitchOcrDetections {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let sets = inputs.detection_sets("predictions")?;
        let direction = match inputs.text("reading_direction")? {
            "auto" => Direction::of(sets.first().map(|set| &***set)),
            name => Direction::named(name),
        };
        let delimiter = inputs.text("delimiter")?;
        let algorithm = match self.first {
            true => "tolerance",
            false => inputs.text("stitching_algorithm")?,
        };
        let text = |glyphs: Vec<Glyph>| match algorithm {
            "otsu" => {
                let multiplier = inputs.float("otsu_threshold_multiplier")?;
                Ok(lines::by_gaps(glyphs, direction, delimiter, multiplier))
            }
            "collimate" => {
                let tolerance = inputs.float("collimate_tolerance")?;
                Ok(lines::by_neighbours(
                    glyphs, direction, delimiter, tolerance,
                ))
            }
            _ => match inputs.float("tolerance")? {
                0.0 => Err(BlockError::failed("`tolerance` must not be 0")),
                tolerance => Ok(lines::by_grid(glyphs, direction, delimiter, tolerance)),
            },
        };
        let rows = sets.iter().map(|set| {
            let glyphs = (0..set.len()).map(|row| Glyph::of(set, row, direction));
            Ok(row![text(glyphs.collect::<Result<_, _>>()?)?])
        });
        rows.collect::<Result<_, _>>().map(Output::Many)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, batch, boxes};
    use crate::values::detections::column;
    use crate::values::{Detections, Value};
    use serde_json::json;

    fn letters(rows: &[(&str, [f64; 4])]) -> Detections {
        let plain: Vec<_> = rows.iter().map(|r| (r.1, 0.9)).collect();
        let mut set = boxes(&plain);
        set.set_column(
            column::CLASS_NAME,
            rows.iter().map(|r| r.0.into()).collect(),
        );
        set
    }

    /// The example of specification 8.17.
    fn example() -> Detections {
        letters(&[
            ("A", [10.0, 10.0, 20.0, 30.0]),
            ("B", [22.0, 11.0, 32.0, 30.0]),
            ("C", [60.0, 10.0, 70.0, 30.0]),
            ("D", [72.0, 10.0, 82.0, 30.0]),
            ("E", [10.0, 50.0, 20.0, 70.0]),
        ])
    }

    fn read(
        sets: Vec<Detections>,
        algorithm: &str,
        direction: &str,
        delimiter: &str,
    ) -> Vec<String> {
        let fields = [
            ("stitching_algorithm", json!(algorithm)),
            ("reading_direction", json!(direction)),
            ("delimiter", json!(delimiter)),
        ];
        let sets = batch(sets.into_iter().map(Value::from).collect());
        let rows = Bench::new(&V2, &fields)
            .run_many(&[("predictions", sets)])
            .unwrap();
        rows.iter()
            .map(|row| row[0].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn each_algorithm_has_its_lines_and_words() {
        for (algorithm, plain, dashed) in [
            ("tolerance", "ABCD\nE", "A-B-C-D-\n-E"),
            ("otsu", "AB CD\nE", "A-B-C-D\nE"),
            ("collimate", "ABCD\nE", "A-B-C-D\nE"),
        ] {
            assert_eq!(
                read(vec![example()], algorithm, "left_to_right", ""),
                [plain]
            );
            assert_eq!(
                read(vec![example()], algorithm, "left_to_right", "-"),
                [dashed]
            );
        }
        assert_eq!(
            read(vec![example()], "tolerance", "right_to_left", ""),
            ["DCBA\nE"]
        );
    }

    #[test]
    fn the_first_set_decides_the_direction_of_all() {
        let column = letters(&[
            ("X", [0.0, 0.0, 10.0, 30.0]),
            ("Y", [0.0, 40.0, 10.0, 70.0]),
        ]);
        let wide = letters(&[
            ("X", [0.0, 0.0, 30.0, 10.0]),
            ("Y", [40.0, 0.0, 70.0, 10.0]),
        ]);
        let of = |sets| read(sets, "tolerance", "auto", "");
        assert_eq!(of(vec![column.clone(), wide.clone()]), ["XY", "X Y"]);
        assert_eq!(of(vec![wide, column.clone()]), ["XY", "X\nY"]);
        assert_eq!(of(vec![boxes(&[]), column]), ["", "X\nY"]);
    }
}
