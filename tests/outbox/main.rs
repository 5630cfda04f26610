//! The outbox against real receivers, real ends of processes and real disks.
//!
//! Short forms run always. `OUTBOX_KILLS=300` runs the long form of the kills.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../support/awake.rs"]
mod awake;
#[allow(dead_code)]
#[path = "../support/receiver.rs"]
mod receiver;
#[path = "../support/streams.rs"]
mod streams;

mod command;
mod disk;
mod frames;
mod kills;
mod outage;
mod peers;
mod waiting;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use millrace::delivery::outbox::OutboxSettings;
use millrace::delivery::{AddressPolicy, Dispatcher, Event, Request, RetryPolicy, Settings};

/// Retries fast enough for a test.
fn quick() -> Settings {
    Settings {
        retry: RetryPolicy {
            first: Duration::from_millis(10),
            longest: Duration::from_millis(200),
            unwanted: 2,
            ..RetryPolicy::default()
        },
        ..Settings::default()
    }
}

fn dispatcher(folder: &Path) -> Dispatcher {
    Dispatcher::with_outbox(quick(), OutboxSettings::new(folder))
}

fn event(url: &str, stream: &str, body: impl Into<String>) -> Event {
    let text = "text/plain".parse().unwrap();
    let request = Request::new("POST", url, AddressPolicy::Any)
        .unwrap()
        .timeout(Duration::from_secs(5))
        .body(text, body.into());
    Event {
        stream: stream.into(),
        request: Arc::new(request),
    }
}

/// This test program again, running one test that only does something when it is told to so.
fn again(test: &str, variable: &str, value: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(variable, value)
        .env("RUST_BACKTRACE", "0");
    command
}

/// What SQLite says about the file of an outbox that nobody uses.
fn integrity(folder: &Path) -> String {
    let connection = rusqlite::Connection::open(folder.join("outbox.db")).unwrap();
    let check = "PRAGMA integrity_check";
    connection.query_row(check, [], |row| row.get(0)).unwrap()
}
