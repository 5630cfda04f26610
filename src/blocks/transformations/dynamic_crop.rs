//! Cuts each detection out of its image.
//!
//! # Inputs and outputs
//! `images` and `predictions`, `mask_opacity` and `background_color` → one element per detection, a
//! level deeper: `crops`, named by the detection's id, and `predictions`, the detection alone in
//! the crop's coordinates (box, key points, outline, corners and mask; its parent is not changed).
//!
//! # State
//! None.
//!
//! # Edge cases
//! Corners are rounded, halves to the even number. Negative corners count from the far edge, as in
//! a Python slice, so a box over the left or top edge usually gives nothing; a crop without pixels
//! is an empty element. With `mask_opacity` and masks, pixels outside the mask fade to the
//! background; the colour is not read otherwise. No detections give no elements. Crops of one image
//! that would have more than [`MOST_PIXELS`] pixels in all are refused.

use std::ops::Range;
use std::sync::Arc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Bounds, Context, Family, Field, Inputs, Output, Row, Ty, output,
};
use crate::imaging::{self, Color, MOST_PIXELS, blend::Tint};
use crate::row;
use crate::values::detections::column;
use crate::values::{Array, Detections, Image, Mask, Matrix, Value, kind};

/// `roboflow_core/dynamic_crop@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/dynamic_crop@v1", "DynamicCrop", "Crop"],
    name: "Dynamic Crop",
    family: Family::Transformation,
    stateless: true,
    about: "Cuts each detection out of its image.",
    fields: &[
        Field::required("images", &[Ty::Selector(&[kind::IMAGE])])
            .alias("image")
            .about("Images to cut from."),
        Field::required("predictions", &[Ty::Selector(kind::DETECTIONS)])
            .alias("detections")
            .about("Detections to cut out."),
        Field::optional(
            "mask_opacity",
            &[Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]), Ty::Float],
            "0.0",
        )
        .bounds(Bounds::within(0.0, 1.0))
        .about("How much of what lies outside the mask is hidden.")
        .extra(
            r#"{
                "relevant_for": {
                    "predictions": {"kind": ["instance_segmentation_prediction"], "required": true}
                }
            }"#,
        ),
        Field::optional(
            "background_color",
            &[
                Ty::Selector(&[kind::STRING]),
                Ty::Selector(&[kind::RGB_COLOR]),
                Ty::Str,
                Ty::Tuple(&[&[Ty::Int], &[Ty::Int], &[Ty::Int]]),
            ],
            "[0, 0, 0]",
        )
        .about("What hides it: #RRGGBB, (r, g, b) or three whole numbers.")
        .extra(
            r#"{
                "relevant_for": {
                    "predictions": {"kind": ["instance_segmentation_prediction"], "required": true}
                }
            }"#,
        ),
    ],
    outputs: &[
        output("crops", &[kind::IMAGE]),
        output("predictions", kind::DETECTIONS),
    ],
    batch: &["images", "predictions"],
    output_offset: 1,
    build: |_, _| Ok(Box::new(DynamicCrop)),
    ..BlockSpec::DEFAULT
};

struct DynamicCrop;

impl Block for DynamicCrop {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let images = inputs.images("images")?;
        let predictions = inputs.detection_sets("predictions")?;
        let opacity = inputs.float("mask_opacity")?;
        let mut all = Vec::with_capacity(images.len());
        for (image, detections) in images.into_iter().zip(predictions) {
            let mut background = Background {
                opacity,
                color: inputs.value("background_color"),
                tint: None,
            };
            let places = places(image, detections)?;
            let rows: Result<Vec<Row>, BlockError> = places
                .into_iter()
                .enumerate()
                .map(|(row, place)| crop(image, detections, row, place, &mut background))
                .collect();
            all.push(rows?);
        }
        Ok(Output::Nested(all))
    }
}

/// What shows outside the masks of one image.
struct Background<'a> {
    opacity: f64,
    color: &'a Value,
    /// Made when it shows first.
    tint: Option<Tint>,
}

impl Background<'_> {
    /// Fades the pixels outside the mask.
    fn hide_outside(&mut self, pixels: &mut Matrix, mask: &Mask) -> Result<(), BlockError> {
        let tint = match self.tint.take() {
            Some(tint) => tint,
            None => Tint::new(background_color(self.color)?, self.opacity, pixels.channels)?,
        };
        tint.apply_outside(pixels, mask)?;
        self.tint = Some(tint);
        Ok(())
    }
}

/// The pixels of an image that a box covers, and the box's own corner, which may lie outside.
struct Place {
    corner: [i32; 2],
    columns: Range<usize>,
    rows: Range<usize>,
}

/// The places of all boxes, unless their crops would fill the memory.
fn places(image: &Image, detections: &Detections) -> Result<Vec<Place>, BlockError> {
    let place = |corners: &[f64; 4]| {
        let [x1, y1, x2, y2] = corners.map(|v| v.round_ties_even() as i32);
        Place {
            corner: [x1, y1],
            columns: imaging::slice(x1, x2, image.width()),
            rows: imaging::slice(y1, y2, image.height()),
        }
    };
    let places: Vec<Place> = detections.xyxy.iter().map(place).collect();
    let pixels = places.iter().map(|p| p.columns.len() * p.rows.len());
    match pixels.sum::<usize>() {
        0..=MOST_PIXELS => Ok(places),
        pixels => Err(BlockError::failed(format!(
            "the crops of one image would have {pixels} pixels in all, more than {MOST_PIXELS}; \
             filter the detections before they are cropped"
        ))),
    }
}

/// The crop of one row and the row in its coordinates; two empty values if it has no pixels.
fn crop(
    image: &Image,
    detections: &Detections,
    row: usize,
    Place {
        corner: [x1, y1],
        columns,
        rows,
    }: Place,
    background: &mut Background<'_>,
) -> Result<Row, BlockError> {
    let id = detections.detection_id(row).ok_or_else(|| {
        BlockError::failed("the detections have no `detection_id`, by which crops are named")
    })?;
    if columns.is_empty() || rows.is_empty() {
        return Ok(row![Value::None, Value::None]);
    }
    let (x, y, width, height) = (columns.start, rows.start, columns.len(), rows.len());
    let mut pixels = image.pixels().cut(x, y, width, height);
    let mut alone = detections.take(&[row]);
    move_to(&mut alone, -f64::from(x1), -f64::from(y1));
    if let Some(masks) = &detections.masks {
        let mask = masks[row].cut(x as i64, y as i64, width, height);
        if background.opacity > 0.0 {
            background.hide_outside(&mut pixels, &mask)?;
        }
        alone.masks = Some(Arc::new(vec![mask]));
    }
    let crop = image.cropped(pixels, id.clone(), x1.into(), y1.into(), false);
    Ok(row![crop, alone])
}

/// A colour from `#RRGGBB`, `#RGB`, `(r, g, b)` or three whole numbers.
fn background_color(value: &Value) -> Result<Color, BlockError> {
    let wrong = || {
        BlockError::failed(format!(
            "background_color must be #RRGGBB, #RGB, (r, g, b) or three whole numbers, got {}",
            crate::values::python::repr(value)
        ))
    };
    let numbers: Vec<i64> = match value {
        Value::Str(text) if text.starts_with('#') && matches!(text.len(), 4 | 7) => {
            return Color::parse(text).map_err(|_| wrong());
        }
        Value::Str(text) => {
            let inner = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
            let numbers: Result<_, _> = inner
                .ok_or_else(wrong)?
                .split(',')
                .map(|n| n.trim().parse())
                .collect();
            numbers.map_err(|_| wrong())?
        }
        other => {
            let items = other.as_slice().ok_or_else(wrong)?;
            let numbers: Option<_> = items.iter().map(Value::as_i64).collect();
            numbers.ok_or_else(wrong)?
        }
    };
    // Numbers beyond a byte wrap round, as in the recorded answers.
    let byte = |n: i64| n.rem_euclid(256) as u8;
    match numbers[..] {
        [r, g, b] => Ok(Color {
            r: byte(r),
            g: byte(g),
            b: byte(b),
        }),
        _ => Err(wrong()),
    }
}

/// Moves everything that has coordinates but the masks.
fn move_to(detections: &mut Detections, dx: f64, dy: f64) {
    let moved = |[x1, y1, x2, y2]: &[f64; 4]| [x1 + dx, y1 + dy, x2 + dx, y2 + dy];
    detections.xyxy = Arc::new(detections.xyxy.iter().map(moved).collect());
    for name in [column::KEYPOINTS_XY, column::POLYGON, column::ORIENTED_BOX] {
        if let Some(cells) = detections.column(name) {
            let cells = cells
                .iter()
                .map(|cell| moved_points(cell, dx, dy))
                .collect();
            detections.set_column(name, cells);
        }
    }
}

/// The same points moved; what is no list of points stays as it is.
fn moved_points(cell: &Value, dx: f64, dy: f64) -> Value {
    let point = |p: &Value| match p.as_slice() {
        Some([x, y, rest @ ..]) => match (x.as_f64(), y.as_f64()) {
            (Some(x), Some(y)) => {
                let mut moved = vec![Value::Float(x + dx), Value::Float(y + dy)];
                moved.extend_from_slice(rest);
                Value::list(moved)
            }
            _ => p.clone(),
        },
        _ => p.clone(),
    };
    match cell {
        Value::Array(array) if array.shape.len() == 2 && array.shape[1] == 2 => {
            let pairs = array.data.chunks_exact(2);
            let data = pairs.flat_map(|p| [p[0] + dx, p[1] + dy]).collect();
            Value::Array(Arc::new(Array {
                data,
                ..(**array).clone()
            }))
        }
        Value::List(points) | Value::Tuple(points) => {
            Value::list(points.iter().map(point).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::visualizations::common::points;
    use crate::blocks::visualizations::common::testing::{picture, run};
    use crate::values::Batch;

    fn batch(items: Vec<Value>) -> Value {
        let indices = (0..items.len() as u32)
            .map(|i| smallvec::smallvec![i])
            .collect();
        Value::Batch(Arc::new(Batch { indices, items }))
    }

    fn boxes(rows: &[([f64; 4], &str)]) -> Detections {
        let corners = |[x, y, w, h]: [f64; 4]| [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0];
        let mut d = Detections {
            xyxy: Arc::new(rows.iter().map(|r| corners(r.0)).collect()),
            ..Detections::default()
        };
        d.set_column(
            column::DETECTION_ID,
            rows.iter().map(|r| r.1.into()).collect(),
        );
        d
    }

    fn grid() -> Image {
        Image::new(picture("transformations/grid.png"), "image".into())
    }

    fn crops(image: Image, d: Detections, more: &[(&'static str, Value)]) -> Vec<Row> {
        let mut fields = vec![
            ("images", batch(vec![image.into()])),
            ("predictions", batch(vec![d.into()])),
        ];
        fields.extend(more.iter().cloned());
        match run(&BLOCK, &fields) {
            Ok(Output::Nested(mut all)) => all.remove(0),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn crops_that_would_fill_the_memory_are_refused() {
        let image = Image::new(Matrix::filled(1000, 1000, &[0]), "image".into());
        let whole = ([500.0, 500.0, 1000.0, 1000.0], "whole");
        let fields = [
            ("images", batch(vec![image.into()])),
            ("predictions", batch(vec![boxes(&[whole; 301]).into()])),
        ];
        let error = run(&BLOCK, &fields).unwrap_err();
        assert!(
            error.to_string().contains("filter the detections"),
            "{error}"
        );
    }

    #[test]
    fn boxes_are_cut_as_recorded() {
        let rows = crops(
            grid(),
            boxes(&[
                ([50.95, 60.55, 61.1, 59.9], "first"),
                ([190.0, 135.0, 80.0, 70.0], "beyond"),
                ([-12.5, -12.5, 15.0, 15.0], "minus"),
                ([12.0, 50.0, 36.0, 20.0], "half"),
            ]),
            &[],
        );
        for (row, (name, offset)) in rows.iter().zip([
            ("first", [20, 31]),
            ("beyond", [150, 100]),
            ("minus", [-20, -20]),
        ]) {
            let image = row[0].as_image().unwrap();
            let file = format!("transformations/dynamic_crop_{name}.png");
            assert_eq!(**image.pixels(), picture(&file), "{name}");
            assert_eq!(&*image.parent().id, name);
            assert_eq!([image.parent().x, image.parent().y], offset);
            assert_eq!((image.parent().width, image.parent().height), (200, 150));
            assert!(image.video().is_none());
        }
        let first = rows[0][1].as_detections().unwrap();
        let [cx, cy] = first.center(0);
        assert!((cx - 30.95).abs() < 1e-9 && (cy - 29.55).abs() < 1e-9);
        assert!(rows[3][0].is_none() && rows[3][1].is_none());
    }

    #[test]
    fn what_lies_outside_the_mask_fades() {
        let mut d = boxes(&[([60.0, 50.0, 60.0, 60.0], "l1")]);
        let mask = Mask::from_window(200, 150, [40, 30, 20, 10], &[1; 200]);
        d.masks = Some(Arc::new(vec![mask]));
        let fields = [
            ("mask_opacity", 0.75.into()),
            ("background_color", "(255, 0, 128)".into()),
        ];
        let rows = crops(grid(), d, &fields);
        let crop = rows[0][0].as_image().unwrap().pixels();
        let whole = grid();
        let at = |m: &Matrix, x: usize, y: usize| m.data[(y * m.width + x) * 3];
        assert_eq!(at(crop, 10, 10), at(whole.pixels(), 40, 30));
        let want = 0.75 * 128.0 + 0.25 * f64::from(at(whole.pixels(), 31, 21));
        assert_eq!(f64::from(at(crop, 1, 1)), want.round_ties_even());
        let masks = rows[0][1].as_detections().unwrap().masks.clone().unwrap();
        assert_eq!(masks[0].window(), [10, 10, 20, 10]);
        assert_eq!((masks[0].width(), masks[0].height()), (60, 60));
    }

    #[test]
    fn key_points_move_with_the_box() {
        let mut d = boxes(&[([60.0, 85.0, 60.0, 110.0], "w1")]);
        let pair = |x: f64, y: f64| Value::list(vec![x.into(), y.into()]);
        d.set_column(
            column::KEYPOINTS_XY,
            vec![Value::list(vec![pair(60.0, 40.0), pair(45.0, 80.0)])],
        );
        let rows = crops(grid(), d, &[]);
        let moved = rows[0][1].as_detections().unwrap();
        let cell = moved.cell(column::KEYPOINTS_XY, 0).unwrap();
        assert_eq!(points(cell).unwrap(), [[30.0, 10.0], [15.0, 50.0]]);
    }

    #[test]
    fn a_colour_is_read_only_when_it_shows() {
        let d = boxes(&[([60.0, 50.0, 60.0, 60.0], "l1")]);
        let nonsense = ("background_color", Value::from("red"));
        assert_eq!(
            crops(grid(), d.clone(), std::slice::from_ref(&nonsense)).len(),
            1
        );
        assert!(background_color(&nonsense.1).is_err());
        let beyond = Value::from_json(&serde_json::json!([300, -1, 256]));
        let (r, g, b) = (44, 255, 0);
        assert_eq!(background_color(&beyond).unwrap(), Color { r, g, b });
        assert_eq!(background_color(&"#f80".into()), Ok(Color::hex(0xff8800)));
        assert!(crops(grid(), Detections::default(), &[]).is_empty());
    }

    #[test]
    fn crops_are_named_by_ids() {
        let mut d = boxes(&[([60.0, 50.0, 60.0, 60.0], "l1")]);
        d.data.clear();
        let fields = [
            ("images", batch(vec![grid().into()])),
            ("predictions", batch(vec![d.into()])),
        ];
        assert!(run(&BLOCK, &fields).is_err());
    }
}
