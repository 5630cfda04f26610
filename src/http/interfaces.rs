//! Routes that describe a workflow without running it (section 1.3 of the server specification).

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::Value;

use super::app::App;
use super::fields::Fields;
use super::layers::Stamped;
use super::rejection::Rejection;
use super::table::Route;
use super::{body, caller};
use crate::definition::InnerWorkflows;
use crate::definition::error::WorkflowError;
use crate::definitions::{ApiKey, Demand, StoreLibrary};
use crate::describe::{self, ModelFacts};

type Shared = State<Arc<App>>;

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let tag = "Workflows";
    vec![
        Route::new(
            tag,
            "POST",
            "/workflows/describe_interface",
            "Inputs and outputs of a definition",
            post(interface_inline),
        ),
        Route::new(
            tag,
            "POST",
            "/{workspace}/workflows/{workflow}/describe_interface",
            "Inputs and outputs of a definition by workspace and id",
            post(interface_by_name),
        ),
        Route::new(
            tag,
            "POST",
            "/workflows/describe_workload",
            "Steps, models and dimensions of a definition",
            post(workload_inline),
        ),
        Route::new(
            tag,
            "POST",
            "/{workspace}/workflows/{workflow}/describe_workload",
            "Steps, models and dimensions of a definition by workspace and id",
            post(workload_by_name),
        ),
    ]
}

/// What is told of a definition.
type Description = fn(&App, &Value, &InnerWorkflows<'_>) -> Result<Value, WorkflowError>;

fn interface(
    _: &App,
    definition: &Value,
    inner: &InnerWorkflows<'_>,
) -> Result<Value, WorkflowError> {
    describe::interface_with(definition, inner)
}

/// Describes a definition for the caller with this key. Waits for what inner workflows name.
fn tell(
    app: &App,
    definition: &Value,
    key: Option<ApiKey>,
    describe: Description,
) -> Result<Value, WorkflowError> {
    let library = StoreLibrary::new(&app.process.store, key);
    describe(app, definition, &library.inner_workflows())
}

/// Models are told as far as the server knows them: none is fetched for that.
fn workload(
    app: &App,
    definition: &Value,
    inner: &InnerWorkflows<'_>,
) -> Result<Value, WorkflowError> {
    let facts = |id: &str| {
        let info = app.services.models.info(id).ok()?;
        Some(ModelFacts {
            architecture: Some(info.architecture),
            variant: None,
            task: info.task,
        })
    };
    describe::workload_with(definition, inner, &facts)
}

async fn interface_inline(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    describe_inline(app, headers, request, interface).await
}

async fn interface_by_name(
    State(app): Shared,
    Path(name): Path<(String, String)>,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    describe_by_name(app, name, headers, request, interface).await
}

async fn workload_inline(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    describe_inline(app, headers, request, workload).await
}

async fn workload_by_name(
    State(app): Shared,
    Path(name): Path<(String, String)>,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    describe_by_name(app, name, headers, request, workload).await
}

/// Descriptions ask for a key, as the reference does, although ours need none.
fn ask_for_key(
    app: &App,
    headers: &HeaderMap,
    body: Option<&str>,
) -> Result<Option<ApiKey>, Rejection> {
    let key = caller::api_key(headers, app.settings.keys_from_headers, body);
    if key.is_some() || app.has_own_key() {
        return Ok(key);
    }
    Err(Rejection::bad_request(
        "Required Roboflow API key is missing. Visit \
         https://docs.roboflow.com/api-reference/authentication#retrieve-an-api-key to learn how \
         to retrieve one.",
    ))
}

async fn describe_inline(
    app: Arc<App>,
    headers: HeaderMap,
    request: Request<Body>,
    describe: Description,
) -> Result<Response, Rejection> {
    let mut object = body::object(request, app.settings.body).await?;
    let mut fields = Fields::of(&object);
    let key = fields.text("api_key");
    fields.required_object("specification");
    fields.finish()?;
    let key = ask_for_key(&app, &headers, key)?;
    let definition = object.remove("specification").unwrap_or_default();
    let told = {
        let worker = app.clone();
        app.work(move || Ok(tell(&worker, &definition, key, describe)?))
            .await?
    };
    Ok(Json(told).into_response())
}

async fn describe_by_name(
    app: Arc<App>,
    (workspace, workflow): (String, String),
    headers: HeaderMap,
    request: Request<Body>,
    describe: Description,
) -> Result<Response, Rejection> {
    let object = body::object(request, app.settings.body).await?;
    let mut fields = Fields::of(&object);
    let key = fields.text("api_key");
    let use_cache = fields.flag("use_cache", true);
    let version = fields.text("workflow_version_id").filter(|v| !v.is_empty());
    fields.finish()?;
    let key = ask_for_key(&app, &headers, key)?;
    let demand = Demand::of(use_cache);
    let fetched = app
        .definition(&workspace, &workflow, version, key.clone(), demand)
        .await?;
    let stamp = fetched.stamp.clone();
    let told = {
        let worker = app.clone();
        app.work(move || Ok(tell(&worker, &fetched.definition, key, describe)?))
            .await?
    };
    let mut response = Json(told).into_response();
    response.extensions_mut().insert(Stamped(stamp.into()));
    Ok(response)
}
