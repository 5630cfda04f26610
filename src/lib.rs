//! millrace runs Roboflow Workflows definitions on live cameras and recorded video.
//!
//! Layers, each knowing only those above it: [`values`], [`definition`], [`blocks`], `plan`,
//! `engine`, `definitions`, [`models`], `sources`, `streams`, [`delivery`], `http`, `cli`.

pub mod blocks;
pub mod clock;
pub mod definition;
pub mod delivery;
pub mod models;
pub mod redact;
pub mod sources;
pub mod values;
