//! Tracking: the same id for the same object on successive frames.

pub mod association;
pub mod byte_track;
pub mod byte_tracker;
pub mod instances;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[&byte_tracker::V1, &byte_tracker::V2, &byte_tracker::V3];
