//! Shaping of values and texts.

pub mod expression;
pub mod first_non_empty_or_default;
pub mod property_definition;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &expression::BLOCK,
    &first_non_empty_or_default::BLOCK,
    &property_definition::BLOCK,
];
