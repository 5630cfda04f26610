//! `millrace bench`: what this machine manages.

mod cameras;
mod clip;
mod process;
mod streams;

use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Arguments of `millrace bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// More and more cameras on one process: frames per second, latency, memory, batches.
    Streams(Box<streams::StreamsArgs>),
}

pub(super) fn run(args: &BenchArgs) -> ExitCode {
    match &args.what {
        What::Streams(args) => streams::run(args),
    }
}
