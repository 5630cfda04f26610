//! The services of a process, made from its arguments.

use std::sync::Arc;

use super::HostArgs;
use crate::blocks::Services;
use crate::blocks::state::CacheStore;
use crate::clock::SystemClock;
use crate::delivery::Dispatcher;
use crate::models::ModelStore;

/// Makes the services that blocks use.
pub(super) fn services(args: &HostArgs) -> Services {
    let models = ModelStore::default();
    let _ = &args.models;
    Services {
        clock: Arc::new(SystemClock::default()),
        models: Arc::new(models),
        dispatcher: Arc::new(Dispatcher::default()),
        cache: Arc::new(CacheStore::default()),
        disable_sinks: false,
    }
}
