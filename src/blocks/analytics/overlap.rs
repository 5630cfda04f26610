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
                "field `predictions` has boxes without class names, by which this step picks: \
                 feed it the boxes of a model",
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
            // One union more would make the set anew, and with it the order.
            if others.is_empty() {
                break;
            }
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
    // Rounds as in the reference, which decides about centres on an edge.
    let (x, y) = (
        own[0] + (own[2] - own[0]) / 2.0,
        own[1] + (own[3] - own[1]) / 2.0,
    );
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
        // Half of 18.4 - 1.6 and 1.6 are a little less than 10.
        assert_eq!(found("Center Overlap", [1.6, 4.0, 18.4, 6.0]), 1);
    }

    #[test]
    fn rows_come_in_the_order_of_the_reference() {
        // What two desks hold; the others are out of the way.
        let (first, second) = ([2, 3, 6, 9, 20], [13, 16, 17]);
        let (held, far) = ([1.0, 1.0, 2.0, 2.0], [900.0, 900.0, 901.0, 901.0]);
        let place = |row: i64| match row {
            1 => ([0.0, 0.0, 10.0, 10.0], "desk"),
            4 => ([20.0, 0.0, 30.0, 10.0], "desk"),
            _ if first.contains(&row) => (held, "cup"),
            _ if second.contains(&row) => ([21.0, 1.0, 22.0, 2.0], "cup"),
            _ => (far, "desk"),
        };
        let rows: Vec<_> = (0..21).map(|row| (place(row).0, 0.9)).collect();
        let mut d = boxes(&rows);
        d.set_column(
            "class_name",
            (0..21).map(|row| place(row).1.into()).collect(),
        );
        d.class_id = Some(std::sync::Arc::new((0..21).collect()));
        let mut bench = Bench::new(&BLOCK, &[("overlap_class_name", json!("desk"))]);
        let row = bench.run(&[("predictions", d.into())]).unwrap();
        let found = row[0].as_detections().unwrap().class_id.as_deref().unwrap();
        // `list({2, 3, 6, 9, 20}.union({13, 16, 17}))` of CPython 3.11.
        assert_eq!(found[..], [16, 17, 2, 3, 20, 6, 9, 13]);
    }

    #[test]
    fn boxes_without_class_names_fail_but_no_boxes_do_not() {
        let mut bench = Bench::new(&BLOCK, &[("overlap_class_name", json!("desk"))]);
        let mut bare = boxes(&[([0.0, 0.0, 1.0, 1.0], 0.9)]);
        bare.data.clear();
        let empty = bare.take(&[]);
        assert!(bench.run(&[("predictions", bare.into())]).is_err());
        assert!(bench.run(&[("predictions", empty.into())]).is_ok());
    }

    #[test]
    fn touching_edges_overlap() {
        assert_eq!(found("Any Overlap", [10.0, 10.0, 15.0, 16.0]), 1);
        assert_eq!(found("Any Overlap", [10.1, 10.0, 15.0, 16.0]), 0);
    }
}
