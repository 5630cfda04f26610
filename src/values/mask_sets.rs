//! Masks together: union, intersection, overlap. All masks of one call have one size.

use super::Mask;

/// Everything that one of the masks covers; `None` for no masks.
pub fn union(masks: &[&Mask]) -> Option<Mask> {
    let first = masks.first()?;
    let windows = || masks.iter().map(|m| m.window()).filter(|w| w[2] > 0);
    let x1 = windows().map(|w| w[0]).min();
    let y1 = windows().map(|w| w[1]).min();
    let (Some(x1), Some(y1)) = (x1, y1) else {
        return Some(Mask::empty(first.width(), first.height()));
    };
    let width = windows().map(|w| w[0] + w[2]).max().unwrap_or(x1) - x1;
    let height = windows().map(|w| w[1] + w[3]).max().unwrap_or(y1) - y1;
    let mut bits = vec![0; width * height];
    for mask in masks {
        let [wx, wy, ww, _] = mask.window();
        for (y, row) in mask.window_bits().chunks_exact(ww.max(1)).enumerate() {
            let start = (wy - y1 + y) * width + wx - x1;
            for (to, from) in bits[start..start + ww].iter_mut().zip(row) {
                *to |= from;
            }
        }
    }
    let window = [x1, y1, width, height];
    Some(Mask::from_window(
        first.width(),
        first.height(),
        window,
        &bits,
    ))
}

/// What all masks cover; `None` for no masks.
pub fn intersection(masks: &[&Mask]) -> Option<Mask> {
    let (first, others) = masks.split_first()?;
    let [wx, wy, ww, _] = first.window();
    let mut bits = first.window_bits().to_vec();
    for (i, bit) in bits.iter_mut().enumerate().filter(|(_, bit)| **bit != 0) {
        let (x, y) = ((wx + i % ww) as i64, (wy + i / ww) as i64);
        *bit = u8::from(others.iter().all(|mask| mask.get(x, y)));
    }
    let window = first.window();
    Some(Mask::from_window(
        first.width(),
        first.height(),
        window,
        &bits,
    ))
}

/// Intersection over union; 0 if neither covers anything.
pub fn iou(a: &Mask, b: &Mask) -> f64 {
    match a.intersection(b) {
        0 => 0.0,
        shared => shared as f64 / (a.area() + b.area() - shared) as f64,
    }
}

/// The box of what a mask covers, its last pixels being its far sides; zeros if it covers nothing.
pub fn inner_box(mask: &Mask) -> [f64; 4] {
    let [x, y, width, height] = mask.window().map(|v| v as f64);
    match width > 0.0 {
        true => [x, y, x + width - 1.0, y + height - 1.0],
        false => [0.0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(x: usize, y: usize, side: usize) -> Mask {
        Mask::from_window(20, 20, [x, y, side, side], &vec![1; side * side])
    }

    #[test]
    fn masks_join_meet_and_overlap() {
        let (a, b) = (square(2, 2, 4), square(4, 4, 4));
        let joined = union(&[&a, &b]).unwrap();
        assert_eq!((joined.window(), joined.area()), ([2, 2, 6, 6], 28));
        assert_eq!(intersection(&[&a, &b]).unwrap(), square(4, 4, 2));
        assert_eq!(iou(&a, &b), 4.0 / 28.0);
        assert_eq!(inner_box(&a), [2.0, 2.0, 5.0, 5.0]);
    }

    #[test]
    fn empty_masks_are_ordinary() {
        let (a, none) = (square(2, 2, 4), Mask::empty(20, 20));
        assert_eq!(union(&[&none, &a]).unwrap(), a);
        assert_eq!(union(&[&none]).unwrap(), none);
        assert_eq!(intersection(&[&a, &none]).unwrap(), none);
        assert_eq!((iou(&none, &none), inner_box(&none)), (0.0, [0.0; 4]));
        assert!(union(&[]).is_none() && intersection(&[]).is_none());
    }
}
