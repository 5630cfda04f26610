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

use std::cmp::Reverse;
use std::collections::BinaryHeap;

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
        let [stayed, matched] = Pairing::of(costs, before, after).matched();
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

#[derive(Clone, Copy)]
struct Costs {
    spatial: f64,
    class: f64,
    most: f64,
}

/// Two sets of boxes to be paired.
struct Pairing<'a> {
    costs: Costs,
    before: &'a [[f64; 4]],
    after: &'a [[f64; 4]],
    /// Classes of both sides by number, if both sides have classes.
    classes: Option<[Vec<usize>; 2]>,
}

impl<'a> Pairing<'a> {
    fn of(costs: Costs, before: &'a Detections, after: &'a Detections) -> Self {
        let names = [before, after].map(|set| set.column(column::CLASS_NAME));
        let classes = match (names, &before.class_id, &after.class_id) {
            ([Some(a), Some(b)], ..) => Some(numbered(a, b, python::equal)),
            (_, Some(a), Some(b)) => Some(numbered(a, b, i64::eq)),
            _ => None,
        };
        Self {
            costs,
            before: &before.xyxy,
            after: &after.xyxy,
            classes,
        }
    }

    /// Which rows of either side have a match: the cheapest pair of all is made first, of equal ones the
    /// first in row order.
    ///
    /// Each row waits with its cheapest partner; where that is taken when its turn comes, it looks for
    /// another and waits again. So only a pair for each row is kept, not all of them.
    fn matched(&self) -> [Vec<bool>; 2] {
        let mut matched = [self.before, self.after].map(|boxes| vec![false; boxes.len()]);
        let mut free: Vec<usize> = (0..self.after.len()).collect();
        let offer = |r: usize, free: &[usize]| {
            let (cost, c) = self.cheapest(r, free)?;
            // Costs are never negative, so their bits have their order.
            Some(Reverse(((cost + 0.0).to_bits(), r, c)))
        };
        let offers = (0..self.before.len()).filter_map(|r| offer(r, &free));
        let mut offers: BinaryHeap<_> = offers.collect();
        while let Some(Reverse((_, r, c))) = offers.pop() {
            match free.binary_search(&c) {
                Ok(place) => {
                    free.remove(place);
                    (matched[0][r], matched[1][c]) = (true, true);
                }
                Err(_) => offers.extend(offer(r, &free)),
            }
        }
        matched
    }

    /// The cheapest partner of a row among some, the first of several, with its cost.
    fn cheapest(&self, r: usize, among: &[usize]) -> Option<(f64, usize)> {
        let mut best: Option<(f64, usize)> = None;
        for &c in among {
            // Most pairs of a crowd lie apart and cost too much whatever their classes; the margin is
            // for rounding.
            let most = best.map_or(self.costs.most, |(cost, _)| cost);
            let least = self.costs.spatial * least_distance(&self.before[r], &self.after[c]);
            if least * (1.0 - 1e-9) > most {
                continue;
            }
            let cost = self.cost(r, c);
            let possible = cost.is_finite() && cost <= self.costs.most;
            if possible && best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, c));
                if cost == 0.0 {
                    break;
                }
            }
        }
        best
    }

    fn cost(&self, r: usize, c: usize) -> f64 {
        let place = self.costs.spatial * distance(&self.before[r], &self.after[c]);
        match &self.classes {
            Some([before, after]) if before[r] != after[c] => place + self.costs.class,
            _ => place,
        }
    }
}

/// Numbers for the values of two lists, the same for equal ones.
fn numbered<T>(a: &[T], b: &[T], equal: fn(&T, &T) -> bool) -> [Vec<usize>; 2] {
    let mut known: Vec<&T> = Vec::new();
    [a, b].map(|values| {
        let number = |value| {
            let place = known.iter().position(|k| equal(k, value));
            place.unwrap_or_else(|| {
                known.push(value);
                known.len() - 1
            })
        };
        values.iter().map(number).collect()
    })
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

/// No more than the distance but for rounding, and soon known.
fn least_distance(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    if a[2] > b[0] && b[2] > a[0] && a[3] > b[1] && b[3] > a[1] {
        return 0.0;
    }
    let square = |x: f64, y: f64| x * x + y * y;
    let between = square(a[0] + a[2] - b[0] - b[2], a[1] + a[3] - b[1] - b[3]) / 4.0;
    let width = a[2].max(b[2]) - a[0].min(b[0]);
    let height = a[3].max(b[3]) - a[1].min(b[1]);
    let share = between / square(width, height);
    match share.is_finite() {
        true => 1.0 + share.sqrt(),
        false => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes};
    use crate::values::Value;
    use proptest::prelude::*;
    use serde_json::json;
    use std::sync::Arc;

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

    /// The pairs made one after the other by looking at all of them.
    fn by_all_pairs(pairing: &Pairing<'_>) -> [Vec<bool>; 2] {
        let mut taken = [pairing.before, pairing.after].map(|boxes| vec![false; boxes.len()]);
        loop {
            let mut best: Option<(f64, usize, usize)> = None;
            for r in (0..pairing.before.len()).filter(|r| !taken[0][*r]) {
                for c in (0..pairing.after.len()).filter(|c| !taken[1][*c]) {
                    let cost = pairing.cost(r, c);
                    let possible = cost.is_finite() && cost <= pairing.costs.most;
                    if possible && best.is_none_or(|(least, ..)| cost < least) {
                        best = Some((cost, r, c));
                    }
                }
            }
            let Some((_, r, c)) = best else {
                return taken;
            };
            (taken[0][r], taken[1][c]) = (true, true);
        }
    }

    fn crowd() -> impl Strategy<Value = Detections> {
        let row = (0..12u8, 0..12u8, 0..6u8, 0..6u8, 0..2i64);
        prop::collection::vec(row, 0..12).prop_map(|rows| {
            let corners = |(x, y, w, h, _): &(u8, u8, u8, u8, i64)| {
                ([*x, *y, x + w, y + h].map(f64::from), 0.9)
            };
            let plain: Vec<_> = rows.iter().map(corners).collect();
            let mut set = boxes(&plain);
            set.class_id = Some(Arc::new(rows.iter().map(|row| row.4).collect()));
            set.data.shift_remove(column::CLASS_NAME);
            set
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn pairs_are_those_of_a_look_at_all_pairs(
            before in crowd(),
            after in crowd(),
            spatial in prop_oneof![Just(0.0), Just(0.4), Just(1.0)],
            class in prop_oneof![Just(0.0), Just(0.15), Just(f64::INFINITY)],
            most in prop_oneof![Just(0.0), Just(0.5), Just(0.75), Just(9.0)],
        ) {
            let costs = Costs { spatial, class, most };
            let pairing = Pairing::of(costs, &before, &after);
            prop_assert_eq!(pairing.matched(), by_all_pairs(&pairing));
        }
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
