//! Makes one box around all boxes.
//!
//! # Inputs and outputs
//! `predictions` → `predictions`: one box that holds all, with the lowest confidence, class 0 named
//! `class_name` and an id of its own.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Nothing else of the boxes is kept, not even the image that they were found on. No boxes give no
//! box.

use std::sync::Arc;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::geometry;
use crate::row;
use crate::values::detections::{column, new_id};
use crate::values::{Detections, kind};

/// `roboflow_core/detections_merge@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/detections_merge@v1"],
    name: "Detections Merge",
    family: Family::Transformation,
    stateless: true,
    about: "Makes one box around all boxes.",
    fields: &[
        Field::required("predictions", &[Ty::Selector(kind::DETECTIONS)]).about("The boxes."),
        Field::optional("class_name", &[Ty::Str], "\"merged_detection\"")
            .about("Class of the box around them."),
    ],
    outputs: &[output("predictions", &[kind::OBJECT_DETECTION])],
    build: |_, _| Ok(Box::new(DetectionsMerge)),
    ..BlockSpec::DEFAULT
};

struct DetectionsMerge;

impl Block for DetectionsMerge {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let set = inputs.detections("predictions")?;
        let class = inputs.text("class_name")?;
        Ok(Output::One(row![around(set, class)]))
    }
}

fn around(set: &Detections, class: &str) -> Detections {
    let Some(whole) = geometry::hull(set.xyxy.iter().copied()) else {
        return Detections::default();
    };
    let lowest = set.confidence.as_ref().map(|all| {
        let lowest = all.iter().copied().fold(f64::INFINITY, f64::min);
        f64::from(lowest as f32)
    });
    let mut merged = Detections {
        xyxy: Arc::new(vec![whole]),
        confidence: lowest.map(|lowest| Arc::new(vec![lowest])),
        class_id: Some(Arc::new(vec![0])),
        ..Detections::default()
    };
    merged.set_column(column::CLASS_NAME, vec![class.into()]);
    merged.set_column(column::DETECTION_ID, vec![new_id().into()]);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::boxes;

    #[test]
    fn one_box_holds_all() {
        let set = boxes(&[
            ([10.0, 20.0, 30.0, 40.0], 0.9),
            ([5.0, 25.0, 20.0, 60.0], 0.3),
        ]);
        let merged = around(&set, "all");
        assert_eq!(*merged.xyxy, [[5.0, 20.0, 30.0, 60.0]]);
        assert_eq!(
            merged.confidence.as_deref(),
            Some(&vec![f64::from(0.3_f32)])
        );
        assert_eq!(merged.class_name(0).map(|n| &**n), Some("all"));
        assert!(around(&set.take(&[]), "all").is_empty());
    }
}
