//! Fills a polygon that leaves its canvas as OpenCV 4.10 and later do.
//!
//! There a side is cut at the border of the canvas first, and the scan lines meet the side through its
//! cut ends; earlier releases follow the whole side, which gives other pixels near the border. A
//! polygon that stays inside is filled alike by all of them.

use opencv::core::{Mat, Point, Scalar, Size};
use opencv::imgproc::{self, LINE_8};
use smallvec::SmallVec;

/// One pixel in the fixed-point numbers that places on a side are counted in.
const ONE: i64 = 1 << 16;

/// Where scan lines cross the sides, by row.
type Crossings = Vec<SmallVec<[i64; 4]>>;

/// Draws the outline and fills the inside with ones; `bits` has a byte a pixel, row by row.
///
/// # Errors
/// If OpenCV cannot draw on a canvas of this size.
pub(crate) fn fill(bits: &mut [u8], width: usize, points: &[[i32; 2]]) -> opencv::Result<()> {
    let height = bits.len() / width.max(1);
    let size = Size::new(width as i32, height as i32);
    let mut rows: Crossings = vec![SmallVec::new(); height];
    let mut canvas = Mat::new_rows_cols_with_bytes_mut::<u8>(size.height, size.width, bits)?;
    let Some(mut from) = points.last().copied() else {
        return Ok(());
    };
    for &to in points {
        let [a, b] = [from, to].map(|[x, y]| Point::new(x, y));
        imgproc::line(&mut canvas, a, b, Scalar::all(1.0), 1, LINE_8, 0)?;
        if let Some(side) = Side::between(a, b, size)? {
            side.cross(&mut rows);
        }
        from = to;
    }
    drop(canvas);
    for (row, crossings) in bits.chunks_exact_mut(width).zip(&mut rows) {
        crossings.sort_unstable();
        for pair in crossings.chunks_exact(2) {
            let first = (pair[0] + ONE - 1).div_euclid(ONE).max(0);
            let end = (pair[1].div_euclid(ONE) + 1).min(width as i64);
            if first < end {
                row[first as usize..end as usize].fill(1);
            }
        }
    }
    Ok(())
}

/// A side that scan lines cross: the row it begins in, the row behind its end, its place in the first
/// and the step to the next.
struct Side {
    first: i64,
    end: i64,
    x: i64,
    step: i64,
}

impl Side {
    /// `None` for a side along a row.
    fn between(a: Point, b: Point, size: Size) -> opencv::Result<Option<Self>> {
        if a.y == b.y {
            return Ok(None);
        }
        let inside = |p: Point| (0..size.width).contains(&p.x) && (0..size.height).contains(&p.y);
        let (mut near, mut far) = (a, b);
        if !(inside(a) && inside(b)) {
            imgproc::clip_line_size(size, &mut near, &mut far)?;
            if near.y == far.y {
                // What is left lies in one row: the side goes straight down instead.
                (near.y, far.y) = (a.y, b.y);
            }
        }
        let fixed = |p: Point| i64::from(p.x) * ONE;
        let step = (fixed(far) - fixed(near)) / (i64::from(far.y) - i64::from(near.y));
        let (top, bottom, cut) = match a.y < b.y {
            true => (a, b, near),
            false => (b, a, far),
        };
        let rows = i64::from(top.y) - i64::from(cut.y);
        Ok(Some(Self {
            first: top.y.into(),
            end: bottom.y.into(),
            x: fixed(cut).wrapping_add(rows.wrapping_mul(step)),
            step,
        }))
    }

    fn cross(&self, rows: &mut Crossings) {
        let first = self.first.max(0);
        let end = self.end.min(rows.len() as i64);
        let skipped = (first - self.first).wrapping_mul(self.step);
        let mut x = self.x.wrapping_add(skipped);
        for row in first..end {
            rows[row as usize].push(x);
            x = x.wrapping_add(self.step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(points: &[[i32; 2]], width: usize, height: usize) -> Vec<String> {
        let mut bits = vec![0; width * height];
        fill(&mut bits, width, points).unwrap();
        let text = |row: &[u8]| {
            row.iter()
                .map(|bit| if *bit > 0 { '#' } else { '.' })
                .collect()
        };
        bits.chunks_exact(width).map(text).collect()
    }

    #[test]
    fn sides_are_cut_at_the_border_before_they_are_followed() {
        // The pixels are those of OpenCV 4.12.
        assert_eq!(
            rows(&[[18, 14], [4, 30], [-6, 1], [9, -13]], 16, 12),
            [
                "##############..",
                "##############..",
                "###############.",
                "###############.",
                "###############.",
                "################",
                "################",
                "################",
                "################",
                "################",
                "################",
                "################",
            ]
        );
        assert_eq!(
            rows(&[[-1, 28], [-2, 33], [14, 3]], 9, 13),
            [
                ".........",
                ".........",
                ".........",
                "........#",
                "........#",
                "........#",
                "........#",
                "........#",
                "........#",
                "........#",
                "........#",
                "........#",
                "........#",
            ]
        );
        assert_eq!(
            rows(&[[5, -4], [25, 5], [5, 30]], 12, 9),
            [
                ".....#######",
                ".....#######",
                ".....#######",
                ".....#######",
                ".....#######",
                ".....#######",
                ".....#######",
                ".....#######",
                ".....#######",
            ]
        );
    }

    #[test]
    fn far_away_corners_are_no_trouble() {
        let all = rows(
            &[[i32::MIN, i32::MIN], [i32::MAX, i32::MIN], [0, i32::MAX]],
            5,
            4,
        );
        assert_eq!(all.len(), 4);
    }
}
