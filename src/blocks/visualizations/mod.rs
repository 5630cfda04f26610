//! Drawing.

pub mod bounding_box_visualization;
pub mod common;
pub mod label_visualization;
pub mod line_counter_visualization;
pub mod polygon_zone_visualization;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &bounding_box_visualization::BLOCK,
    &label_visualization::V1,
    &label_visualization::V2,
    &line_counter_visualization::BLOCK,
    &polygon_zone_visualization::BLOCK,
];
