//! Change of detections or images.

pub mod detections_filter;
pub mod detections_transformation;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[&detections_filter::BLOCK, &detections_transformation::BLOCK];
