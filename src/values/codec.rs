//! Encoded still images: bytes or base64 text to pixels, and back.
//!
//! Pixels come out as `cv2.imdecode(…, IMREAD_COLOR)` has them: 8-bit BGR, gray repeated in all
//! channels, alpha dropped, 16-bit samples cut to their high byte, EXIF orientation applied. JPEG
//! goes through libjpeg-turbo, so that decoded pixels and encoded bytes equal the reference's;
//! everything else through the `image` crate. The size in the header is checked against a limit
//! before anything of that size is allocated; a truncated JPEG is an error.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, RgbImage};
use millrace_pixels::{drop_alpha, inks_to_bgr, repeat_gray, swap_red_blue};
use turbojpeg::{Colorspace, Compressor, Decompressor, PixelFormat, Subsamp};

use super::Matrix;
use super::base64_text::{NotBase64, decode_base64};

/// Pixels that an image may have unless a caller says otherwise.
pub const DEFAULT_MAX_PIXELS: u64 = 100_000_000;

/// Bytes by which every known format can be recognised.
pub const SIGNATURE: usize = 16;

/// Scans of a progressive JPEG beyond which it is taken for an attack; real ones have about ten.
const MAX_SCANS: u32 = 500;

/// Why an image cannot be decoded or encoded.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The header promises more pixels than allowed.
    #[error(
        "the image has {width} x {height} pixels, more than the limit of {limit}; send a smaller image"
    )]
    TooLarge {
        /// Pixels across.
        width: u64,
        /// Pixels down.
        height: u64,
        /// The limit on their product.
        limit: u64,
    },
    /// The bytes are of no format known here.
    #[error("the bytes are no image of a known format (JPEG, PNG, WebP, BMP, GIF, TIFF)")]
    UnknownFormat,
    /// The bytes are damaged, cut short, or of an unsupported variant.
    #[error("the {format} image cannot be decoded: {reason}")]
    Undecodable {
        /// Name of the format.
        format: &'static str,
        /// What the decoder says.
        reason: String,
    },
    /// The text is not base64.
    #[error(transparent)]
    NotBase64(#[from] NotBase64),
    /// The pixels cannot be encoded, for instance because there are none.
    #[error("an image of {width} x {height} pixels cannot be encoded as {format}: {reason}")]
    Unencodable {
        /// Name of the format.
        format: &'static str,
        /// Pixels across.
        width: usize,
        /// Pixels down.
        height: usize,
        /// What the encoder says.
        reason: String,
    },
}

/// Decodes an encoded image to BGR. Refuses images of more than `max_pixels` pixels without
/// allocating room for them.
pub fn decode_image(bytes: &[u8], max_pixels: u64) -> Result<Matrix, CodecError> {
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        return decode_jpeg(bytes, max_pixels);
    }
    let mut reader = image::ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|_| CodecError::UnknownFormat)?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(max_pixels.saturating_mul(8).saturating_add(64 << 20));
    reader.limits(limits);
    let format = reader.format().ok_or(CodecError::UnknownFormat)?;
    let undecodable = |e: image::ImageError| CodecError::Undecodable {
        format: format_name(format),
        reason: e.to_string(),
    };
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    check_size(u64::from(width), u64::from(height), max_pixels)?;
    // OpenCV ignores the EXIF of WebP.
    let orientation = match format {
        image::ImageFormat::WebP => Orientation::NoTransforms,
        _ => decoder.orientation().unwrap_or(Orientation::NoTransforms),
    };
    let mut picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    picture.apply_orientation(orientation);
    if format == image::ImageFormat::Tiff && picture.color().channel_count() >= 3 {
        // libtiff rounds coloured 16-bit samples where OpenCV's other readers cut them.
        picture = DynamicImage::ImageRgb8(picture.to_rgb8());
    }
    Ok(bgr_of(picture))
}

/// Whether bytes may be the start of an image that [`decode_image`] knows. To be told from other
/// things with certainty, a format needs [`SIGNATURE`] bytes.
pub fn starts_like_an_image(bytes: &[u8]) -> bool {
    use image::ImageFormat::{Bmp, Gif, Jpeg, Png, Tiff, WebP};
    let format = image::guess_format(bytes);
    format.is_ok_and(|f| matches!(f, Bmp | Gif | Jpeg | Png | Tiff | WebP))
}

fn format_name(format: image::ImageFormat) -> &'static str {
    match format {
        image::ImageFormat::Png => "PNG",
        image::ImageFormat::Bmp => "BMP",
        image::ImageFormat::WebP => "WebP",
        image::ImageFormat::Gif => "GIF",
        image::ImageFormat::Tiff => "TIFF",
        _ => "given",
    }
}

fn check_size(width: u64, height: u64, limit: u64) -> Result<(), CodecError> {
    if width.saturating_mul(height) > limit {
        return Err(CodecError::TooLarge {
            width,
            height,
            limit,
        });
    }
    Ok(())
}

/// BGR of what the `image` crate decoded. Its own conversion rounds 16-bit samples; OpenCV cuts.
fn bgr_of(picture: DynamicImage) -> Matrix {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let high = |samples: &[u16]| -> Vec<u8> { samples.iter().map(|s| (s >> 8) as u8).collect() };
    let bgr = match picture {
        DynamicImage::ImageLuma8(p) => repeat_gray(p.as_raw()),
        DynamicImage::ImageLumaA8(p) => {
            repeat_gray(&p.pixels().map(|p| p.0[0]).collect::<Vec<_>>())
        }
        DynamicImage::ImageRgba8(p) => drop_alpha(p.as_raw()),
        DynamicImage::ImageLuma16(p) => repeat_gray(&high(p.as_raw())),
        DynamicImage::ImageLumaA16(p) => {
            repeat_gray(&p.pixels().map(|p| (p.0[0] >> 8) as u8).collect::<Vec<_>>())
        }
        DynamicImage::ImageRgba16(p) => drop_alpha(&high(p.as_raw())),
        DynamicImage::ImageRgb16(p) => swapped(high(p.as_raw())),
        other => swapped(other.into_rgb8().into_raw()),
    };
    Matrix {
        width,
        height,
        channels: 3,
        data: bgr,
    }
}

fn swapped(mut pixels: Vec<u8>) -> Vec<u8> {
    swap_red_blue(&mut pixels);
    pixels
}

/// Each image gets a decompressor of its own: it is cheap, and a used one would lend the tables of
/// one image to the next.
fn decode_jpeg(bytes: &[u8], max_pixels: u64) -> Result<Matrix, CodecError> {
    let undecodable = |e: turbojpeg::Error| CodecError::Undecodable {
        format: "JPEG",
        reason: e.to_string(),
    };
    let mut jpeg = Decompressor::new().map_err(undecodable)?;
    jpeg.set_scan_limit(MAX_SCANS).map_err(undecodable)?;
    let header = jpeg.read_header(bytes).map_err(undecodable)?;
    let (width, height) = (header.width, header.height);
    check_size(width as u64, height as u64, max_pixels)?;
    let inks = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    let format = if inks {
        PixelFormat::CMYK
    } else {
        PixelFormat::BGR
    };
    let mut data = vec![0; width * height * format.size()];
    let target = turbojpeg::Image {
        pixels: data.as_mut_slice(),
        width,
        pitch: width * format.size(),
        height,
        format,
    };
    if let Err(e) = jpeg.decompress(bytes, target)
        && !is_tolerable(&e, bytes)
    {
        return Err(undecodable(e));
    }
    let data = if inks { inks_to_bgr(&data) } else { data };
    let matrix = Matrix {
        width,
        height,
        channels: 3,
        data,
    };
    Ok(oriented(matrix, jpeg_orientation(bytes)))
}

/// Whether OpenCV takes the picture in spite of libjpeg's complaint: a damaged stretch, or stray
/// bytes as some cameras leave them, but with the end there.
fn is_tolerable(error: &turbojpeg::Error, bytes: &[u8]) -> bool {
    let turbojpeg::Error::TurboJpegError(text) = error else {
        return false;
    };
    text.starts_with("Corrupt JPEG data") && bytes.windows(2).rev().any(|w| w == [0xff, 0xd9])
}

/// The orientation in the first EXIF segment before the picture data.
fn jpeg_orientation(bytes: &[u8]) -> Orientation {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        if marker == 0xff {
            at += 1;
            continue;
        }
        if matches!(marker, 0xd9 | 0xda) {
            break;
        }
        let length = usize::from(u16::from_be_bytes([high, low]));
        let segment = bytes.get(at + 4..at + 2 + length.max(2)).unwrap_or(&[]);
        if marker == 0xe1
            && let Some(exif) = segment.strip_prefix(b"Exif\0\0")
        {
            return Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms);
        }
        at += 2 + length;
    }
    Orientation::NoTransforms
}

fn oriented(matrix: Matrix, orientation: Orientation) -> Matrix {
    if orientation == Orientation::NoTransforms {
        return matrix;
    }
    let (width, height) = (matrix.width as u32, matrix.height as u32);
    let Some(picture) = RgbImage::from_raw(width, height, matrix.data) else {
        return Matrix::filled(0, 0, &[0; 3]);
    };
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    Matrix {
        width: picture.width() as usize,
        height: picture.height() as usize,
        channels: 3,
        data: picture.into_bytes(),
    }
}

/// Encodes as JPEG of the given quality (1 to 100) with halved chroma: the bytes of
/// `cv2.imencode(".jpg", …)`. Gray stays gray.
pub fn encode_jpeg(matrix: &Matrix, quality: u8) -> Result<Vec<u8>, CodecError> {
    let unencodable = |e: turbojpeg::Error| unencodable("JPEG", matrix, e.to_string());
    if matrix.data.is_empty() {
        return Err(unencodable_empty("JPEG", matrix));
    }
    let (format, subsamp) = if matrix.channels == 1 {
        (PixelFormat::GRAY, Subsamp::Gray)
    } else {
        (PixelFormat::BGR, Subsamp::Sub2x2)
    };
    let mut jpeg = Compressor::new().map_err(unencodable)?;
    jpeg.set_quality(i32::from(quality.clamp(1, 100)))
        .map_err(unencodable)?;
    jpeg.set_subsamp(subsamp).map_err(unencodable)?;
    jpeg.compress_to_vec(turbojpeg::Image {
        pixels: matrix.data.as_slice(),
        width: matrix.width,
        pitch: matrix.width * format.size(),
        height: matrix.height,
        format,
    })
    .map_err(unencodable)
}

/// Encodes as PNG, without loss. Gray stays gray.
pub fn encode_png(matrix: &Matrix) -> Result<Vec<u8>, CodecError> {
    if matrix.data.is_empty() {
        return Err(unencodable_empty("PNG", matrix));
    }
    let rgb;
    let (pixels, color) = if matrix.channels == 1 {
        (&matrix.data, ExtendedColorType::L8)
    } else {
        rgb = swapped(matrix.data.clone());
        (&rgb, ExtendedColorType::Rgb8)
    };
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new_with_quality(
        &mut bytes,
        image::codecs::png::CompressionType::Fast,
        image::codecs::png::FilterType::Sub,
    )
    .write_image(pixels, matrix.width as u32, matrix.height as u32, color)
    .map_err(|e| unencodable("PNG", matrix, e.to_string()))?;
    Ok(bytes)
}

fn unencodable(format: &'static str, matrix: &Matrix, reason: String) -> CodecError {
    CodecError::Unencodable {
        format,
        width: matrix.width,
        height: matrix.height,
        reason,
    }
}

fn unencodable_empty(format: &'static str, matrix: &Matrix) -> CodecError {
    unencodable(format, matrix, "it is empty".to_owned())
}

/// Decodes an image from base64 text, with or without a `data:image/…;base64,` in front.
pub fn decode_image_text(text: &str, max_pixels: u64) -> Result<Matrix, CodecError> {
    let payload = text
        .strip_prefix("data:image/")
        .and_then(|rest| rest.split_once(";base64,"))
        .map_or(text, |(_, payload)| payload);
    decode_image(&decode_base64(payload)?, max_pixels)
}

#[cfg(test)]
mod tests {
    use sha2::Digest;

    use super::super::base64_text::encode_base64;
    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        let path = format!("{}/fixtures/images/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    }

    fn digest(bytes: &[u8]) -> String {
        hex::encode(&sha2::Sha256::digest(bytes)[..8])
    }

    fn pattern(channels: usize) -> Matrix {
        let gray: Vec<u8> = (0..40 * 50)
            .map(|i| ((i % 50) * 5 + (i / 50) * 3) as u8)
            .collect();
        let data = if channels == 1 {
            gray
        } else {
            (0..gray.len())
                .flat_map(|i| [gray[i], gray[(39 - i / 50) * 50 + i % 50], 255 - gray[i]])
                .collect()
        };
        Matrix::new(50, 40, channels, data).unwrap()
    }

    /// Digests of what OpenCV 4.12 makes of the same files.
    #[test]
    fn pixels_are_those_of_opencv() {
        for (name, width, height, want) in [
            ("edge.webp", 200, 125, "d07c8601d5b1492d"),
            ("edge_1x1.png", 1, 1, "ae974d4a74c2371d"),
            ("edge_cmyk.jpg", 200, 125, "996a8cbe319fcbe3"),
            ("edge_exif_orientation6.jpg", 200, 125, "d6544134c6bf6726"),
            ("edge_gray.jpg", 200, 125, "72430b8f2c144f0a"),
            ("edge_gray16.png", 200, 125, "1b5dfa5673d50e57"),
            ("edge_palette.png", 200, 125, "785a52b71aa88cc8"),
            ("edge_progressive.jpg", 200, 125, "3eb369aa66b8426d"),
            ("edge_rgba.png", 200, 125, "e000a6fd8f6bb21d"),
        ] {
            let m = decode_image(&fixture(name), DEFAULT_MAX_PIXELS).unwrap();
            assert_eq!(
                (m.width, m.height, m.channels),
                (width, height, 3),
                "{name}"
            );
            assert_eq!(digest(&m.data), want, "{name}");
        }
    }

    #[test]
    fn damaged_bytes_are_errors() {
        for bytes in [
            &fixture("edge_truncated.jpg")[..],
            b"",
            b"GIF",
            b"hello",
            &[0xff, 0xd8, 0xff],
        ] {
            assert!(decode_image(bytes, DEFAULT_MAX_PIXELS).is_err());
        }
    }

    #[test]
    fn stray_bytes_before_the_end_are_tolerated() {
        let mut bytes = encode_jpeg(&pattern(3), 90).unwrap();
        let clean = decode_image(&bytes, DEFAULT_MAX_PIXELS).unwrap();
        let end = bytes.len() - 2;
        bytes.splice(end..end, [0, 1, 2, 3, 4, 5]);
        assert_eq!(decode_image(&bytes, DEFAULT_MAX_PIXELS).unwrap(), clean);
    }

    #[test]
    fn a_header_that_promises_too_much_is_refused() {
        let png = hex::decode(
            "89504e470d0a1a0a0000000d4948445200004e2000004e2008020000006c12d16e0000000a49444154",
        )
        .unwrap();
        let mut jpeg = fixture("edge_gray.jpg");
        let sof = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
        jpeg[sof + 5..sof + 9].copy_from_slice(&[0x4e, 0x20, 0x4e, 0x20]);
        for bytes in [png, jpeg] {
            let error = decode_image(&bytes, DEFAULT_MAX_PIXELS).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the image has 20000 x 20000 pixels, more than the limit of 100000000; send a smaller image"
            );
        }
        let small = encode_png(&pattern(3)).unwrap();
        assert!(matches!(
            decode_image(&small, 1999),
            Err(CodecError::TooLarge { .. })
        ));
        assert!(decode_image(&small, 2000).is_ok());
    }

    #[test]
    fn jpeg_bytes_are_those_of_opencv() {
        for (channels, quality, want) in [
            (1, 95, "4cbb3db5fc6e1e25"),
            (1, 90, "d6ddb9b9e1810033"),
            (3, 95, "b742f8c1484dcccb"),
            (3, 90, "2b39ae8cd66209ef"),
        ] {
            assert_eq!(
                digest(&encode_jpeg(&pattern(channels), quality).unwrap()),
                want
            );
        }
        assert!(encode_jpeg(&Matrix::filled(0, 4, &[0]), 95).is_err());
    }

    #[test]
    fn png_keeps_every_pixel() {
        let m = pattern(3);
        let text = encode_base64(&encode_png(&m).unwrap());
        assert_eq!(decode_image_text(&text, DEFAULT_MAX_PIXELS).unwrap(), m);
        let prefixed = format!("data:image/png;base64,{text}");
        assert_eq!(decode_image_text(&prefixed, DEFAULT_MAX_PIXELS).unwrap(), m);
    }
}
