//! Finds and reads QR codes.
//!
//! # Inputs and outputs
//! `images` → `predictions`: a box per code with its text in column `data`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! An image without a code gives an empty set. Boxes of turned codes hold all four corners. Codes
//! that are seen but cannot be read are left out. Gray images are taken as they are.

use std::sync::Arc;

use zxingcpp::{Barcode, BarcodeFormat, ImageFormat, ImageView};

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::detections::{column, new_id};
use crate::values::{Detections, Image, Value, kind};

/// The images to read codes in.
pub(super) const IMAGES: Field = Field::required("images", &[Ty::Selector(&[kind::IMAGE])])
    .alias("image")
    .about("Images to look for codes in.");

/// `roboflow_core/qr_code_detector@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/qr_code_detector@v1",
        "QRCodeDetector",
        "QRCodeDetection",
    ],
    name: "QR Code Detection",
    family: Family::Model,
    stateless: true,
    about: "Finds QR codes and reads their text.",
    fields: &[IMAGES],
    outputs: &[output("predictions", &[kind::QR_CODE_DETECTION])],
    batch: &["images"],
    build: |_, _| Ok(Box::new(QR_CODES)),
    ..BlockSpec::DEFAULT
};

const QR_CODES: CodeDetector = CodeDetector {
    formats: &[BarcodeFormat::QRCodeModel1, BarcodeFormat::QRCodeModel2],
    class_name: "qr_code",
    prediction_type: "qrcode-detection",
};

/// A reader of codes of some formats.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodeDetector {
    /// Formats to look for; all if empty.
    pub(super) formats: &'static [BarcodeFormat],
    /// Class of the boxes.
    pub(super) class_name: &'static str,
    /// What the boxes are.
    pub(super) prediction_type: &'static str,
}

impl Block for CodeDetector {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let mut rows = Vec::new();
        for item in &inputs.batch("images")?.items {
            let image = item
                .as_image()
                .ok_or_else(|| BlockError::failed("field `images` must hold images"))?;
            rows.push(row![self.detect(image)?]);
        }
        Ok(Output::Many(rows))
    }
}

impl CodeDetector {
    fn detect(&self, image: &Image) -> Result<Detections, BlockError> {
        let codes = self.read(image).map_err(|error| {
            BlockError::failed(format!("the image cannot be searched for codes: {error}"))
        })?;
        let n = codes.len();
        let mut detections = Detections {
            xyxy: Arc::new(codes.iter().map(corners).collect()),
            confidence: Some(Arc::new(vec![1.0; n])),
            class_id: Some(Arc::new(vec![0; n])),
            ..Detections::default()
        };
        detections.fill_column(column::CLASS_NAME, self.class_name.into());
        let ids = (0..n).map(|_| Value::Str(new_id())).collect();
        detections.set_column(column::DETECTION_ID, ids);
        detections.fill_column(column::PREDICTION_TYPE, self.prediction_type.into());
        let texts = codes.iter().map(|code| code.text().into()).collect();
        detections.set_column(column::DATA, texts);
        detections.attach_image(image);
        Ok(detections)
    }

    fn read(&self, image: &Image) -> Result<Vec<Barcode>, zxingcpp::Error> {
        let pixels = image.pixels();
        let format = if pixels.channels == 1 {
            ImageFormat::Lum
        } else {
            ImageFormat::BGR
        };
        let view = ImageView::from_slice(&pixels.data, pixels.width, pixels.height, format)?;
        let reader = zxingcpp::read();
        if self.formats.is_empty() {
            reader.from(view)
        } else {
            reader.formats(self.formats).from(view)
        }
    }
}

/// The upright box around the four corners of a code.
fn corners(code: &Barcode) -> [f64; 4] {
    let p = code.position();
    let all = [p.top_left, p.top_right, p.bottom_right, p.bottom_left];
    let (mut low, mut high) = ([f64::MAX; 2], [f64::MIN; 2]);
    for point in all {
        for (axis, v) in [point.x, point.y].into_iter().enumerate() {
            low[axis] = low[axis].min(f64::from(v));
            high[axis] = high[axis].max(f64::from(v));
        }
    }
    [low[0], low[1], high[0], high[1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::visualizations::common::testing::{picture, run};
    use crate::imaging::to_gray;
    use crate::values::{Batch, Matrix};

    fn detect(pixels: Matrix) -> Arc<Detections> {
        let batch = Batch {
            indices: vec![smallvec::smallvec![0]],
            items: vec![Image::new(pixels, "image".into()).into()],
        };
        match run(&BLOCK, &[("images", Value::Batch(Arc::new(batch)))]) {
            Ok(Output::Many(rows)) => rows[0][0].as_detections().unwrap().clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Turned by a quarter, clockwise.
    fn turned(pixels: &Matrix) -> Matrix {
        let (w, h, c) = (pixels.width, pixels.height, pixels.channels);
        let mut data = Vec::with_capacity(w * h * c);
        for x in 0..w {
            for y in (0..h).rev() {
                data.extend_from_slice(&pixels.data[(y * w + x) * c..(y * w + x + 1) * c]);
            }
        }
        Matrix::new(h, w, c, data).unwrap()
    }

    #[test]
    fn the_code_is_where_the_reference_finds_it() {
        let want = [70.0, 34.0, 193.98, 157.98];
        let code = picture("model/qr.png");
        for pixels in [code.clone(), to_gray(&code).unwrap()] {
            let d = detect(pixels);
            assert_eq!(d.len(), 1);
            assert_eq!(
                d.cell(column::DATA, 0).and_then(Value::as_str),
                Some("https://example.org/lot/17")
            );
            for (got, want) in d.xyxy[0].iter().zip(want) {
                assert!((got - want).abs() <= 4.5, "{:?}", d.xyxy[0]);
            }
            assert_eq!(d.class_name(0).map(|n| &**n), Some("qr_code"));
            assert!(d.cell(column::PARENT_ID, 0).is_some());
        }
    }

    #[test]
    fn boxes_of_turned_codes_are_not_inverted() {
        let d = detect(turned(&picture("model/qr.png")));
        let [x1, y1, x2, y2] = d.xyxy[0];
        assert!(x2 - x1 > 115.0 && y2 - y1 > 115.0);
    }

    #[test]
    fn no_code_is_an_empty_set_that_knows_its_image() {
        let d = detect(Matrix::filled(40, 30, &[255, 255, 255]));
        assert!(d.is_empty() && d.column(column::DATA).is_some());
        assert!(d.metadata.contains_key(column::IMAGE_DIMENSIONS));
    }
}
