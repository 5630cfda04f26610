//! Values put aside from frame to frame.

pub mod cache_get;
pub mod cache_set;

use std::sync::Arc;

use super::{BlockError, BlockSpec, Field, Inputs, Ty};
use crate::values::kind;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[&cache_get::BLOCK, &cache_set::BLOCK];

const IMAGE: Field =
    Field::required("image", &[Ty::InputImage]).about("Names the video that the value belongs to.");
const KEY: Field =
    Field::required("key", &[Ty::Selector(&[kind::STRING]), Ty::Str]).about("Name of the value.");

/// The video whose values are meant: that of the image, `default` if it has no name.
fn namespace(inputs: &Inputs<'_>) -> Result<Arc<str>, BlockError> {
    let video = inputs.image("image")?.video_identifier();
    Ok(if video.is_empty() {
        "default".into()
    } else {
        video.clone()
    })
}
