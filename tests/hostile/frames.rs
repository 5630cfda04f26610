//! Frames whose boxes, masks, columns, pictures and times are as odd as their types allow.

use std::sync::Arc;

use millrace::engine::{RuntimeInput, RuntimeInputs};
use millrace::values::detections::column;
use millrace::values::{Detections, Image, Mask, Matrix, Timestamp, Value, VideoMetadata};
use serde_json::{Value as Json, json};

use crate::scene::Scene;

/// Corners that no box has.
const CORNERS: [[f64; 4]; 14] = [
    [f64::NAN; 4],
    [f64::NAN, 0.0, 10.0, 10.0],
    [
        f64::NEG_INFINITY,
        f64::NEG_INFINITY,
        f64::INFINITY,
        f64::INFINITY,
    ],
    [f64::INFINITY; 4],
    [0.0, 0.0, f64::INFINITY, 5.0],
    [-1e300, -1e300, 1e300, 1e300],
    [1e18, 1e18, 2e18, 2e18],
    [-1e10, -1e10, 1e10, 1e10],
    [0.0, 0.0, 100_000.0, 100_000.0],
    [20.0, 20.0, 5.0, 5.0],
    [5.0, 5.0, 5.0, 5.0],
    [5.0, 5.0, 5.0, 25.0],
    [-50.0, -50.0, -40.0, -40.0],
    [0.2, 0.2, 0.3, 0.3],
];

/// Names of columns that blocks read, whatever stands in them.
const COLUMNS: [&str; 22] = [
    column::CLASS_NAME,
    column::DETECTION_ID,
    column::PARENT_ID,
    column::IMAGE_DIMENSIONS,
    column::ROOT_PARENT_COORDINATES,
    column::ROOT_PARENT_DIMENSIONS,
    column::PARENT_COORDINATES,
    column::PARENT_DIMENSIONS,
    column::SCALING_TO_PARENT,
    column::SCALING_TO_ROOT,
    column::KEYPOINTS_XY,
    column::KEYPOINTS_CONFIDENCE,
    column::KEYPOINTS_CLASS_ID,
    column::KEYPOINTS_CLASS_NAME,
    column::RLE_MASK,
    column::ORIENTED_BOX,
    column::POLYGON,
    column::TIME_IN_ZONE,
    column::VELOCITY,
    column::SPEED,
    column::CLASS_LOCKED,
    column::DATA,
];

/// What is odd about a frame, the inputs that it stands in, and all inputs.
pub type Frame = (String, Vec<&'static str>, RuntimeInputs);

struct Frames<'a> {
    ordinary: &'a RuntimeInputs,
    all: Vec<Frame>,
}

impl Frames<'_> {
    /// A frame that is ordinary but for these inputs.
    fn push(&mut self, name: &str, inputs: impl IntoIterator<Item = (&'static str, RuntimeInput)>) {
        let mut frame = self.ordinary.clone();
        let mut changed = Vec::new();
        for (input, value) in inputs {
            frame[input] = value;
            changed.push(input);
        }
        self.all.push((name.to_owned(), changed, frame));
    }

    /// A frame with these boxes wherever boxes come in.
    fn boxes(&mut self, name: &str, boxes: &Detections) {
        let value = || RuntimeInput::Value(Value::detections(boxes.clone()));
        let list = |items| RuntimeInput::Value(Value::list(items));
        let own = || Value::detections(boxes.clone());
        let rows = (0..boxes.len()).map(|row| boxes.take(&[row]).into());
        self.push(
            name,
            [
                ("objects", value()),
                ("others", value()),
                ("groups", list(rows.collect())),
                ("slices", list(vec![Value::list(vec![own(), own()])])),
            ],
        );
    }

    /// A frame with these boxes as a client sends them.
    fn sent(&mut self, name: &str, json: &Json) {
        let value = || RuntimeInput::Json(json.clone());
        self.push(name, [("objects", value()), ("others", value())]);
    }
}

/// All of them; `ordinary` is a frame with nothing wrong.
pub fn all(scene: &Scene, ordinary: &RuntimeInputs) -> Vec<Frame> {
    let RuntimeInput::Value(objects) = &ordinary["objects"] else {
        panic!("boxes are a value");
    };
    let objects = objects.as_detections().unwrap();
    let mut frames = Frames {
        ordinary,
        all: Vec::new(),
    };
    boxes(&mut frames, objects);
    columns(&mut frames, objects);
    sent(&mut frames);
    pictures(&mut frames, scene, objects);
    times(&mut frames, ordinary);
    frames.all
}

fn boxes(frames: &mut Frames<'_>, objects: &Detections) {
    frames.boxes("no boxes", &Detections::empty());
    for corners in CORNERS {
        let mut set = objects.clone();
        Arc::make_mut(&mut set.xyxy)[1] = corners;
        frames.boxes(&format!("a box {corners:?}"), &set);
        set.masks = None;
        set.xyxy = Arc::new(vec![corners; set.len()]);
        frames.boxes(&format!("boxes {corners:?}"), &set);
    }
    let rows: Vec<usize> = (0..300).map(|i| i % objects.len()).collect();
    frames.boxes("300 boxes in few places", &objects.take(&rows));
    for mask in [
        Mask::empty(0, 0),
        Mask::empty(48, 32),
        Mask::from_dense(1, 1, &[1]),
        Mask::empty(9_000, 9_000),
    ] {
        let mut set = objects.clone();
        set.masks = Some(Arc::new(vec![mask.clone(); set.len()]));
        frames.boxes(
            &format!("masks of {} x {}", mask.width(), mask.height()),
            &set,
        );
    }
    for ids in [i64::MAX, i64::MIN, -1, 0] {
        let mut set = objects.clone();
        let count = set.len();
        set.tracker_id = Some(Arc::new(vec![ids; count]));
        set.class_id = Some(Arc::new(vec![ids; count]));
        frames.boxes(&format!("ids {ids}"), &set);
    }
    for confidence in [f64::NAN, f64::INFINITY, -1e300, 0.0] {
        let mut set = objects.clone();
        Arc::make_mut(set.confidence.as_mut().unwrap())[2] = confidence;
        frames.boxes(&format!("confidence {confidence}"), &set);
    }
}

fn columns(frames: &mut Frames<'_>, objects: &Detections) {
    for (name, without) in [
        (
            "masks",
            Detections {
                masks: None,
                ..objects.clone()
            },
        ),
        (
            "confidence",
            Detections {
                confidence: None,
                ..objects.clone()
            },
        ),
        (
            "class ids",
            Detections {
                class_id: None,
                ..objects.clone()
            },
        ),
        (
            "track ids",
            Detections {
                tracker_id: None,
                ..objects.clone()
            },
        ),
        (
            "columns",
            Detections {
                data: Default::default(),
                ..objects.clone()
            },
        ),
    ] {
        frames.boxes(&format!("boxes without {name}"), &without);
    }
    let odd = [
        json!(null),
        json!("text"),
        json!(-1),
        json!(i64::MAX),
        json!(1e300),
        json!([]),
        json!([0, 0]),
        json!([i64::MAX, i64::MIN]),
        json!([1e18, 1e18]),
        json!(["a"]),
        json!([[0.5, 0.5]]),
        json!([[1e300, -1e300], [0, 0], [1, 1], [2, 2], [3, 3]]),
        json!([[], [1], [1, 2, 3]]),
        json!({"size": [1i64 << 40, 1i64 << 40], "counts": "0"}),
        json!({"size": [32, 48], "counts": [1, 2, 3]}),
        json!({"size": [-1, 0], "counts": "~~~é"}),
    ];
    for (at, name) in COLUMNS.into_iter().enumerate() {
        let mut set = objects.clone();
        set.data.shift_remove(name);
        frames.boxes(&format!("boxes without {name}"), &set);
        // A third of the values for each column: together they meet every kind of column.
        for value in odd.iter().skip(at % 3).step_by(3) {
            let mut set = objects.clone();
            set.fill_column(name, Value::from_json(value));
            frames.boxes(&format!("{name} {value}"), &set);
        }
        let mut set = objects.clone();
        set.fill_column(name, Value::list(vec![Value::Float(f64::NAN); 2]));
        frames.boxes(&format!("{name} without numbers"), &set);
    }
}

/// Boxes as clients send them, with sizes that would take all memory.
fn sent(frames: &mut Frames<'_>) {
    let prediction = |more: Json| {
        let mut json = json!({"x": 10, "y": 10, "width": 8, "height": 8, "confidence": 0.5, "class": "car",
            "class_id": 1, "detection_id": "d"});
        json.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json
    };
    let set = |size: [i64; 2], predictions: Vec<Json>| json!({"image": {"width": size[0], "height": size[1]}, "predictions": predictions});
    let corners = |r: f64| {
        let corner = |x: f64, y: f64| json!({"x": x, "y": y});
        json!([corner(-r, -r), corner(r, -r), corner(r, r), corner(-r, r)])
    };
    let rle = |height: i64, width: i64, counts: Json| json!({"rle_mask": {"size": [height, width], "counts": counts}});
    for size in [
        [48, 32],
        [0, 0],
        [-1, 5],
        [400, 250],
        [1, 100_000],
        [100_000, 1],
        [i64::MAX, i64::MAX],
    ] {
        frames.sent(
            &format!("boxes on {size:?}"),
            &set(size, vec![prediction(json!({})); 2]),
        );
        for r in [5.0, 1e9, 1e300] {
            let name = format!("an outline of {r} on {size:?}");
            let outlined = prediction(json!({"points": corners(r)}));
            frames.sent(&name, &set(size, vec![outlined]));
        }
        let whole = size[0].saturating_mul(size[1]);
        for counts in [
            json!([0, whole]),
            json!([whole]),
            json!([]),
            json!("0"),
            json!("PPPPPPPPPPPPP"),
            json!([0, 1, 1]),
        ] {
            let name = format!("a mask of runs {counts} on {size:?}");
            let masked = prediction(rle(size[1], size[0], counts));
            frames.sent(&name, &set(size, vec![masked]));
        }
    }
    let small = rle(2, 2, json!([0, 4]));
    let many = vec![prediction(small); 40];
    frames.sent("many small masks that grow", &set([400, 250], many));
    for n in [1e300, -1e300, 1e18, 0.0] {
        let name = format!("a box of {n}");
        let boxed = prediction(
            json!({"x": n, "y": -n, "width": n, "height": n, "class_id": n, "tracker_id": 1}),
        );
        frames.sent(&name, &set([48, 32], vec![boxed]));
    }
}

fn pictures(frames: &mut Frames<'_>, scene: &Scene, objects: &Detections) {
    let [width, height] = scene.size;
    for (w, h, channels) in [
        (1, 1, 3),
        (1, height, 3),
        (width, 1, 1),
        (2_000, 1, 3),
        (width, height, 1),
        (width, height, 4),
    ] {
        let picture = |value: u8| {
            let pixels = Matrix::filled(w, h, &vec![value; channels]);
            Value::from(Image::new(pixels, "image".into()))
        };
        let name = format!("a picture of {w} x {h} x {channels}");
        let value = RuntimeInput::Value;
        frames.push(
            &name,
            [
                ("image", value(picture(9))),
                ("neighbour", value(picture(200))),
            ],
        );
        let mut set = objects.clone();
        set.masks = None;
        frames.push(
            &format!("{name} and boxes without masks"),
            [
                ("image", value(picture(9))),
                ("objects", value(Value::detections(set))),
            ],
        );
    }
}

fn times(frames: &mut Frames<'_>, ordinary: &RuntimeInputs) {
    let RuntimeInput::Value(Value::Image(image)) = &ordinary["image"] else {
        panic!("the picture is a value");
    };
    let facts = VideoMetadata::synthetic("a".into(), Timestamp::from_unix_micros(0));
    let far = i64::MAX / 2_000_000_000;
    for (name, changed) in [
        (
            "no frames a second",
            VideoMetadata {
                fps: Some(0.0),
                measured_fps: Some(0.0),
                comes_from_video_file: Some(true),
                ..facts.clone()
            },
        ),
        (
            "negative frames a second",
            VideoMetadata {
                fps: Some(-25.0),
                measured_fps: Some(-1.0),
                ..facts.clone()
            },
        ),
        (
            "frames a second without a number",
            VideoMetadata {
                fps: Some(f64::NAN),
                measured_fps: Some(f64::NAN),
                ..facts.clone()
            },
        ),
        (
            "endless frames a second",
            VideoMetadata {
                fps: Some(f64::INFINITY),
                comes_from_video_file: Some(true),
                ..facts.clone()
            },
        ),
        (
            "hardly a frame a second",
            VideoMetadata {
                fps: Some(5e-324),
                comes_from_video_file: Some(true),
                frame_number: 7,
                ..facts.clone()
            },
        ),
        (
            "the last frame number",
            VideoMetadata {
                frame_number: i64::MAX,
                comes_from_video_file: Some(true),
                fps: Some(25.0),
                ..facts.clone()
            },
        ),
        (
            "the first frame number",
            VideoMetadata {
                frame_number: i64::MIN,
                comes_from_video_file: Some(true),
                fps: Some(25.0),
                ..facts.clone()
            },
        ),
        (
            "a time long ago",
            VideoMetadata {
                frame_timestamp: Timestamp::from_unix_micros(-62_135_596_800_000_000),
                ..facts.clone()
            },
        ),
        (
            "a time far ahead",
            VideoMetadata {
                frame_timestamp: Timestamp::from_unix_micros(far * 1_000),
                ..facts.clone()
            },
        ),
        (
            "the last time",
            VideoMetadata {
                frame_timestamp: Timestamp::from_unix_micros(8_210_266_876_799_999_999),
                ..facts.clone()
            },
        ),
        (
            "the first time",
            VideoMetadata {
                frame_timestamp: Timestamp::from_unix_micros(-8_334_601_228_800_000_000),
                ..facts.clone()
            },
        ),
        (
            "a video without a name",
            VideoMetadata {
                video_identifier: "".into(),
                ..facts.clone()
            },
        ),
    ] {
        let facts = Arc::new(changed);
        frames.push(
            name,
            [
                (
                    "image",
                    RuntimeInput::Value(image.with_video(Some(facts.clone())).into()),
                ),
                ("video", RuntimeInput::Value(Value::Video(facts))),
            ],
        );
    }
}
