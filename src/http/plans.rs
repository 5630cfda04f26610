//! Compiled definitions, kept by their hash, so that a request pays for no compilation.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use indexmap::IndexMap;

use crate::definition::canonical::DefinitionHash;
use crate::definition::error::WorkflowError;
use crate::definition::inner::{self, InnerWorkflows};
use crate::definitions::Fetched;
use crate::plan::Plan;

/// A plan that is being compiled, or what came of it.
type Slot = Arc<OnceLock<Result<Arc<Plan>, WorkflowError>>>;

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

    /// The plan of a definition. Of several requests at once one compiles and the others wait for it.
    ///
    /// A definition with inner workflows that are only named is compiled for each request: what it
    /// stands for changes without its hash, and is not the same for every key.
    ///
    /// # Errors
    /// If the definition does not compile. That is not kept: what it lacks may come.
    pub fn get(
        &self,
        fetched: &Fetched,
        host: &InnerWorkflows<'_>,
    ) -> Result<Arc<Plan>, WorkflowError> {
        let compile = || Plan::compile_with(&fetched.definition, host).map(Arc::new);
        if inner::names_definitions(&fetched.definition) {
            return compile();
        }
        let hash = fetched.stamp.hash;
        let slot = self.slot(hash);
        let compiled = slot.get_or_init(compile);
        if compiled.is_err() {
            self.forget(hash, &slot);
        }
        compiled.clone()
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

    #[test]
    fn a_plan_is_compiled_once_and_the_one_not_used_for_longest_goes() {
        let plans = Plans::new(NonZeroUsize::new(2).unwrap());
        let get = |tag| {
            let host = InnerWorkflows::default();
            plans.get(&definition(tag), &host).unwrap()
        };
        let first = get(1);
        get(2);
        assert!(Arc::ptr_eq(&first, &get(1)));
        get(3);
        assert_eq!(plans.len(), 2);
        assert!(Arc::ptr_eq(&first, &get(1)));
    }

    #[test]
    fn what_does_not_compile_is_not_kept() {
        let plans = Plans::new(NonZeroUsize::MIN);
        let broken = Fetched::inline(json!({"version": "1.0"}), &SystemClock::default());
        let host = InnerWorkflows::default();
        assert!(plans.get(&broken, &host).is_err());
        assert_eq!(plans.len(), 0);
    }

    #[test]
    fn what_leads_to_other_definitions_is_compiled_anew() {
        struct Shelf;
        impl inner::Library for Shelf {
            fn definition(
                &self,
                _: &inner::Reference,
            ) -> Result<serde_json::Value, inner::LibraryError> {
                let step = json!({"type": "roboflow_core/current_time@v1", "name": "now"});
                Ok(json!({"version": "1.0", "inputs": [], "steps": [step], "outputs": []}))
            }
        }
        let step = json!({"type": "roboflow_core/inner_workflow@v1", "name": "inner", "workflow_id": "w",
                          "workflow_workspace_id": "ws", "parameter_bindings": {}});
        let outer = json!({"version": "1.0", "inputs": [], "steps": [step], "outputs": []});
        let fetched = Fetched::inline(outer, &SystemClock::default());
        let plans = Plans::new(NonZeroUsize::MIN);
        let host = InnerWorkflows {
            library: Some(&Shelf),
            ..InnerWorkflows::default()
        };
        assert_eq!(plans.get(&fetched, &host).unwrap().steps.len(), 1);
        assert_eq!(plans.len(), 0);
        // Without a library nothing of before is left over.
        assert!(plans.get(&fetched, &InnerWorkflows::default()).is_err());
    }
}
