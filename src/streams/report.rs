//! Results of a stream as JSON: one object per frame, with the definition that made it.

use serde_json::{Map, Value as Json, json};

use super::FrameResult;
use crate::definition::error::WorkflowError;
use crate::engine::{Produced, Run};
use crate::plan::Plan;
use crate::values::serialise::OutputOptions;
use crate::values::{Dict, Image, Timestamp, Value};

/// A result as it is told.
#[derive(Clone, Debug)]
pub struct Report {
    /// What is written and posted.
    pub json: Json,
    /// What is shown and filmed.
    pub picture: Image,
}

/// Writes results as JSON.
#[derive(Clone)]
pub struct Reporter {
    /// Models in memory, by id, with the hash of their weights.
    models: Json,
    options: OutputOptions,
    with_images: bool,
}

impl Reporter {
    /// A reporter; with `with_images` pictures in outputs are written as base64 JPEG, without they
    /// are left out (`null`).
    pub fn new(options: OutputOptions, with_images: bool) -> Self {
        Self {
            models: Json::Array(Vec::new()),
            options,
            with_images,
        }
    }

    /// The same reporter naming these models on every result.
    pub fn with_models(&self, models: Json) -> Self {
        Self {
            models,
            ..self.clone()
        }
    }

    /// The report of a result: stream, frame, times (when it was taken, came out of the decoder and
    /// was done), definition, and `outputs` or `error`. The
    /// picture is that of the output `wanted`, else of the first output that is a picture, else the
    /// frame itself.
    pub fn report(&self, result: &FrameResult, now: Timestamp, wanted: Option<&str>) -> Report {
        let video = &result.frame.video;
        let mut json = json!({
            "stream": &*video.video_identifier,
            "frame_number": video.frame_number,
            "frame_timestamp": video.frame_timestamp.isoformat(),
            "arrived_at": result.frame.arrived_at.isoformat(),
            "finished_at": result.frame.arrived_at.after(result.latency).isoformat(),
            "time_seconds": result.frame.time.as_secs_f64(),
            "latency_ms": (result.latency.as_secs_f64() * 1e5).round() / 100.0,
            "definition": result.generation.provenance.to_json(now),
            "models": self.models,
        });
        let mut picture = None;
        match self.outputs(result, wanted, &mut picture) {
            Ok(outputs) => json["outputs"] = Json::Object(outputs),
            Err(error) => json["error"] = error,
        }
        Report {
            json,
            picture: picture.unwrap_or_else(|| result.frame.image.clone()),
        }
    }

    fn outputs(
        &self,
        result: &FrameResult,
        wanted: Option<&str>,
        picture: &mut Option<Image>,
    ) -> Result<Map<String, Json>, Json> {
        let run = result.run.as_ref().map_err(WorkflowError::to_json)?;
        let objects = run.produced(&result.generation.plan);
        let Some(object) = objects.into_iter().next() else {
            return Ok(Map::new());
        };
        object
            .into_iter()
            .map(|produced| {
                if let Value::Image(image) = &produced.value
                    && picture.is_none()
                    && wanted.is_none_or(|name| **produced.name == *name)
                {
                    *picture = Some(image.clone());
                }
                let produced = if self.with_images {
                    produced
                } else {
                    without_images(produced)
                };
                let json = produced
                    .to_json(&result.generation.plan, &self.options)
                    .map_err(|e| e.to_json())?;
                Ok((produced.name.to_string(), json))
            })
            .collect()
    }
}

/// The outputs of a run as JSON, pictures left out.
pub(super) fn outputs_without_pictures(
    run: &Run,
    plan: &Plan,
    options: &OutputOptions,
) -> Result<Map<String, Json>, String> {
    let Some(object) = run.produced(plan).into_iter().next() else {
        return Ok(Map::new());
    };
    object
        .into_iter()
        .map(without_images)
        .map(|p| {
            Ok((
                p.name.to_string(),
                p.to_json(plan, options).map_err(|e| e.to_string())?,
            ))
        })
        .collect()
}

fn without_images(mut produced: Produced<'_>) -> Produced<'_> {
    if holds_image(&produced.value) {
        produced.value = strip(&produced.value);
    }
    produced
}

fn holds_image(value: &Value) -> bool {
    match value {
        Value::Image(_) => true,
        Value::List(items) | Value::Tuple(items) => items.iter().any(holds_image),
        Value::Dict(entries) => entries.values().any(holds_image),
        _ => false,
    }
}

fn strip(value: &Value) -> Value {
    match value {
        Value::Image(_) => Value::None,
        Value::List(items) => Value::list(items.iter().map(strip).collect()),
        Value::Tuple(items) => Value::tuple(items.iter().map(strip).collect()),
        Value::Dict(entries) => Value::dict(
            entries
                .iter()
                .map(|(k, v)| (k.clone(), strip(v)))
                .collect::<Dict>(),
        ),
        other => other.clone(),
    }
}
