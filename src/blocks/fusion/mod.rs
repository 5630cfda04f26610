//! Joining of several results.

pub mod buffer;
pub mod dimension_collapse;
pub mod frame_delay;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &buffer::BLOCK,
    &dimension_collapse::BLOCK,
    &frame_delay::BLOCK,
];
