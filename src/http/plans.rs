//! Compiled definitions, kept by their hash, so that a request pays for no compilation.
//!
//! A definition that names others (inner workflows by workspace and id) is compiled for each request:
//! what it means depends on what they are now, and on whose key asks.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use indexmap::IndexMap;

use crate::definition::InnerWorkflows;
use crate::definition::canonical::DefinitionHash;
use crate::definition::error::WorkflowError;
use crate::definition::inner::{Library, LibraryError, Reference};
use crate::definitions::Fetched;
use crate::plan::Plan;

/// A plan that is being compiled, or what came of it.
type Slot = Arc<OnceLock<Kept>>;

/// What came of a compilation.
enum Kept {
    /// The definition means the same for everyone.
    Whole(Result<Arc<Plan>, WorkflowError>),
    /// It names other definitions.
    NamesOthers,
}

/// Gives no definition, and notes that one was asked for.
struct Noting {
    asked: Cell<bool>,
}

impl Library for Noting {
    fn definition(&self, _: &Reference) -> Result<serde_json::Value, LibraryError> {
        self.asked.set(true);
        Err(LibraryError::KeyMissing)
    }
}

/// Plans by the hash of their definition; the one not used for longest goes when there are too many.
pub struct Plans {
    slots: Mutex<IndexMap<DefinitionHash, Slot>>,
    limit: NonZeroUsize,
}

impl Plans {
    /// Room for this many plans.
    pub fn new(limit: NonZeroUsize) -> Self {
        Self {
            slots: Mutex::default(),
            limit,
        }
    }

    /// The plan of a definition; `inner` gives the definitions that it names. Of several requests at
    /// once one compiles and the others wait for it.
    ///
    /// # Errors
    /// If the definition does not compile. That is not kept: what it lacks may come.
    pub fn get(
        &self,
        fetched: &Fetched,
        inner: &InnerWorkflows<'_>,
    ) -> Result<Arc<Plan>, WorkflowError> {
        let hash = fetched.stamp.hash;
        let slot = self.slot(hash);
        let compiled = slot.get_or_init(|| {
            let alone = Noting {
                asked: Cell::new(false),
            };
            let host = InnerWorkflows {
                library: Some(&alone),
                limits: inner.limits,
            };
            let compiled = Plan::compile_with(&fetched.definition, &host);
            match alone.asked.get() {
                true => Kept::NamesOthers,
                false => Kept::Whole(compiled.map(Arc::new)),
            }
        });
        match compiled {
            Kept::Whole(Ok(plan)) => Ok(plan.clone()),
            Kept::Whole(Err(error)) => {
                self.forget(hash, &slot);
                Err(error.clone())
            }
            Kept::NamesOthers => Plan::compile_with(&fetched.definition, inner).map(Arc::new),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, IndexMap<DefinitionHash, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slot of a hash, now the one used last.
    fn slot(&self, hash: DefinitionHash) -> Slot {
        let mut slots = self.lock();
        let slot = slots.shift_remove(&hash).unwrap_or_default();
        slots.insert(hash, slot.clone());
        if slots.len() > self.limit.get() {
            slots.shift_remove_index(0);
        }
        slot
    }

    fn forget(&self, hash: DefinitionHash, slot: &Slot) {
        let mut slots = self.lock();
        if slots.get(&hash).is_some_and(|kept| Arc::ptr_eq(kept, slot)) {
            slots.shift_remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::SystemClock;

    fn definition(tag: usize) -> Fetched {
        let definition = json!({
            "version": "1.0",
            "inputs": [{"type": "WorkflowParameter", "name": "tag", "default_value": tag}],
            "steps": [],
            "outputs": [{"type": "JsonField", "name": "tag", "selector": "$inputs.tag"}],
        });
        Fetched::inline(definition, &SystemClock::default())
    }

    fn get(plans: &Plans, tag: usize) -> Arc<Plan> {
        let plan = plans.get(&definition(tag), &InnerWorkflows::default());
        plan.unwrap()
    }

    #[test]
    fn a_definition_that_names_others_is_compiled_anew() {
        struct Shelf(Cell<usize>);
        impl Library for Shelf {
            fn definition(&self, _: &Reference) -> Result<serde_json::Value, LibraryError> {
                self.0.set(self.0.get() + 1);
                let mut inner = (*definition(1).definition).clone();
                inner["steps"] = json!([{"type": "roboflow_core/current_time@v1", "name": "now"}]);
                Ok(inner)
            }
        }
        let naming = json!({
            "version": "1.0",
            "inputs": [],
            "steps": [{
                "type": "roboflow_core/inner_workflow@v1",
                "name": "inner",
                "workflow_workspace_id": "ws",
                "workflow_id": "flow",
                "parameter_bindings": {},
            }],
            "outputs": [{"type": "JsonField", "name": "tag", "selector": "$steps.inner.tag"}],
        });
        let naming = Fetched::inline(naming, &SystemClock::default());
        let shelf = Shelf(Cell::new(0));
        let host = InnerWorkflows {
            library: Some(&shelf),
            ..InnerWorkflows::default()
        };
        let plans = Plans::new(NonZeroUsize::MIN);
        for _ in 0..2 {
            plans.get(&naming, &host).unwrap();
        }
        assert_eq!(shelf.0.get(), 2);
    }

    #[test]
    fn a_plan_is_compiled_once_and_the_one_not_used_for_longest_goes() {
        let plans = Plans::new(NonZeroUsize::new(2).unwrap());
        let first = get(&plans, 1);
        get(&plans, 2);
        assert!(Arc::ptr_eq(&first, &get(&plans, 1)));
        get(&plans, 3);
        assert_eq!(plans.len(), 2);
        assert!(Arc::ptr_eq(&first, &get(&plans, 1)));
    }

    #[test]
    fn what_does_not_compile_is_not_kept() {
        let plans = Plans::new(NonZeroUsize::MIN);
        let broken = Fetched::inline(json!({"version": "1.0"}), &SystemClock::default());
        assert!(plans.get(&broken, &InnerWorkflows::default()).is_err());
        assert_eq!(plans.len(), 0);
    }
}
