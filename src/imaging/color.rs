//! Colours and the texts that name them.

use opencv::core::Scalar;

/// A colour without transparency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color {
    /// Red, 0 to 255.
    pub r: u8,
    /// Green, 0 to 255.
    pub g: u8,
    /// Blue, 0 to 255.
    pub b: u8,
}

/// Why a text names no colour.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColorError {
    /// A character after `#` is no hexadecimal digit.
    #[error("invalid characters in colour `{0}`: write #RRGGBB")]
    Digits(String),
    /// The number of digits after `#` is not 3, 4, 6 or 8.
    #[error("invalid length of colour `{0}`: write #RGB, #RGBA, #RRGGBB or #RRGGBBAA")]
    Length(String),
    /// A component of `rgb(..)` or `bgr(..)` is no whole number, or there are not three.
    #[error("colour `{0}` must have three whole numbers, as in rgb(10, 20, 30)")]
    Components(String),
    /// A component is out of range.
    #[error("values of colour `{0}` must be from 0 to 255")]
    Range(String),
    /// Not one of the names.
    #[error(
        "unknown colour `{0}`: write #RRGGBB, rgb(R, G, B), bgr(B, G, R) or one of WHITE, BLACK, \
         GREY, RED, GREEN, BLUE, YELLOW, ROBOFLOW"
    )]
    Name(String),
}

impl Color {
    /// Black.
    pub const BLACK: Self = Self::hex(0);
    /// White.
    pub const WHITE: Self = Self::hex(0xff_ffff);
    /// The grey of things without a number.
    pub const GREY: Self = Self::hex(0x80_8080);

    /// A colour from `0xRRGGBB`.
    pub const fn hex(rgb: u32) -> Self {
        Self {
            r: (rgb >> 16) as u8,
            g: (rgb >> 8) as u8,
            b: rgb as u8,
        }
    }

    /// The colour as OpenCV takes it: blue, green, red.
    pub fn scalar(self) -> Scalar {
        Scalar::new(f64::from(self.b), f64::from(self.g), f64::from(self.r), 0.0)
    }

    /// The colour as the bytes of a pixel: blue, green, red.
    pub fn bgr(self) -> [u8; 3] {
        [self.b, self.g, self.r]
    }

    /// The colour that a text names: `#RGB`, `#RGBA`, `#RRGGBB`, `#RRGGBBAA` (transparency is
    /// ignored), `rgb(R, G, B)`, `bgr(B, G, R)` or a name in any case.
    pub fn parse(text: &str) -> Result<Self, ColorError> {
        if let Some(digits) = text.strip_prefix('#') {
            return Self::from_digits(text, digits);
        }
        if text.starts_with("rgb") {
            let [r, g, b] = components(text)?;
            return Ok(Self { r, g, b });
        }
        if text.starts_with("bgr") {
            let [b, g, r] = components(text)?;
            return Ok(Self { r, g, b });
        }
        match text.to_ascii_uppercase().as_str() {
            "WHITE" => Ok(Self::WHITE),
            "BLACK" => Ok(Self::BLACK),
            "GREY" => Ok(Self::GREY),
            "RED" => Ok(Self::hex(0xff_0000)),
            "GREEN" => Ok(Self::hex(0x00_ff00)),
            "BLUE" => Ok(Self::hex(0x00_00ff)),
            "YELLOW" => Ok(Self::hex(0xff_ff00)),
            "ROBOFLOW" => Ok(Self::hex(0xa3_51fb)),
            _ => Err(ColorError::Name(text.into())),
        }
    }

    fn from_digits(text: &str, digits: &str) -> Result<Self, ColorError> {
        let nibbles: Option<Vec<u32>> = digits.chars().map(|c| c.to_digit(16)).collect();
        let nibbles = nibbles.ok_or_else(|| ColorError::Digits(text.into()))?;
        let [r, g, b] = match nibbles.as_slice() {
            [r, g, b] | [r, g, b, _] => [r * 17, g * 17, b * 17],
            [r, s, g, h, b, c] | [r, s, g, h, b, c, _, _] => [r * 16 + s, g * 16 + h, b * 16 + c],
            _ => return Err(ColorError::Length(text.into())),
        };
        Ok(Self::hex(r << 16 | g << 8 | b))
    }
}

/// The three numbers between the fifth and the last character, as in `rgb(1, 2, 3)`.
fn components(text: &str) -> Result<[u8; 3], ColorError> {
    let wrong = || ColorError::Components(text.into());
    let mut inner = text.chars();
    inner.next_back();
    let inner: String = inner.skip(4).collect();
    let numbers: Option<Vec<i64>> = inner.split(',').map(|n| n.trim().parse().ok()).collect();
    let numbers: [i64; 3] = numbers.ok_or_else(wrong)?.try_into().map_err(|_| wrong())?;
    let mut bytes = [0; 3];
    for (byte, n) in bytes.iter_mut().zip(numbers) {
        *byte = u8::try_from(n).map_err(|_| ColorError::Range(text.into()))?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_same_colour() {
        let yellow = Color::hex(0xff_ff00);
        for text in [
            "#FF0",
            "#ff0a",
            "#FFFF00",
            "#ffff0080",
            "rgb(255, 255, 0)",
            "bgr(0,255,255)",
            "Yellow",
        ] {
            assert_eq!(Color::parse(text), Ok(yellow), "{text}");
        }
        assert_eq!(yellow.bgr(), [0, 255, 255]);
    }

    #[test]
    fn what_is_no_colour_is_told_apart() {
        for text in ["gray", "112233", " red", ""] {
            assert_eq!(Color::parse(text), Err(ColorError::Name(text.into())));
        }
        assert!(matches!(Color::parse("#12"), Err(ColorError::Length(_))));
        assert!(matches!(Color::parse("#xyz"), Err(ColorError::Digits(_))));
        assert!(matches!(
            Color::parse("rgb(300, 0, 0)"),
            Err(ColorError::Range(_))
        ));
        assert!(matches!(
            Color::parse("rgba(1, 2, 3, 4)"),
            Err(ColorError::Components(_))
        ));
    }
}
