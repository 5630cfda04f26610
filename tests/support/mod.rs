//! What the tests of streams share: clips, and cameras that can be told to misbehave.
#![allow(dead_code)]

pub mod clips;
pub mod fake_camera;
pub mod http_camera;
pub mod rtsp_server;
