//! Routes that describe blocks and definitions for editors (section 1.3 of the server specification).

use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::app::App;
use super::body;
use super::fields::Fields;
use super::rejection::Rejection;
use super::table::Route;
use crate::definition::error::{ErrorClass, WorkflowError};
use crate::describe;

/// The description of all blocks, compressed once.
static COMPRESSED: LazyLock<Option<Bytes>> = LazyLock::new(|| {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut encoder, &describe::blocks_text()).ok()?;
    encoder.finish().ok().map(Bytes::from)
});

/// The routes of this file.
pub fn routes() -> Vec<Route> {
    let tag = "Blocks";
    vec![
        Route::new(
            tag,
            "GET",
            "/workflows/blocks/describe",
            "All blocks with their schemas",
            get(describe_all),
        ),
        Route::new(
            tag,
            "POST",
            "/workflows/blocks/describe",
            "All blocks with their schemas",
            post(describe_with),
        ),
        Route::new(
            tag,
            "POST",
            "/workflows/blocks/dynamic_outputs",
            "The outputs of one step",
            post(dynamic_outputs),
        ),
        Route::new(
            tag,
            "GET",
            "/workflows/definition/schema",
            "The JSON schema of definitions",
            get(schema),
        ),
    ]
}

async fn describe_all(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let zipped = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .any(|value| value.to_str().is_ok_and(|text| text.contains("gzip")));
    let (text, zipped) = app
        .work(move || {
            Ok(match zipped.then(|| COMPRESSED.clone()).flatten() {
                Some(bytes) => (bytes, true),
                None => (describe::blocks_text(), false),
            })
        })
        .await?;
    let mut response = ([(CONTENT_TYPE, "application/json")], text).into_response();
    if zipped {
        let gzip = HeaderValue::from_static("gzip");
        response.headers_mut().insert(CONTENT_ENCODING, gzip);
    }
    Ok(response)
}

/// The same for a client that may bring blocks of its own, which this server does not run.
async fn describe_with(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Response, Rejection> {
    let headers = request.headers().clone();
    let object = body::object(request, app.settings.body).await?;
    let mut fields = Fields::of(&object);
    fields.text("api_key");
    let own = fields.get("dynamic_blocks_definitions");
    fields.finish()?;
    if own
        .and_then(Value::as_array)
        .is_some_and(|all| !all.is_empty())
    {
        let error = WorkflowError::new(
            ErrorClass::WorkflowEnvironmentConfiguration,
            "workflow_compilation | dynamic_blocks_compilation",
            "custom Python blocks are not run by this server: leave `dynamic_blocks_definitions` \
             empty",
        );
        return Err(error.into());
    }
    describe_all(State(app), headers).await
}

async fn dynamic_outputs(
    State(app): State<Arc<App>>,
    request: Request<Body>,
) -> Result<Json<Value>, Rejection> {
    let step = body::object(request, app.settings.body).await?;
    let work = move || Ok(describe::dynamic_outputs(&Value::Object(step))?);
    app.work(work).await.map(Json)
}

async fn schema(State(app): State<Arc<App>>) -> Result<Response, Rejection> {
    let text = app.work(|| Ok(describe::definition_schema_text())).await?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}
