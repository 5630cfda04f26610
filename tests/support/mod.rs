//! What the tests of streams share: clips, cameras that can be told to misbehave, and a measure of time
//! for a machine that is busy elsewhere.
#![allow(dead_code)]

pub mod awake;
pub mod clips;
pub mod fake_camera;
pub mod http_camera;
pub mod rtsp_server;
