//! Draws the boxes of detections.
//!
//! # Inputs and outputs
//! `image`, `predictions`, a palette, `thickness` (negative fills the box) and `roundness` (share
//! of the shorter side that the corners take) → `image`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! Corners are cut to whole pixels. No detections leave the image as it is. On gray images the blue
//! component of the colours is drawn.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::imaging::{Canvas, Color, pixels, trunc, trunc_box};
use crate::values::kind;

use super::common::{self, fields};

/// `roboflow_core/bounding_box_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/bounding_box_visualization@v1",
        "BoundingBoxVisualization",
    ],
    name: "Bounding Box Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Draws the boxes of detections on an image.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::PREDICTIONS,
        fields::COLOR_PALETTE,
        fields::PALETTE_SIZE,
        fields::CUSTOM_COLORS,
        fields::COLOR_AXIS,
        fields::integer("thickness", "2").about("Thickness of the lines; negative fills the box."),
        fields::share("roundness", "0.0").about("How round the corners are."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(common::palette_problems),
    build: |_, _| Ok(Box::new(BoundingBox)),
    ..BlockSpec::DEFAULT
};

struct BoundingBox;

impl Block for BoundingBox {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let thickness = pixels(inputs.int("thickness")?);
        let roundness = inputs.float("roundness")?;
        if !(0.0..=1.0).contains(&roundness) {
            return Err(BlockError::failed(format!(
                "roundness must be from 0 to 1, got {roundness}"
            )));
        }
        common::each_row(inputs, |canvas, detections, row, color| {
            let [x1, y1, x2, y2] = trunc_box(&detections.xyxy[row]);
            if roundness == 0.0 {
                canvas.rectangle([x1, y1], [x2, y2], color, thickness)?;
            } else {
                round(canvas, [x1, y1, x2, y2], roundness, color, thickness)?;
            }
            Ok(())
        })
    }
}

/// A box with rounded corners: per corner an arc and the side that begins there.
fn round(
    canvas: &mut Canvas<'_>,
    [x1, y1, x2, y2]: [i32; 4],
    roundness: f64,
    color: Color,
    thickness: i32,
) -> opencv::Result<()> {
    let (width, height) = (x2 - x1, y2 - y1);
    let shorter = if width.abs() < height.abs() {
        width
    } else {
        height
    };
    let r = trunc(f64::from(shorter.div_euclid(2)) * roundness);
    let corners = [
        ([x1 + r, y1 + r], 180.0, [x1 + r, y1], [x2 - r, y1]),
        ([x2 - r, y1 + r], 270.0, [x2, y1 + r], [x2, y2 - r]),
        ([x2 - r, y2 - r], 0.0, [x1 + r, y2], [x2 - r, y2]),
        ([x1 + r, y2 - r], 90.0, [x1, y1 + r], [x1, y2 - r]),
    ];
    for (center, start, from, to) in corners {
        canvas.arc(
            center,
            [r, r],
            [start, start + 90.0],
            color,
            thickness,
            false,
        )?;
        canvas.line(from, to, color, thickness)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::common::testing::{
        assert_picture, draw_five, five, image_of, run, run_again, scene, step,
    };
    use super::*;
    use crate::values::{Detections, Value};

    fn texts(names: &[&str]) -> Value {
        Value::list(names.iter().map(|n| (*n).into()).collect())
    }

    #[test]
    fn boxes_are_drawn_as_recorded() {
        assert_picture(&draw_five(&BLOCK, &[]), "visualizations/bounding_box.png");
        assert_picture(
            &draw_five(
                &BLOCK,
                &[("roundness", 0.4.into()), ("thickness", 3i64.into())],
            ),
            "visualizations/bounding_box_round.png",
        );
    }

    #[test]
    fn colours_follow_palette_and_axis() {
        let fields = [
            ("color_palette", "Matplotlib Set1".into()),
            ("color_axis", "INDEX".into()),
        ];
        assert_picture(
            &draw_five(&BLOCK, &fields),
            "visualizations/bounding_box_by_index.png",
        );
        let own = texts(&[
            "#FF0000",
            "rgb(10, 200, 30)",
            "bgr(200, 10, 30)",
            "YELLOW",
            "#0ff",
        ]);
        let fields = [("color_palette", "CUSTOM".into()), ("custom_colors", own)];
        assert_picture(
            &draw_five(&BLOCK, &fields),
            "visualizations/bounding_box_own_colours.png",
        );
    }

    #[test]
    fn a_change_of_custom_colours_takes_effect() {
        let fields = |color: &str| {
            vec![
                ("image", scene().into()),
                ("predictions", five().into()),
                ("color_palette", "CUSTOM".into()),
                ("custom_colors", texts(&[color])),
            ]
        };
        let (made, _) = step(&BLOCK, &fields("RED"));
        let services = crate::blocks::visualizations::common::testing::services();
        let mut block = (BLOCK.build)(&made, &services).unwrap();
        let red = image_of(run_again(&BLOCK, block.as_mut(), &fields("RED")));
        let blue = image_of(run_again(&BLOCK, block.as_mut(), &fields("BLUE")));
        assert_ne!(red.pixels(), blue.pixels());
    }

    #[test]
    fn the_input_keeps_its_pixels_whatever_copy_image_says() {
        let image = scene();
        let before = image.pixels().clone();
        let fields = [
            ("image", image.clone().into()),
            ("predictions", five().into()),
            ("copy_image", false.into()),
        ];
        let drawn = image_of(run(&BLOCK, &fields));
        assert_eq!(*image.pixels(), before);
        assert_ne!(*drawn.pixels(), before);
        assert_eq!(drawn.parent(), image.parent());
    }

    #[test]
    fn without_detections_the_pixels_are_shared_and_ids_are_not_missed() {
        let image = scene();
        let fields = [
            ("image", image.clone().into()),
            ("predictions", Detections::default().into()),
            ("color_axis", "TRACK".into()),
        ];
        assert!(image_of(run(&BLOCK, &fields)).same_pixels(&image));
    }

    #[test]
    fn a_track_colour_without_tracks_is_an_error() {
        let mut detections = five();
        detections.tracker_id = None;
        let fields = [
            ("image", scene().into()),
            ("predictions", detections.into()),
            ("color_axis", "TRACK".into()),
        ];
        assert!(run(&BLOCK, &fields).is_err());
    }
}
