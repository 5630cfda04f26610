//! Tells what went away, stayed and came between two sets of boxes.
//!
//! # Inputs and outputs
//! `reference_predictions` (before) and `candidate_predictions` (after) are paired, the best match
//! first, by a cost of place and class → `removed_detections` of the reference,
//! `persisted_detections` and `new_detections` of the candidates, their numbers, and `verified`,
//! whether at least `min_removed_to_verify` went away.
//!
//! # State
//! None.
//!
//! # Edge cases
//! A pair that costs more than `reject_cost` is none. Without class names or ids on one side classes
//! never differ. Nothing can be verified without a reference.

use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry::iou;
use crate::row;
use crate::values::detections::column;
use crate::values::{Detections, kind, python};

/// `roboflow_core/detections_difference@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/detections_difference@v1",
        "DetectionsDifference",
    ],
    name: "Detections Difference",
    family: Family::Fusion,
    stateless: true,
    about: "Tells what went away, stayed and came between two sets of boxes.",
    fields: &[
        Field::required(
            "reference_predictions",
            &[Ty::Selector(&[kind::OBJECT_DETECTION])],
        )
        .about("The boxes before."),
        Field::required(
            "candidate_predictions",
            &[Ty::Selector(&[kind::OBJECT_DETECTION])],
        )
        .about("The boxes after."),
        Field::optional(
            "spatial_weight",
            &[
                Ty::FloatIn(Bounds::within(0.0, 1.0)),
                Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
            ],
            "0.4",
        )
        .about("How much the distance of two boxes costs."),
        Field::optional(
            "class_mismatch_penalty",
            &[Ty::Float, Ty::Selector(&[kind::FLOAT])],
            "0.15",
        )
        .bounds(Bounds::at_least(0.0))
        .about("What different classes cost."),
        Field::optional(
            "reject_cost",
            &[Ty::Float, Ty::Selector(&[kind::FLOAT])],
            "0.75",
        )
        .bounds(Bounds::at_least(0.0))
        .about("Most that a pair may cost."),
        Field::optional(
            "class_strict",
            &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])],
            "false",
        )
        .about("Whether different classes never match."),
        Field::optional(
            "min_removed_to_verify",
            &[Ty::Int, Ty::Selector(&[kind::INTEGER])],
            "1",
        )
        .bounds(Bounds::at_least(1.0))
        .about("How many must have gone away."),
    ],
    outputs: &[
        output("removed_detections", &[kind::OBJECT_DETECTION]),
        output("persisted_detections", &[kind::OBJECT_DETECTION]),
        output("new_detections", &[kind::OBJECT_DETECTION]),
        output("removed_count", &[kind::INTEGER]),
        output("new_count", &[kind::INTEGER]),
        output("verified", &[kind::BOOLEAN]),
    ],
    build: |_, _| Ok(Box::new(DetectionsDifference)),
    ..BlockSpec::DEFAULT
};

struct DetectionsDifference;

impl Block for DetectionsDifference {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let before = inputs.detections("reference_predictions")?;
        let after = inputs.detections("candidate_predictions")?;
        let costs = Costs {
            spatial: inputs.float("spatial_weight")?,
            class: match inputs.flag("class_strict")? {
                true => f64::INFINITY,
                false => inputs.float("class_mismatch_penalty")?,
            },
            most: inputs.float("reject_cost")?,
        };
        let least = inputs.int("min_removed_to_verify")?;
        let (stayed, matched) = costs.pairs(before, after);
        let removed = rows(before, |row| !stayed[row]);
        let persisted = rows(after, |row| matched[row]);
        let new = rows(after, |row| !matched[row]);
        let (gone, came) = (removed.len(), new.len());
        let verified = !before.is_empty() && gone as i64 >= least;
        Ok(Output::One(row![
            removed, persisted, new, gone, came, verified
        ]))
    }
}

/// The rows that are kept; of none, nothing is known.
fn rows(set: &Detections, keep: impl FnMut(usize) -> bool) -> Detections {
    let kept = set.filter(keep);
    match kept.is_empty() {
        true => Detections::empty(),
        false => kept,
    }
}

struct Costs {
    spatial: f64,
    class: f64,
    most: f64,
}

impl Costs {
    /// Which rows of either side have a match.
    fn pairs(&self, before: &Detections, after: &Detections) -> (Vec<bool>, Vec<bool>) {
        let mut cells = Vec::with_capacity(before.len() * after.len());
        for r in 0..before.len() {
            for c in 0..after.len() {
                let cost = self.of(before, r, after, c);
                if cost.is_finite() && cost <= self.most {
                    cells.push((cost, r, c));
                }
            }
        }
        // Stable: the first in row order wins among equals.
        cells.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut taken = (vec![false; before.len()], vec![false; after.len()]);
        for (_, r, c) in cells {
            if !taken.0[r] && !taken.1[c] {
                (taken.0[r], taken.1[c]) = (true, true);
            }
        }
        taken
    }

    fn of(&self, before: &Detections, r: usize, after: &Detections, c: usize) -> f64 {
        let place = self.spatial * distance(&before.xyxy[r], &after.xyxy[c]);
        match classes_differ(before, r, after, c) {
            true => place + self.class,
            false => place,
        }
    }
}

/// From 0 (the same box) over 1 (touching) to 2 (far away).
fn distance(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let shared = f64::from(iou(a, b));
    if shared > 0.0 {
        return 1.0 - shared;
    }
    let center = |b: &[f64; 4]| [(b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0];
    let ([ax, ay], [bx, by]) = (center(a), center(b));
    let width = a[2].max(b[2]) - a[0].min(b[0]);
    let height = a[3].max(b[3]) - a[1].min(b[1]);
    let diagonal = width.hypot(height);
    match diagonal > 0.0 {
        true => 1.0 + (ax - bx).hypot(ay - by) / diagonal,
        false => 1.0,
    }
}

fn classes_differ(before: &Detections, r: usize, after: &Detections, c: usize) -> bool {
    let names = (
        before.cell(column::CLASS_NAME, r),
        after.cell(column::CLASS_NAME, c),
    );
    match (names, &before.class_id, &after.class_id) {
        ((Some(a), Some(b)), _, _) => !python::equal(a, b),
        (_, Some(a), Some(b)) => a[r] != b[c],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes};
    use crate::values::Value;
    use serde_json::json;

    fn named(rows: &[([f64; 4], &str)]) -> Value {
        let plain: Vec<_> = rows.iter().map(|r| (r.0, 0.9)).collect();
        let mut set = boxes(&plain);
        set.set_column(
            column::CLASS_NAME,
            rows.iter().map(|r| r.1.into()).collect(),
        );
        set.into()
    }

    fn counts(fields: &[(&str, serde_json::Value)], before: Value, after: Value) -> [usize; 3] {
        let given = [
            ("reference_predictions", before),
            ("candidate_predictions", after),
        ];
        let row = Bench::new(&BLOCK, fields).run(&given).unwrap();
        [0, 1, 2].map(|i| row[i].as_detections().unwrap().len())
    }

    #[test]
    fn the_best_pairs_are_made_first() {
        let before = || named(&[([0.0, 0.0, 10.0, 10.0], "a"), ([2.0, 0.0, 12.0, 10.0], "a")]);
        let after = || named(&[([2.0, 0.0, 12.0, 10.0], "a")]);
        assert_eq!(counts(&[], before(), after()), [1, 1, 0]);
        let far = named(&[([500.0, 0.0, 510.0, 10.0], "a")]);
        assert_eq!(counts(&[], before(), far), [2, 0, 1]);
        assert_eq!(counts(&[], named(&[]), after()), [0, 0, 1]);
    }

    #[test]
    fn classes_cost_or_forbid() {
        let before = || named(&[([0.0, 0.0, 10.0, 10.0], "a")]);
        let after = || named(&[([0.0, 0.0, 10.0, 10.0], "b")]);
        assert_eq!(counts(&[], before(), after()), [0, 1, 0]);
        assert_eq!(
            counts(&[("class_strict", json!(true))], before(), after()),
            [1, 0, 1]
        );
        let dear = ("class_mismatch_penalty", json!(0.8));
        assert_eq!(counts(&[dear], before(), after()), [1, 0, 1]);
    }

    #[test]
    fn distances() {
        let unit = [0.0, 0.0, 10.0, 10.0];
        assert_eq!(distance(&unit, &unit), 0.0);
        // Centres 40 apart, diagonal of the box around both √(50² + 10²).
        let far = distance(&unit, &[40.0, 0.0, 50.0, 10.0]);
        assert!((far - (1.0 + 40.0 / 2600.0_f64.sqrt())).abs() < 1e-12);
        assert_eq!(distance(&[5.0; 4], &[5.0; 4]), 1.0);
    }
}
