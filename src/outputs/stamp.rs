//! Results as JSON, with the models that made them.

use std::sync::{Arc, Weak};

use serde_json::{Value as Json, json};

use crate::models::ModelStore;
use crate::streams::{FrameResult, Generation, Reporter};
use crate::values::Timestamp;
use crate::values::serialise::OutputOptions;

/// Writes results as JSON. The models are those in memory at the first result of a definition, when
/// its own are loaded.
pub(super) struct Stamps {
    models: Arc<ModelStore>,
    reporter: Reporter,
    with_images: Reporter,
    generation: Weak<Generation>,
}

impl Stamps {
    pub(super) fn new(models: Arc<ModelStore>, now: Timestamp) -> Self {
        let options = || OutputOptions::new(now);
        Self {
            models,
            reporter: Reporter::new(options(), false),
            with_images: Reporter::new(options(), true),
            generation: Weak::new(),
        }
    }

    /// The reports of a round, under the names of its sources.
    pub(super) fn reports(
        &mut self,
        result: &FrameResult,
        names: &[Arc<str>],
        with_images: bool,
        now: Timestamp,
    ) -> Vec<Arc<Json>> {
        if !std::ptr::eq(self.generation.as_ptr(), Arc::as_ptr(&result.generation)) {
            self.generation = Arc::downgrade(&result.generation);
            let loaded = loaded_models(&self.models);
            self.reporter = self.reporter.with_models(loaded.clone());
            self.with_images = self.with_images.with_models(loaded);
        }
        let reporter = match with_images {
            true => &self.with_images,
            false => &self.reporter,
        };
        let reports = reporter.reports(result, now).into_iter().zip(names);
        reports
            .map(|(mut report, name)| {
                report["stream"] = Json::from(&**name);
                Arc::new(report)
            })
            .collect()
    }
}

/// The models in memory: id and hash of the weights.
fn loaded_models(models: &ModelStore) -> Json {
    let loaded = models
        .list()
        .into_iter()
        .filter(|m| m.loaded_since.is_some());
    loaded
        .map(|m| json!({"id": m.id, "sha256": m.sha256}))
        .collect()
}
