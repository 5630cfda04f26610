//! Matching of tracks (rows) with detections (columns): assignment, then a limit on each pair.

use std::cmp::Ordering;

use super::assignment::Assignment;
use crate::geometry::iou;

/// Corners of a box.
pub type Corners = [f64; 4];

/// Matches two lists of boxes, keeping its working memory.
#[derive(Debug, Default)]
pub struct Matcher {
    overlaps: Overlaps,
    values: Vec<f32>,
    /// The most that each column's bonus can be.
    bounds: Vec<f64>,
    solver: Assignment,
    pairs: Vec<(usize, usize)>,
}

impl Matcher {
    /// The overlaps of boxes with these columns.
    pub fn overlaps(&mut self, columns: usize, corners: impl Fn(usize) -> Corners) -> &Overlaps {
        self.overlaps.place(columns, corners);
        &self.overlaps
    }

    /// The cheapest pairs whose cost is at most `limit`, sorted by row. Dearer pairs all count as
    /// `limit + 1e-4` while the assignment is sought, as ByteTrack wants it. `cost` has the overlap of a
    /// row's and a column's box, and the column.
    pub fn cheapest(
        &mut self,
        size: (usize, usize),
        limit: f64,
        row: impl Fn(usize) -> Corners,
        column: impl Fn(usize) -> Corners,
        cost: impl Fn(f32, usize) -> f32,
    ) -> &[(usize, usize)] {
        let (limit, beyond) = (limit as f32, (limit + 1e-4) as f32);
        self.overlaps
            .fill(&mut self.values, size, row, column, cost);
        let values = &self.values;
        let found = self.solver.solve_matrix(size, values, |cost| {
            f64::from(if cost > limit { beyond } else { cost })
        });
        keep(&mut self.pairs, found, |i, j| {
            values[i * size.1 + j] <= limit
        })
    }

    /// The pairs with the greatest total similarity that is at least `least`, sorted by row. The limit
    /// is applied after the assignment. `similarity` has the overlap of a row's and a column's box, and
    /// the column.
    pub fn most_similar(
        &mut self,
        size: (usize, usize),
        least: f32,
        row: impl Fn(usize) -> Corners,
        column: impl Fn(usize) -> Corners,
        similarity: impl Fn(f32, usize) -> f32,
    ) -> &[(usize, usize)] {
        self.overlaps
            .fill(&mut self.values, size, row, column, similarity);
        let values = &self.values;
        let found = self
            .solver
            .solve_matrix(size, values, |value| -f64::from(value));
        keep(&mut self.pairs, found, |i, j| {
            values[i * size.1 + j] >= least
        })
    }

    /// The pairs with the greatest total of overlap and a bonus, sorted by row, whose overlap is at
    /// least `least`. The bonus of a column is at most its `bound` either way; it is asked for only
    /// where it can matter.
    pub fn most_similar_with_bonus(
        &mut self,
        size: (usize, usize),
        least: f32,
        row: impl Fn(usize) -> Corners,
        column: impl Fn(usize) -> Corners,
        bound: impl Fn(usize) -> f32,
        bonus: impl Fn(usize, usize) -> f32,
    ) -> &[(usize, usize)] {
        self.overlaps
            .fill(&mut self.values, size, row, column, |overlap, _| overlap);
        self.bounds.clear();
        self.bounds.extend((0..size.1).map(|j| f64::from(bound(j))));
        let (values, bounds) = (&self.values, &self.bounds);
        let found = self.solver.solve_lazily(
            size.0,
            size.1,
            |i, j| -f64::from(values[i * size.1 + j]) - bounds[j],
            |i, j| -f64::from(values[i * size.1 + j] + bonus(i, j)),
        );
        keep(&mut self.pairs, found, |i, j| {
            values[i * size.1 + j] >= least
        })
    }
}

/// Writes down the pairs that pass the limit.
fn keep<'a>(
    pairs: &'a mut Vec<(usize, usize)>,
    found: &[(usize, usize)],
    passes: impl Fn(usize, usize) -> bool,
) -> &'a [(usize, usize)] {
    pairs.clear();
    pairs.extend(found.iter().filter(|&&(i, j)| passes(i, j)));
    pairs
}

/// The boxes of the columns from left to right, so that each row meets only those beside it.
#[derive(Debug, Default)]
pub struct Overlaps {
    columns: Vec<Placed>,
    /// Values of a row that overlaps nothing.
    apart: Vec<f32>,
}

#[derive(Clone, Copy, Debug)]
struct Placed {
    corners: Corners,
    /// How far to the right this box or one before it reaches.
    reach: f64,
    column: usize,
}

impl Overlaps {
    /// Writes a row-major matrix of values made of the overlap of a row's and a column's box.
    fn fill(
        &mut self,
        values: &mut Vec<f32>,
        (rows, columns): (usize, usize),
        row: impl Fn(usize) -> Corners,
        column: impl Fn(usize) -> Corners,
        value: impl Fn(f32, usize) -> f32,
    ) {
        self.place(columns, column);
        self.apart.clear();
        self.apart.extend((0..columns).map(|j| value(0.0, j)));
        values.clear();
        values.reserve(rows * columns);
        for i in 0..rows {
            let corners = row(i);
            let start = values.len();
            values.extend_from_slice(&self.apart);
            let line = &mut values[start..];
            for (column, overlap) in self.with(corners) {
                line[column] = value(overlap, column);
            }
        }
    }

    /// The columns that a box overlaps, each with its intersection over union, from left to right.
    pub fn with(&self, corners: Corners) -> impl Iterator<Item = (usize, f32)> {
        let from = self
            .columns
            .partition_point(|other| other.reach <= corners[0]);
        // What is no number stands at either end, and must not end the search.
        let begins_before = move |other: &&Placed| {
            let order = other.corners[0].partial_cmp(&corners[2]);
            order.is_none_or(Ordering::is_lt)
        };
        self.columns[from..]
            .iter()
            .take_while(begins_before)
            .map(move |other| (other.column, iou(&corners, &other.corners)))
            .filter(|(_, overlap)| *overlap != 0.0)
    }

    /// Takes in the boxes of the columns.
    pub fn place(&mut self, count: usize, corners: impl Fn(usize) -> Corners) {
        self.columns.clear();
        self.columns.extend((0..count).map(|column| Placed {
            corners: corners(column),
            reach: f64::NEG_INFINITY,
            column,
        }));
        let left = |placed: &Placed| placed.corners[0];
        self.columns
            .sort_unstable_by(|a, b| left(a).total_cmp(&left(b)));
        let mut reach = f64::NEG_INFINITY;
        for placed in &mut self.columns {
            reach = reach.max(placed.corners[2]);
            placed.reach = reach;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_beyond_the_limit_stay_apart() {
        // Columns: a box, and half of it.
        let columns = [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 5.0, 10.0]];
        let rows = [[0.0, 0.0, 8.0, 10.0], [0.0, 0.0, 10.0, 10.0]];
        let mut matcher = Matcher::default();
        let (row, column) = (|i: usize| rows[i], |j: usize| columns[j]);
        let cost = |overlap: f32, _: usize| 1.0 - overlap;
        assert_eq!(matcher.cheapest((2, 2), 0.3, row, column, cost), [(1, 0)]);
        assert_eq!(
            matcher.cheapest((2, 2), 0.4, row, column, cost),
            [(0, 1), (1, 0)]
        );
        assert!(matcher.cheapest((0, 2), 0.8, row, column, cost).is_empty());
    }

    /// The pair that is best for both together may fall below the threshold afterwards.
    #[test]
    fn a_threshold_on_similarity_comes_after_the_assignment() {
        // Overlaps: 0.9 and 0.5; 0.6 and 0.1.
        let columns = [[0.0, 0.0, 90.0, 10.0], [50.0, 0.0, 100.0, 10.0]];
        let rows = [[0.0, 0.0, 100.0, 10.0], [0.0, 0.0, 54.0, 10.0]];
        let mut matcher = Matcher::default();
        let (row, column) = (|i: usize| rows[i], |j: usize| columns[j]);
        let similarity = |overlap: f32, _: usize| overlap;
        let pairs = matcher.most_similar((2, 2), 0.55, row, column, similarity);
        assert_eq!(pairs, [(1, 0)]);
        // With a bonus on the diagonal the other pairs are better together.
        let bonus = |i: usize, j: usize| if i == j { 0.2 } else { 0.0 };
        let pairs = matcher.most_similar_with_bonus((2, 2), 0.03, row, column, |_| 0.2, bonus);
        assert_eq!(pairs, [(0, 0), (1, 1)]);
    }

    proptest! {
        #[test]
        fn boxes_that_are_passed_over_do_not_overlap(
            sides in prop::collection::vec(prop::array::uniform4(-3i8..12), 2..14),
            split in 1usize..13,
        ) {
            let corners = |s: &[i8; 4]| {
                let [x, y, w, h] = s.map(f64::from);
                // Some are no boxes.
                let left = match h {
                    10.0 => f64::NAN,
                    11.0 => -f64::NAN,
                    _ => x,
                };
                [left, y, if w == 11.0 { f64::NAN } else { x + w }, y + h]
            };
            let all: Vec<Corners> = sides.iter().map(corners).collect();
            let (rows, columns) = all.split_at(split.min(all.len() - 1));
            let mut values = Vec::new();
            let size = (rows.len(), columns.len());
            let value = |overlap: f32, j: usize| overlap * 10.0 + j as f32;
            let mut overlaps = Overlaps::default();
            overlaps.fill(&mut values, size, |i| rows[i], |j| columns[j], value);
            for (i, row) in rows.iter().enumerate() {
                for (j, column) in columns.iter().enumerate() {
                    let want = value(iou(row, column), j);
                    prop_assert_eq!(values[i * columns.len() + j], want, "{:?} {:?}", row, column);
                }
            }
        }
    }
}
