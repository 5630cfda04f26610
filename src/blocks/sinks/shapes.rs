//! Shapes that fields of several sinks have.

use crate::blocks::Ty;
use crate::values::kind;

pub(super) const FLAG: &[Ty] = &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])];
pub(super) const WHOLE: &[Ty] = &[Ty::Int, Ty::Selector(&[kind::INTEGER])];
pub(super) const TEXT: &[Ty] = &[Ty::Str, Ty::Selector(&[kind::STRING])];
pub(super) const CHOSEN_TEXT: &[Ty] = &[Ty::Selector(&[kind::STRING]), Ty::Str];
pub(super) const TEXT_OR_NULL: &[Ty] = &[Ty::Str, Ty::Selector(&[kind::STRING]), Ty::Null];
pub(super) const CHOSEN_TEXT_OR_NULL: &[Ty] = &[Ty::Selector(&[kind::STRING]), Ty::Str, Ty::Null];
pub(super) const SECRET: &[Ty] = &[Ty::Str, Ty::Selector(&[kind::STRING, kind::SECRET])];
pub(super) const SECRET_OR_NULL: &[Ty] = &[
    Ty::Str,
    Ty::Selector(&[kind::STRING, kind::SECRET]),
    Ty::Null,
];
pub(super) const PARAMETERS: &[Ty] = &[Ty::Map(&[
    Ty::Selector(&[kind::WILDCARD]),
    Ty::Str,
    Ty::Int,
    Ty::Float,
    Ty::Bool,
])];
pub(super) const OPERATIONS: &[Ty] = &[Ty::Map(&[Ty::Operations])];
pub(super) const ADDRESSES: &[Ty] = &[
    Ty::Str,
    Ty::List(&[Ty::Str]),
    Ty::Selector(&[kind::STRING, kind::LIST_OF_VALUES]),
];
pub(super) const ADDRESSES_OR_NULL: &[Ty] = &[
    Ty::Str,
    Ty::List(&[Ty::Str]),
    Ty::Selector(&[kind::STRING, kind::LIST_OF_VALUES]),
    Ty::Null,
];
pub(super) const PREDICTIONS: &[Ty] = &[Ty::Selector(&[
    kind::OBJECT_DETECTION,
    kind::INSTANCE_SEGMENTATION,
    kind::KEYPOINT_DETECTION,
    kind::CLASSIFICATION,
])];
pub(super) const PREDICTIONS_OR_NULL: &[Ty] = &[
    Ty::Selector(&[
        kind::OBJECT_DETECTION,
        kind::INSTANCE_SEGMENTATION,
        kind::KEYPOINT_DETECTION,
        kind::CLASSIFICATION,
    ]),
    Ty::Null,
];
pub(super) const IMAGE_OR_NULL: &[Ty] = &[Ty::Selector(&[kind::IMAGE]), Ty::Null];
pub(super) const LITERAL: &[Ty] = &[Ty::Str];
pub(super) const NUMBER: &[Ty] = &[Ty::Int];
pub(super) const ATTRIBUTES: &[Ty] = &[Ty::Map(&[
    Ty::Str,
    Ty::Int,
    Ty::Float,
    Ty::Bool,
    Ty::Selector(&[kind::WILDCARD]),
])];
pub(super) const PROJECT: &[Ty] = &[Ty::Selector(&[kind::ROBOFLOW_PROJECT]), Ty::Str];
pub(super) const TAGS: &[Ty] = &[
    Ty::List(&[Ty::Selector(&[kind::STRING]), Ty::Str]),
    Ty::Selector(&[kind::LIST_OF_VALUES]),
];
pub(super) const SIZE: &[Ty] = &[Ty::Tuple(&[&[Ty::Int], &[Ty::Int]])];
pub(super) const CHOSEN_SECRET_OR_NULL: &[Ty] = &[
    Ty::Selector(&[kind::SECRET, kind::STRING]),
    Ty::Str,
    Ty::Null,
];
pub(super) const LIMIT: &[Ty] = &[Ty::Int, Ty::Selector(&[kind::STRING])];
pub(super) const CONTENT: &[Ty] = &[Ty::Selector(&[kind::STRING])];
