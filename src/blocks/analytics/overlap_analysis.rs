//! Tells which boxes of one set overlap which of another, and by how much.
//!
//! # Inputs and outputs
//! `reference_predictions` and `candidate_predictions` → `overlaps`: a record for each pair whose shared
//! area is at least `min_overlap` of the reference's, by reference, then candidate: both classes and
//! confidences, the share, and the ids of the boxes where the sets have them.
//!
//! # State
//! None.
//!
//! # Edge cases
//! A row with a mask counts as its outline of most points if that is a polygon that touches itself
//! nowhere, else as its box.
//!
//! # Parity
//! `video_overlap_analysis_v1_*`, specification 4.9.

use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry::{iou, polygon};
use crate::row;
use crate::values::polygon::outlines;
use crate::values::{Detections, Dict, Value, kind};

const BOXES: &[Ty] = &[Ty::Selector(&[
    kind::OBJECT_DETECTION,
    kind::INSTANCE_SEGMENTATION,
])];

/// `roboflow_core/overlap_analysis@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/overlap_analysis@v1", "OverlapAnalysis"],
    name: "Overlap Analysis",
    family: Family::Fusion,
    stateless: true,
    about: "Tells which boxes of one set overlap which of another, and by how much.",
    fields: &[
        Field::required("reference_predictions", BOXES).about("Boxes whose area counts."),
        Field::required("candidate_predictions", BOXES).about("Boxes that may overlap them."),
        Field::optional(
            "min_overlap",
            &[
                Ty::FloatIn(Bounds::within(0.0, 1.0)),
                Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
            ],
            "0.1",
        )
        .about("Least share of the reference's area that is told."),
    ],
    outputs: &[output("overlaps", &[kind::DETECTIONS_OVERLAPS])],
    build: |_, _| Ok(Box::new(OverlapAnalysis)),
    ..BlockSpec::DEFAULT
};

struct OverlapAnalysis;

impl Block for OverlapAnalysis {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let references = inputs.detections("reference_predictions")?;
        let candidates = inputs.detections("candidate_predictions")?;
        let least = inputs.float("min_overlap")?;
        let shapes: Vec<_> = (0..candidates.len())
            .map(|r| shape(candidates, r))
            .collect();
        let mut overlaps = Vec::new();
        for reference in 0..references.len() {
            let own = shape(references, reference);
            let area = polygon::area(&own);
            for (candidate, other) in shapes.iter().enumerate() {
                let boxes = (&references.xyxy[reference], &candidates.xyxy[candidate]);
                if iou(boxes.0, boxes.1) == 0.0 || area <= 0.0 {
                    continue;
                }
                let share = polygon::shared_area(&own, other) / area;
                if share >= least {
                    let pair = ((&**references, reference), (&**candidates, candidate));
                    overlaps.push(record(pair.0, pair.1, share));
                }
            }
        }
        Ok(Output::One(row![overlaps]))
    }
}

/// The outline of a row's mask, or its box.
fn shape(detections: &Detections, row: usize) -> Vec<[f64; 2]> {
    let lines = detections.masks.as_ref().map(|masks| outlines(&masks[row]));
    let mut longest: Vec<[i64; 2]> = Vec::new();
    for line in lines.into_iter().flatten() {
        if line.len() >= 3 && line.len() > longest.len() {
            longest = line;
        }
    }
    let line: Vec<[f64; 2]> = longest.iter().map(|p| p.map(|c| c as f64)).collect();
    if polygon::is_simple(&line) {
        return line;
    }
    let [x1, y1, x2, y2] = detections.xyxy[row];
    vec![[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
}

fn record(reference: (&Detections, usize), candidate: (&Detections, usize), share: f64) -> Value {
    let mut entries = Dict::new();
    for (role, (set, row)) in [("reference", reference), ("candidate", candidate)] {
        let class = set.class_name(row).cloned();
        let confidence = set.confidence.as_ref().map(|c| c[row]);
        entries.insert(format!("{role}_class").into(), class.into());
        entries.insert(format!("{role}_confidence").into(), confidence.into());
    }
    entries.insert("overlap_ratio".into(), share.into());
    for (role, (set, row)) in [("reference", reference), ("candidate", candidate)] {
        if let Some(id) = set.detection_id(row) {
            let name = format!("{role}_detection_id");
            entries.insert(name.into(), Value::Str(id.clone()));
        }
    }
    Value::dict(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes};
    use crate::values::Mask;
    use std::sync::Arc;

    fn shares(references: Detections, candidates: Detections) -> Vec<f64> {
        let fields = [
            ("reference_predictions", references.into()),
            ("candidate_predictions", candidates.into()),
        ];
        let row = Bench::new(&BLOCK, &[]).run(&fields).unwrap();
        let records = row[0].as_slice().unwrap().to_vec();
        let share = |record: &Value| record.as_dict().unwrap()["overlap_ratio"].as_f64();
        records.iter().filter_map(share).collect()
    }

    #[test]
    fn the_share_is_of_the_reference() {
        let large = || boxes(&[([0.0, 0.0, 10.0, 10.0], 0.9)]);
        let small = || boxes(&[([5.0, 5.0, 9.0, 15.0], 0.9), ([10.0, 0.0, 12.0, 5.0], 0.9)]);
        assert_eq!(shares(large(), small()), [0.2]);
        assert_eq!(shares(small(), large()), [0.5]);
    }

    #[test]
    fn a_mask_counts_by_its_outline() {
        let mut triangle = boxes(&[([0.0, 0.0, 10.0, 10.0], 0.9)]);
        let mut bits = vec![0; 20 * 20];
        for y in 0..=10 {
            bits[y * 20..=y * 20 + y].fill(1);
        }
        triangle.masks = Some(Arc::new(vec![Mask::from_dense(20, 20, &bits)]));
        let square = boxes(&[([0.0, 0.0, 10.0, 10.0], 0.9)]);
        assert_eq!(shares(square, triangle), [0.5]);
    }
}
