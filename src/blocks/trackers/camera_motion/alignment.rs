//! Alignment of two pictures by their correlation (Evangelidis and Psarakis, 2008), turning and shifting
//! only.

use super::Affine;
use crate::values::Matrix;

const MAX_STEPS: usize = 50;
/// Gain in correlation below which the alignment is done.
const DONE: f64 = 1e-4;

/// The motion from `last` to `now`, pictures of one size; none if they do not correlate.
pub(super) fn align(last: &Matrix, now: &Matrix) -> Option<Affine> {
    let (mut angle, mut shift) = (0.0f64, [0.0f64; 2]);
    let (mut correlation, mut before) = (-1.0f64, -DONE);
    for _ in 0..MAX_STEPS {
        if (correlation - before).abs() < DONE {
            break;
        }
        let (sin, cos) = angle.sin_cos();
        let sums = Sums::of(last, now, [[cos, -sin, shift[0]], [sin, cos, shift[1]]])?;
        before = correlation;
        correlation = sums.correlation();
        if correlation.is_nan() {
            return None;
        }
        let step = sums.step()?;
        angle += step[0];
        shift[0] += step[1];
        shift[1] += step[2];
    }
    let (sin, cos) = angle.sin_cos();
    Some(Affine([[cos, -sin, shift[0]], [sin, cos, shift[1]]]))
}

/// Products of the two pictures, means taken out, and of the slopes by angle and shift.
#[derive(Default)]
struct Sums {
    count: f64,
    /// Of the moved picture, of the fixed one.
    sum: [f64; 2],
    squares: [f64; 2],
    product: f64,
    slopes: [f64; 3],
    slopes_moved: [f64; 3],
    slopes_fixed: [f64; 3],
    hessian: [[f64; 3]; 3],
}

impl Sums {
    fn of(fixed: &Matrix, moved: &Matrix, warp: [[f64; 3]; 2]) -> Option<Self> {
        let [[cos, _, _], [sin, _, _]] = warp;
        let mut sums = Self::default();
        for y in 0..fixed.height {
            for x in 0..fixed.width {
                let (fx, fy) = (x as f64, y as f64);
                let at = warp.map(|[a, b, c]| a * fx + b * fy + c);
                let Some([value, gx, gy]) = sample(moved, at) else {
                    continue;
                };
                let (tx, ty) = (-fx * sin - fy * cos, fx * cos - fy * sin);
                let slopes = [gx * tx + gy * ty, gx, gy];
                sums.add(value, f64::from(fixed.data[y * fixed.width + x]), slopes);
            }
        }
        (sums.count > 0.0).then(|| sums.centred())
    }

    fn add(&mut self, moved: f64, fixed: f64, slopes: [f64; 3]) {
        self.count += 1.0;
        self.sum[0] += moved;
        self.sum[1] += fixed;
        self.squares[0] += moved * moved;
        self.squares[1] += fixed * fixed;
        self.product += moved * fixed;
        for i in 0..3 {
            self.slopes[i] += slopes[i];
            self.slopes_moved[i] += slopes[i] * moved;
            self.slopes_fixed[i] += slopes[i] * fixed;
            for j in 0..3 {
                self.hessian[i][j] += slopes[i] * slopes[j];
            }
        }
    }

    /// The same sums with the means of both pictures taken out.
    fn centred(mut self) -> Self {
        let [moved, fixed] = self.sum.map(|sum| sum / self.count);
        self.squares[0] -= self.sum[0] * moved;
        self.squares[1] -= self.sum[1] * fixed;
        self.product -= self.sum[0] * fixed;
        for i in 0..3 {
            self.slopes_moved[i] -= self.slopes[i] * moved;
            self.slopes_fixed[i] -= self.slopes[i] * fixed;
        }
        self
    }

    fn correlation(&self) -> f64 {
        self.product / (self.squares[0].sqrt() * self.squares[1].sqrt())
    }

    /// How angle and shift must change.
    fn step(&self) -> Option<[f64; 3]> {
        let image = solve(self.hessian, self.slopes_moved)?;
        let dot = |a: &[f64; 3], b: &[f64; 3]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let over = self.squares[0] - dot(&self.slopes_moved, &image);
        let under = self.product - dot(&self.slopes_fixed, &image);
        if under <= 0.0 {
            return None;
        }
        let gain = over / under;
        let error = [0, 1, 2].map(|i| gain * self.slopes_fixed[i] - self.slopes_moved[i]);
        solve(self.hessian, error)
    }
}

/// Value and slopes of a picture between its pixels; none outside.
fn sample(picture: &Matrix, [x, y]: [f64; 2]) -> Option<[f64; 3]> {
    let (left, top) = (x.floor(), y.floor());
    let (last_x, last_y) = (picture.width as f64 - 1.0, picture.height as f64 - 1.0);
    if !(left >= 0.0 && top >= 0.0 && x <= last_x && y <= last_y) {
        return None;
    }
    let (a, b) = (x - left, y - top);
    let (left, top) = (left as usize, top as usize);
    let mut mixed = [0.0; 3];
    for (dx, dy, weight) in [
        (0, 0, (1.0 - a) * (1.0 - b)),
        (1, 0, a * (1.0 - b)),
        (0, 1, (1.0 - a) * b),
        (1, 1, a * b),
    ] {
        let column = (left + dx).min(picture.width - 1);
        let row = (top + dy).min(picture.height - 1);
        let value = |x: usize, y: usize| f64::from(picture.data[y * picture.width + x]);
        let (before, after) = (
            column.saturating_sub(1),
            (column + 1).min(picture.width - 1),
        );
        let (above, below) = (row.saturating_sub(1), (row + 1).min(picture.height - 1));
        mixed[0] += weight * value(column, row);
        mixed[1] += weight * (value(after, row) - value(before, row)) / 2.0;
        mixed[2] += weight * (value(column, below) - value(column, above)) / 2.0;
    }
    Some(mixed)
}

/// The `x` with `m x = b`, by Cramer's rule; none for a singular matrix.
fn solve(m: [[f64; 3]; 3], b: [f64; 3]) -> Option<[f64; 3]> {
    let determinant = |m: &[[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
            - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = determinant(&m);
    if whole == 0.0 || !whole.is_finite() {
        return None;
    }
    Some([0, 1, 2].map(|column| {
        let mut replaced = m;
        for row in 0..3 {
            replaced[row][column] = b[row];
        }
        determinant(&replaced) / whole
    }))
}
