//! Tells where on earth detections lie that a camera looking straight down has found.
//!
//! # Inputs and outputs
//! `predictions` on `image`, taken at `latitude`, `longitude` and `altitude` metres above ground with a
//! field of view of `horizontal_fov` degrees, the top of the picture pointing to `heading` →
//! `geo_detections`, a record each, and `geojson`, the same as points.
//!
//! # State
//! None.
//!
//! # Edge cases
//! At an altitude of 0 or less everything lies at the camera's own position.

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::detections::column;
use crate::values::{Dict, Value, kind};

/// Metres of a degree of latitude.
const DEGREE: f64 = 111_320.0;

/// `roboflow_core/geotag_detection@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/geotag_detection@v1"],
    name: "GeoTag Detection",
    family: Family::Transformation,
    stateless: true,
    about: "Tells where on earth detections lie that a camera looking straight down has found.",
    fields: &[
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])]).about("The picture."),
        Field::required(
            "predictions",
            &[Ty::Selector(&[
                kind::OBJECT_DETECTION,
                kind::INSTANCE_SEGMENTATION,
            ])],
        )
        .about("What was found on it."),
        Field::required("latitude", NUMBER).about("Latitude of the camera, degrees."),
        Field::required("longitude", NUMBER).about("Longitude of the camera, degrees."),
        Field::required("altitude", NUMBER).about("Height above ground, metres."),
        Field::optional("horizontal_fov", NUMBER, "73.7").about("Angle of view across, degrees."),
        Field::optional("heading", NUMBER, "0.0").about("Where up points, degrees from north."),
    ],
    outputs: &[
        output("geo_detections", &[kind::LIST_OF_VALUES]),
        output("geojson", &[kind::DICTIONARY]),
    ],
    build: |_, _| Ok(Box::new(GeotagDetection)),
    ..BlockSpec::DEFAULT
};

const NUMBER: &[Ty] = &[Ty::Selector(&[kind::FLOAT]), Ty::Float];

struct GeotagDetection;

impl Block for GeotagDetection {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let set = inputs.detections("predictions")?;
        let camera = Camera {
            size: [image.width() as f64, image.height() as f64],
            latitude: inputs.float("latitude")?,
            longitude: inputs.float("longitude")?,
            altitude: inputs.float("altitude")?,
            view: inputs.float("horizontal_fov")?.to_radians(),
            heading: inputs.float("heading")?.to_radians(),
        };
        let mut records = Vec::with_capacity(set.len());
        let mut features = Vec::with_capacity(set.len());
        for row in 0..set.len() {
            let [x, y] = set.center(row);
            let [x1, y1, x2, y2] = set.xyxy[row];
            let [lat, lon] = camera.place([x, y]).map(|degrees| rounded(degrees, 7));
            let class = set.cell(column::CLASS_NAME, row).cloned();
            let class = class.unwrap_or_else(|| "unknown".into());
            let confidence = set.confidence.as_ref().map_or(0.0, |all| all[row]);
            let confidence = Value::Float(rounded(confidence, 4));
            let tenth = |pixels: f64| Value::Float(rounded(pixels, 1));
            records.push(object([
                ("class", class.clone()),
                ("confidence", confidence.clone()),
                ("lat", Value::Float(lat)),
                ("lon", Value::Float(lon)),
                ("pixel_x", tenth(x)),
                ("pixel_y", tenth(y)),
                ("width", tenth(x2 - x1)),
                ("height", tenth(y2 - y1)),
            ]));
            let place = Value::list(vec![Value::Float(lon), Value::Float(lat)]);
            let point = object([("type", "Point".into()), ("coordinates", place)]);
            features.push(object([
                ("type", "Feature".into()),
                ("geometry", point),
                (
                    "properties",
                    object([("class", class), ("confidence", confidence)]),
                ),
            ]));
        }
        let collection = object([
            ("type", "FeatureCollection".into()),
            ("features", Value::list(features)),
        ]);
        Ok(Output::One(row![records, collection]))
    }
}

fn object<const N: usize>(entries: [(&str, Value); N]) -> Value {
    let entries = entries.map(|(name, value)| (name.into(), value));
    Value::dict(Dict::from_iter(entries))
}

/// To so many decimals, as the nearest number to the decimal text.
fn rounded(x: f64, decimals: usize) -> f64 {
    format!("{x:.decimals$}").parse().unwrap_or(x)
}

struct Camera {
    size: [f64; 2],
    latitude: f64,
    longitude: f64,
    altitude: f64,
    view: f64,
    heading: f64,
}

impl Camera {
    /// Latitude and longitude of a pixel.
    fn place(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        if self.altitude <= 0.0 {
            return [self.latitude, self.longitude];
        }
        let [width, height] = self.size;
        let across = 2.0 * self.altitude * (self.view / 2.0).tan();
        let right = (x - width / 2.0) / width * across;
        let up = -(y - height / 2.0) / height * (across * height / width);
        let (sine, cosine) = self.heading.sin_cos();
        let east = right * cosine + up * sine;
        let north = -right * sine + up * cosine;
        [
            self.latitude + north / DEGREE,
            self.longitude + east / (DEGREE * self.latitude.to_radians().cos()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, boxes};
    use crate::values::{Image, Matrix, python};
    use serde_json::json;

    fn run(altitude: f64) -> Vec<Value> {
        let image = Image::new(Matrix::filled(640, 480, &[0]), "image".into());
        let fields = [
            ("latitude", json!(52)),
            ("longitude", json!(4)),
            ("altitude", json!(altitude)),
            ("heading", json!(90)),
        ];
        let found = boxes(&[([400.0, 100.0, 440.0, 140.0], 0.912_34)]);
        let given = [("image", image.into()), ("predictions", found.into())];
        Bench::new(&BLOCK, &fields).run(&given).unwrap().to_vec()
    }

    #[test]
    fn pixels_become_degrees() {
        // Specification 8.16.
        let row = run(100.0);
        assert_eq!(
            python::repr(&row[0]),
            "[{'class': 'thing', 'confidence': 0.9123, 'lat': 51.9997896, 'lon': 4.0004101, \
             'pixel_x': 420.0, 'pixel_y': 120.0, 'width': 40.0, 'height': 40.0}]"
        );
        assert!(python::repr(&row[1]).contains("'coordinates': [4.0004101, 51.9997896]"));
    }

    #[test]
    fn on_the_ground_everything_is_here() {
        assert!(python::repr(&run(0.0)[0]).contains("'lat': 52.0, 'lon': 4.0"));
    }
}
