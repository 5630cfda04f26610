//! Counting, timing, measuring.

pub mod aggregate;
pub mod data_aggregator;
pub mod detection_event_log;
#[cfg(test)]
mod golden;
pub mod line_counter;
pub mod overlap;
pub mod overlap_analysis;
pub mod path_deviation;
pub mod time_in_zone;
pub mod velocity;

use super::{BlockError, BlockSpec, Inputs, StepProblem};
use crate::definition::step::{FieldValue, Step};
use crate::geometry::Anchor;
use crate::values::{Detections, Value};

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &data_aggregator::BLOCK,
    &detection_event_log::BLOCK,
    &line_counter::V1,
    &line_counter::V2,
    &overlap::BLOCK,
    &overlap_analysis::BLOCK,
    &path_deviation::V1,
    &path_deviation::V2,
    &time_in_zone::V1,
    &time_in_zone::V2,
    &time_in_zone::V3,
    &velocity::BLOCK,
];

/// The track ids of boxes. Boxes without ids fail, no boxes do not.
pub fn track_ids(detections: &Detections) -> Result<&[i64], BlockError> {
    match &detections.tracker_id {
        Some(ids) => Ok(ids),
        None if detections.is_empty() => Ok(&[]),
        None => Err(BlockError::failed(
            "field `detections` has boxes without track ids: put a tracker before this step",
        )),
    }
}

/// The anchor named in the field `triggering_anchor`.
fn anchor_in(inputs: &Inputs<'_>) -> Result<Anchor, BlockError> {
    Ok(Anchor::parse(inputs.text("triggering_anchor")?)?)
}

/// The literal in a field, if one stands there.
fn literal<'a>(step: &'a Step, field: &str) -> Option<&'a Value> {
    match step.field(field) {
        FieldValue::Literal(_, value) => Some(value),
        _ => None,
    }
}

/// What is wrong with a literal name in the field `triggering_anchor`.
fn anchor_problems(step: &Step) -> Vec<StepProblem> {
    let name = step.text("triggering_anchor");
    let problem = name.and_then(|name| Anchor::parse(name).err());
    problem
        .map(|error| StepProblem {
            field: Some("triggering_anchor"),
            message: error.to_string(),
        })
        .into_iter()
        .collect()
}
