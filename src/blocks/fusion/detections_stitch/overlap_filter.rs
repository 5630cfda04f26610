//! What to do with boxes of one class that overlap: suppress all but the surest, or merge them.
//!
//! Overlap is intersection over union: of masks if there are any, else of oriented boxes, else of
//! boxes.

use std::sync::Arc;

use crate::blocks::BlockError;
use crate::geometry::polygon::Region;
use crate::geometry::{self, iou};
use crate::values::detections::column;
use crate::values::{Array, Detections, Mask, Value, mask_sets};

/// The boxes without those that overlap a surer one by more than `threshold`, in their order.
pub(super) fn suppressed(set: &Detections, threshold: f64) -> Result<Detections, BlockError> {
    let shapes = Shapes::of(set, threshold)?;
    let order = surest_first(shapes.confidence, 0..set.len());
    let mut gone = vec![false; set.len()];
    for at in 0..order.len() {
        let row = order[at];
        if gone[row] {
            continue;
        }
        for &other in &order[at + 1..] {
            let same_class = shapes.class_id[row] == shapes.class_id[other];
            if same_class && shapes.overlap(row, other) > shapes.threshold {
                gone[other] = true;
            }
        }
    }
    Ok(set.filter(|row| !gone[row]))
}

/// The boxes with those merged into a surer one that overlap it by `threshold` or more; class by
/// class, the surest first.
pub(super) fn merged(set: &Detections, threshold: f64) -> Result<Detections, BlockError> {
    let shapes = Shapes::of(set, threshold)?;
    let mut classes: Vec<i64> = shapes.class_id.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for class in classes {
        let rows = (0..set.len()).filter(|row| shapes.class_id[*row] == class);
        let mut remaining = surest_first(shapes.confidence, rows);
        while !remaining.is_empty() {
            let winner = remaining.remove(0);
            groups.push(shapes.group(winner, &mut remaining));
        }
    }
    let winners: Vec<usize> = groups.iter().map(|group| group[0]).collect();
    let mut out = set.take(&winners);
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    out.xyxy = Arc::new(groups.iter().map(|group| hull(set, group)).collect());
    out.confidence = Some(Arc::new(
        groups.iter().map(|group| shapes.mean(group)).collect(),
    ));
    if let Some(masks) = &set.masks {
        let joined = groups.iter().map(|group| union_of(masks, group));
        out.masks = Some(Arc::new(joined.collect()));
    } else if let Some(corners) = &shapes.corners {
        let cells = groups
            .iter()
            .map(|group| turned_hull(corners, group))
            .collect::<Vec<_>>();
        let bounds = cells
            .iter()
            .zip(&sizes)
            .enumerate()
            .map(|(i, (cell, size))| match size {
                1 => out.xyxy[i],
                _ => geometry::bounds(cell.iter().copied()).unwrap_or_default(),
            });
        out.xyxy = Arc::new(bounds.collect());
        let cells = cells.iter().map(|cell| {
            let data = cell.iter().flatten().copied().collect();
            Value::Array(Arc::new(Array::floats(vec![4, 2], data)))
        });
        out.set_column(column::ORIENTED_BOX, cells.collect());
    }
    Ok(out)
}

/// Rows by confidence, the greatest first; among equals the last.
fn surest_first(confidence: &[f64], rows: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut order: Vec<usize> = rows.collect();
    order.sort_by(|a, b| confidence[*a].total_cmp(&confidence[*b]));
    order.reverse();
    order
}

struct Shapes<'a> {
    set: &'a Detections,
    confidence: &'a [f64],
    class_id: &'a [i64],
    corners: Option<Vec<Vec<[f64; 2]>>>,
    /// What the corners enclose, if there are any.
    regions: Vec<Region>,
    threshold: f64,
}

impl<'a> Shapes<'a> {
    fn of(set: &'a Detections, threshold: f64) -> Result<Self, BlockError> {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(BlockError::failed(format!(
                "`iou_threshold` must be between 0 and 1, got {threshold}"
            )));
        }
        let lacks =
            |what: &str| BlockError::failed(format!("boxes without {what} cannot be filtered"));
        let corners = set.column(column::ORIENTED_BOX).map(|cells| {
            let corners = cells.iter().map(geometry::points);
            corners.collect::<Result<Vec<_>, _>>()
        });
        let corners = corners.transpose()?;
        let regions = corners.iter().flatten().map(|line| Region::of(line));
        Ok(Self {
            set,
            confidence: set.confidence.as_ref().ok_or_else(|| lacks("confidence"))?,
            class_id: set.class_id.as_ref().ok_or_else(|| lacks("class ids"))?,
            regions: regions.collect(),
            corners,
            // Overlaps of boxes are 32-bit numbers, and compared with thresholds of the same width.
            threshold: match set.masks {
                Some(_) => threshold,
                None => f64::from(threshold as f32),
            },
        })
    }

    fn overlap(&self, a: usize, b: usize) -> f64 {
        if let Some(masks) = &self.set.masks {
            return mask_sets::iou(&masks[a], &masks[b]);
        }
        let (Some(own), Some(other)) = (self.regions.get(a), self.regions.get(b)) else {
            return f64::from(iou(&self.set.xyxy[a], &self.set.xyxy[b]));
        };
        // Most pairs of a crowd lie apart, which their bounds tell at once.
        let shared = match own.most_shared(other) > 0.0 {
            true => own.shared_area(other),
            false => 0.0,
        };
        let all = own.area() + other.area() - shared;
        if all > 0.0 { shared / all } else { 0.0 }
    }

    /// The winner and what joins it, taken out of the remaining rows.
    fn group(&self, winner: usize, remaining: &mut Vec<usize>) -> Vec<usize> {
        let mut group = vec![winner];
        let Some(masks) = &self.set.masks else {
            let joins = |row: &mut usize| self.overlap(winner, *row) >= self.threshold;
            group.extend(remaining.extract_if(.., joins));
            return group;
        };
        loop {
            let whole = union_of(masks, &group);
            let joins = |row: &mut usize| mask_sets::iou(&whole, &masks[*row]) >= self.threshold;
            let before = group.len();
            group.extend(remaining.extract_if(.., joins));
            if group.len() == before {
                return group;
            }
        }
    }

    /// The mean confidence, weighed by the areas of the boxes.
    fn mean(&self, group: &[usize]) -> f64 {
        let total: f64 = group.iter().map(|&row| self.set.area(row)).sum();
        if group.len() == 1 || total == 0.0 {
            return self.confidence[group[0]];
        }
        let weighed = group
            .iter()
            .map(|&row| self.set.area(row) * self.confidence[row]);
        f64::from((weighed.sum::<f64>() / total) as f32)
    }
}

fn union_of(masks: &[Mask], group: &[usize]) -> Mask {
    if let [one] = group {
        return masks[*one].clone();
    }
    let members: Vec<&Mask> = group.iter().map(|&row| &masks[row]).collect();
    mask_sets::union(&members).unwrap_or_else(|| masks[group[0]].clone())
}

fn hull(set: &Detections, group: &[usize]) -> [f64; 4] {
    let joined = geometry::hull(group.iter().map(|&row| set.xyxy[row])).unwrap_or_default();
    match group.len() {
        1 => joined,
        _ => joined.map(|side| f64::from(side as f32)),
    }
}

/// The tightest rectangle, turned as the first member's, around all members.
fn turned_hull(corners: &[Vec<[f64; 2]>], group: &[usize]) -> Vec<[f64; 2]> {
    let first = &corners[group[0]];
    if group.len() == 1 || first.len() != 4 {
        return first.clone();
    }
    let direction = |a: [f64; 2], b: [f64; 2], otherwise: [f64; 2]| {
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length = dx.hypot(dy);
        if length > 0.0 {
            [dx / length, dy / length]
        } else {
            otherwise
        }
    };
    let u = direction(first[0], first[1], [1.0, 0.0]);
    let v = direction(first[1], first[2], [-u[1], u[0]]);
    let mut range = [
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    for [x, y] in group.iter().flat_map(|&row| &corners[row]) {
        let (s, t) = (x * u[0] + y * u[1], x * v[0] + y * v[1]);
        range = [
            range[0].min(s),
            range[1].max(s),
            range[2].min(t),
            range[3].max(t),
        ];
    }
    let point =
        |s: f64, t: f64| [s * u[0] + t * v[0], s * u[1] + t * v[1]].map(|c| f64::from(c as f32));
    let [s1, s2, t1, t2] = range;
    vec![point(s1, t1), point(s2, t1), point(s2, t2), point(s1, t2)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::boxes;

    fn row(x: f64) -> [f64; 4] {
        [x, 0.0, x + 10.0, 10.0]
    }

    #[test]
    fn the_surest_suppresses_its_own_class() {
        let mut set = boxes(&[
            (row(0.0), 0.5),
            (row(2.0), 0.9),
            (row(4.0), 0.6),
            (row(50.0), 0.1),
        ]);
        assert_eq!(*suppressed(&set, 0.3).unwrap().xyxy, [row(2.0), row(50.0)]);
        set.class_id = Some(Arc::new(vec![1, 0, 0, 0]));
        assert_eq!(
            *suppressed(&set, 0.3).unwrap().xyxy,
            [row(0.0), row(2.0), row(50.0)]
        );
        assert!(suppressed(&set, 1.5).is_err());
    }

    #[test]
    fn masks_grow_as_they_merge() {
        let strip = |x: usize| Mask::from_window(60, 20, [x, 0, 10, 10], &[1; 100]);
        let mut set = boxes(&[(row(0.0), 0.9), (row(8.0), 0.8), (row(16.0), 0.7)]);
        set.masks = Some(Arc::new([0, 8, 16].map(strip).to_vec()));
        let one = merged(&set, 0.05).unwrap();
        assert_eq!(*one.xyxy, [[0.0, 0.0, 26.0, 10.0]]);
        assert_eq!(one.masks.unwrap()[0].window(), [0, 0, 26, 10]);
        let boxes_alone = Detections { masks: None, ..set };
        assert_eq!(merged(&boxes_alone, 0.05).unwrap().len(), 2);
    }

    #[test]
    fn turned_boxes_merge_at_the_angle_of_the_surest() {
        let diamond = |x: f64| vec![[x, -5.0], [x + 5.0, 0.0], [x, 5.0], [x - 5.0, 0.0]];
        let hull = turned_hull(&[diamond(0.0), diamond(2.0)], &[0, 1]);
        let want = [[1.0, -6.0], [7.0, 0.0], [1.0, 6.0], [-5.0, 0.0]];
        for (point, want) in hull.iter().flatten().zip(want.iter().flatten()) {
            assert!((point - want).abs() < 1e-5, "{hull:?}");
        }
    }
}
