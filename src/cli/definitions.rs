//! `millrace definitions`: how fresh a running process is, a refresh now, and what changed between
//! two definitions.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::{REFUSED, load_definition};
use crate::definitions::difference;

/// Longest wait for a running process.
const PATIENCE: Duration = Duration::from_secs(130);

/// Arguments of `millrace definitions`.
#[derive(Debug, Args)]
#[command(
    after_help = "A process tells its freshness if it was started with `--http`, e.g. \
`millrace run … --http 127.0.0.1:9001`."
)]
pub struct DefinitionsArgs {
    /// Where the running process listens.
    #[arg(
        long,
        default_value = "http://127.0.0.1:9001",
        value_name = "URL",
        global = true
    )]
    server: String,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Ask the sources of all definitions now, or of one.
    Refresh {
        /// Id of the definition as the table shows it.
        id: Option<String>,
    },
    /// Say in words what changed between two definitions.
    Diff {
        /// The older file.
        before: PathBuf,
        /// The newer file.
        after: PathBuf,
    },
}

pub(super) fn run(args: &DefinitionsArgs) -> ExitCode {
    let outcome = match &args.action {
        None => ask(args, None).map(|told| show_freshness(args, &told)),
        Some(Action::Refresh { id }) => {
            let body = id.as_ref().map_or(json!({}), |id| json!({"id": id}));
            ask(args, Some(body)).map(|told| show_refreshed(args, &told))
        }
        Some(Action::Diff { before, after }) => {
            let both = load_definition(before).and_then(|b| Ok((b, load_definition(after)?)));
            both.map(|(before, after)| {
                let found = difference(&before, &after);
                if args.json {
                    say!("{:#}", found.to_json());
                } else if found.is_empty() {
                    say!("the definitions are the same");
                } else {
                    say!("{found}");
                }
                ExitCode::SUCCESS
            })
            .map_err(|e| e.to_string())
        }
    };
    outcome.unwrap_or_else(|why| {
        eprintln!("error: {why}");
        ExitCode::from(REFUSED)
    })
}

/// Asks a running process: its freshness, or with a body for a refresh.
fn ask(args: &DefinitionsArgs, refresh: Option<Json>) -> Result<Json, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| e.to_string())?;
    let server = args.server.trim_end_matches('/');
    let unreachable = |e: reqwest::Error| {
        format!(
            "no millrace answers at {server}: {}; start one with --http, or name it with --server",
            e.without_url()
        )
    };
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .timeout(PATIENCE)
            .build()
            .map_err(unreachable)?;
        let request = match refresh {
            None => client.get(format!("{server}/freshness")),
            Some(body) => client
                .post(format!("{server}/definitions/refresh"))
                .json(&body),
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        if !status.is_success() {
            return Err(format!("{server} answered {status}: {text}"));
        }
        serde_json::from_str(&text).map_err(|_| format!("what answers at {server} is no millrace"))
    })
}

fn text(json: &Json) -> String {
    match json {
        Json::Null => "-".into(),
        Json::String(s) => s.clone(),
        Json::Array(items) if items.is_empty() => "-".into(),
        Json::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

fn show_freshness(args: &DefinitionsArgs, told: &Json) -> ExitCode {
    if args.json {
        say!("{told:#}");
        return ExitCode::SUCCESS;
    }
    let server = &told["server"];
    say!(
        "server      {} {} ({}), started {}",
        text(&server["name"]),
        text(&server["version"]),
        text(&server["build"]),
        text(&server["started"])
    );
    for row in told["definitions"].as_array().into_iter().flatten() {
        say!("definition  {}", text(&row["id"]));
        for (name, value) in row
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != "id")
        {
            match value {
                Json::Null => {}
                Json::Object(inner) => {
                    let parts: Vec<String> = inner
                        .iter()
                        .filter(|(_, v)| !v.is_null())
                        .map(|(k, v)| format!("{k} {}", text(v)))
                        .collect();
                    say!("  {name:16} {}", parts.join(", "));
                }
                value => say!("  {name:16} {}", text(value)),
            }
        }
    }
    for row in told["models"].as_array().into_iter().flatten() {
        let hash: String = text(&row["sha256"]).chars().take(12).collect();
        say!(
            "model       {} {hash}, {} bytes, loaded {}, {}",
            text(&row["id"]),
            text(&row["size_bytes"]),
            text(&row["loaded_since"]),
            text(&row["folder"])
        );
    }
    for row in told["streams"].as_array().into_iter().flatten() {
        say!(
            "stream      {}: {} results, {} errors, {} swaps",
            text(&row["name"]),
            text(&row["results"]),
            text(&row["errors"]),
            text(&row["swaps"])
        );
    }
    ExitCode::SUCCESS
}

fn show_refreshed(args: &DefinitionsArgs, told: &Json) -> ExitCode {
    let rows = told["refreshed"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if args.json {
        say!("{told:#}");
    } else {
        for row in rows {
            match &row["error"] {
                Json::Null => {
                    let d = &row["definition"];
                    say!(
                        "{}: {} from {}, {} s old",
                        text(&row["id"]),
                        text(&d["hash"]),
                        text(&d["source"]),
                        text(&d["age_seconds"])
                    );
                }
                error => say!("{}: {}", text(&row["id"]), text(error)),
            }
        }
    }
    let failed = rows.iter().any(|row| !row["error"].is_null());
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
