//! Puts the smallest turned rectangle around each mask.
//!
//! # Inputs and outputs
//! `predictions` with masks → `detections_with_rect`: mask and box are those of the rectangle, its
//! corners, sides and angle stand in the columns `rect`, `width`, `height` and `angle`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Of a mask in several parts the one with the most points in its outline counts; a mask without an
//! outline fails the step. Columns hold numbers of 16 bits, as in the reference: 2048 and more are
//! even.

use std::sync::Arc;

use opencv::core::{Mat, MatTraitConst, Point, Vector};
use opencv::imgproc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry;
use crate::imaging::trunc;
use crate::row;
use crate::values::polygon::{filled, longest_outline};
use crate::values::{Array, Detections, Mask, Value, kind};

/// `roboflow_core/bounding_rect@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/bounding_rect@v1"],
    name: "Bounding Rectangle",
    family: Family::Transformation,
    stateless: true,
    about: "Puts the smallest turned rectangle around each mask.",
    fields: &[Field::required(
        "predictions",
        &[Ty::Selector(&[kind::INSTANCE_SEGMENTATION])],
    )
    .about("Detections with masks.")],
    outputs: &[output(
        "detections_with_rect",
        &[kind::INSTANCE_SEGMENTATION],
    )],
    build: |_, _| Ok(Box::new(BoundingRect)),
    ..BlockSpec::DEFAULT
};

struct BoundingRect;

impl Block for BoundingRect {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let set = inputs.detections("predictions")?;
        if set.is_empty() {
            return Ok(Output::One(row![Detections::empty()]));
        }
        let masks = set.masks.as_ref().ok_or_else(|| {
            BlockError::failed("the detections have no masks; use those of a segmentation model")
        })?;
        let rects = masks
            .iter()
            .map(Rect::around)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Output::One(row![with_rects(set, masks, &rects)]))
    }
}

/// A turned rectangle.
struct Rect {
    corners: [[i32; 2]; 4],
    width: f64,
    height: f64,
    /// Degrees, above 0 to 90.
    angle: f64,
}

impl Rect {
    fn around(mask: &Mask) -> Result<Self, BlockError> {
        let line = longest_outline(mask)
            .ok_or_else(|| BlockError::failed("a mask has no outline of three points or more"))?;
        let points: Vector<Point> = line
            .iter()
            .map(|p| Point::new(p[0] as i32, p[1] as i32))
            .collect();
        let rect = imgproc::min_area_rect(&points)?;
        let mut corners = Mat::default();
        imgproc::box_points(rect, &mut corners)?;
        let mut whole = [[0; 2]; 4];
        for (row, corner) in (0..).zip(&mut whole) {
            for (column, side) in (0..).zip(corner) {
                *side = trunc(f64::from(*corners.at_2d::<f32>(row, column)?));
            }
        }
        Ok(Self {
            corners: whole,
            width: f64::from(rect.size.width),
            height: f64::from(rect.size.height),
            angle: f64::from(rect.angle),
        })
    }

    fn bounds(&self) -> [f64; 4] {
        geometry::bounds(self.corners.map(|c| c.map(f64::from))).unwrap_or_default()
    }
}

fn with_rects(set: &Detections, masks: &[Mask], rects: &[Rect]) -> Detections {
    let mut out = set.clone();
    out.xyxy = Arc::new(rects.iter().map(Rect::bounds).collect());
    let filled = |(rect, mask): (&Rect, &Mask)| filled(&rect.corners, mask.width(), mask.height());
    out.masks = Some(Arc::new(rects.iter().zip(masks).map(filled).collect()));
    let corners = |rect: &Rect| {
        let numbers = rect.corners.iter().flatten().map(|c| half(f64::from(*c)));
        Value::Array(Arc::new(Array::floats(vec![4, 2], numbers.collect())))
    };
    out.set_column("rect", rects.iter().map(corners).collect());
    let numbers = |of: fn(&Rect) -> f64| rects.iter().map(|r| Value::Float(half(of(r)))).collect();
    out.set_column("width", numbers(|rect| rect.width));
    out.set_column("height", numbers(|rect| rect.height));
    out.set_column("angle", numbers(|rect| rect.angle));
    out
}

/// The nearest number of 16 bits (11 of them digits), halves to the even one.
fn half(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let exponent = (x.abs().log2().floor() as i32).max(-14);
    let step = 2.0_f64.powi(exponent - 10);
    let rounded = (x / step).round_ties_even() * step;
    match rounded.abs() > 65_504.0 {
        true => f64::INFINITY.copysign(x),
        false => rounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes};

    fn masked(points: &[[i32; 2]]) -> Detections {
        let mut set = boxes(&[([0.0, 0.0, 1.0, 1.0], 0.9)]);
        set.masks = Some(Arc::new(vec![filled(points, 200, 200)]));
        set
    }

    #[test]
    fn rectangles_lie_tightly_around_masks() {
        // Specification 8.8.
        for (points, corners, sides) in [
            (
                [[20, 20], [120, 20], [120, 100], [20, 100]],
                [20.0, 20.0, 120.0, 20.0, 120.0, 100.0, 20.0, 100.0],
                [80.0, 100.0, 90.0],
            ),
            (
                [[50, 10], [90, 50], [50, 90], [10, 50]],
                [9.0, 50.0, 50.0, 10.0, 90.0, 50.0, 50.0, 90.0],
                [56.5625, 56.5625, 45.0],
            ),
        ] {
            let given = [("predictions", masked(&points).into())];
            let row = Bench::new(&BLOCK, &[]).run(&given).unwrap();
            let set = row[0].as_detections().unwrap();
            match set.cell("rect", 0) {
                Some(Value::Array(rect)) => assert_eq!(rect.data, corners),
                other => panic!("{other:?}"),
            }
            let side = |name: &str| set.cell(name, 0).and_then(Value::as_f64).unwrap();
            assert_eq!(["width", "height", "angle"].map(side), sides);
            assert_eq!(set.xyxy[0][0], corners[0]);
        }
    }

    #[test]
    fn masks_are_needed() {
        let run = |set: Detections| Bench::new(&BLOCK, &[]).run(&[("predictions", set.into())]);
        assert!(run(boxes(&[([0.0, 0.0, 1.0, 1.0], 0.9)])).is_err());
        let mut empty = masked(&[[1, 1]]);
        empty.masks = Some(Arc::new(vec![Mask::empty(9, 9)]));
        assert!(run(empty).is_err());
        assert!(
            run(boxes(&[])).unwrap()[0]
                .as_detections()
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn numbers_of_sixteen_bits() {
        for (x, rounded) in [
            (101.06, 101.0625),
            (2049.0, 2048.0),
            (2051.0, 2052.0),
            (0.1, 0.099_975_585_937_5),
        ] {
            assert_eq!(half(x), rounded);
        }
        assert_eq!(half(70_000.0), f64::INFINITY);
    }
}
