//! Looks at a flat part of an image straight from above.
//!
//! # Inputs and outputs
//! `images`, the four corners of the part in `perspective_polygons` (one for all images or one each)
//! and the size of the rectangle that it becomes → `corrected_coordinates`, the `predictions` in that
//! rectangle; `warped_image`, the image itself with `warp_image`, else unchanged; the rectangle's size.
//! With an anchor in `extend_perspective_polygon_by_detections_anchor` the polygon grows to hold that
//! anchor of all detections (see [`extension`]).
//!
//! # State
//! None: matrices are computed anew for each image.
//!
//! # Edge cases
//! Coordinates are rounded to whole pixels. A mask must have one outline, or several with as many
//! points each. No detections give none.

mod extension;
mod polygons;

use std::sync::Arc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Row, Ty, output,
};
use crate::geometry;
use crate::imaging::Homography;
use crate::row;
use crate::values::codec::DEFAULT_MAX_PIXELS;
use crate::values::detections::column;
use crate::values::polygon::{filled, outlines};
use crate::values::{Array, Detections, Image, Kind, Mask, Value, kind};

const KINDS: &[Kind] = &[kind::OBJECT_DETECTION, kind::INSTANCE_SEGMENTATION];

/// `roboflow_core/perspective_correction@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/perspective_correction@v1",
        "PerspectiveCorrection",
    ],
    name: "Perspective Correction",
    family: Family::Transformation,
    stateless: true,
    about: "Looks at a flat part of an image straight from above.",
    fields: &[
        Field::optional("predictions", &[Ty::Selector(KINDS), Ty::Null], "null")
            .about("Detections to move along."),
        Field::required("images", &[Ty::Selector(&[kind::IMAGE])])
            .alias("image")
            .about("The images."),
        Field::required(
            "perspective_polygons",
            &[Ty::List(&[Ty::Any]), Ty::Selector(&[kind::LIST_OF_VALUES])],
        )
        .about("Four corners of the part, or such a polygon for each image."),
        Field::optional("transformed_rect_width", WHOLE, "1000").about("Width of the rectangle."),
        Field::optional("transformed_rect_height", WHOLE, "1000").about("Height of the rectangle."),
        Field::optional(
            "extend_perspective_polygon_by_detections_anchor",
            &[Ty::Str, Ty::Selector(&[kind::STRING])],
            "\"\"",
        )
        .about("Anchor of detections that the polygon must hold; ALL for their corners."),
        Field::optional(
            "warp_image",
            &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])],
            "false",
        )
        .about("Whether the image is warped too."),
    ],
    outputs: &[
        output("corrected_coordinates", KINDS),
        output("warped_image", &[kind::IMAGE]),
        output("extended_transformed_rect_width", &[kind::INTEGER]),
        output("extended_transformed_rect_height", &[kind::INTEGER]),
    ],
    batch: &["images", "predictions"],
    mixed: &[
        "perspective_polygons",
        "transformed_rect_width",
        "transformed_rect_height",
    ],
    build: |_, _| Ok(Box::new(PerspectiveCorrection)),
    ..BlockSpec::DEFAULT
};

const WHOLE: &[Ty] = &[Ty::Int, Ty::Selector(&[kind::INTEGER])];

struct PerspectiveCorrection;

impl Block for PerspectiveCorrection {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let images = inputs.images("images")?;
        let predictions = inputs.value("predictions");
        let quads = polygons::for_images(inputs.value("perspective_polygons"), images.len())?;
        let anchor = inputs.text("extend_perspective_polygon_by_detections_anchor")?;
        let warp = inputs.flag("warp_image")?;
        let row = |i: usize| {
            let set = of_image(predictions, i).as_detections();
            let size = [
                side(inputs, "transformed_rect_width", i)?,
                side(inputs, "transformed_rect_height", i)?,
            ];
            let view = View::new(quads[i], size, set.map(|set| &**set), anchor)?;
            view.row(images[i], set.map(|set| &**set), warp)
        };
        let rows: Result<Vec<Row>, BlockError> = (0..images.len()).map(row).collect();
        rows.map(Output::Many)
    }
}

/// What a batch or a single value holds for an image.
fn of_image(value: &Value, i: usize) -> &Value {
    match value {
        Value::Batch(batch) => match batch.items.as_slice() {
            [one] => one,
            items => items.get(i).unwrap_or(&Value::None),
        },
        other => other,
    }
}

fn side(inputs: &Inputs<'_>, name: &str, i: usize) -> Result<f64, BlockError> {
    let value = of_image(inputs.value(name), i);
    let whole = value
        .as_i64()
        .filter(|side| *side > 0 && *side <= i64::from(i16::MAX));
    whole.map(|side| side as f64).ok_or_else(|| {
        BlockError::failed(format!(
            "`{name}` must be a whole number of pixels from 1 to {}, got {}",
            i16::MAX,
            crate::values::python::repr(value)
        ))
    })
}

/// The way from an image to its rectangle.
struct View {
    map: Homography,
    width: usize,
    height: usize,
}

impl View {
    fn new(
        quad: polygons::Quad,
        [width, height]: [f64; 2],
        set: Option<&Detections>,
        anchor: &str,
    ) -> Result<Self, BlockError> {
        let mut quad = polygons::ordered(quad);
        let (mut right, mut down) = (0.0, 0.0);
        if let Some(set) = set.filter(|set| !anchor.is_empty() && !set.is_empty()) {
            let length =
                |a: usize, b: usize| (quad[a][0] - quad[b][0]).hypot(quad[a][1] - quad[b][1]);
            let across = length(0, 3).max(length(1, 2)).max(1.0);
            let tall = length(0, 1).max(length(2, 3)).max(1.0);
            let grown = extension::around(quad, set, anchor)?;
            quad = grown.quad;
            right = (grown.across * width / across).round_ties_even();
            down = (grown.down * height / tall).round_ties_even();
        }
        let (width, height) = (width + right, height + down);
        let most = f64::from(i16::MAX);
        if !(width <= most && height <= most && width * height <= DEFAULT_MAX_PIXELS as f64) {
            return Err(BlockError::failed(format!(
                "the rectangle would have {width} by {height} pixels, which is too many"
            )));
        }
        let rectangle = [
            [0.0, height - 1.0],
            [0.0, 0.0],
            [width - 1.0, 0.0],
            [width - 1.0, height - 1.0],
        ];
        Ok(Self {
            map: Homography::between(&quad, &rectangle)?,
            width: width as usize,
            height: height as usize,
        })
    }

    fn row(&self, image: &Image, set: Option<&Detections>, warp: bool) -> Result<Row, BlockError> {
        let corrected = set.map(|set| self.corrected(set)).transpose()?;
        let picture = match warp {
            true => self.warped(image)?,
            false => image.as_result(),
        };
        Ok(row![corrected, picture, self.width, self.height])
    }

    fn warped(&self, image: &Image) -> Result<Image, BlockError> {
        let warped = self.map.warped(image.pixels(), self.width, self.height)?;
        Ok(image.with_pixels(warped))
    }

    /// Where a point goes, as a 32-bit number.
    fn point(&self, point: [f64; 2]) -> [f64; 2] {
        self.map.point(point).map(|c| f64::from(c as f32))
    }

    fn corrected(&self, set: &Detections) -> Result<Detections, BlockError> {
        if set.is_empty() {
            return Ok(Detections::empty());
        }
        let mut out = set.clone();
        let mut boxes = Vec::with_capacity(set.len());
        match &set.masks {
            None => {
                for [x1, y1, x2, y2] in set.xyxy.iter().map(|b| b.map(f64::round_ties_even)) {
                    let corners = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
                    boxes.push(bounds(&corners.map(|corner| self.point(corner))));
                }
            }
            Some(masks) => {
                let mut moved = Vec::with_capacity(masks.len());
                for mask in masks.iter() {
                    let points: Vec<[f64; 2]> =
                        outline(mask)?.into_iter().map(|p| self.point(p)).collect();
                    boxes.push(bounds(&points));
                    let whole: Vec<[i32; 2]> = points
                        .iter()
                        .map(|p| p.map(|c| c.round_ties_even() as i32))
                        .collect();
                    moved.push(filled(&whole, self.width, self.height));
                }
                out.masks = Some(Arc::new(moved));
            }
        }
        out.xyxy = Arc::new(boxes);
        for name in [column::KEYPOINTS_XY, column::ORIENTED_BOX] {
            if let Some(cells) = set.column(name) {
                let cells: Result<_, BlockError> =
                    cells.iter().map(|cell| self.points(cell)).collect();
                out.set_column(name, cells?);
            }
        }
        Ok(out)
    }

    /// The points of a cell, rounded.
    fn points(&self, cell: &Value) -> Result<Value, BlockError> {
        let points = geometry::points(cell)?;
        let data = points
            .iter()
            .flat_map(|p| self.point(*p).map(f64::round_ties_even));
        let array = Array::floats(vec![points.len(), 2], data.collect());
        Ok(Value::Array(Arc::new(array)))
    }
}

/// The outline of a mask, its parts one behind the other.
fn outline(mask: &Mask) -> Result<Vec<[f64; 2]>, BlockError> {
    let parts: Vec<_> = outlines(mask)
        .into_iter()
        .filter(|line| line.len() >= 3)
        .collect();
    let first = parts.first().map(Vec::len);
    if first.is_none() || parts.iter().any(|part| Some(part.len()) != first) {
        return Err(BlockError::failed(
            "a mask must have one outline (or several with as many points each) to be corrected",
        ));
    }
    Ok(parts
        .concat()
        .into_iter()
        .map(|p| p.map(|c| c as f64))
        .collect())
}

/// The box around points, in whole pixels.
fn bounds(points: &[[f64; 2]]) -> [f64; 4] {
    let exact = geometry::bounds(points.iter().copied()).unwrap_or_default();
    exact.map(|side| f64::from(side.round_ties_even() as i32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, batch, boxes};
    use crate::values::Matrix;
    use serde_json::{Value as Json, json};

    fn run(fields: &[(&str, Json)], set: Option<Detections>) -> Result<Row, BlockError> {
        let image = Image::new(Matrix::filled(400, 400, &[9; 3]), "image".into());
        let predictions = set.map_or(Value::None, |set| batch(vec![set.into()]));
        let given = [
            ("images", batch(vec![image.into()])),
            ("predictions", predictions),
        ];
        Bench::new(&BLOCK, fields)
            .run_many(&given)
            .map(|mut rows| rows.remove(0))
    }

    fn polygon() -> (&'static str, Json) {
        (
            "perspective_polygons",
            json!([[100, 100], [300, 120], [320, 400], [80, 380]]),
        )
    }

    #[test]
    fn boxes_move_into_the_rectangle() {
        // Specification 8.10.
        let row = run(
            &[polygon()],
            Some(boxes(&[([150.0, 150.0, 200.0, 200.0], 0.9)])),
        )
        .unwrap();
        assert_eq!(
            *row[0].as_detections().unwrap().xyxy,
            [[255.0, 167.0, 496.0, 380.0]]
        );
        assert_eq!((row[2].as_i64(), row[3].as_i64()), (Some(1000), Some(1000)));
        assert_eq!(row[1].as_image().unwrap().width(), 400);
    }

    #[test]
    fn masks_and_points_move_along() {
        let mut set = boxes(&[([0.0, 0.0, 1.0, 1.0], 0.9)]);
        set.masks = Some(Arc::new(vec![filled(
            &[[150, 150], [200, 150], [200, 200], [150, 200]],
            400,
            400,
        )]));
        set.set_column(
            column::KEYPOINTS_XY,
            vec![Value::from_json(&json!([[100, 100], [320, 400]]))],
        );
        let row = run(&[polygon()], Some(set)).unwrap();
        let out = row[0].as_detections().unwrap();
        let mask = &out.masks.as_ref().unwrap()[0];
        assert_eq!((mask.width(), mask.height()), (1000, 1000));
        assert_eq!(out.xyxy[0], [255.0, 167.0, 496.0, 380.0]);
        let points = geometry::points(out.cell(column::KEYPOINTS_XY, 0).unwrap()).unwrap();
        assert_eq!(points, [[0.0, 0.0], [999.0, 999.0]]);
        let mut torn = boxes(&[([0.0, 0.0, 1.0, 1.0], 0.9)]);
        torn.masks = Some(Arc::new(vec![Mask::empty(9, 9)]));
        assert!(run(&[polygon()], Some(torn)).is_err());
    }

    #[test]
    fn the_image_is_warped_on_request() {
        let fields = [
            polygon(),
            ("warp_image", json!(true)),
            ("transformed_rect_width", json!(50)),
            ("transformed_rect_height", json!(40)),
        ];
        let row = run(&fields, None).unwrap();
        assert!(row[0].is_none());
        let picture = row[1].as_image().unwrap();
        assert_eq!(
            (picture.width(), picture.height(), picture.pixels().data[3]),
            (50, 40, 9)
        );
        let huge = [polygon(), ("transformed_rect_width", json!(99_999_999))];
        assert!(run(&huge, None).is_err());
    }
}
