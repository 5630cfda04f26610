//! Kalman filter for a box that moves at constant velocity (Kalman, 1960), the model of all trackers
//! here: specifications 7.1.1 and 7.2.
//!
//! The state is four measured numbers (place and size, as each tracker defines them) followed by the
//! velocities of the first `N - 4` of them. Noise is diagonal and given anew at each step, because
//! some trackers scale it with the box.

/// Numbers that are measured.
pub const MEASURED: usize = 4;

/// Estimate of `N` numbers and their covariance.
#[derive(Clone, Debug, PartialEq)]
pub struct Kalman<const N: usize> {
    /// The estimate.
    pub mean: [f64; N],
    /// Its covariance.
    pub covariance: [[f64; N]; N],
}

impl<const N: usize> Kalman<N> {
    /// A filter at a first measurement, with velocities 0 and these variances.
    pub fn new(measurement: [f64; MEASURED], variances: [f64; N]) -> Self {
        let mut mean = [0.0; N];
        mean[..MEASURED].copy_from_slice(&measurement);
        let mut covariance = [[0.0; N]; N];
        for (i, variance) in variances.into_iter().enumerate() {
            covariance[i][i] = variance;
        }
        Self { mean, covariance }
    }

    /// One step of time: velocities are added, uncertainty grows by `noise`.
    pub fn predict(&mut self, noise: &[f64; N]) {
        for i in 0..N - MEASURED {
            self.mean[i] += self.mean[MEASURED + i];
            let velocity = self.covariance[MEASURED + i];
            for (value, v) in self.covariance[i].iter_mut().zip(velocity) {
                *value += v;
            }
        }
        for row in &mut self.covariance {
            for j in 0..N - MEASURED {
                row[j] += row[MEASURED + j];
            }
        }
        for (i, variance) in noise.iter().enumerate() {
            self.covariance[i][i] += variance;
        }
    }

    /// Corrects the estimate by a measurement; covariance by the short form `P - K S K'`.
    pub fn update(&mut self, measurement: &[f64; MEASURED], noise: &[f64; MEASURED]) {
        let gain = self.correct(measurement, noise);
        let cross = self.measured_columns();
        for (row, cross) in self.covariance.iter_mut().zip(&cross) {
            for (value, gain) in row.iter_mut().zip(&gain) {
                *value -= dot(cross, gain);
            }
        }
    }

    /// Corrects the estimate by a measurement; covariance by Joseph's form
    /// `(I - K H) P (I - K H)' + K R K'`.
    pub fn update_joseph(&mut self, measurement: &[f64; MEASURED], noise: &[f64; MEASURED]) {
        let gain = self.correct(measurement, noise);
        let measured_rows: [[f64; N]; MEASURED] = std::array::from_fn(|m| self.covariance[m]);
        for (row, own) in self.covariance.iter_mut().zip(&gain) {
            // This row of (I - K H) P, then of the whole product.
            for (value, m) in own.iter().zip(&measured_rows) {
                for (entry, p) in row.iter_mut().zip(m) {
                    *entry -= value * p;
                }
            }
            let measured: [f64; MEASURED] = std::array::from_fn(|m| row[m]);
            let noisy: [f64; MEASURED] = std::array::from_fn(|m| own[m] * noise[m]);
            for (entry, other) in row.iter_mut().zip(&gain) {
                *entry += dot(&noisy, other) - dot(&measured, other);
            }
        }
    }

    /// Moves the mean and returns the gain `K = P H' S^-1`, one row per number of the state.
    fn correct(
        &mut self,
        measurement: &[f64; MEASURED],
        noise: &[f64; MEASURED],
    ) -> [[f64; MEASURED]; N] {
        let mut innovation = [[0.0; MEASURED]; MEASURED];
        for (i, row) in innovation.iter_mut().enumerate() {
            row.copy_from_slice(&self.covariance[i][..MEASURED]);
            row[i] += noise[i];
        }
        let factor = cholesky(&innovation);
        let gain = self.measured_columns().map(|row| solve(&factor, row));
        let error: [f64; MEASURED] = std::array::from_fn(|m| measurement[m] - self.mean[m]);
        for (value, row) in self.mean.iter_mut().zip(&gain) {
            *value += dot(row, &error);
        }
        gain
    }

    /// `P H'`.
    fn measured_columns(&self) -> [[f64; MEASURED]; N] {
        std::array::from_fn(|i| std::array::from_fn(|m| self.covariance[i][m]))
    }
}

fn dot(a: &[f64; MEASURED], b: &[f64; MEASURED]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Lower triangle `L` with `L L' = S`. A matrix that rounding has made singular gets a tiny pivot.
fn cholesky(s: &[[f64; MEASURED]; MEASURED]) -> [[f64; MEASURED]; MEASURED] {
    let mut l = [[0.0; MEASURED]; MEASURED];
    for i in 0..MEASURED {
        for j in 0..=i {
            let rest = s[i][j] - (0..j).map(|k| l[i][k] * l[j][k]).sum::<f64>();
            l[i][j] = if i == j {
                rest.max(f64::MIN_POSITIVE).sqrt()
            } else {
                rest / l[j][j]
            };
        }
    }
    l
}

/// The `x` with `L L' x = b`.
fn solve(l: &[[f64; MEASURED]; MEASURED], mut x: [f64; MEASURED]) -> [f64; MEASURED] {
    for i in 0..MEASURED {
        let known: f64 = (0..i).map(|k| l[i][k] * x[k]).sum();
        x[i] = (x[i] - known) / l[i][i];
    }
    for i in (0..MEASURED).rev() {
        let known: f64 = (i + 1..MEASURED).map(|k| l[k][i] * x[k]).sum();
        x[i] = (x[i] - known) / l[i][i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: &[f64], want: &[f64]) {
        assert_eq!(got.len(), want.len());
        for (g, w) in got.iter().zip(want) {
            assert!((g - w).abs() < 1e-6, "{got:?} is not {want:?}");
        }
    }

    /// SORT's filter on three boxes (specification 7.8).
    #[test]
    fn fixed_noise_gives_the_numbers_of_the_reference() {
        let mut filter = Kalman::<8>::new([10.0, 20.0, 50.0, 80.0], [1.0; 8]);
        for z in [[22.0, 21.0, 62.0, 81.0], [35.0, 20.0, 75.0, 82.0]] {
            filter.predict(&[0.01; 8]);
            filter.update_joseph(&z, &[0.1; 4]);
        }
        let want = [
            34.057363, 20.170616, 74.057363, 81.931414, 11.18711, -0.52154, 11.18711, 0.874107,
        ];
        near(&filter.mean, &want);
        let diagonal: Vec<f64> = (0..8).map(|i| filter.covariance[i][i]).collect();
        near(&diagonal[..4], &[0.08804; 4].map(|x: f64| x)[..]);
        near(&diagonal[4..], &[0.138915; 4]);
    }

    #[test]
    fn both_forms_of_the_covariance_agree() {
        let mut short = Kalman::<7>::new([5.0, 6.0, 70.0, 0.8], [10.0; 7]);
        let mut joseph = short.clone();
        for i in 0..5 {
            let z = [5.0 + f64::from(i), 6.0, 71.0, 0.7];
            for filter in [&mut short, &mut joseph] {
                filter.predict(&[0.1, 0.1, 0.2, 0.3, 0.01, 0.01, 0.02]);
            }
            short.update(&z, &[0.5, 0.5, 1.0, 0.2]);
            joseph.update_joseph(&z, &[0.5, 0.5, 1.0, 0.2]);
        }
        near(&short.mean, &joseph.mean);
        for (a, b) in short.covariance.iter().zip(&joseph.covariance) {
            near(a, b);
        }
    }
}
