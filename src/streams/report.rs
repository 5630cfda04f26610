//! Results of a stream as JSON: one object per frame, with the definition that made it.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::FrameResult;
use crate::definition::error::WorkflowError;
use crate::engine::{Produced, Run};
use crate::plan::Plan;
use crate::sources::Frame;
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
    /// was done), definition, and `outputs` or `error`; of a round its first frame. The picture is
    /// the one that [`Shown::choose`] takes.
    pub fn report(&self, result: &FrameResult, now: Timestamp, wanted: Option<&str>) -> Report {
        let mut reports = self.reports(result, now).into_iter();
        let json = reports.next();
        let shown = result.shown().into_iter().next();
        Report {
            json: json.unwrap_or_else(|| self.head(result, &result.frame, now)),
            picture: shown.map_or_else(
                || result.frame.image.clone(),
                |shown| shown.choose(wanted).clone(),
            ),
        }
    }

    /// A report for each frame of a round; fewer where the definition makes one result of all of
    /// them. Every frame of a round that failed has the error.
    pub fn reports(&self, result: &FrameResult, now: Timestamp) -> Vec<Json> {
        let frames = || result.frames().map(|(_, frame)| frame);
        let run = match &result.run {
            Ok(run) => run,
            Err(error) => {
                let failed = |frame| {
                    let mut json = self.head(result, frame, now);
                    json["error"] = WorkflowError::to_json(error);
                    json
                };
                return frames().map(failed).collect();
            }
        };
        let objects = run.produced(&result.generation.plan);
        let pairs = frames().zip(objects);
        pairs
            .map(|(frame, object)| {
                let mut json = self.head(result, frame, now);
                match self.outputs(result, object) {
                    Ok(outputs) => json["outputs"] = Json::Object(outputs),
                    Err(error) => json["error"] = error,
                }
                json
            })
            .collect()
    }

    fn head(&self, result: &FrameResult, frame: &Frame, now: Timestamp) -> Json {
        let video = &frame.video;
        json!({
            "stream": &*video.video_identifier,
            "frame_number": video.frame_number,
            "frame_timestamp": video.frame_timestamp.isoformat(),
            "arrived_at": frame.arrived_at.isoformat(),
            "finished_at": result.frame.arrived_at.after(result.latency).isoformat(),
            "time_seconds": frame.time.as_secs_f64(),
            "latency_ms": (result.latency.as_secs_f64() * 1e5).round() / 100.0,
            "definition": result.generation.provenance.to_json(now),
            "models": self.models,
        })
    }

    fn outputs(
        &self,
        result: &FrameResult,
        object: Vec<Produced<'_>>,
    ) -> Result<Map<String, Json>, Json> {
        object
            .into_iter()
            .map(|produced| {
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

/// The pictures that a frame has to show.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The outputs that are pictures, by name, in the order in which clients see them.
    pub outputs: Vec<(Arc<str>, Image)>,
    /// The frame itself.
    pub frame: Image,
}

impl Shown {
    /// The picture that is filmed, sent and looked at: the output `wanted`, else, if none is named,
    /// the first one that is a picture, else the frame itself.
    pub fn choose(&self, wanted: Option<&str>) -> &Image {
        let fits = |name: &str| wanted.is_none_or(|wanted| wanted == name);
        let found = self.outputs.iter().find(|(name, _)| fits(name));
        found.map_or(&self.frame, |(_, image)| image)
    }
}

impl FrameResult {
    /// The frames of the round with the numbers of their sources, in the order of the elements of
    /// the run.
    pub fn frames(&self) -> impl Iterator<Item = (usize, &Frame)> {
        let first = std::iter::once((self.source, &self.frame));
        first.chain(self.others.iter().map(|(source, frame)| (*source, frame)))
    }

    /// What each frame of the round has to show; only handles are copied.
    pub fn shown(&self) -> Vec<Shown> {
        let objects = match &self.run {
            Ok(run) => run.produced(&self.generation.plan),
            Err(_) => Vec::new(),
        };
        let mut objects = objects.into_iter();
        self.frames()
            .map(|(_, frame)| Shown {
                outputs: objects.next().map(pictures).unwrap_or_default(),
                frame: frame.image.clone(),
            })
            .collect()
    }
}

fn pictures(object: Vec<Produced<'_>>) -> Vec<(Arc<str>, Image)> {
    let pictures = object
        .into_iter()
        .filter_map(|produced| match produced.value {
            Value::Image(image) => Some((produced.name.clone(), image)),
            _ => None,
        });
    pictures.collect()
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
