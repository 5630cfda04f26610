//! Gathers the elements of the deepest level into a list.
//!
//! # Inputs and outputs
//! `data` of depth n → `output`, a list per element of depth n − 1; a scalar list for depth 1.
//!
//! # State
//! None.
//!
//! # Edge cases
//! An element whose group is missing altogether stays empty (`None`); empty elements are left out.

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::{Value, kind};

/// `roboflow_core/dimension_collapse@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/dimension_collapse@v1", "DimensionCollapse"],
    name: "Dimension Collapse",
    family: Family::Fusion,
    stateless: true,
    about: "Gathers the elements of the deepest nesting level into one list.",
    fields: &[Field::required("data", &[Ty::Selector(&[kind::WILDCARD])]).about("What to gather.")],
    outputs: &[output("output", &[kind::LIST_OF_VALUES])],
    cast: &["data"],
    output_offset: -1,
    build: |_, _| Ok(Box::new(DimensionCollapse)),
    ..BlockSpec::DEFAULT
};

struct DimensionCollapse;

impl Block for DimensionCollapse {
    fn run(&mut self, inputs: &Inputs<'_>, _: &Context<'_>) -> Result<Output, BlockError> {
        let batch = inputs.batch("data")?;
        Ok(Output::One(row![Value::list(batch.items.clone())]))
    }
}
