//! How the picture as a whole has moved since the last frame.

use crate::blocks::BlockError;
use crate::values::Image;

/// Scaling, turning and shifting: two rows `[a, b, shift]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine(pub [[f64; 3]; 2]);

impl Affine {
    /// No motion.
    pub const IDENTITY: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);

    /// Where a point goes.
    pub fn point(&self, p: [f64; 2]) -> [f64; 2] {
        let [x, y] = self.turn(p);
        [x + self.0[0][2], y + self.0[1][2]]
    }

    /// Where a direction goes.
    pub fn turn(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [[a, b, _], [c, d, _]] = self.0;
        [a * x + b * y, c * x + d * y]
    }
}

/// Follows the motion of one camera.
pub struct CameraMotion {}

impl CameraMotion {
    /// By a method of this name, on a picture reduced by `downscale`.
    pub fn new(method: &str, _downscale: i64) -> Result<Self, BlockError> {
        Err(BlockError::failed(format!(
            "field `enable_cmc`: camera motion by `{method}` is not there yet; switch it off"
        )))
    }

    /// The motion since the last frame.
    pub fn follow(&mut self, _image: &Image, _boxes: impl Iterator<Item = [f64; 4]>) -> Affine {
        Affine::IDENTITY
    }
}
