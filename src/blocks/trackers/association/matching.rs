//! Matching of tracks (rows) with detections (columns): assignment, then a limit on each pair.

use super::assignment::Assignment;

/// Corners of a box.
pub type Corners = [f64; 4];

/// Matches two lists, keeping its working memory.
#[derive(Debug, Default)]
pub struct Matcher {
    values: Vec<f32>,
    solver: Assignment,
    pairs: Vec<(usize, usize)>,
}

impl Matcher {
    /// The cheapest pairs whose cost is at most `limit`, sorted by row. Dearer pairs all count as
    /// `limit + 1e-4` while the assignment is sought, as ByteTrack wants it. `corners` are those of a
    /// row's box, `cost` has them and a column.
    pub fn cheapest(
        &mut self,
        (rows, columns): (usize, usize),
        limit: f64,
        corners: impl Fn(usize) -> Corners,
        cost: impl Fn(&Corners, usize) -> f32,
    ) -> &[(usize, usize)] {
        let (limit, beyond) = (limit as f32, (limit + 1e-4) as f32);
        self.fill(rows, columns, corners, cost);
        let values = &self.values;
        let found = self.solver.solve_matrix((rows, columns), values, |cost| {
            f64::from(if cost > limit { beyond } else { cost })
        });
        self.pairs.clear();
        self.pairs.extend(
            found
                .iter()
                .filter(|&&(i, j)| values[i * columns + j] <= limit),
        );
        &self.pairs
    }

    /// The pairs with the greatest total similarity that is at least `least`, sorted by row. The limit
    /// is applied after the assignment.
    pub fn most_similar(
        &mut self,
        (rows, columns): (usize, usize),
        least: f32,
        corners: impl Fn(usize) -> Corners,
        similarity: impl Fn(&Corners, usize) -> f32,
    ) -> &[(usize, usize)] {
        self.fill(rows, columns, corners, similarity);
        let values = &self.values;
        let found = self
            .solver
            .solve_matrix((rows, columns), values, |value| -f64::from(value));
        self.pairs.clear();
        self.pairs.extend(
            found
                .iter()
                .filter(|&&(i, j)| values[i * columns + j] >= least),
        );
        &self.pairs
    }

    /// The pairs with the greatest total of overlap and a bonus, sorted by row, whose overlap is at
    /// least `least`. The bonus of a column is at most its `bound` either way; it is asked for only
    /// where it can matter.
    pub fn most_similar_with_bonus(
        &mut self,
        (rows, columns): (usize, usize),
        least: f32,
        corners: impl Fn(usize) -> Corners,
        overlap: impl Fn(&Corners, usize) -> f32,
        bound: impl Fn(usize) -> f32,
        bonus: impl Fn(usize, usize) -> f32,
    ) -> &[(usize, usize)] {
        self.fill(rows, columns, corners, overlap);
        let values = &self.values;
        let found = self.solver.solve_lazily(
            rows,
            columns,
            |i, j| -f64::from(values[i * columns + j]) - f64::from(bound(j)),
            |i, j| -f64::from(values[i * columns + j] + bonus(i, j)),
        );
        self.pairs.clear();
        self.pairs.extend(
            found
                .iter()
                .filter(|&&(i, j)| values[i * columns + j] >= least),
        );
        &self.pairs
    }

    fn fill(
        &mut self,
        rows: usize,
        columns: usize,
        corners: impl Fn(usize) -> Corners,
        value: impl Fn(&Corners, usize) -> f32,
    ) {
        self.values.clear();
        self.values.reserve(rows * columns);
        for i in 0..rows {
            let corners = corners(i);
            self.values.extend((0..columns).map(|j| value(&corners, j)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of a row, in the place of its corners.
    fn number(i: usize) -> Corners {
        [i as f64; 4]
    }

    #[test]
    fn pairs_beyond_the_limit_stay_apart() {
        let costs = [[0.2, 0.9], [0.1, 0.95]];
        let mut matcher = Matcher::default();
        let cost = |row: &Corners, j: usize| costs[row[0] as usize][j];
        assert_eq!(matcher.cheapest((2, 2), 0.8, number, cost), [(1, 0)]);
        assert!(matcher.cheapest((0, 2), 0.8, number, cost).is_empty());
    }

    /// The pair that is best for both together may fall below the threshold afterwards.
    #[test]
    fn a_threshold_on_similarity_comes_after_the_assignment() {
        let similarity = [[0.9, 0.5], [0.6, 0.1]];
        let mut matcher = Matcher::default();
        let value = |row: &Corners, j: usize| similarity[row[0] as usize][j];
        let pairs = matcher.most_similar((2, 2), 0.55, number, value);
        assert_eq!(pairs, [(1, 0)]);
        // With a bonus on the diagonal the other pairs are better together.
        let bonus = |i: usize, j: usize| if i == j { 0.2 } else { 0.0 };
        let pairs = matcher.most_similar_with_bonus((2, 2), 0.1, number, value, |_| 0.2, bonus);
        assert_eq!(pairs, [(0, 0), (1, 1)]);
    }
}
