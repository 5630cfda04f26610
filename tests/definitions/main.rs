//! The definition store against a local stand-in for the platform: which definition is answered,
//! with which stamp and which line in the log, whatever the platform does.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "../support/awake.rs"]
mod awake;
mod bench;
mod crash;
mod files;
#[path = "../support/platform.rs"]
mod platform;
mod refresh;
mod sharing;
mod table;
