//! Tracking: the same id for the same object on successive frames.

pub mod association;
pub mod byte_track;
pub mod byte_tracker;
mod camera_motion;
mod class_votes;
mod corner_track;
pub mod instances;
mod observed_track;
pub mod stabilize_detections;
pub mod track_class_lock;
pub mod trackers_botsort;
pub mod trackers_bytetrack;
pub mod trackers_ocsort;
pub mod trackers_sort;
mod tracking;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &byte_tracker::V1,
    &byte_tracker::V2,
    &byte_tracker::V3,
    &stabilize_detections::BLOCK,
    &track_class_lock::BLOCK,
    &trackers_botsort::BLOCK,
    &trackers_bytetrack::BLOCK,
    &trackers_ocsort::BLOCK,
    &trackers_sort::BLOCK,
];
