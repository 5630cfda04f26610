//! Real packages against recorded answers of the reference, and batches of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde_json::Value as Json;

use super::*;
use crate::clock::ManualClock;
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

/// Boxes and scores without the random identifiers.
fn plain(found: &Detections) -> (Vec<[f64; 4]>, Vec<f64>) {
    (
        found.xyxy.to_vec(),
        found.confidence.as_ref().unwrap().to_vec(),
    )
}

#[test]
fn a_batch_answers_as_its_images_alone() {
    let [one, two] = ["pedestrians_200", "retail_075"].map(frame);
    // Both chunk: the first runs image by image, the second takes eight at once.
    for id in ["coco-fast/1", "coco-nano/2"] {
        let detector = store().detector(id).unwrap();
        let params = DetectParams::default();
        let alone = [&one, &two].map(|image| {
            let found = detector
                .detect(std::slice::from_ref(image), &params)
                .unwrap();
            plain(&found[0])
        });
        let many: Vec<Image> = (0..9).map(|i| [&one, &two][i % 2].clone()).collect();
        let found = detector.detect(&many, &params).unwrap();
        assert_eq!(found.len(), 9);
        for (i, found) in found.iter().enumerate() {
            assert_eq!(plain(found), alone[i % 2], "{id}, image {i}");
        }
    }
    assert_eq!(store().detector("coco-fast/1").unwrap().max_batch(), 1);
    assert_eq!(store().detector("coco-nano/2").unwrap().max_batch(), 8);
}

/// Eight callers at once against each alone: what is gathered into batches answers the same. ONNX
/// Runtime computes each row of a batch by itself, but picks its kernels by size, so scores may
/// differ in their last bits.
#[test]
fn callers_in_one_batch_get_what_they_get_alone() {
    let frames = ["pedestrians_200", "retail_075", "shapes_a_125"].map(frame);
    for id in ["coco-nano/2", "coco-fast/1", "shapes/1"] {
        let detector = store().detector(id).unwrap();
        let params = DetectParams::default();
        let detect = |image: &Image| {
            let found = detector.detect(std::slice::from_ref(image), &params);
            plain(&found.unwrap()[0])
        };
        let alone: Vec<_> = frames.iter().map(detect).collect();
        let start = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for caller in 0..8 {
                let (start, frames, alone) = (&start, &frames, &alone);
                scope.spawn(move || {
                    start.wait();
                    for turn in 0..3 {
                        let at = (caller + turn) % frames.len();
                        let (boxes, scores) = detect(&frames[at]);
                        assert_eq!(boxes, alone[at].0, "{id}");
                        assert_eq!(scores.len(), alone[at].1.len());
                        for (score, want) in scores.iter().zip(&alone[at].1) {
                            assert!((score - want).abs() < 1e-5, "{id}: {score}, not {want}");
                        }
                    }
                });
            }
        });
        let figures = detector.weights().batches();
        assert!(figures.largest <= detector.max_batch(), "{id} {figures:?}");
        match detector.max_batch() {
            1 => assert_eq!((figures.shared, figures.fill()), (0, 1.0), "{id}"),
            _ => assert!(
                figures.shared > 0 && figures.fill() > 1.0,
                "{id} {figures:?}"
            ),
        }
    }
}

#[test]
fn prepared_images_can_be_run_and_read_apart() {
    let detector = store().detector("shapes/1").unwrap();
    let image = frame("shapes_a_125");
    let params = DetectParams::default();
    let prepared = detector.prepare(std::slice::from_ref(&image)).unwrap();
    let outputs = detector.infer(&prepared).unwrap();
    let read = detector.read(&outputs, &prepared, &params).unwrap();
    let found = detector.detect(&[image], &params).unwrap();
    assert_eq!(plain(&read[0]), plain(&found[0]));
}

#[test]
fn gray_images_are_taken_and_empty_ones_named() {
    let detector = store().detector("shapes/1").unwrap();
    let gray = Image::new(Matrix::filled(40, 30, &[7]), "gray".into());
    let params = DetectParams::default();
    assert_eq!(
        detector
            .detect(std::slice::from_ref(&gray), &params)
            .unwrap()[0]
            .len(),
        0
    );
    let empty = Image::new(Matrix::filled(0, 30, &[7; 3]), "empty".into());
    let error = detector.detect(&[gray, empty], &params).unwrap_err();
    assert_eq!(error.status(), 400);
    assert!(error.to_string().contains("image 1"), "{error}");
    assert!(detector.detect(&[], &params).unwrap().is_empty());
}

#[test]
fn recommended_thresholds_come_with_the_id() {
    let image = frame("retail_075");
    let best = DetectParams {
        confidence: Confidence::Best,
        ..DetectParams::default()
    };
    let lowest = |id: &str| {
        let found = store()
            .detector(id)
            .unwrap()
            .detect(std::slice::from_ref(&image), &best);
        let scores = found.unwrap()[0].confidence.clone().unwrap();
        scores.iter().copied().fold(1.0, f64::min)
    };
    assert!((0.4..0.55).contains(&lowest("coco-nano/2")));
    assert!(lowest("coco-nano/91") > 0.55);
}
