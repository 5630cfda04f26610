//! Routes that run and check workflows (section 1.3 of the server specification).

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use super::app::{App, Done, Order};
use super::fields::Fields;
use super::layers::{Stamped, Used};
use super::rejection::Rejection;
use super::table::Route;
use super::{body, caller};
use crate::definitions::{ApiKey, Demand, Fetched, Provenance};
use crate::describe;
use crate::models::usage;
use crate::profile::Profile;

type Shared = State<Arc<App>>;

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let tag = "Workflows";
    let run = "Run a definition that comes with the request";
    let run_named = "Run a definition by workspace and id";
    vec![
        Route::new(tag, "POST", "/workflows/run", run, post(run_inline)),
        Route::new(tag, "POST", "/infer/workflows", run, post(run_inline)),
        Route::new(
            tag,
            "POST",
            "/{workspace}/workflows/{workflow}",
            run_named,
            post(run_by_name),
        ),
        Route::new(
            tag,
            "POST",
            "/infer/workflows/{workspace}/{workflow}",
            run_named,
            post(run_by_name),
        ),
        Route::new(
            tag,
            "POST",
            "/workflows/validate",
            "Check a definition",
            post(validate),
        ),
        Route::new(
            tag,
            "GET",
            "/workflows/execution_engine/versions",
            "Versions of the execution engine",
            get(async || Json(describe::engine_versions())),
        ),
    ]
}

/// What all runs take.
struct Common {
    api_key: Option<ApiKey>,
    inputs: Map<String, Value>,
    excluded: Vec<String>,
    profiling: bool,
    disable_sinks: bool,
    name_definition: bool,
    dispatch_depth: u32,
}

/// The fields that every run has; `own` reads those of one route.
fn read_run<T>(
    app: &App,
    headers: &HeaderMap,
    object: &Map<String, Value>,
    own: impl FnOnce(&mut Fields<'_>) -> Option<T>,
) -> Result<(Common, T), Rejection> {
    let mut fields = Fields::of(object);
    let key = fields.text("api_key");
    let inputs = fields.required_object("inputs").cloned();
    let excluded = fields.texts("excluded_fields").unwrap_or_default();
    let profiling = fields.flag("enable_profiling", false);
    fields.text("workflow_id");
    let disable_sinks = fields.flag("disable_sinks", false);
    let dispatch_depth = dispatch_depth(&mut fields);
    let name_definition = fields.flag("include_definition", false);
    let own = own(&mut fields);
    fields.finish()?;
    let (Some(inputs), Some(own)) = (inputs, own) else {
        return Err(Rejection::Internal("a field was lost".into()));
    };
    let common = Common {
        api_key: caller::api_key(headers, app.settings.keys_from_headers, key),
        inputs,
        excluded: excluded.into_iter().map(str::to_owned).collect(),
        profiling,
        disable_sinks,
        name_definition,
        dispatch_depth,
    };
    Ok((common, own))
}

/// `inner_workflow_dispatch_depth` is a strict integer from 0 on.
fn dispatch_depth(fields: &mut Fields<'_>) -> u32 {
    let name = "inner_workflow_dispatch_depth";
    let Some(value) = fields.get(name) else {
        return 0;
    };
    let place = json!(["body", name]);
    match value.as_i64() {
        None => fields.refuse("int_type", place, "Input should be a valid integer", value),
        Some(..0) => {
            let text = "Input should be greater than or equal to 0";
            fields.refuse("greater_than_equal", place, text, value);
        }
        Some(depth) => return u32::try_from(depth).unwrap_or(u32::MAX),
    }
    0
}

async fn run_inline(
    State(app): Shared,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    let mut object = body::object(request, app.settings.body).await?;
    let (common, ()) = read_run(&app, &headers, &object, |fields| {
        fields.required_object("specification").map(drop)
    })?;
    let definition = object.remove("specification").unwrap_or_default();
    let profile = (common.profiling && app.settings.profiling).then(Profile::default);
    let fetched = Arc::new(Fetched::inline(definition, &*app.services.clock));
    run(app, fetched, None, common, profile).await
}

async fn run_by_name(
    State(app): Shared,
    Path((workspace, workflow)): Path<(String, String)>,
    headers: HeaderMap,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    let object = body::object(request, app.settings.body).await?;
    let (common, (use_cache, version)) = read_run(&app, &headers, &object, |fields| {
        let use_cache = fields.flag("use_cache", true);
        let version = fields.text("workflow_version_id").filter(|v| !v.is_empty());
        Some((use_cache, version.map(str::to_owned)))
    })?;
    let profile = (common.profiling && app.settings.profiling).then(Profile::default);
    let begun = Instant::now();
    let fetched = app
        .definition(
            &workspace,
            &workflow,
            version.as_deref(),
            common.api_key.clone(),
            Demand::of(use_cache),
        )
        .await?;
    if let Some(profile) = &profile {
        let name = "workflow_definition_fetching";
        profile.note(name, "inference_package_operation", begun);
    }
    let id = match version {
        Some(version) => format!("{workspace}/{workflow}@{version}"),
        None => format!("{workspace}/{workflow}"),
    };
    run(app, fetched, Some(id), common, profile).await
}

async fn run(
    app: Arc<App>,
    fetched: Arc<Fetched>,
    id: Option<String>,
    common: Common,
    profile: Option<Profile>,
) -> Result<Response, Rejection> {
    let mut made_by = Provenance::from(fetched.stamp.clone());
    let order = Order {
        fetched,
        id,
        inputs: common.inputs,
        excluded: common.excluded,
        disable_sinks: common.disable_sinks,
        profile,
        name_definition: common.name_definition,
        api_key: common.api_key,
        dispatch_depth: common.dispatch_depth,
    };
    let worker = app.clone();
    let work = move || Ok(usage::watch(|| worker.execute(order)));
    let (done, uses) = app.work(work).await?;
    let mut response = match done {
        Ok(Done { body, provenance }) => {
            made_by = provenance;
            let kind = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, kind)], body).into_response()
        }
        Err(refused) => refused.into_response(),
    };
    let extensions = response.extensions_mut();
    extensions.insert(Used(uses));
    extensions.insert(Stamped(made_by));
    Ok(response)
}

/// Compiles a definition and makes its blocks, and throws both away.
async fn validate(State(app): Shared, request: Request<Body>) -> Result<Response, Rejection> {
    let definition = body::object(request, app.settings.body).await?;
    let fetched = Arc::new(Fetched::inline(definition.into(), &*app.services.clock));
    let worker = app.clone();
    let order = Order {
        fetched,
        id: None,
        inputs: Map::new(),
        excluded: Vec::new(),
        disable_sinks: true,
        profile: None,
        name_definition: false,
        api_key: None,
        dispatch_depth: 0,
    };
    app.work(move || worker.engine(&order).map(drop)).await?;
    Ok(Json(json!({"status": "ok"})).into_response())
}
