//! Everything that leaves the workflow.

pub mod webhook_sink;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[&webhook_sink::BLOCK];
