//! The last step before a network: bytes of a picture, channels interleaved, to planes of floats.
//!
//! What a byte becomes is looked up in a table a plane, so scaling and normalisation have the exact
//! numbers of whatever formula filled the tables, at the cost of one look-up a value. Every float of
//! the planes is written once: the picture where it lies, the border colour elsewhere.

/// What the bytes of a picture become: for each plane a value per byte.
#[derive(Clone, Debug)]
pub struct Levels {
    /// One table a plane.
    pub planes: [[f32; 256]; 3],
    /// Whether the first plane takes the last channel (BGR pixels, RGB planes).
    pub reversed: bool,
}

/// Pixels of three interleaved channels.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Bytes, from the first pixel on.
    pub data: &'a [u8],
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// Three planes, one behind the other, and the place of the picture in them.
#[derive(Debug)]
pub struct Canvas<'a> {
    /// `3 * height * width` floats.
    pub data: &'a mut [f32],
    /// Floats across.
    pub width: usize,
    /// Floats down.
    pub height: usize,
    /// Columns left of the picture.
    pub left: usize,
    /// Rows above the picture.
    pub top: usize,
    /// Byte of the border around the picture, for all channels.
    pub border: u8,
}

/// Writes the picture and the border around it into the planes.
///
/// # Panics
/// If the picture does not fit the canvas at its place, or a buffer is shorter than its sizes say.
pub fn to_planes(picture: &Picture<'_>, levels: &Levels, canvas: &mut Canvas<'_>) {
    let (width, height) = (canvas.width, canvas.height);
    let right = canvas.left + picture.width;
    let bottom = canvas.top + picture.height;
    assert!(right <= width && bottom <= height);
    let border = levels.planes.map(|plane| plane[usize::from(canvas.border)]);
    for (plane, value) in canvas.data.chunks_exact_mut(width * height).zip(border) {
        plane[..canvas.top * width].fill(value);
        plane[bottom * width..].fill(value);
        if canvas.left > 0 || right < width {
            for row in plane[canvas.top * width..bottom * width].chunks_exact_mut(width) {
                row[..canvas.left].fill(value);
                row[right..].fill(value);
            }
        }
    }
    if levels.reversed {
        fill::<true>(picture, levels, canvas);
    } else {
        fill::<false>(picture, levels, canvas);
    }
}

fn fill<const REVERSED: bool>(picture: &Picture<'_>, levels: &Levels, canvas: &mut Canvas<'_>) {
    let size = canvas.width * canvas.height;
    let (first, rest) = canvas.data.split_at_mut(size);
    let (second, third) = rest.split_at_mut(size);
    let [one, two, three] = &levels.planes;
    for y in 0..picture.height {
        let pixels = &picture.data[y * picture.stride..][..picture.width * 3];
        let at = (canvas.top + y) * canvas.width + canvas.left;
        let row = at..at + picture.width;
        let planes = first[row.clone()]
            .iter_mut()
            .zip(&mut second[row.clone()])
            .zip(&mut third[row]);
        for (pixel, ((a, b), c)) in pixels.chunks_exact(3).zip(planes) {
            let (p, q) = if REVERSED {
                (pixel[2], pixel[0])
            } else {
                (pixel[0], pixel[2])
            };
            *a = one[usize::from(p)];
            *b = two[usize::from(pixel[1])];
            *c = three[usize::from(q)];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(reversed: bool) -> Levels {
        let table = |plus: f32| std::array::from_fn(|v| v as f32 + plus);
        Levels {
            planes: [table(0.0), table(1000.0), table(2000.0)],
            reversed,
        }
    }

    #[test]
    fn a_picture_lies_in_its_border() {
        let data = [1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0];
        let picture = Picture {
            data: &data,
            width: 2,
            height: 2,
            stride: 8,
        };
        let mut planes = vec![-1.0; 3 * 4 * 3];
        to_planes(
            &picture,
            &levels(true),
            &mut Canvas {
                data: &mut planes,
                width: 3,
                height: 4,
                left: 1,
                top: 1,
                border: 9,
            },
        );
        let first = [9., 9., 9., 9., 3., 6., 9., 9., 12., 9., 9., 9.];
        assert_eq!(planes[..12], first);
        let last = [9., 9., 9., 9., 1., 4., 9., 7., 10., 9., 9., 9.].map(|v| v + 2000.0);
        assert_eq!(planes[24..], last);
    }

    #[test]
    fn channels_keep_their_order_if_not_reversed() {
        let picture = Picture {
            data: &[1, 2, 3],
            width: 1,
            height: 1,
            stride: 3,
        };
        let mut planes = vec![0.0; 3];
        to_planes(
            &picture,
            &levels(false),
            &mut Canvas {
                data: &mut planes,
                width: 1,
                height: 1,
                left: 0,
                top: 0,
                border: 0,
            },
        );
        assert_eq!(planes, [1.0, 1002.0, 2003.0]);
    }
}
