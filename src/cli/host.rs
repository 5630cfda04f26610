//! The services of a process, made from its arguments.

use std::sync::Arc;

use super::HostArgs;
use crate::blocks::Services;
use crate::delivery::{AddressPolicy, Dispatcher, Settings};
use crate::models::{ModelError, ModelStore, RuntimeSettings};

/// Makes the services that blocks use, for a process that goes on after an execution: steps that do
/// not want to wait for a receiver need not.
///
/// # Errors
/// If the folder of models cannot be read.
pub(super) fn services(args: &HostArgs) -> Result<Services, ModelError> {
    with_delivery(args, true)
}

/// The same for a process that ends with its last execution: nothing is left to the background.
///
/// # Errors
/// If the folder of models cannot be read.
pub(super) fn services_in_foreground(args: &HostArgs) -> Result<Services, ModelError> {
    with_delivery(args, false)
}

fn with_delivery(args: &HostArgs, background: bool) -> Result<Services, ModelError> {
    let services = Services {
        dispatcher: Arc::new(Dispatcher::new(Settings {
            background,
            addresses: match args.private_webhooks {
                Some(false) => AddressPolicy::GlobalOnly,
                Some(true) | None => AddressPolicy::Any,
            },
            ..Settings::default()
        })),
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
