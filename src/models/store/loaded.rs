//! A model in memory.

use std::path::PathBuf;
use std::sync::Arc;

use crate::models::config::Size;
use crate::models::package::{Package, Task};
use crate::models::weights::Weights;
use crate::models::{Detector, ModelError, Source};

/// A model of some family.
#[derive(Clone, Debug)]
pub(super) enum Model {
    Detector(Arc<Detector>),
}

/// A model in memory, and where it came from.
#[derive(Debug)]
pub(super) struct Loaded {
    pub model: Model,
    pub source: Source,
    /// Folder of the package.
    pub folder: PathBuf,
    /// The platform's id of the package.
    pub package_id: Option<String>,
    pub architecture: Arc<str>,
    /// Whether the folder is one of the older protocol.
    pub legacy: bool,
}

impl Loaded {
    pub fn new(
        model: Model,
        source: Source,
        package: &Package,
        package_id: Option<String>,
    ) -> Self {
        Self {
            model,
            source,
            folder: package.folder.clone(),
            package_id,
            architecture: package.architecture.clone(),
            legacy: package.is_legacy(),
        }
    }

    pub fn weights(&self) -> &Arc<Weights> {
        let Model::Detector(detector) = &self.model;
        detector.weights()
    }

    pub fn input_size(&self) -> Size {
        let Model::Detector(detector) = &self.model;
        detector.input_size()
    }

    pub fn task(&self) -> Task {
        match &self.model {
            Model::Detector(_) => Task::ObjectDetection,
        }
    }

    /// Whether somebody works with the model now.
    pub fn is_in_use(&self) -> bool {
        let Model::Detector(detector) = &self.model;
        Arc::strong_count(detector) > 1
    }
}

impl Model {
    /// The model, if it does what is wanted.
    pub fn of_task(&self, wanted: &Task, id: &str) -> Result<Self, ModelError> {
        match (self, wanted) {
            (Self::Detector(_), Task::ObjectDetection) => Ok(self.clone()),
            (Self::Detector(_), _) => Err(wrong_task(id, Task::ObjectDetection, wanted)),
        }
    }
}

pub(super) fn wrong_task(id: &str, task: Task, wanted: &Task) -> ModelError {
    ModelError::WrongTask {
        id: id.to_owned(),
        task,
        wanted: wanted.clone(),
    }
}
