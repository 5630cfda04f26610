//! Change of detections or images.

pub mod bounding_rect;
pub mod camera_calibration;
pub mod detection_offset;
pub mod detections_combine;
pub mod detections_filter;
pub mod detections_merge;
pub mod detections_transformation;
pub mod dynamic_crop;
pub mod dynamic_zone;
pub mod geotag_detection;
pub mod image_slicer;
pub mod mask_area_measurement;
pub mod per_class_confidence_filter;
pub mod perspective_correction;
pub mod qr_code_generator;
pub mod size_measurement;
pub mod static_crop;
pub mod stitch_images;
pub mod stitch_ocr_detections;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &static_crop::ABSOLUTE,
    &bounding_rect::BLOCK,
    &camera_calibration::BLOCK,
    &detection_offset::BLOCK,
    &detections_combine::BLOCK,
    &detections_filter::BLOCK,
    &detections_merge::BLOCK,
    &detections_transformation::BLOCK,
    &dynamic_crop::BLOCK,
    &dynamic_zone::BLOCK,
    &geotag_detection::BLOCK,
    &image_slicer::V1,
    &image_slicer::V2,
    &mask_area_measurement::BLOCK,
    &per_class_confidence_filter::BLOCK,
    &perspective_correction::BLOCK,
    &qr_code_generator::BLOCK,
    &static_crop::RELATIVE,
    &size_measurement::BLOCK,
    &stitch_images::BLOCK,
    &stitch_ocr_detections::V1,
    &stitch_ocr_detections::V2,
];
