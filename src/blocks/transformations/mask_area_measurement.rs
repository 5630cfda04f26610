//! Measures the area of each detection.
//!
//! # Inputs and outputs
//! `predictions` → `predictions` with `area_px`, the pixels of the mask (or of the box), and
//! `area_converted`, the same in square units of `pixels_per_unit` pixels.
//!
//! # State
//! None.
//!
//! # Edge cases
//! An empty mask counts as none. A unit of 0 pixels or less counts as one pixel.

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::{Detections, Value, kind};

/// `roboflow_core/mask_area_measurement@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/mask_area_measurement@v1"],
    name: "Mask Area Measurement",
    family: Family::Transformation,
    stateless: true,
    about: "Measures the area of each detection.",
    fields: &[
        Field::required(
            "predictions",
            &[Ty::Selector(&[
                kind::INSTANCE_SEGMENTATION,
                kind::OBJECT_DETECTION,
            ])],
        )
        .about("The detections."),
        Field::optional(
            "pixels_per_unit",
            &[Ty::Float, Ty::Selector(&[kind::FLOAT])],
            "1.0",
        )
        .about("Length of a unit in pixels."),
    ],
    outputs: &[output(
        "predictions",
        &[kind::OBJECT_DETECTION, kind::INSTANCE_SEGMENTATION],
    )],
    build: |_, _| Ok(Box::new(MaskAreaMeasurement)),
    ..BlockSpec::DEFAULT
};

struct MaskAreaMeasurement;

impl Block for MaskAreaMeasurement {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let set = inputs.detections("predictions")?;
        let unit = inputs.float("pixels_per_unit")?;
        Ok(Output::One(row![measured(set, unit)]))
    }
}

fn measured(set: &Detections, unit: f64) -> Detections {
    let square = if unit > 0.0 { unit * unit } else { 1.0 };
    let area = |row: usize| {
        let mask = set.masks.as_ref().map_or(0, |masks| masks[row].area());
        if mask > 0 { mask as f64 } else { set.area(row) }
    };
    let areas: Vec<f64> = (0..set.len()).map(area).collect();
    let mut out = set.clone();
    let floats = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(Value::Float).collect();
    out.set_column("area_px", floats(&mut areas.iter().copied()));
    out.set_column(
        "area_converted",
        floats(&mut areas.iter().map(|a| a / square)),
    );
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::bench::boxes;
    use crate::values::Mask;

    #[test]
    fn masks_count_before_boxes() {
        // Recorded cases imaging_mask_area_measurement and imaging_mask_area_measurement_boxes.
        let mut set = boxes(&[
            ([10.5, 10.0, 60.0, 30.0], 0.9),
            ([0.0, 0.0, 10.0, 80.0], 0.8),
        ]);
        let cells = |set: &Detections, name: &str| -> Vec<f64> {
            set.column(name)
                .unwrap()
                .iter()
                .filter_map(Value::as_f64)
                .collect()
        };
        let plain = measured(&set, 2.5);
        assert_eq!(cells(&plain, "area_px"), [990.0, 800.0]);
        assert_eq!(cells(&plain, "area_converted"), [158.4, 128.0]);
        let some = Mask::from_window(90, 90, [5, 5, 7, 3], &[1; 21]);
        set.masks = Some(Arc::new(vec![some, Mask::empty(90, 90)]));
        assert_eq!(
            cells(&measured(&set, -1.0), "area_converted"),
            [21.0, 800.0]
        );
    }
}
