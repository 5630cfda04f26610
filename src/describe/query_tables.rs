//! The operations of the query language with their parameters and kinds (query language
//! specification, sections 3 and 12).

use crate::blocks::{Field, Ty};
use crate::values::{Kind, kind};

/// An operation of a chain.
pub(super) struct Operation {
    /// Its `type`.
    pub name: &'static str,
    /// Parameters beside the type.
    pub parameters: &'static [Field],
    /// Kinds that it takes.
    pub takes: &'static [Kind],
    /// Kinds that it gives.
    pub gives: &'static [Kind],
    /// What it does with nested operations.
    pub nesting: Nesting,
    /// What it does.
    pub about: &'static str,
}

/// Whether an operation applies others.
#[derive(Clone, Copy)]
pub(super) enum Nesting {
    /// It does not, and its schema has no word on it.
    Unsaid,
    /// It does not.
    Plain,
    /// It does, to values of these kinds, which gives these.
    Compound(&'static [Kind], &'static [Kind]),
}

pub(super) const NUMBERS: &[Kind] = &[kind::INTEGER, kind::FLOAT, kind::FLOAT_ZERO_TO_ONE];
const BOXES: &[Kind] = kind::DETECTIONS;
pub(super) const TEXT: &[Kind] = &[kind::STRING];
pub(super) const LIST: &[Kind] = &[kind::LIST_OF_VALUES];
pub(super) const ANYTHING: &[Kind] = &[kind::WILDCARD];
const IMAGE: &[Kind] = &[kind::IMAGE];
pub(super) const TRUTH: &[Kind] = &[kind::BOOLEAN];
const ONE_BOX: &[Kind] = &[kind::DETECTION];

const PROPERTIES: &[Ty] = &[Ty::NamedOneOf(
    "DetectionsProperty",
    &[
        "confidence",
        "class_name",
        "x_min",
        "x_max",
        "y_min",
        "y_max",
        "size",
        "class_id",
        "center",
        "top_left",
        "top_right",
        "bottom_left",
        "bottom_right",
        "in_out",
        "path_deviation",
        "polygon",
        "time_in_zone",
        "tracker_id",
        "velocity",
        "speed",
        "smoothed_velocity",
        "smoothed_speed",
        "image_dimensions",
        "prediction_type",
        "keypoints_xy",
        "rect",
        "width",
        "height",
        "angle",
        "area_px",
        "area_converted",
    ],
)];
const SORT_PROPERTIES: &[Ty] = &[Ty::NamedOneOf(
    "DetectionsSortProperties",
    &[
        "confidence",
        "x_min",
        "x_max",
        "y_min",
        "y_max",
        "size",
        "center_x",
        "center_y",
    ],
)];
const SELECTION_MODES: &[Ty] = &[Ty::NamedOneOf(
    "DetectionsSelectionMode",
    &["left_most", "right_most", "top_confidence", "first", "last"],
)];
const CLASSIFICATION_PROPERTIES: &[Ty] = &[Ty::NamedOneOf(
    "ClassificationProperty",
    &[
        "top_class",
        "top_class_confidence",
        "top_class_confidence_single",
        "all_classes",
        "all_confidences",
    ],
)];
const IMAGE_PROPERTIES: &[Ty] = &[Ty::NamedOneOf(
    "ImageProperty",
    &["size", "height", "width", "aspect_ratio"],
)];
const FRAME_PROPERTIES: &[Ty] = &[Ty::NamedOneOf(
    "FrameMetadataProperty",
    &["frame_number", "frame_timestamp", "seconds_since_start"],
)];
const CASTS: &[Ty] = &[Ty::NamedOneOf("NumberCastingMode", &["int", "float"])];
const FUNCTIONS: &[Ty] = &[Ty::NamedOneOf(
    "SequenceAggregationFunction",
    &["min", "max", "sum"],
)];
const PICKS: &[Ty] = &[Ty::NamedOneOf(
    "SequenceAggregationMode",
    &["first", "last", "most_common", "least_common"],
)];

/// An operation without parameters.
const fn plain(
    name: &'static str,
    takes: &'static [Kind],
    gives: &'static [Kind],
    about: &'static str,
) -> Operation {
    Operation {
        name,
        parameters: &[],
        takes,
        gives,
        nesting: Nesting::Plain,
        about,
    }
}

impl Operation {
    const fn with(self, parameters: &'static [Field]) -> Self {
        Self { parameters, ..self }
    }

    const fn unsaid(self) -> Self {
        Self {
            nesting: Nesting::Unsaid,
            ..self
        }
    }

    const fn compound(self, takes: &'static [Kind], gives: &'static [Kind]) -> Self {
        Self {
            nesting: Nesting::Compound(takes, gives),
            ..self
        }
    }
}

/// Every operation, in the order of the reference's listings.
pub(super) static OPERATIONS: &[Operation] =
    &[
        plain("StringToLowerCase", TEXT, TEXT, "Text in lower case."),
        plain("StringToUpperCase", TEXT, TEXT, "Text in upper case."),
        plain(
            "LookupTable",
            ANYTHING,
            ANYTHING,
            "The value that a table has for it.",
        )
        .with(&[Field::required("lookup_table", &[Ty::Object])]),
        plain(
            "ToNumber",
            &[
                kind::STRING,
                kind::BOOLEAN,
                kind::INTEGER,
                kind::FLOAT,
                kind::FLOAT_ZERO_TO_ONE,
            ],
            NUMBERS,
            "Its number.",
        )
        .with(&[Field::required("cast_to", CASTS)]),
        plain(
            "NumberRound",
            NUMBERS,
            NUMBERS,
            "The number with so many decimals.",
        )
        .with(&[Field::required("decimal_digits", &[Ty::Int])]),
        plain("SequenceMap", LIST, LIST, "Each item by a table.")
            .with(&[Field::required("lookup_table", &[Ty::Object])])
            .compound(ANYTHING, ANYTHING),
        plain("SequenceApply", LIST, LIST, "Each item after a chain.")
            .with(&[Field::required("operations", &[Ty::Operations])])
            .compound(ANYTHING, ANYTHING),
        plain(
            "NumericSequenceAggregate",
            LIST,
            NUMBERS,
            "Least, greatest or sum of the items.",
        )
        .with(&[
            Field::required("function", FUNCTIONS),
            Field::optional("neutral_value", &[Ty::Any], "null"),
        ]),
        plain("ToString", ANYTHING, TEXT, "Its text."),
        plain(
            "ToBoolean",
            &[kind::FLOAT, kind::FLOAT_ZERO_TO_ONE, kind::INTEGER],
            TRUTH,
            "Whether it is something.",
        ),
        plain("StringSubSequence", TEXT, TEXT, "A part of the text.").with(&[
            Field::optional("start", &[Ty::Int], "0"),
            Field::optional("end", &[Ty::Int], "-1"),
        ]),
        plain(
            "DetectionsPropertyExtract",
            BOXES,
            LIST,
            "One property of each box.",
        )
        .with(&[Field::required("property_name", PROPERTIES)]),
        plain("SequenceAggregate", LIST, ANYTHING, "One of the items.")
            .with(&[Field::required("mode", PICKS)]),
        plain(
            "ExtractDetectionProperty",
            ONE_BOX,
            ANYTHING,
            "A property of a box.",
        )
        .with(&[Field::required("property_name", PROPERTIES)]),
        plain(
            "DetectionsFilter",
            BOXES,
            BOXES,
            "The boxes for which a statement holds.",
        )
        .with(&[Field::required("filter_operation", &[Ty::Statement])])
        .compound(ONE_BOX, TRUTH),
        plain(
            "DetectionsOffset",
            BOXES,
            BOXES,
            "Boxes made larger or smaller.",
        )
        .with(&[
            Field::required("offset_x", &[Ty::Int]),
            Field::required("offset_y", &[Ty::Int]),
        ]),
        plain("DetectionsShift", BOXES, BOXES, "Boxes moved.").with(&[
            Field::required("shift_x", &[Ty::Int]),
            Field::required("shift_y", &[Ty::Int]),
        ]),
        plain(
            "DetectionsRename",
            BOXES,
            BOXES,
            "Boxes with other class names.",
        )
        .with(&[
            Field::required("class_map", &[Ty::Map(&[Ty::Str]), Ty::Str]),
            Field::optional("strict", &[Ty::Bool, Ty::Str], "true"),
            Field::optional("new_classes_id_offset", &[Ty::Int], "1024"),
        ]),
        plain(
            "RandomNumber",
            &[
                kind::OBJECT_DETECTION,
                kind::INSTANCE_SEGMENTATION,
                kind::KEYPOINT_DETECTION,
                kind::WILDCARD,
            ],
            &[kind::FLOAT, kind::FLOAT_ZERO_TO_ONE],
            "A number by chance.",
        )
        .with(&[
            Field::optional("min_value", &[Ty::Float], "0.0"),
            Field::optional("max_value", &[Ty::Float], "1.0"),
        ])
        .unsaid(),
        plain(
            "StringMatches",
            TEXT,
            TRUTH,
            "Whether a pattern is found in the text.",
        )
        .with(&[Field::required("regex", &[Ty::Str])]),
        plain(
            "ExtractImageProperty",
            IMAGE,
            &[kind::INTEGER],
            "A property of the image.",
        )
        .with(&[Field::required("property_name", IMAGE_PROPERTIES)])
        .unsaid(),
        plain(
            "ExtractFrameMetadata",
            IMAGE,
            &[kind::INTEGER, kind::FLOAT, kind::TIMESTAMP],
            "Number or time of the frame.",
        )
        .with(&[Field::required("property_name", FRAME_PROPERTIES)])
        .unsaid(),
        plain(
            "SequenceLength",
            &[
                kind::OBJECT_DETECTION,
                kind::INSTANCE_SEGMENTATION,
                kind::KEYPOINT_DETECTION,
                kind::LIST_OF_VALUES,
                kind::DICTIONARY,
            ],
            &[kind::INTEGER],
            "Number of items.",
        ),
        plain(
            "SequenceElementsCount",
            LIST,
            &[kind::DICTIONARY],
            "How often each item is there.",
        ),
        plain("SequenceJoin", LIST, TEXT, "The texts of the items in one.")
            .with(&[Field::optional("separator", &[Ty::Str], "\", \"")]),
        plain("Multiply", NUMBERS, NUMBERS, "The product with a number.")
            .with(&[Field::required("other", &[Ty::Int, Ty::Float])]),
        plain("Divide", NUMBERS, NUMBERS, "The quotient by a number.")
            .with(&[Field::required("other", &[Ty::Int, Ty::Float])]),
        plain("DetectionsSelection", BOXES, BOXES, "One of the boxes.")
            .with(&[Field::required("mode", SELECTION_MODES)]),
        plain(
            "SortDetections",
            BOXES,
            BOXES,
            "The boxes in order of a property.",
        )
        .with(&[
            Field::required("mode", SORT_PROPERTIES),
            Field::optional("ascending", &[Ty::Bool], "true"),
        ]),
        plain(
            "ClassificationPropertyExtract",
            &[kind::CLASSIFICATION],
            &[kind::STRING, kind::LIST_OF_VALUES, kind::FLOAT_ZERO_TO_ONE],
            "A property of a classifier's result.",
        )
        .with(&[Field::required("property_name", CLASSIFICATION_PROPERTIES)]),
        plain(
            "ConvertImageToJPEG",
            IMAGE,
            &[kind::BYTES],
            "The image as JPEG.",
        )
        .with(&[Field::optional(
            "compression_level",
            &[Ty::IntIn(1, 100)],
            "95",
        )])
        .unsaid(),
        plain(
            "ConvertImageToBase64",
            IMAGE,
            TEXT,
            "The image as base64 text.",
        )
        .unsaid(),
        plain(
            "DetectionsToDictionary",
            BOXES,
            &[kind::DICTIONARY],
            "The boxes in their JSON form.",
        ),
        plain(
            "ConvertDictionaryToJSON",
            &[kind::DICTIONARY],
            TEXT,
            "The object as JSON text.",
        )
        .unsaid(),
        plain(
            "PickDetectionsByParentClass",
            BOXES,
            BOXES,
            "Boxes of a class and those inside of them.",
        )
        .with(&[Field::required("parent_class", &[Ty::Str])]),
        plain(
            "TimestampToISOFormat",
            &[kind::TIMESTAMP],
            TEXT,
            "The time as ISO 8601 text.",
        )
        .unsaid(),
    ];
