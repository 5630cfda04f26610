//! Keeps the boxes that meet a condition: the body of `detections_transformation` under the name
//! by which editors offer it for filters.
//!
//! # Inputs and outputs
//! As [`detections_transformation`](super::detections_transformation).
//!
//! # State
//! None.
//!
//! # Edge cases
//! Any chain that returns boxes is accepted, not only filters.

use super::detections_transformation::{BATCH, FIELDS, MIXED, OUTPUTS, build, check};
use crate::blocks::{BlockSpec, Family};

/// `roboflow_core/detections_filter@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/detections_filter@v1", "DetectionsFilter"],
    name: "Detections Filter",
    family: Family::Transformation,
    stateless: true,
    about: "Keeps the boxes that meet a condition.",
    fields: FIELDS,
    outputs: OUTPUTS,
    batch: BATCH,
    mixed: MIXED,
    check: Some(check),
    build,
    ..BlockSpec::DEFAULT
};
