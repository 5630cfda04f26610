//! Shaping of values and texts.

pub(crate) mod answer;
pub mod csv_formatter;
pub mod current_time;
pub mod expression;
pub mod first_non_empty_or_default;
pub mod json_parser;
pub mod property_definition;
pub mod string_template;
pub mod vlm_as_classifier;
pub mod vlm_as_detector;

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
    &vlm_as_classifier::V1,
    &vlm_as_classifier::V2,
    &vlm_as_detector::V1,
    &vlm_as_detector::V2,
];
