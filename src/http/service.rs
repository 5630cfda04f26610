//! Routes about the server itself (section 1.2 of the server specification).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::{Value, json};

use super::app::App;
use super::operation::PROMETHEUS;
use super::rejection::Rejection;
use super::table::{Description, Route};
use super::{logs, metrics, streams};

type Shared = State<Arc<App>>;

/// What pages are.
const PAGE: &[&str] = &["text/html"];
/// Release of the reference whose interface this is; clients may look at it.
const INTERFACE_VERSION: &str = "1.8.3";

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let tag = "Service";
    let route = |path, summary, handler| Route::new(tag, "GET", path, summary, handler);
    vec![
        route("/", "Start page", get(start_page)).as_media(PAGE),
        route("/docs", "These routes", get(docs)).as_media(PAGE),
        route("/redoc", "These routes", get(docs)).as_media(PAGE),
        route("/openapi.json", "These routes as OpenAPI", get(openapi)),
        route("/info", "Name and version", get(info)),
        route("/healthz", "Whether the server lives", get(healthz)),
        route(
            "/readiness",
            "Whether it is ready for requests",
            get(readiness),
        ),
        route(
            "/freshness",
            "How fresh server, definitions and models are",
            get(freshness),
        ),
        route(
            "/outbox",
            "Events that wait for their receivers",
            get(outbox),
        ),
        route("/metrics", "Figures for Prometheus", get(figures)).as_media(&["text/plain"]),
        route("/logs", "The last lines of the log", get(log_lines)).asks(&[
            ("limit", "integer", "Lines at most, 100"),
            ("level", "string", "Only lines of this level"),
            ("since", "string", "Only lines after this time"),
        ]),
        route(
            "/device/stats",
            "Statistics of containers",
            get(device_stats),
        ),
        route("/notebook/start", "Start of a notebook", get(notebook)),
    ]
}

async fn start_page(State(app): Shared) -> Html<String> {
    let definitions = app.process.store.freshness().len();
    let streams = app.streams().len();
    Html(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>millrace</title>\
         <style>body{{font:16px system-ui;margin:4em auto;max-width:40em}}</style>\
         <h1>millrace {}</h1><p>Runs Roboflow Workflows on images, cameras and recorded video. Point \
         <code>inference_sdk</code> at this address.</p>\
         <p>{definitions} definitions in use, {streams} streams.</p>\
         <ul><li><a href=/streams>Streams</a><li><a href=/docs>Routes</a><li><a href=/freshness>Freshness of server, definitions and \
         models</a><li><a href=/metrics>Metrics</a></ul>",
        env!("CARGO_PKG_VERSION")
    ))
}

async fn docs(Extension(told): Extension<Description>) -> Html<String> {
    Html(told.page.as_ref().to_owned())
}

async fn openapi(Extension(told): Extension<Description>) -> Response {
    let text = told.openapi.as_ref().to_owned();
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

async fn info(State(app): Shared) -> Json<Value> {
    Json(json!({
        "name": concat!("millrace ", env!("CARGO_PKG_VERSION")),
        "version": INTERFACE_VERSION,
        "uuid": app.settings.server_id,
    }))
}

/// With streams, how each of them is: a camera that is away makes the server `degraded`, not ill.
async fn healthz(State(app): Shared) -> Json<Value> {
    let mut health = app.fleet.health_json();
    if let (Some(told), true) = (health.as_object_mut(), app.fleet.list().is_empty()) {
        told.remove("streams");
    }
    let sessions = app.sessions.health_json();
    if sessions.as_array().is_some_and(|each| !each.is_empty()) {
        health["webrtc"] = sessions;
    }
    Json(health)
}

async fn readiness(State(app): Shared) -> Response {
    match app.is_ready() {
        true => Json(json!({"status": "ready"})).into_response(),
        false => {
            let body = json!({"status": "not ready"});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn freshness(State(app): Shared) -> Result<Json<Value>, Rejection> {
    let told = tokio::task::spawn_blocking(move || app.process.freshness_with(&app.streams()));
    Ok(Json(told.await?))
}

async fn outbox(State(app): Shared) -> Result<Json<Value>, Rejection> {
    let told = tokio::task::spawn_blocking(move || app.services.dispatcher.outbox_report());
    Ok(Json(told.await?))
}

async fn figures(State(app): Shared) -> Response {
    let mut text = metrics::text(&app.streams());
    metrics::models(&mut text, &app.services.models.batches_by_model());
    app.traffic.write(&mut text);
    metrics::sessions(&mut text, app.sessions.figures());
    streams::metrics(&mut text, &app.fleet);
    if let Some(tracer) = &app.services.tracer {
        metrics::traces(&mut text, &tracer.figures());
    }
    if let Some(outbox) = app.services.dispatcher.outbox_figures() {
        metrics::outbox(&mut text, &outbox);
    }
    text.push_str(&format!(
        "# HELP millrace_plans Compiled definitions that are kept.\n# TYPE millrace_plans gauge\n\
         millrace_plans {}\n",
        app.plan_count()
    ));
    ([(CONTENT_TYPE, PROMETHEUS)], text).into_response()
}

/// Which lines of the log.
#[derive(Deserialize)]
struct Wanted {
    #[serde(default = "hundred")]
    limit: usize,
    level: Option<String>,
    since: Option<String>,
}

fn hundred() -> usize {
    100
}

async fn log_lines(Query(wanted): Query<Wanted>) -> Response {
    let Some(lines) = logs::kept() else {
        let body = json!({"detail": "Logs endpoint not available"});
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    };
    let level = wanted.level.as_deref();
    let told = lines.tell(wanted.limit, level, wanted.since.as_deref());
    Json(told).into_response()
}

async fn device_stats() -> Response {
    let body = json!({
        "error": "Device statistics endpoint is not enabled.",
        "hint": "Mount the Docker socket and point its location when running the docker container \
                 to collect device stats (i.e. `docker run ... -v \
                 /var/run/docker.sock:/var/run/docker.sock -e \
                 DOCKER_SOCKET_PATH=/var/run/docker.sock ...`).",
    });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

async fn notebook() -> Json<Value> {
    Json(json!({
        "success": false,
        "message": "Notebook server is not enabled. Enable notebooks via the NOTEBOOK_ENABLED \
                    environment variable.",
    }))
}

/// What no route takes (section 1.1 of the server specification, "unknown paths").
pub async fn unknown(State(app): Shared, request: Request<Body>) -> Response {
    // A path of two segments with a method that its own route does not take belongs to the route of
    // models by project and version.
    let segments = request.uri().path().split('/').filter(|s| !s.is_empty());
    let is_model = app.settings.legacy_route && segments.count() == 2;
    let has_image = super::caller::query(request.uri(), "image").is_some();
    match *request.method() {
        Method::GET | Method::POST if is_model && !has_image => {
            Rejection::bad_request("Content-Type header not provided with request.").into_response()
        }
        Method::GET | Method::HEAD => Rejection::NotFound.into_response(),
        _ => Rejection::MethodNotAllowed.into_response(),
    }
}
