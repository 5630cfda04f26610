//! Routes that tell which models are in memory, load them and give them up (section 1.2 of the server
//! specification).

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::app::App;
use super::fields::Fields;
use super::infer::watched;
use super::rejection::Rejection;
use super::table::Route;
use super::{body, caller};

type Shared = State<Arc<App>>;

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let tag = "Models";
    vec![
        Route::new(
            tag,
            "GET",
            "/model/registry",
            "Models in memory",
            get(registry),
        ),
        Route::new(tag, "POST", "/model/add", "Load a model", post(add)),
        Route::new(
            tag,
            "POST",
            "/model/remove",
            "Give a model up",
            post(remove),
        ),
        Route::new(
            tag,
            "POST",
            "/model/clear",
            "Give all models up",
            post(clear),
        ),
        Route::new(
            tag,
            "GET",
            "/clear_cache",
            "Give all models up",
            get(clear_cache),
        ),
        Route::new(
            tag,
            "GET",
            "/start/{project}/{version}",
            "Load a model by project and version",
            get(start),
        ),
    ]
}

/// The list of models in memory.
fn list(app: &App) -> Value {
    let rows = app.services.models.registry_rows().into_iter();
    let models: Vec<Value> = rows
        .map(|row| {
            json!({
                "model_id": row.model_id,
                "task_type": row.task_type,
                "batch_size": row.batch_size,
                "input_height": row.input_height,
                "input_width": row.input_width,
                "vram_bytes": null,
                "request_aliases": row.request_aliases,
                "request_paths": app.traffic.paths_of(&row.model_id),
                "version": row.version,
                "sha256": row.sha256,
                "size_bytes": row.size,
                "loaded_since": row.loaded_since.isoformat(),
                "source": row.source.name(),
            })
        })
        .collect();
    json!({
        "models": models,
        "total_vram_bytes": null,
        "gpu_memory_used": null,
        "gpu_memory_total": null,
        "torch_cuda_allocated": null,
        "torch_cuda_reserved": null,
        "torch_cuda_allocator_cache": null,
        "non_torch_gpu_memory": null,
    })
}

async fn registry(State(app): Shared) -> Result<Json<Value>, Rejection> {
    let worker = app.clone();
    app.work(move || Ok(list(&worker))).await.map(Json)
}

/// The model that a body names, and the caller's key.
async fn named(
    app: &App,
    request: Request<Body>,
) -> Result<(String, HeaderMap, Option<String>), Rejection> {
    let headers = request.headers().clone();
    let object = body::object(request, app.settings.body).await?;
    let mut fields = Fields::of(&object);
    let id = fields
        .required_text("model_id")
        .unwrap_or_default()
        .to_owned();
    let key = fields.text("api_key").map(str::to_owned);
    fields.finish()?;
    Ok((id, headers, key))
}

async fn add(State(app): Shared, request: Request<Body>) -> Result<Response, Rejection> {
    let (id, headers, key) = named(&app, request).await?;
    let key = caller::api_key(&headers, app.settings.keys_from_headers, key.as_deref());
    load(app, id, key, "/model/add".into(), list).await
}

/// Loads a model and answers what `tell` says then.
async fn load(
    app: Arc<App>,
    id: String,
    key: Option<crate::definitions::ApiKey>,
    path: String,
    tell: fn(&App) -> Value,
) -> Result<Response, Rejection> {
    let worker = app.clone();
    let work = move || {
        worker.services.models.preload_for(&id, key.as_ref())?;
        worker.traffic.note_path(&id, &path);
        Ok(tell(&worker))
    };
    watched(&app, work, |told| Json(told).into_response()).await
}

async fn start(
    State(app): Shared,
    Path((project, version)): Path<(String, String)>,
    Query(query): Query<std::collections::HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let key = query.get("api_key").map(String::as_str);
    let key = caller::api_key(&headers, app.settings.keys_from_headers, key);
    let id = format!("{project}/{version}");
    let path = format!("/start/{id}");
    load(
        app,
        id,
        key,
        path,
        |_| json!({"status": 200, "message": "inference session started from local memory."}),
    )
    .await
}

async fn remove(State(app): Shared, request: Request<Body>) -> Result<Json<Value>, Rejection> {
    let (id, ..) = named(&app, request).await?;
    let worker = app.clone();
    let work = move || {
        worker.services.models.remove(&id);
        Ok(list(&worker))
    };
    app.work(work).await.map(Json)
}

async fn clear(State(app): Shared) -> Result<Json<Value>, Rejection> {
    let worker = app.clone();
    let work = move || {
        worker.services.models.clear();
        Ok(list(&worker))
    };
    app.work(work).await.map(Json)
}

async fn clear_cache(State(app): Shared) -> Json<&'static str> {
    app.services.models.clear();
    Json("Cache Cleared")
}
