//! Texts on coloured boxes beside detections.
//!
//! Nothing is moved to avoid overlaps or the edge of the image: later labels cover earlier ones,
//! and what leaves the image is not seen.

use crate::blocks::{BlockError, Field, Inputs, Ty};
use crate::geometry::Anchor;
use crate::imaging::{Canvas, Color, Pixel, pixels, text_size, trunc};
use crate::values::detections::column;
use crate::values::python::{float_repr, to_str, truthy};
use crate::values::{Detections, Image, Value, kind};

use super::{Palette, fields, masks, pixel_at, points};

/// What a label says: a fixed choice, or at run time the name of any column.
pub const TEXT: Field = Field::optional(
    "text",
    &[
        Ty::OneOf(&[
            "Class",
            "Confidence",
            "Class and Confidence",
            "Index",
            "Dimensions",
            "Area",
            "Area (mask)",
            "Area (converted)",
            "Tracker Id",
            "Time In Zone",
        ]),
        Ty::Selector(&[kind::STRING]),
    ],
    "\"Class\"",
)
.about("What the label says.")
.always_visible();

/// Where the label stands.
pub const TEXT_POSITION: Field = fields::position("text_position", "\"TOP_LEFT\"");

/// Colour of the letters.
pub const TEXT_COLOR: Field = fields::color("text_color", "\"WHITE\"");

/// Whether the size of the letters follows the image.
pub const TEXT_SIZE_MODE: Field = Field::optional(
    "text_size_mode",
    &[
        Ty::OneOf(&["Manual", "Automatic"]),
        Ty::Selector(&[kind::STRING]),
    ],
    "\"Manual\"",
)
.about("Automatic scales the text with the image's shorter side.")
.always_visible();

/// Size of the letters.
pub const TEXT_SCALE: Field = fields::number("text_scale", "1.0").about("Size of the letters.");

/// Thickness of the letters.
pub const TEXT_THICKNESS: Field =
    fields::integer("text_thickness", "1").about("Thickness of the letters.");

/// Space around the letters.
pub const TEXT_PADDING: Field =
    fields::integer("text_padding", "10").about("Space around the letters, pixels.");

/// Radius of the label's corners.
pub const BORDER_RADIUS: Field =
    fields::integer("border_radius", "0").about("Radius of the label's corners, pixels.");

/// How labels look.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Colour of the letters.
    pub color: Color,
    /// Size of the letters.
    pub scale: f64,
    /// Thickness of the letters.
    pub thickness: i32,
    /// Space around the letters.
    pub padding: i32,
    /// Radius of the corners.
    pub radius: i32,
}

impl Style {
    /// The style that the fields `text_color`, `text_scale`, `text_thickness`, `text_padding` and
    /// `border_radius` describe.
    pub fn of(inputs: &Inputs<'_>) -> Result<Self, BlockError> {
        Ok(Self {
            color: Color::parse(inputs.text("text_color")?)?,
            scale: inputs.float("text_scale")?,
            thickness: pixels(inputs.int("text_thickness")?),
            padding: pixels(inputs.int("text_padding")?),
            radius: pixels(inputs.int("border_radius")?),
        })
    }

    /// The same style with letters scaled to the image's shorter side (1080 pixels count as 1).
    pub fn fitted_to(self, image: &Image) -> Self {
        let k = image.width().min(image.height()) as f64 / 1080.0;
        Self {
            scale: (self.scale * k).clamp(0.3, 5.0),
            ..self
        }
    }
}

/// Draws a label per detection on `canvas`.
pub fn draw_all(
    canvas: &mut Canvas<'_>,
    detections: &Detections,
    inputs: &Inputs<'_>,
    style: &Style,
) -> Result<(), BlockError> {
    let position = Anchor::parse(inputs.text("text_position")?)?;
    let palette = Palette::of(inputs)?;
    let kind = inputs.text("text")?;
    let decoded;
    let mut detections = detections;
    if position == Anchor::CenterOfMass {
        decoded = Detections {
            masks: masks::decoded(detections)?,
            ..detections.clone()
        };
        detections = &decoded;
    }
    for row in 0..detections.len() {
        let text = text(kind, detections, row)?;
        let anchor = pixel_at(position, detections, row)?;
        let color = palette.color(detections, row)?;
        let style = Style {
            color: palette.text_color(detections, row, style.color),
            ..*style
        };
        draw(canvas, &text, anchor, position, color, &style)?;
    }
    Ok(())
}

/// Draws one label, a box of colour `color` with the lines of `text`, at the place on a detection
/// that `anchor` is.
pub fn draw(
    canvas: &mut Canvas<'_>,
    text: &str,
    anchor: Pixel,
    position: Anchor,
    color: Color,
    style: &Style,
) -> Result<(), BlockError> {
    let lines: Vec<&str> = split_lines(text);
    let mut sizes = Vec::with_capacity(lines.len());
    for line in &lines {
        sizes.push(line_size(line, style)?);
    }
    let padding = style.padding;
    let width = sizes.iter().map(|s| s[0]).max().unwrap_or(0) + 2 * padding;
    let gaps = (lines.len() as i32 - 1).max(0) * padding;
    let height = sizes.iter().map(|s| s[1]).sum::<i32>() + gaps + 2 * padding;
    let (from, to) = placed(anchor, position, [width, height]);
    canvas.rounded_rectangle(from, to, style.radius, color)?;
    let mut y = from[1] + padding;
    for (line, [_, line_height]) in lines.iter().zip(sizes) {
        if !line.is_empty() {
            let at = [from[0] + padding, y + line_height];
            canvas.text(line, at, style.scale, style.color, style.thickness)?;
        }
        y += line_height + padding;
    }
    Ok(())
}

/// Size of a line; an empty one is as high as any other.
fn line_size(line: &str, style: &Style) -> opencv::Result<Pixel> {
    let size = text_size(line, style.scale, style.thickness)?;
    if line.is_empty() {
        let [_, height] = text_size("Tg", style.scale, style.thickness)?;
        return Ok([size[0], height]);
    }
    Ok(size)
}

/// The corners of a label of a size at a place on a detection.
pub fn placed([x, y]: Pixel, position: Anchor, [width, height]: Pixel) -> (Pixel, Pixel) {
    let Anchor::Box(side, level) = position else {
        return placed([x, y], Anchor::CENTER, [width, height]);
    };
    let half = |n: i32| n.div_euclid(2);
    let centered = |at: i32, size: i32| (at - half(size), at + half(size));
    let (y1, y2) = match level {
        -1 => (y - height, y),
        0 => centered(y, height),
        _ => (y, y + height),
    };
    let (x1, x2) = match (side, level) {
        (0, _) => centered(x, width),
        (-1, 0) | (1, -1 | 1) => (x - width, x),
        _ => (x, x + width),
    };
    ([x1, y1], [x2, y2])
}

/// Lines of a text as Python's `splitlines` gives them; an empty text is one empty line.
fn split_lines(text: &str) -> Vec<&str> {
    const ENDS: [char; 10] = [
        '\n', '\r', '\x0b', '\x0c', '\x1c', '\x1d', '\x1e', '\u{85}', '\u{2028}', '\u{2029}',
    ];
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(ENDS) {
        lines.push(&rest[..end]);
        let after = &rest[end..];
        let length = if after.starts_with("\r\n") {
            2
        } else {
            after.chars().next().map_or(1, char::len_utf8)
        };
        rest = &after[length..];
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest);
    }
    lines
}

/// What the label of a row says.
pub fn text(kind: &str, detections: &Detections, row: usize) -> Result<String, BlockError> {
    Ok(match kind {
        "Class" => match detections.cell(column::CLASS_NAME, row) {
            Some(name) => to_str(name),
            None => match detections.class_id.as_ref().and_then(|ids| ids.get(row)) {
                Some(id) => id.to_string(),
                None => row.to_string(),
            },
        },
        "Confidence" => confidence(detections, row)?,
        "Class and Confidence" => match detections.cell(column::CLASS_NAME, row) {
            Some(name) => format!("{} {}", to_str(name), confidence(detections, row)?),
            None => confidence(detections, row)?,
        },
        "Index" => row.to_string(),
        "Dimensions" => {
            let [x1, y1, x2, y2] = detections.xyxy[row];
            let [cx, cy] = detections.center(row).map(trunc);
            format!("{cx}, {cy} {}x{}", trunc(x2 - x1), trunc(y2 - y1))
        }
        "Area" => trunc(area(detections, row)).to_string(),
        "Area (mask)" => measured("Area (mask)", "area_px", detections, row),
        "Area (converted)" => measured("Area (conv)", "area_converted", detections, row),
        "Tracker Id" => match detections.tracker_id.as_ref().and_then(|ids| ids.get(row)) {
            Some(id) => id.to_string(),
            None => "No Tracker ID".into(),
        },
        "Time In Zone" => match detections.cell(column::TIME_IN_ZONE, row) {
            Some(time) if truthy(time) => format!("In zone: {}s", rounded(time)),
            _ => "In zone: N/A".into(),
        },
        name => match detections.cell(name, row) {
            Some(value) if truthy(value) => to_str(value),
            Some(_) => String::new(),
            None => {
                return Err(BlockError::failed(format!(
                    "invalid text `{name}`: neither a known choice nor a column of the detections"
                )));
            }
        },
    })
}

fn confidence(detections: &Detections, row: usize) -> Result<String, BlockError> {
    let value = detections.confidence.as_ref().and_then(|c| c.get(row));
    value.map(|c| format!("{c:.2}")).ok_or_else(|| {
        BlockError::failed("the label asks for the confidence, which the detections lack")
    })
}

/// Area of a row: pixels of the mask, else of the oriented box, else of the box.
fn area(detections: &Detections, row: usize) -> f64 {
    if let Some(mask) = detections.masks.as_ref().and_then(|m| m.get(row)) {
        return mask.area() as f64;
    }
    let corners = detections.cell(column::ORIENTED_BOX, row).and_then(points);
    match corners.as_deref() {
        Some(p @ [_, _, _, _]) => {
            let cross = |a: usize, b: usize| p[a][0] * p[b][1] - p[b][0] * p[a][1];
            (cross(0, 1) + cross(1, 2) + cross(2, 3) + cross(3, 0)).abs() / 2.0
        }
        _ => detections.area(row),
    }
}

fn measured(label: &str, name: &str, detections: &Detections, row: usize) -> String {
    match detections.cell(name, row).and_then(Value::as_f64) {
        Some(area) => format!("{label}: {area:.2}"),
        None => format!("{label}: N/A"),
    }
}

/// A number rounded to two places, as Python writes it.
fn rounded(value: &Value) -> String {
    match value {
        Value::Float(f) => float_repr(format!("{f:.2}").parse().unwrap_or(*f)),
        other => to_str(other),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn labels_stand_where_the_reference_puts_them() {
        let place = |name: &str, x: f64, y: f64| {
            placed(
                [x as i32, y as i32],
                Anchor::parse(name).unwrap(),
                [54 + 20, 12 + 20],
            )
        };
        assert_eq!(place("TOP_LEFT", 50.9, 80.9), ([50, 48], [124, 80]));
        assert_eq!(place("CENTER", 100.45, 120.45), ([63, 104], [137, 136]));
        assert_eq!(place("CENTER_LEFT", 50.9, 120.45), ([-24, 104], [50, 136]));
        assert_eq!(place("TOP_RIGHT", 150.0, 80.9), ([76, 48], [150, 80]));
        assert_eq!(
            place("BOTTOM_CENTER", 100.45, 160.0),
            ([63, 160], [137, 192])
        );
    }

    #[test]
    fn texts_of_a_detection() {
        let mut d = Detections {
            xyxy: Arc::new(vec![[20.05, 29.85, 69.35, 109.35]]),
            confidence: Some(Arc::new(vec![0.125])),
            class_id: Some(Arc::new(vec![4])),
            ..Detections::default()
        };
        let say = |d: &Detections, kind: &str| text(kind, d, 0);
        assert_eq!(say(&d, "Class").unwrap(), "4");
        assert_eq!(say(&d, "Confidence").unwrap(), "0.12");
        assert_eq!(say(&d, "Dimensions").unwrap(), "44, 69 49x79");
        assert_eq!(say(&d, "Area").unwrap(), "3919");
        assert_eq!(say(&d, "Area (mask)").unwrap(), "Area (mask): N/A");
        assert_eq!(say(&d, "Tracker Id").unwrap(), "No Tracker ID");
        assert_eq!(say(&d, "Time In Zone").unwrap(), "In zone: N/A");
        assert!(say(&d, "Weight").is_err());
        d.set_column("class_name", vec!["person".into()]);
        d.set_column("time_in_zone", vec![12.345.into()]);
        d.set_column("area_converted", vec![2.4464.into()]);
        d.set_column("Weight", vec![Value::Int(0)]);
        assert_eq!(say(&d, "Class and Confidence").unwrap(), "person 0.12");
        assert_eq!(say(&d, "Time In Zone").unwrap(), "In zone: 12.35s");
        assert_eq!(say(&d, "Area (converted)").unwrap(), "Area (conv): 2.45");
        assert_eq!(say(&d, "Weight").unwrap(), "");
    }

    #[test]
    fn lines_end_where_python_ends_them() {
        assert_eq!(split_lines("a\r\nb\u{2028}c\n"), ["a", "b", "c"]);
        assert_eq!(split_lines("a\n\nb"), ["a", "", "b"]);
        assert_eq!(split_lines(""), [""]);
    }
}
