//! Gives back a value that `cache_set` put aside for the same video.
//!
//! # Inputs and outputs
//! `image` (names the video) and `key` → `output`: the value, or `false` if there is none.
//!
//! # State
//! None of its own: values stand in the engine's `CacheStore`, per video.
//!
//! # Edge cases
//! An image without video metadata belongs to the video named as its input. Whether a value set on
//! the same frame is seen depends on the order of the steps.
//!
//! # Parity
//! `cache_*`, specification 2.1.

use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, output};
use crate::row;
use crate::values::{Value, kind};

/// `roboflow_core/cache_get@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/cache_get@v1"],
    name: "Cache Get",
    family: Family::Fusion,
    about: "Gives back a value put aside for the same video.",
    fields: &[super::IMAGE, super::KEY],
    outputs: &[output("output", &[kind::WILDCARD])],
    build: |_, _| Ok(Box::new(CacheGet)),
    ..BlockSpec::DEFAULT
};

struct CacheGet;

impl Block for CacheGet {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let (video, key) = (super::namespace(inputs)?, inputs.text("key")?);
        let found = cx.services.cache.get(&video, key);
        Ok(Output::One(row![found.unwrap_or(Value::Bool(false))]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::bench::{Bench, frame};
    use crate::blocks::cache::cache_set;

    #[test]
    fn values_come_back_for_the_same_video_only() {
        let mut set = Bench::new(&cache_set::BLOCK, &[("key", "k".into())]);
        let mut get = Bench::new(&BLOCK, &[("key", "k".into())]).sharing_cache(&set);
        let mut ask = |video| get.run(&[("image", frame(video, 1, None))]).unwrap()[0].clone();
        assert_eq!(ask("a").as_bool(), Some(false));
        let fields = [("image", frame("a", 1, None)), ("value", Value::Int(5))];
        assert_eq!(set.run(&fields).unwrap()[0].as_i64(), Some(5));
        assert_eq!(ask("a").as_i64(), Some(5));
        assert_eq!(ask("b").as_bool(), Some(false));
    }

    #[test]
    fn a_video_without_a_name_is_the_default_one() {
        let mut set = Bench::new(&cache_set::BLOCK, &[("key", "k".into())]);
        let mut get = Bench::new(&BLOCK, &[("key", "k".into())]).sharing_cache(&set);
        set.run(&[("image", frame("", 1, None)), ("value", "v".into())])
            .unwrap();
        let row = get.run(&[("image", frame("default", 1, None))]).unwrap();
        assert_eq!(row[0].as_str(), Some("v"));
    }

    #[test]
    fn a_key_is_text() {
        let mut get = Bench::new(&BLOCK, &[("key", 5.into())]);
        assert!(get.run(&[("image", frame("a", 1, None))]).is_err());
    }
}
