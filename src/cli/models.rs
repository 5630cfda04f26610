//! `millrace models`: what is there, fetching a model from the platform, removing one from the
//! cache.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use super::{HostArgs, LoadError, REFUSED, host};
use crate::clock::SystemClock;
use crate::definitions::ApiKey;
use crate::models::{Download, ModelError, ModelInfo, ModelStore};
use crate::values::Timestamp;

/// Time between two looks at what is being downloaded.
const LOOK: Duration = Duration::from_millis(100);

/// Heading of a column, and what a row has in it.
type Column = (&'static str, fn(&Json) -> String);

/// Arguments of `millrace models`.
#[derive(Debug, Args)]
#[command(after_help = "\
Models of the platform are kept below MODEL_CACHE_DIR, in the reference's layout. The platform is \
named by API_BASE_URL and ROBOFLOW_API_HOST.\n\
Exit code: 0 all well, 1 a model could not be fetched or removed, 2 a setting makes no sense.")]
pub struct ModelsArgs {
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    host: HostArgs,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the models of the folder and of the cache.
    List,
    /// Fetch models from the platform and load each once for trial.
    Pull {
        /// Ids of models, such as `project/3` or `yolov8n-640`.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Key for models of the platform.
        #[arg(
            long,
            env = "ROBOFLOW_API_KEY",
            hide_env_values = true,
            value_name = "KEY"
        )]
        api_key: Option<String>,
    },
    /// Remove models from the cache. The folder of packages is not touched.
    Remove {
        /// Ids of models.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

pub(super) fn run(args: &ModelsArgs) -> ExitCode {
    let store = match host::models(&args.host, Arc::new(SystemClock::default())) {
        Ok(store) => store,
        Err(why) => return refused(&why),
    };
    match &args.action {
        Action::List => {
            list(args, &store);
            ExitCode::SUCCESS
        }
        Action::Pull { ids, api_key } => pull(args, &store, ids, api_key.as_deref()),
        Action::Remove { ids } => remove(args, &store, ids),
    }
}

fn refused(why: &LoadError) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::from(REFUSED)
}

fn list(args: &ModelsArgs, store: &ModelStore) {
    let mut rows: Vec<Json> = store.list().iter().map(of_folder).collect();
    rows.extend(store.cached().into_iter().map(|model| {
        json!({"id": model.id, "source": "cache", "task": model.task,
            "architecture": model.architecture, "package_id": model.package_id,
            "size_bytes": model.size, "chosen_at": model.chosen_at.map(time),
            "folder": model.folder, "problem": null})
    }));
    if args.json {
        say!("{:#}", Json::Array(rows));
        return;
    }
    let columns: [Column; 6] = [
        ("ID", |row| text(&row["id"])),
        ("FROM", |row| text(&row["source"])),
        ("TASK", |row| text(&row["task"])),
        ("ARCHITECTURE", |row| text(&row["architecture"])),
        ("SIZE", |row| size(&row["size_bytes"])),
        ("PACKAGE", |row| text(&row["package_id"])),
    ];
    table(&columns, &rows);
    for row in rows.iter().filter(|row| !row["problem"].is_null()) {
        say!("{}: {}", text(&row["id"]), text(&row["problem"]));
    }
    if rows.is_empty() {
        say!(
            "no models; `millrace models pull ID` fetches one, --models names a folder of packages"
        );
    }
}

fn of_folder(model: &ModelInfo) -> Json {
    json!({"id": model.id, "source": model.source.name(), "task": model.task,
        "architecture": model.architecture, "package_id": null, "size_bytes": model.size,
        "sha256": model.sha256, "folder": model.folder,
        "problem": model.problem.as_ref().map(ToString::to_string)})
}

fn table(columns: &[Column], rows: &[Json]) {
    if rows.is_empty() {
        return;
    }
    let mut lines = vec![columns.iter().map(|(name, _)| (*name).to_owned()).collect()];
    let cells = |row| {
        columns
            .iter()
            .map(|(_, cell)| cell(row))
            .collect::<Vec<String>>()
    };
    lines.extend(rows.iter().map(cells));
    let width = |n: usize| {
        let cells = lines.iter().filter_map(|line: &Vec<String>| line.get(n));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for line in &lines {
        let padded = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let line = padded.collect::<Vec<_>>().join("  ");
        say!("{}", line.trim_end());
    }
}

fn pull(args: &ModelsArgs, store: &ModelStore, ids: &[String], key: Option<&str>) -> ExitCode {
    let key = key.map(ApiKey::new);
    let mut rows = Vec::new();
    for id in ids {
        let result = with_bars(store, args.json, || store.preload_for(id, key.as_ref()));
        let row = match result.and_then(|()| store.info(id)) {
            Ok(model) => {
                if !args.json {
                    let size = model.size.unwrap_or_default();
                    let from = model.source.name();
                    say!(
                        "{id}: {} {}, {} ({from})",
                        model.architecture,
                        model.task,
                        bytes(size)
                    );
                }
                of_folder(&model)
            }
            Err(error) => failed(id, &error),
        };
        store.unload(id);
        rows.push(row);
    }
    ended(args, &rows)
}

fn remove(args: &ModelsArgs, store: &ModelStore, ids: &[String]) -> ExitCode {
    let rows: Vec<Json> = ids
        .iter()
        .map(|id| match store.remove_from_cache(id) {
            Ok(free) => {
                if !args.json {
                    say!("{id}: {} removed", bytes(free));
                }
                json!({"id": id, "removed_bytes": free})
            }
            Err(error) => failed(id, &error),
        })
        .collect();
    ended(args, &rows)
}

fn failed(id: &str, error: &ModelError) -> Json {
    eprintln!("error: {error}");
    json!({"id": id, "error": error.to_string(), "status": error.status()})
}

fn ended(args: &ModelsArgs, rows: &[Json]) -> ExitCode {
    if args.json {
        say!("{:#}", Json::Array(rows.to_vec()));
    }
    match rows.iter().any(|row| row.get("error").is_some()) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// Does something and shows a bar for every download meanwhile.
fn with_bars<T: Send>(store: &ModelStore, quiet: bool, work: impl FnOnce() -> T + Send) -> T {
    let (done, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        if !quiet {
            scope.spawn(move || show(store, &ended));
        }
        let result = work();
        drop(done);
        result
    })
}

fn show(store: &ModelStore, ended: &mpsc::Receiver<()>) {
    let all = MultiProgress::new();
    let style = ProgressStyle::with_template("{msg:24} {bar:30} {bytes}/{total_bytes} {eta}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let mut bars: Vec<(Download, ProgressBar)> = Vec::new();
    loop {
        for now in store.downloads() {
            let known = bars
                .iter()
                .position(|(download, _)| download.file == now.file);
            let place = known.unwrap_or_else(|| {
                let bar = all.add(ProgressBar::new(0).with_style(style.clone()));
                bar.set_message(now.file.to_string());
                bars.push((now.clone(), bar));
                bars.len() - 1
            });
            if let Some((_, bar)) = bars.get(place) {
                bar.set_length(now.total.unwrap_or(now.done));
                bar.set_position(now.done);
            }
        }
        if ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected) {
            for (_, bar) in &bars {
                bar.finish_and_clear();
            }
            return;
        }
    }
}

fn text(json: &Json) -> String {
    match json {
        Json::Null => "-".into(),
        Json::String(text) if text.is_empty() => "-".into(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn size(json: &Json) -> String {
    json.as_u64().map_or("-".into(), bytes)
}

fn bytes(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        _ => format!("{:.1} MB", count as f64 / 1e6),
    }
}

fn time(seconds: f64) -> String {
    Timestamp::from_unix_micros((seconds * 1e6) as i64).isoformat()
}
