//! `millrace outbox`: events that wait for their receivers, and those that were given up.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::REFUSED;
use crate::clock::{Clock, SystemClock};
use crate::delivery::outbox::view::{Listed, Selection, View};
use crate::delivery::outbox::{Durability, OutboxError, OutboxSettings};
use crate::delivery::{Dispatcher, Overflow, Request, Settings};
use crate::redact::Redacted;

/// Arguments of `millrace outbox`.
#[derive(Debug, Args)]
#[command(
    after_help = "Works beside a running process too: it follows within a second.\n\
Exit code: 0 all well, 1 no such event or a test that failed, 2 no outbox."
)]
pub struct OutboxArgs {
    #[command(subcommand)]
    action: Action,
    /// Folder of the outbox; without, the one that `millrace run` uses.
    #[arg(long, global = true, env = OUTBOX_VARIABLE, value_name = "DIR")]
    outbox: Option<PathBuf>,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
}

/// Environment variable that names the folder.
pub(super) const OUTBOX_VARIABLE: &str = "MILLRACE_OUTBOX";

#[derive(Debug, Subcommand)]
enum Action {
    /// The events, oldest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Most events to list.
        #[arg(long, default_value_t = 50, value_name = "N")]
        limit: usize,
    },
    /// One event with its request.
    Show {
        /// Number of the event, as `list` shows it.
        id: u64,
        /// Show headers and the address as they are.
        #[arg(long)]
        secrets: bool,
    },
    /// Send events now: those that were given up, or that wait for another attempt.
    Retry {
        #[command(flatten)]
        which: Which,
    },
    /// Take events away for good.
    Drop {
        #[command(flatten)]
        which: Which,
    },
    /// Print events with their requests as JSON Lines.
    Export {
        #[command(flatten)]
        filter: Filter,
        /// Print headers and addresses as they are.
        #[arg(long)]
        secrets: bool,
    },
    /// Send one event to a receiver and show the answer.
    Test {
        /// The receiver: an address as `millrace run --webhook` takes it.
        target: String,
        /// What is sent; a small JSON object without.
        #[arg(long, value_name = "TEXT")]
        body: Option<String>,
    },
}

/// Which events are shown.
#[derive(Clone, Debug, Args)]
struct Filter {
    /// Only those that were given up.
    #[arg(long)]
    dead: bool,
    /// Only those for this receiver, e.g. http://127.0.0.1:8000.
    #[arg(long, value_name = "RECEIVER")]
    receiver: Option<String>,
    /// Only those of this stream.
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
}

/// Which events are changed; there is no default.
#[derive(Clone, Debug, Args)]
struct Which {
    /// Numbers of events, as `list` shows them.
    #[arg(required_unless_present_any = ["all", "dead", "receiver", "stream"])]
    ids: Vec<u64>,
    /// All events.
    #[arg(long, conflicts_with_all = ["ids", "dead", "receiver", "stream"])]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Filter {
    fn selection(&self, ids: &[u64]) -> Selection {
        Selection {
            ids: ids.to_vec(),
            dead: self.dead,
            receiver: self.receiver.clone(),
            stream: self.stream.clone(),
        }
    }
}

/// Where events wait, as `millrace run` is told.
#[derive(Clone, Debug, Args)]
pub struct OutboxPlaceArgs {
    /// Folder in which events wait until they are delivered, over restarts too [default:
    /// `millrace/outbox` in `$XDG_STATE_HOME`, else in `~/.local/state`].
    #[arg(long, env = OUTBOX_VARIABLE, value_name = "DIR")]
    outbox: Option<PathBuf>,
    /// Events wait in memory only: they are lost with the process.
    #[arg(long)]
    no_outbox: bool,
    /// Most bytes of events that wait; `k`, `M` and `G` may follow.
    #[arg(long, env = "MILLRACE_OUTBOX_BYTES", default_value = "1G", value_parser = bytes, value_name = "BYTES")]
    outbox_bytes: u64,
    /// Longest time for which an event is kept; `s`, `m`, `h` or `d` follows.
    #[arg(long, env = "MILLRACE_OUTBOX_AGE", default_value = "7d", value_parser = age, value_name = "TIME")]
    outbox_age: Duration,
    /// What happens when the outbox or its disk is full: new events are refused, the oldest make
    /// room, or streams wait.
    #[arg(
        long,
        env = "MILLRACE_OUTBOX_FULL",
        value_enum,
        default_value = "drop-oldest",
        value_name = "POLICY"
    )]
    outbox_full: Overflow,
    /// What an event outlives: the end of the process, or a loss of power too (every event then
    /// waits for the disk).
    #[arg(
        long,
        env = "MILLRACE_OUTBOX_SURVIVES",
        value_enum,
        default_value = "process",
        value_name = "WHAT"
    )]
    outbox_survives: Durability,
    /// Attempts for an event that its receiver does not want (4xx but for 408, 425 and 429) before
    /// it is given up.
    #[arg(
        long,
        env = "MILLRACE_OUTBOX_TRIES",
        default_value_t = 3,
        value_name = "N"
    )]
    outbox_tries: u32,
}

impl OutboxPlaceArgs {
    /// A dispatcher whose events wait there. Without a folder and a home they wait in memory.
    pub(super) fn dispatcher(&self, mut settings: Settings) -> Dispatcher {
        if self.no_outbox {
            return Dispatcher::new(settings);
        }
        let Some(folder) = self.outbox.clone().or_else(default_folder) else {
            tracing::warn!("no --outbox and no home folder: events wait in memory only");
            return Dispatcher::new(settings);
        };
        settings.retry.unwanted = self.outbox_tries.max(1);
        let mut outbox = OutboxSettings::new(folder);
        // Who names a folder means that one; beside the default there is room for more processes.
        outbox.or_beside = self.outbox.is_none();
        outbox.bytes = self.outbox_bytes;
        outbox.age = self.outbox_age;
        outbox.overflow = self.outbox_full;
        outbox.durability = self.outbox_survives;
        Dispatcher::with_outbox(settings, outbox)
    }

    /// Whether somebody named a folder.
    pub(super) fn is_named(&self) -> bool {
        self.outbox.is_some() && !self.no_outbox
    }
}

/// The folder of the outbox where none is named.
fn default_folder() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    let state = match named("XDG_STATE_HOME") {
        Some(state) => PathBuf::from(state),
        None => Path::new(&named("HOME")?).join(".local/state"),
    };
    Some(state.join("millrace/outbox"))
}

/// Reads `512M`.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no number of bytes, write e.g. 500M or 2G");
    let (number, shift) = match text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']) {
        None => (text, 0),
        Some(number) => match text.as_bytes().last().map(u8::to_ascii_lowercase) {
            Some(b'k') => (number, 10),
            Some(b'm') => (number, 20),
            _ => (number, 30),
        },
    };
    let number: u64 = number.trim().parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .filter(|n| *n > 0)
        .ok_or_else(wrong)
}

/// Reads `7d`.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time, write e.g. 12h or 7d");
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        None => (text, 1),
        Some(number) => match text.as_bytes().last() {
            Some(b'm') => (number, 60),
            Some(b'h') => (number, 3600),
            Some(b'd') => (number, 86_400),
            _ => (number, 1),
        },
    };
    let number: u64 = number.trim().parse().map_err(|_| wrong())?;
    let seconds = number
        .checked_mul(unit)
        .filter(|n| *n > 0)
        .ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

pub(super) fn run(args: &OutboxArgs) -> ExitCode {
    if let Action::Test { target, body } = &args.action {
        return test(target, body.as_deref(), args.json);
    }
    let Some(folder) = args.outbox.clone().or_else(default_folder) else {
        eprintln!("error: no home folder; name the outbox with --outbox");
        return ExitCode::from(REFUSED);
    };
    let view = match View::open(&folder) {
        Ok(view) => view,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(REFUSED);
        }
    };
    match act(view, args, &folder) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(mut view: View, args: &OutboxArgs, folder: &Path) -> Result<ExitCode, OutboxError> {
    match &args.action {
        Action::List { filter, limit } => {
            let listed = view.list(&filter.selection(&[]), *limit)?;
            list(&view, &listed, args.json, folder)?;
        }
        Action::Show { id, secrets } => show(&view.show(*id, *secrets)?, args.json),
        Action::Retry { which } => {
            let n = view.retry(&which.filter.selection(&which.ids))?;
            return Ok(changed(n, "sent again", args.json));
        }
        Action::Drop { which } => {
            let n = view.drop(&which.filter.selection(&which.ids))?;
            return Ok(changed(n, "taken away", args.json));
        }
        Action::Export { filter, secrets } => {
            for listed in view.list(&filter.selection(&[]), usize::MAX)? {
                say!("{}", view.export(&listed, *secrets)?);
            }
        }
        Action::Test { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn list(view: &View, listed: &[Listed], as_json: bool, folder: &Path) -> Result<(), OutboxError> {
    let (queued, dead) = view.counts()?;
    let totals = view.totals()?;
    if as_json {
        let mut all = json!({
            "folder": folder.display().to_string(),
            "live": view.is_live(),
            "queued": queued,
            "dead": dead,
            "events": listed.iter().map(Listed::to_json).collect::<Json>(),
        });
        if let (Some(all), Some(totals)) = (all.as_object_mut(), totals.as_object()) {
            all.extend(totals.clone());
        }
        say!("{all:#}");
        return Ok(());
    }
    if !listed.is_empty() {
        let now = (SystemClock::default().now().unix_seconds() * 1e3) as i64;
        let rows: Vec<[String; 7]> = listed.iter().map(|event| row(event, now)).collect();
        table(
            ["id", "state", "age", "tries", "bytes", "stream", "receiver"],
            &rows,
            listed,
        );
    }
    let owner = if view.is_live() {
        "a process delivers from it"
    } else {
        "no process delivers from it"
    };
    say!(
        "{queued} queued, {dead} given up in {} ({owner})",
        folder.display()
    );
    let total = |name: &str| totals[name].as_i64().unwrap_or(0);
    say!(
        "over its life: {} delivered, {} retried, {} given up, {} dropped",
        total("delivered_total"),
        total("retried_total"),
        total("dead_total"),
        total("dropped_total")
    );
    Ok(())
}

fn row(event: &Listed, now: i64) -> [String; 7] {
    let age = now.saturating_sub(event.since).max(0) / 1000;
    let age = match age {
        0..=119 => format!("{age}s"),
        120..=7199 => format!("{}m", age / 60),
        7200..=172_799 => format!("{}h", age / 3600),
        _ => format!("{}d", age / 86_400),
    };
    [
        event.id.to_string(),
        if event.dead { "dead" } else { "queued" }.to_owned(),
        age,
        event.attempts.to_string(),
        event.size.to_string(),
        event.stream.clone(),
        event.receiver.clone(),
    ]
}

fn table(head: [&str; 7], rows: &[[String; 7]], listed: &[Listed]) {
    let width = |i: usize| {
        let rows = rows.iter().map(|row| row[i].chars().count());
        rows.max().unwrap_or(0).max(head[i].len())
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |cells: [&str; 7]| {
        let cells: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        say!("{}", cells.join("  ").trim_end());
    };
    line(head);
    for (row, event) in rows.iter().zip(listed) {
        line(std::array::from_fn(|i| row[i].as_str()));
        if let Some(error) = &event.error {
            say!("      {error}");
        }
    }
}

fn show(event: &Json, as_json: bool) {
    if as_json {
        say!("{event:#}");
        return;
    }
    for (name, value) in event.as_object().into_iter().flatten() {
        match value {
            Json::Null => {}
            Json::String(text) if name == "body" => say!("\n{text}"),
            Json::String(text) => say!("{name}: {text}"),
            Json::Object(headers) => {
                for (name, value) in headers {
                    say!("  {name}: {}", value.as_str().unwrap_or_default());
                }
            }
            other => say!("{name}: {other}"),
        }
    }
}

fn changed(count: usize, how: &str, as_json: bool) -> ExitCode {
    if as_json {
        say!("{}", json!({"events": count}));
    } else {
        let plural = if count == 1 { "event" } else { "events" };
        say!("{count} {plural} {how}");
    }
    if count == 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Sends one event and shows the answer.
fn test(target: &str, body: Option<&str>, as_json: bool) -> ExitCode {
    let sent_at = SystemClock::default().now().isoformat();
    let event = json!({"event": "test", "sender": "millrace outbox test", "sent_at": sent_at});
    let body = body.map_or_else(|| event.to_string(), str::to_owned);
    let request = match Request::event(target, body) {
        Ok(request) => request,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(REFUSED);
        }
    };
    let clock = SystemClock::default();
    let answer = Dispatcher::default().send(request);
    let took = clock.monotonic().as_secs_f64() * 1e3;
    let shown = Redacted::text(target);
    let (ok, said) = match &answer {
        Ok(answer) => (true, answer.to_string()),
        Err(failure) => (false, failure.to_string()),
    };
    if as_json {
        say!(
            "{}",
            json!({
                "target": shown.to_string(),
                "delivered": ok,
                "answer": said,
                "retried": answer.as_ref().is_err_and(|failure| failure.retry()),
                "milliseconds": (took * 10.0).round() / 10.0,
            })
        );
    } else {
        say!("{shown}: {said} ({took:.1} ms)");
    }
    if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_their_units() {
        assert_eq!(bytes("512"), Ok(512));
        assert_eq!(bytes("3k"), Ok(3072));
        assert_eq!(bytes("2G"), Ok(2 << 30));
        assert_eq!(age("90"), Ok(Duration::from_secs(90)));
        assert_eq!(age("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "x", "0", "-1", "1T", "99999999999999999999G"] {
            assert!(bytes(wrong).is_err() && age(wrong).is_err(), "{wrong}");
        }
    }
}
