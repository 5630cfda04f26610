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
