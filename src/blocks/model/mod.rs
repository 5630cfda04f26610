//! Inference and readers of codes.

pub mod barcode_detector;
pub mod qr_code_detector;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[&barcode_detector::BLOCK, &qr_code_detector::BLOCK];
