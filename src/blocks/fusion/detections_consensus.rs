//! Joins the results of several models on one image by vote.
//!
//! # Inputs and outputs
//! `predictions_batches`, one set of boxes a model. A box that overlaps boxes of at least
//! `required_votes` - 1 other models (same class if `class_aware`) is merged with them, see
//! [`merge`] → `predictions`; `object_present`, whether `required_objects` were found, and
//! `presence_confidence` by class (or of `any_object`).
//!
//! # State
//! None.
//!
//! # Edge cases
//! All boxes must have been found on one image. Key points, track ids and other columns are lost, and
//! the type of prediction is `object-detection` whatever it was. Boxes without masks that are joined
//! with others that have some count as empty; joined boxes with masks beside others without fail.

mod merge;

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;
use merge::{Member, Merging, Mode};

use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, Row, Ty, output,
};
use crate::geometry::{BoxIndex, iou};
use crate::row;
use crate::values::detections::column;
use crate::values::{Detections, Dict, Value, kind, python};

/// `roboflow_core/detections_consensus@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/detections_consensus@v1",
        "DetectionsConsensus",
    ],
    name: "Detections Consensus",
    family: Family::Fusion,
    stateless: true,
    about: "Joins the results of several models on one image by vote.",
    fields: &[
        Field::required(
            "predictions_batches",
            &[Ty::ListIn(&[Ty::Selector(kind::DETECTIONS)], 1, usize::MAX)],
        )
        .alias("predictions")
        .about("The boxes of each model."),
        Field::required(
            "required_votes",
            &[Ty::IntAbove(0, i64::MAX), Ty::Selector(&[kind::INTEGER])],
        )
        .about("How many models must have found a box."),
        Field::optional(
            "class_aware",
            &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])],
            "true",
        )
        .about("Whether boxes must be of one class to be the same."),
        Field::optional("iou_threshold", SHARE, "0.3")
            .about("Overlap above which two boxes are the same."),
        Field::optional("confidence", SHARE, "0.0").about("Least confidence of a merged box."),
        Field::optional(
            "classes_to_consider",
            &[
                Ty::List(&[Ty::Str]),
                Ty::Selector(&[kind::LIST_OF_VALUES]),
                Ty::Null,
            ],
            "null",
        )
        .about("Classes that take part; all if empty."),
        Field::optional(
            "required_objects",
            &[
                Ty::IntAbove(0, i64::MAX),
                Ty::Map(&[Ty::IntAbove(0, i64::MAX)]),
                Ty::Selector(&[kind::INTEGER, kind::DICTIONARY]),
                Ty::Null,
            ],
            "null",
        )
        .about("How many objects must be there, in all or by class."),
        Field::optional("presence_confidence_aggregation", MODES, "\"max\"")
            .about("Which confidence counts for presence."),
        Field::optional(
            "detections_merge_confidence_aggregation",
            MODES,
            "\"average\"",
        )
        .about("Confidence and class of a merged box."),
        Field::optional(
            "detections_merge_coordinates_aggregation",
            MODES,
            "\"average\"",
        )
        .about("Place of a merged box."),
        Field::optional(
            "detections_merge_mask_aggregation",
            &[Ty::NamedOneOf(
                "MaskAggregationMode",
                &["intersection", "union", "max", "min"],
            )],
            "\"union\"",
        )
        .about("Mask of a merged box."),
    ],
    outputs: &[
        output(
            "predictions",
            &[kind::OBJECT_DETECTION, kind::INSTANCE_SEGMENTATION],
        ),
        output("object_present", &[kind::BOOLEAN, kind::DICTIONARY]),
        output(
            "presence_confidence",
            &[kind::FLOAT_ZERO_TO_ONE, kind::DICTIONARY],
        ),
    ],
    batch: &["predictions_batches"],
    build: |_, _| Ok(Box::new(DetectionsConsensus)),
    ..BlockSpec::DEFAULT
};

const MODES: &[Ty] = &[Ty::NamedOneOf(
    "AggregationMode",
    &["average", "max", "min"],
)];
const SHARE: &[Ty] = &[
    Ty::FloatIn(Bounds::within(0.0, 1.0)),
    Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
];

struct DetectionsConsensus;

impl Block for DetectionsConsensus {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let vote = Vote::of(inputs)?;
        let sources = inputs.list("predictions_batches")?;
        let lengths = sources.iter().filter_map(|source| match source {
            Value::Batch(batch) => Some(batch.items.len()),
            _ => None,
        });
        let element = |i: usize| {
            let sets = sources.iter().map(|source| {
                let value = match source {
                    Value::Batch(batch) => &batch.items[i],
                    other => other,
                };
                value.as_detections().map(|set| &**set).ok_or_else(|| {
                    let got = value.type_name();
                    BlockError::failed(format!("predictions must be boxes, got {got}"))
                })
            });
            vote.row(&sets.collect::<Result<Vec<_>, _>>()?)
        };
        match lengths.min() {
            None => element(0).map(Output::One),
            Some(n) => (0..n)
                .map(element)
                .collect::<Result<_, _>>()
                .map(Output::Many),
        }
    }
}

/// The rules of one run.
struct Vote<'a> {
    votes: i64,
    class_aware: bool,
    overlap: f32,
    confidence: f64,
    classes: Vec<&'a str>,
    required: &'a Value,
    presence: Mode,
    merging: Merging,
}

impl<'a> Vote<'a> {
    fn of(inputs: &Inputs<'a>) -> Result<Self, BlockError> {
        let classes = inputs.optional("classes_to_consider", Inputs::list)?;
        let mode = |name: &str| inputs.text(name).map(Mode::of);
        Ok(Self {
            votes: inputs.int("required_votes")?,
            class_aware: inputs.flag("class_aware")?,
            overlap: inputs.float("iou_threshold")? as f32,
            confidence: inputs.float("confidence")?,
            classes: classes
                .unwrap_or_default()
                .iter()
                .filter_map(Value::as_str)
                .collect(),
            required: inputs.value("required_objects"),
            presence: mode("presence_confidence_aggregation")?,
            merging: Merging {
                confidence: mode("detections_merge_confidence_aggregation")?,
                place: mode("detections_merge_coordinates_aggregation")?,
                mask: inputs.text("detections_merge_mask_aggregation")?.into(),
            },
        })
    }

    fn row(&self, sets: &[&Detections]) -> Result<Row, BlockError> {
        check_parents(sets)?;
        let considered: Vec<Arc<Detections>> =
            sets.iter().map(|set| self.considered(set)).collect();
        let merged = self.merged(&considered)?;
        let presence = self.presence(&merged)?;
        let present = presence.is_some();
        let presence = Value::dict(presence.unwrap_or_default());
        Ok(row![merged, present, presence])
    }

    fn considered(&self, set: &Detections) -> Arc<Detections> {
        let wanted = |row: usize| {
            set.class_name(row)
                .is_some_and(|n| self.classes.contains(&&**n))
        };
        Arc::new(match self.classes.is_empty() {
            true => set.clone(),
            false => set.filter(wanted),
        })
    }

    fn merged(&self, sets: &[Arc<Detections>]) -> Result<Detections, BlockError> {
        let indices: Vec<BoxIndex> = sets.iter().map(|set| BoxIndex::new(&set.xyxy)).collect();
        let mut used: HashSet<Arc<str>> = HashSet::new();
        let mut merged = Vec::new();
        for (s, set) in sets.iter().enumerate() {
            for row in 0..set.len() {
                let first = Member::of(set, row)?;
                if used.contains(&first.id) {
                    continue;
                }
                let mut group = vec![first];
                for o in (0..sets.len()).filter(|o| *o != s) {
                    group.extend(self.partner((set, row), (&sets[o], &indices[o]), &used)?);
                }
                if (group.len() as i64) < self.votes {
                    continue;
                }
                let one = self.merging.merge(&group)?;
                if one.confidence >= self.confidence {
                    used.extend(group.into_iter().map(|member| member.id));
                    merged.push(one);
                }
            }
        }
        merge::joined(merged)
    }

    /// The row of another set that overlaps a row most, if enough; of several the first.
    fn partner(
        &self,
        (set, row): (&Detections, usize),
        (other, index): (&Arc<Detections>, &BoxIndex),
        used: &HashSet<Arc<str>>,
    ) -> Result<Option<Member>, BlockError> {
        // A threshold below 0, which another step may hand in, is met by boxes that lie apart too.
        let reach = match self.overlap < 0.0 {
            true => [f64::NEG_INFINITY, 0.0, f64::INFINITY, 0.0],
            false => set.xyxy[row],
        };
        let mut best: Option<(f32, usize, Member)> = None;
        for candidate in index.near(reach) {
            let overlap = iou(&set.xyxy[row], &other.xyxy[candidate]);
            let better = |(most, first, _): &(f32, usize, Member)| {
                overlap > *most || (overlap == *most && candidate < *first)
            };
            if overlap <= self.overlap || !best.as_ref().is_none_or(better) {
                continue;
            }
            if self.class_aware && set.class_name(row) != other.class_name(candidate) {
                continue;
            }
            let member = Member::of(other, candidate)?;
            if !used.contains(&member.id) {
                best = Some((overlap, candidate, member));
            }
        }
        Ok(best.map(|(.., member)| member))
    }

    /// The confidences of what is present; `None` if what is required is not.
    fn presence(&self, merged: &Detections) -> Result<Option<Dict>, BlockError> {
        let confidences = merged.confidence.as_deref().map_or(&[][..], Vec::as_slice);
        let total = match self.required {
            Value::None => 0,
            Value::Dict(by_class) if !self.class_aware => {
                by_class.values().filter_map(Value::as_i64).sum()
            }
            Value::Dict(_) => 0,
            other => other.as_i64().ok_or_else(|| {
                let got = other.type_name();
                BlockError::failed(format!(
                    "`required_objects` must be a number or an object, got {got}"
                ))
            })?,
        };
        if confidences.is_empty() || total > confidences.len() as i64 {
            return Ok(None);
        }
        let all = |confidences: &[f64]| Value::Float(self.presence.of_numbers(confidences));
        if !self.class_aware {
            return Ok(Some(Dict::from_iter([(
                "any_object".into(),
                all(confidences),
            )])));
        }
        let mut classes: IndexMap<Arc<str>, Vec<f64>> = IndexMap::new();
        for (row, confidence) in confidences.iter().enumerate() {
            let name = merged.cell(column::CLASS_NAME, row).map(python::to_str);
            classes
                .entry(name.unwrap_or_default().into())
                .or_default()
                .push(*confidence);
        }
        let enough = |(class, least): (&Arc<str>, &Value)| {
            classes.get(class).map_or(0, Vec::len) as i64 >= least.as_i64().unwrap_or(0)
        };
        if self
            .required
            .as_dict()
            .is_some_and(|required| !required.iter().all(enough))
        {
            return Ok(None);
        }
        Ok(Some(
            classes
                .into_iter()
                .map(|(name, c)| (name, all(&c)))
                .collect(),
        ))
    }
}

fn check_parents(sets: &[&Detections]) -> Result<(), BlockError> {
    let mut parents = sets.iter().flat_map(|set| {
        (0..set.len()).map(|row| set.cell(column::PARENT_ID, row).unwrap_or(&Value::None))
    });
    let Some(first) = parents.next() else {
        return Ok(());
    };
    match parents.find(|other| !python::equal(first, other)) {
        None => Ok(()),
        Some(other) => Err(BlockError::failed(format!(
            "boxes of different images ({} and {}) cannot be joined; the models must have seen the same image",
            python::repr(first),
            python::repr(other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes};
    use crate::values::Mask;
    use crate::values::detections::new_id;
    use serde_json::{Value as Json, json};

    /// Boxes with confidence and class, as a detector gives them.
    fn found(rows: &[([f64; 4], f64, &str)]) -> Value {
        let plain: Vec<_> = rows.iter().map(|r| (r.0, r.1)).collect();
        let mut set = boxes(&plain);
        set.set_column(
            column::CLASS_NAME,
            rows.iter().map(|r| r.2.into()).collect(),
        );
        set.set_column(
            column::DETECTION_ID,
            rows.iter().map(|_| new_id().into()).collect(),
        );
        for name in merge::KEPT {
            set.fill_column(name, "image".into());
        }
        set.into()
    }

    fn run(fields: &[(&str, Json)], sets: Vec<Value>) -> Result<Row, BlockError> {
        Bench::new(&BLOCK, fields).run(&[("predictions_batches", Value::list(sets))])
    }

    fn votes(n: i64) -> (&'static str, Json) {
        ("required_votes", json!(n))
    }

    fn models() -> Vec<Value> {
        vec![
            found(&[
                ([0.0, 0.0, 10.0, 10.0], 0.9, "cat"),
                ([50.0, 0.0, 60.0, 10.0], 0.4, "dog"),
            ]),
            found(&[
                ([0.0, 0.0, 12.0, 10.0], 0.6, "cat"),
                ([50.0, 0.0, 60.0, 10.0], 0.8, "cat"),
            ]),
        ]
    }

    #[test]
    fn only_boxes_that_are_joined_need_a_place_in_a_parent() {
        let mut placeless = found(&[([0.0, 0.0, 10.0, 10.0], 0.9, "cat")]);
        if let Value::Detections(set) = &mut placeless {
            Arc::make_mut(set)
                .data
                .shift_remove(column::PARENT_COORDINATES);
        }
        assert!(run(&[votes(2)], vec![placeless.clone()]).is_ok());
        assert!(run(&[votes(1)], vec![placeless]).is_err());
    }

    #[test]
    fn boxes_of_unlike_columns_or_masks_do_not_fit_together() {
        let one = || found(&[([0.0, 0.0, 10.0, 10.0], 0.9, "cat")]);
        let changed = |change: fn(&mut Detections)| {
            let mut set = one();
            if let Value::Detections(set) = &mut set {
                change(Arc::make_mut(set));
            }
            set
        };
        let timed = || changed(|set| set.fill_column(column::TIME_IN_ZONE, 1.0.into()));
        assert!(run(&[votes(2)], vec![one(), timed()]).is_err());
        assert!(run(&[votes(2)], vec![timed(), timed()]).is_ok());
        let masked = || {
            changed(|set| {
                let mask = Mask::from_window(20, 20, [0, 0, 5, 5], &[1; 25]);
                set.masks = Some(Arc::new(vec![mask]));
            })
        };
        assert!(run(&[votes(2)], vec![one(), masked()]).is_ok());
        let far = found(&[([50.0, 50.0, 60.0, 60.0], 0.9, "cat")]);
        assert!(run(&[votes(1)], vec![far, masked()]).is_err());
    }

    #[test]
    fn boxes_need_votes() {
        let row = run(&[votes(2)], models()).unwrap();
        let set = row[0].as_detections().unwrap();
        assert_eq!(*set.xyxy, [[0.0, 0.0, 11.0, 10.0]]);
        assert_eq!(set.confidence.as_deref(), Some(&vec![0.75]));
        assert_eq!(python::repr(&row[2]), "{'cat': 0.75}");
        let blind = run(&[votes(2), ("class_aware", json!(false))], models()).unwrap();
        assert_eq!(blind[0].as_detections().unwrap().len(), 2);
        let every = run(&[votes(1)], models()).unwrap();
        assert_eq!(every[0].as_detections().unwrap().len(), 3);
    }

    #[test]
    fn presence_needs_objects() {
        let present = |required: Json| {
            let row = run(&[votes(1), ("required_objects", required)], models()).unwrap();
            row[1].as_bool().unwrap()
        };
        assert!(present(json!(null)) && present(json!(3)) && !present(json!(4)));
        assert!(
            present(json!({"cat": 2})) && !present(json!({"dog": 2})) && !present(json!({"ox": 1}))
        );
        let nothing = run(&[votes(1)], vec![Detections::empty().into()]).unwrap();
        assert_eq!(nothing[1].as_bool(), Some(false));
    }

    #[test]
    fn classes_and_confidence_can_be_asked_for() {
        let row = run(
            &[votes(1), ("classes_to_consider", json!(["dog"]))],
            models(),
        )
        .unwrap();
        assert_eq!(row[0].as_detections().unwrap().len(), 1);
        let row = run(&[votes(1), ("confidence", json!(0.78))], models()).unwrap();
        assert_eq!(row[0].as_detections().unwrap().len(), 1);
    }

    #[test]
    fn boxes_of_two_images_are_refused() {
        let other = found(&[([0.0, 0.0, 10.0, 10.0], 0.9, "cat")]);
        let mut other = (**other.as_detections().unwrap()).clone();
        other.fill_column(column::PARENT_ID, "another".into());
        let mut sets = models();
        sets.push(other.into());
        assert!(
            run(&[votes(1)], sets)
                .unwrap_err()
                .to_string()
                .contains("another")
        );
    }
}
