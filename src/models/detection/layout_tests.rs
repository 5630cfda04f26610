//! Networks' answers written out by hand, and the boxes that the reference reads from them.

use super::layout::{Layout, read};
use super::nms::Candidate;
use super::{Confidence, DetectParams, Thresholds, classes};
use crate::models::config::{InferenceConfig, PostProcessing, PostProcessingKind};
use crate::models::prepare::{Placement, Preparation, Resizer};
use crate::models::weights::Tensor;
use crate::values::{Image, Matrix};

const LOOSE: Layout = Layout::EndToEnd {
    inclusive: true,
    limited: false,
};

fn tensor<'a>(shape: &[usize], data: &'a [f32]) -> Tensor<'a> {
    assert_eq!(shape.iter().product::<usize>(), data.len());
    Tensor {
        shape: shape.to_vec(),
        data,
    }
}

fn nms(fused: bool) -> Option<PostProcessing> {
    Some(PostProcessing {
        kind: PostProcessingKind::Nms,
        fused,
    })
}

/// Where an image of 150 × 100 lies in an input of 64 × 64.
fn placement(mode: &str, resizer: Resizer) -> Placement {
    let text = format!(
        r#"{{"network_input": {{"training_input_size": {{"height": 64, "width": 64}},
        "color_mode": "rgb", "resize_mode": "{mode}", "scaling_factor": 255}}}}"#
    );
    let config: InferenceConfig = serde_json::from_str(&text).unwrap();
    let input = &config.network_input;
    let changes = Default::default();
    let preparation =
        Preparation::new(input, &changes, input.training_input_size, resizer).unwrap();
    let image = Image::new(Matrix::filled(150, 100, &[0; 3]), "image".into());
    let mut planes = vec![0.0; preparation.floats()];
    preparation.write(&image, &mut planes).unwrap()
}

fn found(
    layout: Layout,
    outputs: &[Tensor<'_>],
    params: &DetectParams,
    placement: &Placement,
) -> Vec<Candidate> {
    let thresholds = Thresholds::new(params.confidence, 0.4, None, &[]);
    let channels = [Some(0), Some(1)];
    read(layout, outputs, &thresholds, params, &channels, placement).unwrap()
}

/// Boxes in the image, class and score of each candidate.
fn boxes(found: &[Candidate], placement: &Placement) -> Vec<([f64; 4], usize, f32)> {
    let row = |c: &Candidate| (placement.to_image(c.corners), c.class, c.score);
    found.iter().map(row).collect()
}

/// The five anchors of specification section 6, a column each.
const COLUMNS: [f32; 30] = [
    32.0, 33.0, 33.0, 10.5, 60.0, // cx
    32.0, 32.0, 32.0, 10.5, 60.0, // cy
    20.0, 20.0, 20.0, 5.0, 20.0, // w
    10.0, 10.0, 10.0, 5.0, 20.0, // h
    0.9, 0.8, 0.1, 0.4, 0.3, // a
    0.1, 0.1, 0.7, 0.1, 0.5, // b
];

#[test]
fn anchor_columns_give_the_references_boxes() {
    let output = [tensor(&[6, 5], &COLUMNS)];
    let params = DetectParams::default();
    let stretch = placement("stretch", Resizer::OpenCv);
    let all = found(Layout::AnchorColumns, &output, &params, &stretch);
    assert_eq!(
        boxes(&all, &stretch),
        [
            ([52.0, 42.0, 98.0, 58.0], 0, 0.9),
            ([54.0, 42.0, 101.0, 58.0], 1, 0.7),
            ([117.0, 78.0, 150.0, 100.0], 1, 0.5),
        ],
        "a score equal to the threshold does not pass"
    );
    let agnostic = DetectParams {
        class_agnostic_nms: true,
        ..params.clone()
    };
    let all = found(Layout::AnchorColumns, &output, &agnostic, &stretch);
    assert_eq!(all.iter().map(|c| c.score).collect::<Vec<_>>(), [0.9, 0.5]);
    let letterbox = placement("letterbox", Resizer::OpenCv);
    let all = found(Layout::AnchorColumns, &output, &params, &letterbox);
    assert_eq!(
        boxes(&all, &letterbox),
        [
            ([52.0, 38.0, 98.0, 61.0], 0, 0.9),
            ([54.0, 38.0, 101.0, 61.0], 1, 0.7),
            ([117.0, 91.0, 150.0, 100.0], 1, 0.5),
        ]
    );
}

#[test]
fn anchor_rows_pass_by_objectness_and_report_the_class() {
    let rows = [
        32.0, 32.0, 20.0, 10.0, 0.5, 0.1, 0.2, // passes with a low class score
        60.0, 60.0, 20.0, 20.0, 0.3, 0.9, 0.1, // falls for want of objectness
    ];
    let output = [tensor(&[2, 7], &rows)];
    let stretch = placement("stretch", Resizer::OpenCv);
    let all = found(
        Layout::AnchorRows,
        &output,
        &DetectParams::default(),
        &stretch,
    );
    assert_eq!(boxes(&all, &stretch), [([52.0, 42.0, 98.0, 58.0], 1, 0.2)]);
}

#[test]
fn finished_boxes_differ_in_threshold_and_limit() {
    let rows = [
        0.0, 0.0, 8.0, 8.0, 0.4, 1.0, //
        0.0, 0.0, 8.0, 8.0, 0.9, 0.0, //
        0.0, 0.0, 8.0, 8.0, 0.8, 0.0, //
        0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
    ];
    let output = [tensor(&[4, 6], &rows)];
    let stretch = placement("stretch", Resizer::OpenCv);
    let two = DetectParams {
        max_detections: 1,
        ..DetectParams::default()
    };
    let scores = |layout| {
        let all = found(layout, &output, &two, &stretch);
        all.iter().map(|c| c.score).collect::<Vec<_>>()
    };
    assert_eq!(
        scores(LOOSE),
        [0.4, 0.9, 0.8],
        "no limit, the tensor's order"
    );
    assert_eq!(scores(Layout::of("yolov10", None).unwrap()), [0.9]);
}

#[test]
fn object_queries_give_the_references_boxes() {
    let corners = [
        0.5, 0.5, 0.25, 0.25, //
        0.2, 0.2, 0.1, 0.1, //
        0.8, 0.8, 0.5, 0.5,
    ];
    let logits = [2.0, 1.0, -9.0, -3.0, 0.0, 9.0, -0.2, -5.0, -9.0];
    let outputs = [tensor(&[3, 4], &corners), tensor(&[3, 3], &logits)];
    let place = placement("stretch", Resizer::Pillow);
    let params = DetectParams::default();
    let all = found(Layout::Queries, &outputs, &params, &place);
    let centred = [56.0, 38.0, 94.0, 62.0];
    assert_eq!(
        boxes(&all, &place),
        [(centred, 0, 0.880_797), (centred, 1, 0.731_058_6)],
        "the third channel is no class"
    );
    let removal = serde_json::from_str(r#"[{"type": "class_name_removal", "class_name": "bg"}]"#);
    let names = ["bg", "a", "b"].map(Into::into).to_vec();
    let (kept, channels) = classes(names, Some(&removal.unwrap() as &Vec<_>));
    assert_eq!(kept.len(), 2);
    let thresholds = Thresholds::new(Confidence::Value(0.4), 0.4, None, &kept);
    let all = read(
        Layout::Queries,
        &outputs,
        &thresholds,
        &params,
        &channels,
        &place,
    )
    .unwrap();
    assert_eq!(
        boxes(&all, &place),
        [
            ([22.0, 15.0, 38.0, 25.0], 1, 0.999_876_6),
            (centred, 0, 0.731_058_6)
        ]
    );
}

#[test]
fn boxes_in_several_outputs_are_joined_by_row() {
    let corners = [0.0, 0.0, 8.0, 8.0, 20.0, 20.0, 40.0, 40.0];
    let scores = [0.1, 0.7, 0.3, 0.2];
    let place = placement("stretch", Resizer::OpenCv);
    let params = DetectParams::default();
    let outputs = [tensor(&[2, 4], &corners), tensor(&[2, 2], &scores)];
    let nas = found(Layout::BoxesAndScores, &outputs, &params, &place);
    assert_eq!((nas.len(), nas[0].class, nas[0].score), (1, 1, 0.7));
    let objects = [9.0, -9.0];
    let logits = [0.0, 2.0, 9.0, 9.0];
    let outputs = [
        tensor(&[2, 4], &corners),
        tensor(&[2, 1], &objects),
        tensor(&[2, 2], &logits),
    ];
    let lite = found(Layout::BoxesAndLogits, &outputs, &params, &place);
    assert_eq!((lite.len(), lite[0].class), (1, 1));
    assert!((lite[0].score - 0.880_68).abs() < 1e-4, "{}", lite[0].score);
}

#[test]
fn an_architecture_and_its_post_processing_must_fit() {
    assert_eq!(Layout::of("yolov8", nms(true)), Ok(LOOSE));
    assert_eq!(Layout::of("yolov12", nms(false)), Ok(Layout::AnchorColumns));
    for (architecture, post, said) in [
        ("yolov8", None, "missing"),
        ("yolo-nas", nms(true), "fused"),
        ("resnet", nms(false), "`resnet`"),
    ] {
        let error = Layout::of(architecture, post).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn an_answer_of_another_shape_is_an_error() {
    let place = placement("stretch", Resizer::OpenCv);
    let thresholds = Thresholds::new(Confidence::Default, 0.4, None, &[]);
    let params = DetectParams::default();
    for layout in [
        Layout::AnchorColumns,
        Layout::AnchorRows,
        LOOSE,
        Layout::Queries,
    ] {
        let flat = [tensor(&[6], &[0.0; 6])];
        assert!(read(layout, &flat, &thresholds, &params, &[], &place).is_err());
        let narrow = [tensor(&[2, 3], &[0.0; 6]), tensor(&[2, 3], &[0.0; 6])];
        assert!(read(layout, &narrow, &thresholds, &params, &[], &place).is_err());
        assert!(read(layout, &[], &thresholds, &params, &[], &place).is_err());
    }
}
