//! Sinks against services on the loopback that check what they are sent, and against a real mail
//! server and a real S3 server.

#![allow(clippy::panic, clippy::unwrap_used)] // helpers of tests count as production code

#[path = "sinks/naming.rs"]
mod naming;
#[path = "sinks/offline.rs"]
mod offline;
#[path = "sinks/peers.rs"]
mod peers;
#[path = "sinks/platform.rs"]
mod platform;
#[path = "support/server.rs"]
mod server;
#[path = "support/service.rs"]
mod service;
#[path = "sinks/services.rs"]
mod services;
#[path = "support/sink_step.rs"]
mod sink_step;

/// `millrace exec` of a definition, which is written into the folder under this name, with no inputs.
fn exec(
    folder: &std::path::Path,
    name: &str,
    definition: &serde_json::Value,
) -> std::process::Command {
    let (path, inputs) = (folder.join(name), folder.join("inputs.jsonl"));
    std::fs::write(&path, definition.to_string()).unwrap();
    std::fs::write(&inputs, "{}\n").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.arg("exec").arg(path).arg("--inputs").arg(inputs);
    command
}
