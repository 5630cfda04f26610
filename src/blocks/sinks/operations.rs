//! Chains of operations by the name of the value that they change.

use std::collections::HashMap;
use std::sync::Arc;

use crate::blocks::query::{self, Chain, Params};
use crate::blocks::{BlockError, BuildError, Context};
use crate::definition::step::Step;
use crate::values::{Dict, Value};

/// The chains of one field.
pub(super) struct Operations(HashMap<Arc<str>, Chain>);

impl Operations {
    /// The chains in a field of a step; those without operations are left out.
    pub(super) fn new(step: &Step, field: &'static str) -> Result<Self, BuildError> {
        let chains = query::step::chains(step, field)?;
        let chains = chains.into_iter().filter(|(_, chain)| !chain.is_empty());
        Ok(Self(chains.collect()))
    }

    /// A value after the chain of its name.
    pub(super) fn apply_one(
        &self,
        name: &str,
        value: &Value,
        cx: &Context<'_>,
    ) -> Result<Value, BlockError> {
        match self.0.get(name) {
            Some(chain) => Ok(chain.apply(value.clone(), &Params::NONE, cx)?),
            None => Ok(value.clone()),
        }
    }

    /// The entries, those with a chain changed by it.
    pub(super) fn apply(&self, entries: &Dict, cx: &Context<'_>) -> Result<Dict, BlockError> {
        let mut changed = entries.clone();
        for (name, value) in &mut changed {
            *value = self.apply_one(name, value, cx)?;
        }
        Ok(changed)
    }
}
