//! Lets the flow pass where a value changed.
//!
//! # Inputs and outputs
//! `value` is compared with the one of the run before, in the video of `image`. No outputs.
//!
//! # State
//! Per video, the last value.
//!
//! # Edge cases
//! The value before the first is `None`, so a first `None` does not pass. Equality is Python's: 1,
//! 1.0 and true are equal, a list and a tuple are not, boxes are compared with all their columns.
//!
//! # Parity
//! `delta_filter_per_stream`, specification 3.3.

use crate::blocks::state::PerStream;
use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Decision, Family, Field, Inputs, Output, Role, Ty,
};
use crate::values::{Value, kind, python};

/// `roboflow_core/delta_filter@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/delta_filter@v1"],
    name: "Delta Filter",
    family: Family::FlowControl,
    about: "Runs the next steps only when a value differs from the one before.",
    fields: &[
        Field::required("image", &[Ty::InputImage])
            .about("Image whose video the value belongs to."),
        Field::required("value", &[Ty::Selector(&[kind::WILDCARD])]).about("The value to watch."),
        Field::required("next_steps", &[Ty::List(&[Ty::Step])])
            .about("Steps that run when the value changed."),
    ],
    role: Role::FlowControl,
    engine: ">=1.4.0,<2.0.0",
    build: |_, _| Ok(Box::<DeltaFilter>::default()),
    ..BlockSpec::DEFAULT
};

#[derive(Default)]
struct DeltaFilter {
    last: PerStream<Value>,
}

impl Block for DeltaFilter {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let video = inputs.image("image")?.video_identifier();
        let value = inputs.value("value");
        let last = self.last.get(video, Value::default);
        let changed = !python::equal(last, value);
        if changed {
            *last = value.clone();
        }
        Ok(Output::Next(match changed {
            true => Decision::All,
            false => Decision::None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::query::trial::{Host, boxes, values};
    use crate::values::{Image, Matrix};
    use serde_json::json;
    use std::sync::Arc;

    fn changes(block: &mut DeltaFilter, video: &str, value: Value) -> bool {
        let image = Image::new(Matrix::filled(2, 2, &[0, 0, 0]), video.into());
        let values = values(&BLOCK, &[("image", image.into()), ("value", value)]);
        let host = Host::default();
        let output = block.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default()));
        matches!(output.unwrap(), Output::Next(Decision::All))
    }

    #[test]
    fn only_changes_pass_in_each_video() {
        let mut block = DeltaFilter::default();
        for (video, value, passes) in [
            ("a", json!(null), false),
            ("a", json!(1), true),
            ("a", json!(1), false),
            ("b", json!(1), true),
            ("a", json!(true), false),
            ("a", json!("1"), true),
            ("a", json!([1, 2]), true),
            ("a", json!([1, 2.0]), false),
            ("a", json!(null), true),
        ] {
            let passed = changes(&mut block, video, Value::from_json(&value));
            assert_eq!(passed, passes, "{video} {value}");
        }
    }

    #[test]
    fn boxes_are_compared_with_their_columns() {
        let mut block = DeltaFilter::default();
        assert!(changes(&mut block, "a", boxes().into()));
        assert!(!changes(&mut block, "a", boxes().into()));
        let mut renamed = boxes();
        renamed.fill_column("class_name", "x".into());
        assert!(changes(&mut block, "a", renamed.into()));
    }
}
