//! The command line: arguments in, exit code out. Everything else is in the library.

/// Prints a line to standard output. A reader that went away (`millrace blocks | head`) is no error.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod bench;
mod blocks;
mod cameras;
mod definitions;
mod doctor;
mod exec;
mod host;
mod image_urls;
mod models;
mod outbox;
mod rtsp;
mod run;
mod serve;
mod stage;
mod store;
mod streams;
mod validate;
mod webrtc;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use serde_json::Value as Json;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::clock::SystemClock;
use crate::definition::error::WorkflowError;
use crate::delivery::AddressPolicy;
pub use image_urls::ImageUrlArgs;

/// Runs Roboflow Workflows definitions on live cameras and recorded video.
///
/// Start with a definition and a source:
///
///   millrace run pipelines/people-crossing-a-line.json --source clip.mp4 --output out
///
/// Check a definition without running it with `millrace validate`, see what blocks exist with
/// `millrace blocks`.
#[derive(Debug, Parser)]
#[command(
    name = "millrace",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What the log on standard error shows: error, warn, info, debug, trace, or a filter as in
    /// `millrace=debug,ort=warn`.
    #[arg(
        long,
        global = true,
        env = "MILLRACE_LOG",
        default_value = "warn",
        value_name = "FILTER"
    )]
    pub log: String,
    /// How a line of the log looks.
    #[arg(
        long,
        global = true,
        env = "MILLRACE_LOG_FORMAT",
        value_enum,
        default_value = "text"
    )]
    pub log_format: LogFormat,
    /// Keep the last lines of the log for `GET /logs` of a server.
    #[arg(
        long = "keep-log",
        global = true,
        env = "ENABLE_IN_MEMORY_LOGS",
        value_parser = clap::builder::BoolishValueParser::new(),
        default_value = "false",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub keep_log: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a definition on recorded files and live cameras.
    Run(Box<run::RunArgs>),
    /// Serve workflows and models over HTTP, as a drop-in for the server of `inference_sdk`.
    Serve(Box<serve::ServeArgs>),
    /// Run a definition once per line of inputs and print the results as JSON Lines.
    Exec(exec::ExecArgs),
    /// The streams of a running server: list, status, start, pause, resume, stop, add-source,
    /// remove-source, watch.
    Streams(streams::StreamsArgs),
    /// How fresh a running process is; refresh its definitions; compare two definitions.
    Definitions(definitions::DefinitionsArgs),
    /// The models of this machine: list them, fetch one from the platform, remove one.
    Models(models::ModelsArgs),
    /// Find out what is wrong on this machine, and say what mends it.
    Doctor(doctor::DoctorArgs),
    /// Events that wait for their receivers: list, show, retry, drop, export; test a receiver.
    Outbox(outbox::OutboxArgs),
    /// Measure what this machine manages.
    Bench(bench::BenchArgs),
    /// Check a definition and say everything that is wrong with it.
    Validate(validate::ValidateArgs),
    /// List the blocks that definitions may use, or describe one.
    Blocks(blocks::BlocksArgs),
}

/// Arguments of every command that runs models.
#[derive(Clone, Debug, Args)]
pub struct HostArgs {
    /// Folder of model packages; its `registry.json`, if there is one, maps model ids to folders.
    #[arg(long, env = "MILLRACE_MODELS", value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Whether webhooks of definitions may reach private addresses, such as this machine [default:
    /// true].
    #[arg(
        long,
        env = AddressPolicy::VARIABLE,
        value_name = "BOOL",
        value_parser = clap::builder::BoolishValueParser::new(),
        hide_env_values = true
    )]
    pub private_webhooks: Option<bool>,
}

impl Cli {
    /// Does what the command says.
    pub fn run(self) -> ExitCode {
        init_log(&self.log, self.log_format, self.keep_log);
        match self.command {
            Command::Run(args) => run::run(&args),
            Command::Serve(args) => serve::run(&args),
            Command::Exec(args) => exec::run(&args),
            Command::Streams(args) => streams::run(&args),
            Command::Definitions(args) => definitions::run(&args),
            Command::Models(args) => models::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Outbox(args) => outbox::run(&args),
            Command::Bench(args) => bench::run(&args),
            Command::Validate(args) => validate::run(&args),
            Command::Blocks(args) => blocks::run(&args),
        }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// A JSON object a line, for programs.
    Json,
}

fn init_log(filter: &str, format: LogFormat, keep: bool) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = fmt::layer().with_writer(std::io::stderr);
    // In a file or a journal escapes are letters.
    let lines = match std::io::stderr().is_terminal() {
        true => lines,
        false => lines.with_ansi(false),
    };
    let lines = match format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().with_filter(filter).boxed(),
    };
    let kept = keep.then(|| {
        let keeper = crate::http::logs::keep(Arc::new(SystemClock::default()));
        keeper.with_filter(EnvFilter::new("millrace=info,warn"))
    });
    // A second initialisation (tests in one process) keeps the first log.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(kept)
        .try_init();
}

/// Exit codes: 0 all well, 1 something ran and failed, 2 refused before anything ran.
const REFUSED: u8 = 2;

/// Why a definition could not be used.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("cannot read {path}: {source}; check the path")]
    Read {
        path: String,
        source: std::io::Error,
    },
    #[error("{path} is not JSON: {source}")]
    Json {
        path: String,
        source: serde_json::Error,
    },
    #[error(transparent)]
    Workflow(#[from] WorkflowError),
    #[error(transparent)]
    Models(#[from] crate::models::ModelError),
    #[error(transparent)]
    Definition(#[from] crate::definitions::DefinitionError),
    #[error(transparent)]
    Outbox(#[from] crate::delivery::outbox::OutboxError),
    #[error(transparent)]
    Setting(#[from] crate::definitions::settings::SettingError),
    #[error(transparent)]
    Fleet(#[from] crate::fleet::SettingError),
    #[error("the machine refuses a thread: {0}")]
    Thread(#[from] std::io::Error),
    #[error(transparent)]
    Traces(#[from] crate::telemetry::SettingsError),
    #[error(transparent)]
    Collector(#[from] crate::telemetry::TelemetryError),
    #[error(transparent)]
    Remote(#[from] crate::delivery::remote::NoSeconds),
}

impl LoadError {
    /// The error in the form of a workflow error.
    fn to_json(&self) -> Json {
        match self {
            Self::Workflow(error) => error.to_json(),
            other => serde_json::json!({
                "message": other.to_string(),
                "error_type": "WorkflowDefinitionError",
                "context": "workflow_compilation | definition_loading",
            }),
        }
    }
}

fn load_definition(path: &Path) -> Result<Json, LoadError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read {
        path: shown.clone(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| LoadError::Json {
        path: shown,
        source,
    })
}
