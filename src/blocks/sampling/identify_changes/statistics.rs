//! Averages and deviations that run along with a series of vectors, as `identify_changes` keeps them
//! (specification 6.1).
//!
//! Over everything they run by Welford's method (Technometrics, 1962), so no vector is kept; a window
//! keeps its vectors and is measured anew, which rounds as the reference does.

use std::collections::VecDeque;

use super::super::sums::column_sums;

/// How a series runs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Update {
    /// Exponentially, the newest having this weight.
    Exponential(f64),
    /// Over everything: the mean moves by a share of the difference.
    Simple,
    /// Over everything: shares of the mean so far and of the newest. Differs in the last bit.
    Shares,
    /// Over so many of the last vectors.
    Window(usize),
}

/// Mean and spread of a series, element by element.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) mean: Vec<f64>,
    /// Variance; of a simple average, what [`Self::divisor`] makes the variance of.
    spread: Vec<f64>,
    divisor: f64,
    window: VecDeque<Vec<f64>>,
}

impl Running {
    /// The series of one vector, which no window will hold.
    pub(super) fn first(vector: Vec<f64>) -> Self {
        Self {
            spread: vec![0.0; vector.len()],
            mean: vector,
            divisor: 1.0,
            window: VecDeque::new(),
        }
    }

    /// Adds a vector to a series of which `before` vectors are known.
    pub(super) fn add(&mut self, vector: &[f64], update: Update, before: i64) {
        let n = before as f64;
        match update {
            Update::Exponential(weight) => {
                self.divisor = 1.0;
                self.each(vector, |mean, spread, x| {
                    *mean = (1.0 - weight) * *mean + weight * x;
                    *spread = (1.0 - weight) * *spread + weight * (x - *mean).powi(2);
                });
            }
            Update::Simple => {
                self.divisor = n.max(1.0);
                self.each(vector, |mean, spread, x| {
                    let delta = x - *mean;
                    *mean += delta / (n + 1.0);
                    *spread += delta * (x - *mean);
                });
            }
            Update::Shares => {
                self.divisor = n.max(1.0);
                self.each(vector, |mean, spread, x| {
                    let delta = x - *mean;
                    *mean = x / (n + 1.0) + *mean * n / (n + 1.0);
                    *spread += delta * (x - *mean);
                });
            }
            Update::Window(size) => {
                self.divisor = 1.0;
                self.window.push_back(vector.to_vec());
                // A window made smaller later keeps its size, as in recorded case
                // video_identify_changes_v1_selectors_and_batch.
                if self.window.len() > size.max(1) {
                    self.window.pop_front();
                }
                self.measure_window();
            }
        }
    }

    /// The standard deviation.
    pub(super) fn deviation(&self) -> Vec<f64> {
        let root = |spread: &f64| (spread / self.divisor).sqrt();
        self.spread.iter().map(root).collect()
    }

    fn each(&mut self, vector: &[f64], mut step: impl FnMut(&mut f64, &mut f64, f64)) {
        for ((mean, spread), x) in self.mean.iter_mut().zip(&mut self.spread).zip(vector) {
            step(mean, spread, *x);
        }
    }

    fn measure_window(&mut self) {
        let n = self.window.len() as f64;
        let by_number = |sums: Vec<f64>| sums.into_iter().map(|sum| sum / n).collect();
        self.mean = by_number(column_sums(self.window.iter()));
        let off = |row: &Vec<f64>| -> Vec<f64> {
            let pairs = row.iter().zip(&self.mean);
            pairs.map(|(x, mean)| (x - mean).powi(2)).collect()
        };
        let squares: Vec<Vec<f64>> = self.window.iter().map(off).collect();
        self.spread = by_number(column_sums(squares.iter()));
    }
}

/// Share of a normal distribution that lies below `z` deviations from its mean.
pub(super) fn normal_share_below(z: f64) -> f64 {
    0.5 * (1.0 + error_function(z / std::f64::consts::SQRT_2))
}

/// The Gauss error function, by its series without cancellation (Abramowitz and Stegun, 7.1.6); beyond
/// 6 it is 1 to the last bit.
fn error_function(x: f64) -> f64 {
    let size = x.abs();
    if x.is_nan() {
        return x;
    }
    if size >= 6.0 {
        return 1.0_f64.copysign(x);
    }
    let (mut term, mut sum, mut odd) = (size, size, 1.0);
    while term > sum * 1e-17 {
        odd += 2.0;
        term *= 2.0 * size * size / odd;
        sum += term;
    }
    let scale = 2.0 / std::f64::consts::PI.sqrt() * (-size * size).exp();
    (scale * sum).min(1.0).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_normal_distribution() {
        // Tables of the standard normal distribution.
        for (z, share) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.96, 0.024_997_895_148_220_435),
            (3.0, 0.998_650_101_968_369_9),
            (-10.0, 0.0),
        ] {
            assert!((normal_share_below(z) - share).abs() < 1e-15, "{z}");
        }
        assert!(normal_share_below(f64::INFINITY) == 1.0);
    }

    #[test]
    fn the_strategies_differ_in_what_they_forget() {
        let run = |update: Update| {
            let mut series = Running::first(vec![0.0]);
            for (n, x) in (1..).zip([4.0, 8.0]) {
                series.add(&[x], update, n);
            }
            (series.mean[0], series.deviation()[0])
        };
        assert_eq!(run(Update::Simple), (4.0, 4.0));
        assert_eq!(run(Update::Window(2)), (6.0, 2.0));
        assert_eq!(run(Update::Exponential(0.5)).0, 5.0);
    }
}
