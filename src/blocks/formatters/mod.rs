//! Shaping of values and texts.

pub mod csv_formatter;
pub mod current_time;
pub mod expression;
pub mod first_non_empty_or_default;
pub mod json_parser;
pub mod property_definition;
pub mod string_template;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &csv_formatter::BLOCK,
    &current_time::BLOCK,
    &expression::BLOCK,
    &first_non_empty_or_default::BLOCK,
    &json_parser::BLOCK,
    &property_definition::BLOCK,
    &string_template::BLOCK,
];
