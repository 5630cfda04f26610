//! Moves the outlines of masks to edges of the picture nearby.
//!
//! # Inputs and outputs
//! `image` and `segmentation` → `refined_segmentation`, the masks with each point of their outlines moved
//! to the strongest edge within `pixel_tolerance` pixels, and `edges`, all pixels of edges near the
//! outlines as one detection (see [`edges`]).
//!
//! # State
//! None.
//!
//! # Edge cases
//! Boxes stay as they are. Without masks the detections are unchanged, and edges are sought everywhere.

mod edges;

use std::sync::Arc;

use edges::Edges;
use opencv::core::{Mat, MatTraitConst, Point, Vector};
use opencv::imgproc::{self, CHAIN_APPROX_NONE, DIST_L2, DIST_MASK_PRECISE, RETR_EXTERNAL};

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, StepProblem, Ty, output,
};
use crate::definition::step::Step;
use crate::imaging;
use crate::row;
use crate::values::detections::{column, new_id};
use crate::values::kind;
use crate::values::{Detections, Mask, mask_sets, polygon};

/// Points on either side of one by which the direction of an outline is told.
const REACH: usize = 5;

/// Fields with the ranges of their numbers.
const RANGES: [(&str, f64, f64); 6] = [
    ("pixel_tolerance", 1.0, 100.0),
    ("sigma", 0.01, 10.0),
    ("min_contour_area", 0.0, 10_000.0),
    ("dilation_iterations", 0.0, 20.0),
    ("boundary_band_width", 1.0, 100.0),
    ("adaptive_window_size", 3.0, 201.0),
];

/// `roboflow_core/mask_edge_snap@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/mask_edge_snap@v1"],
    name: "Mask Edge Snap",
    family: Family::ClassicalComputerVision,
    stateless: true,
    about: "Moves the outlines of masks to edges of the picture nearby.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])])
            .alias("images")
            .about("The picture."),
        Field::required(
            "segmentation",
            &[Ty::Selector(&[kind::INSTANCE_SEGMENTATION])],
        )
        .about("Detections with masks.")
        .extra(r#"{"pattern": null}"#),
        Field::optional("pixel_tolerance", WHOLE, "15").about("How far outlines may move, pixels."),
        Field::optional("sigma", NUMBER, "1.0")
            .about("Deviations by which an edge stands out from its surroundings."),
        Field::optional("min_contour_area", NUMBER, "50.0")
            .about("Smallest area that an edge encloses."),
        Field::optional("dilation_iterations", WHOLE, "2")
            .about("How far gaps in edges are closed."),
        Field::optional("boundary_band_width", WHOLE, "15")
            .about("Pixels on either side of outlines in which edges are sought."),
        Field::optional("adaptive_window_size", WHOLE, "41")
            .about("Size of the surroundings of a pixel."),
    ],
    outputs: &[
        output("refined_segmentation", &[kind::INSTANCE_SEGMENTATION]),
        output("edges", &[kind::INSTANCE_SEGMENTATION]),
    ],
    check: Some(check),
    build: |_, _| Ok(Box::new(MaskEdgeSnap)),
    ..BlockSpec::DEFAULT
};

const WHOLE: &[Ty] = &[Ty::Int, Ty::Selector(&[kind::INTEGER])];
const NUMBER: &[Ty] = &[Ty::Float, Ty::Selector(&[kind::FLOAT])];

fn check(step: &Step) -> Vec<StepProblem> {
    let outside = |(name, low, high): &(&'static str, f64, f64)| {
        let wrong = step.number(name).filter(|x| !(*low..=*high).contains(x))?;
        Some(StepProblem {
            field: Some(name),
            message: format!("must be between {low} and {high}, got {wrong}"),
        })
    };
    RANGES.iter().filter_map(outside).collect()
}

struct MaskEdgeSnap;

impl Block for MaskEdgeSnap {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let set = inputs.detections("segmentation")?;
        let (width, height) = (image.width(), image.height());
        let resized = |mask: &Mask| mask.resized(width, height);
        let masks: Vec<Mask> = set
            .masks
            .iter()
            .flat_map(|all| all.iter().map(resized))
            .collect();
        let tolerance = inputs.int("pixel_tolerance")?.clamp(1, 10_000);
        let edges = Edges::find(image.pixels(), &masks, inputs)?;
        let found = edges.mask();
        let mut refined = (**set).clone();
        if !masks.is_empty() {
            let snapped = masks.iter().map(|mask| edges.snapped(mask, tolerance));
            refined.masks = Some(Arc::new(snapped.collect::<Result<_, _>>()?));
        }
        Ok(Output::One(row![refined, as_detection(found)]))
    }
}

/// The pixels of all edges as one detection.
fn as_detection(mask: Mask) -> Detections {
    if mask.area() == 0 {
        return Detections::empty();
    }
    let [x1, y1, x2, y2] = mask_sets::inner_box(&mask);
    let mut set = Detections {
        xyxy: Arc::new(vec![[x1, y1, x2 + 1.0, y2 + 1.0]]),
        masks: Some(Arc::new(vec![mask])),
        confidence: Some(Arc::new(vec![1.0])),
        class_id: Some(Arc::new(vec![0])),
        ..Detections::default()
    };
    set.set_column(column::CLASS_NAME, vec!["edges".into()]);
    set.set_column(column::DETECTION_ID, vec![new_id().into()]);
    set
}

impl Edges {
    /// A mask with its outlines moved to edges.
    fn snapped(&self, mask: &Mask, tolerance: i64) -> Result<Mask, BlockError> {
        let (width, height) = (mask.width(), mask.height());
        let dense = mask.to_matrix(255);
        let source = imaging::view(&dense)?;
        let mut depth = Mat::default();
        imgproc::distance_transform_def(&source, &mut depth, DIST_L2, DIST_MASK_PRECISE)?;
        let mut outlines: Vector<Vector<Point>> = Vector::new();
        let none = Point::new(0, 0);
        imgproc::find_contours(
            &source,
            &mut outlines,
            RETR_EXTERNAL,
            CHAIN_APPROX_NONE,
            none,
        )?;
        let valid = |x: i64, y: i64| -> Option<f64> {
            let inside = x >= 0 && y >= 0 && x < width as i64 && y < height as i64;
            let strength = inside
                .then(|| self.strength(x as usize, y as usize))
                .flatten()?;
            let deep = *depth.at_2d::<f32>(y as i32, x as i32).ok()?;
            (f64::from(deep) <= tolerance as f64).then_some(strength)
        };
        let mut parts = Vec::new();
        for outline in &outlines {
            let points: Vec<[f64; 2]> = outline.iter().map(|p| [p.x.into(), p.y.into()]).collect();
            let moved = |i: usize| {
                let [x, y] = strongest(&points, i, tolerance, &valid);
                [x as i32, y as i32]
            };
            let line: Vec<[i32; 2]> = (0..points.len()).map(moved).collect();
            parts.push(polygon::filled(&line, width, height));
        }
        let parts: Vec<&Mask> = parts.iter().collect();
        Ok(mask_sets::union(&parts).unwrap_or_else(|| mask.clone()))
    }
}

/// Where a point of an outline goes: to the strongest valid pixel across the outline, near ones
/// counting more.
fn strongest(
    points: &[[f64; 2]],
    i: usize,
    tolerance: i64,
    valid: &impl Fn(i64, i64) -> Option<f64>,
) -> [f64; 2] {
    let n = points.len();
    let (next, last) = (points[(i + REACH) % n], points[(i + n - REACH % n) % n]);
    let (dx, dy) = (next[0] - last[0], next[1] - last[1]);
    let length = dx.hypot(dy);
    if length < 1e-6 {
        return points[i];
    }
    let across = [-dy / length, dx / length];
    let (mut place, mut best) = (points[i], 0.0);
    for sign in [1.0, -1.0] {
        for distance in 1..=tolerance {
            let step = sign * distance as f64;
            let [x, y] =
                [0, 1].map(|axis| (points[i][axis] + step * across[axis]).round_ties_even());
            let nearness = 1.0 - distance as f64 / (tolerance as f64 + 1.0);
            if let Some(strength) = valid(x as i64, y as i64)
                && strength * nearness > best
            {
                (place, best) = ([x, y], strength * nearness);
            }
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes};
    use crate::blocks::query::trial::problems;
    use crate::values::{Image, Matrix};
    use serde_json::json;

    /// A bright square from 30 to 70 on a dark ground.
    fn picture() -> Image {
        let bright = |i: usize| (30..70).contains(&(i % 100)) && (30..70).contains(&(i / 100));
        let data = (0..100 * 100)
            .map(|i| if bright(i) { 220 } else { 20 })
            .collect();
        Image::new(Matrix::new(100, 100, 1, data).unwrap(), "image".into())
    }

    fn square(from: i32, to: i32) -> Mask {
        polygon::filled(&[[from, from], [to, from], [to, to], [from, to]], 100, 100)
    }

    #[test]
    fn outlines_move_to_the_edge() {
        let mut set = boxes(&[([26.0, 26.0, 74.0, 74.0], 0.9)]);
        set.masks = Some(Arc::new(vec![square(26, 73)]));
        let given = [("image", picture().into()), ("segmentation", set.into())];
        let row = Bench::new(&BLOCK, &[]).run(&given).unwrap();
        let refined = row[0].as_detections().unwrap();
        let overlap = mask_sets::iou(&refined.masks.as_ref().unwrap()[0], &square(30, 69));
        assert!(overlap > 0.9, "{overlap}");
        assert_eq!(refined.xyxy[0], [26.0, 26.0, 74.0, 74.0]);
        let edges = row[1].as_detections().unwrap();
        assert_eq!(edges.class_name(0).map(|n| &**n), Some("edges"));
        assert!(edges.xyxy[0][0] >= 27.0 && edges.xyxy[0][2] <= 73.0);
    }

    #[test]
    fn without_masks_only_edges_are_found() {
        let given = [
            ("image", picture().into()),
            ("segmentation", boxes(&[]).into()),
        ];
        let row = Bench::new(&BLOCK, &[]).run(&given).unwrap();
        assert!(row[0].as_detections().unwrap().is_empty());
        assert_eq!(row[1].as_detections().unwrap().len(), 1);
        let blank = Image::new(Matrix::filled(50, 50, &[9]), "image".into());
        let given = [("image", blank.into()), ("segmentation", boxes(&[]).into())];
        let row = Bench::new(&BLOCK, &[]).run(&given).unwrap();
        assert!(row[1].as_detections().unwrap().is_empty());
    }

    #[test]
    fn literals_have_ranges() {
        let fields = json!({"image": "$inputs.i", "segmentation": "$inputs.s", "pixel_tolerance": 0, "sigma": 1});
        assert_eq!(
            problems(&BLOCK, fields),
            ["must be between 1 and 100, got 0"]
        );
    }
}
