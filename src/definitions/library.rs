//! Definitions that inner workflows name, out of a store.

use std::cell::{OnceCell, RefCell};
use std::sync::Arc;

use super::{
    ApiKey, DefinitionKey, DefinitionStamp, DefinitionStore, Demand, Provenance, Settings,
};
use crate::clock::Clock;
use crate::definition::InnerWorkflows;
use crate::definition::inner::{Library, LibraryError, Reference};

/// Gives inner workflows what a store has, with the API key of the definition around them. Waits for
/// the store, so a server compiles on a thread that may wait. Remembers what it was asked for.
pub struct StoreLibrary<'a> {
    store: &'a DefinitionStore,
    api_key: Option<ApiKey>,
    /// The names that were asked for, and the stamps of what there was.
    asked: RefCell<Vec<(DefinitionKey, Option<DefinitionStamp>)>>,
}

impl<'a> StoreLibrary<'a> {
    /// A library that asks a store; without `api_key`, with the store's own.
    pub fn new(store: &'a DefinitionStore, api_key: Option<ApiKey>) -> Self {
        Self {
            store,
            api_key,
            asked: RefCell::default(),
        }
    }

    /// The library for what is inside the definition under a key.
    pub fn inside(store: &'a DefinitionStore, key: &DefinitionKey) -> Self {
        let api_key = match key {
            DefinitionKey::Platform(key) => key.api_key().cloned(),
            _ => None,
        };
        Self::new(store, api_key)
    }

    /// What it gave so far.
    pub fn given(&self) -> Vec<(DefinitionKey, DefinitionStamp)> {
        let asked = self.asked.borrow();
        let given = |(key, stamp): &(DefinitionKey, Option<_>)| Some((key.clone(), stamp.clone()?));
        asked.iter().filter_map(given).collect()
    }

    /// What it was asked for and could not give.
    pub fn missing(&self) -> Vec<DefinitionKey> {
        let asked = self.asked.borrow();
        let missing = asked.iter().filter(|(_, stamp)| stamp.is_none());
        missing.map(|(key, _)| key.clone()).collect()
    }

    /// What compilation is lent.
    pub fn inner_workflows(&self) -> InnerWorkflows<'_> {
        InnerWorkflows {
            library: Some(self),
            limits: self.store.settings().nesting,
        }
    }
}

impl Library for StoreLibrary<'_> {
    fn definition(&self, reference: &Reference) -> Result<serde_json::Value, LibraryError> {
        let Reference {
            workspace,
            workflow,
            version,
        } = reference;
        let api_key = self.api_key.clone();
        let version = version.as_deref();
        let key = self.store.key_of(workspace, workflow, version, api_key);
        if let DefinitionKey::Platform(platform) = &key {
            let own = &self.store.settings().api_key;
            if platform.api_key().is_none() && own.is_none() {
                return Err(LibraryError::KeyMissing);
            }
        }
        let fetched = self.store.get_blocking(&key, Demand::Cached);
        let stamp = fetched.as_ref().ok().map(|fetched| fetched.stamp.clone());
        self.asked.borrow_mut().push((key, stamp));
        let fetched = fetched.map_err(|error| LibraryError::Failed {
            status: error.status(),
            reason: error.to_string(),
        })?;
        Ok((*fetched.definition).clone())
    }
}

/// A library of a command that may not need one: the store is opened when the first definition is
/// asked for, so a definition that names none touches no folder and starts no thread.
pub struct LazyLibrary {
    settings: Settings,
    clock: Arc<dyn Clock>,
    store: OnceCell<Result<DefinitionStore, String>>,
    /// What the store gave so far.
    given: RefCell<Vec<(DefinitionKey, DefinitionStamp)>>,
}

impl LazyLibrary {
    /// A library that asks a store with these settings.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self {
            settings,
            clock,
            store: OnceCell::new(),
            given: RefCell::default(),
        }
    }

    /// A definition of a file, and those that were given for it.
    pub fn provenance(&self, own: &DefinitionStamp) -> Provenance {
        match self.store.get() {
            Some(Ok(store)) => store.provenance(own, None, &self.given.borrow()),
            _ => own.clone().into(),
        }
    }

    /// What compilation is lent.
    pub fn inner_workflows(&self) -> InnerWorkflows<'_> {
        InnerWorkflows {
            library: Some(self),
            limits: self.settings.nesting,
        }
    }
}

impl Library for LazyLibrary {
    fn definition(&self, reference: &Reference) -> Result<serde_json::Value, LibraryError> {
        let opened = self.store.get_or_init(|| {
            let opened = DefinitionStore::open(self.settings.clone(), self.clock.clone());
            opened.map_err(|error| error.to_string())
        });
        match opened {
            Ok(store) => {
                let library = StoreLibrary::new(store, None);
                let definition = library.definition(reference);
                self.given.borrow_mut().extend(library.given());
                definition
            }
            Err(reason) => Err(LibraryError::Failed {
                status: 500,
                reason: reason.clone(),
            }),
        }
    }
}
