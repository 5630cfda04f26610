//! Pixel loops of millrace, kept in a crate of their own so that they are optimised in every profile.

pub mod antialias;
pub mod planes;

/// Planes of one 8-bit YUV frame. `chroma_step` is the distance in bytes between neighbouring
/// chroma samples of a row: 1 for planar layouts, 2 for NV12 (whose `v` starts at `uv[1..]`).
#[derive(Clone, Copy, Debug)]
pub struct Yuv<'a> {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Luma rows.
    pub y: &'a [u8],
    /// Bytes from one luma row to the next.
    pub y_stride: usize,
    /// U (Cb) samples.
    pub u: &'a [u8],
    /// Bytes from one row of U to the next.
    pub u_stride: usize,
    /// V (Cr) samples.
    pub v: &'a [u8],
    /// Bytes from one row of V to the next.
    pub v_stride: usize,
    /// Bytes from one chroma sample to the next: 1 planar, 2 interleaved.
    pub chroma_step: usize,
    /// Whether a row of chroma serves two rows of luma (4:2:0; else 4:2:2).
    pub chroma_rows_halved: bool,
    /// Whether luma spans 0–255 (else 16–235).
    pub full_range: bool,
}

/// Converts to BGR, `width * height * 3` bytes into `bgr`.
pub fn yuv_to_bgr(yuv: &Yuv<'_>, bgr: &mut [u8]) {
    let k = if yuv.full_range {
        [0, 8192, 11485, 14516, -2819, -5850]
    } else {
        [128, 9539, 13075, 16525, -3209, -6660]
    };
    let [yo, cy, cr, cb, cgu, cgv]: [i32; 6] = k;
    for row in 0..yuv.height {
        let chroma = if yuv.chroma_rows_halved { row / 2 } else { row };
        let out = &mut bgr[row * yuv.width * 3..(row + 1) * yuv.width * 3];
        for (x, px) in out.chunks_exact_mut(3).enumerate() {
            let c = x / 2 * yuv.chroma_step;
            let y = ((8 * i32::from(yuv.y[row * yuv.y_stride + x]) - yo) * cy) >> 16;
            let u = 8 * i32::from(yuv.u[chroma * yuv.u_stride + c]) - 1024;
            let v = 8 * i32::from(yuv.v[chroma * yuv.v_stride + c]) - 1024;
            px[0] = (y + ((u * cb) >> 16)).clamp(0, 255) as u8;
            px[1] = (y + ((u * cgu) >> 16) + ((v * cgv) >> 16)).clamp(0, 255) as u8;
            px[2] = (y + ((v * cr) >> 16)).clamp(0, 255) as u8;
        }
    }
}
