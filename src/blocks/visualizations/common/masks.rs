//! Masks of detections, dense or run-length encoded, and their outlines.

use std::sync::Arc;

use crate::blocks::BlockError;
use crate::imaging::{self, Pixel, Region};
use crate::values::detections::column;
use crate::values::mask::decompress_counts;
use crate::values::{Detections, Mask, Matrix, Value, polygon};

/// The masks of all rows: dense ones as they are, else decoded run lengths, else `None`.
pub fn decoded(detections: &Detections) -> Result<Option<Arc<Vec<Mask>>>, BlockError> {
    if let Some(masks) = &detections.masks {
        return Ok(Some(masks.clone()));
    }
    let Some(cells) = detections.column(column::RLE_MASK) else {
        return Ok(None);
    };
    let masks: Option<Vec<Mask>> = cells.iter().map(from_run_lengths).collect();
    match masks {
        Some(masks) => Ok(Some(Arc::new(masks))),
        None => Err(BlockError::failed(
            "column `rle_mask` must hold COCO run lengths: {size: [height, width], counts}",
        )),
    }
}

/// A mask from `{size: [height, width], counts}`; counts are the COCO text or a list of numbers.
fn from_run_lengths(cell: &Value) -> Option<Mask> {
    let entries = cell.as_dict()?;
    let size = entries.get("size")?.as_slice()?;
    let height = usize::try_from(size.first()?.as_i64()?).ok()?;
    let width = usize::try_from(size.get(1)?.as_i64()?).ok()?;
    let counts = match entries.get("counts")? {
        Value::Str(text) => decompress_counts(text)?,
        Value::Bytes(bytes) => decompress_counts(std::str::from_utf8(bytes).ok()?)?,
        other => other
            .as_slice()?
            .iter()
            .map(|n| u32::try_from(n.as_i64()?).ok())
            .collect::<Option<_>>()?,
    };
    Mask::from_rle_counts(width, height, &counts)
}

/// Fails unless masks have the size of the image.
pub fn check_size(masks: &[Mask], image: &Matrix) -> Result<(), BlockError> {
    match masks
        .iter()
        .find(|m| m.width() != image.width || m.height() != image.height)
    {
        Some(mask) => Err(BlockError::failed(format!(
            "masks of {}x{} do not fit an image of {}x{}",
            mask.width(),
            mask.height(),
            image.width,
            image.height
        ))),
        None => Ok(()),
    }
}

/// The smallest region that holds all windows; `None` if nothing is set.
pub fn extent<'a>(masks: impl IntoIterator<Item = &'a Mask>) -> Option<Region> {
    masks
        .into_iter()
        .map(Mask::window)
        .filter(|[_, _, w, h]| *w > 0 && *h > 0)
        .reduce(|[ax, ay, aw, ah], [bx, by, bw, bh]| {
            let (x, y) = (ax.min(bx), ay.min(by));
            [x, y, (ax + aw).max(bx + bw) - x, (ay + ah).max(by + bh) - y]
        })
}

/// Outlines of a mask, holes included, of three points or more, in image coordinates.
pub fn outlines(mask: &Mask) -> Vec<Vec<Pixel>> {
    let pixels = |line: &Vec<[i64; 2]>| line.iter().map(|p| p.map(imaging::pixels)).collect();
    polygon::outlines(mask)
        .iter()
        .filter(|line| line.len() >= 3)
        .map(pixels)
        .collect()
}

/// The pixels of each box as a mask; negative corners count from the far edge, as in a Python slice.
pub fn of_boxes(detections: &Detections, width: usize, height: usize) -> Vec<Mask> {
    let of_box = |xyxy: &[f64; 4]| {
        let [x1, y1, x2, y2] = imaging::trunc_box(xyxy);
        let (columns, rows) = (
            imaging::slice(x1, x2, width),
            imaging::slice(y1, y2, height),
        );
        let window = [columns.start, rows.start, columns.len(), rows.len()];
        Mask::from_window(width, height, window, &vec![1; columns.len() * rows.len()])
    };
    detections.xyxy.iter().map(of_box).collect()
}

/// Rows by descending size, later rows first among equals: the order in which masks are painted so
/// that small ones stay visible.
pub fn largest_first(masks: &[Mask]) -> Vec<usize> {
    by_size(&masks.iter().map(|m| m.area() as f64).collect::<Vec<_>>())
}

/// Rows by descending size, later rows first among equals.
pub fn by_size(areas: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..areas.len()).collect();
    order.sort_by(|&a, &b| areas[a].total_cmp(&areas[b]));
    order.reverse();
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Dict;

    #[test]
    fn run_lengths_become_masks() {
        let mut entries = Dict::new();
        entries.insert("size".into(), Value::list(vec![3i64.into(), 2i64.into()]));
        entries.insert(
            "counts".into(),
            Value::list(vec![1i64.into(), 2i64.into(), 3i64.into()]),
        );
        let mut d = Detections {
            xyxy: Arc::new(vec![[0.0; 4]]),
            ..Detections::default()
        };
        assert_eq!(decoded(&d).unwrap(), None);
        d.set_column(column::RLE_MASK, vec![Value::dict(entries)]);
        let masks = decoded(&d).unwrap().unwrap();
        assert_eq!(masks[0].to_dense(), [0, 0, 1, 0, 1, 0]);
        d.set_column(column::RLE_MASK, vec![Value::Int(3)]);
        assert!(decoded(&d).is_err());
    }

    #[test]
    fn small_masks_are_painted_last_and_ties_in_descending_order() {
        let mask = |w| Mask::from_window(10, 10, [0, 0, w, 1], &vec![1; w]);
        assert_eq!(
            largest_first(&[mask(2), mask(5), mask(2), mask(1)]),
            [1, 2, 0, 3]
        );
    }

    #[test]
    fn a_ring_has_two_outlines() {
        let mut data = vec![1; 49];
        data[24] = 0;
        let mask = Mask::from_window(20, 20, [3, 4, 7, 7], &data);
        let outlines = outlines(&mask);
        assert_eq!(outlines[0], [[3, 4], [3, 10], [9, 10], [9, 4]]);
        assert_eq!(outlines.len(), 2);
        assert_eq!(extent([&mask]), Some([3, 4, 7, 7]));
    }
}
