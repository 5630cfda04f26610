//! What the local editor of workflows keeps on this machine (section 1.3 of the server specification,
//! "local editor"): one file per workflow below `MODEL_CACHE_DIR/workflow/local`, named by the SHA-256
//! of its id, so that ids are no paths. Such a workflow runs as `local/<id>`.
//!
//! The routes exist with `--builder` only. Calls must show the token that the page of the editor has.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path as InPath, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{self, get, post};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::app::App;
use super::body;
use super::caller::same_secret;
use super::rejection::Rejection;
use super::table::Route;

type Shared = State<Arc<App>>;

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let tag = "Editor";
    vec![
        Route::new(tag, "GET", "/build", "The editor", get(page)),
        Route::new(tag, "GET", "/build/", "The editor", get(|| to("/build"))),
        Route::new(tag, "GET", "/build/edit/{id}", "The editor", get(page)),
        Route::new(
            tag,
            "GET",
            "/build/{id}",
            "The editor of a workflow",
            get(open),
        ),
        Route::new(tag, "GET", "/build/api", "Saved workflows", get(list)),
        Route::new(tag, "GET", "/build/api/{id}", "A saved workflow", get(one)),
        Route::new(
            tag,
            "POST",
            "/build/api/{id}",
            "Save a workflow",
            post(save),
        ),
        Route::new(
            tag,
            "DELETE",
            "/build/api/{id}",
            "Delete a saved workflow",
            routing::delete(delete),
        ),
    ]
}

/// Saved workflows of a folder.
struct Shelf(PathBuf);

impl Shelf {
    fn of(app: &App) -> Self {
        Self(app.settings.cache_dir.join("workflow/local"))
    }

    fn path(&self, id: &str) -> PathBuf {
        self.0
            .join(format!("{}.json", hex::encode(Sha256::digest(id))))
    }

    /// The token, made at the first call; only this user may read it.
    fn token(&self) -> std::io::Result<String> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.0.join(".csrf");
        if let Ok(token) = std::fs::read_to_string(&path) {
            return Ok(token.trim().to_owned());
        }
        std::fs::create_dir_all(&self.0)?;
        let token = Uuid::new_v4().simple().to_string();
        let mut options = std::fs::OpenOptions::new();
        match options.write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => file.write_all(token.as_bytes()).map(|()| token),
            // Another request was first.
            Err(_) => std::fs::read_to_string(&path),
        }
    }

    fn read(path: &Path) -> Option<(Value, i64, i64)> {
        let text = std::fs::read(path).ok()?;
        let facts = path.metadata().ok()?;
        let seconds = |time: std::io::Result<SystemTime>| {
            let since = time.ok()?.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_secs()).ok()
        };
        let changed = seconds(facts.modified())?;
        let made = seconds(facts.created()).unwrap_or(changed);
        Some((serde_json::from_slice(&text).ok()?, made, changed))
    }

    /// Writes a file whole or not at all.
    fn write(&self, id: &str, content: &Value) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.0)?;
        let beside = self
            .0
            .join(format!(".local-workflow.{}.tmp", Uuid::new_v4().simple()));
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(content.to_string().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, self.path(id)).inspect_err(|_| {
            let _ = std::fs::remove_file(&beside);
        })
    }
}

fn detail(status: StatusCode, body: Value) -> Response {
    (status, Json(body)).into_response()
}

/// Refuses who does not show the token, and ids that cannot be one.
fn admit(app: &App, headers: &HeaderMap, id: Option<&str>) -> Result<Shelf, Response> {
    let shelf = Shelf::of(app);
    let shown = headers.get("x-csrf").and_then(|token| token.to_str().ok());
    let token = shelf
        .token()
        .map_err(|e| Rejection::Internal(format!("no token of the editor: {e}")).into_response())?;
    if !shown.is_some_and(|shown| same_secret(shown, &token)) {
        let body = json!({"detail": "Invalid CSRF token"});
        return Err(detail(StatusCode::FORBIDDEN, body));
    }
    let fits = |id: &str| {
        !id.is_empty()
            && id
                .chars()
                .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
    };
    match id {
        Some(id) if !fits(id) => Err(detail(
            StatusCode::BAD_REQUEST,
            json!({"error": "invalid id"}),
        )),
        _ => Ok(shelf),
    }
}

async fn to(place: &'static str) -> Response {
    (StatusCode::FOUND, [(LOCATION, place)]).into_response()
}

async fn page(State(app): Shared) -> Response {
    match Shelf::of(&app).token() {
        Err(e) => Rejection::Internal(format!("no token of the editor: {e}")).into_response(),
        Ok(token) => Html(format!(
            "<!doctype html><html lang=en><meta charset=utf-8><title>Workflows</title>\
             <script>window.csrf={}</script>\
             <script type=module src={}/workflows/local.js></script><div id=root></div>",
            json!(token),
            app.settings.builder_origin.trim_end_matches('/')
        ))
        .into_response(),
    }
}

async fn open(State(app): Shared, InPath(id): InPath<String>) -> Response {
    let place = match Shelf::of(&app).path(&id).exists() {
        true => format!("/build/edit/{id}"),
        false => "/build".to_owned(),
    };
    (StatusCode::FOUND, [(LOCATION, place)]).into_response()
}

async fn list(State(app): Shared, headers: HeaderMap) -> Result<Response, Response> {
    let shelf = admit(&app, &headers, None)?;
    let mut data = Map::new();
    let entries = std::fs::read_dir(&shelf.0).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let is_saved = path.extension().is_some_and(|e| e == "json");
        if let Some((config, made, changed)) = Shelf::read(&path).filter(|_| is_saved) {
            let id = config["id"].as_str().unwrap_or_default().to_owned();
            let at = |seconds: i64| json!({"_seconds": seconds});
            let row = json!({"createTime": at(made), "updateTime": at(changed), "config": config});
            data.insert(id, row);
        }
    }
    Ok(Json(json!({"data": data})).into_response())
}

async fn one(
    State(app): Shared,
    headers: HeaderMap,
    InPath(id): InPath<String>,
) -> Result<Response, Response> {
    let shelf = admit(&app, &headers, Some(&id))?;
    if id == "models" {
        let models = app.services.models.registry_rows();
        let models: Vec<&str> = models.iter().map(|row| row.model_id.as_str()).collect();
        return Ok(Json(json!({"models": models})).into_response());
    }
    match Shelf::read(&shelf.path(&id)) {
        Some((config, made, changed)) => {
            let data = json!({"createTime": made, "updateTime": changed, "config": config});
            Ok(Json(json!({"data": data})).into_response())
        }
        None => Err(missing()),
    }
}

fn missing() -> Response {
    detail(StatusCode::NOT_FOUND, json!({"error": "not found"}))
}

async fn save(
    State(app): Shared,
    InPath(id): InPath<String>,
    request: Request<Body>,
) -> Result<Response, Response> {
    let shelf = admit(&app, request.headers(), Some(&id))?;
    if id == "models" {
        let body = json!({"error": "the id `models` is reserved"});
        return Err(detail(StatusCode::BAD_REQUEST, body));
    }
    let object = body::object(request, app.settings.body)
        .await
        .map_err(IntoResponse::into_response)?;
    let mut content = Value::Object(object);
    let before = content["id"].as_str().map(str::to_owned);
    content["id"] = id.as_str().into();
    shelf.write(&id, &content).map_err(|e| {
        Rejection::Internal(format!("a workflow cannot be saved: {e}")).into_response()
    })?;
    // Another id in the body is the name that the workflow had.
    if let Some(before) = before.filter(|before| *before != id) {
        let _ = std::fs::remove_file(shelf.path(&before));
    }
    let message = format!("Workflow '{id}' created/updated successfully.");
    Ok(detail(StatusCode::CREATED, json!({"message": message})))
}

async fn delete(
    State(app): Shared,
    headers: HeaderMap,
    InPath(id): InPath<String>,
) -> Result<Response, Response> {
    let shelf = admit(&app, &headers, Some(&id))?;
    match std::fs::remove_file(shelf.path(&id)) {
        Ok(()) => {
            let message = format!("Workflow '{id}' deleted successfully.");
            Ok(Json(json!({"message": message})).into_response())
        }
        Err(_) => Err(missing()),
    }
}
