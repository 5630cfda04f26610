//! Puts two sets of boxes together.
//!
//! # Inputs and outputs
//! `prediction_one` and `prediction_two` → `predictions`, the rows of both, first those of the first.
//!
//! # State
//! None.
//!
//! # Edge cases
//! A set without rows adds nothing. Sets with different columns (one tracked, the other not) fail the
//! step.

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::{Detections, Kind, kind};

const KINDS: &[Kind] = &[kind::OBJECT_DETECTION, kind::INSTANCE_SEGMENTATION];

/// `roboflow_core/detections_combine@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/detections_combine@v1"],
    name: "Detections Combine",
    family: Family::Transformation,
    stateless: true,
    about: "Puts two sets of boxes together.",
    fields: &[
        Field::required("prediction_one", &[Ty::Selector(KINDS)]).about("The first boxes."),
        Field::required("prediction_two", &[Ty::Selector(KINDS)]).about("The boxes behind them."),
    ],
    outputs: &[output("predictions", KINDS)],
    build: |_, _| Ok(Box::new(DetectionsCombine)),
    ..BlockSpec::DEFAULT
};

struct DetectionsCombine;

impl Block for DetectionsCombine {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let one = inputs.detections("prediction_one")?;
        let two = inputs.detections("prediction_two")?;
        let both = Detections::joined(&[one, two]).map_err(BlockError::Failed)?;
        Ok(Output::One(row![both]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes, tracked};

    #[test]
    fn rows_stand_one_behind_the_other() {
        let one = boxes(&[([0.0, 0.0, 1.0, 1.0], 0.9)]);
        let two = boxes(&[([5.0, 5.0, 6.0, 6.0], 0.8)]);
        let mut bench = Bench::new(&BLOCK, &[]);
        let mut combine = |one: &Detections, two: &Detections| {
            let given = [
                ("prediction_one", one.clone().into()),
                ("prediction_two", two.clone().into()),
            ];
            bench
                .run(&given)
                .map(|row| row[0].as_detections().unwrap().clone())
        };
        assert_eq!(
            *combine(&one, &two).unwrap().xyxy,
            [one.xyxy[0], two.xyxy[0]]
        );
        assert_eq!(combine(&one.take(&[]), &two).unwrap().len(), 1);
        let known = tracked(&[([0.0, 0.0, 1.0, 1.0], 4)]);
        assert!(
            combine(&known, &two)
                .unwrap_err()
                .to_string()
                .contains("tracker_id")
        );
    }
}
