//! Maps of one plane to another as a camera sees them: 3 × 3 matrices.

use opencv::core::{BORDER_CONSTANT, Mat, MatTraitConst, Point2f, Scalar, Size, Vector};
use opencv::imgproc;

use super::{produce, view};
use crate::values::Matrix;

/// A perspective map, row by row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Homography(pub [f64; 9]);

impl Homography {
    /// The map that takes four points to four others.
    pub fn between(from: &[[f64; 2]; 4], to: &[[f64; 2]; 4]) -> opencv::Result<Self> {
        let points = |four: &[[f64; 2]; 4]| {
            Vector::<Point2f>::from_iter(four.map(|[x, y]| Point2f::new(x as f32, y as f32)))
        };
        let matrix = imgproc::get_perspective_transform_def(&points(from), &points(to))?;
        let mut numbers = [0.0; 9];
        for (i, number) in numbers.iter_mut().enumerate() {
            *number = *matrix.at_2d::<f64>(i as i32 / 3, i as i32 % 3)?;
        }
        Ok(Self(numbers))
    }

    /// Where a point goes; not a number for points that go nowhere.
    pub fn point(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let m = &self.0;
        let scale = 1.0 / (m[6] * x + m[7] * y + m[8]);
        [
            (m[0] * x + m[1] * y + m[2]) * scale,
            (m[3] * x + m[4] * y + m[5]) * scale,
        ]
    }

    /// The same map, its results moved by (`dx`, `dy`).
    pub fn moved(&self, dx: f64, dy: f64) -> Self {
        let m = &self.0;
        let mut moved = self.0;
        for i in 0..3 {
            moved[i] += dx * m[6 + i];
            moved[3 + i] += dy * m[6 + i];
        }
        Self(moved)
    }

    /// An image seen through the map, `width` by `height` pixels; black where it does not reach.
    pub fn warped(&self, pixels: &Matrix, width: usize, height: usize) -> opencv::Result<Matrix> {
        let source = view(pixels)?;
        let matrix = self.matrix()?;
        produce(width, height, pixels.channels, |out| {
            imgproc::warp_perspective(
                &source,
                out,
                &matrix,
                Size::new(width as i32, height as i32),
                imgproc::INTER_LINEAR,
                BORDER_CONSTANT,
                Scalar::all(0.0),
            )
        })
    }

    /// The matrix as OpenCV takes it.
    fn matrix(&self) -> opencv::Result<Mat> {
        Mat::from_slice(&self.0)?.reshape(1, 3)?.try_clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_points_go_where_they_should() {
        let from = [[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]];
        let to = [[5.0, 5.0], [20.0, 6.0], [18.0, 25.0], [4.0, 19.0]];
        let map = Homography::between(&from, &to).unwrap();
        for (p, q) in from.iter().zip(to) {
            let [x, y] = map.point(*p);
            assert!((x - q[0]).abs() < 1e-4 && (y - q[1]).abs() < 1e-4);
            let [x2, y2] = map.moved(3.0, -2.0).point(*p);
            assert!((x2 - x - 3.0).abs() < 1e-9 && (y2 - y + 2.0).abs() < 1e-9);
        }
        assert_eq!(*map.matrix().unwrap().at_2d::<f64>(2, 2).unwrap(), map.0[8]);
    }
}
