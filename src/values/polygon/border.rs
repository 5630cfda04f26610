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
const LEFT: u32 = 4;

/// The one outline of a mask; `None` if it has several, or nothing is set.
pub(super) fn only_outline(mask: &Mask) -> Option<Vec<[i64; 2]>> {
    let walk = Walk::around(mask)?;
    // A run of pixels that begins elsewhere begins at a hole or belongs to another part.
    (walk.beginnings == runs(mask)).then_some(walk.corners)
}

/// Number of runs of set pixels in all rows.
fn runs(mask: &Mask) -> usize {
    // So many at most begin in a part of a row that a byte holds their number.
    const PART: usize = 255;
    let [_, _, width, _] = mask.window();
    let rows = mask.window_bits().chunks_exact(width.max(1));
    let inner = |row: &[u8]| -> usize {
        let parts = row.chunks(PART).zip(row[1..].chunks(PART));
        let begin = |(before, bits): (&[u8], &[u8])| -> u8 {
            bits.iter()
                .zip(before)
                .map(|(bit, before)| bit & !before)
                .sum()
        };
        parts.map(|part| usize::from(begin(part))).sum()
    };
    rows.map(|row| usize::from(row[0]) + inner(row)).sum()
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
        let first = mask.window_bits().iter().position(|&bit| bit != 0)?;
        let grid = Grid::of(mask);
        let start = grid.width + 1 + first;
        let mut walk = Self {
            corners: Vec::with_capacity(64),
            beginnings: 0,
        };
        // The way comes home from the first neighbour clockwise from the left, where nothing is set.
        let around = grid.around(start);
        let clockwise = [3, 2, 1, 0, 7, 6, 5];
        let Some(last) = clockwise.into_iter().find(|&step| around & 1 << step != 0) else {
            walk.corners.push(grid.point(start));
            walk.beginnings = 1;
            return Some(walk);
        };
        let home = grid.neighbour(start, last);
        let (mut at, mut from, mut direction) = (start, last, (last + 4) % 8);
        loop {
            // On to the first neighbour counter-clockwise from where the way came.
            let ahead = grid.around(at).rotate_right(from + 1);
            let passed = ahead.trailing_zeros();
            let step = (from + 1 + passed) % 8;
            let left = (LEFT + 8 - 1 - from) % 8;
            walk.beginnings += usize::from(left < passed);
            if step != direction {
                walk.corners.push(grid.point(at));
                direction = step;
            }
            let next = grid.neighbour(at, step);
            if next == start && at == home {
                return Some(walk);
            }
            (at, from) = (next, (step + 4) % 8);
        }
    }
}

/// The pixels of a mask's window with a clear frame around them.
struct Grid {
    bits: Vec<u8>,
    width: usize,
    /// How far in `bits` the neighbours lie, by [`STEPS`].
    strides: [isize; 8],
    /// Place of the first pixel of `bits` in the image.
    origin: [i64; 2],
}

impl Grid {
    fn of(mask: &Mask) -> Self {
        let [left, top, inner, height] = mask.window();
        let width = inner + 2;
        let mut bits = vec![0; width * (height + 2)];
        let rows = bits.chunks_exact_mut(width).skip(1);
        for (row, inside) in rows.zip(mask.window_bits().chunks_exact(inner.max(1))) {
            row[1..=inner].copy_from_slice(inside);
        }
        Self {
            bits,
            width,
            strides: STEPS.map(|[dx, dy]| dy as isize * width as isize + dx as isize),
            origin: [left as i64 - 1, top as i64 - 1],
        }
    }

    fn neighbour(&self, at: usize, step: u32) -> usize {
        at.wrapping_add_signed(self.strides[step as usize % 8])
    }

    /// Which neighbours of a pixel of the mask are set: a bit for each of [`STEPS`].
    fn around(&self, at: usize) -> u8 {
        let row = |middle: usize| -> [u8; 3] {
            let bits = self.bits.get(middle - 1..middle + 2);
            bits.and_then(|bits| bits.try_into().ok())
                .unwrap_or_default()
        };
        let (above, own, below) = (row(at - self.width), row(at), row(at + self.width));
        own[2]
            | above[2] << 1
            | above[1] << 2
            | above[0] << 3
            | own[0] << 4
            | below[0] << 5
            | below[1] << 6
            | below[2] << 7
    }

    /// A pixel's place in the image.
    fn point(&self, at: usize) -> [i64; 2] {
        let [left, top] = self.origin;
        [
            left + (at % self.width) as i64,
            top + (at / self.width) as i64,
        ]
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
