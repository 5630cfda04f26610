//! The `millrace` binary.

use std::process::ExitCode;

use clap::Parser;
use millrace::cli::Cli;

#[allow(unsafe_code)]
fn main() -> ExitCode {
    millrace::allocator::set_up();
    // SAFETY: no other thread exists yet.
    unsafe { millrace::models::runtime::disable_telemetry() };
    Cli::parse().run()
}
