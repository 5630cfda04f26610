//! Which definition an argument means, and the store that has it.

use std::path::Path;
use std::sync::Arc;

use clap::Args;

use super::LoadError;
use crate::clock::{Clock, SystemClock};
use crate::definitions::{ApiKey, DefinitionKey, DefinitionStore, LazyLibrary, Settings};

/// Arguments of commands that take a definition of the platform too.
#[derive(Clone, Debug, Args)]
pub struct StoreArgs {
    /// Key for definitions of the platform.
    #[arg(
        long,
        env = "ROBOFLOW_API_KEY",
        hide_env_values = true,
        value_name = "KEY"
    )]
    pub api_key: Option<String>,
    /// Pinned version of a definition of the platform (its `workflow_version_id`).
    #[arg(long, value_name = "ID")]
    pub workflow_version: Option<String>,
}

/// The store with the settings of the environment.
///
/// # Errors
/// If a setting makes no sense, or the store cannot start.
pub(super) fn open(clock: Arc<dyn Clock>) -> Result<Arc<DefinitionStore>, LoadError> {
    let settings = Settings::from_env(|name| std::env::var(name).ok())?;
    Ok(Arc::new(DefinitionStore::open(settings, clock)?))
}

/// What a command that has no store lends to inner workflows, with the settings of the environment.
///
/// # Errors
/// If a setting makes no sense.
pub(super) fn library() -> Result<LazyLibrary, LoadError> {
    let settings = Settings::from_env(|name| std::env::var(name).ok())?;
    Ok(LazyLibrary::new(settings, Arc::new(SystemClock::default())))
}

/// A file if there is one of that name (or the text ends in `.json`), else `workspace/workflow`.
pub(super) fn key(definition: &Path, args: &StoreArgs) -> DefinitionKey {
    let text = definition.to_string_lossy();
    let is_file = definition.exists() || definition.extension().is_some_and(|e| e == "json");
    match text.split_once('/') {
        Some((workspace, workflow))
            if !is_file && !workspace.is_empty() && !workflow.contains('/') =>
        {
            let api_key = args.api_key.as_deref().map(ApiKey::new);
            DefinitionKey::workflow(
                workspace,
                workflow,
                args.workflow_version.as_deref(),
                api_key,
            )
        }
        _ => DefinitionKey::file(definition),
    }
}
