//! Makes boxes larger on all sides.
//!
//! # Inputs and outputs
//! `predictions`, `offset_width` and `offset_height` in pixels or percent of a box's own size, half on
//! each side → `predictions`, with new ids and the old ids as parents.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Half a pixel is dropped. Boxes do not leave the image; masks and key points stay as they are. No
//! boxes: unchanged.

use std::sync::Arc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::detections::{column, new_id};
use crate::values::{Detections, Value, kind, python};

/// `roboflow_core/detection_offset@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/detection_offset@v1", "DetectionOffset"],
    name: "Detection Offset",
    family: Family::Transformation,
    stateless: true,
    about: "Makes boxes larger on all sides.",
    fields: &[
        Field::required("predictions", &[Ty::Selector(kind::DETECTIONS)]).about("The boxes."),
        Field::required(
            "offset_width",
            &[Ty::IntAbove(0, i64::MAX), Ty::Selector(&[kind::INTEGER])],
        )
        .alias("offset_x")
        .about("What is added to the width."),
        Field::required(
            "offset_height",
            &[Ty::IntAbove(0, i64::MAX), Ty::Selector(&[kind::INTEGER])],
        )
        .alias("offset_y")
        .about("What is added to the height."),
        Field::optional(
            "units",
            &[Ty::OneOf(&["Percent (%)", "Pixels"])],
            "\"Pixels\"",
        )
        .about("Unit of both."),
    ],
    outputs: &[output("predictions", kind::DETECTIONS)],
    batch: &["predictions"],
    build: |_, _| Ok(Box::new(DetectionOffset)),
    ..BlockSpec::DEFAULT
};

struct DetectionOffset;

impl Block for DetectionOffset {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let offset = [inputs.int("offset_width")?, inputs.int("offset_height")?];
        let percent = inputs.text("units")? == "Percent (%)";
        let sets = inputs.detection_sets("predictions")?;
        let rows = sets
            .into_iter()
            .map(|set| Ok(row![enlarged(set, offset, percent)?]));
        rows.collect::<Result<_, _>>().map(Output::Many)
    }
}

fn enlarged(set: &Detections, offset: [i64; 2], percent: bool) -> Result<Detections, BlockError> {
    let mut out = set.clone();
    if set.is_empty() {
        return Ok(out);
    }
    let by = |axis: usize, side: f64| match percent {
        true => (side * offset[axis] as f64 / 200.0).trunc(),
        false => python::floor_div(offset[axis], 2) as f64,
    };
    let boxes = set.xyxy.iter().enumerate().map(|(row, &[x1, y1, x2, y2])| {
        let [height, width] = image_size(set, row)?;
        let (dx, dy) = (by(0, x2 - x1), by(1, y2 - y1));
        Ok([
            (x1 - dx).max(0.0),
            (y1 - dy).max(0.0),
            (x2 + dx).min(width),
            (y2 + dy).min(height),
        ])
    });
    out.xyxy = Arc::new(boxes.collect::<Result<_, BlockError>>()?);
    if let Some(ids) = set.column(column::DETECTION_ID) {
        out.set_column(column::PARENT_ID, ids.to_vec());
    }
    let ids = (0..set.len()).map(|_| Value::Str(new_id()));
    out.set_column(column::DETECTION_ID, ids.collect());
    Ok(out)
}

/// Height and width of the image that a box was found on.
fn image_size(set: &Detections, row: usize) -> Result<[f64; 2], BlockError> {
    let cell = set.cell(column::IMAGE_DIMENSIONS, row);
    let size = cell.and_then(|cell| crate::geometry::point(cell).ok());
    size.ok_or_else(|| {
        BlockError::failed(format!(
            "box {row} does not say how large its image is (column `{}`)",
            column::IMAGE_DIMENSIONS
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::boxes;
    use crate::values::Array;

    fn one(xyxy: [f64; 4]) -> Detections {
        let mut set = Detections {
            xyxy: Arc::new(vec![xyxy]),
            ..Detections::default()
        };
        set.set_column(column::DETECTION_ID, vec!["old".into()]);
        let size = Value::Array(Arc::new(Array::integers(vec![2], vec![480.0, 640.0])));
        set.set_column(column::IMAGE_DIMENSIONS, vec![size]);
        set
    }

    #[test]
    fn boxes_grow_and_stay_in_the_image() {
        // Specification 8.5.
        let grown = enlarged(&one([600.0, 400.0, 639.0, 479.0]), [10, 7], false).unwrap();
        assert_eq!(grown.xyxy[0], [595.0, 397.0, 640.0, 480.0]);
        assert_eq!(
            grown.cell(column::PARENT_ID, 0).and_then(Value::as_str),
            Some("old")
        );
        assert_ne!(grown.detection_id(0).map(|id| &**id), Some("old"));
    }

    #[test]
    fn percent_are_of_the_box_itself() {
        // Recorded case video_detection_offset_v1_units.
        let set = one([100.4, 90.6, 180.5, 150.5]);
        let grown = enlarged(&set, [35, 120], true).unwrap();
        let [x1, y1, x2, y2] = grown.xyxy[0];
        assert!((x2 - x1 - 108.1).abs() < 1e-9 && (y2 - y1 - 129.9).abs() < 1e-9);
    }

    #[test]
    fn no_boxes_need_no_image() {
        let none = boxes().take(&[]);
        assert!(enlarged(&none, [10, 10], false).unwrap().is_empty());
        let mut lost = one([0.0, 0.0, 9.0, 9.0]);
        lost.data.shift_remove(column::IMAGE_DIMENSIONS);
        assert!(enlarged(&lost, [10, 10], false).is_err());
    }
}
