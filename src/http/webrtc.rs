//! Routes of WebRTC sessions (section 4.8 of the server specification).
//!
//! A session is started with an offer and answered with `sdp`. Its name is in the header
//! `x-millrace-session`; a client that brought a `session_id` chose it itself. The old route below
//! `/inference_pipelines` starts the same kind of session.

mod request;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use uuid::Uuid;

use super::app::App;
use super::fields::Fields;
use super::layers::Stamped;
use super::rejection::Rejection;
use super::schemas;
use super::table::Route;
use super::{body, caller};
use crate::definitions::ApiKey;
use crate::webrtc::{Answered, WebrtcError};
use request::Form;

type Shared = State<Arc<App>>;

/// What these routes are shown under.
const TAG: &str = "WebRTC";
/// The header with the name of a session.
const SESSION: &str = "x-millrace-session";

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let route = |path, summary, handler| Route::new(TAG, "POST", path, summary, handler);
    vec![
        route(
            "/initialise_webrtc_worker",
            "Start a session on video over WebRTC",
            post(initialise),
        )
        .takes(schemas::session(false))
        .gives(schemas::session_answer()),
        route(
            "/inference_pipelines/initialise_webrtc",
            "The same, in the older form",
            post(initialise_pipeline),
        )
        .takes(schemas::session(true))
        .gives(schemas::session_answer()),
        route(
            "/webrtc/session/heartbeat",
            "Whether a session lives",
            post(heartbeat),
        )
        .takes(schemas::session_id())
        .gives(schemas::session_status()),
        route("/webrtc/session/heartbeat/end", "End a session", post(end))
            .takes(schemas::session_id())
            .gives(schemas::session_status()),
    ]
}

/// Why a session is not started.
enum Refusal {
    Request(Rejection),
    Session(WebrtcError),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Request(rejection)
    }
}

impl From<WebrtcError> for Refusal {
    fn from(error: WebrtcError) -> Self {
        match error {
            WebrtcError::Workflow(error) => Self::Request(Rejection::Workflow(error)),
            WebrtcError::Definition(error) => Self::Request(Rejection::Definition(error)),
            WebrtcError::Source(_) | WebrtcError::Host { .. } => {
                Self::Request(Rejection::Internal(error.to_string()))
            }
            other => Self::Session(other),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Request(rejection) => return rejection.into_response(),
            Self::Session(error) => error,
        };
        tracing::warn!(%error, "a WebRTC session is refused");
        let status = StatusCode::from_u16(error.status());
        let mut body = json!({"message": error.to_string()});
        if let Some(kind) = error.kind() {
            body["error_type"] = kind.into();
        }
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(body)).into_response()
    }
}

async fn initialise(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let (answered, kept) = start(app, &headers, request, Form::Worker).await?;
    let context = json!({"request_id": null, "pipeline_id": null});
    let response = answer(&answered, context);
    kept.claim();
    Ok(response)
}

async fn initialise_pipeline(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let (answered, kept) = start(app, &headers, request, Form::Pipeline).await?;
    let request_id = Uuid::new_v4().to_string();
    let context = json!({"request_id": request_id, "pipeline_id": answered.id});
    let response = answer(&answered, context);
    kept.claim();
    Ok(response)
}

fn answer(answered: &Answered, context: Value) -> Response {
    let body = json!({
        "status": "success",
        "context": context,
        "sdp": answered.sdp,
        "type": "answer",
    });
    let mut response = Json(body).into_response();
    if let Ok(id) = HeaderValue::from_str(&answered.id) {
        response.headers_mut().insert(SESSION, id);
    }
    let stamp = Stamped(answered.definition.clone());
    response.extensions_mut().insert(stamp);
    response
}

/// A session whose client does not know of it yet. If the client never gets to know, it ends.
struct Unclaimed {
    app: Arc<App>,
    id: Option<String>,
}

impl Unclaimed {
    fn claim(mut self) {
        self.id = None;
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            tracing::warn!(session = %id, "nobody waits for it any more");
            self.app.sessions.end(&id);
        }
    }
}

async fn start(
    app: Arc<App>,
    headers: &HeaderMap,
    request: Request<Body>,
    form: Form,
) -> Result<(Answered, Unclaimed), Refusal> {
    let object = body::object(request, app.settings.body).await?;
    let mut spec = request::read(&app, headers, &object, form)?;
    let settings = app.sessions.settings();
    if let (Some(_), Some(key)) = (settings.quota, &spec.api_key) {
        spec.workspace = app.workspace_of(key.expose()).await;
    }
    let worker = app.clone();
    let started = tokio::task::spawn_blocking(move || {
        let answered = worker.sessions.start(spec)?;
        let id = Some(answered.id.clone());
        Ok::<_, WebrtcError>((answered, Unclaimed { app: worker, id }))
    });
    Ok(started.await.map_err(Rejection::from)??)
}

async fn heartbeat(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    match own_session(&app, &headers, request).await? {
        Ok(Some(_)) => Ok(Json(json!({"status": "ok"})).into_response()),
        Ok(None) => Ok(told(StatusCode::NOT_FOUND, "session not found")),
        Err(refused) => Ok(refused),
    }
}

async fn end(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    match own_session(&app, &headers, request).await? {
        Ok(found) => {
            if let Some(id) = found {
                app.sessions.end(&id);
            }
            Ok(Json(json!({"status": "ok"})).into_response())
        }
        Err(refused) => Ok(refused),
    }
}

/// The session that a request names, if it belongs to the workspace of its key; a response if the
/// key is none.
async fn own_session(
    app: &App,
    headers: &HeaderMap,
    request: Request<Body>,
) -> Result<Result<Option<String>, Response>, Rejection> {
    let object = body::object(request, app.settings.body).await?;
    let mut fields = Fields::of(&object);
    let id = fields.required_text("session_id").map(str::to_owned);
    let key = fields.text("api_key").map(str::to_owned);
    fields.finish()?;
    let key = caller::api_key(headers, app.settings.keys_from_headers, key.as_deref());
    let unauthorised = || told(StatusCode::UNAUTHORIZED, "unauthorized");
    let Some(key) = key else {
        return Ok(Err(unauthorised()));
    };
    let owner = id.as_deref().and_then(|id| app.sessions.owner(id));
    // Who started it need not be looked up.
    let same = |own: &ApiKey| caller::same_secret(own.expose(), key.expose());
    if let Some((Some(own), _)) = &owner
        && same(own)
    {
        return Ok(Ok(id));
    }
    let Some(workspace) = app.workspace_of(key.expose()).await else {
        return Ok(Err(unauthorised()));
    };
    let owners = match owner {
        Some((_, Some(owners))) => Some(owners),
        Some((Some(own), None)) => app.workspace_of(own.expose()).await,
        _ => None,
    };
    Ok(Ok(id.filter(|_| owners == Some(workspace))))
}

fn told(status: StatusCode, message: &str) -> Response {
    let body = json!({"detail": {"status": "error", "message": message}});
    (status, Json(body)).into_response()
}
