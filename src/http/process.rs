//! What a process is made of, as far as others may know, and how fresh each part is.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::blocks::CacheStore;
use crate::clock::Clock;
use crate::definitions::{DefinitionStore, Freshness};
use crate::models::ModelStore;
use crate::streams::Figures;
use crate::values::Timestamp;

/// What a process is made of, as far as others may know.
pub struct Process {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// When the process started.
    pub started: Timestamp,
    /// Definitions.
    pub store: Arc<DefinitionStore>,
    /// Models.
    pub models: Arc<ModelStore>,
    streams: Mutex<Vec<RunningStream>>,
}

/// A stream of the process.
#[derive(Clone)]
pub struct RunningStream {
    /// Name.
    pub name: String,
    /// Id of the definition that it runs.
    pub definition: String,
    /// Its figures.
    pub figures: Arc<Figures>,
    /// What its cache blocks hold.
    pub cache: Arc<CacheStore>,
}

impl Process {
    /// A process without streams, started now.
    pub fn new(
        clock: Arc<dyn Clock>,
        store: Arc<DefinitionStore>,
        models: Arc<ModelStore>,
    ) -> Self {
        let started = clock.now();
        Self {
            clock,
            started,
            store,
            models,
            streams: Mutex::default(),
        }
    }

    /// Adds a stream.
    pub fn add(&self, stream: RunningStream) {
        self.streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(stream);
    }

    /// The state of server, definitions, models and streams.
    pub fn freshness(&self) -> Value {
        self.freshness_with(&self.streams())
    }

    /// The same with these streams.
    pub(super) fn freshness_with(&self, streams: &[RunningStream]) -> Value {
        let now = self.clock.now();
        let definitions: Vec<Value> = self
            .store
            .freshness()
            .iter()
            .map(|row| {
                let mut json = Freshness::to_json(row, now);
                let running: Vec<&str> = streams
                    .iter()
                    .filter(|s| s.definition == row.id)
                    .map(|s| s.name.as_str())
                    .collect();
                json["streams"] = json!(running);
                json
            })
            .collect();
        let models: Vec<Value> = self
            .models
            .list()
            .into_iter()
            .filter(|m| m.loaded_since.is_some() || m.problem.is_some())
            .map(|m| {
                json!({
                    "id": m.id,
                    "sha256": m.sha256,
                    "size_bytes": m.size,
                    "loaded_since": m.loaded_since.map(|t| t.isoformat()),
                    "folder": m.folder.display().to_string(),
                    "provider": m.provider.map(|p| p.name()),
                    "changed_on_disk": m.changed_on_disk,
                    "problem": m.problem.map(|p| p.to_string()),
                })
            })
            .collect();
        let streams: Vec<Value> = streams
            .iter()
            .map(|s| {
                let now = s.figures.snapshot();
                json!({
                    "name": s.name,
                    "definition": s.definition,
                    "results": now.results,
                    "errors": now.errors,
                    "dropped": now.dropped,
                    "reconnects": now.reconnects,
                    "swaps": now.swaps,
                    "latency_p50_ms": now.latency.p50.as_secs_f64() * 1e3,
                    "latency_p99_ms": now.latency.p99.as_secs_f64() * 1e3,
                })
            })
            .collect();
        json!({
            "server": {
                "name": "millrace",
                "version": env!("CARGO_PKG_VERSION"),
                "build": if cfg!(debug_assertions) { "dev" } else { "release" },
                "started": self.started.isoformat(),
                "now": now.isoformat(),
            },
            "definitions": definitions,
            "models": models,
            "streams": streams,
        })
    }

    /// Asks the sources of the definitions now: of all, or of those with this id. Answers one row
    /// for each.
    pub(super) fn refresh(&self, id: Option<&str>) -> Vec<Value> {
        let ids: Vec<String> = match id {
            Some(id) => vec![id.to_owned()],
            None => {
                let mut ids: Vec<String> = self
                    .store
                    .freshness()
                    .into_iter()
                    .map(|row| row.id)
                    .collect();
                ids.dedup();
                ids
            }
        };
        let keys = ids
            .iter()
            .flat_map(|id| self.store.keys(id).into_iter().map(move |key| (id, key)));
        keys.map(|(id, key)| match self.store.refresh_now(&key) {
            Ok(fetched) => json!({"id": id, "definition": fetched.stamp.to_json(self.clock.now())}),
            Err(error) => json!({"id": id, "error": error.to_string()}),
        })
        .collect()
    }

    /// The streams of the process.
    pub(super) fn streams(&self) -> Vec<RunningStream> {
        let streams = self.streams.lock();
        streams.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
