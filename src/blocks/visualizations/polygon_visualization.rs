//! Draws the outlines of masks.
//!
//! # Inputs and outputs
//! `image`, `predictions` with masks, a palette, `thickness` → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Run-length masks are decoded; holes are outlined too. Version 1 looks at the mask inside the box
//! only, so its outline ends one pixel before the right and bottom edge, and without masks it draws
//! the box. Version 2 takes the whole mask, and without masks draws nothing.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, output};
use crate::imaging::{self, pixels, trunc_box};
use crate::values::{Mask, kind};

use super::common::{self, fields, masks};

/// `roboflow_core/polygon_visualization@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/polygon_visualization@v1",
        "PolygonVisualization",
    ],
    build: |_, _| Ok(Box::new(Polygon { in_box: true })),
    ..COMMON
};

/// `roboflow_core/polygon_visualization@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/polygon_visualization@v2"],
    build: |_, _| Ok(Box::new(Polygon { in_box: false })),
    ..COMMON
};

const COMMON: BlockSpec = BlockSpec {
    name: "Polygon Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Draws the outlines of masks.",
    fields: FIELDS,
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(common::palette_problems),
    ..BlockSpec::DEFAULT
};

const FIELDS: &[Field] = &[
    fields::IMAGE,
    fields::COPY_IMAGE,
    fields::MASK_PREDICTIONS,
    fields::COLOR_PALETTE,
    fields::PALETTE_SIZE,
    fields::CUSTOM_COLORS,
    fields::COLOR_AXIS,
    fields::integer("thickness", "2").about("Thickness of the line."),
];

struct Polygon {
    /// Whether only the part of a mask inside its box counts.
    in_box: bool,
}

impl Block for Polygon {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let thickness = pixels(inputs.int("thickness")?);
        let masks = masks::decoded(inputs.detections("predictions")?)?;
        if masks.is_none() && !self.in_box {
            return common::unchanged(inputs.image("image")?);
        }
        common::each_row(inputs, |canvas, detections, row, color| {
            let [x1, y1, x2, y2] = trunc_box(&detections.xyxy[row]);
            let Some(masks) = &masks else {
                canvas.rectangle([x1, y1], [x2, y2], color, thickness)?;
                return Ok(());
            };
            let (outlines, [dx, dy]) = if self.in_box {
                let part = inside(&masks[row], [x1, y1, x2, y2]);
                (masks::outlines(&part), [x1, y1])
            } else {
                (masks::outlines(&masks[row]), [0, 0])
            };
            for mut outline in outlines {
                for point in &mut outline {
                    *point = [point[0] + dx, point[1] + dy];
                }
                canvas.polyline(&outline, true, color, thickness)?;
            }
            Ok(())
        })
    }
}

/// The part of a mask inside a box, as a mask of the size of the box.
fn inside(mask: &Mask, [x1, y1, x2, y2]: [i32; 4]) -> Mask {
    let columns = imaging::slice(x1, x2, mask.width());
    let rows = imaging::slice(y1, y2, mask.height());
    mask.cut(
        columns.start as i64,
        rows.start as i64,
        columns.len(),
        rows.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{assert_picture, draw, draw_masked, five};
    use super::*;

    #[test]
    fn outlines_are_drawn_as_recorded() {
        assert_picture(&draw_masked(&V1, &[]), "visualizations/polygon_v1.png");
        assert_picture(&draw_masked(&V2, &[]), "visualizations/polygon_v2.png");
    }

    #[test]
    fn without_masks_version_1_draws_boxes_and_version_2_nothing() {
        assert_picture(&draw(&V1, five(), &[]), "visualizations/bounding_box.png");
        assert_picture(&draw(&V2, five(), &[]), "visualizations/scene.png");
    }

    #[test]
    fn a_box_over_the_left_edge_shows_no_mask() {
        let mask = Mask::from_window(50, 40, [0, 0, 10, 10], &[1; 100]);
        assert_eq!(inside(&mask, [-5, 0, 10, 10]).area(), 0);
        assert_eq!(inside(&mask, [2, 3, 30, 30]).area(), 56);
    }
}
