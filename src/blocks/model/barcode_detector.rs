//! Finds and reads bar codes of every format, QR and Data Matrix codes among them.
//!
//! # Inputs and outputs
//! `images` → `predictions`: a box per code with its text in column `data`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! As those of [`super::qr_code_detector`].

use super::qr_code_detector::{CodeDetector, IMAGES};
use crate::blocks::{BlockSpec, Family, output};
use crate::values::kind;

/// `roboflow_core/barcode_detector@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/barcode_detector@v1",
        "BarcodeDetector",
        "BarcodeDetection",
    ],
    name: "Barcode Detection",
    family: Family::Model,
    about: "Finds codes of every format and reads their text.",
    fields: &[IMAGES],
    outputs: &[output("predictions", &[kind::BAR_CODE_DETECTION])],
    batch: &["images"],
    build: |_, _| Ok(Box::new(BAR_CODES)),
    ..BlockSpec::DEFAULT
};

const BAR_CODES: CodeDetector = CodeDetector {
    formats: &[],
    class_name: "barcode",
    prediction_type: "barcode-detection",
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::Output;
    use crate::blocks::visualizations::common::testing::{picture, run};
    use crate::values::detections::column;
    use crate::values::{Batch, Image, Value};

    #[test]
    fn all_formats_are_read() {
        let batch = Batch {
            indices: vec![smallvec::smallvec![0]],
            items: vec![Image::new(picture("model/barcodes.png"), "image".into()).into()],
        };
        let rows = match run(&BLOCK, &[("images", Value::Batch(Arc::new(batch)))]) {
            Ok(Output::Many(rows)) => rows,
            other => panic!("{other:?}"),
        };
        let d = rows[0][0].as_detections().unwrap();
        let mut texts: Vec<_> = d.column(column::DATA).unwrap().iter().collect();
        texts.sort_by_key(|t| t.as_str());
        let texts: Vec<_> = texts.into_iter().filter_map(Value::as_str).collect();
        assert_eq!(texts, ["4006381333931", "BOX7", "MILLRACE-128", "dm 42"]);
        assert_eq!(d.class_name(0).map(|n| &**n), Some("barcode"));
    }
}
