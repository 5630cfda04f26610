//! Matching of tracks (rows) with detections (columns): assignment, then a limit on each pair.

use super::assignment::Assignment;

/// Matches two lists, keeping its working memory.
#[derive(Debug, Default)]
pub struct Matcher {
    values: Vec<f32>,
    solver: Assignment,
    pairs: Vec<(usize, usize)>,
}

impl Matcher {
    /// The cheapest pairs whose cost is at most `limit`, sorted by row. Dearer pairs all count as
    /// `limit + 1e-4` while the assignment is sought, as ByteTrack wants it.
    pub fn cheapest(
        &mut self,
        rows: usize,
        columns: usize,
        limit: f64,
        cost: impl Fn(usize, usize) -> f32,
    ) -> &[(usize, usize)] {
        let (limit, beyond) = (limit as f32, (limit + 1e-4) as f32);
        self.fill(rows, columns, cost);
        let values = &self.values;
        let found = self.solver.solve(rows, columns, |i, j| {
            let cost = values[i * columns + j];
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

    /// The pairs with the greatest total similarity that pass `accept`, sorted by row. The limit is
    /// applied after the assignment.
    pub fn most_similar(
        &mut self,
        rows: usize,
        columns: usize,
        similarity: impl Fn(usize, usize) -> f32,
        accept: impl Fn(usize, usize, f32) -> bool,
    ) -> &[(usize, usize)] {
        self.fill(rows, columns, similarity);
        let values = &self.values;
        let found = self
            .solver
            .solve(rows, columns, |i, j| -f64::from(values[i * columns + j]));
        self.pairs.clear();
        self.pairs.extend(
            found
                .iter()
                .filter(|&&(i, j)| accept(i, j, values[i * columns + j])),
        );
        &self.pairs
    }

    fn fill(&mut self, rows: usize, columns: usize, value: impl Fn(usize, usize) -> f32) {
        self.values.clear();
        self.values.reserve(rows * columns);
        for i in 0..rows {
            self.values.extend((0..columns).map(|j| value(i, j)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_beyond_the_limit_stay_apart() {
        let costs = [[0.2, 0.9], [0.1, 0.95]];
        let mut matcher = Matcher::default();
        let pairs = matcher.cheapest(2, 2, 0.8, |i, j| costs[i][j]);
        assert_eq!(pairs, [(1, 0)]);
        assert!(matcher.cheapest(0, 2, 0.8, |_, _| 0.0).is_empty());
    }

    /// The pair that is best for both together may fall below the threshold afterwards.
    #[test]
    fn a_threshold_on_similarity_comes_after_the_assignment() {
        let similarity = [[0.9, 0.5], [0.6, 0.1]];
        let mut matcher = Matcher::default();
        let pairs = matcher.most_similar(2, 2, |i, j| similarity[i][j], |_, _, s| s >= 0.55);
        assert_eq!(pairs, [(1, 0)]);
    }
}
