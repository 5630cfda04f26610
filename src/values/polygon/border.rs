//! Follows the border of a mask that is one part without holes, as most masks of objects are.
//!
//! The points and their order are those of OpenCV's `findContours`, for a tenth of its time: it copies
//! the picture, looks at each pixel of it and builds a tree. A mask of several parts or with holes is
//! left to it.

use super::row_convex;
use crate::values::Mask;

/// The eight neighbours, by turns of 45° counter-clockwise from the right.
const STEPS: [[isize; 2]; 8] = [
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

/// The outline of a mask of one part without holes.
pub(super) struct Outline {
    /// Pixels at which the way along the border turns.
    pub(super) corners: Vec<[i64; 2]>,
    /// Whether the way comes to some pixel more than once.
    pub(super) comes_back: bool,
}

impl Outline {
    /// Whether it is a polygon that touches itself nowhere.
    pub(super) fn is_simple(&self) -> bool {
        self.corners.len() > 2 && !self.comes_back
    }
}

/// The one outline of a mask; `None` if it has several, or nothing is set.
pub(super) fn only_outline(mask: &Mask) -> Option<Outline> {
    // First, as it brings the pixels into the processor's cache in their order.
    let runs = runs(mask);
    if let Some(outline) = row_convex::outline(mask, runs) {
        return Some(outline);
    }
    let walk = Walk::around(mask)?;
    // A run of pixels that begins elsewhere begins at a hole or belongs to another part.
    (walk.beginnings == runs).then_some(walk.outline)
}

/// Number of runs of set pixels in all rows.
fn runs(mask: &Mask) -> usize {
    // So few begin in a part of the picture that a byte holds their number; whole vectors of bytes.
    const PART: usize = 224;
    let [_, _, width, _] = mask.window();
    let bits = mask.window_bits();
    // As if all rows were one: a run that reaches the end of a row goes on in the next.
    let begin = |(before, bits): (&[u8], &[u8])| -> u8 {
        let pairs = bits.iter().zip(before);
        pairs.map(|(bit, before)| bit & !before).sum()
    };
    let rest = bits.get(1..).unwrap_or_default();
    let parts = bits.chunks(PART).zip(rest.chunks(PART));
    let along: usize = parts.map(|part| usize::from(begin(part))).sum();
    let last = bits.iter().skip(width.max(1) - 1).step_by(width.max(1));
    let first = rest.iter().skip(width.max(1) - 1).step_by(width.max(1));
    let cut: usize = last.zip(first).map(|(a, b)| usize::from(a & b)).sum();
    bits.first().map_or(0, |&bit| usize::from(bit)) + along + cut
}

/// How often the border of a part without holes passes a pixel of it with these neighbours: the
/// connectivity number of Yokoi, Toriwaki and Fukumura (1975, "An analysis of topological properties of
/// digitized binary pictures using local features") for parts that hang together by corners too.
fn passes(around: u8) -> u32 {
    const STRAIGHT: u8 = 0b0101_0101;
    let clear = !around;
    (clear & !(clear.rotate_right(1) & clear.rotate_right(2)) & STRAIGHT).count_ones()
}

/// The way along the outer border of the part that the first set pixel belongs to.
struct Walk {
    /// What the way is like, if the part has no holes.
    outline: Outline,
    /// Runs of set pixels that begin on the way.
    beginnings: usize,
}

impl Walk {
    fn around(mask: &Mask) -> Option<Self> {
        let first = mask.window_bits().iter().position(|&bit| bit != 0)?;
        let grid = Grid::of(mask);
        let start = grid.pixel(first);
        let mut walk = Self {
            outline: Outline {
                corners: Vec::with_capacity(64),
                comes_back: false,
            },
            beginnings: 0,
        };
        // The way comes home from the first neighbour clockwise from the left, where nothing is set.
        let around = grid.around(start);
        let clockwise = [3, 2, 1, 0, 7, 6, 5];
        let Some(last) = clockwise.into_iter().find(|&step| around & 1 << step != 0) else {
            walk.outline.corners.push(grid.point(start));
            walk.beginnings = 1;
            return Some(walk);
        };
        let home = grid.neighbour(start, last);
        let (mut at, mut from, mut direction) = (start, last, (last + 4) % 8);
        loop {
            // On to the first neighbour counter-clockwise from where the way came.
            let around = grid.around(at);
            walk.outline.comes_back |= passes(around) > 1;
            let ahead = around.rotate_right(from + 1);
            let passed = ahead.trailing_zeros();
            let step = (from + 1 + passed) % 8;
            let left = (LEFT + 8 - 1 - from) % 8;
            walk.beginnings += usize::from(left < passed);
            if step != direction {
                walk.outline.corners.push(grid.point(at));
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

/// The pixels of a mask's window.
struct Grid<'a> {
    bits: &'a [u8],
    width: usize,
    height: usize,
    /// Place of the first pixel of `bits` in the image.
    origin: [usize; 2],
}

/// A pixel of the window: its column, its row and its place in the bits.
#[derive(Clone, Copy, PartialEq)]
struct Pixel {
    x: usize,
    y: usize,
    place: usize,
}

impl<'a> Grid<'a> {
    fn of(mask: &'a Mask) -> Self {
        let [left, top, width, height] = mask.window();
        Self {
            bits: mask.window_bits(),
            width,
            height,
            origin: [left, top],
        }
    }

    fn pixel(&self, place: usize) -> Pixel {
        let width = self.width.max(1);
        Pixel {
            x: place % width,
            y: place / width,
            place,
        }
    }

    fn neighbour(&self, at: Pixel, step: u32) -> Pixel {
        let [dx, dy] = STEPS[step as usize % 8];
        Pixel {
            x: at.x.wrapping_add_signed(dx),
            y: at.y.wrapping_add_signed(dy),
            place: at.place.wrapping_add_signed(dy * self.width as isize + dx),
        }
    }

    /// Which neighbours of a pixel are set: a bit for each of [`STEPS`].
    fn around(&self, at: Pixel) -> u8 {
        let inside = |place: usize, size: usize| place.wrapping_sub(1) < size.wrapping_sub(2);
        if !inside(at.x, self.width) || !inside(at.y, self.height) {
            return self.around_edge(at);
        }
        let row = |middle: usize| -> [u8; 3] {
            let bits = self.bits.get(middle - 1..middle + 2);
            bits.and_then(|bits| bits.try_into().ok())
                .unwrap_or_default()
        };
        let (above, own, below) = (
            row(at.place - self.width),
            row(at.place),
            row(at.place + self.width),
        );
        own[2]
            | above[2] << 1
            | above[1] << 2
            | above[0] << 3
            | own[0] << 4
            | below[0] << 5
            | below[1] << 6
            | below[2] << 7
    }

    /// The same at the edge of the window, beyond which nothing is set.
    fn around_edge(&self, at: Pixel) -> u8 {
        let bit = |step: u32| {
            let next = self.neighbour(at, step);
            let within = next.x < self.width && next.y < self.height;
            let bit = self.bits.get(next.place).filter(|_| within);
            bit.map_or(0, |bit| bit << step)
        };
        (0..8).map(bit).fold(0, |all, bit| all | bit)
    }

    /// A pixel's place in the image.
    fn point(&self, at: Pixel) -> [i64; 2] {
        let [left, top] = self.origin;
        [(left + at.x) as i64, (top + at.y) as i64]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{all_outlines, filled, simple::is_simple};
    use super::*;
    use proptest::prelude::*;

    fn agree(mask: &Mask) -> Result<bool, TestCaseError> {
        let all = all_outlines(mask);
        let only = only_outline(mask);
        match &only {
            Some(outline) => {
                prop_assert_eq!(std::slice::from_ref(&outline.corners), all.as_slice());
                prop_assert_eq!(outline.is_simple(), is_simple(&outline.corners));
            }
            None => prop_assert_ne!(all.len(), 1),
        }
        Ok(only.is_some())
    }

    #[test]
    fn parts_and_holes_are_left_to_others() {
        let ring = [1, 1, 1, 1, 0, 1, 1, 1, 1];
        let only = |width, height, bits: &[u8]| {
            only_outline(&Mask::from_dense(width, height, bits)).map(|outline| outline.corners)
        };
        assert_eq!(only(3, 3, &ring), None);
        assert_eq!(only(3, 1, &[1, 0, 1]), None);
        assert_eq!(only(3, 3, &[0; 9]), None);
        let diagonal = only(2, 2, &[1, 0, 0, 1]);
        assert_eq!(diagonal, Some(vec![[0, 0], [1, 1]]));
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
        fn outlines_are_those_of_opencv_for_rows_of_one_run(
            ends in prop::collection::vec([0usize..9, 0usize..9], 1..9),
        ) {
            let mut data = vec![0u8; 9 * ends.len()];
            for (row, [a, b]) in data.chunks_exact_mut(9).zip(&ends) {
                row[*a.min(b)..=*a.max(b)].fill(1);
            }
            let mask = Mask::from_dense(9, ends.len(), &data);
            let touch = |a: &[usize; 2], b: &[usize; 2]| {
                a[0].min(a[1]) <= b[0].max(b[1]) + 1 && b[0].min(b[1]) <= a[0].max(a[1]) + 1
            };
            let whole = ends.windows(2).all(|pair| touch(&pair[0], &pair[1]));
            prop_assert_eq!(row_convex::outline(&mask, runs(&mask)).is_some(), whole);
            agree(&mask)?;
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
