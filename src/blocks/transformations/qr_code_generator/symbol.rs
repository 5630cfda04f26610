//! The modules of a QR code (ISO/IEC 18004), as the reference's library arranges them.
//!
//! Long runs of digits and of capitals are written in their own modes. Of the eight masks the one with
//! the least penalty is taken, the first of several; penalties are counted while the bits that tell of
//! mask, level and version are still light.

use super::words::{codewords, data_words, segments};

/// How much damage a code survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Level {
    Low,
    Medium,
    Quartile,
    High,
}

impl Level {
    /// The level that an option begins with.
    pub(super) fn named(option: &str) -> Self {
        match option.split(' ').next() {
            Some("Low") => Self::Low,
            Some("Quartile") => Self::Quartile,
            Some("High") => Self::High,
            _ => Self::Medium,
        }
    }

    /// The two bits that tell of the level.
    fn bits(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::Medium => 0,
            Self::Quartile => 3,
            Self::High => 2,
        }
    }
}

/// The modules of a code.
pub(super) struct Symbol {
    /// Modules along a side.
    pub(super) size: usize,
    version: usize,
    /// Dark, light, or not yet set.
    modules: Vec<Option<bool>>,
}

impl Symbol {
    /// The smallest code that holds the bytes; `None` if none does.
    pub(super) fn of(bytes: &[u8], level: Level) -> Option<Self> {
        let segments = segments(bytes);
        let fits = |version: &usize| {
            let bits: usize = segments.iter().map(|s| s.length(*version)).sum();
            bits <= 8 * data_words(*version, level)
        };
        let version = (1..=40).find(fits)?;
        let words = codewords(&segments, version, level);
        let mut best: Option<(u32, u32)> = None;
        for mask in 0..8 {
            let penalty = Self::drawn(version, level, &words, mask, true).penalty();
            if best.is_none_or(|(least, _)| penalty < least) {
                best = Some((penalty, mask));
            }
        }
        let (_, mask) = best?;
        Some(Self::drawn(version, level, &words, mask, false))
    }

    /// Whether the module in a column and a row is dark.
    pub(super) fn is_dark(&self, x: usize, y: usize) -> bool {
        self.modules[y * self.size + x] == Some(true)
    }

    fn drawn(version: usize, level: Level, words: &[u8], mask: u32, blank: bool) -> Self {
        let size = version * 4 + 17;
        let mut symbol = Self {
            size,
            version,
            modules: vec![None; size * size],
        };
        symbol.put_corners();
        symbol.put_alignment();
        symbol.put_timing();
        symbol.put_format(level, mask, blank);
        symbol.put_version(blank);
        symbol.put_data(words, mask);
        symbol
    }

    fn set(&mut self, x: usize, y: usize, dark: bool) {
        self.modules[y * self.size + x] = Some(dark);
    }

    /// The squares in three corners, with their light margins.
    fn put_corners(&mut self) {
        let far = self.size as i32 - 7;
        for (cx, cy) in [(0, 0), (far, 0), (0, far)] {
            for (dx, dy) in (-1..=7).flat_map(|dx| (-1..=7).map(move |dy| (dx, dy))) {
                let (x, y): (i32, i32) = (cx + dx, cy + dy);
                if x < 0 || y < 0 || x >= self.size as i32 || y >= self.size as i32 {
                    continue;
                }
                let ring = (dx - 3_i32).abs().max((dy - 3_i32).abs());
                self.set(x as usize, y as usize, ring != 2 && ring != 4);
            }
        }
    }

    /// The small squares, but for those that would lie in a corner.
    fn put_alignment(&mut self) {
        let places = alignment(self.version, self.size);
        for &cy in &places {
            for &cx in &places {
                if self.modules[cy * self.size + cx].is_some() {
                    continue;
                }
                for (dx, dy) in (0..5).flat_map(|dx| (0..5).map(move |dy| (dx, dy))) {
                    let ring = (dx as i32 - 2).abs().max((dy as i32 - 2).abs());
                    self.set(cx + dx - 2, cy + dy - 2, ring != 1);
                }
            }
        }
    }

    fn put_timing(&mut self) {
        for i in 8..self.size - 8 {
            for (x, y) in [(i, 6), (6, i)] {
                if self.modules[y * self.size + x].is_none() {
                    self.set(x, y, i % 2 == 0);
                }
            }
        }
    }

    /// Level and mask, twice, and the module that is always dark.
    fn put_format(&mut self, level: Level, mask: u32, blank: bool) {
        let data = level.bits() << 3 | mask;
        let bits = (data << 10 | remainder(data << 10, 0x537)) ^ 0x5412;
        let n = self.size;
        for i in 0..15 {
            let dark = !blank && bits >> i & 1 == 1;
            let row = match i {
                0..6 => i,
                6..8 => i + 1,
                _ => n - 15 + i,
            };
            self.set(8, row, dark);
            let column = match i {
                0..8 => n - i - 1,
                8 => 7,
                _ => 14 - i,
            };
            self.set(column, 8, dark);
        }
        self.set(8, n - 8, !blank);
    }

    fn put_version(&mut self, blank: bool) {
        if self.version < 7 {
            return;
        }
        let data = self.version as u32;
        let bits = data << 12 | remainder(data << 12, 0x1f25);
        for i in 0..18 {
            let dark = !blank && bits >> i & 1 == 1;
            let (a, b) = (i / 3, i % 3 + self.size - 11);
            self.set(b, a, dark);
            self.set(a, b, dark);
        }
    }

    /// The codewords, up and down in pairs of columns from the right.
    fn put_data(&mut self, words: &[u8], mask: u32) {
        let n = self.size;
        let mut bits = words
            .iter()
            .flat_map(|word| (0..8).rev().map(move |i| word >> i & 1 == 1));
        let mut upward = true;
        for right in (1..n).rev().step_by(2) {
            let right = if right <= 6 { right - 1 } else { right };
            for i in 0..n {
                let y = if upward { n - 1 - i } else { i };
                for x in [right, right - 1] {
                    if self.modules[y * n + x].is_none() {
                        let dark = bits.next().unwrap_or(false);
                        self.set(x, y, dark != is_masked(mask, y, x));
                    }
                }
            }
            upward = !upward;
        }
    }

    /// How hard a code is to read.
    fn penalty(&self) -> u32 {
        let n = self.size;
        let row = |y: usize| (0..n).map(|x| self.is_dark(x, y)).collect::<Vec<_>>();
        let column = |x: usize| (0..n).map(|y| self.is_dark(x, y)).collect::<Vec<_>>();
        let mut penalty = 0;
        for line in (0..n).map(row).chain((0..n).map(column)) {
            penalty += line
                .chunk_by(|a, b| a == b)
                .filter(|run| run.len() >= 5)
                .map(|run| run.len() as u32 - 2)
                .sum::<u32>();
            const FINDER: [bool; 11] = [
                true, false, true, true, true, false, true, false, false, false, false,
            ];
            let backward: Vec<bool> = FINDER.iter().rev().copied().collect();
            let like = line
                .windows(11)
                .filter(|part| *part == FINDER || *part == backward);
            penalty += 40 * like.count() as u32;
        }
        let dark = (0..n * n).filter(|i| self.is_dark(i % n, i / n)).count();
        for (x, y) in (0..n - 1).flat_map(|y| (0..n - 1).map(move |x| (x, y))) {
            let first = self.is_dark(x, y);
            let others = [(x + 1, y), (x, y + 1), (x + 1, y + 1)];
            if others.iter().all(|&(x, y)| self.is_dark(x, y) == first) {
                penalty += 3;
            }
        }
        let share = dark as f64 / (n * n) as f64 * 100.0;
        penalty + 10 * ((share - 50.0).abs() / 5.0) as u32
    }
}

fn is_masked(mask: u32, i: usize, j: usize) -> bool {
    let product = i * j;
    0 == match mask {
        0 => (i + j) % 2,
        1 => i % 2,
        2 => j % 3,
        3 => (i + j) % 3,
        4 => (i / 2 + j / 3) % 2,
        5 => product % 2 + product % 3,
        6 => (product % 2 + product % 3) % 2,
        _ => (product % 3 + (i + j) % 2) % 2,
    }
}

/// Remainder of a division of polynomials over GF(2).
fn remainder(mut data: u32, divisor: u32) -> u32 {
    let degree = divisor.ilog2();
    while data != 0 && data.ilog2() >= degree {
        data ^= divisor << (data.ilog2() - degree);
    }
    data
}

/// Where the middles of small squares lie along a side.
fn alignment(version: usize, size: usize) -> Vec<usize> {
    if version == 1 {
        return Vec::new();
    }
    let count = version / 7 + 2;
    let step = match version {
        32 => 26,
        _ => (version * 4 + count * 2 + 1) / (count * 2 - 2) * 2,
    };
    let mut places: Vec<usize> = (0..count - 1).map(|i| size - 7 - i * step).collect();
    places.push(6);
    places.reverse();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader makes of a code.
    fn read(symbol: &Symbol) -> Vec<u8> {
        let side = (symbol.size + 8) * 4;
        let dark = |i: usize| {
            let inner = |v: usize| (v / 4).checked_sub(4).filter(|v| *v < symbol.size);
            inner(i % side)
                .zip(inner(i / side))
                .is_some_and(|(x, y)| symbol.is_dark(x, y))
        };
        let pixels: Vec<u8> = (0..side * side)
            .map(|i| if dark(i) { 0 } else { 255 })
            .collect();
        let view = zxingcpp::ImageView::from_slice(&pixels, side, side, zxingcpp::ImageFormat::Lum);
        let codes = zxingcpp::read().from(&view.unwrap()).unwrap();
        assert_eq!(codes.len(), 1);
        codes[0].bytes()
    }

    #[test]
    fn codes_of_all_versions_and_levels_can_be_read() {
        let levels = [Level::Low, Level::Medium, Level::Quartile, Level::High];
        for (i, length) in [1, 30, 90, 200, 340, 600, 900, 1200]
            .into_iter()
            .enumerate()
        {
            let bytes: Vec<u8> = (0..length).map(|i| b'a' + (i * 7 % 26) as u8).collect();
            let symbol = Symbol::of(&bytes, levels[i % 4]).unwrap();
            assert_eq!(read(&symbol), bytes, "version {}", symbol.version);
        }
        let full = vec![b'z'; 2953];
        let symbol = Symbol::of(&full, Level::Low).unwrap();
        assert_eq!((symbol.version, read(&symbol)), (40, full));
        assert!(Symbol::of(&[b'z'; 2954], Level::Low).is_none());
        let mixed = b"see 012345678901234567890123 and ABCDEFGHIJKLMNOPQRSTUVWX too";
        assert_eq!(read(&Symbol::of(mixed, Level::Medium).unwrap()), mixed);
    }

    #[test]
    fn numbers_of_the_standard() {
        assert_eq!(alignment(7, 45), [6, 22, 38]);
        assert_eq!(alignment(32, 145), [6, 34, 60, 86, 112, 138]);
        assert_eq!(remainder(7 << 12, 0x1f25), 0xc94);
    }
}
