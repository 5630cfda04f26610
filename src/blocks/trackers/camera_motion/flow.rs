//! Sparse optical flow: where the corners of the last picture are in this one, by Lucas and Kanade's
//! method on a pyramid (Bouguet, 2000), with the settings that OpenCV has by default.

use opencv::core::{Point2f, Vector, no_array};
use opencv::imgproc;

use super::Affine;
use super::estimate::{self, Pair};
use crate::imaging;
use crate::values::Matrix;

const MAX_CORNERS: i32 = 1000;
/// Side of the window around a corner.
const WINDOW: usize = 21;
const HALF: f32 = 10.0;
const MAX_LEVEL: usize = 3;
const MAX_STEPS: usize = 30;
/// Square of the step below which a corner has arrived.
const ARRIVED: f32 = 0.01 * 0.01;
/// Least eigenvalue, per pixel of the window, of a corner that can be followed.
const LEAST_EIGENVALUE: f32 = 1e-4;
/// Pairs that are too few to tell a motion from.
const TOO_FEW: usize = 4;

/// The last picture and its corners.
pub(super) struct Seen {
    levels: Vec<Matrix>,
    corners: Vec<[f32; 2]>,
}

/// The motion from the last picture to this one, which becomes the last.
pub(super) fn step(last: &mut Option<Seen>, gray: Matrix) -> opencv::Result<Option<Affine>> {
    let corners = corners(&gray)?;
    let levels = pyramid(gray)?;
    let size = |levels: &[Matrix]| (levels[0].width, levels[0].height);
    let motion = match last {
        Some(seen) if size(&seen.levels) == size(&levels) => {
            let pairs: Vec<Pair> = seen
                .corners
                .iter()
                .filter_map(|&from| Some((from, follow(&seen.levels, &levels, from)?)))
                .map(|(from, to)| (from.map(f64::from), to.map(f64::from)))
                .collect();
            if pairs.len() > TOO_FEW {
                estimate::motion(&pairs)
            } else {
                None
            }
        }
        _ => None,
    };
    *last = Some(Seen { levels, corners });
    Ok(motion)
}

fn corners(gray: &Matrix) -> opencv::Result<Vec<[f32; 2]>> {
    let mut found: Vector<Point2f> = Vector::new();
    let source = imaging::view(gray)?;
    imgproc::good_features_to_track(
        &source,
        &mut found,
        MAX_CORNERS,
        0.01,
        1.0,
        &no_array(),
        3,
        false,
        0.04,
    )?;
    Ok(found.iter().map(|p| [p.x, p.y]).collect())
}

/// The picture and its halves, as long as they are larger than the window.
fn pyramid(gray: Matrix) -> opencv::Result<Vec<Matrix>> {
    let mut levels = vec![gray];
    while levels.len() <= MAX_LEVEL {
        let above = &levels[levels.len() - 1];
        let (width, height) = (above.width.div_ceil(2), above.height.div_ceil(2));
        if width <= WINDOW || height <= WINDOW {
            break;
        }
        let source = imaging::view(above)?;
        let half = imaging::produce(width, height, 1, |out| imgproc::pyr_down_def(&source, out))?;
        levels.push(half);
    }
    Ok(levels)
}

/// Where a point of one pyramid is in the other, if it can be followed.
fn follow(from: &[Matrix], to: &[Matrix], point: [f32; 2]) -> Option<[f32; 2]> {
    let top = from.len().min(to.len()) - 1;
    let mut guess = point.map(|c| c / (1 << top) as f32);
    for level in (0..=top).rev() {
        let start = point.map(|c| c / (1 << level) as f32);
        match refine(&from[level], &to[level], start, guess) {
            Some(better) => guess = better,
            None if level == 0 => return None,
            None => {}
        }
        if level > 0 {
            guess = guess.map(|c| c * 2.0);
        }
    }
    Some(guess)
}

/// The window around a point: its pixels and their slopes.
struct Window {
    pixels: [f32; WINDOW * WINDOW],
    slopes: [[f32; 2]; WINDOW * WINDOW],
}

fn refine(from: &Matrix, to: &Matrix, start: [f32; 2], mut guess: [f32; 2]) -> Option<[f32; 2]> {
    let window = Window::at(from, start)?;
    let (mut xx, mut xy, mut yy) = (0.0f32, 0.0f32, 0.0f32);
    for [x, y] in &window.slopes {
        xx += x * x;
        xy += x * y;
        yy += y * y;
    }
    let determinant = xx * yy - xy * xy;
    let spread = ((xx - yy) * (xx - yy) + 4.0 * xy * xy).sqrt();
    // OpenCV keeps its sums 1024 times as small.
    let eigenvalue = (xx + yy - spread) / (2 * WINDOW * WINDOW) as f32 / 1024.0;
    if eigenvalue < LEAST_EIGENVALUE || determinant / (1024.0 * 1024.0) < f32::EPSILON {
        return None;
    }
    let mut before = [0.0f32; 2];
    for step in 0..MAX_STEPS {
        let (mut bx, mut by) = (0.0f32, 0.0f32);
        let sampled = Sampler::at(to, guess)?;
        for (i, (pixel, slope)) in window.pixels.iter().zip(&window.slopes).enumerate() {
            let difference = sampled.pixel(i % WINDOW, i / WINDOW) - pixel;
            bx += difference * slope[0];
            by += difference * slope[1];
        }
        let dx = (xy * by - yy * bx) / determinant;
        let dy = (xy * bx - xx * by) / determinant;
        guess = [guess[0] + dx, guess[1] + dy];
        if dx * dx + dy * dy <= ARRIVED {
            break;
        }
        if step > 0 && (dx + before[0]).abs() < 0.01 && (dy + before[1]).abs() < 0.01 {
            guess = [guess[0] - dx * 0.5, guess[1] - dy * 0.5];
            break;
        }
        before = [dx, dy];
    }
    Sampler::at(to, guess).map(|_| guess)
}

/// Reads a picture between its pixels, in a window around a point.
struct Sampler<'a> {
    picture: &'a Matrix,
    left: i64,
    top: i64,
    weights: [f32; 4],
}

impl<'a> Sampler<'a> {
    /// None if the window lies outside the picture.
    fn at(picture: &'a Matrix, point: [f32; 2]) -> Option<Self> {
        let [x, y] = point.map(|c| c - HALF);
        let (left, top) = (x.floor(), y.floor());
        let inside = |low: f32, size: usize| low >= -(WINDOW as f32) && low < size as f32;
        if !inside(left, picture.width) || !inside(top, picture.height) {
            return None;
        }
        let (a, b) = (x - left, y - top);
        Some(Self {
            picture,
            left: left as i64,
            top: top as i64,
            weights: [(1.0 - a) * (1.0 - b), a * (1.0 - b), (1.0 - a) * b, a * b],
        })
    }

    fn mixed(&self, x: usize, y: usize, read: impl Fn(i64, i64) -> f32) -> f32 {
        let (x, y) = (self.left + x as i64, self.top + y as i64);
        let [a, b, c, d] = self.weights;
        a * read(x, y) + b * read(x + 1, y) + c * read(x, y + 1) + d * read(x + 1, y + 1)
    }

    fn pixel(&self, x: usize, y: usize) -> f32 {
        self.mixed(x, y, |x, y| mirrored(self.picture, x, y))
    }
}

impl Window {
    fn at(picture: &Matrix, point: [f32; 2]) -> Option<Self> {
        let sampler = Sampler::at(picture, point)?;
        let mut window = Self {
            pixels: [0.0; WINDOW * WINDOW],
            slopes: [[0.0; 2]; WINDOW * WINDOW],
        };
        for i in 0..WINDOW * WINDOW {
            let (x, y) = (i % WINDOW, i / WINDOW);
            window.pixels[i] = sampler.pixel(x, y);
            window.slopes[i] = [
                sampler.mixed(x, y, |x, y| slope(picture, x, y, true)),
                sampler.mixed(x, y, |x, y| slope(picture, x, y, false)),
            ];
        }
        Some(window)
    }
}

/// A pixel; beyond the edges the picture is mirrored.
fn mirrored(picture: &Matrix, x: i64, y: i64) -> f32 {
    let inside = |c: i64, size: usize| {
        let last = size as i64 - 1;
        let c = if c < 0 { -c } else { c };
        (if c > last { 2 * last - c } else { c }).clamp(0, last) as usize
    };
    let (x, y) = (inside(x, picture.width), inside(y, picture.height));
    f32::from(picture.data[y * picture.width + x])
}

/// Slope of the picture by Scharr's filter, in values per pixel; 0 beyond the edges.
fn slope(picture: &Matrix, x: i64, y: i64, across: bool) -> f32 {
    if x < 0 || y < 0 || x >= picture.width as i64 || y >= picture.height as i64 {
        return 0.0;
    }
    let at = |along: i64, aside: i64| {
        let (dx, dy) = if across {
            (along, aside)
        } else {
            (aside, along)
        };
        mirrored(picture, x + dx, y + dy)
    };
    let difference = |aside: i64| at(1, aside) - at(-1, aside);
    (3.0 * (difference(-1) + difference(1)) + 10.0 * difference(0)) / 32.0
}
