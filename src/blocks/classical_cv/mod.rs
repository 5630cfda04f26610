//! Classical image processing.

pub mod convert_grayscale;
pub mod image_blur;
pub mod mask_edge_snap;
pub mod threshold;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &convert_grayscale::BLOCK,
    &image_blur::BLOCK,
    &mask_edge_snap::BLOCK,
    &threshold::BLOCK,
];
