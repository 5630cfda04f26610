//! Recorded answers of the reference, and small networks' answers written out by hand.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::Value as Json;

use super::layout::{Layout, read};
use super::nms::Candidate;
use super::*;
use crate::clock::ManualClock;
use crate::models::prepare::Placement;
use crate::models::{ModelStore, RuntimeSettings};
use crate::values::Matrix;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn store() -> &'static ModelStore {
    static STORE: OnceLock<ModelStore> = OnceLock::new();
    STORE.get_or_init(|| {
        let clock = Arc::new(ManualClock::default());
        ModelStore::open(fixtures().join("models"), RuntimeSettings::default(), clock).unwrap()
    })
}

fn frame(name: &str) -> Image {
    let path = fixtures().join(format!("golden/frames/{name}.png"));
    let picture = image::open(path).unwrap().into_rgb8();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let bgr = picture.pixels().flat_map(|p| [p[2], p[1], p[0]]).collect();
    Image::new(Matrix::new(width, height, 3, bgr).unwrap(), name.into())
}

fn params(json: &Json) -> DetectParams {
    let filter = json["class_filter"].as_array().map(|names| {
        let name = |name: &Json| Arc::from(name.as_str().unwrap());
        names.iter().map(name).collect()
    });
    DetectParams {
        confidence: Confidence::Value(json["confidence"].as_f64().unwrap_or(0.4)),
        iou_threshold: json["iou_threshold"].as_f64().unwrap_or(0.3),
        max_detections: json["max_detections"].as_u64().unwrap_or(300) as usize,
        class_agnostic_nms: json["class_agnostic_nms"].as_bool().unwrap_or(false),
        class_filter: filter,
    }
}

/// What differs from the recorded predictions: boxes by more than a pixel, scores by more than
/// 0.001, classes or the order at all.
fn differences(found: &Detections, recorded: &Json) -> Vec<String> {
    let recorded = recorded.as_array().unwrap();
    if recorded.len() != found.len() {
        return vec![format!("{} boxes, not {}", found.len(), recorded.len())];
    }
    let scores = found.confidence.as_ref().unwrap();
    let mut wrong = Vec::new();
    for (row, want) in recorded.iter().enumerate() {
        let [x1, y1, x2, y2] = found.xyxy[row];
        let got = [(x1 + x2) / 2.0, (y1 + y2) / 2.0, x2 - x1, y2 - y1];
        for (name, got) in ["x", "y", "width", "height"].into_iter().zip(got) {
            let want = want[name].as_f64().unwrap();
            if (got - want).abs() > 1.0 {
                wrong.push(format!("row {row}: {name} {got}, not {want}"));
            }
        }
        let score = want["confidence"].as_f64().unwrap();
        if (scores[row] - score).abs() > 0.001 {
            wrong.push(format!(
                "row {row}: confidence {}, not {score}",
                scores[row]
            ));
        }
        if found.class_name(row).map(|name| &**name) != want["class"].as_str() {
            wrong.push(format!("row {row}: class {:?}", found.class_name(row)));
        }
    }
    wrong
}

/// Compares a model with all recorded answers of the reference.
fn compare(file: &str, at_least: usize) {
    let path = fixtures().join(format!("golden/{file}.json"));
    let cases: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut boxes = 0;
    for case in &cases {
        let detector = store()
            .detector(case["model_id"].as_str().unwrap())
            .unwrap();
        let image = frame(case["frame"].as_str().unwrap());
        let found = detector
            .detect(&[image], &params(&case["parameters"]))
            .unwrap();
        let recorded = &case["answer"]["predictions"]["predictions"];
        let wrong = differences(&found[0], recorded);
        assert!(
            wrong.is_empty(),
            "{} {}: {wrong:#?}",
            case["frame"],
            case["parameters"]
        );
        boxes += found[0].len();
    }
    assert!(boxes >= at_least, "{boxes}");
}

#[test]
fn yolo_v8_answers_as_recorded() {
    compare("coco-nano-2", 40);
    compare("coco-nano-1", 15);
}

#[test]
fn yolo_v8_with_a_fixed_batch_and_stretched_input_answers_as_recorded() {
    compare("coco-fast-1", 20);
}

#[test]
fn yolo_v5_answers_as_recorded() {
    compare("coco-nano-5", 15);
}

#[test]
fn finished_boxes_are_as_recorded() {
    compare("coco-nano-10", 10);
    compare("coco-nano-26", 10);
}

#[test]
fn rf_detr_answers_as_recorded() {
    compare("coco-nano-38", 10);
}

#[test]
fn a_model_of_our_own_answers_as_recorded() {
    compare("shapes-1", 4);
}
