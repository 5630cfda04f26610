//! Picks the boxes that overlap a box of one class.
//!
//! # Inputs and outputs
//! `predictions` → `overlaps`: the rows of all other classes whose centre lies strictly inside a box of
//! `overlap_class_name` ("Center Overlap") or that touch one ("Any Overlap"), in the order of
//! the reference's set of rows (see `HashOrder`): their own as long as there are few rows.
//!
//! # State
//! None.
//!
//! # Edge cases
//! No rows left: an empty result with its columns. Boxes without class names fail.
//!
//! # Parity
//! `video_overlap_v1_*`, specification 1.6.

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::detections::column;
use crate::values::hash_order::HashOrder;
use crate::values::kind;

/// `roboflow_core/overlap@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/overlap@v1"],
    name: "Overlap Filter",
    family: Family::Analytics,
    stateless: true,
    about: "Picks the boxes that overlap a box of one class.",
    fields: &[
        Field::required(
            "predictions",
            &[Ty::Selector(&[
                kind::OBJECT_DETECTION,
                kind::INSTANCE_SEGMENTATION,
            ])],
        )
        .about("Boxes of all classes."),
        Field::optional(
            "overlap_type",
            &[Ty::OneOf(&["Center Overlap", "Any Overlap"])],
            r#""Center Overlap""#,
        )
        .about("Whether the centre has to be inside or touching is enough."),
        Field::required("overlap_class_name", &[Ty::Str])
            .about("Class of the boxes overlapped.")
            .extra(r#"{"hide_description": true}"#),
    ],
    outputs: &[output("overlaps", &[kind::OBJECT_DETECTION])],
    build: |_, _| Ok(Box::new(Overlap)),
    ..BlockSpec::DEFAULT
};

struct Overlap;

impl Block for Overlap {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let detections = inputs.detections("predictions")?;
        let class = inputs.text("overlap_class_name")?;
        let test = match inputs.text("overlap_type")? {
            "Any Overlap" => touches,
            _ => holds_centre,
        };
        if !detections.is_empty() && detections.column(column::CLASS_NAME).is_none() {
            return Err(BlockError::failed(
                "field `predictions` has boxes without class names",
            ));
        }
        let is_reference = |row: usize| {
            detections
                .class_name(row)
                .is_some_and(|name| &**name == class)
        };
        let references: Vec<[f64; 4]> = (0..detections.len())
            .filter(|&row| is_reference(row))
            .map(|row| detections.xyxy[row])
            .collect();
        let mut others: Vec<usize> = (0..detections.len())
            .filter(|r| !is_reference(*r))
            .collect();
        let mut found = HashOrder::default();
        for reference in &references {
            let mut overlapped = HashOrder::default();
            others.retain(|&row| {
                let hit = test(&detections.xyxy[row], reference);
                if hit {
                    overlapped.add(row as i64, row);
                }
                !hit
            });
            found = found.union(&overlapped);
        }
        let rows: Vec<usize> = found.items().copied().collect();
        Ok(Output::One(row![detections.take(&rows)]))
    }
}

fn holds_centre(own: &[f64; 4], reference: &[f64; 4]) -> bool {
    let (x, y) = ((own[0] + own[2]) / 2.0, (own[1] + own[3]) / 2.0);
    reference[0] < x && x < reference[2] && reference[1] < y && y < reference[3]
}

fn touches(own: &[f64; 4], reference: &[f64; 4]) -> bool {
    !(own[2] < reference[0]
        || own[0] > reference[2]
        || own[3] < reference[1]
        || own[1] > reference[3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes};
    use serde_json::json;

    fn found(kind: &str, own: [f64; 4]) -> usize {
        let mut d = boxes(&[([0.0, 0.0, 10.0, 10.0], 0.9), (own, 0.9)]);
        d.set_column("class_name", vec!["desk".into(), "cup".into()]);
        let fields = [
            ("overlap_type", json!(kind)),
            ("overlap_class_name", json!("desk")),
        ];
        let row = Bench::new(&BLOCK, &fields).run(&[("predictions", d.into())]);
        row.unwrap()[0].as_detections().unwrap().len()
    }

    #[test]
    fn the_centre_must_be_strictly_inside() {
        assert_eq!(found("Center Overlap", [5.0, 4.0, 13.0, 6.0]), 1);
        assert_eq!(found("Center Overlap", [5.0, 4.0, 15.0, 6.0]), 0);
    }

    #[test]
    fn touching_edges_overlap() {
        assert_eq!(found("Any Overlap", [10.0, 10.0, 15.0, 16.0]), 1);
        assert_eq!(found("Any Overlap", [10.1, 10.0, 15.0, 16.0]), 0);
    }
}
