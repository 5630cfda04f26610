//! millrace runs Roboflow Workflows definitions on live cameras and recorded video.
//!
//! Layers, each knowing only those above it: [`values`], [`geometry`], [`imaging`],
//! [`definition`], [`blocks`], [`plan`], [`describe`], [`engine`], [`definitions`], [`models`],
//! [`sources`], [`telemetry`], [`streams`], [`network`], [`delivery`], [`outputs`],
//! [`remote_images`], [`fleet`], [`webrtc`], [`doctor`], [`http`], [`cli`].

pub mod allocator;
pub mod blocks;
pub mod cli;
pub mod clock;
pub mod definition;
pub mod definitions;
pub mod delivery;
pub mod describe;
pub mod doctor;
pub mod engine;
pub mod fleet;
pub mod geometry;
pub mod http;
pub mod imaging;
pub mod models;
pub mod network;
pub mod outputs;
pub mod plan;
pub mod profile;
pub mod redact;
pub mod remote_images;
pub mod sources;
pub mod streams;
pub mod telemetry;
pub mod values;
pub mod webrtc;
