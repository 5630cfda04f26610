//! Rectangular linear assignment by shortest augmenting paths (Crouse, 2016).
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
    /// Whether a cost is known; else its lower bound stands there.
    known: Vec<bool>,
    /// Whether all costs of a row are known.
    row_known: Vec<bool>,
}

/// The augmenting path of one row while it grows.
#[derive(Debug, Default)]
struct Path {
    distance: Vec<f64>,
    previous: Vec<usize>,
    row_visited: Vec<bool>,
    column_visited: Vec<bool>,
    remaining: Vec<usize>,
    /// How far away the row reached last is.
    entry: f64,
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
        self.prepare(rows, columns, true, &mut cost);
        self.assign(rows > columns, &mut cost)
    }

    /// The same where a cost is dear to compute: `bound` is never above it, and a cost is asked for
    /// only when its bound leaves open which pairs come out.
    pub fn solve_lazily(
        &mut self,
        rows: usize,
        columns: usize,
        mut bound: impl FnMut(usize, usize) -> f64,
        mut cost: impl FnMut(usize, usize) -> f64,
    ) -> &[(usize, usize)] {
        self.prepare(rows, columns, false, &mut bound);
        self.assign(rows > columns, &mut cost)
    }

    /// The same for costs made of a row-major matrix.
    pub fn solve_matrix(
        &mut self,
        (rows, columns): (usize, usize),
        values: &[f32],
        cost: impl Fn(f32) -> f64,
    ) -> &[(usize, usize)] {
        if rows > columns {
            return self.solve(rows, columns, |i, j| cost(values[i * columns + j]));
        }
        self.reset(rows, columns, true);
        self.costs.extend(values.iter().map(|&value| cost(value)));
        self.assign(false, &mut |i, j| cost(values[i * columns + j]))
    }

    /// Writes down the costs, or their bounds, with at most as many rows as columns.
    fn prepare(
        &mut self,
        rows: usize,
        columns: usize,
        known: bool,
        value: &mut impl FnMut(usize, usize) -> f64,
    ) {
        let (short, long) = (rows.min(columns), rows.max(columns));
        self.reset(short, long, known);
        for i in 0..short {
            for j in 0..long {
                let value = if rows > columns {
                    value(j, i)
                } else {
                    value(i, j)
                };
                self.costs.push(value);
            }
        }
    }

    fn assign(
        &mut self,
        transposed: bool,
        cost: &mut impl FnMut(usize, usize) -> f64,
    ) -> &[(usize, usize)] {
        let mut cost = |i: usize, j: usize| if transposed { cost(j, i) } else { cost(i, j) };
        for row in 0..self.row_dual.len() {
            if let Some((column, least)) = self.nearest_if_free(row, &mut cost) {
                self.row_dual[row] += least;
                self.row_of_column[column] = Some(row);
                self.column_of_row[row] = Some(column);
            } else if let Some((sink, least)) = self.shortest_path(row, &mut cost) {
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

    fn reset(&mut self, rows: usize, columns: usize, known: bool) {
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
        refill(&mut self.row_known, rows, known);
        refill(
            &mut self.known,
            if known { 0 } else { rows * columns },
            false,
        );
        refill(&mut self.path.previous, columns, 0);
        refill(&mut self.path.distance, columns, f64::INFINITY);
        refill(&mut self.path.row_visited, rows, false);
        refill(&mut self.path.column_visited, columns, false);
    }

    /// The column nearest to a row that stands for itself, if it is free, and its distance: most paths
    /// are that short. Of several the first.
    fn nearest_if_free(
        &mut self,
        row: usize,
        cost: &mut impl FnMut(usize, usize) -> f64,
    ) -> Option<(usize, f64)> {
        if !self.row_known[row] {
            self.learn_least(row, cost);
        }
        let costs = self.row(row);
        let lowest = least_difference(costs, &self.column_dual);
        let mut reached = costs.iter().zip(&self.column_dual).zip(&self.row_of_column);
        let nearest =
            reached.position(|((cost, dual), matched)| cost - dual == lowest && matched.is_none());
        nearest
            .filter(|_| lowest < f64::INFINITY)
            .map(|j| (j, lowest))
    }

    /// Asks for the costs of a row until all others are above its least.
    fn learn_least(&mut self, row: usize, cost: &mut impl FnMut(usize, usize) -> f64) {
        let (costs, duals) = (self.row(row), &self.column_dual);
        let promised = least_difference(costs, duals);
        let mut promises = costs.iter().zip(duals).map(|(cost, dual)| cost - dual);
        // First the most promising one, by which most others are ruled out.
        let mut lowest = match promises.position(|promise| promise == promised) {
            Some(best) => self.learn(row, best, cost),
            None => f64::INFINITY,
        };
        for j in 0..self.columns {
            let ruled_out = self.costs[row * self.columns + j] - self.column_dual[j] > lowest;
            if !ruled_out {
                lowest = lowest.min(self.learn(row, j, cost));
            }
        }
    }

    /// Asks for a cost if it is not known; how far it is above the column's dual.
    fn learn(
        &mut self,
        row: usize,
        column: usize,
        cost: &mut impl FnMut(usize, usize) -> f64,
    ) -> f64 {
        let place = row * self.columns + column;
        if !self.known[place] {
            self.costs[place] = cost(row, column);
            self.known[place] = true;
        }
        self.costs[place] - self.column_dual[column]
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.costs[row * self.columns..(row + 1) * self.columns]
    }

    /// Grows a path from a row to an unmatched column; the column and the path's cost. `None` if
    /// costs are infinite or not numbers.
    fn shortest_path(
        &mut self,
        start: usize,
        cost: &mut impl FnMut(usize, usize) -> f64,
    ) -> Option<(usize, f64)> {
        self.path.distance.fill(f64::INFINITY);
        self.path.row_visited.fill(false);
        self.path.column_visited.fill(false);
        self.path.remaining.clear();
        self.path.remaining.extend((0..self.columns).rev());
        let (mut row, mut least) = (start, 0.0);
        loop {
            self.path.row_visited[row] = true;
            if !self.row_known[row] {
                self.learn_nearest(row, least, cost);
            }
            let (position, lowest) = self.reach(row, least)?;
            least = lowest;
            let column = self.path.remaining[position];
            if self.row_of_column[column].is_some() && !self.row_known[row] {
                // The path goes on, and may come by any column of this row.
                self.learn_all(row, cost);
                self.reach(row, self.path.entry)?;
            }
            self.path.remaining.swap_remove(position);
            if lowest == f64::INFINITY {
                return None;
            }
            self.path.column_visited[column] = true;
            match self.row_of_column[column] {
                Some(matched) => row = matched,
                None => return Some((column, least)),
            }
        }
    }

    /// Brings the distances of the remaining columns up to date with a row that is `least` away; the
    /// place of the nearest and its distance. Costs that are not known do not count.
    fn reach(&mut self, row: usize, least: f64) -> Option<(usize, f64)> {
        let path = &mut self.path;
        path.entry = least;
        let mut nearest = None;
        let mut lowest = f64::INFINITY;
        let all = self.row_known[row];
        for (position, &j) in path.remaining.iter().enumerate() {
            let place = row * self.columns + j;
            if all || self.known[place] {
                let cost = self.costs[place];
                let distance = least + cost - self.row_dual[row] - self.column_dual[j];
                if distance < path.distance[j] {
                    path.distance[j] = distance;
                    path.previous[j] = row;
                }
            }
            let reached = path.distance[j];
            let free = self.row_of_column[j].is_none();
            if reached < lowest || (reached == lowest && free) {
                lowest = reached;
                nearest = Some(position);
            }
        }
        nearest.map(|position| (position, lowest))
    }

    /// Asks for the costs of a row that could be the nearest of all remaining columns, the most
    /// promising first.
    fn learn_nearest(
        &mut self,
        row: usize,
        least: f64,
        cost: &mut impl FnMut(usize, usize) -> f64,
    ) {
        let (path, columns) = (&self.path, self.columns);
        let (row_dual, column_dual) = (self.row_dual[row], &self.column_dual);
        let reduced = |cost: f64, j: usize| least + cost - row_dual - column_dual[j];
        let (costs, known) = (&mut self.costs, &mut self.known);
        let mut learn = |costs: &mut Vec<f64>, j: usize| {
            let place = row * columns + j;
            if !known[place] {
                costs[place] = cost(row, j);
                known[place] = true;
            }
            reduced(costs[place], j)
        };
        let promise = |costs: &[f64], j: usize| reduced(costs[row * columns + j], j);
        let best = path
            .remaining
            .iter()
            .copied()
            .min_by(|&i, &j| promise(costs, i).total_cmp(&promise(costs, j)));
        let Some(best) = best else { return };
        let mut lowest = learn(costs, best);
        for &j in &path.remaining {
            let promised = promise(costs, j);
            // Also true of what is no number.
            if !(promised > lowest || promised > path.distance[j]) {
                lowest = lowest.min(learn(costs, j));
            }
        }
    }

    fn learn_all(&mut self, row: usize, cost: &mut impl FnMut(usize, usize) -> f64) {
        for j in 0..self.columns {
            let place = row * self.columns + j;
            if !self.known[place] {
                self.costs[place] = cost(row, j);
                self.known[place] = true;
            }
        }
        self.row_known[row] = true;
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

/// The least difference of two lists' numbers; infinite if there is none.
fn least_difference(costs: &[f64], duals: &[f64]) -> f64 {
    const LANES: usize = 8;
    let lesser = |a: f64, b: f64| if a < b { a } else { b };
    let (costs, last_costs) = costs.as_chunks::<LANES>();
    let (duals, last_duals) = duals.as_chunks::<LANES>();
    let mut least = [f64::INFINITY; LANES];
    for (costs, duals) in costs.iter().zip(duals) {
        for ((least, cost), dual) in least.iter_mut().zip(costs).zip(duals) {
            *least = lesser(cost - dual, *least);
        }
    }
    let last = last_costs
        .iter()
        .zip(last_duals)
        .map(|(cost, dual)| cost - dual);
    last.chain(least)
        .fold(f64::INFINITY, |least, x| lesser(x, least))
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

    /// The same without short cuts, for at most as many rows as columns.
    fn by_whole_paths(
        rows: usize,
        columns: usize,
        mut cost: impl FnMut(usize, usize) -> f64,
    ) -> Vec<(usize, usize)> {
        let mut solver = Assignment::default();
        solver.prepare(rows, columns, true, &mut cost);
        for row in 0..rows {
            let (sink, least) = solver.shortest_path(row, &mut cost).unwrap();
            solver.update_duals(row, least);
            solver.flip(row, sink);
        }
        let pairs = solver.column_of_row.iter().enumerate();
        pairs.map(|(i, column)| (i, column.unwrap())).collect()
    }

    proptest! {
        #[test]
        fn short_cuts_change_nothing(costs in prop::collection::vec(0u8..5, 20 * 23)) {
            let cost = |i: usize, j: usize| f64::from(costs[i * 23 + j]);
            let quick = Assignment::default().solve(20, 23, cost).to_vec();
            prop_assert_eq!(quick, by_whole_paths(20, 23, cost));
        }

        #[test]
        fn lazy_costs_change_nothing(
            costs in prop::collection::vec(0u8..6, 63),
            slack in prop::collection::vec(0u8..3, 63),
            tall in any::<bool>(),
        ) {
            let (rows, columns) = if tall { (9, 7) } else { (7, 9) };
            let cost = |i: usize, j: usize| f64::from(costs[i * columns + j]);
            let bound = |i: usize, j: usize| cost(i, j) - f64::from(slack[i * columns + j]);
            let eager = Assignment::default().solve(rows, columns, cost).to_vec();
            let mut lazy = Assignment::default();
            prop_assert_eq!(lazy.solve_lazily(rows, columns, bound, cost), eager);
        }

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
