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

use super::{BlockError, BlockSpec, Field, Inputs, StepProblem, Ty};
use crate::definition::step::{FieldValue, Step};
use crate::geometry::{Anchor, GeometryError, anchor};
use crate::values::{Detections, Value, kind};

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

/// Kinds of boxes that blocks of this family follow.
const BOXES: &[kind::Kind] = &[kind::OBJECT_DETECTION, kind::INSTANCE_SEGMENTATION];
const IMAGE: Field = Field::required("image", &[Ty::InputImage]).about("The frame.");
const METADATA: Field = Field::required("metadata", &[Ty::Selector(&[kind::VIDEO_METADATA])])
    .about("Which video and frame the boxes belong to.");
const DETECTIONS: Field =
    Field::required("detections", &[Ty::Selector(BOXES)]).about("Tracked boxes of the frame.");

/// A required field for points: a list of them, or a selector.
const fn points(name: &'static str) -> Field {
    Field::required(
        name,
        &[Ty::List(&[Ty::Any]), Ty::Selector(&[kind::LIST_OF_VALUES])],
    )
}

/// The field that names the point of a box that stands for the object: its centre by default.
const ANCHOR: Field = Field::optional(
    "triggering_anchor",
    &[
        Ty::Str,
        Ty::Selector(&[kind::STRING]),
        Ty::OneOf(anchor::NAMES),
    ],
    r#""CENTER""#,
);

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

/// What is wrong with the literals of a step: the name of its anchor, and what `read` makes of the points
/// in `field`. What comes by a selector is read at run time.
fn literal_problems<T>(
    step: &Step,
    field: &'static str,
    read: impl FnOnce(&Value) -> Result<T, GeometryError>,
) -> Vec<StepProblem> {
    let name = step.text("triggering_anchor");
    let anchor = name.and_then(|name| Anchor::parse(name).err());
    let points = match step.field(field) {
        FieldValue::Literal(_, value) => read(value).err(),
        _ => None,
    };
    let problem = |field, error: Option<GeometryError>| {
        error.map(|error| StepProblem {
            field: Some(field),
            message: error.to_string(),
        })
    };
    let problems = [problem("triggering_anchor", anchor), problem(field, points)];
    problems.into_iter().flatten().collect()
}
