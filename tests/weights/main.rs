//! Models from a stand-in platform: what is asked how often, what lies on the disk, what stays in
//! memory, and what happens when something fails.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cache;
mod failures;
mod folders;
mod memory;
#[path = "../support/model_platform.rs"]
mod model_platform;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millrace::clock::ManualClock;
use millrace::definitions::ApiKey;
use millrace::models::{ModelError, ModelStore, RuntimeSettings, Settings, Source};
use model_platform::ModelPlatform;

const SHAPES: &str = "shapes-det-320";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A platform with `tiny/1`, and a cache.
struct Site {
    platform: ModelPlatform,
    cache: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Site {
    fn new() -> Self {
        let platform = ModelPlatform::start();
        platform.publish("tiny/1", SHAPES);
        Self {
            platform,
            cache: tempfile::tempdir().unwrap(),
            clock: Arc::default(),
        }
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.platform.url(), self.cache.path());
        settings.api_key = Some(ApiKey::new("K1"));
        settings.calls.wait = Duration::from_millis(1);
        settings
    }

    /// A process of its own, as far as a store goes.
    fn store(&self) -> Arc<ModelStore> {
        self.store_with(self.settings())
    }

    fn store_with(&self, settings: Settings) -> Arc<ModelStore> {
        let store = ModelStore::connect(
            None,
            RuntimeSettings::default(),
            settings,
            self.clock.clone(),
        );
        Arc::new(store.unwrap())
    }

    fn error(&self, id: &str) -> ModelError {
        self.store().detector(id).unwrap_err()
    }

    fn path(&self, below: &str) -> PathBuf {
        self.cache.path().join(below)
    }

    fn package(&self) -> PathBuf {
        self.path("models-cache/v2-tiny-1-6222e97db93d864a9bba14d5c5b4cad1/shapesdet320")
    }
}

fn source(store: &ModelStore, id: &str) -> Source {
    store.info(id).unwrap().source
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|e| e.file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".lock"))
        .collect();
    names.sort();
    names
}
