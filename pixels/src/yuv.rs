//! Decoder planes to BGR.
//!
//! The formula is the one that the reference's video reader applies to 8-bit 4:2:0 and 4:2:2
//! frames, integer throughout: BT.601 weights whatever the stream says, one chroma sample for all
//! pixels of its cell.

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

/// Weights of the formula, all of which fit 16 bits.
#[derive(Clone, Copy)]
struct Weights {
    y_offset: i16,
    y: i16,
    v_red: i16,
    u_blue: i16,
    u_green: i16,
    v_green: i16,
}

const LIMITED: Weights = Weights {
    y_offset: 128,
    y: 9539,
    v_red: 13075,
    u_blue: 16525,
    u_green: -3209,
    v_green: -6660,
};

const FULL: Weights = Weights {
    y_offset: 0,
    y: 8192,
    v_red: 11485,
    u_blue: 14516,
    u_green: -2819,
    v_green: -5850,
};

/// One row of the three planes, from its first sample to its last.
#[derive(Clone, Copy)]
struct Row<'a> {
    y: &'a [u8],
    u: &'a [u8],
    v: &'a [u8],
    step: usize,
    /// `u` reaches one byte further, and its odd bytes are `v` (NV12).
    paired: bool,
}

/// Converts to BGR, `width * height * 3` bytes into `bgr`.
///
/// # Panics
///
/// If a plane or `bgr` is too short for the size.
pub fn yuv_to_bgr(yuv: &Yuv<'_>, bgr: &mut [u8]) {
    let convert = row_converter();
    convert_with(yuv, bgr, convert);
}

type RowConverter = fn(Row<'_>, &Weights, &mut [u8]);

fn row_converter() -> RowConverter {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return avx2::row;
    }
    plain_row
}

fn convert_with(yuv: &Yuv<'_>, bgr: &mut [u8], convert: RowConverter) {
    let weights = if yuv.full_range { &FULL } else { &LIMITED };
    let width = yuv.width;
    if width == 0 {
        return;
    }
    let chroma_bytes = (width.div_ceil(2) - 1) * yuv.chroma_step + 1;
    let paired = yuv.chroma_step == 2
        && std::ptr::eq(yuv.v.as_ptr(), yuv.u.as_ptr().wrapping_add(1))
        && yuv.u_stride == yuv.v_stride
        && yuv.u.len() > yuv.v.len();
    let u_bytes = chroma_bytes + usize::from(paired);
    for (row, out) in bgr[..width * yuv.height * 3]
        .chunks_exact_mut(width * 3)
        .enumerate()
    {
        let chroma = if yuv.chroma_rows_halved { row / 2 } else { row };
        let (y, u, v) = (
            row * yuv.y_stride,
            chroma * yuv.u_stride,
            chroma * yuv.v_stride,
        );
        let planes = Row {
            y: &yuv.y[y..y + width],
            u: &yuv.u[u..u + u_bytes],
            v: &yuv.v[v..v + chroma_bytes],
            step: yuv.chroma_step,
            paired,
        };
        convert(planes, weights, out);
    }
}

/// The formula. Handles any width and step.
fn plain_row(row: Row<'_>, k: &Weights, out: &mut [u8]) {
    let high = |a: i32, b: i16| (a * i32::from(b)) >> 16;
    for (x, px) in out.chunks_exact_mut(3).enumerate() {
        let c = x / 2 * row.step;
        let y = high(8 * i32::from(row.y[x]) - i32::from(k.y_offset), k.y);
        let u = 8 * i32::from(row.u[c]) - 1024;
        let v = 8 * i32::from(row.v[c]) - 1024;
        px[0] = (y + high(u, k.u_blue)).clamp(0, 255) as u8;
        px[1] = (y + high(u, k.u_green) + high(v, k.v_green)).clamp(0, 255) as u8;
        px[2] = (y + high(v, k.v_red)).clamp(0, 255) as u8;
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    //! Thirty-two pixels at a time. `mulhi` is the formula's "multiply, keep the high half".

    use std::arch::x86_64::*;

    use super::{Row, Weights, plain_row};

    /// Pixels of one round; they share half as many chroma samples.
    const LANES: usize = 32;

    /// Converts one row. Must only be called where AVX2 is there.
    pub(super) fn row(row: Row<'_>, k: &Weights, out: &mut [u8]) {
        debug_assert!(std::arch::is_x86_feature_detected!("avx2"));
        if row.paired {
            // SAFETY: `row_converter` hands this function out only after it has detected AVX2.
            unsafe { row_avx2::<true>(row, k, out) }
        } else if row.step == 1 {
            // SAFETY: as above.
            unsafe { row_avx2::<false>(row, k, out) }
        } else {
            plain_row(row, k, out);
        }
    }

    #[target_feature(enable = "avx2")]
    fn row_avx2<const PAIRED: bool>(row: Row<'_>, k: &Weights, out: &mut [u8]) {
        let width = row.y.len();
        if width < LANES {
            return plain_row(row, k, out);
        }
        // The last round takes some pixels again, to start on a whole chroma cell.
        let last = (width - LANES) & !1;
        for round in 0..width.div_ceil(LANES) {
            let x = (round * LANES).min(last);
            block::<PAIRED>(row, k, x, &mut out[x * 3..]);
        }
        if last + LANES < width {
            let x = last + LANES;
            let c = x / 2 * row.step;
            let rest = Row {
                y: &row.y[x..],
                u: &row.u[c..],
                v: &row.v[c..],
                ..row
            };
            plain_row(rest, k, &mut out[x * 3..]);
        }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn block<const PAIRED: bool>(row: Row<'_>, k: &Weights, x: usize, out: &mut [u8]) {
        let (u, v) = if PAIRED {
            let both = load(row.u, x);
            (
                _mm256_and_si256(both, _mm256_set1_epi16(0xff)),
                _mm256_srli_epi16(both, 8),
            )
        } else {
            (widen(&row.u[x / 2..]), widen(&row.v[x / 2..]))
        };
        let centre = |c| _mm256_sub_epi16(_mm256_slli_epi16(c, 3), _mm256_set1_epi16(1024));
        let (u, v) = (centre(u), centre(v));
        let weigh = |c, w| _mm256_mulhi_epi16(c, _mm256_set1_epi16(w));
        let blue = weigh(u, k.u_blue);
        let green = _mm256_add_epi16(weigh(u, k.u_green), weigh(v, k.v_green));
        let red = weigh(v, k.v_red);

        let luma = load(row.y, x);
        let zero = _mm256_setzero_si256();
        let scale = |y| {
            let eight = _mm256_slli_epi16(y, 3);
            weigh(_mm256_sub_epi16(eight, _mm256_set1_epi16(k.y_offset)), k.y)
        };
        // Unpacking and packing both work within 128-bit halves, so the order comes out right.
        let (low, high) = (
            scale(_mm256_unpacklo_epi8(luma, zero)),
            scale(_mm256_unpackhi_epi8(luma, zero)),
        );
        let channel = |c| {
            _mm256_packus_epi16(
                _mm256_add_epi16(low, _mm256_unpacklo_epi16(c, c)),
                _mm256_add_epi16(high, _mm256_unpackhi_epi16(c, c)),
            )
        };
        store_interleaved(channel(blue), channel(green), channel(red), out);
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load(bytes: &[u8], at: usize) -> __m256i {
        let bytes = &bytes[at..at + 32];
        // SAFETY: the slice has 32 bytes, and an unaligned load asks for nothing else.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    /// The first sixteen samples, widened to 16 bits.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn widen(samples: &[u8]) -> __m256i {
        let samples = &samples[..16];
        // SAFETY: the slice has 16 bytes, and an unaligned load asks for nothing else.
        _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(samples.as_ptr().cast()) })
    }

    /// Writes 32 pixels of three bytes.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn store_interleaved(b: __m256i, g: __m256i, r: __m256i, out: &mut [u8]) {
        // Within each half, pixel p of channel c belongs at byte 3p + c of 48. Each shuffle puts
        // one channel's bytes at their places in one third of those and zeros elsewhere.
        let third = |c0, c1, c2| {
            let place =
                |channel, map| _mm256_shuffle_epi8(channel, _mm256_broadcastsi128_si256(map));
            let first = place(
                c0,
                _mm_setr_epi8(0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1, 5),
            );
            let second = place(
                c1,
                _mm_setr_epi8(-1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1, -1),
            );
            let last = place(
                c2,
                _mm_setr_epi8(-1, -1, 0, -1, -1, 1, -1, -1, 2, -1, -1, 3, -1, -1, 4, -1),
            );
            _mm256_or_si256(_mm256_or_si256(first, second), last)
        };
        let p0 = third(b, g, r);
        let p1 = third(
            _mm256_srli_si256(g, 5),
            _mm256_srli_si256(r, 5),
            _mm256_srli_si256(b, 6),
        );
        let p2 = third(
            _mm256_srli_si256(r, 10),
            _mm256_srli_si256(b, 11),
            _mm256_srli_si256(g, 11),
        );
        let parts = [
            _mm256_permute2x128_si256(p0, p1, 0x20),
            _mm256_permute2x128_si256(p2, p0, 0x30),
            _mm256_permute2x128_si256(p1, p2, 0x31),
        ];
        for (part, target) in parts.into_iter().zip(out[..96].chunks_exact_mut(32)) {
            // SAFETY: the slice has 32 bytes, and an unaligned store asks for nothing else.
            unsafe { _mm256_storeu_si256(target.as_mut_ptr().cast(), part) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random and are the same each time.
    fn noise(n: usize, seed: u32) -> Vec<u8> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        (0..n)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state >> 11) as u8
            })
            .collect()
    }

    fn both(yuv: &Yuv<'_>) -> (Vec<u8>, Vec<u8>) {
        let mut fast = vec![1; yuv.width * yuv.height * 3];
        let mut plain = vec![2; fast.len()];
        yuv_to_bgr(yuv, &mut fast);
        convert_with(yuv, &mut plain, plain_row);
        (fast, plain)
    }

    #[test]
    fn known_colours() {
        let gray = Yuv {
            width: 2,
            height: 1,
            y: &[16, 235],
            y_stride: 2,
            u: &[128],
            u_stride: 1,
            v: &[128],
            v_stride: 1,
            chroma_step: 1,
            chroma_rows_halved: true,
            full_range: false,
        };
        let mut bgr = [9; 6];
        yuv_to_bgr(&gray, &mut bgr);
        assert_eq!(bgr, [0, 0, 0, 255, 255, 255]);
        let full = Yuv {
            y: &[16, 235],
            full_range: true,
            ..gray
        };
        yuv_to_bgr(&full, &mut bgr);
        assert_eq!(bgr, [16, 16, 16, 235, 235, 235]);
    }

    #[test]
    fn fast_equals_plain_for_all_sizes_and_layouts() {
        for (width, height) in [
            (0usize, 0usize),
            (1, 1),
            (2, 2),
            (31, 3),
            (32, 2),
            (33, 3),
            (34, 1),
            (63, 5),
            (64, 4),
            (65, 2),
            (97, 3),
            (638, 5),
            (642, 4),
        ] {
            for (step, halved, full_range, swapped) in [
                (1, true, false, false),
                (1, true, true, false),
                (1, false, false, false),
                (2, true, false, false),
                (2, true, true, false),
                (2, false, true, false),
                (2, true, false, true),
            ] {
                let cells = width.div_ceil(2);
                let (y_stride, c_stride) = (width + 5, cells * step + 3);
                let y = noise(y_stride * height, 7);
                let rows = if halved { height.div_ceil(2) } else { height };
                // No spare bytes behind the last sample.
                let spare = if rows == 0 { 0 } else { 3 };
                let u = noise((c_stride * rows).saturating_sub(spare), 11);
                let v = noise(u.len(), 13);
                let (u, v) = if step == 2 && !u.is_empty() {
                    if swapped {
                        (&u[1..], &u[..])
                    } else {
                        (&u[..], &u[1..])
                    }
                } else {
                    (&u[..], &v[..])
                };
                let yuv = Yuv {
                    width,
                    height,
                    y: &y,
                    y_stride,
                    u,
                    u_stride: c_stride,
                    v,
                    v_stride: c_stride,
                    chroma_step: step,
                    chroma_rows_halved: halved,
                    full_range,
                };
                let (fast, plain) = both(&yuv);
                assert!(fast == plain, "{width}x{height} step {step} {halved}");
            }
        }
    }

    #[test]
    fn fast_equals_plain_for_every_pair_of_samples() {
        // Every luma value with every U and every V value.
        let y: Vec<u8> = (0..=255).flat_map(|l| [l, l]).collect();
        for full_range in [false, true] {
            for a in 0..=255u8 {
                for (u, v) in [
                    ([a; 256], [128; 256]),
                    ([3; 256], [a; 256]),
                    ([a; 256], [a; 256]),
                ] {
                    let yuv = Yuv {
                        width: 512,
                        height: 1,
                        y: &y,
                        y_stride: 512,
                        u: &u,
                        u_stride: 256,
                        v: &v,
                        v_stride: 256,
                        chroma_step: 1,
                        chroma_rows_halved: true,
                        full_range,
                    };
                    let (fast, plain) = both(&yuv);
                    assert!(fast == plain, "{a}");
                }
            }
        }
    }
}
