//! Drawing.

pub mod bounding_box_visualization;
pub mod common;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[&bounding_box_visualization::BLOCK];
