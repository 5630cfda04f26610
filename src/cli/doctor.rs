//! `millrace doctor`: what is wrong here, why, and what mends it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::REFUSED;
use crate::clock::SystemClock;
use crate::definitions::{DefinitionKey, Settings};
use crate::doctor::{Subject, port};

/// Arguments of `millrace doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Also reads the environment variables of the server: API_BASE_URL, ROBOFLOW_API_KEY, \
MODEL_CACHE_DIR, WORKFLOWS_DEFINITION_CACHE_EXPIRY, OFFLINE_MODE and so on.\n\
Exit code: 0 if nothing is wrong, 1 if something is, 2 if a setting cannot be read."
)]
pub struct DoctorArgs {
    /// Definitions that are meant to run here: WORKSPACE/WORKFLOW or WORKSPACE/WORKFLOW@VERSION.
    #[arg(value_name = "DEFINITION", value_parser = parse_key)]
    definitions: Vec<DefinitionKey>,
    /// Folder of definitions whose files are meant to run here.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Folder of model packages.
    #[arg(long, env = "MILLRACE_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    /// Address that the server is meant to answer on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port that the server is meant to answer on.
    #[arg(long, env = "PORT", value_name = "PORT", default_value_t = port::PORT)]
    port: u16,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

fn parse_key(text: &str) -> Result<DefinitionKey, String> {
    let (workspace, workflow) = text
        .split_once('/')
        .filter(|(workspace, workflow)| !workspace.is_empty() && !workflow.is_empty())
        .ok_or("write WORKSPACE/WORKFLOW")?;
    let (workflow, version) = match workflow.split_once('@') {
        Some((workflow, version)) => (workflow, Some(version)),
        None => (workflow, None),
    };
    Ok(DefinitionKey::workflow(workspace, workflow, version, None))
}

pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let settings = match Settings::from_env(|name| std::env::var(name).ok()) {
        Ok(settings) => Settings {
            folder: args.folder.clone(),
            ..settings
        },
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(REFUSED);
        }
    };
    // A server that listens everywhere answers on this machine's own address.
    let host = match args.host {
        any if any.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        host => host,
    };
    let subject = Subject {
        definitions: args.definitions.clone(),
        models: args.models.clone(),
        listen: SocketAddr::new(host, args.port),
        ..Subject::new(settings, Arc::new(SystemClock::default()))
    };
    let findings = match subject.examine() {
        Ok(findings) => findings,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    if args.json {
        say!("{:#}", findings.to_json());
    } else {
        say!("{findings}");
    }
    ExitCode::from(u8::from(findings.wrong()))
}
