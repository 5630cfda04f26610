//! Binary masks, stored as the rectangle that holds all set pixels.
//!
//! A mask of a person in a full HD frame thus takes the person's box and not two megabytes. All
//! functions speak of the whole image; the window is not visible outside.

mod run_lengths;

use std::sync::Arc;

use super::Matrix;
pub use run_lengths::{compress_counts, decompress_counts};

/// So many bits at most have a sum that a byte holds: sums of bytes are the fastest.
const FULL: usize = 255;

/// A binary mask of the size of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    height: usize,
    /// Window `x, y, width, height` outside which nothing is set.
    window: [usize; 4],
    /// `window.width * window.height` bytes, 0 or 1.
    bits: Arc<Vec<u8>>,
}

impl Mask {
    /// A mask with nothing set.
    pub fn empty(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            window: [0; 4],
            bits: Arc::new(Vec::new()),
        }
    }

    /// A mask from one byte per pixel, set where not zero. `data` has `width * height` bytes.
    pub fn from_dense(width: usize, height: usize, data: &[u8]) -> Self {
        debug_assert_eq!(data.len(), width * height);
        Self::from_window(width, height, [0, 0, width, height], data)
    }

    /// A mask from the bytes of a window `[x, y, width, height]` inside the image; nothing is set
    /// outside the window.
    pub fn from_window(width: usize, height: usize, window: [usize; 4], data: &[u8]) -> Self {
        let [wx, wy, ww, wh] = window;
        debug_assert!(wx + ww <= width && wy + wh <= height && data.len() == ww * wh);
        let rows = data.chunks_exact(ww.max(1));
        // Which columns have a set pixel: found for all columns of a row at once.
        let mut columns = vec![0; ww];
        let (mut y1, mut y2) = (wh, 0);
        for (y, row) in rows.enumerate() {
            if row.iter().fold(0, |all, b| all | b) != 0 {
                y1 = y1.min(y);
                y2 = y + 1;
            }
            for (column, b) in columns.iter_mut().zip(row) {
                *column |= b;
            }
        }
        let Some(x1) = columns.iter().position(|&b| b != 0) else {
            return Self::empty(width, height);
        };
        let x2 = columns
            .iter()
            .rposition(|&b| b != 0)
            .map_or(ww, |last| last + 1);
        let mut bits = vec![0; (x2 - x1) * (y2 - y1)];
        for (own, y) in bits.chunks_exact_mut(x2 - x1).zip(y1..) {
            for (bit, b) in own.iter_mut().zip(&data[y * ww + x1..]) {
                *bit = u8::from(*b != 0);
            }
        }
        Self {
            width,
            height,
            window: [wx + x1, wy + y1, x2 - x1, y2 - y1],
            bits: Arc::new(bits),
        }
    }

    /// Width of the image in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height of the image in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The smallest rectangle `[x, y, width, height]` that holds all set pixels; all zero if none.
    pub fn window(&self) -> [usize; 4] {
        self.window
    }

    /// The bytes (0 or 1) of [`Self::window`], row by row.
    pub fn window_bits(&self) -> &[u8] {
        &self.bits
    }

    /// Whether the pixel is set; false outside the image.
    pub fn get(&self, x: i64, y: i64) -> bool {
        let [wx, wy, ww, wh] = self.window;
        let (x, y) = (x - wx as i64, y - wy as i64);
        x >= 0
            && y >= 0
            && (x as usize) < ww
            && (y as usize) < wh
            && self.bits[y as usize * ww + x as usize] != 0
    }

    /// Number of set pixels.
    pub fn area(&self) -> usize {
        let chunks = self.bits.chunks(FULL);
        chunks.map(|c| usize::from(c.iter().sum::<u8>())).sum()
    }

    /// Mean position `[x, y]` of the set pixels; `None` if nothing is set.
    pub fn centroid(&self) -> Option<[f64; 2]> {
        let [wx, wy, ww, _] = self.window;
        let (mut n, mut sx, mut sy) = (0u64, 0u64, 0u64);
        for (i, _) in self.bits.iter().enumerate().filter(|(_, b)| **b != 0) {
            n += 1;
            sx += (wx + i % ww) as u64;
            sy += (wy + i / ww) as u64;
        }
        (n > 0).then(|| [sx as f64 / n as f64, sy as f64 / n as f64])
    }

    /// One byte per pixel of the image, 0 or 1.
    pub fn to_dense(&self) -> Vec<u8> {
        let mut data = vec![0; self.width * self.height];
        let [wx, wy, ww, _] = self.window;
        for (y, row) in self.bits.chunks_exact(ww.max(1)).enumerate() {
            let start = (wy + y) * self.width + wx;
            data[start..start + ww].copy_from_slice(row);
        }
        data
    }

    /// A one-channel image of the mask, set pixels having the value `on`.
    pub fn to_matrix(&self, on: u8) -> Matrix {
        let data = self.to_dense().into_iter().map(|b| b * on).collect();
        Matrix {
            width: self.width,
            height: self.height,
            channels: 1,
            data,
        }
    }

    /// The part of the mask inside a rectangle at (`x`, `y`), as a mask of that size.
    pub fn cut(&self, x: i64, y: i64, width: usize, height: usize) -> Self {
        self.moved(x.saturating_neg(), y.saturating_neg(), width, height)
    }

    /// The mask moved by (`dx`, `dy`) on a canvas of another size; what leaves it is cut off.
    pub fn moved(&self, dx: i64, dy: i64, width: usize, height: usize) -> Self {
        let [wx, wy, ww, wh] = self.window;
        let left = dx.saturating_add(wx as i64);
        let top = dy.saturating_add(wy as i64);
        let (x1, y1) = (left.max(0), top.max(0));
        let (x2, y2) = (
            left.saturating_add(ww as i64).min(width as i64),
            top.saturating_add(wh as i64).min(height as i64),
        );
        if x1 >= x2 || y1 >= y2 {
            return Self::empty(width, height);
        }
        let (w, h) = ((x2 - x1) as usize, (y2 - y1) as usize);
        if w == ww && h == wh {
            let window = [x1 as usize, y1 as usize, w, h];
            return Self {
                width,
                height,
                window,
                bits: self.bits.clone(),
            };
        }
        let mut data = Vec::with_capacity(w * h);
        for y in y1..y2 {
            let start = (y - top) as usize * ww + (x1 - left) as usize;
            data.extend_from_slice(&self.bits[start..start + w]);
        }
        Self::from_window(width, height, [x1 as usize, y1 as usize, w, h], &data)
    }

    /// The mask resized by nearest neighbour as OpenCV does it: source pixel = ⌊target · ratio⌋,
    /// the ratio being the inverse of target ÷ source (which rounds differently from source ÷ target).
    pub fn resized(&self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let (rx, ry) = (
            1.0 / (width as f64 / self.width as f64),
            1.0 / (height as f64 / self.height as f64),
        );
        let [wx, wy, ww, wh] = self.window;
        if self.bits.is_empty() {
            return Self::empty(width, height);
        }
        // Where the source of each target column and row falls in the window, from first to last.
        let source = |n: usize, ratio: f64, size: usize, from: usize, len: usize| {
            let inside: Vec<(usize, usize)> = (0..n)
                .map(|t| (t, ((t as f64 * ratio) as usize).min(size - 1)))
                .filter(|(_, s)| (from..from + len).contains(s))
                .map(|(t, s)| (t, s - from))
                .collect();
            inside
        };
        let columns = source(width, rx, self.width, wx, ww);
        let rows = source(height, ry, self.height, wy, wh);
        let (Some(&(left, _)), Some(&(top, _))) = (columns.first(), rows.first()) else {
            return Self::empty(width, height);
        };
        let mut data = Vec::with_capacity(columns.len() * rows.len());
        for &(_, y) in &rows {
            let row = &self.bits[y * ww..(y + 1) * ww];
            data.extend(columns.iter().map(|&(_, x)| row[x]));
        }
        let window = [left, top, columns.len(), rows.len()];
        Self::from_window(width, height, window, &data)
    }

    /// Number of pixels set in both masks.
    pub fn intersection(&self, other: &Self) -> usize {
        let [ax, ay, aw, ah] = self.window;
        let [bx, by, bw, bh] = other.window;
        let (x1, y1) = (ax.max(bx), ay.max(by));
        let (x2, y2) = ((ax + aw).min(bx + bw), (ay + ah).min(by + bh));
        let mut n = 0;
        for y in y1..y2.max(y1) {
            if x1 >= x2 {
                break;
            }
            let a = &self.bits[(y - ay) * aw + x1 - ax..(y - ay) * aw + x2 - ax];
            let b = &other.bits[(y - by) * bw + x1 - bx..(y - by) * bw + x2 - bx];
            for (a, b) in a.chunks(FULL).zip(b.chunks(FULL)) {
                n += usize::from(a.iter().zip(b).map(|(a, b)| a & b).sum::<u8>());
            }
        }
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn l_shape() -> Mask {
        let mut data = vec![0; 6 * 5];
        for (x, y) in [(1, 1), (1, 2), (1, 3), (2, 3), (3, 3)] {
            data[y * 6 + x] = 1;
        }
        Mask::from_dense(6, 5, &data)
    }

    #[test]
    fn the_window_is_tight_and_dense_form_round_trips() {
        let m = l_shape();
        assert_eq!(m.window(), [1, 1, 3, 3]);
        assert_eq!(m.area(), 5);
        assert_eq!(Mask::from_dense(6, 5, &m.to_dense()), m);
        assert_eq!(m.centroid(), Some([8.0 / 5.0, 12.0 / 5.0]));
    }

    #[test]
    fn moving_out_and_back_loses_only_what_left() {
        let m = l_shape();
        let cut = m.cut(2, 2, 3, 3);
        assert_eq!(cut.area(), 2);
        assert!(cut.get(0, 1) && cut.get(1, 1));
        assert_eq!(m.intersection(&cut.moved(2, 2, 6, 5)), 2);
        assert_eq!(m.moved(10, 0, 6, 5).area(), 0);
    }

    #[test]
    fn nearest_neighbour_doubles_each_pixel() {
        let big = l_shape().resized(12, 10);
        assert_eq!(big.area(), 20);
        assert!(big.get(2, 2) && big.get(3, 3) && !big.get(1, 2));
        // Where the ratio meets a whole number, OpenCV's rounding decides.
        let third = Mask::from_dense(6, 1, &[0, 0, 1, 0, 0, 0]);
        assert!(third.resized(34, 1).get(17, 0));
    }
}
