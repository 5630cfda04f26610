//! Overlap of axis-parallel boxes `[x_min, y_min, x_max, y_max]`.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_shared_over_joint_area() {
        assert_eq!(iou(&[0.0, 0.0, 2.0, 2.0], &[1.0, 0.0, 3.0, 2.0]), 1.0 / 3.0);
        assert_eq!(iou(&[0.0, 0.0, 2.0, 2.0], &[2.0, 0.0, 3.0, 2.0]), 0.0);
        assert_eq!(iou(&[0.0; 4], &[0.0; 4]), 0.0);
        assert_eq!(iou(&[f64::NAN, 0.0, 1.0, 1.0], &[0.0, 0.0, 1.0, 1.0]), 0.0);
    }
}
