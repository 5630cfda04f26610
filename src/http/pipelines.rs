//! Routes of the pipelines of this process (section 4.6 of the server specification).
//!
//! Bodies of `GET` requests are read, as the SDK sends them, and all may be absent but that of
//! `initialise`. Besides the reference's routes a source can be added to a running pipeline
//! (`POST …/{id}/sources` with a `video_reference`) and taken away (`DELETE …/{id}/sources/{number}`).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::app::ServerSettings;
use super::body::{self, BodyLimits};
use super::caller;
use super::rejection::Rejection;
use super::schemas;
use super::table::{self, Route};
use crate::fleet::{Fleet, FleetError, request};
use crate::sources::SourceSpec;

/// What these routes are shown under.
const TAG: &str = "Pipelines";

/// What the handlers share.
#[derive(Clone)]
struct Shared {
    fleet: Arc<Fleet>,
    limits: BodyLimits,
    keys_from_headers: bool,
}

/// The routes of a fleet.
pub fn routes<S>(fleet: Arc<Fleet>, settings: &ServerSettings) -> Vec<Route<S>> {
    let shared = Shared {
        fleet,
        limits: settings.body,
        keys_from_headers: settings.keys_from_headers,
    };
    table::with_state(table(), &shared)
}

/// The routes alone, for a server of pipelines and nothing else.
pub fn alone(fleet: Arc<Fleet>, settings: &ServerSettings) -> Router {
    table::router(routes(fleet, settings))
}

fn table() -> Vec<Route<Shared>> {
    let route = |method, path, summary, handler| Route::new(TAG, method, path, summary, handler);
    let act = |path, summary, handler| route("POST", path, summary, handler).gives(schemas::done());
    vec![
        act(
            "/inference_pipelines/initialise",
            "Start a pipeline on video",
            post(initialise),
        )
        .takes(schemas::pipeline()),
        route(
            "GET",
            "/inference_pipelines/list",
            "The pipelines of this process",
            get(list),
        )
        .gives(schemas::pipelines()),
        route(
            "GET",
            "/inference_pipelines/{id}/status",
            "How a pipeline is",
            get(status),
        )
        .gives(schemas::status()),
        act(
            "/inference_pipelines/{id}/pause",
            "Hold a pipeline",
            post(pause),
        ),
        act(
            "/inference_pipelines/{id}/resume",
            "Let a pipeline go on",
            post(resume),
        ),
        act(
            "/inference_pipelines/{id}/terminate",
            "End a pipeline",
            post(terminate),
        ),
        route(
            "GET",
            "/inference_pipelines/{id}/consume",
            "Take the next result of a pipeline",
            get(consume),
        )
        .takes(schemas::exclusion())
        .gives(schemas::consumed()),
        act(
            "/inference_pipelines/{id}/sources",
            "Add a source to a pipeline",
            post(add_source),
        )
        .takes(schemas::added_source())
        .gives(schemas::source_number()),
        route(
            "DELETE",
            "/inference_pipelines/{id}/sources/{number}",
            "Take a source from a pipeline",
            delete(remove_source),
        )
        .gives(schemas::done()),
    ]
}

/// Why a request is not answered as it was meant.
enum Refusal {
    Request(Rejection),
    Fleet(FleetError),
}

impl From<Rejection> for Refusal {
    fn from(rejection: Rejection) -> Self {
        Self::Request(rejection)
    }
}

impl From<FleetError> for Refusal {
    fn from(error: FleetError) -> Self {
        Self::Fleet(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = match self {
            Self::Request(rejection) => return rejection.into_response(),
            Self::Fleet(error) => error,
        };
        let (status, body) = error.answer();
        if status >= 500 {
            tracing::warn!(%error, "a call to a pipeline failed");
        }
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, axum::Json(body)).into_response()
    }
}

type Answer = Result<axum::Json<Value>, Refusal>;

/// An answer to a call that went well.
fn success(id: Option<&str>, own: Value) -> axum::Json<Value> {
    let mut answer = json!({
        "status": "success",
        "context": {"request_id": Uuid::new_v4().to_string(), "pipeline_id": id},
    });
    if let (Value::Object(answer), Value::Object(own)) = (&mut answer, own) {
        answer.extend(own);
    }
    axum::Json(answer)
}

impl Shared {
    /// The body of a request that needs none; an empty one is no object with nothing in it.
    async fn optional(&self, request: Request<Body>) -> Result<Map<String, Value>, Rejection> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body, self.limits).await?;
        if bytes.is_empty() {
            return Ok(Map::new());
        }
        body::object(Request::from_parts(parts, Body::from(bytes)), self.limits).await
    }

    /// Does something that may take time in a thread of its own.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Fleet) -> Result<T, FleetError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let fleet = self.fleet.clone();
        let done = tokio::task::spawn_blocking(move || work(&fleet)).await;
        Ok(done.map_err(Rejection::from)??)
    }

    /// The same for a call that names a pipeline and may have a body that says nothing.
    async fn call<T: Send + 'static>(
        &self,
        request: Request<Body>,
        work: impl FnOnce(&Fleet) -> Result<T, FleetError> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.optional(request).await?;
        self.work(work).await
    }
}

/// A pipeline that its client does not know of yet. If the client never gets to know (the connection
/// broke while the platform was asked), it ends.
struct Unclaimed {
    fleet: Arc<Fleet>,
    id: Option<String>,
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            tracing::warn!(pipeline = %id, "nobody waits for it any more");
            // It may have ended by itself.
            let _ = self.fleet.terminate(&id);
        }
    }
}

async fn initialise(State(shared): State<Shared>, request: Request<Body>) -> Answer {
    let header = shared
        .keys_from_headers
        .then(|| caller::api_key(request.headers(), true, None))
        .flatten();
    let body = body::object(request, shared.limits).await?;
    let folder = shared.fleet.settings().client_outputs.as_deref();
    let spec = request::initialise(&body, header, folder)?;
    let fleet = shared.fleet.clone();
    let started = shared.work(move |own| {
        let id = own.initialise(spec)?;
        Ok(Unclaimed {
            fleet,
            id: Some(id),
        })
    });
    let id = started.await?.id.take();
    Ok(success(id.as_deref(), json!({})))
}

async fn list(State(shared): State<Shared>, request: Request<Body>) -> Answer {
    let ids = shared.call(request, |fleet| Ok(fleet.list())).await?;
    Ok(success(None, json!({"pipelines": ids})))
}

async fn status(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let asked = id.clone();
    let report = shared.call(request, move |fleet| fleet.status(&asked));
    let report = report.await?;
    Ok(success(Some(&id), json!({"report": report})))
}

async fn pause(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let asked = id.clone();
    let paused = shared.call(request, move |fleet| fleet.pause(&asked));
    paused.await?;
    Ok(success(Some(&id), json!({})))
}

async fn resume(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let asked = id.clone();
    let resumed = shared.call(request, move |fleet| fleet.resume(&asked));
    resumed.await?;
    Ok(success(Some(&id), json!({})))
}

async fn terminate(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let asked = id.clone();
    let terminated = shared.call(request, move |fleet| fleet.terminate(&asked));
    terminated.await?;
    Ok(success(Some(&id), json!({})))
}

async fn consume(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let body = shared.optional(request).await?;
    let excluded = request::excluded(&body)?;
    let asked = id.clone();
    let taken = shared.work(move |fleet| fleet.consume(&asked, &excluded));
    let own = match taken.await? {
        None => json!({"outputs": [], "frames_metadata": []}),
        Some(taken) => {
            let mut own = json!({
                "outputs": taken.outputs,
                "frames_metadata": taken.frames_metadata,
                "definition": taken.definition,
                "timing": taken.timing,
            });
            if let Some(error) = taken.error {
                own["error"] = error;
            }
            own
        }
    };
    Ok(success(Some(&id), own))
}

async fn add_source(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Answer {
    let body = body::object(request, shared.limits).await?;
    let source = SourceSpec::new(request::source(&body)?);
    let asked = id.clone();
    let added = shared.work(move |fleet| fleet.add_source(&asked, source));
    let number = added.await?;
    Ok(success(Some(&id), json!({"source_id": number})))
}

async fn remove_source(
    State(shared): State<Shared>,
    Path((id, number)): Path<(String, String)>,
    request: Request<Body>,
) -> Answer {
    let Ok(number) = number.parse::<usize>() else {
        return Err(Rejection::NotFound.into());
    };
    let asked = id.clone();
    let removed = shared.call(request, move |fleet| fleet.remove_source(&asked, number));
    removed.await?;
    Ok(success(Some(&id), json!({})))
}
