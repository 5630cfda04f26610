//! Makes a zone of a given number of corners of each mask.
//!
//! # Inputs and outputs
//! `predictions` with masks → `zones`, a polygon for each: the hull of the mask simplified to
//! `required_number_of_vertices` corners (see [`corners`]), made larger or smaller by `scale_ratio`;
//! `predictions` with the polygon in their masks and their column `polygon`;
//! `simplification_converged`, whether every polygon came out with that many corners.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Missing corners repeat the last one, surplus ones are cut. Boxes stay as they are. Detections
//! without masks give no zones and no predictions. More than [`MOST`] corners are refused.

mod corners;
mod simplification;

use std::sync::Arc;

use corners::{fitted, simplified};

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Row, Ty, output,
};
use crate::row;
use crate::values::detections::column;
use crate::values::polygon::{filled, longest_outline};
use crate::values::{Detections, Mask, Value, kind};

/// `roboflow_core/dynamic_zone@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/dynamic_zone@v1", "DynamicZone"],
    name: "Dynamic Zone",
    family: Family::Transformation,
    stateless: true,
    about: "Makes a zone of a given number of corners of each mask.",
    fields: &[
        Field::required(
            "predictions",
            &[Ty::Selector(&[kind::INSTANCE_SEGMENTATION])],
        )
        .about("Detections with masks."),
        Field::required(
            "required_number_of_vertices",
            &[Ty::Int, Ty::Selector(&[kind::INTEGER])],
        )
        .about("How many corners a zone has."),
        Field::optional(
            "scale_ratio",
            &[Ty::Float, Ty::Selector(&[kind::FLOAT])],
            "1",
        )
        .about("Factor by which zones grow from their middle."),
        Field::optional(
            "apply_least_squares",
            &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])],
            "false",
        )
        .about("Whether sides are fitted to the outline."),
        Field::optional(
            "midpoint_fraction",
            &[Ty::Float, Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE])],
            "1",
        )
        .about("Share of a side's outline, around its middle, that is fitted."),
    ],
    outputs: &[
        output("zones", &[kind::LIST_OF_VALUES]),
        output("predictions", &[kind::INSTANCE_SEGMENTATION]),
        output("simplification_converged", &[kind::BOOLEAN]),
    ],
    batch: &["predictions"],
    build: |_, _| Ok(Box::new(DynamicZone)),
    ..BlockSpec::DEFAULT
};

/// Most corners of a zone: the points that an outline lacks are made up, and take memory.
const MOST: i64 = 4096;

struct DynamicZone;

impl Block for DynamicZone {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let corners = inputs.int("required_number_of_vertices")?;
        if corners > MOST {
            return Err(BlockError::failed(format!(
                "`required_number_of_vertices` must be at most {MOST}, got {corners}"
            )));
        }
        let shape = Shape {
            corners: usize::try_from(corners).unwrap_or(0),
            scale: inputs.float("scale_ratio")?,
            fit: inputs
                .flag("apply_least_squares")?
                .then(|| inputs.float("midpoint_fraction"))
                .transpose()?,
        };
        let sets = inputs.detection_sets("predictions")?;
        let rows = sets.into_iter().map(|set| shape.row(set));
        rows.collect::<Result<_, _>>().map(Output::Many)
    }
}

struct Shape {
    corners: usize,
    scale: f64,
    /// Share of each side's outline to which the side is fitted, if it is.
    fit: Option<f64>,
}

impl Shape {
    fn row(&self, set: &Detections) -> Result<Row, BlockError> {
        let none = || Value::list(Vec::new());
        let Some(masks) = &set.masks else {
            return Ok(row![none(), Value::None, false]);
        };
        if set.is_empty() {
            return Ok(row![none(), Detections::empty(), true]);
        }
        let mut converged = true;
        let mut zones = Vec::with_capacity(masks.len());
        for mask in masks.iter() {
            let (zone, complete) = self.zone(mask)?;
            converged &= complete;
            zones.push(zone);
        }
        let mut out = set.clone();
        let filled =
            |(zone, mask): (&Vec<[i32; 2]>, &Mask)| filled(zone, mask.width(), mask.height());
        out.masks = Some(Arc::new(
            zones.iter().zip(masks.iter()).map(filled).collect(),
        ));
        let lists: Vec<Value> = zones.iter().map(|zone| list(zone)).collect();
        out.set_column(column::POLYGON, lists.clone());
        Ok(row![lists, out, converged])
    }

    /// The zone of a mask, and whether it has as many corners as asked for by itself.
    fn zone(&self, mask: &Mask) -> Result<(Vec<[i32; 2]>, bool), BlockError> {
        let outline = longest_outline(mask)
            .ok_or_else(|| BlockError::failed("a mask has no outline of three points or more"))?;
        let mut points = simplified(&outline, self.corners)?;
        if let Some(share) = self.fit {
            points = fitted(&points, &outline, share)?;
        }
        let complete = points.len() == self.corners;
        if let Some(&last) = points.last() {
            points.resize(self.corners, last);
        }
        if self.scale != 1.0 {
            scale(&mut points, self.scale);
        }
        Ok((points, complete))
    }
}

fn list(zone: &[[i32; 2]]) -> Value {
    let point = |p: &[i32; 2]| Value::list(p.map(|c| Value::Int(c.into())).to_vec());
    Value::list(zone.iter().map(point).collect())
}

/// Moves the corners away from the middle of the area, or towards it.
fn scale(points: &mut [[i32; 2]], ratio: f64) {
    let next = points.iter().cycle().skip(1);
    let (mut doubled, mut sums) = (0.0, [0.0; 2]);
    for (a, b) in points.iter().zip(next) {
        let (a, b) = (a.map(f64::from), b.map(f64::from));
        let part = a[0] * b[1] - b[0] * a[1];
        doubled += part;
        sums = [
            sums[0] + (a[0] + b[0]) * part,
            sums[1] + (a[1] + b[1]) * part,
        ];
    }
    if doubled == 0.0 {
        return;
    }
    // As OpenCV takes the moments: a third of two moments rounds otherwise, and halves are common here.
    let middle = sums.map(|sum| sum * (1.0 / 6.0) / (doubled * 0.5));
    for point in points {
        for (axis, side) in point.iter_mut().enumerate() {
            let moved = (f64::from(*side) - middle[axis]) * ratio + middle[axis];
            *side = moved.round_ties_even() as i32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, batch, boxes};
    use crate::values::python;
    use serde_json::{Value as Json, json};

    fn zone(fields: &[(&str, Json)], points: &[[i32; 2]]) -> (String, bool) {
        let mut set = boxes(&[([0.0, 0.0, 1.0, 1.0], 0.9)]);
        set.masks = Some(Arc::new(vec![filled(points, 320, 240)]));
        let rows = Bench::new(&BLOCK, fields).run_many(&[("predictions", batch(vec![set.into()]))]);
        let row = &rows.unwrap()[0];
        let polygon = row[1]
            .as_detections()
            .unwrap()
            .cell(column::POLYGON, 0)
            .cloned();
        assert_eq!(
            python::repr(&row[0]),
            format!("[{}]", python::repr(&polygon.unwrap()))
        );
        (python::repr(&row[0]), row[2].as_bool().unwrap())
    }

    const QUADRILATERAL: [[i32; 2]; 4] = [[20, 20], [120, 30], [110, 120], [15, 100]];

    fn corners(n: i64) -> (&'static str, Json) {
        ("required_number_of_vertices", json!(n))
    }

    #[test]
    fn zones_have_the_corners_asked_for() {
        // Specification 8.9.
        let zone = |fields: &[(&str, Json)]| zone(fields, &QUADRILATERAL);
        assert_eq!(
            zone(&[corners(4)]),
            (
                "[[[20, 20], [15, 100], [110, 120], [120, 30]]]".into(),
                true
            )
        );
        assert_eq!(zone(&[corners(3)]).0, "[[[20, 20], [110, 120], [120, 30]]]");
        // Two corners fill nothing.
        assert_eq!(zone(&[corners(2)]).0.matches('[').count(), 4);
        assert_eq!(
            zone(&[corners(4), ("scale_ratio", json!(1.2))]).0,
            "[[[11, 11], [5, 107], [119, 131], [131, 23]]]"
        );
        let (many, complete) = zone(&[corners(40)]);
        assert!(!complete && many.matches('[').count() == 42);
    }

    #[test]
    fn sides_fitted_to_a_rectangle_go_wrong_as_in_the_reference() {
        let rectangle = [[20, 20], [120, 20], [120, 100], [20, 100]];
        let fit = ("apply_least_squares", json!(true));
        assert_eq!(
            zone(&[corners(4), fit], &rectangle).0,
            "[[[7, 20], [33, 100], [200, 100], [40, 20]]]"
        );
    }

    #[test]
    fn masks_are_needed() {
        let run = |set: Detections| {
            let mut bench = Bench::new(&BLOCK, &[corners(4)]);
            bench
                .run_many(&[("predictions", batch(vec![set.into()]))])
                .unwrap()
                .remove(0)
        };
        let row = run(boxes(&[([0.0, 0.0, 1.0, 1.0], 0.9)]));
        assert!(row[1].is_none() && row[2].as_bool() == Some(false));
        let nothing = Detections {
            masks: Some(Arc::default()),
            ..boxes(&[])
        };
        assert_eq!(run(nothing)[2].as_bool(), Some(true));
    }
}
