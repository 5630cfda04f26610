//! Pixels that stand out as edges, thinned to lines.

use opencv::core::{self, BORDER_DEFAULT, CV_32F, CV_32S, Mat, Point, Size, Vector};
use opencv::imgproc::{
    self, CHAIN_APPROX_NONE, MORPH_CLOSE, MORPH_ELLIPSE, MORPH_RECT, RETR_EXTERNAL,
};
use opencv::prelude::MatTraitConstManual;

use crate::blocks::{BlockError, Inputs};
use crate::imaging;
use crate::values::{Mask, Matrix};

/// The edges of a picture.
pub(super) struct Edges {
    width: usize,
    height: usize,
    /// 255 at edges, 0 elsewhere.
    pixels: Vec<u8>,
    /// Steepness of each pixel.
    strength: Vec<f32>,
}

impl Edges {
    /// The edges near the outlines of masks, or everywhere if there are no masks.
    pub(super) fn find(
        pixels: &Matrix,
        masks: &[Mask],
        inputs: &Inputs<'_>,
    ) -> Result<Self, BlockError> {
        let count = |name: &str| inputs.int(name).map(|n| n.clamp(0, 10_000) as i32);
        let gray = match pixels.channels {
            1 => pixels.clone(),
            _ => imaging::to_gray(pixels)?,
        };
        let window = count("adaptive_window_size")?.max(3) | 1;
        let mut edges = Self::steep(&gray, window, inputs.float("sigma")?)?;
        let iterations = count("dilation_iterations")?;
        if iterations > 0 {
            edges.close(iterations)?;
            edges.thin();
        }
        if !masks.is_empty() {
            edges.keep_near(masks, count("boundary_band_width")?.max(1))?;
        }
        edges.drop_small(inputs.float("min_contour_area")?)?;
        Ok(edges)
    }

    /// Pixels steeper than their surroundings by so many deviations.
    fn steep(gray: &Matrix, window: i32, sigma: f64) -> opencv::Result<Self> {
        let source = imaging::view(gray)?;
        let (mut across, mut down, mut size) = (Mat::default(), Mat::default(), Mat::default());
        imgproc::sobel(
            &source,
            &mut across,
            CV_32F,
            1,
            0,
            3,
            1.0,
            0.0,
            BORDER_DEFAULT,
        )?;
        imgproc::sobel(
            &source,
            &mut down,
            CV_32F,
            0,
            1,
            3,
            1.0,
            0.0,
            BORDER_DEFAULT,
        )?;
        core::magnitude(&across, &down, &mut size)?;
        let mean_of = |values: &Mat| {
            let mut mean = Mat::default();
            let (around, centre) = (Size::new(window, window), Point::new(-1, -1));
            imgproc::box_filter(
                values,
                &mut mean,
                CV_32F,
                around,
                centre,
                true,
                BORDER_DEFAULT,
            )?;
            Ok::<_, opencv::Error>(mean)
        };
        let mut squares = Mat::default();
        core::multiply_def(&size, &size, &mut squares)?;
        let (mean, square) = (mean_of(&size)?, mean_of(&squares)?);
        let strength = size.data_typed::<f32>()?.to_vec();
        let around = mean
            .data_typed::<f32>()?
            .iter()
            .zip(square.data_typed::<f32>()?);
        let stands_out = |(size, (mean, square)): (&f32, (&f32, &f32))| {
            let deviation = (square - mean * mean).max(0.0).sqrt();
            u8::from(f64::from(*size) > f64::from(*mean) + sigma * f64::from(deviation)) * 255
        };
        let pixels = strength.iter().zip(around).map(stands_out).collect();
        Ok(Self {
            width: gray.width,
            height: gray.height,
            pixels,
            strength,
        })
    }

    fn matrix(&self) -> opencv::Result<opencv::boxed_ref::BoxedRef<'_, Mat>> {
        Mat::new_rows_cols_with_bytes::<u8>(self.height as i32, self.width as i32, &self.pixels)
    }

    /// Closes gaps.
    fn close(&mut self, iterations: i32) -> opencv::Result<()> {
        let kernel = imgproc::get_structuring_element_def(MORPH_RECT, Size::new(3, 3))?;
        let mut closed = Mat::default();
        let border = imgproc::morphology_default_border_value()?;
        let centre = Point::new(-1, -1);
        imgproc::morphology_ex(
            &self.matrix()?,
            &mut closed,
            MORPH_CLOSE,
            &kernel,
            centre,
            iterations,
            core::BORDER_CONSTANT,
            border,
        )?;
        self.pixels = closed.data_bytes()?.to_vec();
        Ok(())
    }

    /// One pass of thinning after Zhang and Suen.
    fn thin(&mut self) {
        if self.width < 3 || self.height < 3 {
            return;
        }
        for first in [true, false] {
            let mut gone = Vec::new();
            for y in 1..self.height - 1 {
                for x in 1..self.width - 1 {
                    let at = y * self.width + x;
                    if self.pixels[at] != 0 && self.is_spare(at, first) {
                        gone.push(at);
                    }
                }
            }
            gone.into_iter().for_each(|at| self.pixels[at] = 0);
        }
    }

    fn is_spare(&self, at: usize, first: bool) -> bool {
        let w = self.width;
        // Neighbours clockwise from the one above.
        let around = [
            at - w,
            at - w + 1,
            at + 1,
            at + w + 1,
            at + w,
            at + w - 1,
            at - 1,
            at - w - 1,
        ];
        let set = around.map(|i| self.pixels[i] != 0);
        let count = set.iter().filter(|s| **s).count();
        let rises = (0..8).filter(|&i| !set[i] && set[(i + 1) % 8]).count();
        let [north, _, east, _, south, _, west, _] = set;
        let open = match first {
            true => !(east && south && (north || west)),
            false => !(north && west && (east || south)),
        };
        (2..=6).contains(&count) && rises == 1 && open
    }

    /// Clears what lies further from all outlines than `band`.
    fn keep_near(&mut self, masks: &[Mask], band: i32) -> opencv::Result<()> {
        let side = 2 * band + 1;
        let kernel = imgproc::get_structuring_element_def(MORPH_ELLIPSE, Size::new(side, side))?;
        let mut near = vec![false; self.pixels.len()];
        for mask in masks {
            let dense = mask.to_matrix(255);
            let source = imaging::view(&dense)?;
            let (mut grown, mut shrunk) = (Mat::default(), Mat::default());
            imgproc::dilate_def(&source, &mut grown, &kernel)?;
            imgproc::erode_def(&source, &mut shrunk, &kernel)?;
            let bytes = grown.data_bytes()?.iter().zip(shrunk.data_bytes()?);
            for (near, (grown, shrunk)) in near.iter_mut().zip(bytes) {
                *near |= *grown > 0 && *shrunk == 0;
            }
        }
        for (pixel, near) in self.pixels.iter_mut().zip(near) {
            *pixel *= u8::from(near);
        }
        Ok(())
    }

    /// Clears parts that enclose less than `least` pixels.
    fn drop_small(&mut self, least: f64) -> opencv::Result<()> {
        let mut labels = Mat::default();
        let parts = imgproc::connected_components(&self.matrix()?, &mut labels, 8, CV_32S)?;
        let labels = labels.data_typed::<i32>()?.to_vec();
        let mut areas = vec![0.0_f64; parts.max(1) as usize];
        let mut outlines: Vector<Vector<Point>> = Vector::new();
        let none = Point::new(0, 0);
        imgproc::find_contours(
            &self.matrix()?,
            &mut outlines,
            RETR_EXTERNAL,
            CHAIN_APPROX_NONE,
            none,
        )?;
        // Parts inside the outline of another are no outer outlines of the whole picture.
        let mut measured = vec![false; areas.len()];
        for outline in &outlines {
            let first = outline.get(0)?;
            let label = labels[first.y as usize * self.width + first.x as usize] as usize;
            areas[label] = areas[label].max(imgproc::contour_area_def(&outline)?);
            measured[label] = true;
        }
        for label in (1..areas.len()).filter(|&label| !measured[label]) {
            areas[label] = self.area_alone(&labels, label as i32)?;
        }
        for (pixel, label) in self.pixels.iter_mut().zip(&labels) {
            *pixel *= u8::from(*label != 0 && areas[*label as usize] >= least);
        }
        Ok(())
    }

    /// The area that one part encloses, seen without the others.
    fn area_alone(&self, labels: &[i32], label: i32) -> opencv::Result<f64> {
        let alone: Vec<u8> = labels.iter().map(|l| u8::from(*l == label)).collect();
        let source =
            Mat::new_rows_cols_with_bytes::<u8>(self.height as i32, self.width as i32, &alone)?;
        let mut outlines: Vector<Vector<Point>> = Vector::new();
        let none = Point::new(0, 0);
        imgproc::find_contours(
            &source,
            &mut outlines,
            RETR_EXTERNAL,
            CHAIN_APPROX_NONE,
            none,
        )?;
        let areas: Result<Vec<f64>, _> = outlines
            .iter()
            .map(|o| imgproc::contour_area_def(&o))
            .collect();
        Ok(areas?.into_iter().fold(0.0, f64::max))
    }

    /// Steepness of a pixel, if it is an edge.
    pub(super) fn strength(&self, x: usize, y: usize) -> Option<f64> {
        let at = y * self.width + x;
        (self.pixels[at] != 0).then(|| f64::from(self.strength[at]))
    }

    /// All edges.
    pub(super) fn mask(&self) -> Mask {
        Mask::from_dense(self.width, self.height, &self.pixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thick_lines_are_thinned() {
        let mut edges = Edges {
            width: 7,
            height: 5,
            pixels: vec![0; 35],
            strength: vec![0.0; 35],
        };
        for y in 1..4 {
            edges.pixels[y * 7 + 1..y * 7 + 6].fill(255);
        }
        edges.thin();
        let left: Vec<usize> = (0..35).filter(|&i| edges.pixels[i] != 0).collect();
        assert!(
            left.iter().all(|i| i / 7 == 2) && !left.is_empty(),
            "{left:?}"
        );
    }
}
