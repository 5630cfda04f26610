//! Cuts an image into overlapping slices.
//!
//! # Inputs and outputs
//! `image`, size of a slice and the shares by which neighbours overlap → `slices`, one element each, a
//! level deeper, row by row.
//!
//! # State
//! None.
//!
//! # Edge cases
//! At the right and lower edge version 1 cuts smaller slices; version 2 moves the last ones back into
//! the image, so that all are of one size. Slices carry no video metadata. More than [`MOST`] slices, or
//! slices of more than [`MOST_PIXELS`] pixels in all, are refused.

use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::imaging::MOST_PIXELS;
use crate::row;
use crate::values::detections::new_id;
use crate::values::{Image, kind};

/// Slices of one image: more would fill the memory rather than serve a model.
const MOST: usize = 65_536;

/// `roboflow_core/image_slicer@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/image_slicer@v1"],
    build: |_, _| Ok(Box::new(ImageSlicer { even: false })),
    ..V2
};

/// `roboflow_core/image_slicer@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/image_slicer@v2"],
    name: "Image Slicer",
    family: Family::Transformation,
    stateless: true,
    about: "Cuts an image into overlapping slices.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])])
            .alias("images")
            .about("The image."),
        Field::optional("slice_width", SIZE, "640").about("Width of a slice."),
        Field::optional("slice_height", SIZE, "640").about("Height of a slice."),
        Field::optional("overlap_ratio_width", SHARE, "0.2")
            .about("Share of its width that a slice has in common with the next."),
        Field::optional("overlap_ratio_height", SHARE, "0.2")
            .about("Share of its height that a slice has in common with the one below."),
    ],
    outputs: &[output("slices", &[kind::IMAGE])],
    output_offset: 1,
    build: |_, _| Ok(Box::new(ImageSlicer { even: true })),
    ..BlockSpec::DEFAULT
};

const SIZE: &[Ty] = &[Ty::IntAbove(0, i64::MAX), Ty::Selector(&[kind::INTEGER])];
const SHARE: &[Ty] = &[
    Ty::FloatIn(Bounds {
        ge: Some(0.0),
        lt: Some(1.0),
        ..Bounds::NONE
    }),
    Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
];

struct ImageSlicer {
    /// Whether all slices have one size.
    even: bool,
}

impl Block for ImageSlicer {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let axis = |size: &str, share: &str, length: usize| {
            let (size, share) = (inputs.int(size)?, inputs.float(share)?);
            spans(length, size, share, self.even)
        };
        let columns = axis("slice_width", "overlap_ratio_width", image.width())?;
        let rows = axis("slice_height", "overlap_ratio_height", image.height())?;
        if columns.len().saturating_mul(rows.len()) > MOST {
            return Err(BlockError::failed(format!(
                "{} by {} slices are too many; make slices larger (at most {MOST} are cut)",
                columns.len(),
                rows.len()
            )));
        }
        let total = |spans: &[(usize, usize)]| spans.iter().map(|span| span.1).sum::<usize>();
        let pixels = total(&columns).saturating_mul(total(&rows));
        if pixels > MOST_PIXELS {
            return Err(BlockError::failed(format!(
                "the slices would have {pixels} pixels in all, more than {MOST_PIXELS}; let them overlap less"
            )));
        }
        let slice = |(x, width): (usize, usize), (y, height): (usize, usize)| {
            let pixels = image.pixels().cut(x, y, width, height);
            let id = format!("image_slicer.{}", new_id());
            image.cropped(pixels, id.into(), x as i64, y as i64, false)
        };
        let all = rows
            .iter()
            .flat_map(|row| columns.iter().map(|column| slice(*column, *row)));
        Ok(Output::Many(all.map(|slice: Image| row![slice]).collect()))
    }
}

/// Start and length of each slice along an axis.
fn spans(
    length: usize,
    size: i64,
    share: f64,
    even: bool,
) -> Result<Vec<(usize, usize)>, BlockError> {
    let wrong = || {
        BlockError::failed(format!(
            "no slices of {size} pixels that overlap by {share}"
        ))
    };
    let mut size = usize::try_from(size).map_err(|_| wrong())?;
    if even {
        size = size.min(length);
    }
    let shared = (share * size as f64).trunc().max(0.0) as usize;
    let stride = size
        .checked_sub(shared)
        .filter(|stride| *stride > 0)
        .ok_or_else(wrong)?;
    let span = |start: usize| match even {
        true => (start.min(length - size), size),
        false => (start, size.min(length - start)),
    };
    let mut spans: Vec<(usize, usize)> = (0..length).step_by(stride).map(span).collect();
    spans.dedup();
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::Bench;
    use crate::values::Matrix;

    fn starts(length: usize, size: i64, share: f64, even: bool) -> Vec<usize> {
        spans(length, size, share, even)
            .unwrap()
            .iter()
            .map(|s| s.0)
            .collect()
    }

    #[test]
    fn slices_of_both_versions() {
        // Specification 8.13.
        assert_eq!(starts(100, 40, 0.25, false), [0, 30, 60, 90]);
        assert_eq!(starts(100, 40, 0.25, true), [0, 30, 60]);
        assert_eq!(spans(50, 40, 0.0, false).unwrap(), [(0, 40), (40, 10)]);
        assert_eq!(spans(50, 40, 0.0, true).unwrap(), [(0, 40), (10, 40)]);
        let count = |even| starts(1920, 640, 0.2, even).len() * starts(1080, 640, 0.2, even).len();
        assert_eq!((count(false), count(true)), (12, 8));
        assert_eq!(spans(30, 640, 0.2, true).unwrap(), [(0, 30)]);
    }

    #[test]
    fn slices_that_make_no_progress_are_refused() {
        for (size, share) in [(0, 0.0), (-5, 0.0), (10, 1.0), (10, 7.0)] {
            assert!(spans(100, size, share, false).is_err());
        }
    }

    #[test]
    fn slices_that_would_fill_the_memory_are_refused() {
        let image = Image::new(Matrix::filled(3000, 3000, &[7]), "whole".into());
        let size = 2000;
        let mut bench = Bench::new(
            &V1,
            &[
                ("slice_width", size.into()),
                ("slice_height", size.into()),
                ("overlap_ratio_width", 0.99.into()),
                ("overlap_ratio_height", 0.99.into()),
            ],
        );
        let error = bench.run_many(&[("image", image.into())]).unwrap_err();
        assert!(error.to_string().contains("overlap less"), "{error}");
    }

    #[test]
    fn slices_know_their_place() {
        let image = Image::new(Matrix::filled(100, 50, &[7]), "whole".into());
        let mut bench = Bench::new(
            &V2,
            &[("slice_width", 40.into()), ("slice_height", 40.into())],
        );
        let slices = bench.run_many(&[("image", image.into())]).unwrap();
        let last = slices.last().unwrap()[0].as_image().unwrap().clone();
        assert_eq!((last.width(), last.height()), (40, 40));
        assert_eq!((last.root().x, last.root().y), (60, 10));
        assert!(last.parent().id.starts_with("image_slicer."));
    }
}
