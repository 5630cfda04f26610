//! A model package: a folder with weights and what is needed to feed and read them.
//!
//! | file | content |
//! | --- | --- |
//! | `model_config.json` | architecture, task, backend; optionally recommended thresholds |
//! | `inference_config.json` | how an image becomes the network's input (see [`super::config`]) |
//! | `class_names.txt` | one class a line |
//! | `weights.onnx` | the graph |
//!
//! A folder of the platform's older protocol has `model_type.json` and `environment.json` in place
//! of the first two (see [`super::environment`]).

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::config::InferenceConfig;
use super::{ModelError, environment};

/// What a model does, by the names of packages and platform.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Boxes.
    ObjectDetection,
    /// A task without code of its own here (yet).
    Other(Arc<str>),
}

impl Task {
    /// The task of this name.
    pub fn named(name: &str) -> Self {
        match name {
            "object-detection" => Self::ObjectDetection,
            other => Self::Other(other.into()),
        }
    }

    /// Name in packages.
    pub fn name(&self) -> &str {
        match self {
            Self::ObjectDetection => "object-detection",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Thresholds that the training found to be best for a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecommendedParameters {
    /// For all classes.
    pub confidence: Option<f32>,
    /// For single classes, by name.
    #[serde(default, alias = "perClassConfidence")]
    pub per_class_confidence: Option<HashMap<String, f32>>,
}

/// `model_config.json`.
#[derive(Clone, Debug, Deserialize)]
struct ModelConfig {
    model_architecture: String,
    task_type: String,
    #[serde(default = "onnx")]
    backend_type: String,
    #[serde(default)]
    recommended_parameters: Option<RecommendedParameters>,
}

fn onnx() -> String {
    "onnx".into()
}

/// The small files of a package. The weights are not read.
#[derive(Clone, Debug)]
pub struct Package {
    /// The folder.
    pub folder: PathBuf,
    /// Architecture, e.g. `yolov8`.
    pub architecture: Arc<str>,
    /// What the model does.
    pub task: Task,
    /// Thresholds from training, if the package has them.
    pub recommended: Option<RecommendedParameters>,
    /// Whether the folder is one of the older protocol.
    legacy: bool,
}

/// `model_type.json`.
#[derive(Clone, Debug, Deserialize)]
struct ModelType {
    project_task_type: String,
    #[serde(default)]
    model_type: Option<String>,
}

impl Package {
    /// File that makes a folder a package.
    pub(super) const MARK: &'static str = "model_config.json";

    /// Reads what the package says of itself.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(Self::MARK);
        let config: ModelConfig = read_json(&path)?;
        if config.backend_type != "onnx" {
            return Err(ModelError::Package {
                path,
                reason: format!(
                    "its backend is `{}`, and only `onnx` can be run",
                    config.backend_type
                ),
            });
        }
        Ok(Self {
            folder: folder.to_owned(),
            architecture: config.model_architecture.into(),
            task: Task::named(&config.task_type),
            recommended: config.recommended_parameters,
            legacy: false,
        })
    }

    /// Reads what a folder of the older protocol says of itself.
    pub(super) fn open_legacy(folder: &Path) -> Result<Self, ModelError> {
        let told: ModelType = read_json(&folder.join("model_type.json"))?;
        Ok(Self {
            folder: folder.to_owned(),
            architecture: environment::architecture(told.model_type.as_deref().unwrap_or("yolov5")),
            task: Task::named(&told.project_task_type),
            recommended: None,
            legacy: true,
        })
    }

    /// Whether the folder is one of the older protocol.
    pub fn is_legacy(&self) -> bool {
        self.legacy
    }

    /// Path of the graph.
    pub fn weights(&self) -> PathBuf {
        self.folder.join("weights.onnx")
    }

    /// Path of the description of the network's input.
    pub fn inference_config_path(&self) -> PathBuf {
        self.folder.join(match self.legacy {
            true => environment::FILE,
            false => "inference_config.json",
        })
    }

    /// How an image becomes the network's input.
    pub fn inference_config(&self) -> Result<InferenceConfig, ModelError> {
        if self.legacy {
            return environment::inference_config(
                &self.inference_config_path(),
                &self.architecture,
            );
        }
        read_json(&self.inference_config_path())
    }

    /// Names of the classes, in the order of their ids: lines without surrounding space, blank
    /// lines left out.
    pub fn class_names(&self) -> Result<Vec<Arc<str>>, ModelError> {
        let path = self.folder.join("class_names.txt");
        let text = read(&path)?;
        let names: Vec<Arc<str>> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(Arc::from)
            .collect();
        if names.is_empty() {
            return Err(ModelError::Package {
                path,
                reason: "it names no class".into(),
            });
        }
        Ok(names)
    }

    /// An error about the description of the network's input.
    pub(super) fn config_error(&self, reason: impl Into<String>) -> ModelError {
        ModelError::Package {
            path: self.inference_config_path(),
            reason: reason.into(),
        }
    }
}

fn read(path: &Path) -> Result<String, ModelError> {
    std::fs::read_to_string(path).map_err(|error| ModelError::Package {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// Reads a JSON file of a package or a registry.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    serde_json::from_str(&read(path)?).map_err(|error| ModelError::Package {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    const CONFIG: &str = r#"{"model_architecture": "yolov8", "task_type": "object-detection",
        "backend_type": "onnx", "recommended_parameters": {"confidence": 0.5,
        "perClassConfidence": {"a": 0.25}, "unknown": 1}, "model_features": null}"#;

    #[test]
    fn a_package_says_what_it_is() {
        let folder = folder(&[
            ("model_config.json", CONFIG),
            ("class_names.txt", " a \n\nb\n"),
        ]);
        let package = Package::open(folder.path()).unwrap();
        assert_eq!(&*package.architecture, "yolov8");
        assert_eq!(package.task, Task::ObjectDetection);
        let recommended = package.recommended.as_ref().unwrap();
        assert_eq!(
            recommended.per_class_confidence.as_ref().unwrap()["a"],
            0.25
        );
        let names = package.class_names().unwrap();
        assert_eq!(names.iter().map(|n| &**n).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn errors_name_the_file_and_what_is_wrong_with_it() {
        let no_config = folder(&[]);
        let broken = folder(&[("model_config.json", "{\"model_architecture\": 3}")]);
        let other = folder(&[(
            "model_config.json",
            r#"{"model_architecture": "x", "task_type": "y", "backend_type": "trt"}"#,
        )]);
        let no_names = folder(&[("model_config.json", CONFIG), ("class_names.txt", "\n \n")]);
        let text = |result: Result<(), ModelError>| result.unwrap_err().to_string();
        let missing = text(Package::open(no_config.path()).map(drop));
        assert!(
            missing.contains("model_config.json cannot be used: No such file"),
            "{missing}"
        );
        let wrong_type = text(Package::open(broken.path()).map(drop));
        assert!(wrong_type.contains("invalid type"), "{wrong_type}");
        assert!(text(Package::open(other.path()).map(drop)).contains("`trt`"));
        let package = Package::open(no_names.path()).unwrap();
        assert!(text(package.class_names().map(drop)).contains("names no class"));
    }
}
