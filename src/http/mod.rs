//! What a running process tells over HTTP: is it alive, and how fresh is what it runs.
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /healthz` | `{"status": "ok"}` while the process runs |
//! | `GET /freshness` | the three dependencies: server, definitions, models; and the streams |
//! | `GET /metrics` | figures of the streams for Prometheus |
//! | `POST /definitions/refresh` | asks the sources of all definitions now (or of `{"id": …}`) |
//!
//! Binds to the address it is given; nothing is bound unless asked for.

mod metrics;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::oneshot;

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
        let now = self.clock.now();
        let streams = self
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
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
                    "latency_p50_ms": now.latency_p50.as_secs_f64() * 1e3,
                    "latency_p99_ms": now.latency_p99.as_secs_f64() * 1e3,
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
    fn refresh(&self, id: Option<&str>) -> Vec<Value> {
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
}

fn router(process: Arc<Process>) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({"status": "ok"}))))
        .route("/freshness", get(freshness))
        .route("/metrics", get(figures))
        .route("/definitions/refresh", post(refresh))
        .with_state(process)
}

async fn figures(
    State(process): State<Arc<Process>>,
) -> ([(&'static str, &'static str); 1], String) {
    let streams = process
        .streams
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    (
        [("content-type", "text/plain; version=0.0.4")],
        metrics::text(&streams),
    )
}

async fn freshness(State(process): State<Arc<Process>>) -> Result<Json<Value>, StatusCode> {
    let told = tokio::task::spawn_blocking(move || process.freshness()).await;
    told.map(Json)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn refresh(
    State(process): State<Arc<Process>>,
    body: String,
) -> Result<Json<Value>, (StatusCode, String)> {
    let id = match body.trim() {
        "" => None,
        text => {
            let wrong = || {
                (
                    StatusCode::BAD_REQUEST,
                    "the body must be {\"id\": \"…\"} or empty".to_owned(),
                )
            };
            let json: Value = serde_json::from_str(text).map_err(|_| wrong())?;
            match &json["id"] {
                Value::Null => None,
                Value::String(id) => Some(id.clone()),
                _ => return Err(wrong()),
            }
        }
    };
    let asked = id.clone();
    let rows = tokio::task::spawn_blocking(move || process.refresh(id.as_deref())).await;
    match rows {
        Ok(rows) if rows.is_empty() && asked.is_some() => Err((
            StatusCode::NOT_FOUND,
            "no definition of this id is in use; GET /freshness lists them".to_owned(),
        )),
        Ok(rows) => Ok(Json(json!({"refreshed": rows}))),
        Err(_) => Err((
            StatusCode::INTERNAL_SERVER_ERROR,
            "the refresh broke off".to_owned(),
        )),
    }
}

/// A listening server; it stops when dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
}

impl Server {
    /// Listens at an address (port 0 takes a free one).
    ///
    /// # Errors
    /// If the address cannot be had; the text names who may hold it.
    pub fn start(address: SocketAddr, process: Arc<Process>) -> Result<Self, String> {
        let refused = |e: &dyn std::fmt::Display| {
            format!(
                "cannot listen at {address}: {e}; choose another port or stop what listens there"
            )
        };
        let listener = std::net::TcpListener::bind(address).map_err(|e| refused(&e))?;
        listener.set_nonblocking(true).map_err(|e| refused(&e))?;
        let address = listener.local_addr().map_err(|e| refused(&e))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| refused(&e))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let listener = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "the HTTP side stopped"),
            };
            let served = axum::serve(listener, router(process)).with_graceful_shutdown(async {
                // Dropped or told: both mean stop.
                let _ = stopped.await;
            });
            if let Err(error) = served.await {
                tracing::error!(%error, "the HTTP side stopped");
            }
        };
        thread::Builder::new()
            .name("http".into())
            .spawn(move || runtime.block_on(serve))
            .map_err(|e| refused(&e))?;
        Ok(Self {
            address,
            stop: Some(stop),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}
