//! The clips of `fixtures/video`, broken copies of them, and the frame number that the synthetic one
//! carries in its picture.

use std::path::{Path, PathBuf};

use millrace::values::Matrix;
use millrace::values::image::YuvFrame;

/// Synthetic: 300 frames at 25 per second, 640×360, frame number in the picture.
pub const SHAPES: &str = "fixtures/video/shapes_a_640x360_25fps.mp4";
/// The same by its whole path.
pub const SHAPES_ABSOLUTE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/fixtures/video/shapes_a_640x360_25fps.mp4"
);
/// People walking: 400 frames at 10 per second, 640×480.
pub const PEDESTRIANS: &str = "fixtures/video/pedestrians_640x480_10fps.mp4";
/// One person: 180 frames at 10 per second, 640×360.
pub const PERSON: &str = "fixtures/video/person_640x360_10fps.mp4";

/// The number that a frame of [`SHAPES`] shows: 24 blocks of 10×10 pixels along the bottom edge, most
/// significant bit first, white = 1, counted from 0.
pub fn number_in_picture(pixels: &Matrix) -> u32 {
    (0..24).fold(0, |number, bit| {
        let (x, y) = (10 * bit + 5, pixels.height - 5);
        let green = pixels.data[(y * pixels.width + x) * 3 + 1];
        number * 2 + u32::from(green > 127)
    })
}

/// A copy of a file in `dir`, after `change`.
pub fn changed_copy(
    from: &str,
    dir: &Path,
    name: &str,
    change: impl FnOnce(&mut Vec<u8>),
) -> PathBuf {
    let mut bytes = std::fs::read(from).unwrap();
    change(&mut bytes);
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Overwrites `bytes` with noise, always the same.
pub fn scramble(bytes: &mut [u8]) {
    let mut state = 0x2545_f491_u32;
    for byte in bytes {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        *byte = state as u8;
    }
}

/// Place of a box's type in a file.
pub fn place_of(bytes: &[u8], kind: &[u8; 4]) -> usize {
    bytes.windows(4).position(|w| w == kind).unwrap()
}

/// [`number_in_picture`] of a frame whose planes are still the decoder's.
pub fn number_in_luma(frame: &YuvFrame) -> u32 {
    let (luma, stride) = frame.planes.plane(0);
    (0..24).fold(0, |number, bit| {
        let (x, y) = (10 * bit + 5, frame.height - 5);
        number * 2 + u32::from(luma[y * stride + x] > 127)
    })
}
