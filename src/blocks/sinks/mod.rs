//! Everything that leaves the workflow.

pub mod asset_library_attributes;
mod cooldown;
pub mod email_notification;
mod entry;
mod fields;
pub mod local_file_sink;
mod managed;
pub mod model_monitoring_inference_aggregator;
mod operations;
mod platform;
mod quota;
mod report;
pub mod roboflow_custom_metadata;
pub mod roboflow_dataset_upload;
pub mod roboflow_vision_events;
pub mod s3_sink;
mod sending;
pub mod settings;
mod shapes;
pub mod slack_notification;
mod template;
#[cfg(test)]
mod testing;
pub mod twilio_sms_notification;
pub mod webhook_sink;

use super::BlockSpec;

/// The blocks of the family, sorted by type identifier.
pub static BLOCKS: &[&BlockSpec] = &[
    &asset_library_attributes::BLOCK,
    &email_notification::BLOCK_V1,
    &email_notification::BLOCK_V2,
    &local_file_sink::BLOCK,
    &model_monitoring_inference_aggregator::BLOCK,
    &roboflow_custom_metadata::BLOCK,
    &roboflow_dataset_upload::BLOCK_V1,
    &roboflow_dataset_upload::BLOCK_V2,
    &roboflow_vision_events::BLOCK,
    &s3_sink::BLOCK,
    &slack_notification::BLOCK,
    &twilio_sms_notification::BLOCK_V1,
    &twilio_sms_notification::BLOCK_V2,
    &webhook_sink::BLOCK,
];
