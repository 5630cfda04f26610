//! Axis-parallel boxes `[x_min, y_min, x_max, y_max]`: how far two overlap, and the box around several.

/// Intersection over union in 32 bits, as `supervision` keeps it and thresholds are compared with it.
/// Computed as [`iou_in_full`].
pub fn iou(a: &[f64; 4], b: &[f64; 4]) -> f32 {
    iou_in_full(a, b) as f32
}

/// Intersection over union, from 0 to 1; 0 where the union is empty or a coordinate is not a number.
pub fn iou_in_full(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    // Most pairs of a crowd lie apart.
    if a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1] {
        return 0.0;
    }
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let shared = width * height;
    let union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared;
    if union > 0.0 { shared / union } else { 0.0 }
}

/// The smallest box that holds all of these; `None` for none.
pub fn hull(boxes: impl IntoIterator<Item = [f64; 4]>) -> Option<[f64; 4]> {
    boxes.into_iter().reduce(|a, b| {
        [
            a[0].min(b[0]),
            a[1].min(b[1]),
            a[2].max(b[2]),
            a[3].max(b[3]),
        ]
    })
}

/// The smallest box that holds these points `[x, y]`; `None` for none.
pub fn bounds(points: impl IntoIterator<Item = [f64; 2]>) -> Option<[f64; 4]> {
    hull(points.into_iter().map(|[x, y]| [x, y, x, y]))
}

/// Boxes in the order of their left sides, so that those near another are found without a look at all.
pub struct BoxIndex {
    /// Left sides with the places of their boxes, from left to right.
    lefts: Vec<(f64, usize)>,
    widest: f64,
}

impl BoxIndex {
    /// An index over boxes; takes as long as to sort them.
    pub fn new(boxes: &[[f64; 4]]) -> Self {
        let mut lefts: Vec<(f64, usize)> = boxes.iter().map(|b| b[0]).zip(0..).collect();
        lefts.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self {
            lefts,
            widest: boxes.iter().map(|b| b[2] - b[0]).fold(0.0, f64::max),
        }
    }

    /// Places, in no order, of all boxes that overlap a box (those with an [`iou`] above 0) and of some
    /// that do not.
    pub fn near(&self, [x1, _, x2, _]: [f64; 4]) -> impl Iterator<Item = usize> + '_ {
        // The margin is for rounding.
        let low = x1 - self.widest - (self.widest + x1.abs()) * 1e-9;
        let place = |x: f64| {
            self.lefts
                .partition_point(|(left, _)| left.total_cmp(&x).is_lt())
        };
        let (from, to) = (place(low), place(x2));
        self.lefts[from..to.max(from)].iter().map(|(_, i)| *i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_boxes_that_overlap_are_near(
            boxes in prop::collection::vec((-9.0..9.0f64, -9.0..9.0f64, 0.0..4.0f64), 0..20),
            (x, y, side) in (-9.0..9.0f64, -9.0..9.0f64, 0.0..4.0f64),
        ) {
            let boxes: Vec<_> = boxes.iter().map(|(x, y, s)| [*x, *y, x + s, y + s]).collect();
            let own = [x, y, x + side, y + side];
            let near: Vec<usize> = BoxIndex::new(&boxes).near(own).collect();
            for (i, other) in boxes.iter().enumerate() {
                prop_assert!(iou(&own, other) == 0.0 || near.contains(&i), "{:?}", other);
            }
        }
    }

    #[test]
    fn boxes_without_a_place_are_near_nothing_that_they_overlap() {
        let nowhere = [f64::NAN; 4];
        let all = BoxIndex::new(&[[0.0, 0.0, 2.0, 2.0], nowhere, [-f64::NAN; 4]]);
        assert!(all.near([1.0, 1.0, 3.0, 3.0]).any(|i| i == 0));
        assert!(
            all.near(nowhere).all(|i| i < 3) && BoxIndex::new(&[]).near(nowhere).next().is_none()
        );
    }

    #[test]
    fn a_box_around_boxes_or_points_is_the_smallest_that_holds_them() {
        let boxes = [[0.0, 5.0, 2.0, 6.0], [1.0, 2.0, 9.0, 3.0]];
        assert_eq!(hull(boxes), Some([0.0, 2.0, 9.0, 6.0]));
        assert_eq!(
            bounds([[4.0, 1.0], [-2.0, 3.0]]),
            Some([-2.0, 1.0, 4.0, 3.0])
        );
        assert_eq!((hull([]), bounds([])), (None, None));
    }

    #[test]
    fn overlap_is_shared_over_joint_area() {
        assert_eq!(iou(&[0.0, 0.0, 2.0, 2.0], &[1.0, 0.0, 3.0, 2.0]), 1.0 / 3.0);
        assert_eq!(iou(&[0.0, 0.0, 2.0, 2.0], &[2.0, 0.0, 3.0, 2.0]), 0.0);
        assert_eq!(iou(&[0.0; 4], &[0.0; 4]), 0.0);
        assert_eq!(iou(&[f64::NAN, 0.0, 1.0, 1.0], &[0.0, 0.0, 1.0, 1.0]), 0.0);
    }
}
