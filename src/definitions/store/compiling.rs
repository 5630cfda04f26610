//! Definitions compiled with those that they name, and where each of them came from.

use super::DefinitionStore;
use crate::definition::error::WorkflowError;
use crate::definitions::key::{ApiKey, DefinitionKey};
use crate::definitions::library::StoreLibrary;
use crate::definitions::provenance::{Origin, Provenance};
use crate::definitions::stamp::{DefinitionStamp, Fetched};
use crate::plan::Plan;

/// What became of a definition and of those that it names.
#[derive(Debug)]
pub struct Compiled {
    /// The plan, or why there is none.
    pub plan: Result<Plan, WorkflowError>,
    /// Which definitions are in it, as far as they were found.
    pub provenance: Provenance,
    /// Those that it names and that could not be had.
    pub missing: Vec<DefinitionKey>,
}

impl DefinitionStore {
    /// Compiles a definition, with what the inner workflows in it name. `key` is its own, if it has
    /// one; without, what it names is asked for with `api_key`, or the store's own. Waits for the
    /// sources of those.
    pub fn compile(
        &self,
        fetched: &Fetched,
        key: Option<&DefinitionKey>,
        api_key: Option<ApiKey>,
    ) -> Compiled {
        let library = match key {
            Some(key) => StoreLibrary::inside(self, key),
            None => StoreLibrary::new(self, api_key),
        };
        let plan = Plan::compile_with(&fetched.definition, &library.inner_workflows());
        Compiled {
            plan,
            provenance: self.provenance(&fetched.stamp, key, &library.given()),
            missing: library.missing(),
        }
    }

    /// Where a definition with this stamp came from, and those that a library gave for it
    /// ([`StoreLibrary::given`]).
    pub fn provenance(
        &self,
        stamp: &DefinitionStamp,
        key: Option<&DefinitionKey>,
        given: &[(DefinitionKey, DefinitionStamp)],
    ) -> Provenance {
        let origin = |stamp: &DefinitionStamp, key: &DefinitionKey| {
            let entry = self.shared.entry(&self.shared.with_own_key(key)).ok()?;
            Some(Origin::kept(stamp.clone(), key.clone(), entry))
        };
        let own = key.and_then(|key| origin(stamp, key));
        let inner = given.iter().filter_map(|(key, stamp)| origin(stamp, key));
        Provenance::new(own.unwrap_or_else(|| stamp.clone().into()), inner.collect())
    }
}
