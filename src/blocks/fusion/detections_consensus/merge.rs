//! One box of several that mean the same object.

use std::sync::Arc;

use crate::blocks::BlockError;
use crate::values::detections::{column, new_id};
use crate::values::{Detections, Mask, Value, mask_sets, python};

/// Columns that the merged box takes from the first member.
pub(super) const KEPT: [&str; 7] = [
    column::PARENT_ID,
    column::IMAGE_DIMENSIONS,
    column::PARENT_COORDINATES,
    column::PARENT_DIMENSIONS,
    column::ROOT_PARENT_ID,
    column::ROOT_PARENT_COORDINATES,
    column::ROOT_PARENT_DIMENSIONS,
];

/// How numbers become one.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    Average,
    Max,
    Min,
}

impl Mode {
    pub(super) fn of(name: &str) -> Self {
        match name {
            "max" => Self::Max,
            "min" => Self::Min,
            _ => Self::Average,
        }
    }

    pub(super) fn of_numbers(self, numbers: &[f64]) -> f64 {
        match self {
            Self::Average => numbers.iter().sum::<f64>() / numbers.len().max(1) as f64,
            Self::Max => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Self::Min => numbers.iter().copied().fold(f64::INFINITY, f64::min),
        }
    }

    /// The member of the greatest (smallest) measure, the first of several.
    fn extreme<T>(self, members: &[T], measure: impl Fn(&T) -> f64) -> Option<&T> {
        let mut best: Option<(&T, f64)> = None;
        for member in members {
            let size = measure(member);
            let better = |most: f64| match self {
                Self::Min => size < most,
                _ => size > most,
            };
            if best.is_none_or(|(_, most)| better(most)) {
                best = Some((member, size));
            }
        }
        best.map(|(member, _)| member)
    }
}

fn lacks(row: usize, name: &str) -> BlockError {
    BlockError::failed(format!(
        "box {row} has no `{name}`, without which boxes cannot be joined"
    ))
}

/// One row of one model's boxes.
pub(super) struct Member {
    pub(super) id: Arc<str>,
    set: Arc<Detections>,
    row: usize,
    class: Value,
    class_id: i64,
    confidence: f64,
}

impl Member {
    pub(super) fn of(set: &Arc<Detections>, row: usize) -> Result<Self, BlockError> {
        let lacks = |name: &str| lacks(row, name);
        let cell = |name: &str| set.cell(name, row).ok_or_else(|| lacks(name));
        let class_id = set.class_id.as_ref().ok_or_else(|| lacks("class_id"))?;
        let confidence = set.confidence.as_ref().ok_or_else(|| lacks("confidence"))?;
        Ok(Self {
            id: python::to_str(cell(column::DETECTION_ID)?).into(),
            class: cell(column::CLASS_NAME)?.clone(),
            class_id: class_id[row],
            confidence: confidence[row],
            set: set.clone(),
            row,
        })
    }

    /// Whether it has everything that a merged box takes over, and the columns of its group's first.
    fn check(&self, first: &Self) -> Result<(), BlockError> {
        let there = |name: &str| self.set.cell(name, self.row).is_some();
        if let Some(name) = KEPT.iter().find(|name| !there(name)) {
            return Err(lacks(self.row, name));
        }
        let (a, b) = (&self.set, &first.set);
        let one_sided = a.data.keys().find(|name| !b.data.contains_key(*name));
        let one_sided = one_sided.or_else(|| b.data.keys().find(|n| !a.data.contains_key(*n)));
        let tracked = (a.tracker_id.is_some() != b.tracker_id.is_some()).then_some("tracker_id");
        match one_sided.map(|name| &**name).or(tracked) {
            Some(name) => Err(BlockError::failed(format!(
                "boxes with and without `{name}` cannot be joined"
            ))),
            None => Ok(()),
        }
    }

    fn xyxy(&self) -> [f64; 4] {
        self.set.xyxy[self.row]
    }

    fn mask(&self) -> Option<&Mask> {
        self.set.masks.as_ref().map(|masks| &masks[self.row])
    }
}

/// A merged box.
pub(super) struct Merged {
    xyxy: [f64; 4],
    mask: Option<Mask>,
    class: Value,
    class_id: i64,
    pub(super) confidence: f64,
    kept: Vec<(&'static str, Value)>,
}

/// How boxes are merged.
pub(super) struct Merging {
    pub(super) confidence: Mode,
    pub(super) place: Mode,
    pub(super) mask: Box<str>,
}

impl Merging {
    /// The members (at least one) as one box.
    ///
    /// # Errors
    /// If a member lacks what the box needs, or has other columns than the first.
    pub(super) fn merge(&self, members: &[Member]) -> Result<Merged, BlockError> {
        let first = &members[0];
        members.iter().try_for_each(|member| member.check(first))?;
        let decisive = match self.confidence {
            Mode::Average => most_frequent(members),
            mode => mode.extreme(members, |m| m.confidence),
        };
        let decisive = decisive.unwrap_or(first);
        let confidences: Vec<f64> = members.iter().map(|m| m.confidence).collect();
        let mask = self.mask(members);
        let cell = |name: &'static str| {
            let value = first.set.cell(name, first.row).cloned();
            (name, value.unwrap_or_default())
        };
        let scale = |name: &'static str| match cell(name) {
            (name, Value::None) => (name, Value::Float(1.0)),
            known => known,
        };
        let scales = [column::SCALING_TO_PARENT, column::SCALING_TO_ROOT].map(scale);
        Ok(Merged {
            xyxy: match &mask {
                Some(mask) => mask_sets::inner_box(mask),
                None => self.place(members),
            },
            mask,
            class: decisive.class.clone(),
            class_id: decisive.class_id,
            confidence: self.confidence.of_numbers(&confidences),
            kept: KEPT.map(cell).into_iter().chain(scales).collect(),
        })
    }

    fn place(&self, members: &[Member]) -> [f64; 4] {
        if let Mode::Average = self.place {
            return [0, 1, 2, 3].map(|side| {
                let sides: Vec<f64> = members.iter().map(|m| m.xyxy()[side]).collect();
                Mode::Average.of_numbers(&sides)
            });
        }
        let area = |member: &Member| member.set.area(member.row);
        let extreme = self.place.extreme(members, area);
        extreme.unwrap_or(&members[0]).xyxy()
    }

    /// The mask of the merged box, if a member has one; members without count as empty.
    fn mask(&self, members: &[Member]) -> Option<Mask> {
        let model = members.iter().find_map(Member::mask)?;
        let empty = Mask::empty(model.width(), model.height());
        let masks: Vec<&Mask> = members.iter().map(|m| m.mask().unwrap_or(&empty)).collect();
        let area = |mask: &&Mask| mask.area() as f64;
        match &*self.mask {
            "intersection" => mask_sets::intersection(&masks),
            "max" => Mode::Max.extreme(&masks, area).map(|m| (*m).clone()),
            "min" => Mode::Min.extreme(&masks, area).map(|m| (*m).clone()),
            _ => mask_sets::union(&masks),
        }
    }
}

/// A member of the class that most members have, the first of several.
fn most_frequent(members: &[Member]) -> Option<&Member> {
    let same =
        |a: &Member, b: &Member| a.class_id == b.class_id && python::equal(&a.class, &b.class);
    Mode::Max.extreme(members, |a| {
        members.iter().filter(|b| same(a, b)).count() as f64
    })
}

/// The merged boxes as one set.
///
/// # Errors
/// If some have masks and others have none.
pub(super) fn joined(rows: Vec<Merged>) -> Result<Detections, BlockError> {
    let Some(first) = rows.first() else {
        return Ok(Detections::empty());
    };
    let names: Vec<&'static str> = first.kept.iter().map(|(name, _)| *name).collect();
    let masks: Vec<Mask> = rows.iter().filter_map(|row| row.mask.clone()).collect();
    if !masks.is_empty() && masks.len() < rows.len() {
        return Err(BlockError::failed(
            "some joined boxes have a mask and others have none",
        ));
    }
    let masks = (!masks.is_empty()).then(|| Arc::new(masks));
    let mut set = Detections {
        xyxy: Arc::new(rows.iter().map(|r| r.xyxy).collect()),
        masks,
        confidence: Some(Arc::new(rows.iter().map(|r| r.confidence).collect())),
        class_id: Some(Arc::new(rows.iter().map(|r| r.class_id).collect())),
        ..Detections::default()
    };
    set.set_column(
        column::CLASS_NAME,
        rows.iter().map(|r| r.class.clone()).collect(),
    );
    for (i, name) in names.into_iter().enumerate() {
        set.set_column(name, rows.iter().map(|r| r.kept[i].1.clone()).collect());
    }
    set.set_column(
        column::DETECTION_ID,
        rows.iter().map(|_| new_id().into()).collect(),
    );
    set.fill_column(column::PREDICTION_TYPE, "object-detection".into());
    Ok(set)
}
