//! Change of detections or images.

pub mod detection_offset;
pub mod detections_combine;
pub mod detections_filter;
pub mod detections_merge;
pub mod detections_transformation;
pub mod dynamic_crop;
pub mod per_class_confidence_filter;
pub mod static_crop;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &static_crop::ABSOLUTE,
    &detection_offset::BLOCK,
    &detections_combine::BLOCK,
    &detections_filter::BLOCK,
    &detections_merge::BLOCK,
    &detections_transformation::BLOCK,
    &dynamic_crop::BLOCK,
    &per_class_confidence_filter::BLOCK,
    &static_crop::RELATIVE,
];
