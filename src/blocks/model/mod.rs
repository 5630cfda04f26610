//! Inference and readers of codes.

pub mod object_detection_model;

use super::{BlockError, BlockSpec};
use crate::models::ModelError;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &object_detection_model::V1,
    &object_detection_model::V2,
    &object_detection_model::V3,
];

impl From<ModelError> for BlockError {
    fn from(error: ModelError) -> Self {
        match error.status() {
            500.. => Self::Failed(error.to_string()),
            status => Self::Client {
                status,
                message: error.to_string(),
            },
        }
    }
}
