//! The services of a process, made from its arguments.

use std::sync::Arc;

use super::HostArgs;
use super::outbox::OutboxPlaceArgs;
use crate::blocks::Services;
use crate::delivery::{AddressPolicy, Dispatcher, Settings};
use crate::models::{ModelError, ModelStore, RuntimeSettings};

/// Makes the services that blocks use, for a process that goes on after an execution: steps that do
/// not want to wait for a receiver need not. Their events wait in the outbox.
///
/// # Errors
/// If the folder of models cannot be read.
pub(super) fn services(args: &HostArgs, outbox: &OutboxPlaceArgs) -> Result<Services, ModelError> {
    with_models(args, outbox.dispatcher(delivery(args, true)))
}

/// The same for a process that ends with its last execution: nothing is left to the background.
///
/// # Errors
/// If the folder of models cannot be read.
pub(super) fn services_in_foreground(args: &HostArgs) -> Result<Services, ModelError> {
    with_models(args, Dispatcher::new(delivery(args, false)))
}

fn delivery(args: &HostArgs, background: bool) -> Settings {
    Settings {
        background,
        addresses: match args.private_webhooks {
            Some(false) => AddressPolicy::GlobalOnly,
            Some(true) | None => AddressPolicy::Any,
        },
        ..Settings::default()
    }
}

fn with_models(args: &HostArgs, dispatcher: Dispatcher) -> Result<Services, ModelError> {
    let services = Services {
        dispatcher: Arc::new(dispatcher),
        ..Services::default()
    };
    let Some(folder) = &args.models else {
        return Ok(services);
    };
    let models = ModelStore::open(folder, RuntimeSettings::default(), services.clock.clone())?;
    Ok(Services {
        models: Arc::new(models),
        ..services
    })
}
