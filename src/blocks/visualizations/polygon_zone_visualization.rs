//! Shades one or several zones.
//!
//! # Inputs and outputs
//! `image`, `zone` (a polygon or a list of polygons), `color`, `opacity` → `image`.
//!
//! # State
//! None: a change of any field takes effect at once.
//!
//! # Edge cases
//! The zone brightens the image (`colour * opacity + image`). Where two polygons overlap nothing is
//! shaded. An empty zone or `null` leaves the image as it is. Fractions of coordinates are dropped.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::imaging::blend::{Ground, overlay};
use crate::imaging::{Color, Pixel};
use crate::values::{Value, kind};

use super::common::{self, fields};

/// `roboflow_core/polygon_zone_visualization@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/polygon_zone_visualization@v1"],
    name: "Polygon Zone Visualization",
    family: Family::Visualization,
    stateless: true,
    about: "Shades one or several zones of an image.",
    fields: &[
        fields::IMAGE,
        fields::COPY_IMAGE,
        fields::points("zone").about("A polygon, or a list of polygons."),
        fields::color("color", "\"#5bb573\""),
        fields::share("opacity", "0.3").about("Strength of the shade."),
    ],
    outputs: &[output("image", &[kind::IMAGE])],
    literal_check: Some(|step| common::color_problem(step, "color").into_iter().collect()),
    build: |_, _| Ok(Box::new(PolygonZone)),
    ..BlockSpec::DEFAULT
};

struct PolygonZone;

impl Block for PolygonZone {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let polygons = polygons(inputs.value("zone"))?;
        let color = Color::parse(inputs.text("color")?)?;
        let opacity = inputs.float("opacity")?;
        if polygons.is_empty() {
            return common::unchanged(image);
        }
        common::drawn(image, |pixels| {
            let all = polygons.concat();
            if let Some(region) = common::region_around(&all, 1, pixels.size()) {
                overlay(pixels, region, Ground::Black, opacity, |canvas| {
                    canvas.fill_polygons(&polygons, color)
                })?;
            }
            Ok(())
        })
    }
}

/// The polygons of a zone: several if its first entry is a list of points, else one.
fn polygons(zone: &Value) -> Result<Vec<Vec<Pixel>>, BlockError> {
    let wrong =
        || BlockError::failed("zone must be a list of points [x, y] or a list of such lists");
    if zone.is_none() {
        return Ok(Vec::new());
    }
    if let Value::Array(array) = zone
        && array.shape.len() == 2
    {
        let points = common::points(zone).ok_or_else(wrong)?;
        return Ok(vec![common::pixels_of(&points)]);
    }
    let entries = zone.as_slice().ok_or_else(wrong)?;
    let Some(first) = entries.first() else {
        return Ok(Vec::new());
    };
    let is_point = match first {
        Value::Array(array) => array.shape.len() == 1,
        _ => first
            .as_slice()
            .and_then(|p| p.first())
            .is_some_and(|x| x.as_f64().is_some()),
    };
    let one = [zone.clone()];
    let several = if is_point { &one[..] } else { entries };
    several
        .iter()
        .map(|polygon| {
            let points = common::points(polygon).ok_or_else(wrong)?;
            Ok(common::pixels_of(&points))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::common::testing::{assert_picture, image_of, run, scene};
    use super::*;

    fn draw(zone: serde_json::Value, color: &str, opacity: f64) -> crate::values::Image {
        let fields = [
            ("image", scene().into()),
            ("zone", Value::from_json(&zone)),
            ("color", color.into()),
            ("opacity", opacity.into()),
        ];
        image_of(run(&BLOCK, &fields))
    }

    #[test]
    fn zones_are_shaded_as_recorded() {
        let zone = json!([[20, 20], [180, 30], [150, 140], [30, 120]]);
        assert_picture(
            draw(zone, "#5bb573", 0.3).pixels(),
            "visualizations/polygon_zone.png",
        );
        let zone = json!([[20, 20], [180, 30], [150, 140]]);
        assert_picture(
            draw(zone, "#ff8800", 0.9).pixels(),
            "visualizations/polygon_zone_strong.png",
        );
    }

    #[test]
    fn overlaps_of_two_zones_are_not_shaded() {
        let square = |x: i64| json!([[x, 10], [x + 60, 10], [x + 60, 90], [x, 90]]);
        let drawn = draw(json!([square(10), square(40)]), "BLUE", 0.5);
        let before = scene();
        let at = |m: &crate::values::Matrix, x: usize| m.data[(50 * 200 + x) * 3];
        assert_eq!(at(drawn.pixels(), 55), at(before.pixels(), 55));
        assert_ne!(at(drawn.pixels(), 20), at(before.pixels(), 20));
        assert_ne!(at(drawn.pixels(), 90), at(before.pixels(), 90));
    }

    #[test]
    fn an_empty_zone_changes_nothing_and_a_wrong_one_is_an_error() {
        assert!(draw(json!([]), "RED", 1.0).pixels() == scene().pixels());
        assert!(draw(json!(null), "RED", 1.0).pixels() == scene().pixels());
        let fields = [("image", scene().into()), ("zone", "circle".into())];
        assert!(run(&BLOCK, &fields).is_err());
    }
}
