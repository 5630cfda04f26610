//! Puts the boxes found on slices of an image back into the image.
//!
//! # Inputs and outputs
//! `predictions`, a set for each slice of `reference_image` → `predictions`, all of them moved to where
//! their slices lie; what was found twice is filtered by `overlap_filtering_strategy` (see
//! [`overlap_filter`]).
//!
//! # State
//! None.
//!
//! # Edge cases
//! Boxes may reach beyond the image, masks not. Either all sets with boxes have masks or none. Boxes
//! found on an enlarged slice are refused.

mod overlap_filter;

use std::sync::Arc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry;
use crate::row;
use crate::values::detections::column;
use crate::values::{Array, Detections, Image, Kind, Value, kind};

const KINDS: &[Kind] = &[kind::OBJECT_DETECTION, kind::INSTANCE_SEGMENTATION];

/// `roboflow_core/detections_stitch@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/detections_stitch@v1"],
    name: "Detections Stitch",
    family: Family::Fusion,
    stateless: true,
    about: "Puts the boxes found on slices of an image back into the image.",
    fields: &[
        Field::required("reference_image", &[Ty::Selector(&[kind::IMAGE])])
            .about("The image that was cut into slices."),
        Field::required("predictions", &[Ty::Selector(KINDS)]).about("The boxes of each slice."),
        Field::optional(
            "overlap_filtering_strategy",
            &[
                Ty::OneOf(&["none", "nms", "nmm"]),
                Ty::Selector(&[kind::STRING]),
            ],
            "\"nms\"",
        )
        .about(
            "What happens to boxes that overlap: nothing, the surest stays, or they are merged.",
        ),
        Field::optional(
            "iou_threshold",
            &[
                Ty::FloatIn(Bounds::within(0.0, 1.0)),
                Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
            ],
            "0.3",
        )
        .about("Overlap from which on boxes count as one."),
    ],
    outputs: &[output("predictions", KINDS)],
    offsets: &[("predictions", 1)],
    reference: Some("reference_image"),
    build: |_, _| Ok(Box::new(DetectionsStitch)),
    ..BlockSpec::DEFAULT
};

struct DetectionsStitch;

impl Block for DetectionsStitch {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("reference_image")?;
        let strategy = inputs.text("overlap_filtering_strategy")?;
        let threshold = inputs.float("iou_threshold")?;
        let slices = inputs.list("predictions")?;
        let sets = slices.iter().filter_map(Value::as_detections);
        let moved: Vec<Detections> = sets
            .filter(|set| !set.is_empty())
            .map(|set| moved(set, image))
            .collect::<Result<_, _>>()?;
        if moved
            .iter()
            .any(|set| set.masks.is_some() != moved[0].masks.is_some())
        {
            return Err(BlockError::failed(
                "some slices have masks and others have none; all that have boxes must have masks, or none",
            ));
        }
        let sets: Vec<&Detections> = moved.iter().collect();
        let all = Detections::joined(&sets).map_err(BlockError::Failed)?;
        let filtered = match strategy {
            "none" => all,
            "nms" => overlap_filter::suppressed(&all, threshold)?,
            "nmm" => overlap_filter::merged(&all, threshold)?,
            other => {
                return Err(BlockError::failed(format!(
                    "`{other}` is no way to filter overlaps; use none, nms or nmm"
                )));
            }
        };
        Ok(Output::One(row![filtered]))
    }
}

/// The boxes of a slice as boxes of the whole image.
fn moved(set: &Detections, image: &Image) -> Result<Detections, BlockError> {
    let place = set.cell(column::PARENT_COORDINATES, 0);
    let [dx, dy] = place
        .and_then(|cell| geometry::point(cell).ok())
        .ok_or_else(|| {
            BlockError::failed(format!(
                "the boxes do not say where their slice lies (column `{}`)",
                column::PARENT_COORDINATES
            ))
        })?;
    let scale = set
        .cell(column::SCALING_TO_PARENT, 0)
        .and_then(Value::as_f64);
    if scale.is_some_and(|scale| (scale - 1.0).abs() > 1e-4) {
        return Err(BlockError::failed(
            "the slices were resized before boxes were found on them; that cannot be undone here",
        ));
    }
    let mut out = set.clone();
    let shifted = |[x1, y1, x2, y2]: &[f64; 4]| [x1 + dx, y1 + dy, x2 + dx, y2 + dy];
    out.xyxy = Arc::new(set.xyxy.iter().map(shifted).collect());
    if let Some(masks) = &set.masks {
        let (w, h) = (image.width(), image.height());
        let masks = masks
            .iter()
            .map(|mask| mask.moved(dx as i64, dy as i64, w, h));
        out.masks = Some(Arc::new(masks.collect()));
    }
    if let Some(cells) = set.column(column::ORIENTED_BOX) {
        let corners = |cell: &Value| {
            let points = geometry::points(cell)?;
            let data = points.iter().flat_map(|[x, y]| [x + dx, y + dy]).collect();
            Ok(Value::Array(Arc::new(Array::floats(
                vec![points.len(), 2],
                data,
            ))))
        };
        let moved: Result<_, BlockError> = cells.iter().map(corners).collect();
        out.set_column(column::ORIENTED_BOX, moved?);
    }
    out.attach_image(image);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes};
    use crate::values::{Mask, Matrix};

    fn slice(x: i64, rows: &[([f64; 4], f64)]) -> Detections {
        let mut set = boxes(rows);
        set.fill_column(column::DETECTION_ID, "d".into());
        let place = Value::list(vec![Value::Int(x), Value::Int(10)]);
        set.fill_column(column::PARENT_COORDINATES, place);
        set
    }

    fn stitch(slices: Vec<Detections>, strategy: &str) -> Result<Detections, BlockError> {
        let image = Image::new(Matrix::filled(200, 150, &[0; 3]), "whole".into());
        let slices = slices.into_iter().map(Value::from).collect();
        let given = [
            ("reference_image", image.into()),
            ("predictions", Value::list(slices)),
            ("overlap_filtering_strategy", strategy.into()),
        ];
        let row = Bench::new(&BLOCK, &[]).run(&given)?;
        Ok((**row[0].as_detections().unwrap()).clone())
    }

    #[test]
    fn boxes_lie_where_their_slices_do() {
        // Specification 4.8.
        let slices = || {
            vec![
                slice(0, &[([60.0, 0.0, 100.0, 40.0], 0.9)]),
                slice(70, &[([5.0, 0.0, 30.0, 40.0], 0.8)]),
            ]
        };
        let whole = stitch(slices(), "none").unwrap();
        assert_eq!(
            *whole.xyxy,
            [[60.0, 10.0, 100.0, 50.0], [75.0, 10.0, 100.0, 50.0]]
        );
        assert_eq!(
            whole.cell(column::PARENT_ID, 1).and_then(Value::as_str),
            Some("whole")
        );
        assert_eq!(
            *stitch(slices(), "nms").unwrap().xyxy,
            [[60.0, 10.0, 100.0, 50.0]]
        );
        let merged = stitch(slices(), "nmm").unwrap();
        assert_eq!(*merged.xyxy, [[60.0, 10.0, 100.0, 50.0]]);
        assert!((merged.confidence.unwrap()[0] - 0.861_538).abs() < 1e-6);
        assert!(stitch(vec![slice(0, &[])], "nms").unwrap().is_empty());
    }

    #[test]
    fn masks_move_too() {
        let mut leaf = slice(195, &[([0.0, 0.0, 10.0, 10.0], 0.9)]);
        leaf.masks = Some(Arc::new(vec![Mask::from_window(
            50,
            50,
            [0, 0, 9, 9],
            &[1; 81],
        )]));
        let whole = stitch(vec![leaf.clone()], "none").unwrap();
        let mask = &whole.masks.as_ref().unwrap()[0];
        assert_eq!((mask.width(), mask.window()), (200, [195, 10, 5, 9]));
        let mixed = stitch(vec![leaf, slice(0, &[([0.0, 0.0, 9.0, 9.0], 0.9)])], "none");
        assert!(mixed.unwrap_err().to_string().contains("masks"));
    }

    #[test]
    fn boxes_must_know_their_slice() {
        let lost = boxes(&[([0.0, 0.0, 9.0, 9.0], 0.9)]);
        assert!(stitch(vec![lost], "nms").is_err());
        let mut scaled = slice(0, &[([0.0, 0.0, 9.0, 9.0], 0.9)]);
        scaled.fill_column(column::SCALING_TO_PARENT, 0.5.into());
        assert!(
            stitch(vec![scaled], "nms")
                .unwrap_err()
                .to_string()
                .contains("resized")
        );
        assert!(stitch(vec![], "other").is_err());
    }
}
