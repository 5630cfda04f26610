//! Makes boxes of what a language model said.
//!
//! # Inputs and outputs
//! `vlm_output`, text with JSON about `image` in the manner of the model `model_type` for
//! `task_type`, and `classes` → `predictions`, boxes in pixels of the image; `inference_id`, new
//! each time; `error_status`. How each family writes boxes stands in [`dialects`] and [`florence`].
//!
//! # State
//! None.
//!
//! # Edge cases
//! Classes that are not among `classes` have the id -1. What cannot be understood sets
//! `error_status` and leaves `predictions` empty; it never fails the step. A list without entries is
//! a good answer: no boxes.

mod dialects;
mod florence;

use std::collections::HashMap;
use std::sync::Arc;

use super::answer;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, OutputSpec, StepProblem,
    Ty, output,
};
use crate::definition::step::Step;
use crate::row;
use crate::values::detections::{column, new_id};
use crate::values::{Array, Detections, Image, Kind, Value, kind, python};

const DETECTION: &str = "object-detection";
const FLORENCE: &str = "florence-2";

/// `roboflow_core/vlm_as_detector@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &["roboflow_core/vlm_as_detector@v1"],
    fields: &fields(
        &[Ty::OneOf(&["google-gemini", "anthropic-claude", FLORENCE])],
        CLASSES_FOR_V1,
    ),
    outputs: &outputs(&[kind::STRING]),
    build: |_, _| Ok(Box::new(VlmAsDetector { first: true })),
    ..V2
};

/// `roboflow_core/vlm_as_detector@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/vlm_as_detector@v2"],
    name: "VLM As Detector",
    family: Family::Formatter,
    stateless: true,
    about: "Makes boxes of what a language model said.",
    fields: &fields(
        &[Ty::OneOf(&[
            "openai",
            "google-gemini",
            "anthropic-claude",
            "spacexai",
            "qwen",
            "muse",
            "zai",
            "zai-flash",
            FLORENCE,
        ])],
        CLASSES_FOR_V2,
    ),
    outputs: &outputs(&[kind::INFERENCE_ID]),
    check: Some(check),
    build: |_, _| Ok(Box::new(VlmAsDetector { first: false })),
    ..BlockSpec::DEFAULT
};

const CLASSES_FOR_V1: &str = r#"{
    "relevant_for": {"model_type": {"required": true, "values": ["google-gemini", "anthropic-claude"]}}
}"#;
const CLASSES_FOR_V2: &str = r#"{
    "relevant_for": {
        "model_type": {
            "required": true,
            "values": [
                "openai", "google-gemini", "anthropic-claude", "spacexai", "qwen", "muse",
                "zai", "zai-flash"
            ]
        }
    }
}"#;
const TASK_NAMES: &str = r#"{
    "values_metadata": {
        "object-detection": {"name": "Unprompted Object Detection"},
        "object-detection-and-caption": {"name": "Detection & Captioning"},
        "ocr-with-text-detection": {"name": "Text Detection & Recognition (OCR)"},
        "open-vocabulary-object-detection": {"name": "Object Detection"},
        "phrase-grounded-object-detection": {"name": "Prompted Object Detection"},
        "region-proposal": {"name": "Regions of Interest proposal"}
    }
}"#;

const CLASSES: &[Ty] = &[
    Ty::Selector(&[kind::LIST_OF_VALUES]),
    Ty::List(&[Ty::Str]),
    Ty::Null,
];

const OPEN_VOCABULARY: &str = "open-vocabulary-object-detection";
const TASKS: &[Ty] = &[Ty::OneOf(&[
    OPEN_VOCABULARY,
    "ocr-with-text-detection",
    "phrase-grounded-object-detection",
    "object-detection-and-caption",
    "region-proposal",
    DETECTION,
])];

/// The fields, for these models; `classes_for` says for which of them classes matter.
const fn fields(models: &'static [Ty], classes_for: &'static str) -> [Field; 5] {
    [
        Field::required("image", &[Ty::Selector(&[kind::IMAGE])]).about("What was looked at."),
        Field::required(
            "vlm_output",
            &[Ty::Selector(&[kind::LANGUAGE_MODEL_OUTPUT])],
        )
        .about("What the model said."),
        Field::required("classes", CLASSES)
            .about("The classes in the order of their ids.")
            .extra(classes_for),
        Field::required("model_type", models).about("The model's way of writing boxes."),
        Field::required("task_type", TASKS)
            .about("What the model was asked for.")
            .extra(TASK_NAMES),
    ]
}

const fn outputs(inference_id: &'static [Kind]) -> [OutputSpec; 3] {
    [
        output("error_status", &[kind::BOOLEAN]),
        output("predictions", &[kind::OBJECT_DETECTION]),
        output("inference_id", inference_id),
    ]
}

fn check(step: &Step) -> Vec<StepProblem> {
    let (Some(model), Some(task)) = (step.text("model_type"), step.text("task_type")) else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    if model != FLORENCE && task != DETECTION {
        problems.push(StepProblem {
            field: Some("task_type"),
            message: format!("results of task {task} cannot be read for model {model}"),
        });
    }
    if model != FLORENCE && step.literal("classes").is_some_and(|v| v.is_null()) {
        problems.push(StepProblem {
            field: Some("classes"),
            message: format!("a list of classes is needed for every model but {FLORENCE}"),
        });
    }
    problems
}

/// A box that a model named.
struct Named {
    xyxy: [f64; 4],
    class: String,
    /// The id, where it is not the place among the classes.
    class_id: Option<i64>,
    confidence: f64,
    /// Four corners of a turned box.
    corners: Option<[f64; 8]>,
}

struct VlmAsDetector {
    /// Whether this is the first version of the block, with its own dialects.
    first: bool,
}

impl Block for VlmAsDetector {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let image = inputs.image("image")?;
        let classes = inputs.optional("classes", Inputs::list)?;
        let model = inputs.text("model_type")?;
        let task = inputs.text("task_type")?;
        // Only this task of Florence looks its names up among the classes.
        let unreadable = model == FLORENCE && task == OPEN_VOCABULARY && classes.is_none();
        let id = new_id();
        let said = inputs.value("vlm_output").as_str();
        let size = [image.width() as f64, image.height() as f64];
        let said = said.filter(|_| !unreadable);
        let boxes = said.and_then(|text| match (model, self.first) {
            (FLORENCE, _) => florence::boxes(&answer::read(text)?, task),
            ("anthropic-claude", true) => dialects::boxes("google-gemini", text, size),
            _ => dialects::boxes(model, text, size),
        });
        let failed = boxes.is_none();
        let predictions =
            boxes.map(|boxes| detections(&boxes, classes.unwrap_or_default(), image, &id));
        Ok(Output::One(row![failed, predictions, id]))
    }
}

fn detections(boxes: &[Named], classes: &[Value], image: &Image, id: &Arc<str>) -> Detections {
    // The last of several equal classes gives the id.
    let places: HashMap<String, i64> = classes.iter().map(python::to_str).zip(0..).collect();
    let place = |class: &str| places.get(class).copied().unwrap_or(-1);
    let ids = boxes
        .iter()
        .map(|b| b.class_id.unwrap_or_else(|| place(&b.class)));
    let mut set = Detections {
        xyxy: Arc::new(boxes.iter().map(|b| b.xyxy).collect()),
        confidence: Some(Arc::new(boxes.iter().map(|b| b.confidence).collect())),
        class_id: Some(Arc::new(ids.collect())),
        ..Detections::default()
    };
    let texts = |text: fn(&Named) -> Value| boxes.iter().map(text).collect::<Vec<_>>();
    if !boxes.is_empty() {
        set.set_column(column::CLASS_NAME, texts(|b| b.class.as_str().into()));
        set.fill_column(column::INFERENCE_ID, id.clone().into());
        set.set_column(column::DETECTION_ID, texts(|_| new_id().into()));
        set.fill_column(column::PREDICTION_TYPE, DETECTION.into());
    }
    if boxes.iter().any(|b| b.corners.is_some()) {
        let corners = boxes.iter().map(|b| {
            let points = b.corners.unwrap_or_default().to_vec();
            Value::Array(Arc::new(Array::floats(vec![4, 2], points)))
        });
        set.set_column(column::ORIENTED_BOX, corners.collect());
    }
    set.attach_image(image);
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{Host, problems, values};
    use crate::values::Matrix;
    use serde_json::{Value as Json, json};

    fn run(spec: &'static BlockSpec, model: &str, said: &str) -> (Value, Value) {
        let image = Image::new(Matrix::filled(160, 120, &[0; 3]), "image".into());
        let given = [
            ("image", image.into()),
            ("vlm_output", said.into()),
            ("classes", Value::from_json(&json!(["cat", "dog"]))),
            ("model_type", model.into()),
            ("task_type", DETECTION.into()),
        ];
        let values = values(spec, &given);
        let host = Host::default();
        let mut block = VlmAsDetector {
            first: spec.type_id() == V1.type_id(),
        };
        match block.run(&Inputs::new(spec, &values), &host.cx(&Arc::default())) {
            Ok(Output::One(row)) => (row[0].clone(), row[1].clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn boxes_carry_what_other_detections_carry() {
        // Recorded case vlm_as_detector_v2_openai_object_detection.
        let said = r#"[{"box_2d": [10, 20, 50, 80], "label": "cat", "confidence": 0.5},
                       {"box_2d": [-5, 0, 1000, 60], "class_name": "yak"}]"#;
        let (failed, predictions) = run(&V2, "openai", said);
        assert_eq!(failed.as_bool(), Some(false));
        let set = predictions.as_detections().unwrap();
        assert_eq!(
            *set.xyxy,
            [[10.0, 20.0, 50.0, 80.0], [0.0, 0.0, 160.0, 60.0]]
        );
        assert_eq!(set.class_id.as_deref(), Some(&vec![0, -1]));
        assert_eq!(set.confidence.as_deref(), Some(&vec![0.5, 1.0]));
        assert_eq!(
            set.cell(column::PARENT_ID, 0).and_then(Value::as_str),
            Some("image")
        );
        assert!(set.detection_id(0) != set.detection_id(1));
    }

    #[test]
    fn of_equal_classes_the_last_gives_the_id() {
        let boxes = [Named {
            xyxy: [0.0; 4],
            class: "cat".into(),
            class_id: None,
            confidence: 1.0,
            corners: None,
        }];
        let image = Image::new(Matrix::filled(16, 12, &[0; 3]), "image".into());
        let classes = ["cat", "dog", "cat"].map(Value::from);
        let set = detections(&boxes, &classes, &image, &"id".into());
        assert_eq!(set.class_id.as_deref(), Some(&vec![2]));
    }

    #[test]
    fn no_boxes_keep_the_size_of_the_image() {
        let (failed, predictions) = run(&V2, "qwen", "[]");
        assert_eq!(failed.as_bool(), Some(false));
        let set = predictions.as_detections().unwrap();
        assert!(set.is_empty() && set.metadata.contains_key(column::IMAGE_DIMENSIONS));
        let (failed, predictions) = run(&V2, "qwen", "nonsense");
        assert!(failed.as_bool() == Some(true) && predictions.is_none());
    }

    #[test]
    fn version_one_reads_claude_as_gemini() {
        let said = r#"[{"box_2d": [100, 200, 500, 800], "label": "cat"}]"#;
        for model in ["anthropic-claude", "google-gemini"] {
            let (_, predictions) = run(&V1, model, said);
            assert_eq!(
                predictions.as_detections().unwrap().xyxy[0],
                [32.0, 12.0, 128.0, 60.0]
            );
        }
    }

    #[test]
    fn tasks_and_classes_must_suit_the_model() {
        let of = |model: &str, task: &str, classes: Json| {
            let fields = json!({"image": "$inputs.i", "vlm_output": "$inputs.t", "classes": classes,
                                "model_type": model, "task_type": task});
            problems(&V2, fields).len()
        };
        assert_eq!(of("openai", "region-proposal", json!(["a"])), 1);
        assert_eq!(of("openai", DETECTION, json!(null)), 1);
        assert_eq!(of(FLORENCE, "region-proposal", json!(null)), 0);
        assert_eq!(of("openai", DETECTION, json!("$inputs.c")), 0);
    }
}
