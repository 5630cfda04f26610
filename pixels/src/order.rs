//! Channel order: the forms in which image decoders give pixels, to BGR.

/// Swaps the first and third byte of every three: RGB to BGR and back.
pub fn swap_red_blue(pixels: &mut [u8]) {
    for p in pixels.chunks_exact_mut(3) {
        p.swap(0, 2);
    }
}

/// Gray to BGR.
pub fn repeat_gray(gray: &[u8]) -> Vec<u8> {
    let mut bgr = vec![0; gray.len() * 3];
    for (p, &g) in bgr.chunks_exact_mut(3).zip(gray) {
        p.copy_from_slice(&[g; 3]);
    }
    bgr
}

/// RGBA to BGR.
pub fn drop_alpha(rgba: &[u8]) -> Vec<u8> {
    let mut bgr = vec![0; rgba.len() / 4 * 3];
    for (p, s) in bgr.chunks_exact_mut(3).zip(rgba.chunks_exact(4)) {
        p.copy_from_slice(&[s[2], s[1], s[0]]);
    }
    bgr
}

/// CMYK as Adobe writes it (inverted) to BGR, by OpenCV's formula.
pub fn inks_to_bgr(inks: &[u8]) -> Vec<u8> {
    let mut bgr = vec![0; inks.len() / 4 * 3];
    for (p, ink) in bgr.chunks_exact_mut(3).zip(inks.chunks_exact(4)) {
        let key = i32::from(ink[3]);
        let light = |c: u8| (key - (((255 - i32::from(c)) * key) >> 8)) as u8;
        p.copy_from_slice(&[light(ink[2]), light(ink[1]), light(ink[0])]);
    }
    bgr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_change_places() {
        let mut rgb = [1, 2, 3, 4, 5, 6];
        swap_red_blue(&mut rgb);
        assert_eq!(rgb, [3, 2, 1, 6, 5, 4]);
        assert_eq!(repeat_gray(&[7, 8]), [7, 7, 7, 8, 8, 8]);
        assert_eq!(drop_alpha(&[1, 2, 3, 9, 4, 5, 6, 9]), [3, 2, 1, 6, 5, 4]);
    }

    #[test]
    fn full_inks_leave_the_light_of_the_key() {
        assert_eq!(inks_to_bgr(&[255, 255, 255, 200]), [200, 200, 200]);
        assert_eq!(inks_to_bgr(&[0, 128, 255, 255]), [255, 129, 1]);
    }
}
