//! Rectangular linear assignment by shortest augmenting paths.
//!
//! The order in which rows and columns are visited is that of scipy's `linear_sum_assignment`: with
//! many equal costs (pairs that do not overlap at all) it decides which pairs come out, and with
//! them the track ids.

/// Solves assignments, keeping its working memory.
#[derive(Debug, Default)]
pub struct Assignment {
    /// Row-major costs with at most as many rows as columns.
    costs: Vec<f64>,
    columns: usize,
    row_dual: Vec<f64>,
    column_dual: Vec<f64>,
    column_of_row: Vec<Option<usize>>,
    row_of_column: Vec<Option<usize>>,
    path: Path,
    pairs: Vec<(usize, usize)>,
}

/// The augmenting path of one row while it grows.
#[derive(Debug, Default)]
struct Path {
    distance: Vec<f64>,
    previous: Vec<usize>,
    row_visited: Vec<bool>,
    column_visited: Vec<bool>,
    remaining: Vec<usize>,
}

impl Assignment {
    /// The pairs `(row, column)` with the least total cost, sorted by row. Every row has a partner,
    /// or every column if there are fewer columns.
    pub fn solve(
        &mut self,
        rows: usize,
        columns: usize,
        mut cost: impl FnMut(usize, usize) -> f64,
    ) -> &[(usize, usize)] {
        let transposed = rows > columns;
        let (short, long) = (rows.min(columns), rows.max(columns));
        self.reset(short, long);
        for i in 0..short {
            for j in 0..long {
                self.costs
                    .push(if transposed { cost(j, i) } else { cost(i, j) });
            }
        }
        for row in 0..short {
            if let Some((sink, least)) = self.shortest_path(row) {
                self.update_duals(row, least);
                self.flip(row, sink);
            }
        }
        self.pairs.clear();
        for (i, column) in self.column_of_row.iter().enumerate() {
            if let Some(j) = *column {
                self.pairs.push(if transposed { (j, i) } else { (i, j) });
            }
        }
        self.pairs.sort_unstable();
        &self.pairs
    }

    fn reset(&mut self, rows: usize, columns: usize) {
        fn refill<T: Clone>(list: &mut Vec<T>, length: usize, value: T) {
            list.clear();
            list.resize(length, value);
        }
        self.columns = columns;
        self.costs.clear();
        refill(&mut self.row_dual, rows, 0.0);
        refill(&mut self.column_dual, columns, 0.0);
        refill(&mut self.column_of_row, rows, None);
        refill(&mut self.row_of_column, columns, None);
        refill(&mut self.path.previous, columns, 0);
        refill(&mut self.path.distance, columns, f64::INFINITY);
        refill(&mut self.path.row_visited, rows, false);
        refill(&mut self.path.column_visited, columns, false);
    }

    /// Grows a path from a row to an unmatched column; the column and the path's cost. `None` if
    /// costs are infinite or not numbers.
    fn shortest_path(&mut self, start: usize) -> Option<(usize, f64)> {
        let path = &mut self.path;
        path.distance.fill(f64::INFINITY);
        path.row_visited.fill(false);
        path.column_visited.fill(false);
        path.remaining.clear();
        path.remaining.extend((0..self.columns).rev());
        let (mut row, mut least) = (start, 0.0);
        loop {
            path.row_visited[row] = true;
            let mut nearest = None;
            let mut lowest = f64::INFINITY;
            for (position, &j) in path.remaining.iter().enumerate() {
                let cost = self.costs[row * self.columns + j];
                let distance = least + cost - self.row_dual[row] - self.column_dual[j];
                if distance < path.distance[j] {
                    path.distance[j] = distance;
                    path.previous[j] = row;
                }
                let reached = path.distance[j];
                let free = self.row_of_column[j].is_none();
                if reached < lowest || (reached == lowest && free) {
                    lowest = reached;
                    nearest = Some(position);
                }
            }
            least = lowest;
            let column = path.remaining.swap_remove(nearest?);
            if lowest == f64::INFINITY {
                return None;
            }
            path.column_visited[column] = true;
            match self.row_of_column[column] {
                Some(matched) => row = matched,
                None => return Some((column, least)),
            }
        }
    }

    fn update_duals(&mut self, start: usize, least: f64) {
        for i in 0..self.row_dual.len() {
            if i == start {
                self.row_dual[i] += least;
            } else if self.path.row_visited[i]
                && let Some(j) = self.column_of_row[i]
            {
                self.row_dual[i] += least - self.path.distance[j];
            }
        }
        for j in 0..self.columns {
            if self.path.column_visited[j] {
                self.column_dual[j] -= least - self.path.distance[j];
            }
        }
    }

    fn flip(&mut self, start: usize, sink: usize) {
        let mut column = sink;
        loop {
            let row = self.path.previous[column];
            self.row_of_column[column] = Some(row);
            let next = self.column_of_row[row].replace(column);
            match next {
                Some(next) if row != start => column = next,
                _ => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn solve(costs: &[&[f64]]) -> Vec<(usize, usize)> {
        let columns = costs.first().map_or(0, |row| row.len());
        Assignment::default()
            .solve(costs.len(), columns, |i, j| costs[i][j])
            .to_vec()
    }

    #[test]
    fn the_total_is_least() {
        let square: &[&[f64]] = &[&[4.0, 1.0, 3.0], &[2.0, 0.0, 5.0], &[3.0, 2.0, 2.0]];
        assert_eq!(solve(square), [(0, 1), (1, 0), (2, 2)]);
        let tall: &[&[f64]] = &[&[5.0], &[1.0], &[3.0]];
        assert_eq!(solve(tall), [(1, 0)]);
        assert_eq!(solve(&[]), []);
    }

    /// scipy's answers where all costs are equal.
    #[test]
    fn ties_are_broken_as_in_the_reference() {
        let wide: &[&[f64]] = &[&[1.0, 1.0, 1.0], &[1.0, 1.0, 1.0]];
        assert_eq!(solve(wide), [(0, 0), (1, 1)]);
        let tall: &[&[f64]] = &[&[1.0, 1.0], &[1.0, 1.0], &[1.0, 1.0]];
        assert_eq!(solve(tall), [(0, 0), (1, 1)]);
    }

    #[test]
    fn costs_that_are_no_numbers_leave_rows_without_partner() {
        assert_eq!(solve(&[&[f64::NAN, f64::NAN], &[1.0, 2.0]]), [(1, 0)]);
    }

    proptest! {
        #[test]
        fn no_permutation_is_cheaper(costs in prop::collection::vec(0u8..4, 16)) {
            let cost = |i: usize, j: usize| f64::from(costs[i * 4 + j]);
            let mut solver = Assignment::default();
            let total: f64 = solver.solve(4, 4, cost).iter().map(|&(i, j)| cost(i, j)).sum();
            for a in 0..4 { for b in 0..4 { for c in 0..4 { for d in 0..4 {
                let used = [a, b, c, d];
                if (0..4).all(|j| used.contains(&j)) {
                    let other: f64 = used.iter().enumerate().map(|(i, &j)| cost(i, j)).sum();
                    prop_assert!(total <= other);
                }
            }}}}
        }
    }
}
