//! Joining of several results.

pub mod dimension_collapse;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[&dimension_collapse::BLOCK];
