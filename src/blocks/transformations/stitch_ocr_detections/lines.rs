//! Characters into lines and words, in three ways.
//!
//! Everything is told for text that runs across; for text that runs down, x and y change places.

use std::collections::VecDeque;

use crate::blocks::BlockError;
use crate::values::detections::column;
use crate::values::{Detections, python};

/// How a text runs.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Direction {
    LeftToRight,
    RightToLeft,
    Down,
    Up,
}

impl Direction {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "right_to_left" => Self::RightToLeft,
            "vertical_top_to_bottom" => Self::Down,
            "vertical_bottom_to_top" => Self::Up,
            _ => Self::LeftToRight,
        }
    }

    /// By the shape of the boxes: wide ones stand side by side, others one below the other.
    pub(super) fn of(set: Option<&Detections>) -> Self {
        let sides = |from: usize, to: usize| {
            set.map_or(0.0, |set| {
                set.xyxy.iter().map(|b| b[to] - b[from]).sum::<f64>()
            })
        };
        match set.is_none_or(Detections::is_empty) || sides(0, 2) > sides(1, 3) {
            true => Self::LeftToRight,
            false => Self::Down,
        }
    }

    fn is_vertical(self) -> bool {
        matches!(self, Self::Down | Self::Up)
    }

    /// Whether characters are read from greater to smaller x.
    fn is_backward(self) -> bool {
        matches!(self, Self::RightToLeft | Self::Up)
    }

    fn separator(self) -> &'static str {
        if self.is_vertical() { " " } else { "\n" }
    }
}

/// A character and its box.
pub(super) struct Glyph {
    text: String,
    /// x and y of the first corner, then of the second.
    sides: [f64; 4],
}

impl Glyph {
    pub(super) fn of(
        set: &Detections,
        row: usize,
        direction: Direction,
    ) -> Result<Self, BlockError> {
        let name = set.cell(column::CLASS_NAME, row);
        let name =
            name.ok_or_else(|| BlockError::failed("boxes without class names cannot be read"))?;
        let [x1, y1, x2, y2] = set.xyxy[row];
        Ok(Self {
            text: python::to_str(name),
            sides: match direction.is_vertical() {
                true => [y1, x1, y2, x2],
                false => [x1, y1, x2, y2],
            },
        })
    }

    fn x(&self) -> f64 {
        f64::midpoint(self.sides[0], self.sides[2])
    }

    fn y(&self) -> f64 {
        f64::midpoint(self.sides[1], self.sides[3])
    }

    fn width(&self) -> f64 {
        self.sides[2] - self.sides[0]
    }

    fn height(&self) -> f64 {
        self.sides[3] - self.sides[1]
    }
}

fn sort_by(glyphs: &mut [Glyph], backward: bool, key: impl Fn(&Glyph) -> f64) {
    glyphs.sort_by(|a, b| match backward {
        true => key(b).total_cmp(&key(a)),
        false => key(a).total_cmp(&key(b)),
    });
}

fn texts<'a>(glyphs: impl IntoIterator<Item = &'a Glyph>) -> Vec<&'a str> {
    glyphs
        .into_iter()
        .map(|glyph| glyph.text.as_str())
        .collect()
}

/// Lines whose upper edges round to the same multiple of `tolerance`. Lines are characters to the
/// delimiter too.
pub(super) fn by_grid(
    glyphs: Vec<Glyph>,
    direction: Direction,
    delimiter: &str,
    tolerance: f64,
) -> String {
    let whole = |side: f64| side.round_ties_even();
    let key = |glyph: &Glyph| (whole(glyph.sides[1]) / tolerance).round_ties_even() * tolerance;
    let mut lines: Vec<(f64, Vec<Glyph>)> = Vec::new();
    for glyph in glyphs {
        let key = key(&glyph);
        match lines.iter_mut().find(|(line, _)| *line == key) {
            Some((_, members)) => members.push(glyph),
            None => lines.push((key, vec![glyph])),
        }
    }
    lines.sort_by(|a, b| match direction == Direction::Up {
        true => b.0.total_cmp(&a.0),
        false => a.0.total_cmp(&b.0),
    });
    for (_, members) in &mut lines {
        sort_by(members, direction.is_backward(), |g| whole(g.sides[0]));
    }
    let mut parts = Vec::new();
    for (i, (_, members)) in lines.iter().enumerate() {
        if i > 0 {
            parts.push(direction.separator());
        }
        parts.extend(texts(members));
    }
    parts.join(delimiter)
}

/// Lines of characters at one height; where gaps are of two kinds, the wide ones part words.
pub(super) fn by_gaps(
    mut glyphs: Vec<Glyph>,
    direction: Direction,
    delimiter: &str,
    multiplier: f64,
) -> String {
    let half_height = median(glyphs.iter().map(Glyph::height).collect()) / 2.0;
    sort_by(&mut glyphs, false, Glyph::y);
    let mut lines: Vec<Vec<Glyph>> = Vec::new();
    for glyph in glyphs {
        let fits = |line: &&mut Vec<Glyph>| (glyph.y() - mean(line, Glyph::y)).abs() <= half_height;
        match lines.last_mut().filter(fits) {
            Some(line) => line.push(glyph),
            None => lines.push(vec![glyph]),
        }
    }
    order(&mut lines, direction, Glyph::y);
    for line in &mut lines {
        sort_by(line, false, Glyph::x);
        // Backward is the forward order turned round, so equals stand turned round too.
        if direction.is_backward() {
            line.reverse();
        }
    }
    let gaps = lines
        .iter()
        .flat_map(|line| line.windows(2).map(|pair| gap(&pair[0], &pair[1])));
    let limit = parting(&gaps.collect::<Vec<_>>()).map(|t| t * multiplier);
    let written = |line: &Vec<Glyph>| {
        let mut words = vec![Vec::new()];
        for (i, glyph) in line.iter().enumerate() {
            let wide = i > 0 && limit.is_some_and(|limit| gap(&line[i - 1], glyph) > limit);
            if wide {
                words.push(Vec::new());
            }
            if let Some(word) = words.last_mut() {
                word.push(glyph.text.as_str());
            }
        }
        let words: Vec<String> = words.iter().map(|word| word.join(delimiter)).collect();
        words.join(if delimiter.is_empty() { " " } else { delimiter })
    };
    lines
        .iter()
        .map(written)
        .collect::<Vec<_>>()
        .join(direction.separator())
}

/// The space between two characters in units of their mean width.
fn gap(a: &Glyph, b: &Glyph) -> f64 {
    let width = (a.width() + b.width()) / 2.0;
    match width > 0.0 {
        true => ((b.x() - a.x()).abs() - width) / width,
        false => 0.0,
    }
}

/// The gap that parts narrow from wide ones best (Otsu's threshold), if there are two kinds.
fn parting(gaps: &[f64]) -> Option<f64> {
    if gaps.len() < 2 {
        return None;
    }
    let low = gaps.iter().copied().fold(f64::INFINITY, f64::min);
    let high = gaps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let bins = gaps.len().min(50);
    let step = (high - low) / bins as f64;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let mut best: Option<(f64, f64, [f64; 2])> = None;
    for bin in 0..bins {
        let t = low + (bin as f64 + 0.5) * step;
        let (narrow, wide): (Vec<f64>, Vec<f64>) = gaps.iter().partition(|gap| **gap <= t);
        if narrow.is_empty() || wide.is_empty() {
            continue;
        }
        let means = [mean(&narrow), mean(&wide)];
        let score = narrow.len() as f64 * wide.len() as f64 * (means[0] - means[1]).powi(2);
        if best.is_none_or(|(most, ..)| score > most) {
            best = Some((score, t, means));
        }
    }
    let (_, t, [narrow, wide]) = best?;
    (wide > 0.3 && wide - narrow > 0.3).then_some(t)
}

/// Lines that grow from character to character, each near the height of the one before.
pub(super) fn by_neighbours(
    mut glyphs: Vec<Glyph>,
    direction: Direction,
    delimiter: &str,
    tolerance: f64,
) -> String {
    let backward = direction.is_backward();
    sort_by(&mut glyphs, backward, Glyph::x);
    let follows = |last: &Glyph, next: &Glyph| {
        let near = last.height().max(next.height()) / 2.0 + tolerance;
        let ahead = match backward {
            true => next.x() <= last.x(),
            false => next.x() >= last.x(),
        };
        (next.y() - last.y()).abs() < near && ahead
    };
    let mut lines: Vec<Vec<Glyph>> = Vec::new();
    let mut rest: VecDeque<Glyph> = glyphs.into();
    // Lines that grew when they were looked at last. What found nothing to follow it then finds nothing
    // later, when less is left.
    let mut open: Vec<usize> = Vec::new();
    while !rest.is_empty() {
        open.retain(|&at| {
            let line = &mut lines[at];
            let before = line.len();
            for glyph in std::mem::take(&mut rest) {
                match line.last().is_some_and(|last| follows(last, &glyph)) {
                    true => line.push(glyph),
                    false => rest.push_back(glyph),
                }
            }
            line.len() > before
        });
        if open.is_empty()
            && let Some(first) = rest.pop_front()
        {
            open.push(lines.len());
            lines.push(vec![first]);
        }
    }
    order(&mut lines, direction, Glyph::y);
    let written = lines.iter().map(|line| texts(line).join(delimiter));
    written.collect::<Vec<_>>().join(direction.separator())
}

/// Puts lines in the order of their mean height.
fn order(lines: &mut [Vec<Glyph>], direction: Direction, key: fn(&Glyph) -> f64) {
    lines.sort_by(|a, b| match direction == Direction::Up {
        true => mean(b, key).total_cmp(&mean(a, key)),
        false => mean(a, key).total_cmp(&mean(b, key)),
    });
}

fn mean(glyphs: &[Glyph], key: fn(&Glyph) -> f64) -> f64 {
    glyphs.iter().map(key).sum::<f64>() / glyphs.len() as f64
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match numbers.len() {
        0 => 0.0,
        n if n % 2 == 1 => numbers[n / 2],
        n => f64::midpoint(numbers[n / 2 - 1], numbers[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equals_stand_turned_round_in_a_backward_line() {
        let glyph = |text: &'static str, x: f64| Glyph {
            text: text.into(),
            sides: [x, 0.0, x + 10.0, 10.0],
        };
        let glyphs = || vec![glyph("a", 0.0), glyph("b", 12.0), glyph("c", 12.0)];
        let forward = by_gaps(glyphs(), Direction::LeftToRight, "", 1.0);
        let backward = by_gaps(glyphs(), Direction::RightToLeft, "", 1.0);
        assert_eq!((&*forward, &*backward), ("abc", "cba"));
    }

    /// The lines that grow in rounds over all of them.
    fn by_rounds(mut glyphs: Vec<Glyph>, tolerance: f64) -> String {
        sort_by(&mut glyphs, false, Glyph::x);
        let mut lines: Vec<Vec<Glyph>> = Vec::new();
        while !glyphs.is_empty() {
            let before = glyphs.len();
            for line in &mut lines {
                let (mut i, mut last) = (0, line.len() - 1);
                while let Some(next) = glyphs.get(i) {
                    let near = line[last].height().max(next.height()) / 2.0 + tolerance;
                    let ahead = next.x() >= line[last].x();
                    if ahead && (next.y() - line[last].y()).abs() < near {
                        line.push(glyphs.remove(i));
                        last += 1;
                    } else {
                        i += 1;
                    }
                }
            }
            if glyphs.len() == before {
                lines.push(vec![glyphs.remove(0)]);
            }
        }
        order(&mut lines, Direction::LeftToRight, Glyph::y);
        let written = lines.iter().map(|line| texts(line).join("-"));
        written.collect::<Vec<_>>().join("\n")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn lines_of_neighbours_are_those_of_rounds_over_all(
            places in prop::collection::vec((0..12u8, 0..40u8, 0..9u8), 0..14),
        ) {
            let glyphs = || {
                let glyph = |(i, (x, y, size)): (usize, &(u8, u8, u8))| Glyph {
                    text: i.to_string(),
                    sides: [*x, *y, x + size, y + size].map(f64::from),
                };
                places.iter().enumerate().map(glyph).collect::<Vec<_>>()
            };
            let found = by_neighbours(glyphs(), Direction::LeftToRight, "-", 2.0);
            prop_assert_eq!(found, by_rounds(glyphs(), 2.0));
        }
    }

    #[test]
    fn gaps_of_two_kinds_are_told_apart() {
        assert!(parting(&[0.1, 0.1, 0.2, 1.9, 2.1]).is_some_and(|t| (0.2..1.9).contains(&t)));
        assert_eq!(parting(&[0.1, 0.12, 0.15, 0.2]), None);
        assert_eq!(parting(&[0.5, 0.5]), None);
        assert_eq!(parting(&[3.0]), None);
        assert_eq!(
            (median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 2.0])),
            (2.0, 3.0)
        );
    }
}
