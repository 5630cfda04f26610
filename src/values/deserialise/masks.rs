//! Readers of the masks of boxes: run lengths and outlines.

use serde_json::Value as Json;

use super::detections::Row;
use super::scalars::lax_number;
use super::structures::entries;
use super::{InputOptions, Mismatch, inside, read_field, want};
use crate::values::detections::column;
use crate::values::mask::decompress_counts;
use crate::values::{Mask, polygon};

/// Whether the only mask of a box is an outline that encloses nothing.
pub(super) fn has_too_short_outline(row: Row<'_>) -> bool {
    let short = matches!(row.get("points"), Some(Json::Array(points)) if points.len() < 3);
    short && run_lengths(row).is_none()
}

/// Size and counts of the box's run-length mask.
fn run_lengths<'a>(row: Row<'a>) -> Option<(&'a [Json], &'a Json)> {
    let rle = row
        .get("rle")
        .or_else(|| row.get(column::RLE_MASK))?
        .as_object()?;
    Some((rle.get("size")?.as_array()?, rle.get("counts")?))
}

/// The masks of all boxes; `None` as soon as one has none.
pub(super) fn masks(
    rows: &[Row<'_>],
    width: i64,
    height: i64,
    options: &InputOptions,
) -> Result<Option<Vec<Mask>>, Mismatch> {
    let mut masks = Vec::with_capacity(rows.len());
    for (i, row) in rows.iter().enumerate() {
        let mask = mask(row, width, height, options).map_err(inside(format!("prediction {i}")))?;
        match mask {
            Some(mask) => {
                options.budget.spend(mask.window_bits().len())?;
                masks.push(mask);
            }
            None => return Ok(None),
        }
    }
    Ok(Some(masks))
}

fn mask(
    row: Row<'_>,
    width: i64,
    height: i64,
    options: &InputOptions,
) -> Result<Option<Mask>, Mismatch> {
    if let Some((size, counts)) = run_lengths(row)
        && let Some(mask) = from_run_lengths(size, counts, options)?
    {
        let (width, height) = mask_size(width, height, options)?;
        return Ok(Some(mask.resized(width, height)));
    }
    let Some(points) = row.get("points") else {
        return Ok(None);
    };
    let Some(outline) = outline(points).map_err(inside("field `points`"))? else {
        return Ok(None);
    };
    let (width, height) = mask_size(width, height, options)?;
    Ok(Some(polygon::filled(&outline, width, height)))
}

fn mask_size(width: i64, height: i64, options: &InputOptions) -> Result<(usize, usize), Mismatch> {
    let size = usize::try_from(width)
        .ok()
        .zip(usize::try_from(height).ok());
    size.filter(|&(w, h)| (w as u64).saturating_mul(h as u64) <= options.max_pixels)
        .ok_or_else(|| {
            Mismatch::Refused(format!(
                "a mask of {width} x {height} pixels is not possible, the limit is {} pixels",
                options.max_pixels
            ))
        })
}

/// The mask in run lengths; `None` if they are none, an error if the mask would be too large.
fn from_run_lengths(
    size: &[Json],
    counts: &Json,
    options: &InputOptions,
) -> Result<Option<Mask>, Mismatch> {
    let (Some(height), Some(width)) = (
        size.first().and_then(Json::as_i64),
        size.get(1).and_then(Json::as_i64),
    ) else {
        return Ok(None);
    };
    let (width, height) = mask_size(width, height, options)?;
    let counts = match counts {
        Json::String(text) => decompress_counts(text),
        Json::Array(counts) => counts
            .iter()
            .map(|n| n.as_u64().and_then(|n| u32::try_from(n).ok()))
            .collect(),
        _ => None,
    };
    Ok(counts.and_then(|counts| Mask::from_rle_counts(width, height, &counts)))
}

/// At least three points `{x, y}`, rounded; `None` for text and for numbers that are not finite.
fn outline(json: &Json) -> Result<Option<Vec<[i32; 2]>>, Mismatch> {
    let points = match json {
        Json::Array(points) if points.len() >= 3 => points,
        Json::Array(_) | Json::String(_) => return Ok(None),
        other => return Err(want("a list", other)),
    };
    let mut outline = Vec::with_capacity(points.len());
    for (i, point) in points.iter().enumerate() {
        let axis = |name| {
            let point = entries(point)?;
            read_field(point, name, lax_number)
        };
        let at = |name| axis(name).map_err(inside(format!("point {i}")));
        let (x, y) = (at("x")?, at("y")?);
        if !(x.is_finite() && y.is_finite()) {
            return Ok(None);
        }
        outline.push([x, y].map(|c| c.round_ties_even() as i32));
    }
    Ok(Some(outline))
}
