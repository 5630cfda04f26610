//! Routes for those who operate a process: is it alive, how fresh is what it runs, its figures.
//! `millrace run --http` serves these alone.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::metrics;
use super::process::Process;
use super::table::{self, Route};

/// Media type of Prometheus' text form.
pub const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes without those that a server of workflows answers in its own way.
pub fn routes() -> Vec<Route<Arc<Process>>> {
    let refresh = Route::new(
        "Service",
        "POST",
        "/definitions/refresh",
        "Ask the sources of definitions now",
        post(refresh),
    );
    let id = json!({"type": "object", "properties": {"id": {"type": "string"}}});
    let refreshed = json!({
        "type": "object",
        "properties": {"refreshed": {"type": "array", "items": {"type": "object"}}},
        "required": ["refreshed"],
    });
    vec![refresh.takes(id).gives(refreshed)]
}

/// All routes of a process that serves nothing else.
pub fn alone(process: Arc<Process>) -> Router {
    table::router(routes())
        .route("/freshness", get(freshness))
        .route("/healthz", get(async || Json(json!({"status": "healthy"}))))
        .route("/metrics", get(figures))
        .with_state(process)
}

async fn figures(State(process): State<Arc<Process>>) -> Response {
    let mut text = metrics::text(&process.streams());
    metrics::models(&mut text, &process.models.batches_by_model());
    ([(CONTENT_TYPE, PROMETHEUS)], text).into_response()
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
