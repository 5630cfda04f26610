//! Draws found objects into a picture, for clients that ask for one.

use super::rejection::Rejection;
use crate::imaging::{Canvas, Color};
use crate::values::codec::encode_jpeg;
use crate::values::{Detections, Image};

/// Quality of the JPEG, as everywhere on the wire.
const QUALITY: u8 = 95;

/// The picture with boxes, and class and score above each where `labels` says so, as JPEG.
///
/// # Errors
/// If OpenCV or the encoder fails.
pub fn draw(
    image: &Image,
    found: &Detections,
    labels: bool,
    stroke: i32,
) -> Result<Vec<u8>, Rejection> {
    let failed = |e: &dyn std::fmt::Display| {
        Rejection::Internal(format!("the picture cannot be drawn: {e}"))
    };
    let mut pixels = image.pixels().as_ref().clone();
    {
        let mut canvas = Canvas::new(&mut pixels).map_err(|e| failed(&e))?;
        for (row, corners) in found.xyxy.iter().enumerate() {
            let [x1, y1, x2, y2] = corners.map(|c| c.round() as i32);
            let color = color_of(found.class_id.as_deref().and_then(|ids| ids.get(row)));
            canvas
                .rectangle([x1, y1], [x2, y2], color, stroke)
                .map_err(|e| failed(&e))?;
            if labels {
                let score = found.confidence.as_deref().and_then(|all| all.get(row));
                let name = found.class_name(row).map_or("", |name| name);
                let text = format!("{name} {:.2}", score.copied().unwrap_or_default());
                canvas
                    .text(&text, [x1, (y1 - 4).max(12)], 0.5, color, 1)
                    .map_err(|e| failed(&e))?;
            }
        }
    }
    encode_jpeg(&pixels, QUALITY).map_err(|e| failed(&e))
}

/// A colour of its own for each class: equal steps round the colour circle, the golden angle apart.
fn color_of(class: Option<&i64>) -> Color {
    const GOLDEN_ANGLE: f64 = 137.507_764;
    let hue = (class.copied().unwrap_or_default() as f64 * GOLDEN_ANGLE).rem_euclid(360.0);
    let channel = |shift: f64| {
        let position = (hue / 60.0 + shift).rem_euclid(6.0);
        let level = (position - 3.0).abs() - 1.0;
        (255.0 * level.clamp(0.0, 1.0)) as u8
    };
    Color {
        r: channel(0.0),
        g: channel(4.0),
        b: channel(2.0),
    }
}
