//! Running single blocks in tests, and comparing what they draw with recorded pictures.

use std::path::PathBuf;
use std::sync::Arc;

use crate::blocks::{Block, BlockError, BlockSpec, Context, Inputs, Output, Services};
use crate::clock::ManualClock;
use crate::definition::step::{FieldValue, Step};
use crate::imaging::{Canvas, Color, Pixel};
use crate::values::{Detections, Image, Mask, Matrix, Value};

/// The pixels of a picture under `fixtures/blocks`.
pub fn picture(name: &str) -> Matrix {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/blocks")
        .join(name);
    let rgb = image::open(&path).expect("a fixture").to_rgb8();
    let (width, height) = (rgb.width() as usize, rgb.height() as usize);
    let data = rgb.pixels().flat_map(|p| [p[2], p[1], p[0]]).collect();
    Matrix::new(width, height, 3, data).expect("as many bytes as pixels")
}

/// The picture that most recorded cases draw on, 200 × 150.
pub fn scene() -> Image {
    Image::new(picture("visualizations/scene.png"), "image".into())
}

/// The five detections that most recorded cases draw.
pub fn five() -> Detections {
    let rows: [([f64; 4], f64, &str, i64, i64); 5] = [
        ([44.7, 69.6, 49.3, 79.5], 0.913, "person", 0, 3),
        ([120.0, 60.0, 50.8, 50.4], 0.785, "ball", 1, 12),
        ([165.5, 115.0, 50.0, 50.0], 0.6449, "kite", 7, 40),
        ([105.5, 120.5, 32.0, 32.0], 0.5, "box", 22, 5),
        ([75.2, 100.9, 30.0, 60.0], 0.31, "unknown", -1, -1),
    ];
    let mut d = Detections {
        xyxy: Arc::new(
            rows.iter()
                .map(|(b, ..)| {
                    let [x, y, w, h] = *b;
                    let (left, top) = (x - w / 2.0, y - h / 2.0);
                    [left, top, left + w, top + h]
                })
                .collect(),
        ),
        confidence: Some(Arc::new(rows.iter().map(|r| r.1).collect())),
        class_id: Some(Arc::new(rows.iter().map(|r| r.3).collect())),
        tracker_id: Some(Arc::new(rows.iter().map(|r| r.4).collect())),
        ..Detections::default()
    };
    d.set_column("class_name", rows.iter().map(|r| r.2.into()).collect());
    d
}

/// The four detections with masks that most recorded cases draw.
pub fn masked() -> Detections {
    type Row = (&'static [Pixel], [f64; 4], &'static str, i64);
    let rows: [Row; 4] = [
        (
            &[[22, 32], [45, 25], [68, 40], [66, 108], [30, 106], [20, 70]],
            [20.0, 25.0, 68.0, 108.0],
            "person",
            0,
        ),
        (
            &[
                [98, 48],
                [120, 34],
                [142, 50],
                [144, 70],
                [121, 86],
                [100, 76],
            ],
            [98.0, 34.0, 144.0, 86.0],
            "ball",
            1,
        ),
        (
            &[[150, 100], [190, 90], [185, 140], [140, 135]],
            [140.0, 90.0, 190.0, 140.0],
            "kite",
            7,
        ),
        (
            &[
                [60, 80],
                [80, 80],
                [80, 110],
                [120, 110],
                [120, 130],
                [60, 130],
            ],
            [60.0, 80.0, 120.0, 130.0],
            "box",
            22,
        ),
    ];
    let mask = |points: &[Pixel]| {
        let mut pixels = Matrix::filled(200, 150, &[0]);
        let mut canvas = Canvas::new(&mut pixels).expect("a canvas");
        canvas
            .fill_polygons(&[points], Color::WHITE)
            .expect("a polygon");
        Mask::from_dense(200, 150, &pixels.data)
    };
    let mut d = Detections {
        xyxy: Arc::new(rows.iter().map(|r| r.1).collect()),
        masks: Some(Arc::new(rows.iter().map(|r| mask(r.0)).collect())),
        class_id: Some(Arc::new(rows.iter().map(|r| r.3).collect())),
        ..Detections::default()
    };
    d.set_column("class_name", rows.iter().map(|r| r.2.into()).collect());
    d
}

/// A step of a block with the given fields, defaults in the others.
pub fn step(spec: &'static BlockSpec, fields: &[(&str, Value)]) -> (Step, Vec<Value>) {
    for (name, _) in fields {
        assert!(spec.field_index(name).is_some(), "no field {name}");
    }
    let values: Vec<Value> = spec
        .fields
        .iter()
        .map(|field| {
            let given = fields.iter().find(|(name, _)| *name == field.name);
            given.map_or_else(
                || {
                    let text = field.default.unwrap_or("null");
                    Value::from_json(&serde_json::from_str(text).expect("a default"))
                },
                |(_, value)| value.clone(),
            )
        })
        .collect();
    let step = Step {
        name: "step".into(),
        type_tag: spec.type_id().into(),
        spec,
        values: values
            .iter()
            .map(|v| FieldValue::Literal(serde_json::Value::Null, v.clone()))
            .collect(),
    };
    (step, values)
}

/// A block made and run once.
pub fn run(spec: &'static BlockSpec, fields: &[(&str, Value)]) -> Result<Output, BlockError> {
    let (step, _) = step(spec, fields);
    let mut block = (spec.build)(&step, &services()).expect("the block");
    run_again(spec, block.as_mut(), fields)
}

/// A block run once more.
pub fn run_again(
    spec: &'static BlockSpec,
    block: &mut dyn Block,
    fields: &[(&str, Value)],
) -> Result<Output, BlockError> {
    let (_, values) = step(spec, fields);
    let services = services();
    let stream: Arc<str> = "cam".into();
    let cx = Context {
        step: "step",
        stream: &stream,
        services: &services,
        claim: None,
    };
    block.run(&Inputs::new(spec, &values), &cx)
}

/// Services that lead nowhere.
pub fn services() -> Services {
    Services {
        clock: Arc::new(ManualClock::default()),
        disable_sinks: true,
        ..Services::default()
    }
}

/// The image that a block returns.
pub fn image_of(output: Result<Output, BlockError>) -> Image {
    match output {
        Ok(Output::One(row)) => row[0].as_image().expect("an image").clone(),
        other => panic!("not one image: {other:?}"),
    }
}

/// The five detections drawn on the scene, with further fields.
pub fn draw_five(spec: &'static BlockSpec, fields: &[(&str, Value)]) -> Matrix {
    draw(spec, five(), fields)
}

/// The four detections with masks drawn on the scene, with further fields.
pub fn draw_masked(spec: &'static BlockSpec, fields: &[(&str, Value)]) -> Matrix {
    draw(spec, masked(), fields)
}

/// Detections drawn on the scene, with further fields.
pub fn draw(spec: &'static BlockSpec, detections: Detections, fields: &[(&str, Value)]) -> Matrix {
    let mut all = vec![
        ("image", Value::from(scene())),
        ("predictions", Value::from(detections)),
    ];
    all.extend(fields.iter().cloned());
    (**image_of(run(spec, &all)).pixels()).clone()
}

/// Fails unless the pixels are those of a recorded picture.
pub fn assert_picture(got: &Matrix, name: &str) {
    let want = picture(name);
    assert_eq!((got.width, got.height), (want.width, want.height), "{name}");
    let different = got
        .data
        .chunks(3)
        .zip(want.data.chunks(3))
        .filter(|(a, b)| a != b)
        .count();
    assert_eq!(different, 0, "pixels that differ from {name}");
}
