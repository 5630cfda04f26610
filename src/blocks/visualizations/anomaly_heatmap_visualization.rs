//! Colours an image by how anomalous each place is.
//!
//! # Inputs and outputs
//! `image`, `anomaly_map` (rows of numbers), `anomaly_threshold` (the value half way up the colour
//! ramp), `color_map`, `opacity` → `image` in colour.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The map is stretched to the image. With a threshold of 0 or less every value above 0 is at the
//! top of the ramp. A missing map, one that is not two-dimensional, and a threshold that is not
//! finite are errors.

use opencv::core::{Mat, MatTraitConstManual, Size};
use opencv::imgproc::{self, INTER_LINEAR};

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::imaging;
use crate::values::{Matrix, Value, kind};

use super::common::{self, fields};

/// Colour maps and OpenCV's numbers for them; the first is our own ramp.
const MAPS: &[(&str, Option<i32>)] = &[
    ("ROBOFLOW", None),
    ("JET", Some(imgproc::COLORMAP_JET)),
    ("TURBO", Some(imgproc::COLORMAP_TURBO)),
    ("INFERNO", Some(imgproc::COLORMAP_INFERNO)),
    ("VIRIDIS", Some(imgproc::COLORMAP_VIRIDIS)),
    ("HOT", Some(imgproc::COLORMAP_HOT)),
];

/// Place on the ramp, blue, green, red, and strength.
const RAMP: [[f32; 5]; 4] = [
    [0.0, 0.0, 214.0, 255.0, 0.0],
    [0.25, 0.0, 214.0, 255.0, 0.55],
    [0.5, 0.0, 122.0, 255.0, 0.85],
    [1.0, 30.0, 30.0, 220.0, 1.0],
];

/// `roboflow_core/anomaly_heatmap_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/anomaly_heatmap_visualization@v1"],
    name: "Anomaly Heatmap Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Colours an image by how anomalous each place is.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        Field::required("anomaly_map", &[Ty::Selector(&[kind::NUMPY_ARRAY])])
            .about("Rows of numbers, larger where more anomalous."),
        Field::required(
            "anomaly_threshold",
            &[Ty::Float, Ty::Selector(&[kind::FLOAT])],
        )
        .about("Value half way up the ramp."),
        Field::optional(
            "color_map",
            &[
                Ty::OneOf(&["ROBOFLOW", "JET", "TURBO", "INFERNO", "VIRIDIS", "HOT"]),
                Ty::Selector(&[kind::STRING]),
            ],
            "\"ROBOFLOW\"",
        )
        .about("Colours of the ramp."),
        fields::share("opacity", "0.75").about("Strength of the colours."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    build: |_, _| Ok(Box::new(AnomalyHeatmap)),
    ..BlockSpec::DEFAULT
};

struct AnomalyHeatmap;

impl Block for AnomalyHeatmap {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let (rows, columns, mut values) = plane(inputs.value("anomaly_map"))?;
        let threshold = inputs.float("anomaly_threshold")? as f32;
        if !threshold.is_finite() {
            return Err(BlockError::failed(format!(
                "anomaly_threshold must be finite, got {threshold}"
            )));
        }
        let opacity = inputs.float("opacity")? as f32;
        if !(0.0..=1.0).contains(&opacity) {
            return Err(BlockError::failed(format!(
                "opacity must be from 0 to 1, got {opacity}"
            )));
        }
        let name = inputs.text("color_map")?;
        let map = MAPS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, map) = map.ok_or_else(|| {
            let known: Vec<_> = MAPS.iter().map(|m| m.0).collect();
            BlockError::failed(format!(
                "unknown color_map `{name}`: use one of {}",
                known.join(", ")
            ))
        })?;
        for v in &mut values {
            *v = share(v.max(0.0), threshold);
        }
        let (width, height) = (image.width(), image.height());
        let values = stretched(values, [columns, rows], [width, height])?;
        common::drawn(&common::in_color(image), |pixels| {
            match map {
                None => lay_ramp(pixels, &values, opacity),
                Some(map) => lay_map(pixels, &values, opacity, *map)?,
            }
            Ok(())
        })
    }
}

/// Rows, columns and numbers of the map.
fn plane(map: &Value) -> Result<(usize, usize, Vec<f32>), BlockError> {
    let flat = |shape: &str| BlockError::failed(format!("anomaly_map must be 2D, got {shape}"));
    match map {
        Value::None => Err(BlockError::failed(
            "there is no anomaly map: enable `include_anomaly_map` on the step that feeds this one",
        )),
        Value::Array(array) => match array.shape[..] {
            [rows, columns] if rows > 0 && columns > 0 => Ok((
                rows,
                columns,
                array.data.iter().map(|&v| v as f32).collect(),
            )),
            _ => Err(flat(&format!("shape {:?}", array.shape))),
        },
        other => {
            let line = |row: &Value| -> Option<Vec<f32>> {
                let numbers = row.as_slice()?.iter();
                numbers.map(|v| v.as_f64().map(|v| v as f32)).collect()
            };
            let rows: Option<Vec<Vec<f32>>> =
                other.as_slice().and_then(|r| r.iter().map(line).collect());
            let rows = rows.ok_or_else(|| flat(other.type_name()))?;
            let columns = rows.first().map_or(0, Vec::len);
            if columns == 0 || rows.iter().any(|r| r.len() != columns) {
                return Err(flat("rows of different lengths"));
            }
            Ok((rows.len(), columns, rows.concat()))
        }
    }
}

/// How far up the ramp a value is; the threshold is half way.
fn share(value: f32, threshold: f32) -> f32 {
    if threshold > 0.0 {
        value / (value + threshold)
    } else {
        f32::from(u8::from(value > 0.0))
    }
}

fn stretched(values: Vec<f32>, from: [usize; 2], to: [usize; 2]) -> opencv::Result<Vec<f32>> {
    if from == to {
        return Ok(values);
    }
    let source = Mat::new_rows_cols_with_data(from[1] as i32, from[0] as i32, &values)?;
    let mut out = Mat::default();
    let size = Size::new(to[0] as i32, to[1] as i32);
    imgproc::resize(&source, &mut out, size, 0.0, 0.0, INTER_LINEAR)?;
    Ok(out.data_typed::<f32>()?.to_vec())
}

fn mixed(value: u8, color: f32, weight: f32) -> u8 {
    (f32::from(value) * (1.0 - weight) + color * weight).round_ties_even() as u8
}

/// Lays our own ramp over the pixels.
fn lay_ramp(pixels: &mut Matrix, values: &[f32], opacity: f32) {
    for (pixel, &t) in pixels.data.chunks_exact_mut(3).zip(values) {
        let upper = RAMP
            .iter()
            .position(|stop| t <= stop[0])
            .unwrap_or(3)
            .max(1);
        let (low, high) = (RAMP[upper - 1], RAMP[upper]);
        let at = ((t - low[0]) / (high[0] - low[0])).clamp(0.0, 1.0);
        let between = |i: usize| low[i] + at * (high[i] - low[i]);
        let weight = between(4) * opacity;
        for (i, value) in pixel.iter_mut().enumerate() {
            *value = mixed(*value, between(i + 1).round_ties_even(), weight);
        }
    }
}

/// Lays one of OpenCV's colour maps over the pixels.
fn lay_map(pixels: &mut Matrix, values: &[f32], opacity: f32, map: i32) -> opencv::Result<()> {
    let (width, height) = (pixels.width, pixels.height);
    let level = |t: &f32| (t.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
    let levels = Matrix {
        width,
        height,
        channels: 1,
        data: values.iter().map(level).collect(),
    };
    let source = imaging::view(&levels)?;
    let colors = imaging::produce(width, height, 3, |out| {
        imgproc::apply_color_map(&source, out, map)
    })?;
    for (value, &color) in pixels.data.iter_mut().zip(&colors.data) {
        *value = mixed(*value, f32::from(color), opacity);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::common::testing::{image_of, run};
    use super::*;
    use crate::values::Image;

    fn heat(map: serde_json::Value, threshold: f64) -> Result<Output, BlockError> {
        let gray = Image::new(Matrix::filled(4, 1, &[100]), "image".into());
        let fields = [
            ("image", gray.into()),
            ("anomaly_map", Value::from_json(&map)),
            ("anomaly_threshold", threshold.into()),
        ];
        run(&BLOCK, &fields)
    }

    #[test]
    fn the_ramp_is_the_reference_s() {
        let got = image_of(heat(json!([[0, 0.25, 1, 4]]), 1.0));
        let want = [
            [100, 100, 100],
            [67, 138, 151],
            [36, 114, 199],
            [42, 77, 194],
        ];
        assert_eq!(got.pixels().data, want.concat());
    }

    #[test]
    fn what_is_no_map_is_an_error() {
        assert!(heat(json!(null), 1.0).is_err());
        assert!(heat(json!([1, 2]), 1.0).is_err());
        assert!(heat(json!([[1, 2], [3]]), 1.0).is_err());
        assert!(heat(json!([[1.0]]), f64::NAN).is_err());
    }

    #[test]
    fn a_threshold_of_zero_knows_only_top_and_bottom() {
        assert_eq!([share(0.0, 0.0), share(1e-6, 0.0)], [0.0, 1.0]);
        assert_eq!(share(2.0, 2.0), 0.5);
    }
}
