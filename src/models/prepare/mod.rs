//! Pre-processing: an image becomes the input of a network.
//!
//! In the reference's order: static crop, removal of colour, contrast, resizing to the network's
//! size, order of the channels, scaling and normalisation, planes. The numbers are the reference's:
//! bilinear resizing is OpenCV's on bytes; the RF-DETR family resizes as Pillow does, smoothing when
//! the picture shrinks. What an answer needs to get back to the image stands in a [`Placement`].

use millrace_pixels::antialias;
use millrace_pixels::planes::{Canvas, Levels, Picture, to_planes};
use opencv::core::{Mat, Rect, Size as CvSize};
use opencv::imgproc;

use super::config::{
    ColorMode, ContrastMethod, ImagePreProcessing, NetworkInput, ResizeMode, Size, StaticCrop,
};
use super::contrast;
use crate::imaging;
use crate::values::{Image, Matrix};

/// Which library's resizing a family of models expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resizer {
    /// OpenCV's bilinear one.
    OpenCv,
    /// Pillow's bilinear one, to the network's size whatever the proportions.
    Pillow,
}

/// How images become the input of one model.
#[derive(Clone, Debug)]
pub struct Preparation {
    crop: Option<StaticCrop>,
    grayscale: bool,
    contrast: Option<ContrastMethod>,
    /// A fit to other dimensions before the last resizing (Pillow only).
    before: Option<(Fit, Size)>,
    fit: Fit,
    resizer: Resizer,
    /// Size of the network's input.
    pub size: Size,
    border: u8,
    levels: Levels,
}

/// How a picture is fitted into a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Stretch,
    Letterbox,
    CenterCrop,
}

/// Where a picture went: how coordinates in the network's input become coordinates in the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Columns left of the picture in the input (negative if it was cut off).
    pub left: f32,
    /// Rows above the picture in the input (negative if it was cut off).
    pub top: f32,
    /// Pixels of the input for one pixel of the image, across.
    pub scale_x: f32,
    /// Pixels of the input for one pixel of the image, down.
    pub scale_y: f32,
    /// Left edge of the static crop in the image.
    pub crop_x: f32,
    /// Top edge of the static crop in the image.
    pub crop_y: f32,
    /// Width of the image.
    pub width: f32,
    /// Height of the image.
    pub height: f32,
    /// Width that fractions of the input's width stand for.
    pub unit_x: f32,
    /// Height that fractions of the input's height stand for.
    pub unit_y: f32,
}

impl Placement {
    /// Corners in the input as whole pixels of the image, inside its bounds; ties go to even.
    pub fn to_image(&self, [x1, y1, x2, y2]: [f32; 4]) -> [f64; 4] {
        let x = |x: f32| (x - self.left) / self.scale_x + self.crop_x;
        let y = |y: f32| (y - self.top) / self.scale_y + self.crop_y;
        let fit = |v: f32, limit: f32| f64::from(v.clamp(0.0, limit).round_ties_even());
        [
            fit(x(x1), self.width),
            fit(y(y1), self.height),
            fit(x(x2), self.width),
            fit(y(y2), self.height),
        ]
    }
}

/// A rectangle of a picture, without a copy.
#[derive(Clone, Copy)]
struct Region<'a> {
    matrix: &'a Matrix,
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl<'a> Region<'a> {
    fn whole(matrix: &'a Matrix) -> Self {
        Self {
            matrix,
            x: 0,
            y: 0,
            width: matrix.width,
            height: matrix.height,
        }
    }

    fn picture(&self) -> Picture<'a> {
        Picture {
            data: &self.matrix.data[(self.y * self.matrix.width + self.x) * 3..],
            width: self.width,
            height: self.height,
            stride: self.matrix.width * 3,
        }
    }

    /// The middle of this part: at most `width` by `height` pixels.
    fn middle(&self, width: usize, height: usize) -> Self {
        let (cut_x, cut_y) = (
            self.width.saturating_sub(width),
            self.height.saturating_sub(height),
        );
        Self {
            matrix: self.matrix,
            x: self.x + cut_x / 2,
            y: self.y + cut_y / 2,
            width: self.width - cut_x,
            height: self.height - cut_y,
        }
    }

    /// The part resized by OpenCV's bilinear interpolation.
    fn resized(&self, width: usize, height: usize) -> opencv::Result<Matrix> {
        let whole = imaging::view(self.matrix)?;
        let [x, y, w, h] = [self.x, self.y, self.width, self.height].map(|n| n as i32);
        let part = Mat::roi(&whole, Rect::new(x, y, w, h))?;
        let size = CvSize::new(width as i32, height as i32);
        imaging::produce(width, height, 3, |out| {
            imgproc::resize(&part, out, size, 0.0, 0.0, imgproc::INTER_LINEAR)
        })
    }
}

impl Preparation {
    /// The preparation that a package asks for, with `size` the network's real input size.
    pub fn new(
        input: &NetworkInput,
        changes: &ImagePreProcessing,
        size: Size,
        resizer: Resizer,
    ) -> Result<Self, String> {
        if input.input_channels != 3 {
            return Err(format!(
                "input_channels is {}, and only 3 can be prepared",
                input.input_channels
            ));
        }
        if size.width == 0 || size.height == 0 {
            return Err("training_input_size has no pixels".into());
        }
        let (fit, border) = match (input.resize_mode, resizer) {
            (ResizeMode::Stretch, _) | (ResizeMode::FitLongerEdge, Resizer::Pillow) => {
                (Fit::Stretch, 0)
            }
            (ResizeMode::FitLongerEdge, Resizer::OpenCv) => (Fit::Letterbox, 127),
            (ResizeMode::Letterbox | ResizeMode::LetterboxReflectEdges, _) => {
                (Fit::Letterbox, input.padding_value.unwrap_or(0))
            }
            (ResizeMode::CenterCrop, _) => (Fit::CenterCrop, 0),
        };
        let before = match (resizer, input.dataset_version_resize_dimensions) {
            (Resizer::Pillow, Some(dimensions)) if fit != Fit::Stretch => Some((fit, dimensions)),
            _ => None,
        };
        let contrast = changes.contrast.filter(|contrast| contrast.enabled);
        Ok(Self {
            crop: changes.static_crop.filter(|crop| crop.enabled),
            grayscale: changes.grayscale.is_some_and(|switch| switch.enabled),
            contrast: contrast.and_then(|contrast| contrast.method),
            before,
            fit: match resizer {
                Resizer::OpenCv => fit,
                Resizer::Pillow => Fit::Stretch,
            },
            resizer,
            size,
            border,
            levels: levels(input, resizer),
        })
    }

    /// Number of floats of one prepared image.
    pub fn floats(&self) -> usize {
        3 * self.size.width * self.size.height
    }

    /// Writes an image into `planes`, [`Self::floats`] long.
    pub fn write(&self, image: &Image, planes: &mut [f32]) -> Result<Placement, String> {
        let pixels = image.bgr();
        if pixels.width == 0 || pixels.height == 0 {
            return Err("it has no pixels".into());
        }
        let mut placement = Placement {
            left: 0.0,
            top: 0.0,
            scale_x: 1.0,
            scale_y: 1.0,
            crop_x: 0.0,
            crop_y: 0.0,
            width: pixels.width as f32,
            height: pixels.height as f32,
            unit_x: self.size.width as f32,
            unit_y: self.size.height as f32,
        };
        let mut region = Region::whole(&pixels);
        if let Some(crop) = &self.crop {
            region = cut(region, crop)?;
            (placement.crop_x, placement.crop_y) = (region.x as f32, region.y as f32);
        }
        let changed = self.changed(&region).map_err(|error| error.message)?;
        if let Some(changed) = &changed {
            region = Region::whole(changed);
        }
        self.fitted(region, planes, placement)
            .map_err(|error| error.message)
    }

    /// The picture with other colours, if the package wants that.
    fn changed(&self, region: &Region<'_>) -> opencv::Result<Option<Matrix>> {
        if !self.grayscale && self.contrast.is_none() {
            return Ok(None);
        }
        let mut own = region
            .matrix
            .cut(region.x, region.y, region.width, region.height);
        if self.grayscale {
            own = contrast::without_color(&own)?;
        }
        if let Some(method) = self.contrast {
            contrast::apply(method, &mut own);
        }
        Ok(Some(own))
    }

    fn fitted(
        &self,
        region: Region<'_>,
        planes: &mut [f32],
        mut placement: Placement,
    ) -> opencv::Result<Placement> {
        let between;
        let mut region = region;
        if let Some((fit, size)) = self.before {
            between = self.framed(fit, region, size, &mut placement)?;
            (placement.unit_x, placement.unit_y) = (size.width as f32, size.height as f32);
            region = Region::whole(&between);
        }
        let resized;
        let (left, top);
        if self.resizer == Resizer::Pillow {
            let picture = region.picture();
            if self.before.is_none() {
                stretch_scale(&region, self.size, &mut placement);
            }
            resized = Matrix {
                width: self.size.width,
                height: self.size.height,
                channels: 3,
                data: antialias::resize(
                    picture.data,
                    picture.stride,
                    (region.width, region.height),
                    (self.size.width, self.size.height),
                ),
            };
            region = Region::whole(&resized);
            (left, top) = (0, 0);
        } else {
            let part;
            (part, left, top) = place(self.fit, &region, self.size, &mut placement);
            region = part.region;
            if (region.width, region.height) != (part.width, part.height) {
                resized = region.resized(part.width, part.height)?;
                region = Region::whole(&resized);
            }
        }
        to_planes(
            &region.picture(),
            &self.levels,
            &mut Canvas {
                data: planes,
                width: self.size.width,
                height: self.size.height,
                left,
                top,
                border: self.border,
            },
        );
        Ok(placement)
    }

    /// The picture fitted into a size as bytes, with its border.
    fn framed(
        &self,
        fit: Fit,
        region: Region<'_>,
        size: Size,
        placement: &mut Placement,
    ) -> opencv::Result<Matrix> {
        let (part, left, top) = place(fit, &region, size, placement);
        let resized = part.region.resized(part.width, part.height)?;
        let mut out = Matrix::filled(size.width, size.height, &[self.border; 3]);
        for y in 0..resized.height {
            let from = y * resized.width * 3;
            let to = ((top + y) * size.width + left) * 3;
            let row = resized.width * 3;
            out.data[to..to + row].copy_from_slice(&resized.data[from..from + row]);
        }
        Ok(out)
    }
}

/// A part of a picture and the size that it gets.
struct Part<'a> {
    region: Region<'a>,
    width: usize,
    height: usize,
}

/// Which part of the picture goes where in `size`, and how large.
fn place<'a>(
    fit: Fit,
    region: &Region<'a>,
    size: Size,
    placement: &mut Placement,
) -> (Part<'a>, usize, usize) {
    let (w, h) = (region.width as f64, region.height as f64);
    match fit {
        Fit::Stretch => {
            stretch_scale(region, size, placement);
            let part = Part {
                region: *region,
                width: size.width,
                height: size.height,
            };
            (part, 0, 0)
        }
        Fit::Letterbox => {
            let scale = (size.width as f64 / w).min(size.height as f64 / h);
            // The reference fails on a picture so thin that nothing is left of one side.
            let width = ((w * scale) as usize).max(1);
            let height = ((h * scale) as usize).max(1);
            let (left, top) = ((size.width - width) / 2, (size.height - height) / 2);
            (placement.left, placement.top) = (left as f32, top as f32);
            (placement.scale_x, placement.scale_y) = (scale as f32, scale as f32);
            let part = Part {
                region: *region,
                width,
                height,
            };
            (part, left, top)
        }
        Fit::CenterCrop => {
            let middle = region.middle(size.width, size.height);
            let (left, top) = (
                (size.width - middle.width) / 2,
                (size.height - middle.height) / 2,
            );
            placement.left = left as f32 - (middle.x - region.x) as f32;
            placement.top = top as f32 - (middle.y - region.y) as f32;
            let part = Part {
                region: middle,
                width: middle.width,
                height: middle.height,
            };
            (part, left, top)
        }
    }
}

fn stretch_scale(region: &Region<'_>, size: Size, placement: &mut Placement) {
    placement.scale_x = (size.width as f64 / region.width as f64) as f32;
    placement.scale_y = (size.height as f64 / region.height as f64) as f32;
}

/// The part of a picture that a static crop leaves.
fn cut<'a>(region: Region<'a>, crop: &StaticCrop) -> Result<Region<'a>, String> {
    let at =
        |percent: f64, side: usize| ((percent / 100.0 * side as f64).max(0.0) as usize).min(side);
    let (x1, x2) = (at(crop.x_min, region.width), at(crop.x_max, region.width));
    let (y1, y2) = (at(crop.y_min, region.height), at(crop.y_max, region.height));
    if x1 >= x2 || y1 >= y2 {
        return Err("the model's static crop leaves nothing of it".into());
    }
    Ok(Region {
        matrix: region.matrix,
        x: x1,
        y: y1,
        width: x2 - x1,
        height: y2 - y1,
    })
}

/// What each byte becomes, per plane.
fn levels(input: &NetworkInput, resizer: Resizer) -> Levels {
    let level = |channel: usize, byte: usize| {
        let value = byte as f32;
        let normalised = |value: f32| match input.normalization {
            Some([mean, deviation]) => (value - mean[channel]) / deviation[channel],
            None => value,
        };
        match (resizer, input.scaling_factor) {
            (Resizer::OpenCv, Some(factor)) => normalised(value / factor),
            (Resizer::OpenCv, None) => normalised(value),
            (Resizer::Pillow, Some(factor)) if input.normalization.is_none() && factor != 255.0 => {
                value / 255.0 * (255.0 / factor)
            }
            (Resizer::Pillow, _) => normalised(value / 255.0),
        }
    };
    Levels {
        planes: std::array::from_fn(|channel| std::array::from_fn(|byte| level(channel, byte))),
        reversed: input.color_mode == ColorMode::Rgb,
    }
}

#[cfg(test)]
mod tests;
