//! Puts a value aside for `cache_get` of the same video.
//!
//! # Inputs and outputs
//! `image` (names the video), `key` and `value` → `output`: the value.
//!
//! # State
//! None of its own: values stand in the engine's `CacheStore`, per video, which forgets the key
//! written longest ago beyond its bound.
//!
//! # Edge cases
//! Values of any kind, images and boxes too, are kept without a copy.
//!
//! # Parity
//! `cache_*`, specification 2.1. Tests stand in `cache_get`.

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::kind;

/// `roboflow_core/cache_set@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/cache_set@v1"],
    name: "Cache Set",
    family: Family::Fusion,
    about: "Puts a value aside for later frames of the same video.",
    fields: &[
        super::IMAGE,
        super::KEY,
        Field::required(
            "value",
            &[Ty::Selector(&[kind::WILDCARD, kind::LIST_OF_VALUES])],
        )
        .about("What to put aside."),
    ],
    outputs: &[output("output", &[kind::WILDCARD])],
    build: |_, _| Ok(Box::new(CacheSet)),
    ..BlockSpec::DEFAULT
};

struct CacheSet;

impl Block for CacheSet {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let (video, key) = (super::namespace(inputs)?, inputs.text("key")?);
        let value = inputs.value("value").clone();
        cx.services.cache.set(&video, key, value.clone());
        Ok(Output::One(row![value]))
    }
}
