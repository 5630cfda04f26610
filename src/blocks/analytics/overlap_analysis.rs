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

use std::sync::{Arc, LazyLock};

use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry::iou;
use crate::geometry::polygon::Region;
use crate::row;
use crate::values::polygon::longest_simple_outline;
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
            .map(|row| region(candidates, row))
            .collect();
        let mut overlaps = Vec::new();
        for reference in 0..references.len() {
            let own = region(references, reference);
            let area = own.area();
            for (candidate, other) in shapes.iter().enumerate() {
                let boxes = (&references.xyxy[reference], &candidates.xyxy[candidate]);
                if iou(boxes.0, boxes.1) == 0.0 || area <= 0.0 {
                    continue;
                }
                // The margin is for rounding: close cases are measured.
                if own.most_shared(other) < least * area * (1.0 - 1e-9) {
                    continue;
                }
                let share = own.shared_area(other) / area;
                if share >= least {
                    let pair = ((&**references, reference), (&**candidates, candidate));
                    overlaps.push(record(pair.0, pair.1, share));
                }
            }
        }
        Ok(Output::One(row![overlaps]))
    }
}

/// What the outline of a row's mask encloses, or its box.
fn region(detections: &Detections, row: usize) -> Region {
    let masks = detections.masks.as_ref();
    if let Some(line) = masks.and_then(|masks| longest_simple_outline(&masks[row])) {
        let exact: Vec<[f64; 2]> = line.iter().map(|p| p.map(|c| c as f64)).collect();
        return Region::of(&exact);
    }
    Region::of_box(detections.xyxy[row])
}

/// Names of a record's entries.
static NAMES: LazyLock<[[Arc<str>; 3]; 2]> = LazyLock::new(|| {
    ["reference", "candidate"].map(|role| {
        ["class", "confidence", "detection_id"].map(|fact| format!("{role}_{fact}").into())
    })
});
static RATIO: LazyLock<Arc<str>> = LazyLock::new(|| "overlap_ratio".into());

fn record(reference: (&Detections, usize), candidate: (&Detections, usize), share: f64) -> Value {
    let mut entries = Dict::new();
    let pair = [reference, candidate];
    for ([class, confidence, _], (set, row)) in NAMES.iter().zip(pair) {
        entries.insert(class.clone(), set.class_name(row).cloned().into());
        let sure = set.confidence.as_ref().map(|c| c[row]);
        entries.insert(confidence.clone(), sure.into());
    }
    entries.insert(RATIO.clone(), share.into());
    for ([_, _, name], (set, row)) in NAMES.iter().zip(pair) {
        if let Some(id) = set.detection_id(row) {
            entries.insert(name.clone(), Value::Str(id.clone()));
        }
    }
    Value::dict(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes};
    use crate::values::Mask;

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
        // A box shares all of itself with its like, wherever it lies.
        let odd = || boxes(&[([20.3, 7.1, 60.9, 93.7], 0.9)]);
        assert_eq!(shares(odd(), odd()), [1.0]);
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
