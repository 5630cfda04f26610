//! Fields of both versions of the upload.

use crate::blocks::sinks::fields;
use crate::blocks::sinks::shapes::{
    ATTRIBUTES, FLAG, LITERAL, NUMBER, PREDICTIONS_OR_NULL, PROJECT, SIZE, TAGS, TEXT, TEXT_OR_NULL,
};
use crate::blocks::{Bounds, Field, Ty};
use crate::values::kind;

const IMAGES: Field =
    Field::required("images", &[Ty::Selector(&[kind::IMAGE])]).about("Images to upload.");
const TARGET_PROJECT: Field = Field::required("target_project", PROJECT).about("Project.");
const PER_MINUTE: Field =
    Field::optional("minutely_usage_limit", NUMBER, "10").about("Images per minute.");
const PER_HOUR: Field =
    Field::optional("hourly_usage_limit", NUMBER, "100").about("Images per hour.");
const PER_DAY: Field =
    Field::optional("daily_usage_limit", NUMBER, "1000").about("Images per day.");
const QUOTA: Field = Field::required("usage_quota_name", LITERAL)
    .about("What the limits are counted for.")
    .extra(r#"{"hidden": true}"#);
const REGISTRATION_TAGS: Field = Field::optional("registration_tags", TAGS, "[]")
    .about("Tags of the image.")
    .silent_default();
const BATCH_PREFIX: Field = Field::optional(
    "labeling_batch_prefix",
    TEXT,
    r#""workflows_data_collector""#,
)
.about("Start of the name of the batch.");
const BATCH_FREQUENCY: Field = Field::optional(
    "labeling_batches_recreation_frequency",
    &[Ty::OneOf(&["never", "daily", "weekly", "monthly"])],
    r#""never""#,
)
.about("How often a new batch begins.");
const IMAGE_NAME: Field = Field::optional("image_name", TEXT_OR_NULL, "null")
    .about("Name of the image; a random one without it.");

pub(super) const FIELDS_V1: &[Field] = &[
    IMAGES,
    Field::optional("predictions", PREDICTIONS_OR_NULL, "null")
        .about("Predictions that go with it."),
    TARGET_PROJECT,
    PER_MINUTE,
    PER_HOUR,
    PER_DAY,
    QUOTA,
    Field::optional("max_image_size", SIZE, "[512, 512]")
        .about("Width and height that an image may have; larger ones are scaled down."),
    Field::optional("compression_level", &[Ty::IntAbove(0, 100)], "75")
        .about("Quality of the JPEG."),
    REGISTRATION_TAGS,
    Field::optional("persist_predictions", &[Ty::Bool], "true")
        .about("Whether predictions go with the image."),
    fields::DISABLE_SINK,
    fields::FIRE_AND_FORGET,
    BATCH_PREFIX,
    BATCH_FREQUENCY,
    IMAGE_NAME,
];

pub(super) const FIELDS_V2: &[Field] = &[
    IMAGES,
    TARGET_PROJECT,
    Field::optional("predictions", PREDICTIONS_OR_NULL, "null")
        .about("Predictions that go with it.")
        .always_visible(),
    Field::optional(
        "data_percentage",
        &[
            Ty::FloatIn(Bounds::within(0.0, 100.0)),
            Ty::Selector(&[kind::FLOAT]),
        ],
        "100",
    )
    .about("Share of the images that is uploaded."),
    PER_MINUTE,
    PER_HOUR,
    PER_DAY,
    QUOTA,
    Field::optional("max_image_size", SIZE, "[1920, 1080]")
        .about("Width and height that an image may have; larger ones are scaled down."),
    Field::optional("compression_level", &[Ty::IntAbove(0, 100)], "95")
        .about("Quality of the JPEG."),
    REGISTRATION_TAGS,
    Field::optional("persist_predictions", FLAG, "true")
        .about("Whether predictions go with the image."),
    fields::DISABLE_SINK,
    fields::FIRE_AND_FORGET,
    BATCH_PREFIX,
    BATCH_FREQUENCY,
    IMAGE_NAME,
    Field::optional("metadata", ATTRIBUTES, "{}").about("Attributes by name."),
];
