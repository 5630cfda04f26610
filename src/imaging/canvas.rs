//! Drawing on pixels with OpenCV's functions and the reference's parameters.
//!
//! Coordinates are those of the image, also on a canvas that holds only a part of it. On gray
//! pixels a colour's blue component is drawn. Shapes may lie partly or wholly outside.

use opencv::boxed_ref::BoxedRefMut;
use opencv::core::{Mat, MatTrait, Point, Rect, Size, Vector};
use opencv::imgproc::{self, FONT_HERSHEY_SIMPLEX, LINE_4, LINE_8, LINE_AA};

use super::{Color, Pixel, view_mask, view_mut};
use crate::values::polygon::{FARTHEST, drawn_at};
use crate::values::{Mask, Matrix};

/// Thickness that stands for a filled shape.
pub const FILLED: i32 = -1;

/// Pixels to draw on.
pub struct Canvas<'a> {
    mat: BoxedRefMut<'a, Mat>,
    /// Place of the canvas's first pixel in the image.
    origin: Pixel,
}

/// Width and height of a line of text in OpenCV's plain font, without what hangs below the line.
pub fn text_size(text: &str, scale: f64, thickness: i32) -> opencv::Result<Pixel> {
    Ok(text_extent(text, scale, thickness)?.0)
}

/// Longest side of a line of text, pixels. Far more than any picture has; sums of sides stay whole.
const LONGEST_LINE: u32 = 1 << 24;

/// Width and height of a line of text, and how far letters may hang below the line.
///
/// # Errors
/// Letters so large that the line has no end.
pub fn text_extent(text: &str, scale: f64, thickness: i32) -> opencv::Result<(Pixel, i32)> {
    let mut below = 0;
    let size = imgproc::get_text_size(text, FONT_HERSHEY_SIMPLEX, scale, thickness, &mut below)?;
    let sides = [size.width, size.height, below];
    if sides.iter().any(|side| side.unsigned_abs() > LONGEST_LINE) {
        return Err(opencv::Error::new(
            opencv::core::StsOutOfRange,
            "the text is too large to draw; lower the size or thickness of its letters",
        ));
    }
    Ok(([size.width, size.height], below))
}

impl<'a> Canvas<'a> {
    /// A canvas over the pixels of a whole image.
    pub fn new(pixels: &'a mut Matrix) -> opencv::Result<Self> {
        Self::at(pixels, [0, 0])
    }

    /// A canvas over the part of an image that begins at `origin`.
    pub fn at(pixels: &'a mut Matrix, origin: Pixel) -> opencv::Result<Self> {
        Ok(Self {
            mat: view_mut(pixels)?,
            origin,
        })
    }

    /// The pixels as OpenCV sees them.
    pub fn mat(&mut self) -> &mut BoxedRefMut<'a, Mat> {
        &mut self.mat
    }

    fn point(&self, [x, y]: Pixel) -> Point {
        drawn_at([
            x.saturating_sub(self.origin[0]),
            y.saturating_sub(self.origin[1]),
        ])
    }

    fn points(&self, points: &[Pixel]) -> Vector<Point> {
        points.iter().map(|&p| self.point(p)).collect()
    }

    /// A rectangle with both corners in it; a negative thickness fills it.
    pub fn rectangle(
        &mut self,
        from: Pixel,
        to: Pixel,
        color: Color,
        thickness: i32,
    ) -> opencv::Result<()> {
        let (from, to) = (self.point(from), self.point(to));
        imgproc::rectangle_points(
            &mut self.mat,
            from,
            to,
            color.scalar(),
            thickness,
            LINE_8,
            0,
        )
    }

    /// A filled rectangle with rounded corners; the radius is cut to half the shorter side, and 0
    /// or less leaves the corners square.
    pub fn rounded_rectangle(
        &mut self,
        [x1, y1]: Pixel,
        [x2, y2]: Pixel,
        radius: i32,
        color: Color,
    ) -> opencv::Result<()> {
        let shorter = x2.saturating_sub(x1).min(y2.saturating_sub(y1));
        let r = radius.min(shorter.div_euclid(2));
        if r <= 0 {
            return self.rectangle([x1, y1], [x2, y2], color, FILLED);
        }
        self.rectangle([x1 + r, y1], [x2 - r, y2], color, FILLED)?;
        self.rectangle([x1, y1 + r], [x2, y2 - r], color, FILLED)?;
        for center in [
            [x1 + r, y1 + r],
            [x2 - r, y1 + r],
            [x1 + r, y2 - r],
            [x2 - r, y2 - r],
        ] {
            self.circle(center, r, color, FILLED)?;
        }
        Ok(())
    }

    /// A straight line.
    pub fn line(
        &mut self,
        from: Pixel,
        to: Pixel,
        color: Color,
        thickness: i32,
    ) -> opencv::Result<()> {
        let (from, to) = (self.point(from), self.point(to));
        imgproc::line(
            &mut self.mat,
            from,
            to,
            color.scalar(),
            thickness,
            LINE_8,
            0,
        )
    }

    /// A circle; a negative thickness fills it.
    pub fn circle(
        &mut self,
        center: Pixel,
        radius: i32,
        color: Color,
        thickness: i32,
    ) -> opencv::Result<()> {
        let center = self.point(center);
        imgproc::circle(
            &mut self.mat,
            center,
            radius.min(FARTHEST),
            color.scalar(),
            thickness,
            LINE_8,
            0,
        )
    }

    /// An arc of an upright ellipse from one angle to another, in degrees, clockwise from the right.
    pub fn arc(
        &mut self,
        center: Pixel,
        axes: Pixel,
        [start, end]: [f64; 2],
        color: Color,
        thickness: i32,
        thin: bool,
    ) -> opencv::Result<()> {
        let center = self.point(center);
        let axes = Size::new(axes[0].min(FARTHEST), axes[1].min(FARTHEST));
        let line_type = if thin { LINE_4 } else { LINE_8 };
        imgproc::ellipse(
            &mut self.mat,
            center,
            axes,
            0.0,
            start,
            end,
            color.scalar(),
            thickness,
            line_type,
            0,
        )
    }

    /// A line through points; `closed` joins the last to the first.
    pub fn polyline(
        &mut self,
        points: &[Pixel],
        closed: bool,
        color: Color,
        thickness: i32,
    ) -> opencv::Result<()> {
        let points = self.points(points);
        imgproc::polylines(
            &mut self.mat,
            &points,
            closed,
            color.scalar(),
            thickness,
            LINE_8,
            0,
        )
    }

    /// The area of one or several polygons; where an even number of them overlap nothing is drawn.
    pub fn fill_polygons<P: AsRef<[Pixel]>>(
        &mut self,
        polygons: &[P],
        color: Color,
    ) -> opencv::Result<()> {
        let polygons: Vector<Vector<Point>> =
            polygons.iter().map(|p| self.points(p.as_ref())).collect();
        imgproc::fill_poly(
            &mut self.mat,
            &polygons,
            color.scalar(),
            LINE_8,
            0,
            Point::new(0, 0),
        )
    }

    /// The set pixels of a mask, all of which must lie on the canvas.
    pub fn mask(&mut self, mask: &Mask, color: Color) -> opencv::Result<()> {
        let [x, y, width, height] = mask.window();
        if width == 0 || height == 0 {
            return Ok(());
        }
        let at = self.point([x as i32, y as i32]);
        let window = Rect::new(at.x, at.y, width as i32, height as i32);
        let mut part = Mat::roi_mut(&mut self.mat, window)?;
        part.set_to(&color.scalar(), &view_mask(mask)?)?;
        Ok(())
    }

    /// A line of text whose lower left corner is `at`, in OpenCV's plain font, smoothed.
    pub fn text(
        &mut self,
        text: &str,
        at: Pixel,
        scale: f64,
        color: Color,
        thickness: i32,
    ) -> opencv::Result<()> {
        let at = self.point(at);
        imgproc::put_text(
            &mut self.mat,
            text,
            at,
            FONT_HERSHEY_SIMPLEX,
            scale,
            color.scalar(),
            thickness,
            LINE_AA,
            false,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_without_end_are_refused() {
        assert!(text_size("a", 0.5, 1).is_ok());
        for (scale, thickness) in [(1e30, 1), (-1e30, 1), (0.5, i32::MAX)] {
            assert!(
                text_size("a", scale, thickness).is_err(),
                "{scale} {thickness}"
            );
        }
    }

    #[test]
    fn a_part_of_an_image_shows_what_the_whole_would() {
        let mut whole = Matrix::filled(40, 30, &[0, 0, 0]);
        let mut part = Matrix::filled(20, 10, &[0, 0, 0]);
        for (pixels, origin) in [(&mut whole, [0, 0]), (&mut part, [5, 8])] {
            let mut canvas = Canvas::at(pixels, origin).unwrap();
            canvas.line([0, 5], [35, 20], Color::WHITE, 3).unwrap();
            canvas
                .fill_polygons(&[vec![[6, 9], [22, 9], [12, 25]]], Color::hex(0xff))
                .unwrap();
        }
        assert_eq!(whole.cut(5, 8, 20, 10), part);
    }

    #[test]
    fn gray_pixels_take_the_blue_component() {
        let mut gray = Matrix::filled(4, 4, &[0]);
        let color = Color { r: 1, g: 2, b: 3 };
        Canvas::new(&mut gray)
            .unwrap()
            .rectangle([-5, -5], [9, 9], color, FILLED)
            .unwrap();
        assert_eq!(gray.data, [3; 16]);
    }

    #[test]
    fn a_mask_is_painted_where_it_lies() {
        let mask = Mask::from_window(9, 9, [2, 3, 2, 2], &[1, 0, 1, 1]);
        let mut part = Matrix::filled(4, 4, &[0, 0, 0]);
        let mut canvas = Canvas::at(&mut part, [1, 2]).unwrap();
        canvas.mask(&mask, Color::WHITE).unwrap();
        canvas.mask(&Mask::empty(9, 9), Color::WHITE).unwrap();
        let set: Vec<usize> = (0..16).filter(|i| part.data[i * 3] == 255).collect();
        assert_eq!(set, [5, 9, 10]);
    }

    #[test]
    fn text_is_as_wide_as_the_reference_says() {
        assert_eq!(text_size("person", 0.5, 1).unwrap(), [54, 12]);
    }
}
