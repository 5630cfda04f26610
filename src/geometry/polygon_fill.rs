//! Filling of a polygon that leaves its image, to the pixel as the reference's imaging library does.
//!
//! That library draws the outline, clipped to the image, and fills between the edges row by row in
//! fixed point with 16 fractional bits. Of an edge that leaves the image it takes the slope of the
//! clipped part, even where that part is a single pixel, so such polygons come out differently from
//! their geometry (`drawing.cpp` of OpenCV 4.12, `CollectPolyEdges` and `FillEdgeCollection`; older
//! releases, as Debian's, clip differently). Numbers are 64 bits: coordinates come as 32.

const ONE: i64 = 1 << 16;

/// A window of an image, one byte a pixel.
struct Canvas {
    /// Size of the image.
    width: i64,
    height: i64,
    /// Place and width of the window.
    window: [i64; 3],
    pixels: Vec<u8>,
}

/// The side of a polygon that is filled up to: rows `top..bottom`, its place on the next row, and how
/// far it moves per row.
#[derive(Clone, Copy)]
struct Edge {
    top: i64,
    bottom: i64,
    x: i64,
    slope: i64,
}

/// The pixels, row by row, of a window (left, top, width, height) of an image of this size on which a
/// polygon is filled with 1. The window must hold what the polygon covers of the image.
pub fn filled(
    points: &[[i32; 2]],
    [width, height]: [usize; 2],
    [x, y, w, h]: [usize; 4],
) -> Vec<u8> {
    let mut canvas = Canvas {
        width: width as i64,
        height: height as i64,
        window: [x as i64, y as i64, w as i64],
        pixels: vec![0; w * h],
    };
    let edges = canvas.outline(points);
    canvas.fill(edges);
    canvas.pixels
}

impl Canvas {
    /// Draws the outline; the edges that are not level.
    fn outline(&mut self, points: &[[i32; 2]]) -> Vec<Edge> {
        let mut edges = Vec::with_capacity(points.len());
        let Some(last) = points.last() else {
            return edges;
        };
        let mut from = last.map(i64::from);
        for point in points {
            let to = point.map(i64::from);
            self.line(from, to);
            let (start, end) = match self.holds(from) && self.holds(to) {
                true => (from, to),
                false => {
                    let (_, start, end) = self.clipped(from, to);
                    match start[1] == end[1] {
                        true => ([start[0], from[1]], [end[0], to[1]]),
                        false => (start, end),
                    }
                }
            };
            if from[1] != to[1] {
                let slope = (end[0] - start[0]) * ONE / (end[1] - start[1]);
                // Far outside the image the product may leave 64 bits; no row of it is filled.
                let (upper, near) = if from[1] < to[1] {
                    (from, start)
                } else {
                    (to, end)
                };
                edges.push(Edge {
                    top: upper[1],
                    bottom: from[1].max(to[1]),
                    x: (near[0] * ONE).wrapping_add((upper[1] - near[1]).wrapping_mul(slope)),
                    slope,
                });
            }
            from = to;
        }
        edges
    }

    fn holds(&self, [x, y]: [i64; 2]) -> bool {
        (0..self.width).contains(&x) && (0..self.height).contains(&y)
    }

    /// Which sides of the image a point lies beyond, horizontally and vertically.
    fn beyond(&self, [x, y]: [i64; 2]) -> [i64; 2] {
        let side = |v: i64, size: i64| i64::from(v >= size) - i64::from(v < 0);
        [side(x, self.width), side(y, self.height)]
    }

    /// The part of a line that lies on the image, and whether there is any; if not, the ends are where
    /// the clipping left them.
    fn clipped(&self, mut a: [i64; 2], mut b: [i64; 2]) -> (bool, [i64; 2], [i64; 2]) {
        let apart = |a: [i64; 2], b: [i64; 2]| a[0] * b[0] <= 0 && a[1] * b[1] <= 0;
        let size = [self.width, self.height];
        for axis in [1, 0] {
            let (outside_a, outside_b) = (self.beyond(a), self.beyond(b));
            if !apart(outside_a, outside_b) {
                return (false, a, b);
            }
            let limit = |side: i64| if side < 0 { 0 } else { size[axis] - 1 };
            let other = 1 - axis;
            if outside_a[axis] != 0 {
                a = along(a, b, a, axis, other, limit(outside_a[axis]));
            }
            if outside_b[axis] != 0 {
                b = along(a, b, b, axis, other, limit(outside_b[axis]));
            }
        }
        (self.holds(a) && self.holds(b), a, b)
    }

    /// A line of one pixel's width whose pixels touch at sides or corners.
    fn line(&mut self, from: [i64; 2], to: [i64; 2]) {
        let (visible, from, to) = self.clipped(from, to);
        if !visible {
            return;
        }
        let ([x1, y1], [x2, y2]) = if from[0] <= to[0] {
            (from, to)
        } else {
            (to, from)
        };
        let (dx, dy, down) = (x2 - x1, (y2 - y1).abs(), (y2 - y1).signum());
        let (long, short) = (dx.max(dy), dx.min(dy));
        let mut error = long - 2 * short;
        let [mut x, mut y] = [x1, y1];
        for _ in 0..=long {
            self.set(y, x, x);
            let aside = error < 0;
            error += if aside {
                2 * (long - short)
            } else {
                -2 * short
            };
            if dy > dx {
                y += down;
                x += i64::from(aside);
            } else {
                x += 1;
                y += if aside { down } else { 0 };
            }
        }
    }

    /// Fills between edges, two by two from the left.
    fn fill(&mut self, mut edges: Vec<Edge>) {
        edges.retain(|edge| edge.bottom > 0 && edge.top < self.height);
        for edge in edges.iter_mut().filter(|edge| edge.top < 0) {
            edge.x = edge.x.wrapping_sub(edge.top.wrapping_mul(edge.slope));
            edge.top = 0;
        }
        edges.sort_by_key(|e| (e.top, e.x, e.slope));
        let mut waiting = edges.into_iter().peekable();
        let mut active: Vec<Edge> = Vec::new();
        for row in 0..self.height {
            active.retain(|edge| edge.bottom != row);
            while let Some(edge) = waiting.next_if(|edge| edge.top == row) {
                active.push(edge);
            }
            active.sort_by_key(|edge| edge.x);
            for pair in active.chunks_exact(2) {
                self.set(
                    row,
                    pair[0].x.saturating_add(ONE - 1) >> 16,
                    pair[1].x >> 16,
                );
            }
            for edge in &mut active {
                edge.x = edge.x.wrapping_add(edge.slope);
            }
        }
    }

    /// Sets the pixels of a row from one column to another, as far as they lie in the window.
    fn set(&mut self, row: i64, from: i64, to: i64) {
        let [left, top, width] = self.window;
        let (from, to) = ((from - left).max(0), (to - left).min(width - 1));
        if row >= top && from <= to {
            let start = (row - top) * width;
            let pixels = (start + from) as usize..(start + to) as usize + 1;
            if let Some(pixels) = self.pixels.get_mut(pixels) {
                pixels.fill(1);
            }
        }
    }
}

/// The point where the line through `a` and `b` reaches `limit` on an axis, from one of its ends.
fn along(
    a: [i64; 2],
    b: [i64; 2],
    end: [i64; 2],
    axis: usize,
    other: usize,
    limit: i64,
) -> [i64; 2] {
    let share = (limit - end[axis]) as f64 * (b[other] - a[other]) as f64;
    let mut point = end;
    point[other] += (share / (b[axis] - a[axis]) as f64) as i64;
    point[axis] = limit;
    point
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The picture as rows of text.
    fn drawn(points: &[[i32; 2]], width: usize, height: usize) -> Vec<String> {
        let pixels = filled(points, [width, height], [0, 0, width, height]);
        let row = |row: &[u8]| {
            row.iter()
                .map(|p| if *p == 1 { '#' } else { '.' })
                .collect()
        };
        pixels.chunks(width).map(row).collect()
    }

    /// Pictures that OpenCV 4.12 drew.
    #[test]
    fn polygons_that_leave_the_image_are_filled_as_in_the_reference() {
        assert_eq!(
            drawn(&[[-6, 1], [0, 3], [0, 6], [-6, 8]], 4, 10),
            [
                "....", "#...", "#...", "#...", "#...", "#...", "#...", "#...", "....", "...."
            ]
        );
        assert_eq!(
            drawn(&[[-3, -4], [7, 2], [12, 9], [2, 6], [-5, 11]], 9, 8),
            [
                "#####....",
                "#######..",
                "########.",
                "########.",
                "#########",
                "#########",
                "#########",
                "##...####"
            ]
        );
        assert_eq!(
            drawn(&[[4, -3], [12, 4], [-2, 7]], 8, 6),
            [
                "...#####", "..######", ".#######", ".#######", "########", "########"
            ]
        );
    }

    #[test]
    fn what_lies_outside_leaves_no_trace() {
        let far = [[-9, 2], [-3, 2], [-3, 8], [-9, 8]];
        assert!(filled(&far, [5, 5], [0, 0, 5, 5]).iter().all(|p| *p == 0));
        let around = [[-5, -5], [20, -5], [20, 20], [-5, 20]];
        assert_eq!(filled(&around, [3, 2], [0, 0, 3, 2]), [1; 6]);
        let extreme = [
            [i32::MIN, i32::MIN],
            [i32::MAX, 1],
            [2, i32::MAX],
            [-1, i32::MIN],
        ];
        assert_eq!(filled(&extreme, [3, 2], [0, 0, 3, 2]).len(), 6);
    }

    #[test]
    fn a_window_shows_its_part() {
        let points = [[-3, -4], [7, 2], [12, 9], [2, 6], [-5, 11]];
        let whole = filled(&points, [9, 8], [0, 0, 9, 8]);
        let part = filled(&points, [9, 8], [2, 3, 4, 5]);
        for (i, row) in part.chunks(4).enumerate() {
            assert_eq!(row, &whole[(i + 3) * 9 + 2..][..4], "{i}");
        }
    }
}
