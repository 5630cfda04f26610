//! Joining of several results.

pub mod buffer;
pub mod detections_classes_replacement;
pub mod detections_consensus;
pub mod detections_difference;
pub mod detections_list_rollup;
pub mod detections_stitch;
pub mod dimension_collapse;
pub mod frame_delay;
pub mod image_stack;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &buffer::BLOCK,
    &detections_classes_replacement::BLOCK,
    &detections_consensus::BLOCK,
    &detections_difference::BLOCK,
    &detections_list_rollup::BLOCK,
    &detections_stitch::BLOCK,
    &dimension_collapse::BLOCK,
    &frame_delay::BLOCK,
    &image_stack::BLOCK,
];
