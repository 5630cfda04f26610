//! Conditions and switches: which steps run.

pub mod continue_if;
pub mod delta_filter;
pub mod inner_workflow;
pub mod rate_limiter;
pub mod switch_case;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &continue_if::BLOCK,
    &delta_filter::BLOCK,
    &inner_workflow::BLOCK,
    &rate_limiter::BLOCK,
    &switch_case::BLOCK,
];
