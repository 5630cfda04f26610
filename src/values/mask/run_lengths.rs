//! Masks as COCO run lengths: column by column, clear pixels first.

use std::sync::Arc;

use super::Mask;

impl Mask {
    /// Lengths of the runs of clear and set pixels in column-major order, clear first: the
    /// uncompressed COCO run-length form.
    pub fn rle_counts(&self) -> Vec<u32> {
        let total = self.width * self.height;
        let mut counts = Vec::new();
        let mut at = 0;
        for position in self.column_major_changes() {
            counts.push((position - at) as u32);
            at = position;
        }
        if at < total || total == 0 {
            counts.push((total - at) as u32);
        }
        counts
    }

    /// Places in column-major order where a pixel differs from the one before, the first pixel
    /// from a clear one.
    fn column_major_changes(&self) -> Vec<usize> {
        let [wx, wy, ww, wh] = self.window;
        // Changes down each column, found row by row; the row below the window is clear.
        let clear = vec![0; ww];
        let mut changes: Vec<Vec<usize>> = vec![Vec::new(); ww];
        let mut above = clear.as_slice();
        for y in 0..=wh {
            let row = self.bits.get(y * ww..(y + 1) * ww).unwrap_or(&clear);
            for_each_difference(above, row, |x| changes[x].push(wy + y));
            above = row;
        }
        let mut places: Vec<usize> = Vec::new();
        for (x, column) in changes.iter().enumerate() {
            for y in column {
                let place = (wx + x) * self.height + y;
                // A run that reaches the bottom goes on at the top of the next column.
                if places.last() == Some(&place) {
                    places.pop();
                } else {
                    places.push(place);
                }
            }
        }
        places
    }

    /// A mask from COCO run lengths (column-major, clear first). `None` if their sum is not
    /// `width * height`. Takes memory for the set pixels' rectangle only.
    pub fn from_rle_counts(width: usize, height: usize, counts: &[u32]) -> Option<Self> {
        let total: u64 = counts.iter().map(|&c| u64::from(c)).sum();
        if total != (width as u64).checked_mul(height as u64)? {
            return None;
        }
        let (mut x1, mut x2, mut y1, mut y2) = (usize::MAX, 0, usize::MAX, 0);
        for run in column_runs(height, counts) {
            (x1, x2) = (x1.min(run.x), run.x + 1);
            (y1, y2) = (y1.min(run.top), y2.max(run.bottom));
        }
        if x2 == 0 {
            return Some(Self::empty(width, height));
        }
        let (w, h) = (x2 - x1, y2 - y1);
        // First only where pixels change down the columns, then summed up row by row.
        let mut bits = vec![0u8; w * h];
        for run in column_runs(height, counts) {
            bits[(run.top - y1) * w + run.x - x1] ^= 1;
            if run.bottom < y2 {
                bits[(run.bottom - y1) * w + run.x - x1] ^= 1;
            }
        }
        for y in 1..h {
            let (before, rest) = bits.split_at_mut(y * w);
            for (bit, above) in rest[..w].iter_mut().zip(&before[(y - 1) * w..]) {
                *bit ^= above;
            }
        }
        Some(Self {
            width,
            height,
            window: [x1, y1, w, h],
            bits: Arc::new(bits),
        })
    }
}

/// Set pixels of one column, from `top` to before `bottom`.
struct ColumnRun {
    x: usize,
    top: usize,
    bottom: usize,
}

/// The set pixels of column-major run lengths, column by column.
fn column_runs(height: usize, counts: &[u32]) -> impl Iterator<Item = ColumnRun> {
    let mut end = 0usize;
    let runs = counts.iter().map(move |&n| {
        let start = end;
        end += n as usize;
        (start, end)
    });
    let set = runs.skip(1).step_by(2).filter(|(start, end)| start < end);
    set.flat_map(move |(start, end)| {
        (start / height..=(end - 1) / height).map(move |x| ColumnRun {
            x,
            top: start.saturating_sub(x * height),
            bottom: (end - x * height).min(height),
        })
    })
}

/// Calls `found` with each place where two rows differ, eight bytes at a time where they do not.
fn for_each_difference(a: &[u8], b: &[u8], mut found: impl FnMut(usize)) {
    let mut at = 0;
    for (left, right) in a.chunks(8).zip(b.chunks(8)) {
        if left != right {
            for (i, (l, r)) in left.iter().zip(right).enumerate() {
                if l != r {
                    found(at + i);
                }
            }
        }
        at += 8;
    }
}

/// The COCO text form of run lengths (`pycocotools`' LEB128-like code, six bits a character).
pub fn compress_counts(counts: &[u32]) -> String {
    let mut text = String::new();
    for (i, &count) in counts.iter().enumerate() {
        let mut x = i64::from(count) - if i > 2 { i64::from(counts[i - 2]) } else { 0 };
        loop {
            let mut c = (x & 0x1f) as u8;
            x >>= 5;
            let more = if c & 0x10 != 0 { x != -1 } else { x != 0 };
            if more {
                c |= 0x20;
            }
            text.push(char::from(c + 48));
            if !more {
                break;
            }
        }
    }
    text
}

/// Run lengths from their COCO text form; `None` if the text is not one.
pub fn decompress_counts(text: &str) -> Option<Vec<u32>> {
    let mut counts: Vec<i64> = Vec::new();
    let mut bytes = text.bytes();
    while let Some(first) = bytes.next() {
        let (mut x, mut shift, mut byte) = (0i64, 0u32, first);
        loop {
            let c = i64::from(byte.checked_sub(48)?);
            if c > 63 || shift > 55 {
                return None;
            }
            x |= (c & 0x1f) << shift;
            shift += 5;
            if c & 0x20 == 0 {
                if c & 0x10 != 0 {
                    x |= -1 << shift;
                }
                break;
            }
            byte = bytes.next()?;
        }
        if counts.len() > 2 {
            x = x.checked_add(counts[counts.len() - 2])?;
        }
        counts.push(x);
    }
    counts.into_iter().map(|c| u32::try_from(c).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::l_shape;
    use super::*;

    #[test]
    fn run_lengths_round_trip_through_text() {
        let m = l_shape();
        let counts = m.rle_counts();
        assert_eq!(counts, [6, 3, 4, 1, 4, 1, 11]);
        assert_eq!(
            decompress_counts(&compress_counts(&counts)),
            Some(counts.clone())
        );
        assert_eq!(Mask::from_rle_counts(6, 5, &counts), Some(m));
        assert_eq!(Mask::from_rle_counts(6, 5, &[3]), None);
        assert_eq!(decompress_counts("~"), None);
    }

    #[test]
    fn run_lengths_at_the_edges_are_those_of_pycocotools() {
        let dense = |w: usize, h: usize, on: &[(usize, usize)]| {
            let mut data = vec![0; w * h];
            for (x, y) in on {
                data[y * w + x] = 1;
            }
            Mask::from_dense(w, h, &data)
        };
        for (mask, counts) in [
            (dense(3, 2, &[]), vec![6]),
            (Mask::from_dense(3, 2, &[1; 6]), vec![0, 6]),
            (dense(3, 2, &[(0, 0)]), vec![0, 1, 5]),
            (dense(3, 2, &[(2, 1)]), vec![5, 1]),
            (dense(3, 2, &[(0, 1), (1, 0)]), vec![1, 2, 3]),
            (
                dense(3, 2, &[(0, 1), (1, 1), (1, 0), (2, 1)]),
                vec![1, 3, 1, 1],
            ),
            (Mask::empty(0, 0), vec![0]),
        ] {
            assert_eq!(mask.rle_counts(), counts);
            let [w, h] = [mask.width(), mask.height()];
            assert_eq!(Mask::from_rle_counts(w, h, &counts), Some(mask));
        }
        let with_empty_runs = Mask::from_rle_counts(3, 2, &[1, 0, 1, 2, 0, 1, 1]);
        assert_eq!(
            with_empty_runs,
            Some(dense(3, 2, &[(1, 0), (1, 1), (2, 0)]))
        );
        assert_eq!(Mask::from_rle_counts(1 << 40, 1 << 40, &[5]), None);
    }
}
