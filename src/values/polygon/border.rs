//! Follows the border of a mask that is one part without holes, as most masks of objects are.
//!
//! The points and their order are those of OpenCV's `findContours`, for a tenth of its time: it copies
//! the picture, looks at each pixel of it and builds a tree. A mask of several parts or with holes is
//! left to it.

use crate::values::Mask;

/// The eight neighbours, by turns of 45° counter-clockwise from the right.
const STEPS: [[i64; 2]; 8] = [
    [1, 0],
    [1, -1],
    [0, -1],
    [-1, -1],
    [-1, 0],
    [-1, 1],
    [0, 1],
    [1, 1],
];

/// The place of the left neighbour in [`STEPS`].
const LEFT: usize = 4;

/// The one outline of a mask; `None` if it has several, or nothing is set.
pub(super) fn only_outline(mask: &Mask) -> Option<Vec<[i64; 2]>> {
    let walk = Walk::around(mask)?;
    // A run of pixels that begins elsewhere begins at a hole or belongs to another part.
    (walk.beginnings == runs(mask)).then_some(walk.corners)
}

/// Number of runs of set pixels in all rows.
fn runs(mask: &Mask) -> usize {
    let width = mask.window()[2].max(1);
    let begin = |row: &[u8]| -> usize {
        let pairs = row.iter().zip(&row[1..]);
        let inner: u32 = pairs.map(|(before, bit)| u32::from(bit & !before)).sum();
        usize::from(row[0]) + inner as usize
    };
    mask.window_bits().chunks_exact(width).map(begin).sum()
}

/// The way along the outer border of the part that the first set pixel belongs to.
struct Walk {
    /// Pixels at which the way turns.
    corners: Vec<[i64; 2]>,
    /// Runs of set pixels that begin on the way.
    beginnings: usize,
}

impl Walk {
    fn around(mask: &Mask) -> Option<Self> {
        let grid = Grid::of(mask);
        let first = mask.window_bits().iter().position(|&bit| bit != 0)?;
        let start = [first as i64, 0];
        let mut walk = Self {
            corners: Vec::with_capacity(64),
            beginnings: 0,
        };
        // The way comes home from the first neighbour clockwise from the left, where nothing is set.
        let clockwise = [3, 2, 1, 0, 7, 6, 5];
        let Some(last) = clockwise.into_iter().find(|&s| grid.has(start, s)) else {
            walk.corners.push(grid.place(start));
            walk.beginnings = 1;
            return Some(walk);
        };
        let home = grid.neighbour(start, last);
        let (mut point, mut from, mut direction) = (start, last, (last + 4) % 8);
        loop {
            let mut step = (from + 1) % 8;
            while !grid.has(point, step) {
                walk.beginnings += usize::from(step == LEFT);
                step = (step + 1) % 8;
            }
            if step != direction {
                walk.corners.push(grid.place(point));
                direction = step;
            }
            let next = grid.neighbour(point, step);
            if next == start && point == home {
                return Some(walk);
            }
            (point, from) = (next, (step + 4) % 8);
        }
    }
}

/// The pixels of a mask's window.
struct Grid<'a> {
    bits: &'a [u8],
    left: i64,
    top: i64,
    width: i64,
    height: i64,
}

impl<'a> Grid<'a> {
    fn of(mask: &'a Mask) -> Self {
        let [left, top, width, height] = mask.window().map(|side| side as i64);
        let bits = mask.window_bits();
        Self {
            bits,
            left,
            top,
            width,
            height,
        }
    }

    fn neighbour(&self, [x, y]: [i64; 2], step: usize) -> [i64; 2] {
        [x + STEPS[step][0], y + STEPS[step][1]]
    }

    /// Whether a neighbour is set.
    fn has(&self, point: [i64; 2], step: usize) -> bool {
        let [x, y] = self.neighbour(point, step);
        let inside = (0..self.width).contains(&x) && (0..self.height).contains(&y);
        inside && self.bits[(y * self.width + x) as usize] != 0
    }

    /// A point of the window in the image.
    fn place(&self, [x, y]: [i64; 2]) -> [i64; 2] {
        [self.left + x, self.top + y]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{all_outlines, filled};
    use super::*;
    use proptest::prelude::*;

    fn agree(mask: &Mask) -> Result<bool, TestCaseError> {
        let all = all_outlines(mask);
        let only = only_outline(mask);
        match &only {
            Some(line) => prop_assert_eq!(std::slice::from_ref(line), all.as_slice()),
            None => prop_assert_ne!(all.len(), 1),
        }
        Ok(only.is_some())
    }

    #[test]
    fn parts_and_holes_are_left_to_others() {
        let ring = [1, 1, 1, 1, 0, 1, 1, 1, 1];
        assert_eq!(only_outline(&Mask::from_dense(3, 3, &ring)), None);
        assert_eq!(only_outline(&Mask::from_dense(3, 1, &[1, 0, 1])), None);
        assert_eq!(only_outline(&Mask::empty(3, 3)), None);
        let diagonal = Mask::from_dense(2, 2, &[1, 0, 0, 1]);
        assert_eq!(only_outline(&diagonal), Some(vec![[0, 0], [1, 1]]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn outlines_are_those_of_opencv_for_any_pixels(
            width in 1usize..7,
            bits in prop::collection::vec(prop::bool::weighted(0.7), 36),
        ) {
            let height = bits.len() / width;
            let data: Vec<u8> = bits[..width * height].iter().map(|&b| b.into()).collect();
            agree(&Mask::from_dense(width, height, &data))?;
        }

        #[test]
        fn outlines_are_those_of_opencv_for_shapes(
            points in prop::collection::vec([0i32..60, 0i32..50], 3..9),
        ) {
            let mask = filled(&points, 60, 50);
            agree(&mask)?;
        }
    }
}
