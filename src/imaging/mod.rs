//! Pixel work: our [`Matrix`] seen by OpenCV, colours, drawing and blending.
//!
//! OpenCV reads and writes the bytes of a [`Matrix`] in place; nothing is copied on the way in or
//! out. It computes on the calling thread only, because each stage has a thread of its own.
//!
//! An OpenCV function that writes into a borrowed matrix of another size or type than it wants
//! silently writes elsewhere. [`produce`] and the functions built on it check for that.

pub mod blend;
pub mod canvas;
pub mod color;
pub mod homography;

use std::sync::Once;

use opencv::boxed_ref::{BoxedRef, BoxedRefMut};
use opencv::core::{Mat, MatTraitConst, Size, Vec3b, Vec4b};
use opencv::imgproc;

use crate::values::{Image, Mask, Matrix};

pub use canvas::{Canvas, text_size};
pub use color::Color;
pub use homography::Homography;

/// A point in whole pixels.
pub type Pixel = [i32; 2];

/// A rectangle `[x, y, width, height]` that lies inside an image.
pub type Region = [usize; 4];

/// Pixels that one step may make of one image: more would fill the memory rather than serve a model.
pub const MOST_PIXELS: usize = 300_000_000;

/// Keeps OpenCV from starting threads of its own; repeated calls do nothing.
fn single_thread() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = opencv::core::set_num_threads(0) {
            tracing::warn!(%error, "OpenCV keeps its own threads");
        }
    });
}

fn unsupported(channels: usize) -> opencv::Error {
    opencv::Error::new(
        opencv::core::StsBadArg,
        format!("an image has 1, 3 or 4 channels, not {channels}"),
    )
}

/// The pixels as OpenCV reads them.
pub fn view(pixels: &Matrix) -> opencv::Result<BoxedRef<'_, Mat>> {
    single_thread();
    let (rows, columns) = (pixels.height as i32, pixels.width as i32);
    match pixels.channels {
        1 => Mat::new_rows_cols_with_bytes::<u8>(rows, columns, &pixels.data),
        3 => Mat::new_rows_cols_with_bytes::<Vec3b>(rows, columns, &pixels.data),
        4 => Mat::new_rows_cols_with_bytes::<Vec4b>(rows, columns, &pixels.data),
        n => Err(unsupported(n)),
    }
}

/// The window of a mask as OpenCV reads it: one channel, 0 or 1. The window must not be empty.
pub fn view_mask(mask: &Mask) -> opencv::Result<BoxedRef<'_, Mat>> {
    single_thread();
    let [_, _, width, height] = mask.window();
    Mat::new_rows_cols_with_bytes::<u8>(height as i32, width as i32, mask.window_bits())
}

/// The pixels as OpenCV writes them.
pub fn view_mut(pixels: &mut Matrix) -> opencv::Result<BoxedRefMut<'_, Mat>> {
    single_thread();
    let (rows, columns) = (pixels.height as i32, pixels.width as i32);
    match pixels.channels {
        1 => Mat::new_rows_cols_with_bytes_mut::<u8>(rows, columns, &mut pixels.data),
        3 => Mat::new_rows_cols_with_bytes_mut::<Vec3b>(rows, columns, &mut pixels.data),
        4 => Mat::new_rows_cols_with_bytes_mut::<Vec4b>(rows, columns, &mut pixels.data),
        n => Err(unsupported(n)),
    }
}

/// A new image of the given size that `write` fills. `write` must produce exactly that size and
/// number of channels; anything else is an error.
pub fn produce(
    width: usize,
    height: usize,
    channels: usize,
    write: impl FnOnce(&mut BoxedRefMut<'_, Mat>) -> opencv::Result<()>,
) -> opencv::Result<Matrix> {
    let mut pixels = Matrix {
        width,
        height,
        channels,
        data: vec![0; width * height * channels],
    };
    let mut out = view_mut(&mut pixels)?;
    let before = out.data();
    write(&mut out)?;
    if out.data() != before {
        return Err(opencv::Error::new(
            opencv::core::StsUnmatchedSizes,
            format!("an operation did not give {width}x{height} pixels of {channels} channels"),
        ));
    }
    drop(out);
    Ok(pixels)
}

/// A copy of an image's pixels to draw on, gray or colour as they are. A decoder's frame is
/// converted straight into the copy.
pub fn owned(image: &Image) -> Matrix {
    if image.channels() == 3 {
        image.to_owned_bgr()
    } else {
        (**image.pixels()).clone()
    }
}

/// The pixels in gray, by OpenCV's integer formula. Fails for one channel.
pub fn to_gray(pixels: &Matrix) -> opencv::Result<Matrix> {
    let source = view(pixels)?;
    let code = if pixels.channels == 4 {
        imgproc::COLOR_BGRA2GRAY
    } else {
        imgproc::COLOR_BGR2GRAY
    };
    produce(pixels.width, pixels.height, 1, |out| {
        imgproc::cvt_color_def(&source, out, code)
    })
}

/// The pixels resized to a size of at least 1 × 1 with one of OpenCV's `INTER_*` methods.
pub fn resized(
    pixels: &Matrix,
    width: usize,
    height: usize,
    interpolation: i32,
) -> opencv::Result<Matrix> {
    let source = view(pixels)?;
    let size = Size::new(width as i32, height as i32);
    produce(width, height, pixels.channels, |out| {
        imgproc::resize(&source, out, size, 0.0, 0.0, interpolation)
    })
}

/// Farthest coordinate and longest side that drawing works with: far beyond every image, and sums of
/// several of them are still numbers of 32 bits.
const LIMIT: i64 = 1 << 28;

/// A coordinate with its fraction dropped, at most [`LIMIT`] away; NaN is 0.
pub fn trunc(x: f64) -> i32 {
    pixels(x as i64)
}

/// A whole number of pixels as OpenCV takes it, at most [`LIMIT`] either way.
pub fn pixels(n: i64) -> i32 {
    n.clamp(-LIMIT, LIMIT) as i32
}

/// Widest neighbourhood of a filter: time and memory that a filter takes grow with it.
const WIDEST_KERNEL: i64 = 1024;

/// The side of a filter's neighbourhood, in pixels.
///
/// # Errors
/// If it is wider than any picture needs.
pub fn kernel(side: i64) -> opencv::Result<i32> {
    match side {
        ..=WIDEST_KERNEL => Ok(pixels(side)),
        _ => Err(opencv::Error::new(
            opencv::core::StsOutOfRange,
            format!("a kernel has at most {WIDEST_KERNEL} pixels, not {side}"),
        )),
    }
}

/// The box `[x1, y1, x2, y2]` with its fractions dropped.
pub fn trunc_box(xyxy: &[f64; 4]) -> [i32; 4] {
    xyxy.map(trunc)
}

/// The range that a Python slice `[from:to]` selects on an axis of `length`: negative bounds count
/// from the end.
pub fn slice(from: i32, to: i32, length: usize) -> std::ops::Range<usize> {
    let resolve = |v: i32| {
        let v = i64::from(v);
        let n = length as i64;
        (if v < 0 { (v + n).max(0) } else { v.min(n) }) as usize
    };
    let (from, to) = (resolve(from), resolve(to));
    from..to.max(from)
}

/// The part of a rectangle (corners `x1, y1` included, `x2, y2` excluded) inside a `width` ×
/// `height` image; `None` if nothing of it is.
pub fn clipped([x1, y1, x2, y2]: [i32; 4], width: usize, height: usize) -> Option<Region> {
    let (x1, y1) = (x1.max(0) as usize, y1.max(0) as usize);
    let (x2, y2) = (
        (x2.max(0) as usize).min(width),
        (y2.max(0) as usize).min(height),
    );
    (x1 < x2 && y1 < y2).then(|| [x1, y1, x2 - x1, y2 - y1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opencv_writes_into_our_bytes() {
        let gray = Matrix::filled(4, 2, &[10]);
        let big = resized(&gray, 8, 4, imgproc::INTER_NEAREST).unwrap();
        assert_eq!(big, Matrix::filled(8, 4, &[10]));
        let bgr = Matrix::filled(2, 2, &[255, 0, 0]);
        assert_eq!(to_gray(&bgr).unwrap().data, [29; 4]);
        assert!(to_gray(&gray).is_err());
    }

    #[test]
    fn a_result_of_another_size_is_an_error_not_a_black_image() {
        let gray = Matrix::filled(4, 2, &[10]);
        let source = view(&gray).unwrap();
        let wrong = produce(5, 5, 1, |out| {
            imgproc::blur_def(&source, out, Size::new(1, 1))
        });
        assert!(wrong.is_err());
    }

    #[test]
    fn slices_follow_python() {
        assert_eq!(slice(-20, -5, 200), 180..195);
        assert_eq!(slice(-20, 16, 200), 180..180);
        assert_eq!(slice(150, 230, 200), 150..200);
        assert_eq!(clipped([-5, 2, 3, 9], 10, 5), Some([0, 2, 3, 3]));
        assert_eq!(clipped([3, 2, 3, 9], 10, 5), None);
    }
}
