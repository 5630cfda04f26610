//! Inference and readers of codes.

pub mod barcode_detector;
pub mod object_detection_model;
pub mod qr_code_detector;

use super::{BlockError, BlockSpec};
use crate::models::ModelError;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &barcode_detector::BLOCK,
    &qr_code_detector::BLOCK,
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
