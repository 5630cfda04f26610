//! Object detection: images in, boxes out.

mod confidence;
mod layout;
#[cfg(test)]
mod layout_tests;
mod nms;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use confidence::{Confidence, Thresholds};
pub use layout::Layout;
use nms::Candidate;

use super::ModelError;
use super::batcher::{Claim, Images};
use super::config::{ClassNameOperation, InferenceConfig, Size};
use super::package::{Package, RecommendedParameters};
use super::prepare::{Placement, Preparation, Resizer};
use super::weights::{RawOutputs, Weights};
use crate::values::detections::{column, new_id};
use crate::values::{Detections, Image, Value};

/// What a request wants of a detector.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectParams {
    /// From which score on a box counts.
    pub confidence: Confidence,
    /// Overlap (IoU) above which the worse of two boxes falls.
    pub iou_threshold: f64,
    /// Most boxes of an image.
    pub max_detections: usize,
    /// Whether boxes of different classes suppress each other.
    pub class_agnostic_nms: bool,
    /// Names of the classes to keep, applied last; `None` keeps all.
    pub class_filter: Option<Vec<Arc<str>>>,
}

impl Default for DetectParams {
    fn default() -> Self {
        Self {
            confidence: Confidence::Value(0.4),
            iou_threshold: 0.3,
            max_detections: 300,
            class_agnostic_nms: false,
            class_filter: None,
        }
    }
}

/// A detection model at work.
#[derive(Debug)]
pub struct Detector {
    id: Arc<str>,
    weights: Arc<Weights>,
    preparation: Preparation,
    layout: Layout,
    class_names: Vec<Arc<str>>,
    /// Class id of each channel of RF-DETR.
    channels: Vec<Option<usize>>,
    recommended: Option<RecommendedParameters>,
    default_confidence: f32,
    batch: Batch,
}

/// How many images a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batch {
    /// Exactly so many.
    Exactly(usize),
    /// At most so many.
    UpTo(usize),
}

/// Images ready to be run: one tensor, and where each image lies in it.
#[derive(Clone, Debug)]
pub struct Prepared {
    images: Images,
    placements: Vec<Placement>,
}

impl Detector {
    /// The model of a package, with the thresholds of its entry in the registry (if any) in place
    /// of the package's own.
    pub(super) fn new(
        id: Arc<str>,
        package: &Package,
        recommended: Option<RecommendedParameters>,
        weights: Arc<Weights>,
    ) -> Result<Self, ModelError> {
        let config = package.inference_config()?;
        let layout = Layout::of(&package.architecture, config.post_processing)
            .map_err(|reason| package.config_error(reason))?;
        let resizer = match layout {
            Layout::Queries => Resizer::Pillow,
            _ => Resizer::OpenCv,
        };
        let size =
            input_size(&config, &weights, layout).map_err(|reason| package.config_error(reason))?;
        let changes = config.image_pre_processing.clone().unwrap_or_default();
        let preparation = Preparation::new(&config.network_input, &changes, size, resizer)
            .map_err(|reason| package.config_error(reason))?;
        let names = package.class_names()?;
        let (class_names, channels) = classes(names, config.class_names_operations.as_deref());
        Ok(Self {
            id,
            preparation,
            layout,
            class_names,
            channels,
            recommended: recommended.or_else(|| package.recommended.clone()),
            default_confidence: match &*package.architecture {
                "yolo26" | "yolov26" | "yololite" => 0.25,
                _ => 0.4,
            },
            batch: batch(&config, &weights),
            weights,
        })
    }

    /// The id under which the model was asked for.
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// The loaded weights.
    pub fn weights(&self) -> &Arc<Weights> {
        &self.weights
    }

    /// Names of the classes, by class id.
    pub fn class_names(&self) -> &[Arc<str>] {
        &self.class_names
    }

    /// Size of the network's input.
    pub fn input_size(&self) -> Size {
        self.preparation.size
    }

    /// Most images that one run takes.
    pub fn max_batch(&self) -> usize {
        match self.batch {
            Batch::Exactly(n) | Batch::UpTo(n) => n,
        }
    }

    /// Boxes of each image, in as many runs as the network needs.
    ///
    /// Rows have corners in whole pixels of the image, confidence, class id, and the columns
    /// `class_name` and `detection_id`, best first.
    pub fn detect(
        &self,
        images: &[Image],
        params: &DetectParams,
    ) -> Result<Vec<Detections>, ModelError> {
        self.detect_for(None, images, params)
    }

    /// The same in the turn of a stream.
    pub fn detect_for(
        &self,
        claim: Option<&Claim>,
        images: &[Image],
        params: &DetectParams,
    ) -> Result<Vec<Detections>, ModelError> {
        let mut found = Vec::with_capacity(images.len());
        for (n, chunk) in images.chunks(self.max_batch()).enumerate() {
            let prepared = self
                .prepare(chunk)
                .map_err(|error| shifted(error, n * self.max_batch()))?;
            let outputs = self.infer_for(claim, &prepared)?;
            found.extend(self.read(&outputs, &prepared, params)?);
        }
        Ok(found)
    }

    /// Prepares at most [`Self::max_batch`] images for one run.
    pub fn prepare(&self, images: &[Image]) -> Result<Prepared, ModelError> {
        let Size { height, width } = self.preparation.size;
        let floats = self.preparation.floats();
        let mut data = vec![0.0; images.len() * floats];
        let planes = data.chunks_exact_mut(floats);
        let placements: Result<Vec<_>, _> = images
            .iter()
            .zip(planes)
            .enumerate()
            .map(|(index, (image, planes))| {
                self.preparation
                    .write(image, planes)
                    .map_err(|reason| ModelError::Image { index, reason })
            })
            .collect();
        Ok(Prepared {
            images: Images {
                shape: [3, height, width],
                count: images.len(),
                data: Arc::new(data),
            },
            placements: placements?,
        })
    }

    /// Runs the session, and nothing else: in batches with what other callers want of it now.
    pub fn infer(&self, prepared: &Prepared) -> Result<RawOutputs, ModelError> {
        self.infer_for(None, prepared)
    }

    fn infer_for(
        &self,
        claim: Option<&Claim>,
        prepared: &Prepared,
    ) -> Result<RawOutputs, ModelError> {
        self.weights
            .run(prepared.images.clone(), self.max_batch(), claim)
            .map_err(|reason| self.failed(reason))
    }

    /// Reads the boxes of each prepared image from what the session answered.
    pub fn read(
        &self,
        outputs: &RawOutputs,
        prepared: &Prepared,
        params: &DetectParams,
    ) -> Result<Vec<Detections>, ModelError> {
        let thresholds = Thresholds::new(
            params.confidence,
            self.default_confidence,
            self.recommended.as_ref(),
            &self.class_names,
        );
        let mut found = Vec::with_capacity(prepared.placements.len());
        for (i, placement) in prepared.placements.iter().enumerate() {
            let own = outputs.of_image(i).map_err(|reason| self.failed(reason))?;
            let candidates = layout::read(
                self.layout,
                &own,
                &thresholds,
                params,
                &self.channels,
                placement,
            )
            .map_err(|reason| self.failed(reason))?;
            found.push(self.rows(candidates, placement, params.class_filter.as_deref()));
        }
        Ok(found)
    }

    /// Candidates as rows in coordinates of the image.
    fn rows(
        &self,
        candidates: Vec<Candidate>,
        placement: &Placement,
        filter: Option<&[Arc<str>]>,
    ) -> Detections {
        let named = candidates.iter().map(|c| (c, self.class_name(c.class)));
        let kept: Vec<(&Candidate, Arc<str>)> = named
            .filter(|(_, name)| filter.is_none_or(|names| names.contains(name)))
            .collect();
        let numbers = |get: fn(&Candidate) -> f64| kept.iter().map(|(c, _)| get(c)).collect();
        let mut rows = Detections {
            xyxy: Arc::new(
                kept.iter()
                    .map(|(c, _)| placement.to_image(c.corners))
                    .collect(),
            ),
            confidence: Some(Arc::new(numbers(|c| f64::from(c.score)))),
            class_id: Some(Arc::new(kept.iter().map(|(c, _)| c.class as i64).collect())),
            ..Detections::default()
        };
        let ids = kept.iter().map(|_| Value::Str(new_id())).collect();
        let names = kept.iter().map(|(_, name)| Value::Str(name.clone()));
        rows.set_column(column::CLASS_NAME, names.collect());
        rows.set_column(column::DETECTION_ID, ids);
        rows
    }

    /// Name of a class; a class that the package does not name has its number.
    fn class_name(&self, class: usize) -> Arc<str> {
        match self.class_names.get(class) {
            Some(name) => name.clone(),
            None => class.to_string().into(),
        }
    }

    fn failed(&self, reason: String) -> ModelError {
        ModelError::Inference {
            id: self.id.to_string(),
            reason,
        }
    }
}

/// The same error with the position in the whole batch.
fn shifted(error: ModelError, by: usize) -> ModelError {
    match error {
        ModelError::Image { index, reason } => ModelError::Image {
            index: index + by,
            reason,
        },
        other => other,
    }
}

/// Size of the network's input. RF-DETR's graphs know better than their packages.
fn input_size(config: &InferenceConfig, weights: &Weights, layout: Layout) -> Result<Size, String> {
    let declared = config.network_input.training_input_size;
    let [_, _, height, width] = weights.input_shape[..] else {
        return Err("the graph's input is not a batch of images".into());
    };
    let real = Size {
        height: height.unwrap_or(declared.height),
        width: width.unwrap_or(declared.width),
    };
    if real != declared && layout != Layout::Queries {
        return Err(format!(
            "training_input_size is {}x{}, but the graph takes {}x{}",
            declared.width, declared.height, real.width, real.height
        ));
    }
    Ok(real)
}

/// The batch size of the graph; where that is open, the largest that the package wants.
fn batch(config: &InferenceConfig, weights: &Weights) -> Batch {
    let wanted = config.forward_pass.unwrap_or_default();
    match weights.input_shape.first().copied().flatten() {
        Some(n) => Batch::Exactly(n.max(1)),
        None => Batch::UpTo(wanted.max_dynamic_batch_size.unwrap_or(usize::MAX).max(1)),
    }
}

/// Names of the classes after the package's changes, and the class id of each of the network's
/// channels.
fn classes(
    names: Vec<Arc<str>>,
    operations: Option<&[ClassNameOperation]>,
) -> (Vec<Arc<str>>, Vec<Option<usize>>) {
    let removed = |name: &str| {
        operations.unwrap_or_default().iter().any(|operation| {
            let ClassNameOperation::ClassNameRemoval { class_name } = operation;
            class_name == name
        })
    };
    let mut kept = Vec::new();
    let mut channels = Vec::new();
    for name in names {
        if removed(&name) {
            channels.push(None);
        } else {
            channels.push(Some(kept.len()));
            kept.push(name);
        }
    }
    (kept, channels)
}
