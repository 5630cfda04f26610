//! The services of a process, made from its arguments.

use std::sync::Arc;

use super::HostArgs;
use crate::blocks::Services;
use crate::blocks::state::CacheStore;
use crate::clock::SystemClock;
use crate::delivery::Dispatcher;
use crate::models::{ModelError, ModelStore, RuntimeSettings};

/// Makes the services that blocks use. Fails if the folder of models cannot be read.
pub(super) fn services(args: &HostArgs) -> Result<Services, ModelError> {
    let clock = Arc::new(SystemClock::default());
    let models = match &args.models {
        Some(folder) => ModelStore::open(folder, RuntimeSettings::default(), clock.clone())?,
        None => ModelStore::default(),
    };
    Ok(Services {
        clock,
        models: Arc::new(models),
        dispatcher: Arc::new(Dispatcher::default()),
        cache: Arc::new(CacheStore::default()),
        disable_sinks: false,
    })
}
