//! Arithmetic.

pub mod cosine_similarity;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[&cosine_similarity::BLOCK];
