//! `millrace streams`: the streams of a running server.

mod server;
mod start;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::REFUSED;
use server::Server;

/// Arguments of `millrace streams`.
#[derive(Debug, Args)]
#[command(
    after_help = "Talks to `millrace serve`; `list`, `status` and `watch` work with `millrace run --http` too.\n\
Examples:\n  \
millrace streams start people.json --source rtsp://user:pass@10.0.0.7/main --param limit=3\n  \
millrace streams watch --server http://10.0.0.2:9001 --token \"$TOKEN\"\n\
Exit code: 0 all well, 2 no server answered or it refused."
)]
pub struct StreamsArgs {
    /// Where the running server listens.
    #[arg(
        long,
        default_value = "http://127.0.0.1:9001",
        value_name = "URL",
        global = true
    )]
    server: String,
    /// What the server asks for, if it was started with a token.
    #[arg(
        long,
        env = "MILLRACE_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        global = true
    )]
    token: Option<String>,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// All streams, with their state and figures.
    List,
    /// Everything about one stream.
    Status {
        /// Name of the stream.
        id: String,
    },
    /// Start a stream; prints its id.
    Start(start::StartArgs),
    /// Pause a stream: files are not read on, frames of cameras go by.
    Pause {
        /// Name of the stream.
        id: String,
    },
    /// Let a paused stream go on.
    Resume {
        /// Name of the stream.
        id: String,
    },
    /// End a stream; results that nobody took are dropped.
    Stop {
        /// Name of the stream.
        id: String,
    },
    /// Add a source to a running stream; prints its number.
    AddSource {
        /// Name of the stream.
        id: String,
        /// Where frames come from, as `millrace run --source` takes it.
        source: String,
    },
    /// Take a source away from a running stream.
    RemoveSource {
        /// Name of the stream.
        id: String,
        /// Number of the source, as `status` shows it.
        number: usize,
    },
    /// A table that follows what the streams do, until Ctrl-C.
    Watch {
        /// Seconds from one look to the next.
        #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
        every: f64,
        /// Looks after which it ends.
        #[arg(long, value_name = "N")]
        times: Option<u64>,
    },
}

pub(super) fn run(args: &StreamsArgs) -> ExitCode {
    let done = Server::new(&args.server, args.token.as_deref());
    match done.and_then(|server| act(args, &server)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(REFUSED)
        }
    }
}

fn act(args: &StreamsArgs, server: &Server) -> Result<(), String> {
    let of = |id: &str, what: &str| format!("/inference_pipelines/{}/{what}", server::segment(id));
    let done = |answer: Json, text: String| {
        match args.json {
            true => say!("{answer:#}"),
            false => say!("{text}"),
        }
        Ok(())
    };
    match args.action.as_ref().unwrap_or(&Action::List) {
        Action::List => list(args, server),
        Action::Status { id } => status(args, server, id),
        Action::Start(start) => {
            let answer = server.post("/inference_pipelines/initialise", &start.body()?)?;
            let id = table::text(&answer["context"]["pipeline_id"]);
            done(answer, id)
        }
        Action::Pause { id } => {
            let answer = server.post(&of(id, "pause"), &json!({}))?;
            done(answer, format!("{id} pauses"))
        }
        Action::Resume { id } => {
            let answer = server.post(&of(id, "resume"), &json!({}))?;
            done(answer, format!("{id} goes on"))
        }
        Action::Stop { id } => {
            let answer = server.post(&of(id, "terminate"), &json!({}))?;
            done(answer, format!("{id} has ended"))
        }
        Action::AddSource { id, source } => {
            let body = json!({"video_reference": start::reference(source)});
            let answer = server.post(&of(id, "sources"), &body)?;
            let number = table::text(&answer["source_id"]);
            done(answer, number)
        }
        Action::RemoveSource { id, number } => {
            let answer = server.delete(&of(id, &format!("sources/{number}")))?;
            done(answer, format!("{id} goes on without source {number}"))
        }
        Action::Watch { every, times } => watch(args, server, *every, *times),
    }
}

/// The streams of the server.
fn rows(server: &Server) -> Result<Vec<Json>, String> {
    let told = server.get("/streams")?;
    let rows = told["streams"].as_array().cloned();
    rows.ok_or_else(|| format!("what answers at {} is no millrace", server.name()))
}

fn list(args: &StreamsArgs, server: &Server) -> Result<(), String> {
    let rows = rows(server)?;
    match args.json {
        true => say!("{:#}", Json::from(rows)),
        false => say!("{}", table::of(&rows)),
    }
    Ok(())
}

fn status(args: &StreamsArgs, server: &Server, id: &str) -> Result<(), String> {
    let told = server.get(&format!("/streams/{}", server::segment(id)))?;
    match args.json {
        true => say!("{told:#}"),
        false => say!("{}", table::details(&told)),
    }
    Ok(())
}

fn watch(
    args: &StreamsArgs,
    server: &Server,
    every: f64,
    times: Option<u64>,
) -> Result<(), String> {
    use std::io::IsTerminal;
    let wrong = "--every: a number of seconds from 0.1";
    let every = Duration::try_from_secs_f64(every).map_err(|_| wrong)?;
    if every < Duration::from_millis(100) {
        return Err(wrong.into());
    }
    let terminal = std::io::stdout().is_terminal();
    let mut looks = 0;
    loop {
        let rows = rows(server)?;
        if args.json {
            // A line a look, for programs.
            say!("{}", Json::from(rows));
        } else if terminal {
            // From the top left corner over the table before, and nothing of it below.
            say!("\x1b[H\x1b[2J{}", table::of(&rows));
        } else {
            say!("{}\n", table::of(&rows));
        }
        looks += 1;
        if times.is_some_and(|times| looks >= times) {
            return Ok(());
        }
        std::thread::sleep(every);
    }
}

/// A file of this machine as a server on it can read it: with its whole path.
fn absolute(path: &str) -> Option<PathBuf> {
    let path = std::path::Path::new(path);
    path.is_file().then(|| path.canonicalize().ok()).flatten()
}
