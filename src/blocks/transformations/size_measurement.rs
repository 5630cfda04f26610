//! Measures width and height of objects against a reference of known size.
//!
//! # Inputs and outputs
//! `object_predictions`; `reference_predictions`, of which the surest detection is the reference (or
//! the points of a polygon), and its size in `reference_dimensions`, as `"width,height"` or two numbers
//! → `dimensions`, for each object `width`, `height`, `longer` and `shorter` in the same unit.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Masks are measured along the sides of the smallest rectangle around their largest part, the side that
//! lies flatter being the width. An object that cannot be measured is `null`; without a reference
//! everything is.

use opencv::core::{Mat, MatTraitConst, Point2f, Vector};
use opencv::imgproc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry::{self, polygon};
use crate::row;
use crate::values::polygon::largest_outline;
use crate::values::{Detections, Dict, Kind, Value, array, kind};

const KINDS: &[Kind] = &[kind::INSTANCE_SEGMENTATION, kind::OBJECT_DETECTION];

/// `roboflow_core/size_measurement@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/size_measurement@v1"],
    name: "Size Measurement",
    family: Family::Transformation,
    stateless: true,
    about: "Measures width and height of objects against a reference of known size.",
    fields: &[
        Field::required("object_predictions", &[Ty::Selector(KINDS)]).about("What is measured."),
        Field::required(
            "reference_predictions",
            &[
                Ty::List(&[Ty::Any]),
                Ty::Selector(&[
                    kind::INSTANCE_SEGMENTATION,
                    kind::OBJECT_DETECTION,
                    kind::LIST_OF_VALUES,
                ]),
            ],
        )
        .about("The reference."),
        Field::required(
            "reference_dimensions",
            &[
                Ty::Str,
                Ty::Tuple(&[&[Ty::Float], &[Ty::Float]]),
                Ty::List(&[Ty::Float]),
                Ty::Selector(&[kind::STRING, kind::LIST_OF_VALUES]),
            ],
        )
        .about("Width and height of the reference."),
    ],
    outputs: &[output("dimensions", &[kind::LIST_OF_VALUES])],
    build: |_, _| Ok(Box::new(SizeMeasurement)),
    ..BlockSpec::DEFAULT
};

struct SizeMeasurement;

impl Block for SizeMeasurement {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let objects = inputs.detections("object_predictions")?;
        let known = dimensions(inputs.value("reference_dimensions"))?;
        let pixels = match inputs.value("reference_predictions") {
            Value::Detections(set) => surest(set).map_or(Ok(None), |row| size(set, row))?,
            // Fewer points than a polygon has enclose nothing, whatever they are.
            few if few.as_slice().is_some_and(|points| points.len() < 3) => None,
            points => size_of(&geometry::points(points)?)?,
        };
        let Some(pixels) = pixels.filter(|[w, h]| *w > 0.0 && *h > 0.0) else {
            return Ok(Output::One(row![Value::None]));
        };
        let unit = [known[0] / pixels[0], known[1] / pixels[1]];
        let measured = (0..objects.len()).map(|row| {
            let size = size(objects, row)?;
            Ok(size.map_or(Value::None, |[w, h]| record(w * unit[0], h * unit[1])))
        });
        Ok(Output::One(row![
            measured.collect::<Result<Vec<_>, BlockError>>()?
        ]))
    }
}

fn record(width: f64, height: f64) -> Value {
    let entries = [
        ("width", width),
        ("height", height),
        ("longer", width.max(height)),
        ("shorter", width.min(height)),
    ];
    let entries = entries.map(|(name, x)| (name.into(), Value::Float(x)));
    Value::dict(Dict::from_iter(entries))
}

/// Width and height in `"w,h"` or a pair of numbers.
fn dimensions(value: &Value) -> Result<[f64; 2], BlockError> {
    let numbers = match value {
        Value::Str(text) => text
            .split(',')
            .map(|part| part.trim().parse().ok())
            .collect(),
        other => array::numbers(other),
    };
    let pair = numbers.and_then(|numbers: Vec<f64>| numbers.try_into().ok());
    pair.ok_or_else(|| {
        BlockError::failed(
            "`reference_dimensions` must be two numbers, or a text in the form \"width,height\"",
        )
    })
}

fn surest(set: &Detections) -> Option<usize> {
    let confidence = |row: usize| set.confidence.as_ref().map_or(0.0, |all| all[row]);
    (0..set.len()).reduce(|best, row| {
        if confidence(row) > confidence(best) {
            row
        } else {
            best
        }
    })
}

/// Width and height of a row in pixels.
fn size(set: &Detections, row: usize) -> Result<Option<[f64; 2]>, BlockError> {
    let Some(masks) = &set.masks else {
        let [x1, y1, x2, y2] = set.xyxy[row];
        return Ok(Some([x2 - x1, y2 - y1]));
    };
    let outline = largest_outline(&masks[row]).unwrap_or_default();
    let points: Vec<[f64; 2]> = outline.iter().map(|p| p.map(|c| c as f64)).collect();
    size_of(&points)
}

/// Sides of the smallest rectangle around a polygon, the flatter one first.
fn size_of(points: &[[f64; 2]]) -> Result<Option<[f64; 2]>, BlockError> {
    if points.len() < 3 || polygon::area(points) <= 0.0 {
        return Ok(None);
    }
    let single = |p: &[f64; 2]| Point2f::new(p[0] as f32, p[1] as f32);
    let line: Vector<Point2f> = points.iter().map(single).collect();
    let mut corners = Mat::default();
    imgproc::box_points(imgproc::min_area_rect(&line)?, &mut corners)?;
    let mut corner = [[0.0; 2]; 3];
    for (row, point) in (0..).zip(&mut corner) {
        for (column, side) in (0..).zip(point) {
            *side = *corners.at_2d::<f32>(row, column)?;
        }
    }
    let side = |i: usize| {
        [
            corner[i + 1][0] - corner[i][0],
            corner[i + 1][1] - corner[i][1],
        ]
    };
    let steepness = |[dx, dy]: [f32; 2]| {
        let angle = f64::from(dy)
            .atan2(f64::from(dx))
            .to_degrees()
            .rem_euclid(180.0);
        angle.min(180.0 - angle)
    };
    let length = |[dx, dy]: [f32; 2]| f64::from((dx * dx + dy * dy).sqrt());
    let (one, two) = (side(0), side(1));
    Ok(Some(match steepness(one) < steepness(two) {
        true => [length(one), length(two)],
        false => [length(two), length(one)],
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::bench::{Bench, boxes};
    use crate::values::polygon::filled;
    use crate::values::python;
    use serde_json::json;

    fn run(
        objects: Detections,
        reference: Value,
        dimensions: serde_json::Value,
    ) -> Result<String, BlockError> {
        let given = [
            ("object_predictions", objects.into()),
            ("reference_predictions", reference),
            ("reference_dimensions", Value::from_json(&dimensions)),
        ];
        Bench::new(&BLOCK, &[])
            .run(&given)
            .map(|row| python::repr(&row[0]))
    }

    #[test]
    fn boxes_are_measured_against_the_surest_reference() {
        let objects = || boxes(&[([0.0, 0.0, 10.0, 80.0], 0.9)]);
        let reference = || {
            boxes(&[
                ([0.0, 0.0, 10.0, 10.0], 0.8),
                ([0.0, 0.0, 100.0, 20.0], 0.9),
            ])
            .into()
        };
        let want = "[{'width': 0.5, 'height': 10.0, 'longer': 10.0, 'shorter': 0.5}]";
        assert_eq!(
            run(objects(), reference(), json!("5.0, 2.5")).unwrap(),
            want
        );
        assert_eq!(run(objects(), reference(), json!([5, 2.5])).unwrap(), want);
        assert_eq!(run(boxes(&[]), reference(), json!([5, 2.5])).unwrap(), "[]");
        assert_eq!(
            run(objects(), boxes(&[]).into(), json!([5, 2.5])).unwrap(),
            "None"
        );
        let few = Value::from_json(&json!([{"x": 1}]));
        assert_eq!(run(objects(), few, json!([5, 2.5])).unwrap(), "None");
        for wrong in [json!("5"), json!([1, 2, 3]), json!("a,b")] {
            assert!(run(objects(), reference(), wrong).is_err());
        }
    }

    #[test]
    fn masks_are_measured_along_their_sides() {
        let mut object = boxes(&[([0.0, 0.0, 1.0, 1.0], 0.9)]);
        object.masks = Some(Arc::new(vec![filled(
            &[[20, 90], [60, 90], [60, 140], [20, 140]],
            200,
            150,
        )]));
        // Recorded case imaging_size_measurement_masks.
        let reference = Value::from_json(&json!([[0, 0], [50, 0], [50, 20], [0, 20]]));
        assert_eq!(
            run(object, reference.clone(), json!([10.0, 4.0])).unwrap(),
            "[{'width': 8.0, 'height': 10.0, 'longer': 10.0, 'shorter': 8.0}]"
        );
        let mut empty = boxes(&[([0.0, 0.0, 9.0, 9.0], 0.9)]);
        empty.masks = Some(Arc::new(vec![crate::values::Mask::empty(9, 9)]));
        assert_eq!(run(empty, reference, json!([1, 1])).unwrap(), "[None]");
    }
}
