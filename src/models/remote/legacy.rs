//! The older protocol and its folders, `MODEL_CACHE_DIR/{project}/{version}`: weights,
//! `environment.json`, names of classes, and `model_type.json`, which is written last.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use url::Url;

use super::download::Wanted;
use super::{Means, names, write_whole};
use crate::definitions::ApiKey;
use crate::models::environment;
use crate::models::error::{FileTrouble, Question, Trouble};
use crate::models::lock::FileLock;
use crate::models::package::read_json;
use crate::models::{ModelError, Settings};

/// `{"ort": …}`.
#[derive(Debug, Deserialize)]
pub(super) struct Ort {
    pub ort: LegacyAnswer,
}

/// What the older protocol says of a model.
#[derive(Debug, Deserialize)]
pub(super) struct LegacyAnswer {
    #[serde(rename = "type", default)]
    task: Option<String>,
    #[serde(rename = "modelType", default)]
    model_type: Option<String>,
    model: String,
    /// An address, or the content itself.
    environment: Json,
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default)]
    keypoints_metadata: Option<Json>,
}

/// The answer for ids without a version.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instant {
    #[serde(default)]
    task_type: Option<String>,
    #[serde(default)]
    model_type: Option<String>,
    model_files: Json,
    #[serde(default)]
    environment: Json,
    #[serde(default)]
    classes: Vec<String>,
}

impl Instant {
    pub fn answer(self) -> Result<LegacyAnswer, Trouble> {
        let model = self.model_files["ort"]["model"].as_str();
        let model = model.ok_or_else(|| Trouble::Garbage {
            reason: "it has no address of weights for ONNX Runtime".into(),
        })?;
        Ok(LegacyAnswer {
            task: self.task_type,
            model_type: self.model_type,
            model: model.to_owned(),
            environment: self.environment,
            classes: self.classes,
            keypoints_metadata: None,
        })
    }
}

/// `model_type.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ModelType {
    pub project_task_type: String,
    #[serde(default)]
    pub model_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_variant: Option<String>,
}

impl ModelType {
    /// Reads the file of a model, if it is there and whole.
    pub fn read(cache: &Path, segments: &[&str]) -> Option<Self> {
        read_json(&folder(cache, segments).join(names::MODEL_TYPE)).ok()
    }

    /// Writes the file of a model.
    pub fn write(&self, cache: &Path, segments: &[&str]) -> Result<(), ModelError> {
        let text = serde_json::to_vec(self).unwrap_or_default();
        write_whole(&folder(cache, segments).join(names::MODEL_TYPE), &text)
    }
}

/// Folder of a model in the older layout.
pub(super) fn folder(cache: &Path, segments: &[&str]) -> PathBuf {
    segments.iter().fold(cache.to_owned(), |p, s| p.join(s))
}

/// Whether all files of a model are there.
pub(super) fn is_complete(folder: &Path) -> bool {
    let needed = ["weights.onnx", environment::FILE, names::MODEL_TYPE];
    needed.iter().all(|name| folder.join(name).is_file())
}

/// Fetches a model by the older protocol.
pub(super) async fn fetch(
    means: Means<'_>,
    id: &str,
    segments: &[&str],
    key: Option<&ApiKey>,
) -> Result<PathBuf, ModelError> {
    let settings = means.settings;
    let folder = folder(&settings.cache_dir, segments);
    let _lock = lock(settings, id, &folder).await?;
    if is_complete(&folder) {
        return Ok(folder);
    }
    let answer = means.platform.legacy(settings, segments, key).await;
    let answer = answer.map_err(|trouble| failed(id, trouble))?;
    let task = answer.task.clone().unwrap_or("object-detection".into());
    super::runnable(id, &task)?;
    match &answer.environment {
        Json::String(address) => bring(means, id, &folder, environment::FILE, address).await?,
        content => {
            let text = content.to_string();
            write_whole(&folder.join(environment::FILE), text.as_bytes())?;
        }
    }
    let classes = answer.class_names(&folder).join("\n");
    write_whole(&folder.join("class_names.txt"), classes.as_bytes())?;
    if let Some(keypoints) = &answer.keypoints_metadata {
        let text = keypoints.to_string();
        write_whole(&folder.join("keypoints_metadata.json"), text.as_bytes())?;
    }
    bring(means, id, &folder, "weights.onnx", &answer.model).await?;
    let model_type = ModelType {
        project_task_type: task,
        model_type: answer.model_type.or(Some("yolov5v2s".into())),
        model_id: Some(id.to_owned()),
        model_variant: None,
    };
    model_type.write(&settings.cache_dir, segments)?;
    Ok(folder)
}

/// Brings a file of a model into its folder.
async fn bring(
    means: Means<'_>,
    id: &str,
    folder: &Path,
    name: &str,
    address: &str,
) -> Result<(), ModelError> {
    let settings = means.settings;
    let url = Url::parse(address)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| {
        let reason = format!("`{name}` has no http address");
        failed(id, Trouble::Garbage { reason })
    })?;
    let of_file = |trouble| ModelError::Download {
        id: id.to_owned(),
        file: name.to_owned(),
        trouble,
    };
    let broken = |reason| of_file(FileTrouble::Broken { reason });
    let client = means.platform.files(settings).map_err(broken)?;
    let want = Wanted {
        model: id,
        name,
        url: &settings.platform.through_gateway(url),
        target: &folder.join(name),
        md5: None,
        head: false,
        patience: settings.lock_patience,
    };
    means.downloads.fetch(client, want).await.map_err(of_file)
}

fn failed(id: &str, trouble: Trouble) -> ModelError {
    ModelError::Platform {
        id: id.to_owned(),
        question: Question::Weights,
        trouble,
    }
}

impl LegacyAnswer {
    /// The classes of the answer, else those of the environment.
    fn class_names(&self, folder: &Path) -> Vec<String> {
        if !self.classes.is_empty() {
            return self.classes.clone();
        }
        environment::class_names(&folder.join(environment::FILE)).unwrap_or_default()
    }
}

/// The lock of a folder; waits for as long as its files grow.
async fn lock(settings: &Settings, id: &str, folder: &Path) -> Result<FileLock, ModelError> {
    let locks = settings.cache_dir.join(names::LOCKS);
    let path = locks.join(format!("{}.lock", names::folder(id)));
    let failed = |error: std::io::Error| ModelError::Cache {
        path: path.clone(),
        reason: error.to_string(),
    };
    fs::create_dir_all(&locks).map_err(failed)?;
    let headway = || {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files.filter_map(|f| Some(f.metadata().ok()?.len())).sum()
    };
    let taken = FileLock::take(&path, settings.lock_patience, headway).await;
    taken.map_err(failed)?.ok_or_else(|| ModelError::Busy {
        id: id.to_owned(),
        limit: settings.lock_patience,
    })
}
