//! `millrace doctor`: what users check by hand when a result is not what they expected.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value as Json;

use crate::clock::SystemClock;
use crate::definitions::ApiKey;
use crate::doctor::{Circumstances, Finding, Verdict, WorkflowName, examine};

/// Arguments of `millrace doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code: 0 if nothing is wrong (warnings do not count), 1 if something is. \
Nothing is changed. The environment variables are those of the server: API_BASE_URL, \
ROBOFLOW_API_KEY, MODEL_CACHE_DIR, ORT_DYLIB_PATH and so on."
)]
pub struct DoctorArgs {
    /// Print a JSON list of findings: check, subject, verdict, evidence, remedy.
    #[arg(long)]
    json: bool,
    /// Port of the server on this machine.
    #[arg(long, env = "PORT", default_value_t = 9001, value_name = "PORT")]
    port: u16,
    /// Folder of model packages.
    #[arg(long, env = "MILLRACE_MODELS", value_name = "DIR")]
    models: Option<PathBuf>,
    /// A definition to compile; with one `--workflow`, also compared with what is published.
    #[arg(long, value_name = "FILE")]
    definition: Option<PathBuf>,
    /// A workflow of the platform to look at, besides those in the cache; may be repeated.
    #[arg(long, value_name = "WORKSPACE/ID[@VERSION]")]
    workflow: Vec<WorkflowName>,
    /// Key for the platform; without it that of the environment.
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Longest time for everything, in seconds.
    #[arg(long, default_value_t = 20.0, value_name = "SECONDS")]
    limit: f64,
}

pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let look = |name: &str| std::env::var(name).ok();
    let mut circumstances = Circumstances {
        port: args.port,
        models: args.models.clone(),
        definition: args.definition.clone(),
        workflows: args.workflow.clone(),
        limit: Duration::try_from_secs_f64(args.limit).unwrap_or(Duration::MAX),
        ..Circumstances::from_env(look)
    };
    if let (Ok(settings), Some(key)) = (&mut circumstances.settings, &args.api_key) {
        settings.api_key = Some(ApiKey::new(key));
    }
    let found = examine(&circumstances, Arc::new(SystemClock::default()));
    if args.json {
        let list: Vec<Json> = found.iter().map(Finding::to_json).collect();
        say!("{:#}", Json::Array(list));
    } else {
        print_table(&found);
    }
    let faults = found.iter().any(|f| f.verdict == Verdict::Fault);
    ExitCode::from(u8::from(faults))
}

fn print_table(found: &[Finding]) {
    let name = |finding: &Finding| finding.check.name().len();
    let width = found.iter().map(name).max().unwrap_or(0);
    for finding in found {
        let word = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::NotApplicable => "-",
            Verdict::Warning => "warning",
            Verdict::Fault => "FAULT",
        };
        let subject = match &finding.subject {
            Some(subject) => format!("{subject}: "),
            None => String::new(),
        };
        let check = finding.check.name();
        say!("{word:7}  {check:width$}  {subject}{}", finding.evidence);
        if let Some(remedy) = &finding.remedy {
            say!("{:7}  {:width$}  -> {remedy}", "", "");
        }
    }
    let count = |verdict| found.iter().filter(|f| f.verdict == verdict).count();
    say!(
        "\n{} wrong, {} to watch, {} well, {} not applicable",
        count(Verdict::Fault),
        count(Verdict::Warning),
        count(Verdict::Ok),
        count(Verdict::NotApplicable)
    );
}
