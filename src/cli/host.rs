//! The services of a process, made from its arguments.

use std::sync::Arc;

use super::outbox::OutboxPlaceArgs;
use super::{HostArgs, LoadError};
use crate::blocks::Services;
use crate::blocks::sinks::settings::{SinkHost, SinkSettings};
use crate::clock::Clock;
use crate::definitions;
use crate::delivery::{AddressPolicy, Dispatcher, RemoteWorkflows, Settings};
use crate::models::{self, ModelStore, RuntimeSettings};

/// Makes the services that blocks use, for a process that goes on after an execution: steps that do
/// not want to wait for a receiver need not. Their events wait in the outbox.
///
/// # Errors
/// If the folder of models cannot be read, or a setting makes no sense.
pub(super) fn services(args: &HostArgs, outbox: &OutboxPlaceArgs) -> Result<Services, LoadError> {
    with_models(args, |settings| outbox.dispatcher(settings), true)
}

/// The same for a process that ends with its last execution: nothing is left to the background.
///
/// # Errors
/// If the folder of models cannot be read, or a setting makes no sense.
pub(super) fn services_in_foreground(args: &HostArgs) -> Result<Services, LoadError> {
    with_models(args, Dispatcher::new, false)
}

fn delivery(args: &HostArgs, sinks: &SinkSettings, background: bool) -> Settings {
    Settings {
        background,
        forbidden: sinks.forbidden(),
        addresses: match args.private_webhooks {
            Some(false) => AddressPolicy::GlobalOnly,
            Some(true) | None => AddressPolicy::Any,
        },
        ..Settings::default()
    }
}

fn with_models(
    args: &HostArgs,
    dispatcher: impl FnOnce(Settings) -> Dispatcher,
    background: bool,
) -> Result<Services, LoadError> {
    let sinks = sinks()?;
    let services = Services {
        dispatcher: Arc::new(dispatcher(delivery(args, &sinks, background))),
        remote: Arc::new(remote()?),
        sinks: Arc::new(SinkHost::new(sinks)),
        ..Services::default()
    };
    let models = models(args, services.clock.clone())?;
    Ok(Services {
        models: Arc::new(models),
        ..services
    })
}

/// The store of models: the folder of the arguments, the cache and the platform of the environment.
///
/// # Errors
/// If the folder of models cannot be read, or a setting makes no sense.
pub(super) fn models(args: &HostArgs, clock: Arc<dyn Clock>) -> Result<ModelStore, LoadError> {
    let settings = models::Settings::from_env(|name| std::env::var(name).ok())?;
    let runtime = RuntimeSettings::default();
    let store = ModelStore::connect(args.models.as_deref(), runtime, settings, clock)?;
    Ok(store)
}

/// Where inner workflows go that another server is to run, by the environment.
fn remote() -> Result<RemoteWorkflows, LoadError> {
    let look = |name: &str| std::env::var(name).ok();
    let settings = definitions::Settings::from_env(look)?;
    let mut remote = RemoteWorkflows::from_env(look)?;
    remote.api_key = settings.api_key.map(|key| key.expose().into());
    remote.max_depth = u32::try_from(settings.nesting.depth).unwrap_or(u32::MAX);
    Ok(remote)
}

/// What sinks may do, by the environment.
pub(super) fn sinks() -> Result<SinkSettings, LoadError> {
    let look = |name: &str| std::env::var(name).ok();
    let settings = definitions::Settings::from_env(look)?;
    Ok(SinkSettings::from_env(&settings, look))
}
