//! Between masks and polygons, as OpenCV draws and follows outlines.

mod border;
mod cut;
mod row_convex;
mod simple;

use opencv::core::{Mat, Point, Scalar, Vector};
use opencv::imgproc::{self, CHAIN_APPROX_SIMPLE, RETR_TREE};

use super::{Mask, Value};

/// Farthest place from the first pixel, in either direction, that is handed to OpenCV for drawing. It goes
/// through all rows between a shape and the picture, and any farther shape would take seconds.
pub const FARTHEST: i32 = 1 << 22;

/// The point that stands for `[x, y]` in a drawing: the same one, or the nearest within [`FARTHEST`].
pub fn drawn_at([x, y]: [i32; 2]) -> Point {
    Point::new(x.clamp(-FARTHEST, FARTHEST), y.clamp(-FARTHEST, FARTHEST))
}

/// All outlines of a mask, outer and inner, in OpenCV's order; straight runs have only their ends.
pub fn outlines(mask: &Mask) -> Vec<Vec<[i64; 2]>> {
    match border::only_outline(mask) {
        Some(outline) => vec![outline.corners],
        None => all_outlines(mask),
    }
}

/// The same for masks of any number of parts and holes.
fn all_outlines(mask: &Mask) -> Vec<Vec<[i64; 2]>> {
    let [x, y, width, height] = mask.window();
    let mut found: Vector<Vector<Point>> = Vector::new();
    let followed =
        Mat::new_rows_cols_with_bytes::<u8>(height as i32, width as i32, mask.window_bits())
            .and_then(|bits| {
                let offset = Point::new(x as i32, y as i32);
                imgproc::find_contours(&bits, &mut found, RETR_TREE, CHAIN_APPROX_SIMPLE, offset)
            });
    // OpenCV objects to nothing but an empty mask, which has no outline.
    if followed.is_err() {
        return Vec::new();
    }
    found
        .iter()
        .map(|line| {
            let points = line.as_slice().iter();
            points.map(|p| [i64::from(p.x), i64::from(p.y)]).collect()
        })
        .collect()
}

/// The outline that encloses the largest area, the first of several; its last point is repeated
/// until it has three. `None` if nothing is set.
pub fn largest_outline(mask: &Mask) -> Option<Vec<[i64; 2]>> {
    let mut largest: Option<(i64, Vec<[i64; 2]>)> = None;
    for line in outlines(mask) {
        let area = doubled_area(&line);
        if largest.as_ref().is_none_or(|(most, _)| area > *most) {
            largest = Some((area, line));
        }
    }
    let (_, mut line) = largest?;
    while let Some(&last) = line.last()
        && line.len() < 3
    {
        line.push(last);
    }
    Some(line)
}

/// The outline with the most points, the first of several; those with fewer than three do not count.
pub fn longest_outline(mask: &Mask) -> Option<Vec<[i64; 2]>> {
    longest(outlines(mask))
}

/// The same if that outline is a polygon that touches itself nowhere.
pub fn longest_simple_outline(mask: &Mask) -> Option<Vec<[i64; 2]>> {
    match border::only_outline(mask) {
        Some(outline) => outline.is_simple().then_some(outline.corners),
        None => longest(all_outlines(mask)).filter(|line| simple::is_simple(line)),
    }
}

fn longest(lines: Vec<Vec<[i64; 2]>>) -> Option<Vec<[i64; 2]>> {
    let mut longest: Option<Vec<[i64; 2]>> = None;
    for line in lines {
        let most = longest.as_ref().map_or(2, Vec::len);
        if line.len() > most {
            longest = Some(line);
        }
    }
    longest
}

/// Twice the area that a closed line encloses.
fn doubled_area(line: &[[i64; 2]]) -> i64 {
    let Some(mut before) = line.last() else {
        return 0;
    };
    let mut sum = 0;
    for point in line {
        sum += before[0] * point[1] - point[0] * before[1];
        before = point;
    }
    sum.abs()
}

/// The mask of a filled polygon, its outline included; what leaves the image is cut off. Fewer than three
/// points fill nothing.
pub fn filled(points: &[[i32; 2]], width: usize, height: usize) -> Mask {
    if points.len() < 3 {
        return Mask::empty(width, height);
    }
    let range = |axis: usize, size: usize| {
        let low = points.iter().map(|p| p[axis]).min().unwrap_or(0).max(0) as usize;
        let high = points.iter().map(|p| p[axis]).max().unwrap_or(-1);
        let end = usize::try_from(i64::from(high) + 1).unwrap_or(0).min(size);
        (low, end)
    };
    let ((x1, x2), (y1, y2)) = (range(0, width), range(1, height));
    if x1 >= x2 || y1 >= y2 {
        return Mask::empty(width, height);
    }
    let (w, h) = (x2 - x1, y2 - y1);
    let mut bits = vec![0; w * h];
    let moved = |p: &[i32; 2]| {
        [
            p[0].saturating_sub(x1 as i32),
            p[1].saturating_sub(y1 as i32),
        ]
    };
    let moved: Vec<[i32; 2]> = points.iter().map(moved).collect();
    match fill(&mut bits, w, &moved) {
        Ok(()) => Mask::from_window(width, height, [x1, y1, w, h], &bits),
        // OpenCV objects to nothing but a polygon without points, which fills nothing.
        Err(_) => Mask::empty(width, height),
    }
}

/// Draws a polygon and what it encloses with ones; `bits` has a byte a pixel, row by row.
///
/// # Errors
/// If OpenCV cannot draw on a canvas of this size.
pub(crate) fn fill(bits: &mut [u8], width: usize, points: &[[i32; 2]]) -> opencv::Result<()> {
    let height = bits.len() / width.max(1);
    let (right, bottom) = (width as i64, height as i64);
    let inside = |&[x, y]: &[i32; 2]| {
        let (x, y) = (i64::from(x), i64::from(y));
        x >= 0 && y >= 0 && x < right && y < bottom
    };
    if !points.iter().all(inside) {
        return cut::fill(bits, width, points);
    }
    let line: Vector<Point> = points.iter().map(|p| Point::new(p[0], p[1])).collect();
    let lines: Vector<Vector<Point>> = Vector::from_iter([line]);
    let mut target = Mat::new_rows_cols_with_bytes_mut::<u8>(height as i32, width as i32, bits)?;
    imgproc::fill_poly_def(&mut target, &lines, Scalar::all(1.0))
}

/// The points in a cell of a column: a list of pairs, or an array of two columns.
pub fn points_of(cell: &Value) -> Option<Vec<[f64; 2]>> {
    if let Value::Array(array) = cell {
        let pairs = array.shape.last() == Some(&2) || array.data.is_empty();
        return pairs.then(|| array.data.chunks_exact(2).map(|p| [p[0], p[1]]).collect());
    }
    let pair = |point: &Value| match point {
        Value::Array(array) => <[f64; 2]>::try_from(array.data.as_slice()).ok(),
        other => match other.as_slice()? {
            [x, y] => Some([x.as_f64()?, y.as_f64()?]),
            _ => None,
        },
    };
    cell.as_slice()?.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rectangle(x: usize, y: usize, w: usize, h: usize) -> Mask {
        Mask::from_window(40, 30, [x, y, w, h], &vec![1; w * h])
    }

    #[test]
    fn the_outline_of_a_rectangle_is_its_corners() {
        let line = largest_outline(&rectangle(10, 15, 21, 11)).unwrap();
        assert_eq!(line, [[10, 15], [10, 25], [30, 25], [30, 15]]);
    }

    #[test]
    fn a_single_pixel_is_told_three_times() {
        assert_eq!(
            largest_outline(&rectangle(4, 4, 1, 1)).unwrap(),
            [[4, 4]; 3]
        );
        assert_eq!(largest_outline(&Mask::empty(40, 30)), None);
    }

    #[test]
    fn the_larger_of_two_parts_wins_and_the_last_of_equals_in_reading_order() {
        let mut data = vec![0; 40 * 30];
        let mut paint = |x: usize, y: usize, w: usize, h: usize| {
            for row in y..y + h {
                data[row * 40 + x..row * 40 + x + w].fill(1);
            }
            Mask::from_dense(40, 30, &data)
        };
        paint(2, 2, 4, 4);
        let equal = paint(20, 20, 4, 4);
        // OpenCV lists the part that it meets last first.
        assert_eq!(largest_outline(&equal).unwrap()[0], [20, 20]);
        let larger = paint(2, 2, 5, 4);
        assert_eq!(largest_outline(&larger).unwrap()[0], [2, 2]);
    }

    #[test]
    fn a_filled_polygon_holds_its_outline() {
        let points = [[10, 15], [10, 25], [30, 25], [30, 15]];
        assert_eq!(filled(&points, 40, 30), rectangle(10, 15, 21, 11));
    }

    #[test]
    fn a_polygon_is_cut_at_the_border_as_recorded() {
        let points = [[179, 153], [165, 169], [155, 140], [171, 126]];
        assert_eq!(filled(&points, 200, 150).area(), 352);
    }

    #[test]
    fn filling_in_a_window_equals_filling_the_whole_image() {
        for points in [
            vec![[-5, 3], [50, 8], [12, 40]],
            vec![[3, 3], [30, 9], [7, 25], [28, 2]],
            vec![[5, 5], [5, 5], [5, 5]],
            vec![[-9, -9], [-3, -4], [-1, -20]],
        ] {
            let mut whole = vec![0u8; 40 * 30];
            fill(&mut whole, 40, &points).unwrap();
            assert_eq!(filled(&points, 40, 30), Mask::from_dense(40, 30, &whole));
        }
    }
}
