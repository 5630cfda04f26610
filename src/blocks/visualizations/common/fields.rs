//! Fields that many drawing blocks declare.

use crate::blocks::{Bounds, Field, Ty};
use crate::geometry::anchor::NAMES;
use crate::values::{Kind, kind};

/// Kinds of the boxes that most blocks draw.
pub const BOXES: &[Kind] = &[
    kind::OBJECT_DETECTION,
    kind::INSTANCE_SEGMENTATION,
    kind::KEYPOINT_DETECTION,
    kind::RLE_INSTANCE_SEGMENTATION,
];

/// Kinds of the boxes of blocks that need masks.
pub const MASKS: &[Kind] = &[kind::INSTANCE_SEGMENTATION, kind::RLE_INSTANCE_SEGMENTATION];

/// The image to draw on.
pub const IMAGE: Field = Field::required("image", &[Ty::Selector(&[kind::IMAGE])])
    .alias("images")
    .about("Image to draw on.");

/// Whether to draw on a copy; without effect, a copy is always made.
pub const COPY_IMAGE: Field = Field::optional(
    "copy_image",
    &[Ty::Bool, Ty::Selector(&[kind::BOOLEAN])],
    "true",
)
.about("Accepted for compatibility: drawing always happens on a copy.");

/// What to draw: boxes of any kind.
pub const PREDICTIONS: Field =
    Field::required("predictions", &[Ty::Selector(BOXES)]).about("Detections to draw.");

/// What to draw: boxes with masks.
pub const MASK_PREDICTIONS: Field =
    Field::required("predictions", &[Ty::Selector(MASKS)]).about("Detections to draw.");

/// Name of a palette.
pub const COLOR_PALETTE: Field = Field::optional(
    "color_palette",
    &[
        Ty::OneOf(&[
            "DEFAULT",
            "CUSTOM",
            "ROBOFLOW",
            "Matplotlib Viridis",
            "Matplotlib Plasma",
            "Matplotlib Inferno",
            "Matplotlib Magma",
            "Matplotlib Cividis",
            "Matplotlib Pastel1",
            "Matplotlib Pastel2",
            "Matplotlib Paired",
            "Matplotlib Accent",
            "Matplotlib Dark2",
            "Matplotlib Set1",
            "Matplotlib Set2",
            "Matplotlib Set3",
            "Matplotlib Tab10",
            "Matplotlib Tab20",
            "Matplotlib Tab20b",
            "Matplotlib Tab20c",
        ]),
        Ty::Selector(&[kind::STRING]),
    ],
    "\"DEFAULT\"",
)
.about("Colours to choose from.");

/// Number of colours taken from a colour map.
pub const PALETTE_SIZE: Field =
    integer("palette_size", "10").about("Number of colours to take from a colour map.");

/// Colours of the palette `CUSTOM`.
pub const CUSTOM_COLORS: Field = Field::optional(
    "custom_colors",
    &[Ty::List(&[Ty::Str]), Ty::Selector(&[kind::LIST_OF_VALUES])],
    "[]",
)
.about("Colours of the palette CUSTOM.");

/// What decides the colour of a box.
pub const COLOR_AXIS: Field = Field::optional(
    "color_axis",
    &[
        Ty::OneOf(&["INDEX", "CLASS", "TRACK"]),
        Ty::Selector(&[kind::STRING]),
    ],
    "\"CLASS\"",
)
.about("What decides the colour: row, class or track.");

/// The fields of a block that draws in the colours of a palette: the image, what it draws (before the
/// semicolon), the palette, then its own.
macro_rules! colored {
    ($predictions:expr; $($own:expr),* $(,)?) => {
        &[
            $crate::blocks::visualizations::common::fields::IMAGE,
            $crate::blocks::visualizations::common::fields::COPY_IMAGE,
            $predictions,
            $crate::blocks::visualizations::common::fields::COLOR_PALETTE,
            $crate::blocks::visualizations::common::fields::PALETTE_SIZE,
            $crate::blocks::visualizations::common::fields::CUSTOM_COLORS,
            $crate::blocks::visualizations::common::fields::COLOR_AXIS,
            $($own),*
        ]
    };
}
pub(in crate::blocks::visualizations) use colored;

/// A whole number.
pub const fn integer(name: &'static str, default: &'static str) -> Field {
    Field::optional(name, &[Ty::Int, Ty::Selector(&[kind::INTEGER])], default)
}

/// A number.
pub const fn number(name: &'static str, default: &'static str) -> Field {
    Field::optional(name, &[Ty::Float, Ty::Selector(&[kind::FLOAT])], default)
}

const SHARE: &[Ty] = &[
    Ty::FloatIn(Bounds::within(0.0, 1.0)),
    Ty::Selector(&[kind::FLOAT_ZERO_TO_ONE]),
];

/// A share from 0 to 1.
pub const fn share(name: &'static str, default: &'static str) -> Field {
    Field::optional(name, SHARE, default)
}

/// A colour by its text.
pub const fn color(name: &'static str, default: &'static str) -> Field {
    Field::optional(name, &[Ty::Str, Ty::Selector(&[kind::STRING])], default)
        .about("Colour: #RRGGBB, rgb(R, G, B), bgr(B, G, R) or a name.")
}

/// A list of points.
pub const fn points(name: &'static str) -> Field {
    Field::required(
        name,
        &[Ty::List(&[Ty::Any]), Ty::Selector(&[kind::LIST_OF_VALUES])],
    )
}

/// A place on a box.
pub const fn position(name: &'static str, default: &'static str) -> Field {
    Field::optional(
        name,
        &[Ty::OneOf(NAMES), Ty::Selector(&[kind::STRING])],
        default,
    )
    .about("Place on the box.")
}
