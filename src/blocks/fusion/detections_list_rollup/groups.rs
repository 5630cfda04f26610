//! Rows of one class that mean the same object, and the one row that they become.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::blocks::BlockError;
use crate::geometry::{self, iou};
use crate::values::detections::column;
use crate::values::{Detections, Mask, Value, mask_sets};

/// A row found on a crop, in coordinates of the root image.
pub(super) struct Child {
    set: Arc<Detections>,
    row: usize,
    xyxy: [f64; 4],
    mask: Option<Mask>,
    points: Vec<[f64; 2]>,
    confidence: f64,
    pub(super) class_id: i64,
}

impl Child {
    pub(super) fn moved(
        set: &Arc<Detections>,
        row: usize,
        [dx, dy]: [f64; 2],
        (width, height): (usize, usize),
    ) -> Result<Self, BlockError> {
        let [x1, y1, x2, y2] = set.xyxy[row];
        let mask = set
            .masks
            .as_ref()
            .map(|m| m[row].moved(dx as i64, dy as i64, width, height));
        let points = match set.cell(column::KEYPOINTS_XY, row) {
            Some(cell) => geometry::points(cell)?,
            None => Vec::new(),
        };
        let lacks =
            |what: &str| BlockError::failed(format!("boxes without {what} cannot be rolled up"));
        let confidence = set.confidence.as_ref().ok_or_else(|| lacks("confidence"))?;
        let class_id = set.class_id.as_ref().ok_or_else(|| lacks("class ids"))?;
        Ok(Self {
            set: set.clone(),
            row,
            xyxy: [x1 + dx, y1 + dy, x2 + dx, y2 + dy],
            mask,
            points: points.iter().map(|[x, y]| [x + dx, y + dy]).collect(),
            confidence: confidence[row],
            class_id: class_id[row],
        })
    }

    fn cell(&self, name: &str) -> Option<&Value> {
        self.set.cell(name, self.row)
    }
}

/// One row of several.
pub(super) struct Group {
    pub(super) xyxy: [f64; 4],
    pub(super) mask: Option<Mask>,
    pub(super) confidence: f64,
    pub(super) class_id: i64,
    points: Vec<[f64; 2]>,
    /// Confidence of each key point, if the members have any.
    point_confidence: Vec<f64>,
    first: (Arc<Detections>, usize),
    first_of_class: (Arc<Detections>, usize),
}

impl Group {
    /// What a column holds for the first member, else for the first row of its class.
    pub(super) fn cell(&self, name: &str) -> Value {
        let (set, row) = &self.first;
        match set.cell(name, *row) {
            Some(value) => value.clone(),
            None => self.cell_of_class(name),
        }
    }

    /// What a column holds for the first row of the class.
    pub(super) fn cell_of_class(&self, name: &str) -> Value {
        let (set, row) = &self.first_of_class;
        set.cell(name, *row).cloned().unwrap_or_default()
    }
}

/// When rows are one, and what confidence they have then.
pub(super) struct Rules {
    pub(super) confidence: Box<str>,
    pub(super) overlap: f64,
    pub(super) distance: f64,
}

impl Rules {
    /// Boxes that overlap, directly or through others, become the box around them.
    pub(super) fn by_boxes(&self, members: Vec<Child>) -> Vec<Group> {
        let connected = connected(&members, |a, b| match self.overlap > 0.0 {
            true => f64::from(iou(&a.xyxy, &b.xyxy)) >= self.overlap,
            false => boxes_meet(a, b),
        });
        let group = |rows: Vec<usize>| {
            let boxes = rows.iter().map(|&r| members[r].xyxy);
            let xyxy = geometry::hull(boxes).unwrap_or_default();
            let confidence = self.confidence(&members, &rows, f64::max);
            group(&members, &rows, xyxy, confidence)
        };
        connected.into_iter().map(group).collect()
    }

    /// Masks that overlap, directly or through others, become one; the box holds it tightly.
    pub(super) fn by_masks(&self, members: Vec<Child>) -> Vec<Group> {
        let connected = connected(&members, |a, b| {
            let (Some(m), Some(n)) = (&a.mask, &b.mask) else {
                return false;
            };
            boxes_meet(a, b)
                && match self.overlap > 0.0 {
                    true => mask_sets::iou(m, n) >= self.overlap,
                    false => m.intersection(n) > 0,
                }
        });
        let group = |rows: Vec<usize>| {
            let masks: Vec<&Mask> = rows
                .iter()
                .filter_map(|&r| members[r].mask.as_ref())
                .collect();
            let mask = mask_sets::union(&masks).filter(|mask| mask.area() > 0)?;
            let [x, y, width, height] = mask.window().map(|v| v as f64);
            let confidence = self.confidence(&members, &rows, f64::min);
            Some(Group {
                mask: Some(mask),
                ..group(&members, &rows, [x, y, x + width, y + height], confidence)
            })
        };
        connected.into_iter().filter_map(group).collect()
    }

    /// Rows whose key points lie near those of a first one become their mean; rows without key
    /// points stay alone, behind the others.
    pub(super) fn by_key_points(&self, members: Vec<Child>) -> Vec<Group> {
        let mut used = vec![false; members.len()];
        let mut groups = Vec::new();
        for i in (0..members.len()).filter(|&i| !members[i].points.is_empty()) {
            if used[i] {
                continue;
            }
            let near = |j: usize| {
                let (a, b) = (&members[i].points, &members[j].points);
                a.len() == b.len() && mean_distance(a, b) < self.distance
            };
            let mut rows = vec![i];
            rows.extend((i + 1..members.len()).filter(|&j| !used[j] && near(j)));
            rows.iter().for_each(|&row| used[row] = true);
            groups.push(self.mean(&members, &rows));
        }
        let alone = (0..members.len()).filter(|&i| members[i].points.is_empty());
        groups.extend(alone.map(|i| group(&members, &[i], members[i].xyxy, members[i].confidence)));
        groups
    }

    fn mean(&self, members: &[Child], rows: &[usize]) -> Group {
        let n = rows.len() as f64;
        let mean = |value: &dyn Fn(&Child) -> f64| {
            rows.iter().map(|&r| value(&members[r])).sum::<f64>() / n
        };
        let xyxy = [0, 1, 2, 3].map(|side| mean(&|child: &Child| child.xyxy[side]));
        let confidence = self.confidence(members, rows, f64::min);
        let count = members[rows[0]].points.len();
        let point = |p: usize| [0, 1].map(|axis| mean(&|child: &Child| child.points[p][axis]));
        let confidences: Option<Vec<Vec<f64>>> = rows
            .iter()
            .map(|&r| {
                let cell = members[r].cell(column::KEYPOINTS_CONFIDENCE)?;
                crate::values::array::numbers(cell).filter(|all| all.len() == count)
            })
            .collect();
        let point_confidence = confidences.map(|all| {
            let of = |p: usize| all.iter().map(|c| c[p]).sum::<f64>() / n;
            (0..count).map(of).collect()
        });
        Group {
            points: (0..count).map(point).collect(),
            point_confidence: point_confidence.unwrap_or_default(),
            ..group(members, rows, xyxy, confidence)
        }
    }

    fn confidence(&self, members: &[Child], rows: &[usize], otherwise: fn(f64, f64) -> f64) -> f64 {
        let all = rows.iter().map(|&row| members[row].confidence);
        let picked = match &*self.confidence {
            "mean" => return all.sum::<f64>() / rows.len() as f64,
            "max" => all.reduce(f64::max),
            "min" => all.reduce(f64::min),
            _ => all.reduce(otherwise),
        };
        picked.unwrap_or(0.0)
    }
}

fn group(members: &[Child], rows: &[usize], xyxy: [f64; 4], confidence: f64) -> Group {
    let (first, of_class) = (&members[rows[0]], &members[0]);
    Group {
        xyxy,
        mask: None,
        confidence,
        class_id: first.class_id,
        points: first.points.clone(),
        point_confidence: Vec::new(),
        first: (first.set.clone(), first.row),
        first_of_class: (of_class.set.clone(), of_class.row),
    }
}

/// The parts that hang together, in the order of their first members.
fn connected(members: &[Child], joined: impl Fn(&Child, &Child) -> bool) -> Vec<Vec<usize>> {
    let mut part: Vec<usize> = (0..members.len()).collect();
    for i in 0..members.len() {
        for j in i + 1..members.len() {
            if part[i] != part[j] && joined(&members[i], &members[j]) {
                let (keep, gone) = (part[i].min(part[j]), part[i].max(part[j]));
                part.iter_mut()
                    .filter(|p| **p == gone)
                    .for_each(|p| *p = keep);
            }
        }
    }
    let mut parts: IndexMap<usize, Vec<usize>> = IndexMap::new();
    for (row, head) in part.into_iter().enumerate() {
        parts.entry(head).or_default().push(row);
    }
    parts.into_values().collect()
}

fn boxes_meet(a: &Child, b: &Child) -> bool {
    let (a, b) = (&a.xyxy, &b.xyxy);
    a[2].min(b[2]) > a[0].max(b[0]) && a[3].min(b[3]) > a[1].max(b[1])
}

fn mean_distance(a: &[[f64; 2]], b: &[[f64; 2]]) -> f64 {
    let each = a
        .iter()
        .zip(b)
        .map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]));
    each.sum::<f64>() / a.len() as f64
}

/// Adds the key points of the groups.
pub(super) fn add_key_points(set: &mut Detections, groups: &[Group]) {
    let pairs = |group: &Group| {
        let pair = |[x, y]: &[f64; 2]| Value::list(vec![Value::Float(*x), Value::Float(*y)]);
        Value::list(group.points.iter().map(pair).collect())
    };
    set.set_column(column::KEYPOINTS_XY, groups.iter().map(pairs).collect());
    let confidences = |group: &Group| match group.point_confidence.is_empty() {
        true => group.cell(column::KEYPOINTS_CONFIDENCE),
        false => Value::list(
            group
                .point_confidence
                .iter()
                .map(|c| Value::Float(*c))
                .collect(),
        ),
    };
    if groups
        .iter()
        .any(|group| !group.point_confidence.is_empty())
    {
        let cells = groups.iter().map(confidences).collect();
        set.set_column(column::KEYPOINTS_CONFIDENCE, cells);
    }
}
