//! The services of a process, made from its arguments.

use std::sync::Arc;

use super::HostArgs;
use crate::blocks::Services;
use crate::models::{ModelError, ModelStore, RuntimeSettings};

/// Makes the services that blocks use.
///
/// # Errors
/// If the folder of models cannot be read.
pub(super) fn services(args: &HostArgs) -> Result<Services, ModelError> {
    let services = Services::default();
    let Some(folder) = &args.models else {
        return Ok(services);
    };
    let models = ModelStore::open(folder, RuntimeSettings::default(), services.clock.clone())?;
    Ok(Services {
        models: Arc::new(models),
        ..services
    })
}
