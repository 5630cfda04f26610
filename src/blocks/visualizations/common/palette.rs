//! Which colour a box is drawn in.

use std::borrow::Cow;

use crate::blocks::{BlockError, Inputs};
use crate::imaging::Color;
use crate::values::Detections;

use super::colormaps::MAPS;

const DEFAULT: &[Color] = &[
    Color::hex(0xA351FB),
    Color::hex(0xFF4040),
    Color::hex(0xFFA1A0),
    Color::hex(0xFF7633),
    Color::hex(0xFFB633),
    Color::hex(0xD1D435),
    Color::hex(0x4CFB12),
    Color::hex(0x94CF1A),
    Color::hex(0x40DE8A),
    Color::hex(0x1B9640),
    Color::hex(0x00D6C1),
    Color::hex(0x2E9CAA),
    Color::hex(0x00C4FF),
    Color::hex(0x364797),
    Color::hex(0x6675FF),
    Color::hex(0x0019EF),
    Color::hex(0x863AFF),
    Color::hex(0x530087),
    Color::hex(0xCD3AFF),
    Color::hex(0xFF97CA),
    Color::hex(0xFF39C9),
];

const ROBOFLOW: &[Color] = &[
    Color::hex(0xC28DFC),
    Color::hex(0xA351FB),
    Color::hex(0x8315F9),
    Color::hex(0x6706CE),
    Color::hex(0x5905B3),
    Color::hex(0x4D049A),
];

const LEGACY: &[Color] = &[
    Color::hex(0xA351FB),
    Color::hex(0xE6194B),
    Color::hex(0x3CB44B),
    Color::hex(0xFFE119),
    Color::hex(0x0082C8),
    Color::hex(0xF58231),
    Color::hex(0x911EB4),
    Color::hex(0x46F0F0),
    Color::hex(0xF032E6),
    Color::hex(0xD2F53C),
    Color::hex(0xFABEBE),
    Color::hex(0x008080),
    Color::hex(0xE6BEFF),
    Color::hex(0xAA6E28),
    Color::hex(0xFFFAC8),
    Color::hex(0x800000),
    Color::hex(0xAAFFC3),
];

/// What decides the colour of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Row,
    Class,
    Track,
}

/// Colours, and what decides which of them a box gets.
#[derive(Clone, Debug)]
pub struct Palette {
    colors: Cow<'static, [Color]>,
    axis: Axis,
}

impl Palette {
    /// The palette that a step's fields `color_palette`, `palette_size`, `custom_colors` and
    /// `color_axis` describe.
    pub fn of(inputs: &Inputs<'_>) -> Result<Self, BlockError> {
        let axis = match inputs.text("color_axis")? {
            "INDEX" => Axis::Row,
            "CLASS" => Axis::Class,
            "TRACK" => Axis::Track,
            other => {
                return Err(BlockError::failed(format!(
                    "unknown color_axis `{other}`: use INDEX, CLASS or TRACK"
                )));
            }
        };
        let colors = match inputs.text("color_palette")? {
            "CUSTOM" => custom(inputs)?.into(),
            "DEFAULT" => DEFAULT.into(),
            "ROBOFLOW" => ROBOFLOW.into(),
            "LEGACY" => LEGACY.into(),
            map => sampled(map, inputs.int("palette_size")?)?.into(),
        };
        Ok(Self { colors, axis })
    }

    /// Colour of a row. Negative numbers (no class, a track not yet confirmed) are grey.
    pub fn color(&self, detections: &Detections, row: usize) -> Result<Color, BlockError> {
        let missing = |what: &str, advice: &str| {
            BlockError::failed(format!(
                "color_axis {what}: the detections have no such ids; {advice}"
            ))
        };
        let id = match self.axis {
            Axis::Row => row as i64,
            Axis::Class => *detections
                .class_id
                .as_ref()
                .and_then(|ids| ids.get(row))
                .ok_or_else(|| missing("CLASS", "use INDEX or TRACK"))?,
            Axis::Track => *detections
                .tracker_id
                .as_ref()
                .and_then(|ids| ids.get(row))
                .ok_or_else(|| missing("TRACK", "put a tracker before this step"))?,
        };
        self.by_id(id)
    }

    /// Colour of the letters of a row: grey, and so unseen, on a track that is not yet confirmed.
    pub fn text_color(&self, detections: &Detections, row: usize, color: Color) -> Color {
        let track = detections.tracker_id.as_ref().and_then(|ids| ids.get(row));
        if self.axis == Axis::Track && track == Some(&-1) {
            Color::GREY
        } else {
            color
        }
    }

    /// Colour of a number: negative ones are grey, others take turns.
    pub fn by_id(&self, id: i64) -> Result<Color, BlockError> {
        if id < 0 {
            return Ok(Color::GREY);
        }
        if self.colors.is_empty() {
            return Err(BlockError::failed(
                "the palette CUSTOM has no colours: name some in custom_colors",
            ));
        }
        Ok(self.colors[(id as u64 % self.colors.len() as u64) as usize])
    }

    /// Whether rows are told apart by their number.
    pub fn by_row(&self) -> bool {
        self.axis == Axis::Row
    }

    /// Whether rows are told apart by their class.
    pub fn by_class(&self) -> bool {
        self.axis == Axis::Class
    }
}

fn custom(inputs: &Inputs<'_>) -> Result<Vec<Color>, BlockError> {
    let entries = inputs.list("custom_colors")?;
    let mut colors = Vec::with_capacity(entries.len());
    for entry in entries {
        let text = entry.as_str().ok_or_else(|| {
            BlockError::failed(format!(
                "custom_colors must be texts, got {}",
                entry.type_name()
            ))
        })?;
        colors.push(Color::parse(text)?);
    }
    Ok(colors)
}

/// `size` colours of a colour map at equal distances, first and last included.
fn sampled(name: &str, size: i64) -> Result<Vec<Color>, BlockError> {
    let map = name.strip_prefix("Matplotlib ").unwrap_or(name);
    let (_, digits) = MAPS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(map))
        .ok_or_else(|| BlockError::failed(format!("unknown color_palette `{name}`")))?;
    if size < 1 {
        return Err(BlockError::failed(format!(
            "palette_size must be at least 1, got {size}"
        )));
    }
    let length = digits.len() / 6;
    let color = |i: i64| {
        // The last is set apart because a multiple of the step may fall short of 1.
        let x = match i {
            0 => 0.0,
            _ if i == size - 1 => 1.0,
            _ => i as f64 * (1.0 / (size - 1) as f64),
        };
        let entry = ((x * length as f64) as usize).min(length - 1);
        let text = &digits[entry * 6..entry * 6 + 6];
        Color::hex(u32::from_str_radix(text, 16).unwrap_or_default())
    };
    Ok((0..size.min(MAX_COLORS)).map(color).collect())
}

/// Colours beyond which a palette is not continued; ids that far apart do not occur.
const MAX_COLORS: i64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(name: &str, size: i64) -> Vec<String> {
        sampled(name, size)
            .unwrap()
            .iter()
            .map(|c| format!("{:02x}{:02x}{:02x}", c.r, c.g, c.b))
            .collect()
    }

    #[test]
    fn maps_are_sampled_as_the_reference_samples_them() {
        assert_eq!(
            hex("Matplotlib Viridis", 10).join(" "),
            "440154 472777 3e4989 30678d 25828e 1e9d88 35b778 6dce58 b5dd2b fde724"
        );
        assert_eq!(
            hex("Matplotlib Set1", 10).join(" "),
            "e41a1c 377eb8 4daf4a 984ea3 ff7f00 ffff33 a65628 a65628 999999 999999"
        );
        assert_eq!(
            hex("Matplotlib Tab20", 10).join(" "),
            "1f77b4 ff7f0e 2ca02c d62728 9467bd c49c94 f7b6d2 c7c7c7 dbdb8d 9edae5"
        );
        assert_eq!(hex("Matplotlib Magma", 1), ["000003"]);
        assert!(sampled("Matplotlib Viridis", 0).is_err());
        assert!(sampled("Matplotlib Sunset", 3).is_err());
    }

    #[test]
    fn numbers_take_turns_and_negative_ones_are_grey() {
        let palette = Palette {
            colors: ROBOFLOW.into(),
            axis: Axis::Class,
        };
        assert_eq!(palette.by_id(7), Ok(ROBOFLOW[1]));
        assert_eq!(palette.by_id(-1), Ok(Color::GREY));
        let none = Palette {
            colors: Cow::Borrowed(&[]),
            axis: Axis::Row,
        };
        assert!(none.by_id(0).is_err());
        assert_eq!(none.by_id(-1), Ok(Color::GREY));
    }
}
