//! The operators of the query language's statements, with their spellings and the kinds of their
//! operands (query language specification, section 7).

use super::query_tables::{ANYTHING, LIST, NUMBERS, TEXT, TRUTH};
use crate::values::{Kind, kind};

/// A comparison of two values or a test of one.
pub(super) struct Operator {
    /// Name of its definition in schemas.
    pub definition: &'static str,
    /// Its spellings as `type`.
    pub types: &'static [&'static str],
    /// Kinds of each operand; fewer than `operands` where the reference declares them together.
    pub kinds: &'static [&'static [Kind]],
    /// Number of operands.
    pub operands: usize,
    /// What it tells.
    pub about: &'static str,
}

const VALUES: &[Kind] = &[
    kind::INTEGER,
    kind::STRING,
    kind::FLOAT,
    kind::FLOAT_ZERO_TO_ONE,
    kind::BOOLEAN,
    kind::LIST_OF_VALUES,
];
const CONTAINERS: &[Kind] = &[
    kind::LIST_OF_VALUES,
    kind::DICTIONARY,
    kind::OBJECT_DETECTION,
    kind::INSTANCE_SEGMENTATION,
    kind::KEYPOINT_DETECTION,
];

const fn operator(
    definition: &'static str,
    types: &'static [&'static str],
    kinds: &'static [&'static [Kind]],
    about: &'static str,
) -> Operator {
    Operator {
        definition,
        types,
        kinds,
        operands: kinds.len(),
        about,
    }
}

/// Comparisons of two values, in the order of the reference's union.
pub(super) static COMPARATORS: &[Operator] = &[
    operator(
        "In",
        &["in (Sequence)"],
        &[
            &[
                kind::STRING,
                kind::INTEGER,
                kind::FLOAT,
                kind::FLOAT_ZERO_TO_ONE,
            ],
            &[kind::LIST_OF_VALUES, kind::DICTIONARY],
        ],
        "Whether the left is in the right.",
    ),
    operator(
        "AllInSequence",
        &["all in (Sequence)"],
        &[LIST, LIST],
        "Whether all items of the left are in the right.",
    ),
    operator(
        "AnyInSequence",
        &["any in (Sequence)"],
        &[LIST, LIST],
        "Whether an item of the left is in the right.",
    ),
    operator(
        "StringContains",
        &["(String) contains"],
        &[TEXT, TEXT],
        "Whether the left contains the right.",
    ),
    operator(
        "StringEndsWith",
        &["(String) endsWith"],
        &[TEXT, TEXT],
        "Whether the left ends with the right.",
    ),
    operator(
        "StringStartsWith",
        &["(String) startsWith"],
        &[TEXT, TEXT],
        "Whether the left starts with the right.",
    ),
    operator(
        "NumberInRange",
        &["(Number) in range"],
        &[NUMBERS, LIST],
        "Whether the left lies between the two of the right.",
    ),
    operator(
        "NumberLowerEqual",
        &["(Number) <="],
        &[NUMBERS, NUMBERS],
        "Whether the left is at most the right.",
    ),
    operator(
        "NumberLower",
        &["(Number) <"],
        &[NUMBERS, NUMBERS],
        "Whether the left is less than the right.",
    ),
    operator(
        "NumberGreaterEqual",
        &["(Number) >="],
        &[NUMBERS, NUMBERS],
        "Whether the left is at least the right.",
    ),
    operator(
        "NumberGreater",
        &["(Number) >"],
        &[NUMBERS, NUMBERS],
        "Whether the left is greater than the right.",
    ),
    operator(
        "NotEquals",
        &["(Number) !=", "!="],
        &[VALUES, VALUES],
        "Whether the two differ.",
    ),
    operator(
        "Equals",
        &["(Number) ==", "=="],
        &[VALUES, VALUES],
        "Whether the two are the same.",
    ),
    Operator {
        operands: 2,
        ..operator(
            "DetectionInZone",
            &["(Detection) in zone"],
            &[&[kind::DETECTION, kind::ZONE]],
            "Whether a point lies in a polygon.",
        )
    },
];

/// Tests of one value, in the order of the reference's union.
pub(super) static TESTS: &[Operator] = &[
    operator("Exists", &["Exists"], &[ANYTHING], "Whether it is there."),
    operator(
        "DoesNotExist",
        &["DoesNotExist"],
        &[ANYTHING],
        "Whether it is not there.",
    ),
    operator(
        "IsTrue",
        &["(Boolean) is True"],
        &[TRUTH],
        "Whether it is true.",
    ),
    operator(
        "IsFalse",
        &["(Boolean) is False"],
        &[TRUTH],
        "Whether it is false.",
    ),
    operator(
        "IsEmpty",
        &["(Sequence) is empty"],
        &[CONTAINERS],
        "Whether nothing is in it.",
    ),
    operator(
        "IsNotEmpty",
        &["(Sequence) is not empty"],
        &[CONTAINERS],
        "Whether something is in it.",
    ),
];
