//! Choosing what is worth keeping.

pub mod identify_changes;
pub mod identify_outliers;
mod sums;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[&identify_changes::BLOCK, &identify_outliers::BLOCK];
