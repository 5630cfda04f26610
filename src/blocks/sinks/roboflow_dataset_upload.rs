//! Uploads images, with their predictions as annotations, to a project of the platform.
//!
//! # Inputs and outputs
//! Each of `images` is scaled down to `max_image_size`, encoded as JPEG and uploaded into a batch,
//! then annotated with its prediction. `error_status` and `message` tell what became of it.
//!
//! # State
//! The host counts images by API key, project and `usage_quota_name`, per minute, hour and day.
//!
//! # Edge cases
//! Without a key the step fails. A prediction without boxes or classes is not sent. A queued image
//! and its annotation are one event; its credit stays used, since it is delivered sooner or later.
//! Made at once, an image that is a duplicate, or fails and is not kept, gives its credit back. The second version
//! takes a share of the images and sends `metadata`. Counters hold no name of a workspace, so that
//! nothing is asked of the platform before an image is taken.

mod annotation;
mod fields;

use chrono::{Datelike as _, Days, Local, NaiveDate};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::platform;
use super::report::{OUTPUTS, Report, entries};
use super::sending::in_background;
use crate::blocks::{Block, BlockError, BlockSpec, Context, Family, Inputs, Output, Role};
use crate::definitions::ApiKey;
use crate::delivery::{Errand, Slot, Trouble};
use crate::imaging;
use crate::values::{Image, Matrix, Value, python};

use annotation::Annotation;
use fields::{FIELDS_V1, FIELDS_V2};

/// `roboflow_core/roboflow_dataset_upload@v1`
pub static BLOCK_V1: BlockSpec = BlockSpec {
    types: &[
        "roboflow_core/roboflow_dataset_upload@v1",
        "RoboflowDatasetUpload",
    ],
    name: "Roboflow Dataset Upload",
    family: Family::Sink,
    about: "Uploads images, with their predictions as annotations, to a project of the platform.",
    fields: FIELDS_V1,
    outputs: OUTPUTS,
    role: Role::Sink,
    build: |_, _| Ok(Box::new(DatasetUpload { second: false })),
    ..BlockSpec::DEFAULT
};

/// `roboflow_core/roboflow_dataset_upload@v2`
pub static BLOCK_V2: BlockSpec = BlockSpec {
    types: &["roboflow_core/roboflow_dataset_upload@v2"],
    name: "Roboflow Dataset Upload",
    family: Family::Sink,
    about: "Uploads a share of the images, with predictions and attributes, to a project of the platform.",
    fields: FIELDS_V2,
    outputs: OUTPUTS,
    role: Role::Sink,
    build: |_, _| Ok(Box::new(DatasetUpload { second: true })),
    ..BlockSpec::DEFAULT
};

struct DatasetUpload {
    second: bool,
}

impl Block for DatasetUpload {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        if let Some(off) = Report::off_by_policy(cx) {
            return Ok(off.plain());
        }
        let key = platform::key(cx, "RoboflowDataCollector")?;
        if let Some(off) = Report::off(inputs, cx)? {
            return Ok(off.plain());
        }
        if self.second && !is_taken(inputs.float("data_percentage")?) {
            return Ok(Report::done("Registration skipped due to sampling settings").plain());
        }
        let project = inputs.text("target_project")?;
        let name = quota_name(&key, project, inputs.text("usage_quota_name")?);
        let limits = [
            inputs.int("minutely_usage_limit")?,
            inputs.int("hourly_usage_limit")?,
            inputs.int("daily_usage_limit")?,
        ];
        let quotas = &cx.services.sinks.quotas;
        if !quotas.take(&name, limits, cx.now().unix_seconds() as i64) {
            let full = "Registration skipped due to usage quota exceeded";
            return Ok(Report::done(full).plain());
        }
        let upload = self.errand(project, &key, inputs, cx);
        let (errand, annotated) = upload.inspect_err(|_| quotas.give_back(&name))?;
        let sending = platform::sending(&errand, cx);
        if in_background(inputs, cx)? {
            let queued = "Element registration happens in the background task";
            return Ok(match sending.post(cx) {
                Ok(()) => Report::done(queued),
                Err(error) => {
                    quotas.give_back(&name);
                    Report::failed(failed("DeliveryError", &error.to_string()))
                }
            }
            .plain());
        }
        let report = match sending.perform(cx) {
            Ok(replies)
                if replies
                    .first()
                    .is_some_and(|reply| is_duplicate(&reply.json())) =>
            {
                quotas.give_back(&name);
                Report::done("Duplicated image")
            }
            Ok(_) if annotated => Report::done("Successfully registered image and annotation"),
            Ok(_) => Report::done("Successfully registered image"),
            Err(trouble) => {
                if trouble.exchange == 0 && !trouble.kept {
                    quotas.give_back(&name);
                }
                Report::undelivered(trouble_text(&trouble), &trouble)
            }
        };
        Ok(report.plain())
    }
}

impl DatasetUpload {
    /// The upload, and whether an annotation follows.
    fn errand(
        &self,
        project: &str,
        key: &ApiKey,
        inputs: &Inputs<'_>,
        cx: &Context<'_>,
    ) -> Result<(Errand, bool), BlockError> {
        let image = inputs.image("images")?;
        let (pixels, scale) = fitted(image, inputs)?;
        let quality = u8::try_from(inputs.int("compression_level")?.clamp(1, 100)).unwrap_or(95);
        let jpeg = crate::values::codec::encode_jpeg(&pixels, quality)
            .map_err(|error| BlockError::failed(error.to_string()))?;
        let id = inputs.optional("image_name", |inputs, field| inputs.text(field))?;
        let id = id.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        let prediction = match inputs.flag("persist_predictions")? {
            true => inputs.value("predictions"),
            false => &Value::None,
        };
        let size = [pixels.width, pixels.height];
        let annotation = Annotation::new(prediction, scale, size, cx)?;
        let mut url = platform::url(
            cx,
            &format!("/dataset/{}/upload", platform::quoted(project)),
            key,
        );
        url.push_str(&format!("&batch={}", platform::quoted(&batch(inputs, cx)?)));
        if let Some(inference) = annotation::inference_id(prediction) {
            url.push_str(&format!("&inference_id={}", platform::quoted(&inference)));
        }
        for tag in inputs.list("registration_tags")? {
            let tag = platform::quoted(&python::to_str(tag));
            url.push_str(&format!("&tag={tag}"));
        }
        let metadata = match self.second {
            true => {
                let metadata = Value::dict(entries(inputs, "metadata")?.clone());
                Some(platform::json(&metadata, cx)?.to_string())
            }
            false => None,
        };
        let (content_type, body) = form(&id, metadata.as_deref(), &jpeg);
        let returned = Slot::new();
        let mut upload = platform::exchange(cx, "POST", url)
            .body(&content_type, body)
            .want(&["/duplicate", "/success"])
            .done("/duplicate");
        let Some(annotation) = annotation else {
            return Ok((Errand::new(vec![upload]), false));
        };
        upload = upload.keep(&returned, "/id");
        let path = format!(
            "/dataset/{}/annotate/{}",
            platform::quoted(project),
            returned.text()
        );
        let url = format!(
            "{}&name={}.{}&prediction=true",
            platform::url(cx, &path, key),
            platform::quoted(&id),
            annotation.extension
        );
        let annotate = platform::exchange(cx, "POST", url)
            .body("text/plain", annotation.text)
            .want(&["/success"]);
        Ok((Errand::new(vec![upload, annotate]), true))
    }
}

fn is_taken(percentage: f64) -> bool {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    // The first 48 bits of such an identifier are random.
    let chance = (high >> 16) as f64 / (1_u64 << 48) as f64;
    chance < percentage / 100.0
}

fn quota_name(key: &ApiKey, project: &str, name: &str) -> String {
    let key = hex::encode(Sha256::digest(key.expose().as_bytes()));
    format!("{key}:{project}:{name}")
}

fn is_duplicate(answer: &Json) -> bool {
    answer["duplicate"].as_bool().unwrap_or(false)
}

fn failed(kind: &str, details: &str) -> String {
    format!("Error while registration. Error type: {kind}. Details: {details}")
}

fn trouble_text(trouble: &Trouble) -> String {
    let status = trouble.reply.as_ref().map(|reply| reply.status);
    let details = match (trouble.exchange, status) {
        (1.., Some(409)) => "Given datapoint already has annotation.".to_owned(),
        (1.., Some(200..=299)) => format!("Failed to save annotation: {}", trouble.failure),
        (0, Some(200..=299)) => format!("Server rejected image: {}", trouble.failure),
        _ => platform::error_text(trouble),
    };
    failed(platform::error_type(trouble), &details)
}

/// The pixels within the largest size, and by how much each axis was scaled.
fn fitted(image: &Image, inputs: &Inputs<'_>) -> Result<(Matrix, [f64; 2]), BlockError> {
    let limits: Vec<i64> = inputs
        .list("max_image_size")?
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    let [most_wide, most_high] = limits[..] else {
        return Err(BlockError::failed(
            "`max_image_size` must be two whole numbers",
        ));
    };
    let (width, height) = (image.width() as f64, image.height() as f64);
    let (wide, high) = (most_wide.max(1) as f64, most_high.max(1) as f64);
    if width <= wide && height <= high {
        return Ok((image.to_owned_bgr(), [1.0, 1.0]));
    }
    let ratio = width / height;
    let [w, h] = match ratio > wide / high {
        true => [wide, (wide / ratio).trunc().max(1.0)],
        false => [(high * ratio).trunc().max(1.0), high],
    };
    let pixels = imaging::resized(
        &image.bgr(),
        w as usize,
        h as usize,
        opencv::imgproc::INTER_LINEAR,
    )?;
    Ok((pixels, [w / width, h / height]))
}

/// Name of the batch: the prefix, and the day on which a batch of this kind began.
fn batch(inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<String, BlockError> {
    let prefix = inputs.text("labeling_batch_prefix")?;
    let seconds = cx.now().unix_seconds() as i64;
    let time = chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let today = time.with_timezone(&Local).date_naive();
    let frequency = inputs.text("labeling_batches_recreation_frequency")?;
    Ok(match began(frequency, today) {
        Some(day) => format!("{prefix}_{}", day.format("%Y_%m_%d")),
        None => prefix.to_owned(),
    })
}

fn began(frequency: &str, today: NaiveDate) -> Option<NaiveDate> {
    match frequency {
        "daily" => Some(today),
        "weekly" => {
            let since_monday = today.weekday().num_days_from_monday();
            today.checked_sub_days(Days::new(since_monday.into()))
        }
        "monthly" => today.with_day(1),
        _ => None,
    }
}

/// The form of an upload: its type and its bytes.
fn form(id: &str, metadata: Option<&str>, jpeg: &[u8]) -> (String, Vec<u8>) {
    let boundary = Uuid::new_v4().simple().to_string();
    let mut body = Vec::with_capacity(jpeg.len() + 512);
    let mut part = |head: &str, content: &[u8]| {
        let head = format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    part("name=\"name\"", format!("{id}.jpg").as_bytes());
    if let Some(metadata) = metadata {
        part("name=\"metadata\"", metadata.as_bytes());
    }
    let head = "name=\"file\"; filename=\"imageToUpload\"\r\nContent-Type: image/jpeg";
    part(head, jpeg);
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_begin_on_days() {
        let day = |d| NaiveDate::from_ymd_opt(2024, 5, d).unwrap();
        assert_eq!(began("never", day(9)), None);
        assert_eq!(began("daily", day(9)), Some(day(9)));
        assert_eq!(began("weekly", day(9)), Some(day(6)));
        assert_eq!(began("monthly", day(9)), Some(day(1)));
    }

    #[test]
    fn a_share_of_none_or_all_is_exact() {
        assert!(!(0..100).any(|_| is_taken(0.0)));
        assert!((0..100).all(|_| is_taken(100.0)));
    }
}
