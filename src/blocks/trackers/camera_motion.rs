//! How the picture as a whole has moved since the last frame, for trackers on moving cameras.
//!
//! Four methods, by the names of the field `cmc_method`. OpenCV's own modules for optical flow, image
//! alignment and the estimation of motion are not linked, so those are written out here; answers agree
//! with the reference's to a small fraction of a pixel. When a method fails, nothing has moved.

mod alignment;
mod estimate;
mod features;
mod flow;

use std::borrow::Cow;

use opencv::core::Size;
use opencv::imgproc::{self, INTER_LINEAR};

use crate::imaging;
use crate::values::{Image, Matrix};

/// Scaling, turning and shifting: two rows `[a, b, shift]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine(pub(super) [[f64; 3]; 2]);

impl Affine {
    /// No motion.
    pub(super) const IDENTITY: Self = Self([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);

    /// Where a point goes.
    pub(super) fn point(&self, p: [f64; 2]) -> [f64; 2] {
        let [x, y] = self.turn(p);
        [x + self.0[0][2], y + self.0[1][2]]
    }

    /// Where a direction goes.
    pub(super) fn turn(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [[a, b, _], [c, d, _]] = self.0;
        [a * x + b * y, c * x + d * y]
    }

    /// The same motion of a picture `factor` times as large.
    fn enlarged(mut self, factor: f64) -> Self {
        self.0[0][2] *= factor;
        self.0[1][2] *= factor;
        self
    }
}

/// Follows the motion of one camera.
pub(super) struct CameraMotion {
    method: Method,
    /// Factor by which pictures are reduced.
    reduction: usize,
}

enum Method {
    Flow(Option<flow::Seen>),
    Features(features::Finder),
    Alignment(Option<Matrix>),
}

impl CameraMotion {
    /// By a method of this name, on a picture reduced by `downscale`.
    pub(super) fn new(method: &str, downscale: i64) -> opencv::Result<Self> {
        Ok(Self {
            method: match method {
                "orb" => Method::Features(features::Finder::orb()?),
                "sift" => Method::Features(features::Finder::sift()?),
                "ecc" => Method::Alignment(None),
                _ => Method::Flow(None),
            },
            reduction: usize::try_from(downscale).unwrap_or(1).max(1),
        })
    }

    /// The motion since the last frame. `boxes` are what moves on its own.
    pub(super) fn follow(
        &mut self,
        image: &Image,
        boxes: impl Iterator<Item = [f64; 4]>,
    ) -> Affine {
        let motion = self.measure(image, boxes);
        let motion = motion.unwrap_or_else(|error| {
            tracing::warn!(%error, "camera motion could not be measured");
            None
        });
        motion.map_or(Affine::IDENTITY, |m| m.enlarged(self.reduction as f64))
    }

    fn measure(
        &mut self,
        image: &Image,
        boxes: impl Iterator<Item = [f64; 4]>,
    ) -> opencv::Result<Option<Affine>> {
        let mut gray = match image.channels() {
            1 => Cow::Borrowed(&**image.pixels()),
            _ => Cow::Owned(imaging::to_gray(&image.bgr())?),
        };
        let reduction = self.reduction;
        if reduction > 1 {
            if matches!(self.method, Method::Alignment(_)) {
                gray = Cow::Owned(blurred(&gray)?);
            }
            let (width, height) = (gray.width / reduction, gray.height / reduction);
            let reduced = imaging::resized(&gray, width.max(1), height.max(1), INTER_LINEAR)?;
            gray = Cow::Owned(reduced);
        }
        match &mut self.method {
            Method::Flow(last) => flow::step(last, gray.into_owned()),
            Method::Features(finder) => {
                let reduced = boxes.map(|b| b.map(|c| c / reduction as f64));
                finder.step(&gray, reduced)
            }
            Method::Alignment(last) => {
                let motion = last
                    .as_ref()
                    .filter(|last| (last.width, last.height) == (gray.width, gray.height))
                    .and_then(|last| alignment::align(last, &gray));
                *last = Some(gray.into_owned());
                Ok(motion)
            }
        }
    }
}

fn blurred(gray: &Matrix) -> opencv::Result<Matrix> {
    let source = imaging::view(gray)?;
    imaging::produce(gray.width, gray.height, 1, |out| {
        imgproc::gaussian_blur_def(&source, out, Size::new(3, 3), 1.5)
    })
}

/// Pictures of a known motion, for the tests of all methods.
#[cfg(test)]
mod pan {
    use super::*;

    /// A smooth pattern seen from (`x`, `y`).
    fn picture(x: f64, y: f64) -> Image {
        let mut data = Vec::with_capacity(160 * 120 * 3);
        for row in 0..120 {
            for column in 0..160 {
                let (u, v) = (f64::from(column) + x, f64::from(row) + y);
                let waves = (u / 4.0).sin() * (v / 5.0).cos() + ((u + 2.0 * v) / 11.0).sin();
                let blob = ((u / 17.0).floor() * 7.0 + (v / 13.0).floor() * 5.0) % 3.0;
                data.extend([(120.0 + 40.0 * waves + 15.0 * blob) as u8; 3]);
            }
        }
        let pixels = Matrix {
            width: 160,
            height: 120,
            channels: 3,
            data,
        };
        Image::new(pixels, "image".into())
    }

    #[test]
    fn every_method_sees_the_picture_shift() {
        for (method, reduction) in [("sparseOptFlow", 1), ("orb", 1), ("sift", 1), ("ecc", 1)] {
            let mut camera = CameraMotion::new(method, reduction).unwrap();
            let none = std::iter::empty;
            let first = camera.follow(&picture(0.0, 0.0), none());
            assert_eq!(first, Affine::IDENTITY, "{method}");
            let moved = camera.follow(&picture(3.0, -2.0), none());
            let [x, y] = moved.point([80.0, 60.0]);
            let off = (x - 77.0).hypot(y - 62.0);
            assert!(off < 1.0, "{method}: {moved:?}");
        }
    }

    #[test]
    fn an_empty_picture_does_not_move() {
        let flat = Image::new(Matrix::filled(40, 30, &[9, 9, 9]), "image".into());
        for method in ["sparseOptFlow", "orb", "sift", "ecc"] {
            let mut camera = CameraMotion::new(method, 2).unwrap();
            for _ in 0..2 {
                let motion = camera.follow(&flat, std::iter::empty());
                assert_eq!(motion, Affine::IDENTITY, "{method}");
            }
        }
    }
}
