//! The codewords of a QR code: the text in its modes, and what repairs damage (Reed and Solomon).

use super::symbol::Level;

/// Correction codewords of a block and number of blocks, by level and version.
#[rustfmt::skip]
const BLOCKS: [([usize; 40], [usize; 40]); 4] = [
    ([7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28,
      28, 28, 30, 30, 26, 28, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30],
     [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8,
      8, 9, 9, 10, 12, 12, 12, 13, 14, 15, 16, 17, 18, 19, 19, 20, 21, 22, 24, 25]),
    ([10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26,
      26, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28],
     [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16,
      17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31, 33, 35, 37, 38, 40, 43, 45, 47, 49]),
    ([13, 22, 18, 26, 18, 24, 18, 22, 20, 24, 28, 26, 24, 20, 30, 24, 28, 28, 26, 30,
      28, 30, 30, 30, 30, 28, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30],
     [1, 1, 2, 2, 4, 4, 6, 6, 8, 8, 8, 10, 12, 16, 12, 17, 16, 18, 21, 20,
      23, 23, 25, 27, 29, 34, 34, 35, 38, 40, 43, 45, 48, 51, 53, 56, 59, 62, 65, 68]),
    ([17, 28, 22, 16, 22, 28, 26, 26, 24, 28, 24, 28, 22, 24, 24, 30, 28, 28, 26, 28,
      30, 24, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30],
     [1, 1, 2, 4, 4, 4, 5, 6, 8, 8, 11, 11, 16, 16, 18, 16, 19, 21, 25, 25,
      25, 34, 30, 32, 35, 37, 40, 42, 45, 48, 51, 54, 57, 60, 63, 66, 70, 74, 77, 81]),
];

const CAPITALS: &[u8; 45] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";

/// Least length of a run that is worth a mode of its own.
const WORTH: usize = 20;

/// Codewords of a version, those for correction included.
pub(super) fn all_words(version: usize) -> usize {
    let mut modules = (16 * version + 128) * version + 64;
    if version >= 2 {
        let count = version / 7 + 2;
        modules -= (25 * count - 10) * count - 55;
        if version >= 7 {
            modules -= 36;
        }
    }
    modules / 8
}

pub(super) fn data_words(version: usize, level: Level) -> usize {
    let (correction, blocks) = &BLOCKS[level as usize];
    all_words(version) - correction[version - 1] * blocks[version - 1]
}

/// A part of the text in one mode.
pub(super) enum Segment<'a> {
    Digits(&'a [u8]),
    Capitals(&'a [u8]),
    Bytes(&'a [u8]),
}

/// The parts of a text: long runs of digits, then long runs of capitals, then the rest.
pub(super) fn segments(bytes: &[u8]) -> Vec<Segment<'_>> {
    let is_capital = |b: u8| CAPITALS.contains(&b);
    // A short text has one mode, which must suit all of it.
    let least = bytes.len().min(WORTH);
    let mut segments = Vec::new();
    for (digits, part) in runs(bytes, least, |b| b.is_ascii_digit()) {
        if digits {
            segments.push(Segment::Digits(part));
            continue;
        }
        for (capitals, part) in runs(part, least, is_capital) {
            segments.push(if capitals {
                Segment::Capitals(part)
            } else {
                Segment::Bytes(part)
            });
        }
    }
    segments
}

/// The bytes in order, in runs of at least so many that count and what lies between them.
fn runs(bytes: &[u8], least: usize, counts: impl Fn(u8) -> bool) -> Vec<(bool, &[u8])> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|b| counts(**b)).count();
        if length >= least.max(1) {
            if start < at {
                parts.push((false, &bytes[start..at]));
            }
            parts.push((true, &bytes[at..at + length]));
            start = at + length;
        }
        at += length.max(1);
    }
    if start < bytes.len() {
        parts.push((false, &bytes[start..]));
    }
    parts
}

impl Segment<'_> {
    /// Bits of the count of characters.
    fn count_bits(&self, version: usize) -> usize {
        let size = match version {
            1..=9 => 0,
            10..=26 => 1,
            _ => 2,
        };
        match self {
            Self::Digits(_) => [10, 12, 14][size],
            Self::Capitals(_) => [9, 11, 13][size],
            Self::Bytes(_) => [8, 16, 16][size],
        }
    }

    /// Bits of the whole segment.
    pub(super) fn length(&self, version: usize) -> usize {
        let data = match self {
            Self::Digits(text) => text.len() / 3 * 10 + [0, 4, 7][text.len() % 3],
            Self::Capitals(text) => text.len() / 2 * 11 + text.len() % 2 * 6,
            Self::Bytes(text) => text.len() * 8,
        };
        4 + self.count_bits(version) + data
    }

    fn write(&self, version: usize, bits: &mut Bits) {
        let (mode, text) = match self {
            Self::Digits(text) => (1, text),
            Self::Capitals(text) => (2, text),
            Self::Bytes(text) => (4, text),
        };
        bits.put(mode, 4);
        bits.put(text.len() as u32, self.count_bits(version));
        let place = |b: u8| CAPITALS.iter().position(|c| *c == b).unwrap_or(0) as u32;
        match self {
            Self::Digits(text) => text.chunks(3).for_each(|three| {
                let number = three.iter().fold(0, |n, d| n * 10 + u32::from(d - b'0'));
                bits.put(number, [0, 4, 7, 10][three.len()]);
            }),
            Self::Capitals(text) => text.chunks(2).for_each(|two| match *two {
                [a, b] => bits.put(place(a) * 45 + place(b), 11),
                _ => bits.put(place(two[0]), 6),
            }),
            Self::Bytes(text) => text.iter().for_each(|b| bits.put((*b).into(), 8)),
        }
    }
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, value: u32, width: usize) {
        for i in (0..width).rev() {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if value >> i & 1 == 1 {
                self.bytes[self.count / 8] |= 0x80 >> (self.count % 8);
            }
            self.count += 1;
        }
    }
}

/// The codewords of the text and those for its correction, in the order in which they are drawn.
pub(super) fn codewords(segments: &[Segment<'_>], version: usize, level: Level) -> Vec<u8> {
    let capacity = data_words(version, level);
    let mut bits = Bits::default();
    segments
        .iter()
        .for_each(|segment| segment.write(version, &mut bits));
    bits.put(0, (8 * capacity - bits.count).min(4));
    let mut data = bits.bytes;
    for filler in [0xec, 0x11].into_iter().cycle().take(capacity - data.len()) {
        data.push(filler);
    }
    let (correction, blocks) = &BLOCKS[level as usize];
    let (correction, blocks) = (correction[version - 1], blocks[version - 1]);
    let divisor = divisor(correction);
    let (short, longer) = (capacity / blocks, capacity % blocks);
    let mut parts = Vec::with_capacity(blocks);
    let mut rest = data.as_slice();
    for block in 0..blocks {
        let (part, behind) = rest.split_at(short + usize::from(block >= blocks - longer));
        parts.push((part, corrections(part, &divisor)));
        rest = behind;
    }
    let mut words = Vec::with_capacity(all_words(version));
    for i in 0..=short {
        words.extend(parts.iter().filter_map(|(part, _)| part.get(i)));
    }
    for i in 0..correction {
        words.extend(parts.iter().map(|(_, correction)| correction[i]));
    }
    words
}

/// Product in GF(2⁸) modulo x⁸ + x⁴ + x³ + x² + 1.
fn times(a: u8, b: u8) -> u8 {
    (0..8).rev().fold(0, |product: u8, i| {
        let doubled = product << 1 ^ if product & 0x80 != 0 { 0x1d } else { 0 };
        doubled ^ if b >> i & 1 == 1 { a } else { 0 }
    })
}

/// The coefficients of (x - 1)(x - 2)(x - 4)…, but for the first.
fn divisor(degree: usize) -> Vec<u8> {
    let mut coefficients = vec![0; degree];
    coefficients[degree - 1] = 1;
    let mut root = 1;
    for _ in 0..degree {
        for i in 0..degree {
            let next = coefficients.get(i + 1).copied().unwrap_or(0);
            coefficients[i] = times(coefficients[i], root) ^ next;
        }
        root = times(root, 2);
    }
    coefficients
}

/// The codewords that correct a block (Reed and Solomon).
fn corrections(data: &[u8], divisor: &[u8]) -> Vec<u8> {
    let mut rest = vec![0; divisor.len()];
    for byte in data {
        let factor = byte ^ rest.remove(0);
        rest.push(0);
        for (cell, coefficient) in rest.iter_mut().zip(divisor) {
            *cell ^= times(*coefficient, factor);
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_have_modes_of_their_own() {
        let text = b"see 012345678901234567890123 and ABCDEFGHIJKLMNOPQRSTUVWX too";
        let kinds: String = segments(text)
            .iter()
            .map(|segment| match segment {
                Segment::Digits(_) => 'd',
                Segment::Capitals(_) => 'c',
                Segment::Bytes(_) => 'b',
            })
            .collect();
        assert_eq!(kinds, "bdbcb");
        let whole = |text: &str| matches!(segments(text.as_bytes())[..], [Segment::Digits(_)]);
        assert!(whole("0123") && !whole("0123a"));
        assert!(matches!(
            segments(b"HELLO WORLD")[..],
            [Segment::Capitals(_)]
        ));
    }

    #[test]
    fn numbers_of_the_standard() {
        assert_eq!((all_words(1), all_words(7), all_words(40)), (26, 196, 3706));
        assert_eq!(data_words(40, Level::High), 1276);
        assert_eq!(times(0x80, 2), 0x1d);
    }
}
