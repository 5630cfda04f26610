//! Object detection with a model of the model folder.
//!
//! # Inputs and outputs
//! `images`, `model_id` → `inference_id` (one for all images of a run), `predictions` (boxes), and
//! from version 2 on `model_id` as it was given. Version 3 names its threshold by a mode: `best`
//! (what training recommends), `default` (the architecture's) or `custom`.
//!
//! # State
//! None; the model belongs to the process and is loaded when the first image comes.
//!
//! # Edge cases
//! Nothing found gives an empty set that knows its image's place but not its size. An unknown
//! model and one of another task are errors that the client can mend. `max_candidates` and the
//! active learning fields have no effect. `class_filter` is applied after `max_detections`; an
//! empty list filters nothing.

use std::sync::Arc;

use crate::blocks::spec::{Bounds, StepProblem};
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Role, Row, Ty, output,
};
use crate::definition::step::{FieldValue, Step};
use crate::models::{Confidence, DetectParams};
use crate::values::detections::{column, new_id};
use crate::values::{Detections, Image, Value, kind};

const IMAGES: Field = Field::required("images", &[Ty::Selector(&[kind::IMAGE])])
    .alias("image")
    .about("Images to look at.");
const MODEL_ID: Field = Field::required(
    "model_id",
    &[Ty::Selector(&[kind::ROBOFLOW_MODEL_ID]), Ty::Str],
)
.about("The model, e.g. `project/1`.");
const CONFIDENCE: Field = Field::optional(
    "confidence",
    &[
        Ty::FloatIn(Bounds::within(0.0, 1.0)),
        Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
    ],
    "0.4",
)
.about("Boxes with a higher score are kept.");
const CONFIDENCE_MODE: Field = Field::optional(
    "confidence_mode",
    &[Ty::OneOf(MODES), Ty::Selector(&[kind::STRING])],
    "\"best\"",
)
.about("Where the threshold comes from: training, the architecture, or `custom_confidence`.")
.extra(
    r#"{
        "always_visible": true,
        "values_metadata": {
            "best": {"name": "Best (Recommended)"},
            "custom": {"name": "Custom"},
            "default": {"name": "Default"}
        }
    }"#,
);
const CUSTOM_CONFIDENCE: Field = Field::optional(
    "custom_confidence",
    &[
        Ty::FloatIn(Bounds::within(0.0, 1.0)),
        Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
        Ty::Null,
    ],
    "0.4",
)
.about("Threshold of the mode `custom`.")
.extra(r#"{"relevant_for": {"confidence_mode": {"required": true, "values": ["custom"]}}}"#);
const CLASS_FILTER: Field = Field::optional(
    "class_filter",
    &[
        Ty::List(&[Ty::Str]),
        Ty::Selector(&[kind::LIST_OF_VALUES]),
        Ty::Null,
    ],
    "null",
)
.about("Names of the classes to keep; all if empty.");
const IOU_THRESHOLD: Field = Field::optional(
    "iou_threshold",
    &[
        Ty::FloatIn(Bounds::within(0.0, 1.0)),
        Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
    ],
    "0.3",
)
.about("Overlap above which the worse of two boxes is dropped.");
const MAX_DETECTIONS: Field = Field::optional(
    "max_detections",
    &[Ty::IntAbove(0, i64::MAX), Ty::Selector(&[kind::INTEGER])],
    "300",
)
.about("Most boxes of an image.");
const CLASS_AGNOSTIC_NMS: Field = Field::optional(
    "class_agnostic_nms",
    &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN]), Ty::Null],
    "false",
)
.about("Whether boxes of different classes drop each other.");
const MAX_CANDIDATES: Field = Field::optional(
    "max_candidates",
    &[Ty::IntAbove(0, i64::MAX), Ty::Selector(&[kind::INTEGER])],
    "3000",
)
.about("Without effect.");
const DISABLE_ACTIVE_LEARNING: Field = Field::optional(
    "disable_active_learning",
    &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])],
    "true",
)
.about("Without effect.");
const ACTIVE_LEARNING_TARGET: Field = Field::optional(
    "active_learning_target_dataset",
    &[Ty::Selector(&[kind::ROBOFLOW_PROJECT]), Ty::Str, Ty::Null],
    "null",
)
.about("Without effect.");

const MODES: &[&str] = &["best", "default", "custom"];

const BY_NUMBER: &[Field] = &[
    IMAGES,
    MODEL_ID,
    CONFIDENCE,
    CLASS_FILTER,
    IOU_THRESHOLD,
    MAX_DETECTIONS,
    CLASS_AGNOSTIC_NMS,
    MAX_CANDIDATES,
    DISABLE_ACTIVE_LEARNING,
    ACTIVE_LEARNING_TARGET,
];

/// What the three versions have in common.
const COMMON: BlockSpec = BlockSpec {
    name: "Object Detection Model",
    family: Family::Model,
    stateless: true,
    about: "Finds objects with a detection model.",
    fields: BY_NUMBER,
    role: Role::Model,
    batch: &["images"],
    ..BlockSpec::DEFAULT
};

/// `roboflow_core/roboflow_object_detection_model@v1`
pub static V1: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/roboflow_object_detection_model@v1",
        "RoboflowObjectDetectionModel",
        "ObjectDetectionModel",
    ],
    outputs: &[
        output("inference_id", &[kind::STRING]),
        output("predictions", &[kind::OBJECT_DETECTION]),
    ],
    build: |_, _| Ok(Box::new(ObjectDetection(Version::V1))),
    ..COMMON
};

const OUTPUTS_WITH_MODEL: &[crate::blocks::OutputSpec] = &[
    output("inference_id", &[kind::INFERENCE_ID]),
    output("predictions", &[kind::OBJECT_DETECTION]),
    output("model_id", &[kind::ROBOFLOW_MODEL_ID]),
];

/// `roboflow_core/roboflow_object_detection_model@v2`
pub static V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/roboflow_object_detection_model@v2"],
    outputs: OUTPUTS_WITH_MODEL,
    build: |_, _| Ok(Box::new(ObjectDetection(Version::V2))),
    ..COMMON
};

/// `roboflow_core/roboflow_object_detection_model@v3`
pub static V3: BlockSpec = BlockSpec {
    types: &["roboflow_core/roboflow_object_detection_model@v3"],
    fields: &[
        IMAGES,
        MODEL_ID,
        CONFIDENCE_MODE,
        CUSTOM_CONFIDENCE,
        CLASS_FILTER,
        IOU_THRESHOLD,
        MAX_DETECTIONS,
        CLASS_AGNOSTIC_NMS,
        MAX_CANDIDATES,
        DISABLE_ACTIVE_LEARNING,
        ACTIVE_LEARNING_TARGET,
    ],
    outputs: OUTPUTS_WITH_MODEL,
    check: Some(check_mode),
    build: |_, _| Ok(Box::new(ObjectDetection(Version::V3))),
    ..COMMON
};

/// The mode `custom` needs its number.
fn check_mode(step: &Step) -> Vec<StepProblem> {
    let custom = step.text("confidence_mode") == Some("custom");
    let missing = matches!(
        step.field("custom_confidence"),
        FieldValue::Literal(json, _) if json.is_null()
    );
    if !(custom && missing) {
        return Vec::new();
    }
    vec![StepProblem {
        field: Some("custom_confidence"),
        message: "`custom_confidence` is required when `confidence_mode` is 'custom'".into(),
    }]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
    V3,
}

struct ObjectDetection(Version);

impl Block for ObjectDetection {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let params = self.params(inputs)?;
        let batch = inputs.batch("images")?;
        let images: Option<Vec<Image>> =
            batch.items.iter().map(|v| v.as_image().cloned()).collect();
        let images = images.ok_or_else(|| BlockError::failed("field `images` must hold images"))?;
        let model_id = inputs.text("model_id")?;
        let found = cx
            .services
            .models
            .detector_for(model_id, cx.services.api_key.as_ref())?
            .detect_for(cx.claim, &images, &params)?;
        let inference_id = new_id();
        let rows = found.into_iter().zip(&images).map(|(found, image)| {
            let predictions = attributed(found, image, &inference_id);
            let mut row = Row::new();
            row.push(Value::Str(inference_id.clone()));
            row.push(Value::detections(predictions));
            if self.0 != Version::V1 {
                row.push(inputs.value("model_id").clone());
            }
            row
        });
        Ok(Output::Many(rows.collect()))
    }
}

impl ObjectDetection {
    fn params(&self, inputs: &Inputs<'_>) -> Result<DetectParams, BlockError> {
        let names = inputs
            .optional("class_filter", Inputs::list)?
            .unwrap_or_default();
        let filter: Vec<Arc<str>> = names
            .iter()
            .filter_map(|name| name.as_str().map(Arc::from))
            .collect();
        if filter.len() != names.len() {
            let message = "field `class_filter` must hold class names only";
            return Err(BlockError::Input(message.into()));
        }
        let limit = inputs.int("max_detections")?;
        Ok(DetectParams {
            confidence: self.confidence(inputs)?,
            iou_threshold: inputs.float("iou_threshold")?,
            max_detections: usize::try_from(limit)
                .ok()
                .filter(|n| *n > 0)
                .ok_or_else(|| {
                    BlockError::Input(format!(
                        "field `max_detections` must be at least 1, got {limit}"
                    ))
                })?,
            class_agnostic_nms: inputs
                .optional("class_agnostic_nms", Inputs::flag)?
                .unwrap_or(false),
            class_filter: (!filter.is_empty()).then_some(filter),
        })
    }

    fn confidence(&self, inputs: &Inputs<'_>) -> Result<Confidence, BlockError> {
        if self.0 != Version::V3 {
            return Ok(Confidence::Value(inputs.float("confidence")?));
        }
        match inputs.text("confidence_mode")? {
            "best" => Ok(Confidence::Best),
            "default" => Ok(Confidence::Default),
            "custom" => match inputs.optional("custom_confidence", Inputs::float)? {
                Some(value) => Ok(Confidence::Value(value)),
                None => Err(BlockError::Input(
                    "field `custom_confidence` must be a number when `confidence_mode` is `custom`"
                        .into(),
                )),
            },
            other => Err(BlockError::Input(format!(
                "field `confidence_mode` must be one of best, default, custom, got `{other}`"
            ))),
        }
    }
}

/// Boxes with the facts that later steps read off them.
fn attributed(mut found: Detections, image: &Image, inference_id: &Arc<str>) -> Detections {
    found.fill_column(column::INFERENCE_ID, Value::Str(inference_id.clone()));
    found.fill_column(column::PREDICTION_TYPE, "object-detection".into());
    found.attach_image(image);
    if found.is_empty() {
        // An empty answer of this block has no size of its own, only that of its parent.
        found.metadata.shift_remove(column::IMAGE_DIMENSIONS);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Services;
    use crate::blocks::visualizations::common::testing::{services, step};
    use crate::clock::ManualClock;
    use crate::models::{ModelStore, RuntimeSettings};
    use crate::values::{Batch, Matrix, Origin};

    fn with_models() -> Services {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/models");
        let clock = Arc::new(ManualClock::default());
        let store = ModelStore::open(folder, RuntimeSettings::default(), clock).unwrap();
        Services {
            models: Arc::new(store),
            ..services()
        }
    }

    fn shapes() -> Image {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/golden/frames/shapes_a_125.png"
        );
        let picture = image::open(path).unwrap().into_rgb8();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let bgr = picture.pixels().flat_map(|p| [p[2], p[1], p[0]]).collect();
        Image::new(Matrix::new(width, height, 3, bgr).unwrap(), "image".into())
    }

    fn run(
        spec: &'static BlockSpec,
        images: &[Image],
        fields: &[(&str, Value)],
    ) -> Result<Vec<Row>, BlockError> {
        let items: Vec<Value> = images.iter().cloned().map(Value::from).collect();
        let batch = Batch {
            indices: Vec::new(),
            items,
        };
        let mut all = vec![
            ("images", Value::Batch(Arc::new(batch))),
            ("model_id", "shapes/1".into()),
        ];
        all.retain(|(name, _)| fields.iter().all(|(given, _)| given != name));
        all.extend(fields.iter().cloned());
        let (step, values) = step(spec, &all);
        let services = with_models();
        let cx = Context {
            step: "step",
            stream: &"cam".into(),
            services: &services,
            claim: None,
        };
        let mut block = (spec.build)(&step, &services).unwrap();
        match block.run(&Inputs::new(spec, &values), &cx)? {
            Output::Many(rows) => Ok(rows),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn boxes_carry_what_later_steps_read() {
        let image = shapes();
        let crop = Origin {
            id: "crop".into(),
            x: 3,
            y: 4,
            width: 700,
            height: 400,
        };
        let placed = image.with_origins(Arc::new(crop), image.root().clone());
        let rows = run(&V2, &[placed, image], &[]).unwrap();
        let found = rows[0][1].as_detections().unwrap();
        assert_eq!(found.len(), 4);
        let text = |name| found.cell(name, 0).and_then(Value::as_str);
        assert_eq!(text(column::CLASS_NAME), Some("circle"));
        assert_eq!(text(column::PREDICTION_TYPE), Some("object-detection"));
        assert_eq!(text(column::PARENT_ID), Some("crop"));
        assert_eq!(text(column::ROOT_PARENT_ID), Some("image"));
        assert_eq!(text(column::INFERENCE_ID), rows[0][0].as_str());
        let size = found.cell(column::IMAGE_DIMENSIONS, 0).unwrap();
        assert_eq!(size.as_slice().unwrap()[1].as_i64(), Some(640));
        assert_eq!(rows[0][2].as_str(), Some("shapes/1"));
        assert_eq!(rows[0][0].as_str(), rows[1][0].as_str(), "one inference");
        let other = rows[1][1].as_detections().unwrap();
        assert_ne!(found.detection_id(0), other.detection_id(0));
    }

    #[test]
    fn the_first_version_does_not_name_the_model() {
        let rows = run(&V1, &[shapes()], &[]).unwrap();
        assert_eq!(rows[0].len(), V1.outputs.len());
        assert_eq!(rows[0].len(), 2);
    }

    #[test]
    fn an_empty_set_knows_its_place_but_not_its_size() {
        let blank = Image::new(Matrix::filled(64, 48, &[0; 3]), "image".into());
        let rows = run(&V2, &[blank], &[("confidence", Value::Float(0.9))]).unwrap();
        let found = rows[0][1].as_detections().unwrap();
        assert!(found.is_empty());
        assert!(found.metadata.contains_key(column::ROOT_PARENT_DIMENSIONS));
        assert!(!found.metadata.contains_key(column::IMAGE_DIMENSIONS));
    }

    #[test]
    fn classes_are_filtered_after_the_limit() {
        let names = |names: &[&str]| {
            let names = names.iter().map(|name| Value::from(*name)).collect();
            ("class_filter", Value::list(names))
        };
        let count = |fields: &[(&str, Value)]| {
            let rows = run(&V2, &[shapes()], fields).unwrap();
            rows[0][1].as_detections().unwrap().len()
        };
        assert_eq!(count(&[names(&["star"])]), 1);
        assert_eq!(count(&[names(&[])]), 4);
        assert_eq!(
            count(&[names(&["star"]), ("max_detections", Value::Int(1))]),
            0
        );
    }

    #[test]
    fn modes_choose_the_threshold() {
        let count = |mode: &str, number: Value| {
            let fields = [
                ("confidence_mode", mode.into()),
                ("custom_confidence", number),
            ];
            run(&V3, &[shapes()], &fields).map(|rows| rows[0][1].as_detections().unwrap().len())
        };
        assert_eq!(count("custom", Value::Float(0.97)), Ok(2));
        assert_eq!(count("default", Value::Float(0.97)), Ok(4));
        assert_eq!(count("best", Value::None), Ok(4));
        assert!(matches!(
            count("strict", Value::None),
            Err(BlockError::Input(_))
        ));
        assert!(matches!(
            count("custom", Value::None),
            Err(BlockError::Input(_))
        ));
    }

    #[test]
    fn an_unknown_model_is_the_clients_to_mend() {
        let error = run(
            &V2,
            &[shapes()],
            &[("model_id", "no-such-project/1".into())],
        );
        match error.unwrap_err() {
            BlockError::Client { status, message } => {
                assert_eq!(status, 404);
                assert!(message.contains("no-such-project/1"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}
