//! Sources of secrets.

pub mod environment_secrets_store;
use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[&environment_secrets_store::BLOCK];
