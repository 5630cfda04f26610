//! Pixels to the planes of floats that networks read.

/// Writes `height` × `width` BGR pixels as three planes of floats, each sample `x * scale - mean`
/// with its plane's own `scale` and `mean`. The planes come in the order of `bgr`'s channels, or
/// red first if `swap_rb`; `scale` and `mean` are in the order of the planes.
///
/// # Panics
///
/// If `bgr` or `out` has another length than `width * height * 3`.
pub fn bgr_to_chw(
    bgr: &[u8],
    width: usize,
    height: usize,
    out: &mut [f32],
    swap_rb: bool,
    scale: [f32; 3],
    mean: [f32; 3],
) {
    let area = width * height;
    assert_eq!(bgr.len(), area * 3, "length of the pixels");
    assert_eq!(out.len(), area * 3, "length of the planes");
    let (first, rest) = out.split_at_mut(area);
    let (second, third) = rest.split_at_mut(area);
    let planes = if swap_rb {
        [third, second, first]
    } else {
        [first, second, third]
    };
    let by_channel = |p: [f32; 3]| if swap_rb { [p[2], p[1], p[0]] } else { p };
    convert(bgr, planes, by_channel(scale), by_channel(mean));
}

fn convert(bgr: &[u8], planes: [&mut [f32]; 3], scale: [f32; 3], mean: [f32; 3]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: AVX2 has just been detected.
        return unsafe { avx2::convert(bgr, planes, scale, mean) };
    }
    plain(bgr, planes, scale, mean);
}

fn plain(bgr: &[u8], planes: [&mut [f32]; 3], scale: [f32; 3], mean: [f32; 3]) {
    let [b, g, r] = planes;
    for (((p, b), g), r) in bgr.chunks_exact(3).zip(b).zip(g).zip(r) {
        *b = f32::from(p[0]) * scale[0] - mean[0];
        *g = f32::from(p[1]) * scale[1] - mean[1];
        *r = f32::from(p[2]) * scale[2] - mean[2];
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    //! Sixteen pixels at a time: 48 bytes are sorted by channel, then widened eight at a time.

    use std::arch::x86_64::*;

    /// Pixels of one round.
    const LANES: usize = 16;

    #[target_feature(enable = "avx2")]
    pub(super) fn convert(bgr: &[u8], planes: [&mut [f32]; 3], scale: [f32; 3], mean: [f32; 3]) {
        let [b, g, r] = planes;
        let whole = b.len() / LANES * LANES;
        let rounds = bgr.chunks_exact(LANES * 3);
        let targets = b
            .chunks_exact_mut(LANES)
            .zip(g.chunks_exact_mut(LANES))
            .zip(r.chunks_exact_mut(LANES));
        for (pixels, ((b, g), r)) in rounds.zip(targets) {
            let sorted = sort(pixels);
            for (i, plane) in [b, g, r].into_iter().enumerate() {
                widen(sorted[i], scale[i], mean[i], plane);
            }
        }
        super::plain(
            &bgr[whole * 3..],
            [&mut b[whole..], &mut g[whole..], &mut r[whole..]],
            scale,
            mean,
        );
    }

    /// The blue, green and red bytes of 16 pixels.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn sort(pixels: &[u8]) -> [__m128i; 3] {
        let pixels = &pixels[..48];
        // SAFETY: the slice has 48 bytes, and unaligned loads ask for nothing else.
        let (p, q, s) = unsafe {
            (
                _mm_loadu_si128(pixels.as_ptr().cast()),
                _mm_loadu_si128(pixels.as_ptr().add(16).cast()),
                _mm_loadu_si128(pixels.as_ptr().add(32).cast()),
            )
        };
        // Each shuffle takes the bytes of one channel out of a third of the pixels, zero elsewhere.
        let blue = [
            _mm_shuffle_epi8(
                p,
                _mm_setr_epi8(0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
            ),
            _mm_shuffle_epi8(
                q,
                _mm_setr_epi8(-1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14, -1, -1, -1, -1, -1),
            ),
            _mm_shuffle_epi8(
                s,
                _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 4, 7, 10, 13),
            ),
        ];
        let green = [
            _mm_shuffle_epi8(
                p,
                _mm_setr_epi8(1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
            ),
            _mm_shuffle_epi8(
                q,
                _mm_setr_epi8(-1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15, -1, -1, -1, -1, -1),
            ),
            _mm_shuffle_epi8(
                s,
                _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 2, 5, 8, 11, 14),
            ),
        ];
        let red = [
            _mm_shuffle_epi8(
                p,
                _mm_setr_epi8(2, 5, 8, 11, 14, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1),
            ),
            _mm_shuffle_epi8(
                q,
                _mm_setr_epi8(-1, -1, -1, -1, -1, 1, 4, 7, 10, 13, -1, -1, -1, -1, -1, -1),
            ),
            _mm_shuffle_epi8(
                s,
                _mm_setr_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 3, 6, 9, 12, 15),
            ),
        ];
        let join = |c: [__m128i; 3]| _mm_or_si128(_mm_or_si128(c[0], c[1]), c[2]);
        [join(blue), join(green), join(red)]
    }

    /// Multiplication and subtraction are separate, as in the plain form: a fused one rounds once.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn widen(bytes: __m128i, scale: f32, mean: f32, out: &mut [f32]) {
        let (scale, mean) = (_mm256_set1_ps(scale), _mm256_set1_ps(mean));
        let halves = [bytes, _mm_srli_si128(bytes, 8)];
        for (half, target) in halves.into_iter().zip(out[..LANES].chunks_exact_mut(8)) {
            let x = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(half));
            let x = _mm256_sub_ps(_mm256_mul_ps(x, scale), mean);
            // SAFETY: the slice has eight floats, and an unaligned store asks for nothing else.
            unsafe { _mm256_storeu_ps(target.as_mut_ptr(), x) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_hold_scaled_samples_in_the_order_asked_for() {
        let bgr = [0, 10, 20, 30, 40, 50];
        let mut out = [9.0; 6];
        bgr_to_chw(&bgr, 2, 1, &mut out, false, [1.0; 3], [0.0; 3]);
        assert_eq!(out, [0.0, 30.0, 10.0, 40.0, 20.0, 50.0]);
        bgr_to_chw(&bgr, 2, 1, &mut out, true, [1.0, 2.0, 3.0], [5.0, 6.0, 7.0]);
        assert_eq!(out, [15.0, 45.0, 14.0, 74.0, -7.0, 83.0]);
    }

    #[test]
    fn fast_equals_plain_to_the_bit() {
        for (width, height) in [(0, 0), (1, 1), (15, 1), (16, 1), (17, 3), (53, 7)] {
            let n = width * height;
            let bgr: Vec<u8> = (0..n * 3).map(|i| (i * 89 + i / 7) as u8).collect();
            let scale = [1.0 / 255.0, 0.017_124_753, 1.0 / 58.395];
            let mean = [2.117_904, 2.035_714_3, 0.485];
            let mut fast = vec![0.0; n * 3];
            let mut want = vec![0.0; n * 3];
            bgr_to_chw(&bgr, width, height, &mut fast, false, scale, mean);
            let (b, rest) = want.split_at_mut(n);
            let (g, r) = rest.split_at_mut(n);
            plain(&bgr, [b, g, r], scale, mean);
            assert_eq!(fast, want, "{width}x{height}");
        }
    }
}
