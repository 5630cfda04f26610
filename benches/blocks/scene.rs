//! A workflow of one step around any block, and the frames to run it on: many moving objects with
//! masks, track ids and all columns that blocks read.
//!
//! A required field gets the input that suits its kinds; what no kind tells stands in `steps.json`,
//! by block (with or without its version).

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use millrace::blocks::{BlockSpec, Field, Role, Ty};
use millrace::engine::{RuntimeInput, RuntimeInputs};
use millrace::values::detections::column;
use millrace::values::{
    Array, Detections, Image, Kind, Mask, Matrix, Timestamp, Value, VideoMetadata, kind,
};
use serde_json::{Map, Value as Json, json};

const CLASSES: [&str; 5] = ["person", "car", "dog", "cup", "sign"];
/// Frames after which every object is where it was.
pub const ROUND: i64 = 24;
/// Slices of the picture, in each direction.
const SLICES: usize = 3;

/// How the frames look.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Size of the picture.
    pub size: [usize; 2],
    /// Objects on each frame.
    pub objects: usize,
    /// Track ids that leave and come with each frame.
    pub churn: i64,
    /// Whether the boxes have masks.
    pub masks: bool,
}

fn inputs_of_definition() -> Json {
    let boxes = [
        kind::OBJECT_DETECTION,
        kind::INSTANCE_SEGMENTATION,
        kind::KEYPOINT_DETECTION,
        kind::RLE_INSTANCE_SEGMENTATION,
    ];
    let batch = |name: &str, kinds: &[Kind], depth: i64| json!({"type": "WorkflowBatchInput", "name": name, "kind": kinds, "dimensionality": depth});
    let parameter =
        |name: &str, kind: Kind| json!({"type": "WorkflowParameter", "name": name, "kind": [kind]});
    json!([
        {"type": "WorkflowImage", "name": "image"},
        {"type": "WorkflowImage", "name": "neighbour"},
        {"type": "WorkflowVideoMetadata", "name": "video"},
        batch("objects", &boxes, 1),
        batch("others", &boxes, 1),
        batch("slices", &boxes, 2),
        batch("labels", &[kind::CLASSIFICATION], 2),
        batch("label", &[kind::CLASSIFICATION], 1),
        batch("answer", &[kind::LANGUAGE_MODEL_OUTPUT], 1),
        parameter("groups", kind::LIST_OF_VALUES),
        parameter("embedding", kind::EMBEDDING),
        parameter("anomalies", kind::NUMPY_ARRAY),
        parameter("number", kind::INTEGER),
    ])
}

/// The fields of a step that no kind can tell.
fn given(spec: &BlockSpec) -> Result<Map<String, Json>> {
    let all: Map<String, Json> = serde_json::from_str(include_str!("steps.json"))?;
    let versioned = spec.type_id().trim_start_matches("roboflow_core/");
    let name = versioned.split('@').next().unwrap_or(versioned);
    let fields = all.get(versioned).or_else(|| all.get(name));
    Ok(fields
        .and_then(Json::as_object)
        .cloned()
        .unwrap_or_default())
}

/// The input or step output that suits a field.
fn suitable(field: &Field) -> Option<&'static str> {
    field.types.iter().find_map(|ty| match ty {
        Ty::InputImage => Some("$inputs.image"),
        Ty::StepOutput(kinds) if kinds.contains(&kind::OBJECT_DETECTION) => {
            Some("$steps.before.output")
        }
        Ty::Selector(kinds) => [
            (kind::IMAGE, "$inputs.image"),
            (kind::VIDEO_METADATA, "$inputs.video"),
            (kind::OBJECT_DETECTION, "$inputs.objects"),
            (kind::INSTANCE_SEGMENTATION, "$inputs.objects"),
            (kind::KEYPOINT_DETECTION, "$inputs.objects"),
            (kind::CLASSIFICATION, "$inputs.label"),
            (kind::EMBEDDING, "$inputs.embedding"),
            (kind::LANGUAGE_MODEL_OUTPUT, "$inputs.answer"),
            (kind::NUMPY_ARRAY, "$inputs.anomalies"),
            (kind::WILDCARD, "$inputs.number"),
        ]
        .into_iter()
        .find(|(kind, _)| kinds.contains(kind))
        .map(|(_, selector)| selector),
        _ => None,
    })
}

/// The workflow of one block, or none for a block that reaches beyond the engine: models, sinks.
pub fn definition(spec: &BlockSpec) -> Result<Option<Json>> {
    if matches!(spec.role, Role::Model | Role::Sink) {
        return Ok(None);
    }
    let mut step = given(spec)?;
    for field in spec.fields.iter().filter(|f| f.default.is_none()) {
        let there =
            step.contains_key(field.name) || field.alias.is_some_and(|a| step.contains_key(a));
        if !there {
            let selector = suitable(field).with_context(|| {
                format!(
                    "steps.json must tell field `{}` of {}",
                    field.name,
                    spec.type_id()
                )
            })?;
            step.insert(field.name.into(), selector.into());
        }
    }
    step.insert("type".into(), spec.type_id().into());
    step.insert("name".into(), "block".into());
    let mut steps = vec![Json::Object(step)];
    let text = steps[0].to_string();
    let first = |name: &str, data: &str| json!({"type": "FirstNonEmptyOrDefault", "name": name, "data": [data]});
    if text.contains("$steps.before.") {
        steps.push(first("before", "$inputs.objects"));
    }
    if text.contains("$steps.said.") {
        steps.push(first("said", "$inputs.label"));
    }
    if text.contains("$steps.after\"") {
        steps.push(first("after", "$inputs.number"));
    }
    Ok(Some(json!({
        "version": "1.0",
        "inputs": inputs_of_definition(),
        "steps": steps,
        "outputs": [],
    })))
}

impl Scene {
    /// The inputs of frame `number` of a video.
    pub fn inputs(&self, video: &str, number: i64) -> Result<RuntimeInputs> {
        let facts = Arc::new(VideoMetadata {
            frame_number: number,
            fps: Some(25.0),
            comes_from_video_file: Some(true),
            ..VideoMetadata::synthetic(video.into(), Timestamp::from_unix_micros(number * 40_000))
        });
        let picture = |shift: usize| -> Result<Image> {
            let pixels = self.pixels(number as usize % 4 + shift);
            let image = Image::new(pixels.context("a picture")?, "image".into());
            Ok(image.with_video(Some(facts.clone())))
        };
        let (image, neighbour) = (picture(0)?, picture(self.size[0] / 3)?);
        let objects = self.detections(number, 0.0, &image);
        let others = self.detections(number, 3.0, &image);
        let count = objects.len();
        let label = |i: usize| {
            let class = CLASSES[i % CLASSES.len()];
            Value::from_json(&json!({
                "image": {"width": self.size[0], "height": self.size[1]},
                "predictions": [{"class": class, "class_id": i % CLASSES.len(), "confidence": 0.9}],
                "top": class, "confidence": 0.9, "prediction_type": "classification",
                "parent_id": "image", "root_parent_id": "image", "inference_id": "x",
            }))
        };
        let sentences: Vec<Json> = (0..count)
            .map(|i| {
                json!({"x_min": 0.1, "y_min": 0.1, "x_max": 0.3, "y_max": 0.4,
                            "class_name": CLASSES[i % CLASSES.len()], "confidence": 0.8})
            })
            .collect();
        let answer = json!({"detections": sentences, "class_name": "person", "confidence": 0.7});
        let groups = (0..count).map(|row| objects.take(&[row]).into()).collect();
        let vector = (0..512).map(|i| Value::Float(f64::from((i * 7 + number as i32) % 13) - 6.0));
        let anomalies = Array::floats(
            vec![self.size[1] / 8, self.size[0] / 8],
            (0..self.size[1] / 8 * (self.size[0] / 8))
                .map(|i| (i % 17) as f64)
                .collect(),
        );
        let slices = self.slices(&objects, &image);
        Ok([
            ("image", image.into()),
            ("neighbour", neighbour.into()),
            ("video", Value::Video(facts)),
            ("objects", objects.into()),
            ("others", others.into()),
            ("slices", Value::list(vec![Value::list(slices)])),
            (
                "labels",
                Value::list(vec![Value::list((0..count).map(label).collect())]),
            ),
            ("label", label(0)),
            ("answer", answer.to_string().into()),
            ("groups", Value::list(groups)),
            ("embedding", Value::list(vector.collect())),
            ("anomalies", Value::Array(Arc::new(anomalies))),
            ("number", number.into()),
        ]
        .into_iter()
        .map(|(name, value): (&str, Value)| (name.to_owned(), RuntimeInput::Value(value)))
        .collect())
    }

    /// A picture with structure at every scale, moved to the left by `shift` pixels.
    fn pixels(&self, shift: usize) -> Option<Matrix> {
        let [width, height] = self.size;
        let mut data = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in shift..width + shift {
                let block =
                    (x / 24).wrapping_mul(2_654_435_761) ^ (y / 24).wrapping_mul(40_503_121);
                let fine = (x * 31 + y * 17) % 23;
                let base = (block >> 7) % 200;
                data.extend([base + fine, (base * 3 + fine) % 255, 255 - base].map(|v| v as u8));
            }
        }
        Matrix::new(width, height, 3, data)
    }

    /// The corners of the objects: upright as people are, on a grid, taller than its cells, each with its
    /// own way.
    fn boxes(&self, number: i64, offset: f64) -> Vec<[f64; 4]> {
        let [width, height] = self.size.map(|v| v as f64);
        let side = (self.objects as f64).sqrt().ceil();
        let (cell_w, cell_h) = (width / side, height / side);
        let t = number as f64;
        (0..self.objects)
            .map(|i| {
                let (column, row) = (i as f64 % side, (i as f64 / side).floor());
                let phase = i as f64 * 0.7 + t / ROUND as f64 * std::f64::consts::TAU;
                let x = (column + 0.5) * cell_w + phase.sin() * cell_w * 0.3 + offset;
                let y = (row + 0.5) * cell_h + phase.cos() * cell_h * 0.3 + offset;
                let (w, h) = (cell_w * 0.3, cell_h * 0.7);
                [
                    (x - w).max(0.0),
                    (y - h).max(0.0),
                    (x + w).min(width),
                    (y + h).min(height),
                ]
            })
            .collect()
    }

    fn detections(&self, number: i64, offset: f64, image: &Image) -> Detections {
        let boxes = self.boxes(number, offset);
        let rows = 0..boxes.len();
        let ids = rows.clone().map(|i| i as i64 + number * self.churn);
        let texts = |text: &dyn Fn(usize) -> String| -> Vec<Value> {
            rows.clone().map(|i| text(i).into()).collect()
        };
        let mut set = Detections {
            masks: self
                .masks
                .then(|| Arc::new(boxes.iter().map(|b| self.ellipse(b)).collect())),
            confidence: Some(Arc::new(
                rows.clone()
                    .map(|i| 0.95 - 0.3 * i as f64 / self.objects as f64)
                    .collect(),
            )),
            class_id: Some(Arc::new(
                rows.clone().map(|i| (i % CLASSES.len()) as i64).collect(),
            )),
            tracker_id: Some(Arc::new(ids.collect())),
            xyxy: Arc::new(boxes),
            ..Detections::default()
        };
        set.set_column(
            column::CLASS_NAME,
            texts(&|i| CLASSES[i % CLASSES.len()].to_owned()),
        );
        set.set_column(
            column::DETECTION_ID,
            texts(&|i| format!("{offset}-{number}-{i}")),
        );
        set.fill_column(column::PREDICTION_TYPE, "object-detection".into());
        set.fill_column(column::INFERENCE_ID, "inference".into());
        let points = |i: usize| {
            let [x1, y1, x2, y2] = set.xyxy[i];
            let corners = [[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
            Value::from_json(&json!(corners))
        };
        let keypoints: Vec<Value> = rows.clone().map(points).collect();
        set.set_column(column::KEYPOINTS_XY, keypoints);
        set.fill_column(
            column::KEYPOINTS_CONFIDENCE,
            Value::from_json(&json!([0.9, 0.8, 0.7, 0.6])),
        );
        set.fill_column(
            column::KEYPOINTS_CLASS_ID,
            Value::from_json(&json!([0, 1, 2, 3])),
        );
        set.fill_column(
            column::KEYPOINTS_CLASS_NAME,
            Value::from_json(&json!(["a", "b", "c", "d"])),
        );
        set.attach_image(image);
        set
    }

    /// An ellipse that fills a box.
    fn ellipse(&self, corners: &[f64; 4]) -> Mask {
        let [x1, y1, x2, y2] = corners.map(|v| v as usize);
        let (w, h) = (x2.saturating_sub(x1), y2.saturating_sub(y1));
        let inside = |i: usize| {
            let x = 2.0 * ((i % w) as f64 + 0.5) / w as f64 - 1.0;
            let y = 2.0 * ((i / w) as f64 + 0.5) / h as f64 - 1.0;
            u8::from(x * x + y * y <= 1.0)
        };
        let bits: Vec<u8> = (0..w * h).map(inside).collect();
        Mask::from_window(self.size[0], self.size[1], [x1, y1, w, h], &bits)
    }

    /// The objects as they would be found on overlapping slices of the image.
    fn slices(&self, objects: &Detections, image: &Image) -> Vec<Value> {
        let [width, height] = self.size.map(|v| v / SLICES);
        let mut sets = Vec::new();
        for slice in 0..SLICES * SLICES {
            let (x, y) = (slice % SLICES * width, slice / SLICES * height);
            let inside = |row: usize| {
                let [cx, cy] = objects.center(row).map(|v| v as usize);
                let near =
                    |v: usize, start: usize, len: usize| v + len / 8 >= start && v < start + len;
                near(cx, x, width) && near(cy, y, height)
            };
            let mut set = objects.filter(inside);
            if set.is_empty() {
                sets.push(Detections::empty().into());
                continue;
            }
            let moved = set.xyxy.iter().map(|b| {
                let (dx, dy) = (x as f64, y as f64);
                [b[0] - dx, b[1] - dy, b[2] - dx, b[3] - dy]
            });
            set.xyxy = Arc::new(moved.collect());
            set.masks = set.masks.map(|masks| {
                let cut = masks
                    .iter()
                    .map(|m| m.cut(x as i64, y as i64, width, height));
                Arc::new(cut.collect())
            });
            let slice = image.cropped(
                image.pixels().cut(x, y, width, height),
                "slice".into(),
                x as i64,
                y as i64,
                true,
            );
            set.attach_image(&slice);
            sets.push(set.into());
        }
        sets
    }
}

/// Fails if the same block is told twice over, or a block that there is none of.
pub fn check_steps(known: &[&str]) -> Result<()> {
    let all: Map<String, Json> = serde_json::from_str(include_str!("steps.json"))?;
    for name in all.keys() {
        let full = format!("roboflow_core/{name}");
        if !known
            .iter()
            .any(|k| *k == full || k.starts_with(&format!("{full}@")))
        {
            bail!("steps.json tells of a block that there is none of: {name}");
        }
    }
    Ok(())
}
