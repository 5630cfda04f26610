//! Change of detections or images.

pub mod dynamic_crop;
pub mod static_crop;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &static_crop::ABSOLUTE,
    &dynamic_crop::BLOCK,
    &static_crop::RELATIVE,
];
